"""The circuit breaker of each connection, shared by all processes: a provider that does not answer is left alone.

It opens after a few calls in a row that found the provider unwell, for a time that doubles up to a cap. Then one call
of all processes is the trial: it closes the gate or opens it again. A healthy connection costs one look at the store
a second at most, and nothing is written for it.

Key: `vm:gate:<connection>`, gone an hour after the last trouble.
"""

import itertools
import random
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal, cast

import structlog

from service.store import Script, Store

GateState = Literal["closed", "open", "half_open"]

OPENS_AFTER: Final = 5
"""Calls in a row that found the provider unwell."""
FIRST_OPENING: Final = 2.0
LONGEST_OPENING: Final = 60.0
"""Seconds it stays open the first time, and at most."""
TRIAL: Final = 65.0
"""Seconds after which a trial that nobody ended is given to somebody else: longer than a call takes."""
_BELIEVED: Final = 1.0  # seconds for which what the store said is believed

_log = structlog.get_logger(__name__)
_SCRIPT = Script(resources.files("service").joinpath("gate.lua").read_text())


class Held(Exception):
    """A call may not begin now; the message says why, and `wait` is in how many seconds to try again."""

    def __init__(self, text: str, wait: float) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Passage:
    """The right to call a connection once; `trial` when the gate's next state depends on that call."""

    connection: str
    token: str
    trial: bool = False


@dataclass(slots=True)
class _Seen:
    """A gate as the store last described it, `at` by the monotonic clock; times in seconds."""

    at: float
    state: GateState = "closed"
    wait: float = 0.0
    failures: int = 0
    length: float = 0.0
    mine: bool = False


class Gate:
    """Lets calls through to connections whose provider answers. All verbs raise StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        *,
        opens_after: int = OPENS_AFTER,
        first: float = FIRST_OPENING,
        longest: float = LONGEST_OPENING,
        trial: float = TRIAL,
    ) -> None:
        self._store = store
        self._opening = (opens_after, int(first * 1000), int(longest * 1000))
        self._trial_ms = int(trial * 1000)
        self._seen: dict[str, _Seen] = {}
        self._name, self._names = secrets.token_hex(8), itertools.count(1)  # for passages, over all processes

    async def enter(self, connection: str) -> Passage:
        """A passage to `connection`. Raises Held while the gate is open, and while another call is the trial."""
        token, seen = f"{self._name}.{next(self._names)}", self._seen.get(connection)
        if seen is None or time.monotonic() - seen.at > _BELIEVED:
            if seen is not None:  # whoever comes while we look believes what was
                seen.at, seen.wait = time.monotonic(), self._left(seen)
            seen = await self._ask(connection, "look", token)
        if seen.state == "closed":
            return Passage(connection, token)
        if self._left(seen) <= 0:
            seen = await self._ask(connection, "try", token, self._trial_ms)
            if seen.mine or seen.state == "closed":
                return Passage(connection, token, seen.mine)
        left = self._left(seen) if seen.state == "open" else 0.0
        spread = seen.length * random.uniform(0.05, 0.5)  # noqa: S311 (jitter is no secret)
        raise Held("The connection does not answer", left + spread)

    def was_closed(self, connection: str) -> bool:
        """Whether it was so at the last look, however long ago: `enter` looks again."""
        seen = self._seen.get(connection)
        return seen is not None and seen.state == "closed"

    async def well(self, passage: Passage) -> None:
        """The provider answered, whatever it said."""
        seen = self._seen.get(passage.connection)
        if passage.trial or (seen and seen.state == "closed" and seen.failures):
            await self._ask(passage.connection, "well", passage.token)
            if passage.trial:
                _log.info("gate_closed", connection=passage.connection)

    async def unwell(self, passage: Passage) -> bool:
        """The provider did not answer, or said that it is broken; True when this opened the gate."""
        jitter = random.uniform(0.75, 1.25)  # noqa: S311
        seen = await self._ask(passage.connection, "unwell", passage.token, *self._opening, jitter)
        if not seen.mine:
            return False
        _log.warning("gate_opened", connection=passage.connection, seconds=round(seen.wait, 1))
        return True

    async def leave(self, passage: Passage) -> None:
        """Let somebody else be the trial, if this passage was it and nothing came of it."""
        if passage.trial:
            await self._ask(passage.connection, "leave", passage.token)

    async def states(self, connections: Iterable[str]) -> dict[str, GateState]:
        """The state of each gate, in one round trip."""
        names = list(connections)
        answers = await self._store.pipeline_call(_SCRIPT, [(_keys(name), ("look", "")) for name in names])
        return {name: cast(GateState, answer[0]) for name, answer in zip(names, answers, strict=True)}

    async def _ask(self, connection: str, verb: str, token: str, *rest: float) -> _Seen:
        state, wait, failures, length, mine = await self._store.call(_SCRIPT, _keys(connection), (verb, token, *rest))
        seen = _Seen(time.monotonic(), state, wait / 1000, failures, length / 1000, bool(mine))
        self._seen[connection] = seen
        return seen

    @staticmethod
    def _left(seen: _Seen) -> float:
        return seen.at + seen.wait - time.monotonic()


def _keys(connection: str) -> tuple[str, ...]:
    return (f"vm:gate:{connection}",)
