"""What must change for a record, decided in one place. Pure: no clock, no store, no provider.

wanted?   meeting stands?   verdict
no        no                IGNORE
no        yes               DELETE
yes       no                CREATE
yes       elsewhere         REPLACE   (another connection or host, or a provider that cannot keep the link)
yes       outdated          UPDATE
yes       as wanted         DELETE what is left over from a replacement, else KEEP

A meeting that stands on a connection its office chose before stays there until its booking ends, and follows the
booking, unless the office's choice says to move it; its link may be in somebody's calendar.
"""

import hashlib
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from providers.base import Capabilities, MeetingSpec
from service.choices import Choice
from service.entry import Entry, Placement
from service.vello import Rank, Record
from service.verbs import NEVER_MADE


class Verdict(StrEnum):
    """What a run does next."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    KEEP = "keep"
    IGNORE = "ignore"


class Action(NamedTuple):
    """The plan's verdict: `why` in words; `target` the meeting to change or remove, `wanted` the one to be.

    `hosts` are all who may host a new meeting; `wanted` has the first of them.
    """

    verdict: Verdict
    why: str
    target: Placement | None = None
    wanted: Placement | None = None
    hosts: tuple[str, ...] = ()


KEPT: Final = Action(Verdict.KEEP, "the meeting is as wanted")


def unwanted(entry: Entry, choice: Choice | None) -> str | None:
    """Why this record is to have no video meeting, None when it is to have one."""
    wish = entry.wish
    if entry.rank is Rank.DELETED:
        return "the booking was deleted"
    if wish is not None and wish.archived:
        return "the booking was archived"
    if entry.rank is Rank.CANCELLED or wish is None:
        return "the booking was cancelled"
    if entry.released:
        return "an admin let go of the booking"
    if not entry.asked:
        return "Vello has not asked for a link"
    if entry.foreign:
        return "the booking has a video link that is not ours"
    if choice is None or choice.connection is None:
        return "no provider is chosen for the office"
    if choice.services is not None and wish.service not in choice.services:
        return "the service is not selected for video"
    return None


@lru_cache(1024)  # a run plans several times
def key_of(record: str) -> str:
    """The name by which providers know a record; it gives Vello's id away to nobody."""
    return hashlib.sha256(record.encode()).hexdigest()[:32]


def spec_of(entry: Entry, wish: Record, choice: Choice, *, generation: int, opens_early: bool = False) -> MeetingSpec:
    """What we want of the provider for this record; `opens_early` as in `Capabilities`.

    Of several hosts the one who has the meeting keeps it.
    """
    stands = entry.meeting.spec if entry.meeting else None
    return MeetingSpec(
        key=key_of(entry.record),
        generation=generation,
        title=choice.title_of(wish),
        start=wish.start or 0,
        duration=wish.duration or 0,
        time_zone=choice.time_zone,
        host=_host_of(stands, wish, choice),
        options={name: value for name, value in choice.options.items() if opens_early or name != "opens_before"},
        owner=stands.owner if stands else "",
    )


def plan(
    entry: Entry, choice: Choice | None, capabilities: Capabilities | None, standing: Capabilities | None = None
) -> Action:
    """The next thing to do for `entry`.

    `capabilities` are those of the chosen connection, `standing` those of the connection where the meeting stands, None
    if that is gone; the latter count where the two are not the same.
    """
    why = unwanted(entry, choice)
    if why is not None:
        stands = entry.meeting or next(iter(_leftovers(entry)), None)
        return Action(Verdict.DELETE if stands else Verdict.IGNORE, why, target=stands)
    assert choice is not None and entry.wish is not None and choice.connection is not None  # noqa: S101, PT018 - unwanted() says so
    now, hosts, office = entry.meeting, choice.hosts_of(entry.wish.resource), entry.wish.office
    if now is not None and (stayed := _stayed(now, entry.wish, choice, standing)):
        return _settled(entry, now, stayed)
    early = _opens_early(now, capabilities)
    if now is None:
        spec = spec_of(entry, entry.wish, choice, generation=entry.made, opens_early=early)
        return Action(Verdict.CREATE, NEVER_MADE, wanted=Placement(choice.connection, spec, None, office), hosts=hosts)
    if why := _replacement(now, entry.wish, choice, capabilities):
        spec = spec_of(entry, entry.wish, choice, generation=entry.made + 1, opens_early=early)
        return Action(Verdict.REPLACE, why, now, Placement(choice.connection, spec, None, office), hosts)
    spec = spec_of(entry, entry.wish, choice, generation=now.spec.generation, opens_early=early)
    return _settled(entry, now, Placement(choice.connection, spec, now.meeting, office))


def is_to_be_replaced(
    entry: Entry, choice: Choice, capabilities: Capabilities | None, standing: Capabilities | None = None
) -> bool:
    """Whether `plan` replaces the meeting that stands of a record that is to have one."""
    now, wish = entry.meeting, entry.wish
    if now is None or wish is None or _stayed(now, wish, choice, standing):
        return False
    return _replacement(now, wish, choice, capabilities) is not None


def _settled(entry: Entry, now: Placement, wanted: Placement) -> Action:
    """What is left to do for a meeting that stands where it is to stand."""
    if now.spec != wanted.spec or now.office not in (None, wanted.office):
        return Action(Verdict.UPDATE, _difference(now.spec, wanted.spec), now, wanted)
    if entry.doubt:
        return Action(Verdict.UPDATE, "its state was in doubt", now, wanted)
    for leftover in _leftovers(entry):
        if leftover.name != now.name:
            return Action(Verdict.DELETE, "it was replaced", leftover)
    return KEPT


def _leftovers(entry: Entry) -> list[Placement]:
    """What is to be removed: first what is known to stand, since it may take long to learn whether the rest does."""
    return sorted(entry.retired, key=lambda each: each.meeting is None)


def _stayed(now: Placement, wish: Record, choice: Choice, standing: Capabilities | None) -> Placement | None:
    """What a meeting is to be that stays on the connection its office chose before; None when it does not stay.

    Its host and its options are words of its own provider, so they stay as they were.
    """
    if now.connection == choice.connection or now.office != wish.office or choice.move or standing is None:
        return None
    start, duration = wish.start or 0, wish.duration or 0
    if not standing.keeps_link and (now.spec.start, now.spec.duration) != (start, duration):
        return None
    title, zone = choice.title_of(wish), choice.time_zone
    spec = replace(now.spec, title=title, start=start, duration=duration, time_zone=zone)
    return now._replace(spec=spec)


def _opens_early(now: Placement | None, capabilities: Capabilities | None) -> bool:
    if capabilities is None:  # nobody can say, so what stands is left as it is
        return now is not None and "opens_before" in now.spec.options
    return capabilities.opens_early


def _host_of(stands: MeetingSpec | None, wish: Record, choice: Choice) -> str | None:
    hosts, now = choice.hosts_of(wish.resource), stands.host if stands else None
    return now if now in hosts else next(iter(hosts), None)


def _replacement(now: Placement, wish: Record, choice: Choice, capabilities: Capabilities | None) -> str | None:
    if now.connection != choice.connection:
        return "the office chose another connection"
    if capabilities is None:
        return None
    if capabilities.needs_host and now.spec.host != _host_of(now.spec, wish, choice):
        return "another person hosts it"
    if not capabilities.keeps_link and (now.spec.start, now.spec.duration) != (wish.start or 0, wish.duration or 0):
        return "it moved and the provider cannot move a meeting"
    return None


def _difference(now: MeetingSpec, wanted: MeetingSpec) -> str:
    if (now.start, now.duration) != (wanted.start, wanted.duration):
        return "the booking moved"
    return "title, host or options changed"
