"""What the ledger's verbs take and answer. Pure."""

import time
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from service.entry import Entry, Placement, State, digest
from service.turns import Turn
from service.vello import Event

HOSTED: Final = "h"
DIRECT: Final = "d"
"""How an answer that is kept begins: with the link it holds."""
LINKS: Final = 8
"""The last links that Vello was told, of which the ledger keeps the digests."""
NEVER_MADE: Final = "Vello wants a link and there is no meeting"
"""Why the first meeting of a record is made."""
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
ZOMBIE: Final = "A process that had lost its lease made a meeting, or may have; it will be removed."


def clock() -> float:
    """Seconds since some time; those for which the machine was suspended count, where the system tells of them."""
    return time.clock_gettime(_CLOCK)


@dataclass(slots=True)
class Lease:
    """The right to work on one record until it expires; `fence` proves it at every commit.

    It holds `until` then (by `clock`) as far as this process knows, which may have stood still. `inherited`: the one
    who had it before let it expire in the middle of the work. `begun`: what was made or changed at a provider under it
    and is not written down yet, each with whether that is certain. `turn` ends once the first call goes out.
    `foreseen`: the meeting whose intent was written with the lease; the entry is without it.
    """

    entry: Entry
    fence: int
    until: float
    inherited: bool = False
    begun: list[tuple[Placement, bool]] = field(default_factory=list, compare=False, repr=False)
    turn: Turn | None = field(default=None, compare=False, repr=False)
    foreseen: "Foreseen | None" = None

    def holds(self, seconds: float = 0.0) -> bool:
        """Whether it does, for so long at least."""
        return clock() + seconds < self.until


class Foreseen(NamedTuple):
    """The meeting that is made of a record of which nothing is known yet, by the settings as of so many reads."""

    placement: Placement
    reads: int


class Known(NamedTuple):
    """What is known of an event's record from elsewhere than the ledger.

    `placement`: a meeting of it that was seen at a provider, `doubt` when that must be looked at. `older`: Vello made
    the record before this store was whole, so that a meeting may stand that is not known here.
    """

    placement: Placement | None = None
    doubt: bool = False
    older: bool = False


NOTHING: Final = Known()


class Told(NamedTuple):
    """What Vello was told the last time, good still: the meeting's own link, or else the page behind `token`."""

    office: str | None
    token: str | None
    direct: str | None

    def __repr__(self) -> str:
        return f"Told(office={self.office!r})"


class Telling(NamedTuple):
    """What the ledger keeps of an answer to Vello: the link's digest, whether it is ours, and when it can be repeated.

    `answer` is `generation:revision:what` and holds while neither moves; '' for one that cannot be repeated.
    """

    link: str
    hosted: bool
    answer: str


class Tells(NamedTuple):
    """What Vello, who waits for it, is told when a run is done.

    `becomes` is the entry then, if nothing else happened; None where only the ledger knows.
    """

    said: Telling
    becomes: Entry | None


class Accepted(NamedTuple):
    """What became of an event: its verdict (new, old, same, foreign), and a lease if one was granted.

    Where Vello asked and nothing has changed since it was last told, `told` comes in the place of the entry. `noted`:
    the delivery log has its line.
    """

    verdict: str
    entry: Entry | None
    lease: Lease | None
    revision: str
    now: int
    told: Told | None = None
    noted: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """Leases on due records of one shard; `next_in` seconds until the next one is due, None if none is."""

    leases: list[Lease]
    next_in: float | None
    revision: str


@dataclass(frozen=True, slots=True)
class Change:
    """What one run writes.

    `mode`: hold the lease, done, retry after `delay` seconds, park on a connection, back (after `delay` seconds, and
    no attempt is counted).
    """

    mode: str
    set: dict[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    journal: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    park: str = ""


@dataclass(frozen=True, slots=True)
class Committed:
    """`verdict` is ok, moved (go round again, the lease is kept) or lost (somebody else has the record)."""

    verdict: str
    entry: Entry | None
    revision: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some records with their place in the order; `last` continues after them, None at the end."""

    entries: list[tuple[int, Entry]]
    last: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: records due now, records with any time to be looked at, seconds since the first was due."""

    due: int
    scheduled: int
    oldest: float


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One sentence of a record's story. `at` in unix seconds."""

    at: int
    what: str
    text: str


def telling(entry: Entry, link: str, revision: str, *, hosted: bool) -> Telling:
    """What to keep of an answer, so that it is repeated for this generation and revision only."""
    if entry.state is not State.READY or entry.unsettled or entry.wish is None:
        return Telling(digest(link), hosted, "")
    office = entry.wish.office or ""
    return Telling(digest(link), hosted, f"{entry.generation}:{revision}:{HOSTED if hosted else DIRECT}{office}")


def having_told(entry: Entry, said: Telling) -> Entry:
    """The entry once the ledger has kept what Vello is told."""
    return entry._replace(
        told=(*(link for link in entry.told if link != said.link), said.link)[-LINKS:],
        hosted=entry.hosted or said.hosted,
        answer=said.answer,
    )


def told_by(event: Event) -> str:
    """An event as the journal names it."""
    record = event.record
    version = "no version" if record is None or record.version is None else f"version {record.version}"
    return f"Vello sent {event.type} ({version})"
