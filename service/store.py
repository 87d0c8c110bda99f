"""The connection to Redis or Valkey: bounded calls that outlive a restart, scripts, a lasting subscription.

One rule for callers: a command whose answer was lost is sent again, so every script must be safe to repeat.
"""

import asyncio
import hashlib
import json
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from redis import exceptions as errors
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from providers.limit import GRACE, HELD_UP, Limit
from service.store_address import Mode, StoreAddress
from service.store_node import CONNECT_TIMEOUT, Command, Node
from service.store_routes import Routes, Straight, routes
from service.store_server import StoreRefused as StoreRefused
from service.store_server import check_files, check_server, warnings

PREFIX = "vm:"
"""What keys and channels begin with in the sources; an installation's own prefix takes its place on the way."""
PATIENCE = 3.0
"""Seconds a call may take, all its repeats included, before it says that the store is unavailable."""

_PAUSE, _LONGEST_PAUSE = 0.02, 0.25  # seconds between two tries of one call
_LONGEST_RECONNECT = 2.0  # seconds between two tries of a subscription
_SILENCE = 10.0  # seconds without a message before a subscription asks whether the server is still there

_REASONS = {
    "OOM": "it is out of memory",
    "READONLY": "it is a read-only replica",
    "LOADING": "it is still loading its data",
    "MASTERDOWN": "it is a replica without its primary",
    "CLUSTERDOWN": "its cluster is down",
    "MOVED": "its cluster is moving data",
    "ASK": "its cluster is moving data",
    "TRYAGAIN": "its cluster is moving data",
    "BUSY": "it is busy with another script",
    "MISCONF": "it cannot write to its disk",
    "NOREPLICAS": "it has too few replicas",
    "NOAUTH": "it asks for a user name and password",
    "WRONGPASS": "it refuses the user name or password",
    "NOPERM": "its user may not do what was asked",
}
_PASSING = frozenset({"LOST", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "BUSY"})
# Redis 6 wraps what a command in a script answered: "ERR Error running script (…): @user_script: 1: -OOM …".
_WRAPPED = re.compile(rf"(?:^|[ :-])({'|'.join(_REASONS)}) ")

T = TypeVar("T")
_log = structlog.get_logger(__name__)


def known_of(row: str, names: Collection[str]) -> dict[str, Any]:
    """What of a JSON row has one of these names.

    While a service is upgraded, and after it was put back, a later version may have written more than this one knows.
    """
    return {name: value for name, value in json.loads(row).items() if name in names}


def version_of(value: str) -> str:
    """A name for a value that `Store.swap` takes: another value has another one; '' stands for none."""
    return hashlib.sha1(value.encode(), usedforsecurity=False).hexdigest()


class StoreUnavailable(Exception):
    """The store did not do what was asked in its time, or cannot at present; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script that is safe to repeat, and the digest the server knows it by."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)

    def by_sha(self, keys: Sequence[str], args: Sequence[Any]) -> tuple[Any, ...]:
        return "EVALSHA", self.sha, len(keys), *keys, *args

    def by_source(self, keys: Sequence[str], args: Sequence[Any]) -> tuple[Any, ...]:
        return "EVAL", self.source, len(keys), *keys, *args


# Who repeats it after a lost answer finds what it wrote, which is as good as what it expected.
_SWAP = Script(
    "local held = redis.call('HGET', KEYS[1], ARGV[1]) or '' "
    "if held ~= ARGV[3] and redis.sha1hex(held) ~= ARGV[2] then return 0 end "
    "if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end "
    "return 1"
)


class Store:
    """The open store; its calls raise StoreUnavailable, and ResponseError for a caller's mistake.

    A command has one key at most: the word after its name. Keys and channels begin with PREFIX. None may block.
    """

    def __init__(self, to: Routes, prefix: str, patience: float) -> None:
        self._routes = to
        self._straight = prefix == PREFIX and isinstance(to, Straight)
        self._prefix = prefix
        self._patience = patience
        self._readers = Redis(protocol=2).response_callbacks  # only its knowledge of answers; it never connects

    @classmethod
    async def open(cls, url: str, *, prefix: str = PREFIX, patience: float = PATIENCE) -> "Store":
        """Find the servers of a URL (see `StoreAddress`) and check them; keys begin with `prefix`.

        Raises StoreUnavailable when they cannot be reached, StoreRefused when one cannot be worked with.
        """
        address = StoreAddress.parse(url)
        check_files(address)
        # Half of a call's time: when a server hangs, the other half is for the one that takes its place.
        store = cls(routes(address, patience / 2), prefix, patience)
        try:
            await store._check(address.mode)
        except BaseException:
            await store.close()
            raise
        return store

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script, whose keys share a slot; it may run more than once."""
        began = asyncio.get_running_loop().time()
        if self._straight:  # straight on: this is the hot path, and a node's exchanges have an end of their own
            try:
                answer = (await self._routes.send((script.by_sha(keys, args),)))[0]
            except (errors.RedisError, OSError) as error:
                answer = error
            if not isinstance(answer, Exception):
                return answer
        return (await self._called(script, ((keys, args),), began))[0]

    async def execute(self, *args: Any) -> Any:
        """Run one command; it may run more than once."""
        return (await self.pipeline((args,)))[0]

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip, in order for each shard, not as one transaction; the first error is raised.

        Any of them may run more than once.
        """
        mine = [self._mine(command) for command in commands]

        async def attempt() -> list[Any]:
            return _without_errors(await self._send(mine))

        answers = await self._persist(attempt)
        return [self._read(command[0], answer) for command, answer in zip(mine, answers, strict=True)]

    async def pipeline_call(self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run a script once for each (keys, args) in one round trip, in order; the first error is raised."""
        return await self._called(script, calls, asyncio.get_running_loop().time())

    async def _called(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]], began: float
    ) -> list[Any]:
        if self._prefix != PREFIX:
            calls = [([self._named(key) for key in keys], args) for keys, args in calls]

        async def attempt() -> list[Any]:
            answers = await self._send([script.by_sha(keys, args) for keys, args in calls])
            if unknown := [at for at, answer in enumerate(answers) if isinstance(answer, errors.NoScriptError)]:
                repeated = await self._send([script.by_source(*calls[at]) for at in unknown])
                for at, answer in zip(unknown, repeated, strict=True):
                    answers[at] = answer
            return _without_errors(answers)

        return await self._persist(attempt, began)

    async def swap(self, key: str, name: str, version: str, value: str) -> bool:
        """Put `value` in the place of a hash's field that has `version`, '' removes it; False when it has another."""
        return bool(await self.call(_SWAP, (key,), (name, version, value)))

    async def subscribe(
        self, *channels: str, on_connect: Callable[[], object]
    ) -> AsyncGenerator[tuple[str, str], None]:
        """Yield (channel, data) for ever, over every outage.

        `on_connect` is called after each (re)connection, once the server has confirmed all channels: messages
        sent before it may be lost, so the caller looks at the state itself again.
        """
        names = {self._named(channel): channel for channel in channels}
        pause, lost = _PAUSE, False
        while True:
            try:
                node = random.choice(await self._nodes())  # noqa: S311 (each of them hears everything)
                async with node.client() as client, client.pubsub() as listener:
                    async with asyncio.timeout(CONNECT_TIMEOUT):
                        await _confirm(listener, names)
                    if lost:
                        _log.info("store_subscription_restored", channels=channels)
                    pause, lost = _PAUSE, False
                    on_connect()
                    while True:
                        while (message := await _next_message(listener)) is None:
                            if node not in await self._nodes():
                                raise errors.ConnectionError("another server has taken its place")
                        yield names[message[0]], message[1]
            except (errors.RedisError, OSError) as error:  # asyncio's timeout is an OSError too
                self._routes.doubt()
                if not lost:
                    _log.warning("store_subscription_lost", channels=channels, reason=_reason(error))
                lost = True
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter is no secret)
            pause = min(pause * 2, _LONGEST_RECONNECT)

    async def ping(self) -> None:
        """Return when every server answers and takes a write; raise StoreUnavailable when not in time."""
        probe = [self._mine(("SET", f"{PREFIX}ready", 1, "EX", 60))]

        async def attempt() -> None:
            await asyncio.gather(*[node.send([("PING",)]) for node in await self._routes.nodes()])
            _without_errors(await self._send(probe))

        await self._persist(attempt)

    async def close(self) -> None:
        """Close every connection; may be called twice."""
        await self._routes.close()

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        return await self._routes.send(commands) if commands else []

    async def _nodes(self) -> list[Node]:
        async with asyncio.timeout(self._patience):
            return await self._routes.nodes()

    async def servers(self) -> list[dict[str, Any]]:
        """What every server that takes writes says of itself (INFO)."""

        async def attempt() -> list[str]:
            nodes = await self._routes.nodes()
            return [_without_errors(await node.send([("INFO",)]))[0] for node in nodes]

        return [self._read("INFO", info) for info in await self._persist(attempt)]

    async def _check(self, mode: Mode) -> None:
        servers = await self.servers()
        for server in servers:
            check_server(server, mode)
        for warning in sorted({warning for server in servers for warning in warnings(server)}):
            _log.warning("store", warning=warning)

    def _named(self, key: str) -> str:
        return self._prefix + key[len(PREFIX) :] if key.startswith(PREFIX) else key

    def _mine(self, command: Command) -> Command:
        if self._prefix == PREFIX or len(command) < 2:
            return command
        return command[0], self._named(str(command[1])), *command[2:]

    def _read(self, name: str, answer: Any) -> Any:
        return self._readers[name](answer) if name in self._readers else answer

    async def _persist(self, attempt: Callable[[], Awaitable[T]], began: float | None = None) -> T:
        """Try until it works, the error is one that waiting does not heal, or the call's time is over."""
        loop = asyncio.get_running_loop()
        end = (loop.time() if began is None else began) + self._patience
        pause, reason, excused = _PAUSE, "", False
        while True:
            if loop.time() - end > HELD_UP and not excused:  # this process stood still: it looks once more
                end, excused = loop.time() + GRACE, True
            try:
                with Limit(end - loop.time()):
                    return await attempt()
            except (errors.RedisError, OSError) as error:
                state = _state(error)
                if state is None:
                    raise
                self._routes.doubt()
                late = loop.time() + pause >= end and (excused or loop.time() - end <= HELD_UP)
                reason = reason if late and reason else _reason(error)
                if late or state not in _PASSING:
                    raise StoreUnavailable(f"The store is unavailable: {reason}.") from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter is no secret)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _without_errors(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _state(error: Exception) -> str | None:
    """Name the server's state behind an error: LOST without a usable answer, None for a caller's mistake."""
    for each in (error, error.__cause__):  # what a server says to a login, redis-py wraps as a lost connection
        if (code := getattr(each, "status_code", None)) in _REASONS:
            return str(code)
        if isinstance(each, errors.AuthenticationError | errors.AuthorizationError):
            return "NOAUTH"
    if isinstance(error, errors.ConnectionError | errors.TimeoutError | errors.InvalidResponse | OSError):
        return "LOST"
    wrapped = _WRAPPED.search(str(error))
    return wrapped[1] if wrapped else None


def _reason(error: Exception) -> str:
    state = _state(error)
    if state in _REASONS:
        return _REASONS[state]
    return str(error).strip().partition("\n")[0].rstrip(".")[:200] or "it did not answer in time"


async def _confirm(listener: PubSub, channels: Iterable[str]) -> None:
    await listener.subscribe(*channels)
    missing = len(set(channels))
    while missing:
        message = await listener.get_message(timeout=CONNECT_TIMEOUT)
        missing -= message is not None and message["type"] == "subscribe"


async def _next_message(listener: PubSub) -> tuple[str, str] | None:
    """The next message; None after a while without one, when the server has said that it is still there."""
    asked = False
    while True:
        message = await listener.get_message(timeout=_SILENCE)
        if message is None:
            if asked:  # the network went away without a word
                raise errors.TimeoutError("it did not answer in time")
            await listener.ping()
        elif message["type"] == "message":
            return message["channel"], message["data"]
        elif asked:
            return None
        asked = message is None
