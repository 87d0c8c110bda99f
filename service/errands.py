"""Errands: what an admin sets going and what takes a while, carried on by whichever process is there, step by step.

Key: `vm:errands`, one row each, 30 days from the last step of any; what an errand is about stands in it in an envelope
and is taken out when it ends, so that a row which stays tells of numbers only.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import structlog

from service.changes import Changes
from service.store import Store, StoreUnavailable, known_of, version_of
from service.vault import Damaged, UnknownKey, Vault

ERRANDS: Final = "vm:errands"
LIFE: Final = 30 * 86_400
"""Seconds for which errands are remembered, from the last step of any."""
KEPT: Final = 100
"""Errands that are remembered."""
LEASE: Final = 30.0
"""Seconds after which another process goes on with an errand whose process fell silent."""
RUNNING: Final = 50
"""Errands that may be under way, over all processes."""
AT_ONCE: Final = 4
"""Errands that one process carries out at a time."""
LOOK_AGAIN: Final = 0.2
"""Seconds between two looks at one that is waited for."""
LOOK: Final = 15.0
"""Seconds between two looks for such errands."""

_log = structlog.get_logger(__name__)


class TooManyErrands(Exception):
    """As many errands are under way as may be."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One errand: `kind` names who carries it out, `place` how far it is, `counts` what came of it so far.

    `state` is running, done, stopped (by an admin) or failed. Times in unix seconds.
    """

    id: str
    kind: str
    who: str
    at: int
    state: str = "running"
    place: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    ended_at: int | None = None
    until: float = 0.0
    what: str | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """It goes on."""
        return self.state == "running"


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: how far the errand is now, what came of it in all, and seconds until the next one.

    `place` None: it is done. `what` None: it is about the same as before.
    """

    place: str | None
    counts: Mapping[str, int]
    pause: float = 0.0
    what: Mapping[str, Any] | None = None


Carry = Callable[[Errand, Mapping[str, Any]], Coroutine[Any, Any, Step]]
"""Take one step of an errand, which may be taken twice: a process may die before it is written down.

It is broken off when somebody stops the errand.
"""


def errand_purpose(errand: str) -> str:
    """What the envelope of an errand is bound to."""
    return f"errand:{errand}"


class _Taken(Exception):
    """Somebody else has the errand, or has stopped it."""


@dataclass(slots=True)
class _Held:
    """What stands of an errand that is carried out here."""

    row: str


class Errands:
    """All errands; `kinds` say how each kind is carried out. All raise StoreUnavailable."""

    def __init__(
        self, store: Store, vault: Vault, changes: Changes, kinds: Mapping[str, Carry], lease: float = LEASE
    ) -> None:
        self._lease = lease
        self._store = store
        self._vault = vault
        self._changes = changes
        self._kinds = kinds
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._carried: dict[str, asyncio.Task[None]] = {}

    async def begin(self, kind: str, what: Mapping[str, Any], who: str) -> Errand:
        """Set an errand going; it is noted among the changes that `who` did. Raises TooManyErrands."""
        if sum(each.running for each in await self.all()) >= RUNNING:
            raise TooManyErrands
        id_ = secrets.token_hex(8)
        errand = Errand(id_, kind, who, int(time.time()), what=self._sealed(id_, what))
        await self._keep(errand, None)
        await self._changes.note(who, kind, id_, "added")
        await self._drop_old()
        self._wake.set()
        return errand

    async def all(self) -> list[Errand]:
        """Every errand that is remembered, the newest first."""
        rows = (await self._store.execute("HGETALL", ERRANDS)).values()
        return sorted((_errand(row) for row in rows), key=lambda each: (-each.at, each.id))

    async def get(self, id_: str) -> Errand | None:
        """One errand."""
        row = await self._store.execute("HGET", ERRANDS, id_)
        return _errand(row) if row else None

    def about(self, errand: Errand) -> Mapping[str, Any]:
        """What an errand is about; nothing once it ended."""
        if errand.what is None:
            return {}
        about: Mapping[str, Any] = json.loads(self._vault.open(errand.what, errand_purpose(errand.id)))
        return about

    async def stop_one(self, id_: str, who: str) -> bool:
        """Have an errand end where it is; False when it has ended already."""
        while row := await self._store.execute("HGET", ERRANDS, id_):
            errand = _errand(row)
            if not errand.running:
                return False
            if await self._keep(self._ended(errand, "stopped"), row):
                await self._changes.note(who, errand.kind, id_, "removed")
                return True
        return False

    def start(self) -> None:
        """Carry on with errands, from now on."""
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """End that; another process goes on."""
        for task in [self._task, *self._carried.values()]:
            if task:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _loop(self) -> None:
        while True:
            try:
                await self.round()
            except StoreUnavailable as error:
                _log.warning("errands_wait", reason=str(error))
            except Exception:  # a fault of ours must not end what carries on with all errands
                _log.exception("errands_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()
            self._wake.clear()

    async def round(self) -> None:
        """Begin to carry out errands that nobody is at, a few at a time, each in a task of its own."""
        for id_, row in (await self._store.execute("HGETALL", ERRANDS)).items():
            errand = _errand(row)
            mine = id_ in self._carried or len(self._carried) >= AT_ONCE or errand.kind not in self._kinds
            if errand.running and errand.until < time.time() and not mine:
                self._carried[id_] = asyncio.create_task(self._carry(errand, row))

    async def _carry(self, errand: Errand, row: str) -> None:
        try:
            await self.carry(errand, row)
        except StoreUnavailable as error:
            _log.warning("errands_wait", reason=str(error))  # somebody goes on when its lease is over
        finally:
            del self._carried[errand.id]
            self._wake.set()

    async def carry(self, errand: Errand, row: str | None = None) -> Errand:
        """Carry one out to its end, or until somebody else has it; answers it as it is then."""
        held = _Held(row or _row(errand))
        errand = replace(errand, until=time.time() + self._lease)
        while errand.running and await self._keep(errand, held.row):
            held.row = _row(errand)
            try:
                step = await self._stepped(errand, held)
            except StoreUnavailable:
                raise
            except _Taken:
                break
            except (UnknownKey, Damaged) as error:
                _log.error("errand_unreadable", errand=errand.id, reason=str(error))
                errand = self._ended(errand, "failed")
                continue
            except Exception:  # it would fail the next time too, so it ends loudly
                _log.exception("errand_failed", errand=errand.id, kind=errand.kind)
                errand = self._ended(errand, "failed")
                continue
            if step.place is None:
                errand = self._ended(replace(errand, counts=dict(step.counts)), "done")
                continue
            what = errand.what if step.what is None else self._sealed(errand.id, step.what)
            until = time.time() + self._lease + step.pause
            errand = replace(errand, place=step.place, counts=dict(step.counts), until=until, what=what)
            if step.pause:  # what was done stands meanwhile, and nobody else goes on with it
                if not await self._keep(errand, held.row):
                    break
                held.row = _row(errand)
                await asyncio.sleep(step.pause)
        if not errand.running:
            await self._keep(errand, held.row)
        return await self.get(errand.id) or errand

    async def _stepped(self, errand: Errand, held: _Held) -> Step:
        """Take one step, and keep the errand as long as that takes: a step may look at everything there is.

        Raises: _Taken, and what the step raises.
        """
        work = asyncio.create_task(self._kinds[errand.kind](errand, self.about(errand)))
        try:
            while not (await asyncio.wait({work}, timeout=self._lease / 3))[0]:
                errand = replace(errand, until=time.time() + self._lease)
                if not await self._keep(errand, held.row):
                    raise _Taken
                held.row = _row(errand)
            return work.result()
        finally:
            work.cancel()

    async def finished(self, errand: Errand) -> Errand:
        """Wait until one has ended, whoever carries it out; answers it as it is then."""
        while (now := await self.get(errand.id)) and now.running:  # noqa: ASYNC110 - another process may carry it out
            await asyncio.sleep(LOOK_AGAIN)
        return now or errand

    def _ended(self, errand: Errand, state: str) -> Errand:
        return replace(errand, state=state, place="", what=None, ended_at=int(time.time()), until=0.0)

    def _sealed(self, id_: str, what: Mapping[str, Any]) -> str:
        return self._vault.seal(json.dumps(what), errand_purpose(id_))

    async def _keep(self, errand: Errand, held: str | None) -> bool:
        """Put an errand in the place of what was `held` of it; False when that is not there any more."""
        kept = await self._store.swap(ERRANDS, errand.id, version_of(held) if held else version_of(""), _row(errand))
        if kept:
            await self._store.execute("EXPIRE", ERRANDS, LIFE)
        return kept

    async def _drop_old(self) -> None:
        for errand in (await self.all())[KEPT:]:
            if not errand.running:
                await self._store.execute("HDEL", ERRANDS, errand.id)


def _errand(row: str) -> Errand:
    return Errand(**known_of(row, Errand.__dataclass_fields__))


def _row(errand: Errand) -> str:
    return json.dumps(asdict(errand))
