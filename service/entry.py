"""The ledger's row of one record: what Vello wants, what stands at a provider, and how far we are. Pure."""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from providers.base import DialIn, Entrance, Meeting, MeetingSpec
from service.vello import Rank, Record


class State(StrEnum):
    """Where a record stands, as the API says it."""

    NONE = "none"
    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    GONE = "gone"


_spec = attrgetter(*(each.name for each in fields(MeetingSpec) if each.name != "owner"))
_meeting = attrgetter("id", "join_url", "host", "warnings")


class Placement(NamedTuple):
    """Where a meeting stands: the connection, what was asked of it, and the meeting (None while it is an intent).

    `office` is the one whose choice it was made by.
    """

    connection: str
    spec: MeetingSpec
    meeting: Meeting | None
    office: str | None = None

    @property
    def name(self) -> str:
        """A name for this meeting that is safe to store in clear; the same meeting always has the same one."""
        return _name(self.connection, self.meeting.id if self.meeting else f"{self.spec.key}/{self.spec.generation}")

    @property
    def hosted_by(self) -> str:
        """Who hosts it; where nobody is named, whoever connected the account."""
        return self.spec.host.lower() if self.spec.host else self.connection

    def dump(self) -> tuple[Any, ...]:
        """For the vault, as JSON: it holds the join URL in clear.

        Processes of the version before read it too, and take neither more nor fewer fields: see `dump_entrance`.
        """
        return self.connection, _spec(self.spec), _meeting(self.meeting) if self.meeting else None, self.office

    @classmethod
    def load(cls, data: Sequence[Any]) -> "Placement":
        """The inverse of `dump`."""
        connection, spec, meeting, *rest = data
        return cls(connection, MeetingSpec(*spec), _loaded(meeting) if meeting else None, *rest)

    def bare(self) -> "Placement":
        """This without what stands beside it, as `load` gives it."""
        placed = self._replace(spec=replace(self.spec, owner="")) if self.spec.owner else self
        if placed.meeting is None or placed.meeting.entrance is None:
            return placed
        return placed._replace(meeting=replace(placed.meeting, entrance=None))

    @property
    def marked(self) -> str:
        """Whose the meeting is by its marker, and of which one that is said; '' where nobody knows."""
        return f"{self.spec.owner}:{self.name}" if self.spec.owner else ""

    def owned(self, marked: str) -> "Placement":
        """This with its owner, where `marked` says so of it: that stands beside the placement, as an entrance does."""
        owner, _, name = marked.partition(":")
        return self._replace(spec=replace(self.spec, owner=owner)) if name == self.name else self

    def dump_entrance(self) -> tuple[Any, ...]:
        """What the vendor says of the meeting's entrance, for the vault, as JSON; bound to the meeting and its link.

        It stands beside the placement: a process that does not know it leaves it as it is, and what it left there of
        another meeting, or of another passcode and so another link, counts for nothing.
        """
        entrance = self.meeting.entrance if self.meeting else None
        return self._bound, *astuple(entrance or Entrance())

    def entered(self, data: Sequence[Any]) -> "Placement":
        """This with what `dump_entrance` kept of it, as it is when that was another meeting's."""
        bound, passcode, dial_in, guests_wait, guests_log_in, *_ = data
        if self.meeting is None or bound != self._bound:
            return self
        numbers = tuple(DialIn(number, tuple(codes), region) for number, codes, region, *_ in dial_in)
        return self._replace(
            meeting=replace(self.meeting, entrance=Entrance(passcode, numbers, guests_wait, guests_log_in))
        )

    @property
    def _bound(self) -> str:
        link = self.meeting.join_url if self.meeting else ""
        return hashlib.sha256(f"{self.name}\0{link}".encode()).hexdigest()[:16]


def _loaded(fields: Sequence[Any]) -> Meeting:
    meeting = Meeting(*fields[:4])
    return replace(meeting, warnings=tuple(meeting.warnings))  # JSON has no tuples


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a record is not ready: a code for programs, a sentence for people, and who can change it."""

    code: str
    text: str
    who_can_fix: str


class Entry(NamedTuple):
    """One record as the ledger holds it. `wish` is None when Vello deleted it or never said what it was.

    `foreign` is the digest of a video link that Vello has and that is not ours.
    `generation` counts changes of what is wanted; `settled` is the last one that was carried out. `made` counts the
    meetings that were torn down for good. `doubt`: a change of the meeting was begun and its outcome is not known.
    `released`: an admin let go of it, and its meeting is left alone.
    `told` are digests of the links Vello was given, the last one is current; `answer` is what of it holds while
    nothing moves. `asked` is when Vello last asked for a link (unix seconds, 0 never). `before` is when the booking
    began before it last moved, None while it never did; it is for people, and depends on the order of arrival.
    `intent_age` is how many seconds ago the intent was written, when this was read. `older`: Vello made the record
    before this store was whole, so the provider is asked for its meeting before one is made. `noticed` is when people
    were told that it has no meeting (unix seconds, 0: they were not).
    """

    record: str
    rank: Rank
    realm: str = ""
    wish: Record | None = None
    foreign: str = ""
    version: int | None = None
    changed: int | None = None
    asked: int = 0
    before: int | None = None
    generation: int = 0
    settled: int = 0
    token: str | None = None
    meeting: Placement | None = None
    intent: Placement | None = None
    intent_age: float = math.inf
    retired: tuple[Placement, ...] = ()
    made: int = 0
    doubt: bool = False
    released: bool = False
    older: bool = False
    told: tuple[str, ...] = ()
    hosted: bool = False
    answer: str = ""
    state: State = State.NONE
    reason: Reason | None = None
    attempts: int = 0
    refusals: int = 0
    leased_until: int = 0
    parked: str | None = None
    noticed: int = 0

    def __repr__(self) -> str:
        return (
            f"Entry(record={self.record!r}, state={self.state!s}, generation={self.generation}, settled={self.settled})"
        )

    @property
    def live(self) -> bool:
        """Vello wants this booking to take place."""
        return self.rank is Rank.LIVE and self.wish is not None

    @property
    def unsettled(self) -> bool:
        """Something is still to be carried out."""
        return self.settled != self.generation


def reason_text(reason: Reason) -> str:
    """A reason as the entry stores it."""
    return orjson.dumps(reason).decode()


@lru_cache(1024)  # a run asks for one meeting's name several times
def _name(connection: str, what: str) -> str:
    return hashlib.sha256(f"{connection}\0{what}".encode()).hexdigest()[:16]


_USUAL: Final = re.compile(r"(https?://[a-z0-9.-]+(?::[0-9]+)?)((?:/[\w/.~%-]*)?)(?:\?([\w=&.~%+-]*))?", re.ASCII)


@lru_cache(1024)  # of one link it is asked for again and again
def digest(link: str | None) -> str:
    """A short fingerprint by which a link is known again, '' for none; it survives what systems do to URLs."""
    if not link:
        return ""
    if usual := _USUAL.fullmatch(link):  # as below, without taking it apart
        return hashlib.sha256(f"{usual[1]}{usual[2].rstrip('/')}?{usual[3] or ''}#".encode()).hexdigest()[:16]
    url = urlsplit(link.strip())
    plain = f"{url.scheme.lower()}://{url.netloc.lower()}{url.path.rstrip('/')}?{url.query}#{url.fragment}"
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def foreign_link(record: Record, hosted_prefix: str) -> str:
    """The fingerprint of the link that Vello holds for a record, '' where there is none or it is below ours."""
    link = record.video_link
    return "" if link is None or link.startswith(hosted_prefix) else digest(link)


def meeting_purpose(record: str) -> str:
    """What the envelopes in a record's entry are bound to."""
    return f"meeting:{record}"


def entrance_purpose(record: str) -> str:
    """What the envelope with the entrance of a record's meeting is bound to."""
    return f"entrance:{record}"


def host_purpose(record: str) -> str:
    """What the envelope with a record's host link is bound to."""
    return f"host:{record}"
