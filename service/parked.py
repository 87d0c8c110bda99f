"""In what order, and how fast, the records go on that waited for a connection, and which of them were told of. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from service.shards import SHARDS, shard_of

PACE: Final = 20
"""Records that go on in a second, so that an account that has just come back is not run over."""
LONGEST: Final = 3600
"""Seconds within which all of them do, however many they are."""
AT_ONCE: Final = 500
"""Records of one shard that are woken by one command, so that it holds up nobody."""
TOLD_OF: Final = 1000
"""Records that wait for a connection and are told of, in one shard, at most: the soonest."""
_DAY: Final = 86_400


def paced(parked: Mapping[int, Sequence[tuple[str, float]]], now: float) -> Iterator[tuple[int, list[str | int]]]:
    """From the records of each shard with their starts: shard, then record and milliseconds from `now`, in turn.

    Who starts soonest goes first. What began more than a day ago is over, and comes last.
    """
    rows = sorted((at < now - _DAY, at, record, shard) for shard, each in parked.items() for record, at in each)
    turns: dict[int, list[str | int]] = {}
    for place, (_, _, record, shard) in enumerate(rows):
        turns.setdefault(shard, []).extend((record, min(place // PACE, LONGEST) * 1000))
    for shard, turn in turns.items():
        for at in range(0, len(turn), 2 * AT_ONCE):
            yield shard, turn[at : at + 2 * AT_ONCE]


def noticing(at: int, connections: Sequence[str], records: Sequence[str]) -> Iterator[tuple[int, list[str | int]]]:
    """Each shard with what its script is told of people who were told, at `at`, of records and of what waits.

    What began more than a day before is over.
    """
    shares: dict[int, list[str]] = {shard: [] for shard in range(SHARDS)} if connections else {}
    for record in records:
        shares.setdefault(shard_of(record), []).append(record)
    for shard, share in shares.items():
        yield shard, [at, at - _DAY, TOLD_OF, len(connections), *connections, *share]
