"""Runs: work on one leased record until nothing is left to do, in a task that outlives whoever started it.

A run repeats a step of the reconciler and its commit, which holds only as long as the lease's fencing token does.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

import structlog

from providers.base import FENCE
from service.entry import Entry, Placement
from service.leases import Renewing
from service.ledger import Ledger
from service.meetings import Meetings
from service.observer import Observer
from service.outcome import Step, again
from service.reconcile import Reconciler
from service.settings import Settings
from service.store import StoreUnavailable
from service.vello import Record
from service.verbs import Change, Committed, Foreseen, Lease, Telling, Tells, having_told

Tell = Callable[[Entry], Telling | None]
"""What Vello is told of a settled entry."""

ROUNDS: Final = 16
"""Steps one run may take before it hands the record back."""
INSISTENCE: Final = 900.0
"""Seconds for which a run tries to have written down what it did at a provider, while the store is away."""
_PAUSE: Final = 2.0  # seconds between two of these tries, at most
_HANDED_BACK: Final = Change("back", journal=(("back", "The process that worked on this was stopped; it goes on."),))

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class Runs:
    """The runs of one process."""

    def __init__(
        self, ledger: Ledger, settings: Settings, reconciler: Reconciler, meetings: Meetings, observer: Observer
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._reconciler = reconciler
        self._meetings = meetings
        self._observer = observer
        self._running: dict[str, asyncio.Task[Entry | None]] = {}
        self._tasks: set[asyncio.Task[Entry | None]] = set()  # with those that lost their record to another one

    def foresee(self, record: Record, realm: str, foreign: str) -> Foreseen | None:
        """See `Reconciler.foresee`; None as well where that fails: the run will say what is wrong."""
        try:
            return self._reconciler.foresee(record, realm, foreign)
        except Exception:  # a fault of an adapter must not keep Vello's word from being written down
            _log.exception("foresight_failed")
            return None

    def start(self, lease: Lease, revision: str, tell: Tell | None = None) -> asyncio.Task[Entry | None]:
        """Begin to work on a leased record in a task of its own, with the settings of `revision`.

        `tell` is what becomes of it when Vello waits. The task answers the entry as it left it, None when it does
        not know.
        """
        record = lease.entry.record
        task = asyncio.create_task(self._run(lease, revision, tell), name=f"reconcile {record}")
        self._running[record] = task
        self._tasks.add(task)

        def done(finished: asyncio.Task[Entry | None]) -> None:
            self._tasks.discard(finished)
            if self._running.get(record) is finished:
                del self._running[record]

        task.add_done_callback(done)
        return task

    def running(self, record: str | None = None) -> list[asyncio.Task[Entry | None]]:
        """The tasks at work, or the one that works on `record`."""
        if record is None:
            return list(self._tasks)
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

    async def _run(self, lease: Lease, revision: str, tell: Tell | None) -> Entry | None:
        structlog.contextvars.bind_contextvars(record=lease.entry.record)
        FENCE.set(lease.holds)
        try:
            return await self._worked(lease, revision, tell)
        except asyncio.CancelledError:
            await asyncio.shield(self._leave(lease, _HANDED_BACK))
            raise
        finally:
            if lease.turn:
                lease.turn.end()

    async def _worked(self, lease: Lease, revision: str, tell: Tell | None) -> Entry | None:
        try:
            with self._observer.run(lease):
                await self._settings.refresh(revision)
                async with Renewing(self._ledger, lease):
                    return await self._rounds(lease, tell)
        except StoreUnavailable as error:
            _log.warning("run_stopped", reason=str(error))  # the lease expires and somebody takes over
            if lease.begun:
                await self._leave(lease, _HANDED_BACK)
        except Exception:  # a fault of ours must not stop the loop that feeds every other record
            _log.exception("run_failed")
            await self._leave(lease, again(lease.entry, "This service made a mistake; its log says which."))
        return None

    async def _leave(self, lease: Lease, change: Change) -> None:
        """Hand the record back in the middle of a step; what that did is its heir's to find, or to be told of."""
        if lease.foreseen and not lease.begun:  # no call went out
            change = replace(change, drop=(*change.drop, "intent"))
        write = partial(self._ledger.commit, lease, change, self._ledger.new_name())
        with contextlib.suppress(StoreUnavailable):
            committed = await (self._insist(write) if lease.begun else write())
            for made, sure in lease.begun if committed.verdict == "lost" else ():
                await self._insist(partial(self._give_away, lease.entry, made, committed.entry, sure=sure))

    async def _rounds(self, lease: Lease, tell: Tell | None) -> Entry | None:
        for _ in range(ROUNDS):
            step = await self._reconciler.step(lease, inline=tell is not None)
            if step is None:
                return None
            made, change = step.made, step.change
            if lease.begun:
                lease.begun[:] = [(made, not step.failed)] if made else []
            if lease.foreseen and step.entry.intent is None and "intent" not in change.drop:
                change = replace(change, drop=(*change.drop, "intent"))
            settled = step.settled if tell and change.mode == "done" else None
            said = tell(settled) if tell and settled else None
            tells = Tells(said, having_told(settled, said) if said.answer else None) if settled and said else None
            write = partial(self._commit, lease, step, change, self._ledger.new_name(), tells)
            committed = await self._insist(write)
            if committed.verdict == "lost":
                give = partial(self._give_away, lease.entry, made, committed.entry, sure=not step.failed)
                await self._insist(give)
                return None
            lease.begun.clear()
            await self._remember(step)
            if committed.entry is None or (committed.verdict == "ok" and step.change.mode != "hold"):
                return committed.entry
            await self._settings.refresh(committed.revision)
            lease.entry, lease.foreseen = committed.entry, None
        _log.error("rounds_exhausted", rounds=ROUNDS)
        return (await self._ledger.commit(lease, again(lease.entry, f"Not done after {ROUNDS} steps."))).entry

    async def _commit(self, lease: Lease, step: Step, change: Change, nonce: str, tells: Tells | None) -> Committed:
        await self._forget(lease.entry, step.entry)
        return await self._ledger.commit(lease, change, nonce, tells)

    async def _insist(self, write: Callable[[], Awaitable[_T]]) -> _T:
        """Write down what was done at a provider, over an outage of the store or a freeze of this process.

        Nobody else may know of it: whoever took the record over has asked the provider already, perhaps too early.
        Raises StoreUnavailable in the end.
        """
        end = time.monotonic() + INSISTENCE
        while True:
            last = time.monotonic() > end  # asked before: a freeze takes all the time, and the store may be there
            try:
                return await write()
            except StoreUnavailable as error:
                if last:
                    raise
                _log.warning("run_insists", reason=str(error))
            await asyncio.sleep(_PAUSE * random.uniform(0.2, 1.0))  # noqa: S311 - not all of them at once

    async def _remember(self, step: Step) -> None:
        """Let a vendor's word about this meeting find its record."""
        placed = step.entry.meeting if "meeting" in step.change.set else None
        if placed and self._settings.connections.gives_notice(placed.connection):
            await self._meetings.touched(step.entry.record, placed)

    async def _forget(self, before: Entry, after: Entry) -> None:
        """Let nothing lead from a meeting that is gone to its record."""
        gone = {placed.name for placed in (before.meeting, *before.retired) if placed}
        gone -= {placed.name for placed in (after.meeting, *after.retired) if placed}
        if gone:
            await self._meetings.forget(sorted(gone))

    async def _give_away(self, before: Entry, made: Placement | None, now: Entry | None, *, sure: bool) -> None:
        """This run lost its lease while it worked: what it did behind its heir's back must not stay.

        `made` is the meeting that it leaves; not `sure`: it may have made or changed that one. One that stood before
        is no leftover when an admin let go of it since, nor when the store lost the record: an event finds it again.
        """
        if made is None:
            return
        stands, retired = (now.meeting, now.retired) if now else (None, ())  # None: erased meanwhile, or lost
        left = before.meeting if now is None or now.released else None
        known = [placed.name for placed in (left, stands, *retired) if placed and placed.meeting]
        if made != before.meeting and made.name not in known:
            _log.warning("lease_lost_after_create")
            await self._ledger.orphan(before.record, made)
        elif stands is not None and stands.name == made.name and (not sure or stands.spec != made.spec):
            _log.warning("lease_lost_after_update")
            text = "A process that had lost its lease changed the meeting; it is set right."
            await self._ledger.nudge(before.record, text, doubt=True)
