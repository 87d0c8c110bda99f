"""Makes what stands at a provider match what Vello wants, for one record at a time.

A run holds the record's lease and repeats three steps until nothing is left to do: plan, call one provider verb,
commit with the fencing token. It never looks at the event. Before a create its intent is committed, so that whoever
comes after a crash asks the provider (`find`) before anything is made a second time.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import structlog

from providers.base import (
    Fixer,
    Meeting,
    MeetingNotFound,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from service.choices import Choices
from service.connections import Connections, UnknownConnection
from service.entry import Entry, Placement, Reason, State
from service.ledger import Change, Lease, Ledger, reason_text
from service.meetings import Meetings
from service.plan import Action, Verdict, plan
from service.store import StoreUnavailable

ROUNDS: Final = 16
"""Steps one run may take before it hands the record back."""
REFUSALS: Final = 3
"""Permanent errors in a row after which a record is given up, loudly, until something about it changes."""
_LONGEST_WAIT: Final = 900.0
_CALL_LIMIT: Final = 60.0

_Answer = TypeVar("_Answer")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Step:
    """What one step did: the entry as it is afterwards, and what of it is to be written."""

    entry: Entry
    change: Change


@dataclass(slots=True)
class Settings:
    """Choices and connections as one thing that is read again when its revision moves."""

    choices: Choices
    connections: Connections
    revision: str = field(default="", init=False)

    async def load(self) -> None:
        """Read everything again, choices first: a choice is made after the connection it names."""
        await self.choices.load()
        await self.connections.load()

    async def refresh(self, revision: str) -> None:
        """Read everything again unless `revision` is the one we have."""
        if revision != self.revision:
            await self.load()
            self.revision = revision


class Reconciler:
    """Runs records; every run is a task that outlives whoever started it."""

    def __init__(self, ledger: Ledger, settings: Settings, meetings: Meetings | None = None) -> None:
        self._ledger = ledger
        self._meetings = meetings
        self._settings = settings
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, lease: Lease, revision: str) -> asyncio.Task[None]:
        """Begin to work on a leased record in a task of its own, with the settings of `revision`."""
        record = lease.entry.record
        task = asyncio.create_task(self._run(lease, revision), name=f"reconcile {record}")
        self._running[record] = task

        def done(finished: asyncio.Task[None]) -> None:
            if self._running.get(record) is finished:
                del self._running[record]

        task.add_done_callback(done)
        return task

    def running(self, record: str | None = None) -> list[asyncio.Task[None]]:
        """The tasks at work, or the one that works on `record`."""
        if record is None:
            return list(self._running.values())
        return [self._running[record]] if record in self._running else []

    async def drain(self, patience: float) -> None:
        """Let the runs finish for `patience` seconds, then stop them; a stopped run hands its lease back."""
        tasks = self.running()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=patience)

    async def _run(self, lease: Lease, revision: str) -> None:
        structlog.contextvars.bind_contextvars(record=lease.entry.record)
        try:
            await self._settings.refresh(revision)
            async with self._renewing(lease):
                await self._rounds(lease)
        except StoreUnavailable as error:
            _log.warning("run_stopped", reason=str(error))  # the lease expires and somebody takes over
        except asyncio.CancelledError:
            with contextlib.suppress(StoreUnavailable):
                await asyncio.shield(self._ledger.commit(lease, Change("back")))
            raise
        except Exception:  # a fault of ours must not stop the loop that feeds every other record
            _log.exception("run_failed")
            with contextlib.suppress(StoreUnavailable):
                await self._ledger.commit(lease, Change("retry", delay=_wait(lease.entry.attempts)))

    async def _rounds(self, lease: Lease) -> None:
        for _ in range(ROUNDS):
            step = await self._step(lease)
            if step is None:
                return
            committed = await self._ledger.commit(lease, step.change)
            if committed.verdict == "lost":
                await self._give_away(lease.entry, step.entry, committed.entry)
                return
            if self._meetings and step.entry.meeting and "meeting" in step.change.set:
                await self._meetings.touched(step.entry.record, step.entry.meeting)
            if committed.entry is None or (committed.verdict == "ok" and step.change.mode != "hold"):
                return
            await self._settings.refresh(committed.revision)
            lease = replace(lease, entry=committed.entry)
        _log.error("rounds_exhausted", rounds=ROUNDS)
        await self._ledger.commit(lease, Change("retry", delay=_wait(lease.entry.attempts)))

    async def _step(self, lease: Lease) -> _Step | None:
        """One plan carried out; None when the lease was lost before the provider was called.

        What is begun is committed before the provider is called, so that a crash leaves no false certainty: an
        intent before a create, a doubt before an update, and a meeting is given up before it is removed.
        """
        entry = lease.entry
        if entry.intent is not None:
            return await self._guarded(entry, entry.intent.connection, lambda: self._resolve(entry))
        action = self._plan(entry)
        target, wanted = action.target, action.wanted
        if action.verdict is Verdict.DELETE and target:
            begun = self._retire(entry, target)
            retired = begun.entry if begun else entry
            if begun and not await self._began(lease, begun.change):
                return None
            return await self._guarded(retired, target.connection, lambda: self._delete(retired, target, action.why))
        if action.verdict is Verdict.UPDATE and target and wanted:
            if not entry.doubt and not await self._began(lease, Change("hold", {"doubt": "1"})):
                return None
            closes = () if entry.doubt else ("doubt",)
            return await self._guarded(
                entry, target.connection, lambda: self._update(entry, target, wanted, action.why), closes=closes
            )
        if action.verdict in (Verdict.CREATE, Verdict.REPLACE) and wanted:
            text = f"Making a meeting: {action.why}."
            sealed = self._ledger.seal(entry.record, wanted)
            if not await self._began(lease, Change("hold", {"intent": sealed}, journal=((action.verdict, text),))):
                return None
            intended = replace(entry, intent=wanted)
            return await self._guarded(
                intended, wanted.connection, lambda: self._create(intended, wanted), closes=("intent",)
            )
        return self._finish(_Step(entry, Change("hold")))

    async def _began(self, lease: Lease, change: Change) -> bool:
        return (await self._ledger.commit(lease, change)).verdict != "lost"

    def _plan(self, entry: Entry) -> Action:
        choice = self._settings.choices.of(entry.wish.office if entry.wish else None)
        connection = choice.connection if choice else None
        return plan(entry, choice, self._settings.connections.capabilities(connection))

    async def _create(self, entry: Entry, intent: Placement) -> _Step:
        provider = self._settings.connections.provider(intent.connection)
        meeting = await self._call(entry, "create", intent, provider.create(intent.spec))
        return self._adopt(entry, intent, meeting, "The meeting was made.")

    async def _resolve(self, entry: Entry) -> _Step:
        """An earlier run died or lost the answer in the middle of a create: ask before anything is made again."""
        intent = entry.intent
        assert intent is not None  # noqa: S101 - _step() looked
        provider = self._settings.connections.provider(intent.connection)
        found = await self._call(entry, "find", intent, provider.find(intent.spec))
        if found is not None:
            return self._adopt(entry, intent, found, "A meeting whose making was interrupted was found.")
        return _Step(replace(entry, intent=None), Change("hold", drop=("intent",)))

    def _adopt(self, entry: Entry, intent: Placement, meeting: Meeting, text: str) -> _Step:
        placed = Placement(intent.connection, intent.spec, meeting)
        sets = {"meeting": self._ledger.seal(entry.record, placed), "made": str(intent.spec.generation)}
        retired = tuple(old for old in entry.retired if old.name != placed.name)
        if entry.meeting is not None and entry.meeting.name != placed.name:
            retired += (entry.meeting,)
            sets[f"x:{entry.meeting.name}"] = self._ledger.seal(entry.record, entry.meeting)
        after = replace(entry, meeting=placed, intent=None, doubt=False, retired=retired, made=intent.spec.generation)
        drop = ("intent", "doubt", f"x:{placed.name}")
        return self._finish(_Step(after, Change("hold", sets, drop, (("ready", text),))))

    async def _update(self, entry: Entry, now: Placement, wanted: Placement, why: str) -> _Step:
        provider = self._settings.connections.provider(now.connection)
        assert now.meeting is not None  # noqa: S101 - only an intent is without one
        try:
            meeting = await self._call(entry, "update", wanted, provider.update(now.meeting, wanted.spec))
        except MeetingNotFound:
            after = replace(entry, meeting=None, doubt=False, made=entry.made + 1)
            text = "The provider no longer has the meeting; a new one is made."
            gone = Change("hold", {"made": str(after.made)}, ("meeting", "doubt"), (("vanished", text),))
            return _Step(after, gone)
        placed = replace(wanted, meeting=meeting)
        sets = {"meeting": self._ledger.seal(entry.record, placed)}
        change = Change("hold", sets, ("doubt",), (("update", f"The meeting was changed: {why}."),))
        return self._finish(_Step(replace(entry, meeting=placed, doubt=False), change))

    def _retire(self, entry: Entry, target: Placement) -> _Step | None:
        """Give up the current meeting: from here on it is a leftover to remove, and nothing brings it back."""
        if entry.meeting is None or entry.meeting.name != target.name:
            return None
        capabilities = self._settings.connections.capabilities(target.connection)
        made = entry.made + (1 if capabilities is None or capabilities.enforces_teardown else 0)
        others = tuple(old for old in entry.retired if old.name != target.name)
        after = replace(entry, meeting=None, doubt=False, retired=(target, *others), made=made)
        sets = {f"x:{target.name}": self._ledger.seal(entry.record, target), "made": str(made)}
        return _Step(after, Change("hold", sets, ("meeting", "doubt")))

    async def _delete(self, entry: Entry, target: Placement, why: str) -> _Step:
        assert target.meeting is not None  # noqa: S101 - only an intent is without one
        capabilities = self._settings.connections.capabilities(target.connection)
        text = f"The meeting was removed: {why}."
        if capabilities is None:
            text = "The meeting's connection no longer exists, so it could not be removed there."
        else:
            provider = self._settings.connections.provider(target.connection)
            await self._call(entry, "delete", target, provider.delete(target.meeting))
            if not capabilities.enforces_teardown:
                text = f"The meeting was given up: {why}. Whoever has its link can still open the room."
        after = replace(entry, retired=tuple(old for old in entry.retired if old.name != target.name))
        return self._finish(_Step(after, Change("hold", drop=(f"x:{target.name}",), journal=(("delete", text),))))

    def _finish(self, step: _Step) -> _Step:
        """If nothing is left to do after this step, its commit settles the record."""
        entry = step.entry
        action = self._plan(entry)
        if entry.intent is not None or action.verdict not in (Verdict.KEEP, Verdict.IGNORE):
            return step
        state = State.READY if action.verdict is Verdict.KEEP else State.NONE if entry.live else State.GONE
        drop: tuple[str, ...] = ("reason",)
        if entry.meeting is not None:
            drop += (f"x:{entry.meeting.name}",)
        change = replace(
            step.change,
            mode="done",
            set={**step.change.set, "state": state, "settings": self._settings.revision},
            drop=(*step.change.drop, *drop),
            journal=(*step.change.journal, ("settled", _settled(action, entry))),
        )
        return _Step(entry, change)

    async def _guarded(
        self,
        entry: Entry,
        connection: str,
        act: Callable[[], Awaitable[_Step]],
        *,
        closes: tuple[str, ...] = (),
    ) -> _Step:
        """Carry out one act; what the provider refuses becomes what the caller of its error must do.

        `closes` are fields to drop when the error says that nothing happened.
        """
        try:
            step = await act()
        except UnknownConnection:
            error = PermanentError("The connection was removed; choose another one.", "admin")
            return self._refused(entry, error, ("intent",))
        except PermanentError as error:
            await self._settings.connections.mark(connection, "failing", error.text)
            return self._refused(entry, error, closes)
        except ReconnectRequired as error:
            await self._settings.connections.mark(connection, "reconnect", error.text)
            return self._later(entry, error, "reconnect", closes, park=connection)
        except OutcomeUnknown as error:
            return self._later(entry, error, "unknown", ())
        except ProviderError as error:
            return self._later(entry, error, "temporary", closes)
        if await self._settings.connections.works(connection):
            await self._ledger.unpark(connection)
        return step

    def _later(self, entry: Entry, error: ProviderError, code: str, drop: tuple[str, ...], *, park: str = "") -> _Step:
        wait = _wait(entry.attempts)
        if isinstance(error, TemporaryError) and error.retry_after:
            wait = max(wait, error.retry_after)
        who: Fixer = "admin" if park else "operator"
        sets = {"state": State.PENDING, "reason": reason_text(Reason(code, error.text, who))}
        sets |= {"settings": self._settings.revision}
        mode = "park" if park else "retry"
        return _Step(entry, Change(mode, sets, drop, ((code, error.text),), wait, park))

    def _refused(self, entry: Entry, error: PermanentError, drop: tuple[str, ...]) -> _Step:
        refusals = entry.refusals + 1
        sets = {
            "reason": reason_text(Reason("permanent", error.text, error.who_can_fix)),
            "refusals": str(refusals),
            "settings": self._settings.revision,
        }
        if refusals < REFUSALS:
            return _Step(entry, Change("retry", sets, drop, (("refused", error.text),), _wait(refusals)))
        _log.error("given_up", reason=error.text, who_can_fix=error.who_can_fix)
        text = f"Given up after {refusals} refusals: {error.text}"
        sets |= {"state": State.FAILED}
        return _Step(entry, Change("done", sets, drop, (("failed", text),)))

    async def _give_away(self, before: Entry, mine: Entry, now: Entry | None) -> None:
        """This run lost its lease while it worked: what it did behind its heir's back must not stay."""
        made = mine.meeting
        if made is None or made == before.meeting or now is None:
            return
        if made.name not in {placed.name for placed in (now.meeting, *now.retired) if placed}:
            _log.warning("lease_lost_after_create")
            await self._ledger.orphan(before.record, made)
        elif now.meeting is not None and now.meeting.name == made.name and now.meeting.spec != made.spec:
            _log.warning("lease_lost_after_update")
            text = "A process that had lost its lease changed the meeting; it is set right."
            await self._ledger.nudge(before.record, text, doubt=True)

    async def _call(self, entry: Entry, verb: str, on: Placement, call: Awaitable[_Answer]) -> _Answer:
        began, outcome = time.monotonic(), "ok"
        try:
            async with asyncio.timeout(_CALL_LIMIT):
                return await call
        except TimeoutError:
            outcome = "OutcomeUnknown"
            raise OutcomeUnknown(f"The provider did not answer within {_CALL_LIMIT:.0f} seconds.") from None
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            took = round((time.monotonic() - began) * 1000, 1)
            _log.info(
                "provider_call",
                connection=on.connection,
                verb=verb,
                outcome=outcome,
                milliseconds=took,
                attempt=entry.attempts + 1,
            )

    @contextlib.asynccontextmanager
    async def _renewing(self, lease: Lease) -> AsyncIterator[None]:
        """Keep the lease while the run works; a run that loses it is told by its next commit."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(self._ledger.lease_seconds / 3)
                with contextlib.suppress(StoreUnavailable):
                    if not await self._ledger.renew(lease):
                        return

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _settled(action: Action, entry: Entry) -> str:
    if action.verdict is Verdict.KEEP:
        return f"Ready: {action.why}."
    return f"No meeting: {action.why}."


def _wait(attempts: int) -> float:
    """Seconds until the next try: doubled each time, capped, with jitter."""
    return float(min(_LONGEST_WAIT, 2 ** min(attempts, 12))) * random.uniform(0.5, 1.0)  # noqa: S311
