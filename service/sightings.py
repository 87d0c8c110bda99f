"""Meetings with our marker as the sweep saw them at a provider, and what the ledger would know of one. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, Final, NamedTuple

from providers.base import Capabilities, Meeting, MeetingSpec
from providers.listing import Listed
from service.choices import Choice
from service.entry import Entry, Placement
from service.plan import key_of, spec_of, unwanted
from service.vello import Rank, Record

SAME: Final = 60
"""Times that are closer than this many seconds are the same: some vendors count minutes."""

_listed = attrgetter(*(each.name for each in fields(Listed) if each.name != "meeting"))

SameHost = Callable[[str, str | None, str | None], bool]
"""Whether two names of a connection are one person's."""
Promises = Callable[[str], Capabilities | None]
"""What a connection can promise, None if there is no such connection."""


class Sighting(NamedTuple):
    """A meeting, the connection whose list showed it, and the host who was asked for."""

    connection: str
    host: str | None
    listed: Listed

    def dump(self) -> tuple[Any, ...]:
        """For the vault, as JSON: it holds the join URL in clear."""
        meeting = self.listed.meeting
        return self.connection, self.host, (meeting.id, meeting.join_url, meeting.host), _listed(self.listed)

    @classmethod
    def load(cls, data: Sequence[Any]) -> "Sighting":
        """The inverse of `dump`."""
        connection, host, meeting, listed = data
        return cls(connection, host, Listed(Meeting(*meeting), *listed))

    @property
    def ends(self) -> float:
        """When it ends, UTC unix seconds; one without a time never does."""
        return self.listed.start + self.listed.duration if self.listed.start is not None else float("inf")

    def goes_on(self, now: float) -> bool:
        """Whether people may be in it."""
        return self.listed.start is not None and self.listed.start <= now < self.ends

    @property
    def placement(self) -> Placement:
        """Where it stands, in the vendor's words."""
        seen = self.listed
        spec = MeetingSpec(
            key=seen.key,
            generation=seen.generation,
            title=seen.title,
            start=seen.start or 0,
            duration=seen.duration,
            host=self.host,
            owner=seen.owner,
        )
        return Placement(self.connection, spec, seen.meeting)


class Recalled(NamedTuple):
    """A meeting that a record is to take on; `doubt`: more of it than a list shows must be looked at."""

    placement: Placement
    doubt: bool


def best(seen: Iterable[Sighting], chosen: str | None) -> Sighting | None:
    """Of several meetings of one record the one made last; where several connections show it, the chosen one's."""
    return max(
        seen, key=lambda each: (each.listed.generation, each.connection == chosen, each.listed.made_at), default=None
    )


def is_at(listed: Listed, start: int, duration: int, longest: int | None = None) -> bool:
    """Whether a meeting takes place when it is to, as exactly as vendors can say; `longest` seconds it may last."""
    lasts = min(duration, longest) if longest else duration
    return listed.start is not None and abs(listed.start - start) < SAME and abs(listed.duration - lasts) < SAME


def recalled(
    seen: Sequence[Sighting], record: Record, choice: Choice | None, same_host: SameHost, promises: Promises
) -> Recalled | None:
    """What a record that has no meeting is to take on of those that were seen for it.

    One that ended takes any, to have it removed. One that lives takes one only when it is to have a meeting now:
    else a meeting that a customer may hold would be removed because an office has not chosen yet.
    """
    if record.rank is not Rank.LIVE or record.archived:
        one = best(seen, None)
        return Recalled(one.placement._replace(office=record.office), doubt=False) if one else None
    if choice is None or unwanted(Entry(record.id, record.rank, wish=record, asked=1), choice):
        return None
    one = best(seen, choice.connection)
    if one is None:
        return None
    placed = one.placement._replace(office=record.office)
    if one.connection != choice.connection:  # it stays there as long as the office does not say otherwise
        return Recalled(placed, doubt=True)
    capabilities = promises(one.connection)
    generation, early = one.listed.generation, capabilities is not None and capabilities.opens_early
    wanted = spec_of(Entry(record.id, record.rank), record, choice, generation=generation, opens_early=early)
    hosts = choice.hosts_of(record.resource)
    host = next((each for each in hosts if same_host(one.connection, each, one.host)), one.host if hosts else None)
    longest = capabilities.max_duration if capabilities else None
    spec = replace(wanted, host=host, owner=one.listed.owner)
    if not is_at(one.listed, wanted.start, wanted.duration, longest) or one.listed.title != wanted.title:
        seen_spec = placed.spec
        spec = replace(spec, start=seen_spec.start, duration=seen_spec.duration, title=seen_spec.title)
    return Recalled(placed._replace(spec=spec), doubt=not one.listed.whole or one.listed.start is None)


def keys_of(records: Iterable[str]) -> dict[str, str]:
    """Key to record."""
    return {key_of(record): record for record in records}
