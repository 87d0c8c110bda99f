"""The connection to Redis or Valkey: bounded calls that outlive a restart, scripts, a lasting subscription.

One rule for callers: a command whose answer was lost is sent again, so every script must be safe to repeat.
"""

import asyncio
import hashlib
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from redis import exceptions as errors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

CONNECT_TIMEOUT = 2.0
PATIENCE = 3.0
"""Seconds a call may take, all its repeats included, before it says that the store is unavailable."""
MIN_REDIS = (6, 2)
MIN_VALKEY = (7, 2)

_PAUSE, _LONGEST_PAUSE = 0.02, 0.25  # seconds between two tries of one call
_LONGEST_RECONNECT = 2.0  # seconds between two tries of a subscription
_SILENCE = 10.0  # seconds without a message before a subscription asks whether the server is still there

_REASONS = {
    "OOM": "it is out of memory",
    "READONLY": "it is a read-only replica",
    "LOADING": "it is still loading its data",
    "MASTERDOWN": "it is a replica without its primary",
    "CLUSTERDOWN": "its cluster is down",
    "TRYAGAIN": "its cluster is moving data",
    "BUSY": "it is busy with another script",
    "MISCONF": "it cannot write to its disk",
    "NOREPLICAS": "it has too few replicas",
    "NOAUTH": "it asks for a user name and password",
    "WRONGPASS": "it refuses the user name or password",
    "NOPERM": "its user may not do what was asked",
}
_PASSING = frozenset({"LOST", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY"})
# Redis 6 wraps what a command in a script answered: "ERR Error running script (…): @user_script: 1: -OOM …".
_WRAPPED = re.compile(rf"(?:^|[ :-])({'|'.join(_REASONS)}) ")

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class StoreUnavailable(Exception):
    """The store did not do what was asked in its time, or cannot at present; the message is one sentence."""


class StoreRefused(Exception):
    """The server is one this service cannot work with; the message is one sentence."""


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


class Store:
    """The open store; its calls raise StoreUnavailable, and ResponseError for a caller's mistake."""

    def __init__(self, client: Redis, url: str, patience: float) -> None:
        self._client = client
        self._command: Callable[..., Awaitable[Any]] = client.execute_command
        self._url = url
        self._patience = patience

    @classmethod
    async def open(cls, url: str, *, patience: float = PATIENCE, max_connections: int = 32) -> "Store":
        """Connect to a `redis://`, `rediss://` or `unix://` URL and check the server's version.

        Raises StoreUnavailable when the server cannot be reached, StoreRefused when it is too old.
        """
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=patience,
            # One repeat at once replaces a connection that died in the pool; waiting is `_persist`'s part.
            retry=Retry(NoBackoff(), 1),
            **_connection_options(url),
        )
        store = cls(Redis.from_pool(pool), url, patience)
        try:
            _check_version(await store.execute("INFO", "server"))
        except BaseException:
            await store.close()
            raise
        return store

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script; it may run more than once."""

        async def attempt() -> Any:
            try:
                return await self._command(*script.by_sha(keys, args))
            except errors.NoScriptError:
                return await self._command(*script.by_source(keys, args))

        return await self._persist(attempt)

    async def execute(self, *args: Any) -> Any:
        """Run one command; it may run more than once."""
        return await self._persist(lambda: self._command(*args))

    async def pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run commands in one round trip, in order, not as one transaction; the first error is raised."""

        async def attempt() -> list[Any]:
            return _without_errors(await self._send(commands))

        return await self._persist(attempt)

    async def pipeline_call(self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run a script once for each (keys, args) in one round trip, in order; the first error is raised."""

        async def attempt() -> list[Any]:
            answers = await self._send([script.by_sha(keys, args) for keys, args in calls])
            unknown = [at for at, answer in enumerate(answers) if isinstance(answer, errors.NoScriptError)]
            repeated = await self._send([script.by_source(*calls[at]) for at in unknown])
            for at, answer in zip(unknown, repeated, strict=True):
                answers[at] = answer
            return _without_errors(answers)

        return await self._persist(attempt)

    async def subscribe(
        self, *channels: str, on_connect: Callable[[], object]
    ) -> AsyncGenerator[tuple[str, str], None]:
        """Yield (channel, data) for ever, over every outage.

        `on_connect` is called after each (re)connection, once the server has confirmed all channels: messages
        sent before it may be lost, so the caller looks at the state itself again.
        """
        pause, lost = _PAUSE, False
        while True:
            client = Redis.from_url(self._url, retry=Retry(NoBackoff(), 0), **_connection_options(self._url))
            try:
                async with client, client.pubsub() as listener:
                    async with asyncio.timeout(CONNECT_TIMEOUT):
                        await _confirm(listener, channels)
                    if lost:
                        _log.info("store_subscription_restored", channels=channels)
                    pause, lost = _PAUSE, False
                    on_connect()
                    while True:
                        yield await _next_message(listener)
            except (errors.RedisError, OSError) as error:  # asyncio's timeout is an OSError too
                if not lost:
                    _log.warning("store_subscription_lost", channels=channels, reason=_reason(error))
                lost = True
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter is no secret)
            pause = min(pause * 2, _LONGEST_RECONNECT)

    async def ping(self) -> None:
        """Return when the store answers; raise StoreUnavailable when it does not in time."""
        await self.execute("PING")

    async def close(self) -> None:
        """Close every connection; may be called twice."""
        await self._client.aclose()

    async def _send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return await pipe.execute(raise_on_error=False)  # raised by redis-py, an error would quote our data

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works, the error is one that waiting does not heal, or the call's time is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._patience
        pause, reason = _PAUSE, ""
        while True:
            try:
                async with asyncio.timeout_at(end):
                    return await attempt()
            except (errors.RedisError, OSError) as error:
                state = _state(error)
                if state is None:
                    raise
                late = loop.time() + pause >= end
                reason = reason if late and reason else _reason(error)
                if late or state not in _PASSING:
                    raise StoreUnavailable(f"The store is unavailable: {reason}.") from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter is no secret)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _connection_options(url: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "decode_responses": True,
        "protocol": 2,  # RESP3 only adds push messages, which nothing here reads
        "socket_connect_timeout": CONNECT_TIMEOUT,
        # Every wait has a bound of ours. redis-py's own one sends through asyncio.wait_for, which on Python 3.11
        # now and then swallows a cancellation, and with it the deadline of whoever is waiting for us.
        "socket_timeout": None,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    return options


def _check_version(info: dict[str, Any]) -> None:
    if (mode := info.get("redis_mode", "standalone")) != "standalone":
        raise StoreRefused(f"The store runs in {mode} mode; give the address of a single Redis or Valkey server.")
    name, version, least = "Redis", str(info.get("redis_version", "")), MIN_REDIS
    if "valkey_version" in info:
        name, version, least = "Valkey", str(info["valkey_version"]), MIN_VALKEY
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < least:
        raise StoreRefused(
            f"The store is {name} {version or 'of unknown version'}; use Redis 6.2, Valkey 7.2 or newer."
        )


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


async def _confirm(listener: PubSub, channels: Sequence[str]) -> None:
    await listener.subscribe(*channels)
    missing = len(set(channels))
    while missing:
        message = await listener.get_message(timeout=CONNECT_TIMEOUT)
        missing -= message is not None and message["type"] == "subscribe"


async def _next_message(listener: PubSub) -> tuple[str, str]:
    asked = False
    while True:
        message = await listener.get_message(timeout=_SILENCE)
        if message is None:
            if asked:  # the network went away without a word
                raise errors.TimeoutError("it did not answer in time")
            await listener.ping()
        elif message["type"] == "message":
            return message["channel"], message["data"]
        asked = message is None
