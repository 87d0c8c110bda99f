"""Replaying: what an event of the delivery log said is applied again, the way it came; or told what that would do now.

The ledger's order holds for it as for every event, so a replay of something old moves no booking back.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from service.companies import OWN, Companies
from service.deliveries import NEWEST, Answered, Deliveries
from service.delivery import Delivery, Wanted
from service.entry import Entry
from service.errands import Errand, Step
from service.found import Found
from service.ledger import Ledger
from service.plan import Action, Verdict, plan
from service.settings import Settings
from service.vello import UPDATE_METADATA, Event, Rank

PACE: Final = 20
"""Events a second that a replay of many applies, at most."""
LOOK: Final = 5_000
"""Lines that are looked at to tell what a replay of many would do."""
KIND: Final = "replay"
_BATCH = 10
_LINES = 200  # lines looked at in one step, however few fit
_DOES = {Verdict.CREATE: "made", Verdict.UPDATE: "changed", Verdict.REPLACE: "replaced", Verdict.DELETE: "removed"}


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a replay would do: the ledger's `verdict`, and what happens to the meeting (`does`), with the plan's word.

    `does` is nothing, made, changed, replaced or removed.
    """

    verdict: str
    does: str
    why: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a replay of many would do: events, how many are stale or repeat what is known, and what becomes of meetings.

    `complete` is false when there were more lines than are looked at.
    """

    events: int = 0
    stale: int = 0
    made: int = 0
    changed: int = 0
    replaced: int = 0
    removed: int = 0
    complete: bool = True


class Replays:
    """Applies events again. All raise StoreUnavailable."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        companies: Companies,
        found: Found,
        deliveries: Deliveries,
        public_url: str,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._companies = companies
        self._found = found
        self._deliveries = deliveries
        self._hosted_prefix = f"{public_url}/m/"

    async def replay(self, line: Delivery) -> str | None:
        """Apply one again; the verdict, None where what it said is not known."""
        said = self._deliveries.said(line)
        if said is None:
            return None
        event, foreign = said
        record, began = event.record, time.perf_counter()
        assert record is not None  # noqa: S101 - what was said, was said of a record
        if not await self._welcome(line.realm, record.office):
            return "refused"
        note = self._deliveries.note(event, line.realm)
        if await self._overtaken(line, event, *(await self._ledger.weigh(event, line.realm))[:2]):
            took = (time.perf_counter() - began) * 1000
            seen = Answered(note, line.realm, event.type, "old", took, event, foreign=foreign, again=line.id)
            self._deliveries.answered(seen)
            return "old"
        known = await self._found.known(record, line.realm)
        accepted = await self._ledger.accept(
            event, line.realm, self._hosted_prefix, inline=False, known=known, note=note, foreign=foreign
        )
        await self._settings.refresh(accepted.revision)
        erased = accepted.entry is None and accepted.told is None and accepted.verdict == "old"
        verdict = "erased" if erased else accepted.verdict
        self._deliveries.answered(
            Answered(
                note,
                line.realm,
                event.type,
                "refused" if verdict == "foreign" else verdict,
                (time.perf_counter() - began) * 1000,
                event,
                accepted.verdict if accepted.noted else "",
                code="wrong_company" if verdict == "foreign" else None,
                foreign=foreign,
                again=line.id,
            )
        )
        return verdict

    async def _overtaken(self, line: Delivery, event: Event, verdict: str, entry: Entry | None) -> bool:
        """Whether the ledger would go by the order of arrival, and something that came after the line was taken.

        So it goes for events that name neither version nor time, such as a cancellation that was taken back since.
        """
        record = event.record
        if verdict != "new" or entry is None or record is None or record.rank is Rank.DELETED:
            return False
        pairs = (record.version, entry.version), (record.changed, entry.changed)
        if any(None not in pair and pair[0] != pair[1] for pair in pairs):
            return False
        said = line.id
        for each in await self._deliveries.of(record.id):
            if each.id == said and not each.again:
                return False
            if each.id == said and each.again:  # a replay is as old as what it repeats
                said = each.again
            elif each.kind == "event" and each.verdict == "new" and each.again not in (line.id, said):
                return True
        return True  # more has come since than is looked at

    async def _welcome(self, realm: str, office: str | None) -> bool:
        """Whether the webhook would take it still."""
        if realm != OWN and await self._companies.get(realm) is None:
            return False
        return await self._settings.choices.saw(office, realm)

    async def foresee(self, line: Delivery, known: dict[str, Entry] | None = None) -> Foreseen | None:
        """What a replay of one would do now, None where what it said is not known.

        Of several, `known` are the entries as those before would leave them.
        """
        said = self._deliveries.said(line)
        if said is None or said[0].record is None:
            return None
        event, foreign = said
        record = said[0].record
        if known is not None and record.id in known:  # of one record the newest counts, and it was weighed
            return Foreseen("old", "nothing", "something newer is known")
        verdict, entry, revision = await self._ledger.weigh(event, line.realm)
        await self._settings.refresh(revision)
        if await self._overtaken(line, event, verdict, entry):
            return Foreseen("old", "nothing", "something newer is known")
        if verdict in ("foreign", "erased"):
            return Foreseen(verdict, "nothing", "the record belongs to another company or was erased")
        after = foreseen(entry, event, line.realm, verdict, foreign)
        if entry is None:
            after = after._replace(meeting=(await self._found.known(record, line.realm)).placement)
        if known is not None:
            known[record.id] = after
        if entry is not None and verdict != "new" and (after.asked or 0) == (entry.asked or 0):
            return Foreseen(verdict, "nothing", "something newer is known" if verdict == "old" else "nothing changed")
        action = self._plan(after)
        does = _DOES.get(action.verdict, "nothing")
        return Foreseen(verdict, does, action.why)

    def _plan(self, entry: Entry) -> Action:
        choice = self._settings.choices.of(entry.wish.office if entry.wish else None, entry.realm)
        return plan(entry, choice, *self._settings.promises(entry, choice))

    async def outlook(self, wanted: Wanted, sees: Callable[[str], bool] = lambda _: True) -> Outlook:
        """What a replay of many would do now; nothing is changed."""
        counts: dict[str, int] = dict.fromkeys(("events", "stale", *_DOES.values()), 0)
        known = dict[str, Entry]()
        before, looked = _before(wanted), 0
        while looked < LOOK:
            lines, more = await self._deliveries.page(before, 500, since=wanted.since, record=wanted.record)
            looked += 500
            for line in lines:
                if not (wanted.fits(line) and sees(line.realm)):
                    continue
                told = await self.foresee(line, known)
                if told is None:
                    continue
                counts["events"] += 1
                counts["stale"] += told.verdict != "new"
                if told.does != "nothing":
                    counts[told.does] += 1
            if more is None:
                return Outlook(**counts, complete=True)
            before = more
        return Outlook(**counts, complete=False)

    async def step(self, errand: Errand, what: Mapping[str, Any]) -> Step:
        """Go on with a replay of many: the newest first, so that what is right in the end is right at once."""
        companies, wanted = what["companies"], Wanted(**what["wanted"])
        counts = {"looked": 0, "replayed": 0, "new": 0, **errand.counts}
        before, done = errand.place or _before(wanted), 0
        lines, more = await self._deliveries.page(before, _LINES, since=wanted.since, record=wanted.record)
        for line in lines:
            counts["looked"] += 1
            before = line.id
            if not wanted.fits(line) or (companies is not None and (line.realm or "own") not in companies):
                continue
            verdict = await self.replay(line)
            if verdict is None:
                continue
            counts["replayed"] += 1
            counts["new"] += verdict == "new"
            done += 1
            if done == _BATCH:
                return Step(before, counts, _BATCH / PACE)
        return Step(before if more else None, counts, done / PACE)


def about(wanted: Wanted, companies: tuple[str, ...] | None) -> dict[str, Any]:
    """What an errand that replays all that is `wanted` is about; its own lines are newer, and not meant."""
    until = time.time() if wanted.until is None else min(wanted.until, time.time())
    return {"wanted": {**asdict(wanted), "until": until}, "companies": companies}


def _before(wanted: Wanted) -> str:
    return NEWEST if wanted.until is None else str(int(wanted.until * 1000))


def foreseen(entry: Entry | None, event: Event, realm: str, verdict: str, foreign: str) -> Entry:
    """The entry as the ledger would leave it, as far as the plan looks at it."""
    record = event.record
    assert record is not None  # noqa: S101 - only events about records are weighed
    after = entry or Entry(record.id, record.rank, realm)
    if verdict == "new" and record.rank is Rank.DELETED:
        after = after._replace(rank=record.rank, wish=None, foreign="")
    elif verdict == "new":
        after = after._replace(rank=record.rank)
        if not record.partial:
            after = after._replace(wish=record, foreign="" if foreign in after.told else foreign)
    if event.type == UPDATE_METADATA and after.rank is not Rank.DELETED and not after.asked:
        after = after._replace(asked=int(time.time()))
    return after
