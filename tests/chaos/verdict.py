"""What a storm left behind: Vello's last word on every booking against what stands at the vendors and in the ledger.

Nothing that a service counts of itself is asked.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from service.plan import key_of
from tests.chaos.booking import Booking
from tests.chaos.vello import Vello
from tests.chaos.world import PUBLIC, World
from tests.waiting import outage

_CLICKS = 20
WRONGS = ("lost", "duplicated", "orphaned", "stale", "wrong_time", "dead_links", "junk")


@dataclass
class Verdict:
    """What happened, and what is wrong after it: every figure of `wrong` must be zero."""

    happened: dict[str, int] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    about: dict[str, list[str]] = field(default_factory=dict)
    """For every figure the records it is about."""
    stories: dict[str, list[str]] = field(default_factory=dict)
    """What the ledger's journal and the vendors say of each of them, in order."""
    befell: Counter[str] = field(default_factory=Counter)
    """What the vendors' weather did to calls."""
    unheard: int = 0
    """Makings of rooms of that kind whose answer nobody got."""
    empty: int = 0
    """Rooms whose making was never heard of, at a vendor where nobody can find them: nobody has their links."""

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not +self.wrong

    def add(self, name: str, record: str, count: int | bool = True) -> None:
        """Note that something is wrong with a record."""
        if count:
            self.wrong[name] += count
            self.about.setdefault(name, []).append(record)

    def __str__(self) -> str:
        happened = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in self.happened.items())
        wrongs = ", ".join(f"{name.replace('_', ' ')} {self.wrong[name]}" for name in WRONGS)
        return f"{happened}: {wrongs}" + (f"; empty rooms apart {self.empty}" if self.empty else "")


async def judge(world: World, vello: Vello, bookings: list[Booking]) -> Verdict:
    """Compare; last, Vello asks once more for every link and follows it."""
    verdict = Verdict()
    standing: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    nameless: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, vendor in enumerate(world.vendors):
        for line in await vendor.junk():
            verdict.add("junk", line)
        for meeting in await vendor.meetings():
            if meeting["key"] is None:
                nameless[meeting["id"]] = (number, meeting)
            else:
                standing.setdefault(meeting["key"], []).append((number, meeting))
    right = []
    for booking in bookings:
        mine = standing.pop(key_of(booking.id), [])
        shown = (await vello.get(f"/api/v1/records/{booking.id}")).json()
        mine += [nameless.pop(shown["meeting_id"])] if shown["meeting_id"] in nameless else []
        before = verdict.wrong.total()
        _compare(verdict, booking, mine, shown)
        if verdict.wrong.total() != before:
            verdict.stories[booking.id] = await _story(world, booking, shown, [one["id"] for _, one in mine])
        elif booking.wanted:
            right.append((booking, mine[0][1]["join_url"]))
    for key, meetings in standing.items():
        verdict.add("orphaned", key, len(meetings))
    known = {link for booking in bookings for link in booking.told}
    for id_, (_, meeting) in nameless.items():
        if meeting["join_url"] in known:
            verdict.add("orphaned", id_)
        else:
            verdict.empty += 1
    for booking, join_url in right:
        await vello.say(booking, booking.words[0])
        for link in _promised(booking):
            if (found := await _followed(vello, link)) != join_url:
                verdict.add("dead_links", booking.id)
                shown = (await vello.get(f"/api/v1/records/{booking.id}")).json()
                story = await _story(world, booking, shown, [shown["meeting_id"]])
                verdict.stories[booking.id] = [*story, f"In the end {link} leads to {found}"]
    return verdict


async def _story(world: World, booking: Booking, shown: dict[str, Any], meetings: list[str]) -> list[str]:
    names = [key_of(booking.id), *meetings]
    told = [f"{line['at']} {line['what']}: {line['text']}" for line in shown["journal"]]
    told += [f"{at:.3f} Vello was told {link}" for link, at in booking.told.items()]
    for number, vendor in enumerate(world.vendors):
        for line in (await vendor.befell())["story"]:
            if any(name in line for name in names):
                told.append(f"{line} (vendor {number})")
    return sorted(told)


def _compare(verdict: Verdict, booking: Booking, mine: list[tuple[int, dict[str, Any]]], shown: dict[str, Any]) -> None:
    verdict.add("duplicated", booking.id, max(0, len(mine) - 1))
    if not booking.wanted:
        verdict.add("orphaned", booking.id, len(mine))
        verdict.add("stale", booking.id, shown["state"] != ("none" if booking.live else "gone"))
        return
    right = [meeting for vendor, meeting in mine if vendor == booking.office.vendor]
    verdict.add("lost", booking.id, not right)
    when = (booking.data["time"], booking.data["duration"])
    verdict.add(
        "wrong_time", booking.id, any((one["start"], one["duration"]) not in (when, (None, None)) for one in right)
    )
    said = (shown["state"], shown["version"], shown["start"], shown["next_attempt_at"])
    true = said == ("ready", booking.data["version"], booking.data["time"], None)
    verdict.add("stale", booking.id, not (true and shown["meeting_id"] in [one["id"] for one in right]))


def _promised(booking: Booking) -> set[str]:
    """The link Vello was told last, and every one of ours it was ever told: those never change."""
    assert booking.link, "Vello was told no link for a booking that has a meeting"
    return {booking.link, *(link for link in booking.told if link.startswith(PUBLIC))}


async def _followed(vello: Vello, link: str) -> str:
    """Where a link leads to, or what its page answered; whoever is told "not now" tries again."""
    if not link.startswith(PUBLIC):
        return link
    for _ in range(_CLICKS):
        answer = await vello.get(f"{urlsplit(link).path}/join")
        if answer.status_code != 503:
            break
        await outage(0.2)
    return str(answer.headers.get("location", f"a page with status {answer.status_code}"))
