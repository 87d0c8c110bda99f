"""Proves that a connection works by making, moving, finding and removing a real meeting; seen while it goes on.

Key: `vm:rehearsal:<connection>`, two minutes after the last word of whoever runs it, ten minutes once it has ended.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import structlog

from providers.base import Meeting, MeetingProvider, MeetingSpec, ProviderError, TemporaryError
from service.ledger import Ledger
from service.settings import Settings
from service.store import Script, Store, StoreUnavailable

STEPS: Final = ("probe", "create", "move", "find", "delete")
"""What is tried, in this order; `find` only where the provider can find anything."""
SILENT: Final = 120
"""Seconds without a word after which whoever runs a rehearsal is taken for dead: longer than a step takes."""
KEPT: Final = 600
"""Seconds for which the last one is remembered."""

_LOOK = 0.2  # seconds between two looks at a rehearsal that another process runs
_TRIES = 3

# Begins one unless one goes on; who repeats it after a lost answer finds its own.
_BEGIN = Script(
    "local held = redis.call('GET', KEYS[1]) "
    "if held and not cjson.decode(held).ended then return held end "
    "redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) return ARGV[1]"
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried: whether it went well, and a sentence for people.

    `warnings` are what the vendor made otherwise than it was asked.
    """

    step: str
    ok: bool
    text: str
    milliseconds: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """A rehearsal as far as it is: `now` is the step that is under way; `at` when it said so, in unix seconds."""

    id: str
    at: int
    steps: tuple[Step, ...] = ()
    now: str | None = STEPS[0]
    ended: bool = False

    @property
    def failed(self) -> Step | None:
        """The first step that did not go well."""
        return next((step for step in self.steps if not step.ok), None)

    @property
    def to_come(self) -> tuple[str, ...]:
        """What is tried after that if all goes well."""
        return STEPS[STEPS.index(self.now) + 1 :] if self.now and not self.failed else ()

    @property
    def mark(self) -> str:
        """Something that differs when there is something new to see."""
        return f"{self.id}.{len(self.steps)}.{self.now or ''}.{int(self.ended)}"


Tell = Callable[[Sequence[Step], str | None], Awaitable[None]]
"""Hears what was tried so far, and what is tried now."""


async def rehearse(
    provider: MeetingProvider,
    host: str | None = None,
    options: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Step]:
    """Probe the account, then create, move, find and delete a meeting tomorrow; stops at the first failure.

    A meeting that was made is always removed again; if that fails, the last step says so.
    """
    steps: list[Step] = []
    start = int(time.time()) // 60 * 60 + 86_400
    spec = MeetingSpec(secrets.token_hex(16), 0, "Connection test", start, 900, host=host, options=options or {})
    meeting: list[Meeting] = []

    async def take(name: str, act: Callable[[], Awaitable[Any]], text: str) -> bool:
        if tell:
            await tell(steps, name)
        began = time.monotonic()
        try:
            answer = await act()
        except ProviderError as error:
            steps.append(Step(name, False, error.text, int((time.monotonic() - began) * 1000)))
            return False
        if isinstance(answer, Meeting):
            meeting[:] = [answer]
        said = answer if isinstance(answer, str) else text
        ok = not (name == "find" and answer is None)
        steps.append(
            Step(
                name,
                ok,
                said if ok else "It was made but not found again.",
                int((time.monotonic() - began) * 1000),
                answer.warnings if isinstance(answer, Meeting) else (),
            )
        )
        return ok

    good = await take("probe", provider.probe, "The account answers.")
    good = good and await take("create", lambda: provider.create(spec), "A meeting was made.")
    if not meeting and steps[-1].step == "create":  # its answer may be lost, and a meeting there all the same
        with contextlib.suppress(ProviderError):
            meeting += [found] if (found := await provider.find(spec)) else []
    if meeting:
        moved = replace(spec, start=start + 3600)
        good = good and await take("move", lambda: provider.update(meeting[0], moved), "It was moved.")
    if meeting and provider.capabilities.finds:
        good = good and await take("find", lambda: provider.find(moved), "It was found again.")
    if meeting:
        await take("delete", lambda: provider.delete(meeting[0]), "It was removed.")
    return steps


async def rehearse_connection(settings: Settings, connection: str, tell: Tell | None = None) -> list[Step]:
    """Rehearse with a connection as the first office that chose it would use it.

    Raises: UnknownConnection.
    """
    provider = settings.connections.provider(connection)
    offices = settings.choices.using(connection)
    choice = settings.choices.own(offices[0]) if offices else None
    hosts = choice.hosts_of(None) or choice.hosts_of(next(iter(choice.hosts), None)) if choice else ()
    return await rehearse(provider, next(iter(hosts), None), choice.options if choice else {}, tell)


class Rehearsals:
    """All rehearsals of all processes: a connection has one at a time, and whoever asks meanwhile sees that one."""

    def __init__(self, store: Store, ledger: Ledger, settings: Settings) -> None:
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._running: dict[str, asyncio.Task[Progress]] = {}

    async def begin(self, connection: str) -> Progress:
        """Begin one in the background, unless one goes on; answers the one that goes on.

        Raises: UnknownConnection.
        """
        self._settings.connections.provider(connection)
        mine = Progress(secrets.token_hex(8), int(time.time()))
        held = _progress(await self._store.call(_BEGIN, (_key(connection),), (_row(mine), SILENT)))
        if held.id == mine.id:
            task = asyncio.create_task(self._run(connection, mine), name=f"rehearsal {connection}")
            self._running[mine.id] = task
            task.add_done_callback(lambda done: self._over(mine.id, done))
        return held

    async def run(self, connection: str) -> Progress:
        """Rehearse and wait for the end; one that goes on counts. Whoever stops waiting stops nothing.

        Raises: UnknownConnection, TemporaryError.
        """
        for _ in range(_TRIES):  # a process that ran it may have died
            begun = await self.begin(connection)
            task = self._running.get(begun.id)
            ended = await asyncio.shield(task) if task else await self._followed(connection, begun.id)
            if ended:
                return ended
        raise TemporaryError("The test broke off. Please test again.")

    async def seen(self, connection: str) -> Progress | None:
        """The one that goes on, or the last one; None when there was none lately."""
        row = await self._store.execute("GET", _key(connection))
        return _progress(row) if row else None

    async def forget(self, connection: str) -> None:
        """What it found holds no more."""
        await self._store.execute("DEL", _key(connection))

    async def drain(self, seconds: float) -> None:
        """Let those of this process come to their end, so that no meeting of theirs stays behind."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=seconds)
        for task in self._running.values():
            task.cancel()

    async def _run(self, connection: str, begun: Progress) -> Progress:
        async def tell(steps: Sequence[Step], now: str | None) -> None:
            await self._say(connection, replace(begun, at=int(time.time()), steps=tuple(steps), now=now))

        steps = await rehearse_connection(self._settings, connection, tell)
        ended = replace(begun, at=int(time.time()), steps=tuple(steps), now=None, ended=True)
        try:
            if ended.failed:
                await self._settings.connections.mark(connection, "failing", ended.failed.text)
            else:
                await self._settings.connections.mark(connection, "ready")
                await self._ledger.unpark(connection)
        finally:
            await self._say(connection, ended)
        return ended

    async def _say(self, connection: str, progress: Progress) -> None:
        try:
            life = KEPT if progress.ended else SILENT
            await self._store.execute("SET", _key(connection), _row(progress), "EX", life)
        except StoreUnavailable as error:  # its meeting must be removed all the same
            _log.warning("rehearsal_unseen", connection=connection, reason=str(error))

    async def _followed(self, connection: str, id_: str) -> Progress | None:
        """The end of one that another process runs, None when that falls silent."""
        while (now := await self.seen(connection)) and now.id == id_:
            if now.ended:
                return now
            await asyncio.sleep(_LOOK)
        return None

    def _over(self, id_: str, task: asyncio.Task[Progress]) -> None:
        del self._running[id_]
        if not task.cancelled() and (error := task.exception()):
            _log.error("rehearsal_broke_off", exc_info=error)


def _key(connection: str) -> str:
    return f"vm:rehearsal:{connection}"


def _row(progress: Progress) -> str:
    return json.dumps(asdict(progress))


def _progress(row: str) -> Progress:
    fields = json.loads(row)
    steps = tuple(Step(**{**step, "warnings": tuple(step["warnings"])}) for step in fields.pop("steps"))
    return Progress(**fields, steps=steps)
