"""Makes what stands at a provider match what Vello wants, for one record at a time.

A step plans and calls one provider verb; whoever asked for it holds the record's lease and commits what it did. It
never looks at the event. Before a create its intent is committed, so that whoever comes after a crash asks the provider
(`find`) before anything is made a second time.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from providers.base import (
    BudgetSpent,
    Meeting,
    MeetingNotFound,
    NoRoom,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from service.agenda import Agendas
from service.budget import Spent, purse_of
from service.calls import Calls, Permit
from service.connections import UnknownConnection
from service.entry import Entry, Placement, State
from service.found import Found
from service.gate import Held
from service.ledger import Ledger
from service.outcome import Step, back_off, failed, gone_for_good, held, refused, warned
from service.plan import KEPT, Action, Verdict, plan
from service.settings import Settings
from service.store import StoreUnavailable
from service.vello import Record
from service.verbs import NEVER_MADE, Change, Foreseen, Lease

SETTLING: Final = 30.0
"""Seconds for which a create without an answer may still come true: twice as long as one is waited for."""

_Answer = TypeVar("_Answer")

_UNFINDABLE: Final = "If a meeting was made, nobody can find it: it stays empty, and nobody has its link."


class Reconciler:
    """Takes one step at a time."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        calls: Calls,
        agendas: Agendas,
        found: Found,
        *,
        settling: float = SETTLING,
        owner: str = "",
    ) -> None:
        self._ledger = ledger
        self._agendas = agendas
        self._found = found
        self._owner = owner
        self._settings = settings
        self._calls = calls
        self._settling = settling

    async def step(self, lease: Lease, *, inline: bool) -> Step | None:
        """Carry out one plan; None when the lease was lost before the provider was called.

        Whether the provider may be called at all is asked before anything is begun.
        """
        entry, connections = lease.entry, self._settings.connections
        reads, action = self._settings.reads, self._foreseen(lease) or self._plan(entry)
        if given_up := self._given_up(entry, action):
            return given_up
        able: tuple[str, ...] = ()
        if entry.intent is None and len(action.hosts) > 1:
            able = await self._calls.able(connections, action)
            action = await self._agendas.hosted(connections, action, able or action.hosts)
        placement = entry.intent or (action.target if action.verdict is not Verdict.REPLACE else None) or action.wanted
        if placement is None or (entry.intent is None and action.verdict is Verdict.KEEP):
            return self._finish(Step(entry, Change("hold")))
        if wait := self._uncertain(entry, action):
            why = "The answer of a create was lost, and the provider may still carry it out"
            return held(entry, why, wait, self._settings.revision)
        try:
            verdict = action.verdict if entry.intent is None else Verdict.KEEP  # to look for a meeting costs nothing
            purse = purse_of(connections, placement, verdict)
            async with self._calls.permit(placement.connection, purse, inline=inline, turn=lease.turn) as permit:
                return await self._carry_out(lease, action, permit, reads)
        except Held as error:
            drop = ("intent",) if entry.intent is None else ()
            if able and isinstance(error, Spent):  # the next round takes another host
                await self._agendas.gone(connections, placement, entry.meeting)
                return Step(entry, Change("hold", drop=drop))
            return held(entry, str(error), error.wait, self._settings.revision, drop)

    def _given_up(self, entry: Entry, action: Action) -> Step | None:
        """Leave an intent that is not wanted any more: its connection may never say what came of it.

        Another connection is chosen by now, or the meeting that was to be replaced is right as it is. What was made, if
        anything, is looked for and removed afterwards. A booking that is to have no meeting has nothing to wait for.
        """
        intent, wanted = entry.intent, action.wanted
        if intent is None:
            return None
        removed = action.verdict is Verdict.DELETE and action.target == entry.meeting
        stays = entry.meeting is not None and not removed and action.verdict is not Verdict.REPLACE
        elsewhere = wanted is not None and wanted.connection != intent.connection
        if not (stays or elsewhere):
            return None
        made = max(entry.made, intent.spec.generation) + 1
        capabilities = self._settings.connections.promises(intent)
        if capabilities and not capabilities.finds:
            after, sets, text = entry, dict[str, str](), _UNFINDABLE
        else:
            after = entry._replace(retired=(*entry.retired, intent))
            sets = {f"x:{intent.name}": self._ledger.seal(entry.record, intent)}
            text = "What was being made is not wanted any more; if anything came of it, that is removed afterwards."
        after = after._replace(intent=None, made=made)
        return Step(after, Change("hold", {**sets, "made": str(made)}, ("intent",), (("find", text),)))

    def _uncertain(self, entry: Entry, action: Action) -> float:
        """Seconds for which it is too early to ask what became of a create; a vendor may be slower than we wait."""
        removed = action.target if action.verdict is Verdict.DELETE and entry.intent is None else None
        asked = removed if removed and removed.meeting is None else entry.intent
        if asked is None or entry.intent_age >= self._settling:
            return 0.0
        capabilities = self._settings.connections.promises(asked)
        if capabilities is None or not capabilities.finds:
            return 0.0
        # Made again it would be the same one; that helps nobody who is to remove it, or wants none any more.
        same = capabilities.idempotent_create and entry.intent and action.wanted
        return 0.0 if same else self._settling - entry.intent_age

    async def _carry_out(self, lease: Lease, action: Action, permit: Permit, reads: int) -> Step | None:
        """Call the provider, as was planned by the settings as of so many `reads`.

        What is begun is committed before, so that a crash leaves no false certainty: an intent before a create, a
        doubt before an update, and a meeting is given up before it is removed.
        """
        entry, target, wanted = lease.entry, action.target, action.wanted
        if entry.intent is not None:
            return await self._guarded(entry, permit, "Finding", lambda: self._resolve(entry))
        if action.verdict is Verdict.DELETE and target:
            begun = self._retire(entry, target)
            retired = begun.entry if begun else entry
            if begun and not await self._began(lease, begun.change):
                return None
            return await self._guarded(retired, permit, "Removing", lambda: self._delete(retired, target, action.why))
        if action.verdict is Verdict.UPDATE and target and wanted:
            if not entry.doubt and not await self._began(lease, Change("hold", {"doubt": "1"})):
                return None
            lease.begun.append((target, False))
            # The doubt stays until the update is done: not even a vendor that says it did nothing is sure of that.
            return await self._guarded(
                entry, permit, "Changing", lambda: self._update(entry, target, wanted, action.why)
            )
        assert wanted is not None  # noqa: S101 - what is left is CREATE and REPLACE
        ours = self._ours(wanted)
        if entry.older and (recalled := await self._recall(entry, ours, permit)):
            return recalled
        if not lease.foreseen or lease.foreseen.placement != wanted or not self._holds(lease):
            text = f"Making a meeting: {action.why}."
            sealed = self._ledger.seal(entry.record, ours)
            if not await self._began(lease, Change("hold", {"intent": sealed}, journal=((action.verdict, text),))):
                return None
        lease.begun.append((ours, False))
        then = entry._replace(intent=ours)
        return await self._guarded(then, permit, "Making", lambda: self._create(then, ours, reads, permit), ("intent",))

    async def _recall(self, entry: Entry, wanted: Placement, permit: Permit) -> Step | None:
        """Take on the meeting of a record that is older than the store, if there is one; None when one is to be made.

        No sweep of the connection knows yet: then the provider is asked, which costs none of a budget.
        """
        if entry.wish and (known := await self._found.recall(entry.wish, entry.realm)):
            return self._taken_on(entry, known.placement, doubt=known.doubt)
        capabilities = self._settings.connections.promises(wanted)
        if capabilities is None or not capabilities.finds or not await self._found.unseen(wanted.connection):
            return None
        step = await self._guarded(entry, permit, "Finding", lambda: self._look(entry, wanted))
        await self._calls.nothing_came(permit, spent=False)
        return step

    async def _look(self, entry: Entry, wanted: Placement) -> Step:
        provider = self._settings.connections.provider(wanted.connection)
        meeting = await self._call(entry, "find", wanted, provider.find(wanted.spec))
        if meeting is not None:
            return self._taken_on(entry, wanted._replace(meeting=meeting), doubt=True)
        text = (
            "This service's store is younger than the booking, so the provider was asked for its meeting: it has none."
        )
        return Step(entry._replace(older=False), Change("hold", drop=("older",), journal=(("find", text),)))

    def _taken_on(self, entry: Entry, placed: Placement, *, doubt: bool) -> Step:
        made = placed.spec.generation
        sets = {**self._ledger.standing(entry.record, placed), "made": str(made)} | ({"doubt": "1"} if doubt else {})
        after = entry._replace(meeting=placed, made=made, doubt=doubt, older=False)
        text = "A meeting of this booking stood at the provider already; it is taken on."
        return self._finish(Step(after, Change("hold", sets, ("older",), (("found", text),))))

    async def _began(self, lease: Lease, change: Change) -> bool:
        """Whether the record is still ours once `change` is written: a frozen process wakes up as a zombie."""
        return await self._ledger.begin(lease, change) and (self._holds(lease) or await self._ledger.renew(lease))

    def _holds(self, lease: Lease) -> bool:
        """Whether a lease holds for long enough to begin a call."""
        return lease.holds(self._ledger.lease_seconds * 2 / 3)

    def foresee(self, record: Record, realm: str, foreign: str) -> Foreseen | None:
        """The meeting that is made of a record of which nothing is known yet; None where that is to be seen."""
        entry = Entry(record.id, record.rank, realm, record, foreign, asked=1)
        action = self._plan(entry)
        wanted, connections = action.wanted, self._settings.connections
        if wanted is None or len(action.hosts) > 1 or not self._calls.likely(wanted.connection):
            return None
        if purse_of(connections, wanted, action.verdict):  # it may be empty
            return None
        return Foreseen(wanted, self._settings.reads)

    def _foreseen(self, lease: Lease) -> Action | None:
        """What `foresee` planned: the store saw that nothing else is known, and the settings are still the same."""
        if lease.foreseen is None or lease.foreseen.reads != self._settings.reads:
            return None
        return Action(Verdict.CREATE, NEVER_MADE, wanted=lease.foreseen.placement)

    def _ours(self, placed: Placement) -> Placement:
        """A meeting that this installation makes, or made: its marker says so, and no placement in the store."""
        return placed._replace(spec=replace(placed.spec, owner=self._owner))

    def _plan(self, entry: Entry) -> Action:
        choice = self._settings.choice_of(entry)
        return plan(entry, choice, *self._settings.promises(entry, choice))

    async def _create(self, entry: Entry, intent: Placement, reads: int, permit: Permit) -> Step:
        provider = self._settings.connections.provider(intent.connection)
        meeting = await self._call(entry, "create", intent, provider.create(intent.spec))
        capabilities = self._settings.connections.promises(intent)
        if capabilities and capabilities.finds:  # else nobody finds it, if this process ends while it waits
            await permit.answered()
        return await self._adopt(entry, intent, meeting, "The meeting was made.", reads)

    async def _resolve(self, entry: Entry) -> Step:
        """An earlier run died or lost the answer in the middle of a create: ask before anything is made again."""
        assert entry.intent is not None  # noqa: S101 - step() looked
        intent = self._ours(entry.intent)
        provider = self._settings.connections.provider(intent.connection)
        found = await self._call(entry, "find", intent, provider.find(intent.spec))
        if found is not None:
            return await self._adopt(entry, intent, found, "A meeting whose making was interrupted was found.", None)
        text = "The provider was asked for a meeting whose making was interrupted: it has none."
        capabilities = self._settings.connections.promises(intent)
        if capabilities and not capabilities.finds:
            text = _UNFINDABLE
        return Step(entry._replace(intent=None), Change("hold", drop=("intent",), journal=(("find", text),)))

    async def _adopt(self, entry: Entry, intent: Placement, meeting: Meeting, text: str, reads: int | None) -> Step:
        """Have the record take on a meeting that was made as planned; with `reads` None one that was found.

        That may be another run's, made when the booking was at another time: it is changed to what is wanted.
        """
        placed, doubt = intent._replace(meeting=meeting), reads is None
        sets = {**self._ledger.standing(entry.record, placed), "made": str(intent.spec.generation)}
        retired = tuple(old for old in entry.retired if old.name != placed.name)
        if entry.meeting is not None and entry.meeting.name != placed.name:
            retired += (entry.meeting,)
            sets[f"x:{entry.meeting.name}"] = self._ledger.seal(entry.record, entry.meeting)
        after = entry._replace(meeting=placed, intent=None, doubt=doubt, retired=retired, made=intent.spec.generation)
        sets |= {"doubt": "1"} if doubt else {}
        taken = await self._agendas.noted(self._settings.connections, placed)
        drop = ("intent", "older", f"x:{placed.name}", *(() if doubt else ("doubt",)))
        step = Step(after, Change("hold", sets, drop, (("ready", text), *warned(meeting), *taken)))
        as_planned = reads == self._settings.reads and not retired
        return self._finish(step, KEPT if as_planned else None)

    async def _update(self, entry: Entry, now: Placement, wanted: Placement, why: str) -> Step:
        provider = self._settings.connections.provider(now.connection)
        assert now.meeting is not None  # noqa: S101 - only an intent is without one
        try:
            meeting = await self._call(entry, "update", wanted, provider.update(now.meeting, wanted.spec))
        except MeetingNotFound:
            after = entry._replace(meeting=None, doubt=False, made=entry.made + 1)
            text = "The provider no longer has the meeting; a new one is made."
            gone = Change("hold", {"made": str(after.made)}, ("meeting", "entrance", "doubt"), (("vanished", text),))
            return Step(after, gone)
        placed = wanted._replace(meeting=meeting)
        sets = self._ledger.standing(entry.record, placed)
        taken = await self._agendas.noted(self._settings.connections, placed)
        journal = (("update", f"The meeting was changed: {why}."), *warned(meeting), *taken)
        change = Change("hold", sets, ("doubt",), journal)
        return self._finish(Step(entry._replace(meeting=placed, doubt=False), change))

    def _retire(self, entry: Entry, target: Placement) -> Step | None:
        """Give up the current meeting: from here on it is a leftover to remove, and nothing brings it back."""
        if entry.meeting is None or entry.meeting.name != target.name:
            return None
        capabilities = self._settings.connections.promises(target)
        made = entry.made + gone_for_good(capabilities)
        others = tuple(old for old in entry.retired if old.name != target.name)
        after = entry._replace(meeting=None, doubt=False, retired=(target, *others), made=made)
        sets = {f"x:{target.name}": self._ledger.seal(entry.record, target), "made": str(made)}
        return Step(after, Change("hold", sets, ("meeting", "entrance", "doubt")))

    async def _delete(self, entry: Entry, target: Placement, why: str) -> Step:
        capabilities = self._settings.connections.promises(target)
        made, text = entry.made, f"The meeting was removed: {why}."
        if capabilities is None:
            text = "The meeting's connection no longer exists, so it could not be removed there."
        elif not await self._removed(entry, target):
            text = "What an interrupted making may have left is not there."
        else:
            if not capabilities.enforces_teardown:
                text = f"The meeting was given up: {why}. Whoever has its link can still open the room."
            if entry.meeting is None and gone_for_good(capabilities):  # what a zombie made is so as well
                made = max(made, target.spec.generation + 1)
        after = entry._replace(retired=tuple(old for old in entry.retired if old.name != target.name), made=made)
        change = Change("hold", {"made": str(made)}, (f"x:{target.name}",), (("delete", text),))
        return self._finish(Step(after, change))

    async def _removed(self, entry: Entry, target: Placement) -> bool:
        """Remove a leftover. One without a meeting is what a zombie may have made: the provider is asked first."""
        provider = self._settings.connections.provider(target.connection)
        meeting = target.meeting or await self._call(entry, "find", target, provider.find(self._ours(target).spec))
        found = target._replace(meeting=meeting)
        if meeting is None or (entry.meeting is not None and entry.meeting.name == found.name):
            return False
        await self._call(entry, "delete", target, provider.delete(meeting))
        await self._agendas.gone(self._settings.connections, target, entry.meeting)
        return True

    def _finish(self, step: Step, action: Action | None = None) -> Step:
        """If nothing is left to do after this step, its commit settles the record; `action` says it if it is known."""
        entry = step.entry
        action = action or self._plan(entry)
        if entry.intent is not None or action.verdict not in (Verdict.KEEP, Verdict.IGNORE):
            return step
        state, text = State.NONE if entry.live else State.GONE, f"No meeting: {action.why}."
        drop: tuple[str, ...] = ("reason",)
        if entry.meeting is not None:
            state, text, drop = State.READY, f"Ready: {action.why}.", ("reason", f"x:{entry.meeting.name}")
        sets = {**step.change.set, "state": state, "settings": self._settings.revision}
        journal = (*step.change.journal, ("settled", text))
        return Step(entry, Change("done", sets, (*step.change.drop, *drop), journal))

    async def _guarded(
        self,
        entry: Entry,
        permit: Permit,
        doing: str,
        act: Callable[[], Awaitable[Step]],
        closes: tuple[str, ...] = (),
    ) -> Step:
        """Carry out one act; what the provider refuses becomes what the caller of its error must do.

        `doing` the meeting is what did not work then; `closes` are fields to drop when nothing happened. Raises Spent.
        """
        revision = self._settings.revision
        permit.begun()
        try:
            step = await act()
        except UnknownConnection:
            error = PermanentError("The connection was removed; choose another one.", "admin")
            return refused(entry, doing, error, revision, ("intent",))
        except NoRoom as error:
            await self._calls.nothing_came(permit, spent=False)
            return held(entry, error.text.rstrip("."), back_off(0), revision, closes)
        except ProviderError as error:
            await self._judge(permit, error)
            if isinstance(error, BudgetSpent) and error.retry_after:
                raise Spent(error.text.rstrip("."), error.retry_after) from None
            anew = {"intent": self._ledger.seal(entry.record, entry.intent)} if entry.intent else {}
            return failed(entry, doing, permit.connection, error, revision, closes, anew)
        await self._calls.well(permit)
        with contextlib.suppress(StoreUnavailable):  # what the call did is to be committed all the same
            if await self._settings.connections.works(permit.connection):
                await self._ledger.unpark(permit.connection)
        return step

    async def _call(self, entry: Entry, verb: str, on: Placement, call: Awaitable[_Answer]) -> _Answer:
        provider = self._settings.connections.get(on.connection).provider
        return await self._calls.call(entry, verb, on.connection, provider, call)

    async def _judge(self, permit: Permit, error: ProviderError) -> None:
        """What an error says of the connection; a provider that refuses a call or puts it off has answered."""
        connection, mark = permit.connection, self._settings.connections.mark
        if not isinstance(error, OutcomeUnknown):
            await self._calls.nothing_came(permit, spent=isinstance(error, BudgetSpent))
        if isinstance(error, OutcomeUnknown | TemporaryError) and not error.well:
            if await self._calls.unwell(permit):
                text = f"{error.text} It is left alone for a while and tried by itself."
                await mark(connection, "failing", text, "outage")
            return
        await self._calls.well(permit)
        if isinstance(error, PermanentError):
            await mark(connection, "failing", error.text)
        elif isinstance(error, ReconnectRequired):
            await mark(connection, "reconnect", error.text)
