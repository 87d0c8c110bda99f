"""How what stands at a provider differs from what the ledger knows, and what is to be done about it. Pure.

The laws, in plain words, are in docs/sweep.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from providers.base import Meeting
from service.entry import Entry, Placement, State, digest
from service.plan import Action, Verdict
from service.sightings import Recalled, Sighting, is_at
from service.swept import Kind
from service.vello import Rank

GRACE: Final = 900
"""Seconds after a meeting was made in which a run may not have written it down yet."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: `meeting` by the provider's id, `why` in a sentence. `sighting` is the meeting it is about.

    `entry` is the record as it was judged, `recalled` what an adoption takes on.
    """

    kind: Kind
    why: str
    connection: str
    meeting: str | None
    entry: Entry | None = None
    sighting: Sighting | None = None
    recalled: Recalled | None = None

    @property
    def record(self) -> str | None:
        """The record's id, None where it is not known."""
        return self.entry.record if self.entry else None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a judgement needs to know besides the record and what was seen of it.

    `owner`: this installation. `longest`: seconds a meeting may last at the connection where the record's stands, None
    if unlimited. `missing`: the list was read to its end and the record's meeting, which it would show, was not in it.
    `recalled`: what the record is to take on if it has none. `unheard`: the store may have been put back from a backup
    lately, and Vello has said nothing of the record since, so that what is known of it may be old.
    """

    owner: str
    now: float
    action: Action
    recalled: Recalled | None = None
    longest: int | None = None
    missing: bool = False
    unheard: bool = False


def judged(entry: Entry, seen: Sequence[Sighting], around: Surroundings) -> Iterator[Finding]:
    """What is to be done about a record of the ledger and the meetings that carry its key."""
    if entry.released or entry.intent or entry.leased_until > around.now:
        return  # it is nobody's business, or somebody works on it
    own = next((each for each in seen if entry.meeting and _is(each, entry.meeting)), None)
    adopted = _adopted(entry, seen, own, around)
    if adopted:
        yield adopted
    elif own is not None and entry.meeting is not None:
        yield from _drift(entry, entry.meeting, own, around)
    elif entry.meeting is not None and around.missing and _settled(entry) and entry.meeting.spec.start > around.now:
        yield _on(entry, Kind.REPAIR, "the provider's list does not show its meeting")
    known: list[Meeting | None] = [entry.meeting.meeting if entry.meeting else None]
    known += [adopted.recalled.placement.meeting] if adopted and adopted.recalled else []
    for each in {each.listed.meeting.id: each for each in seen}.values():
        if all(meeting is None or meeting.id != each.listed.meeting.id for meeting in known):
            yield from _stray(entry, each, around)
    if own is None and not adopted and _given_up(entry, around):
        yield _on(entry, Kind.AGAIN, "it was given up")


def unknown(sighting: Sighting, owner: str, *, erased: bool, remove: bool, now: float) -> Finding:
    """What is to be done about a meeting whose record the ledger does not know; `remove`: an admin says so."""
    listed, mine = sighting.listed, sighting.listed.owner == owner
    kind, why = Kind.NOTE, "its booking is not known here; Vello's next event about it has it taken on"
    if listed.owner and not mine:
        kind, why = Kind.REPORT, "it is another installation's"
    elif sighting.goes_on(now):
        kind, why = Kind.REPORT, "its booking is not known here, and it goes on now"
    elif erased and mine:
        kind, why = Kind.REMOVE, "its booking was erased"
    elif remove and mine and now - listed.made_at > GRACE:
        kind, why = Kind.REMOVE, "its booking is not known here, and an admin had such meetings removed"
    return Finding(kind, why, sighting.connection, listed.meeting.id, None, sighting)


def _drift(entry: Entry, placed: Placement, own: Sighting, around: Surroundings) -> Iterator[Finding]:
    spec, listed = placed.spec, own.listed
    if not _settled(entry) or entry.rank is not Rank.LIVE or spec.start <= around.now or own.goes_on(around.now):
        return
    if listed.start is None:
        yield _on(entry, Kind.REPORT, "its host made it a recurring meeting, which keeps its own times", own)
    elif not is_at(listed, spec.start, spec.duration, around.longest) and around.unheard:
        yield _on(
            entry,
            Kind.REPORT,
            "it is at another time; a backup may have been put back, so Vello has a day to say more",
            own,
        )
    elif not is_at(listed, spec.start, spec.duration, around.longest):
        yield _on(entry, Kind.REPAIR, "somebody moved the meeting at the provider", own)
    elif not spec.title.startswith(listed.title) or not listed.title:
        yield _on(entry, Kind.REPORT, "somebody gave the meeting another title, which stands until it is changed", own)


def _adopted(entry: Entry, seen: Sequence[Sighting], own: Sighting | None, around: Surroundings) -> Finding | None:
    """The meeting that a record takes on: it has none, or one that is gone and older than what stands."""
    took = around.recalled
    if took is None or own is not None or entry.rank is not Rank.LIVE or took.placement.meeting is None:
        return None
    made = took.placement.spec.generation
    has = entry.meeting
    if has is not None and not (around.missing and made > has.spec.generation):
        return None
    if has is None and (made < entry.made or any(_same(took.placement, old) for old in entry.retired)):
        return None
    if entry.foreign and digest(took.placement.meeting.join_url) != entry.foreign:
        return None
    sighting = next(each for each in seen if each.listed.meeting.id == took.placement.meeting.id)
    return _on(entry, Kind.ADOPT, "it has this meeting, and its entry does not know that", sighting, took)


def _stray(entry: Entry, each: Sighting, around: Surroundings) -> Iterator[Finding]:
    """A meeting with the key of a record that has no use for it."""
    listed = each.listed
    ended = entry.rank is not Rank.LIVE or (entry.wish is not None and entry.wish.archived)
    due = any(_is(each, old) for old in entry.retired)
    if due:
        if entry.state is State.FAILED:
            yield _on(entry, Kind.AGAIN, "removing its old meeting was given up", each)
    elif listed.owner and listed.owner != around.owner:
        yield _on(entry, Kind.REPORT, "another installation made this meeting for the same booking", each)
    elif not ended and entry.meeting is None and listed.generation >= entry.made:
        yield _on(entry, Kind.NOTE, f"the booking does not use this meeting now: {around.action.why}", each)
    elif around.now - listed.made_at < GRACE:
        return  # a run may be about to write it down
    elif each.goes_on(around.now):
        yield _on(entry, Kind.REPORT, "nobody wants this meeting, and it goes on now: it is left alone", each)
    elif not listed.owner:
        yield _on(entry, Kind.REPORT, "nobody wants this meeting, and its marker does not say whose it is", each)
    elif around.unheard:
        yield _on(
            entry,
            Kind.REPORT,
            "the booking has no use for it; a backup may have been put back, so Vello has a day to say more",
            each,
        )
    else:
        why = around.action.why if ended else "the booking has another meeting" if entry.meeting else "it was given up"
        yield _on(entry, Kind.REMOVE, why, each)


def _given_up(entry: Entry, around: Surroundings) -> bool:
    """Whether nobody will look at a record by itself although there is something to do for it."""
    waits = around.action.verdict not in (Verdict.KEEP, Verdict.IGNORE)
    return waits and entry.state is State.FAILED and not entry.parked


def _settled(entry: Entry) -> bool:
    return entry.state is State.READY and not entry.unsettled


def _is(each: Sighting, placed: Placement) -> bool:
    return placed.meeting is not None and placed.meeting.id == each.listed.meeting.id


def _same(one: Placement, other: Placement) -> bool:
    return one.meeting is not None and other.meeting is not None and one.meeting.id == other.meeting.id


def _on(entry: Entry, kind: Kind, why: str, each: Sighting | None = None, took: Recalled | None = None) -> Finding:
    placed = entry.meeting
    connection = each.connection if each else placed.connection if placed else ""
    meeting = each.listed.meeting.id if each else placed.meeting.id if placed and placed.meeting else None
    return Finding(kind, why, connection, meeting, entry, each, took)
