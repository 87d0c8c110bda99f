"""One server of the store: commands of one turn of the loop travel together, and each gets its own answer."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from hiredis import pack_command
from redis import exceptions as errors
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from providers.limit import Limit
from service.store_address import Host

CONNECT_TIMEOUT: Final = 2.0
LANES: Final = 4
"""Connections to one server: while one waits for its answers, the next calls take another."""
DEPTH: Final = 8
"""Commands that travel together at most, unless one caller sent more: with more, the first would wait for the last."""

Command = tuple[Any, ...]

_CLOSED: Final = "its connection is closed"
_BUSY: Final = "it takes longer for each call than calls keep coming"
_OPTIONS: Final = {
    "decode_responses": True,
    "protocol": 2,  # RESP3 only adds push messages, which nothing here reads
    "socket_connect_timeout": CONNECT_TIMEOUT,
    # Every wait has a bound of ours. redis-py's own one sends through asyncio.wait_for, which on Python 3.11
    # now and then swallows a cancellation, and with it the deadline of whoever is waiting for us.
    "socket_timeout": None,
}


class _Request(NamedTuple):
    """What one caller sends at once, packed, and where it waits for all the answers."""

    packed: bytes
    commands: int
    since: float
    answers: "asyncio.Future[list[Any]]"


class Node:
    """A server, known by its place.

    An answer that is an error stands in its place among the answers; `send` fails, with a RedisError or OSError,
    when there are no answers. A connection whose answers were not all read is closed, never used again.
    """

    def __init__(
        self, place: Host | str, login: Mapping[str, Any], tls: Mapping[str, Any] | None, patience: float
    ) -> None:
        self.place = place
        self._patience = patience
        self._waiting: deque[_Request] = deque()
        self._flushing = False
        self._idle: list[AbstractConnection] = []
        self._exchanges: dict[asyncio.Task[None], list[_Request]] = {}
        self._alone: _Request | None = None
        self._quiet = False
        self._closed = False
        self._looked = self._woke = 0.0  # at what waits; and when that counted as new last
        self._kind: type[AbstractConnection] = UnixDomainSocketConnection
        self._options: dict[str, Any] = {**_OPTIONS, **login}
        if isinstance(place, str):
            self._options["path"] = place
        else:
            self._kind = Connection if tls is None else SSLConnection
            self._options |= {"host": place[0], "port": place[1], "socket_keepalive": True, **(tls or {})}

    def send(self, commands: Sequence[Command]) -> "asyncio.Future[list[Any]]":
        """Send commands in this order, together with what others send in this turn; not as a transaction."""
        request = _request(commands)
        self._waiting.append(request)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)
        return request.answers

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """As `send`, but at once and without a task of its own while callers come one by one."""
        if not self._quiet or self._exchanges or self._waiting or self._alone or self._closed:
            return await self.send(commands)
        self._alone = request = _request(commands)
        try:
            await self._exchange([request])
        except BaseException:
            if request.answers.done():
                request.answers.exception()  # nobody waits for it any more
            raise
        finally:
            self._alone = None
            if self._closed:
                await self._hang_up()
            elif self._waiting:
                self._quiet = False
                self._flush()
        return request.answers.result()

    def client(self) -> Redis:
        """A client with connections of its own, for a subscription."""
        retry = Retry(NoBackoff(), 0)
        pool = BlockingConnectionPool(connection_class=self._kind, max_connections=2, retry=retry, **self._options)
        return Redis.from_pool(pool)

    async def close(self) -> None:
        """Close every connection; who still waits fails. May be called twice."""
        self._closed = True
        batches = list(self._exchanges.values())
        for task in self._exchanges:
            task.cancel()
        await asyncio.gather(*self._exchanges, return_exceptions=True)
        for batch in batches:  # one that was stopped before its first step could not say so itself
            _fail(batch, errors.ConnectionError(_CLOSED))
        self._flush()
        if self._alone:
            await asyncio.wait([self._alone.answers], timeout=self._patience)
        await self._hang_up(nowait=False)

    def _flush(self) -> None:
        self._flushing = False
        if self._closed:
            _fail(self._waiting, errors.ConnectionError(_CLOSED))
            self._waiting.clear()
        while len(self._exchanges) + bool(self._alone) < LANES and (batch := self._batch()):
            self._quiet = len(batch) == 1 and not self._exchanges and not self._waiting
            task = asyncio.get_running_loop().create_task(self._exchange(batch))
            self._exchanges[task] = batch
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._exchanges.pop(task, None)
        if self._waiting:
            self._flush()

    def _batch(self) -> list[_Request]:
        """Take what waits, up to DEPTH commands. Who waited too long fails; who does not wait any more is left out."""
        batch: list[_Request] = []
        count, now = 0, asyncio.get_running_loop().time()
        # No exchange takes that long: nobody waited, or this process stood still.
        if now - self._looked > self._patience:
            self._woke = now
        self._looked = now
        while self._waiting and max(self._waiting[0].since, self._woke) < now - self._patience:
            _fail([self._waiting.popleft()], errors.TimeoutError(_BUSY))
        while self._waiting and (not batch or count + self._waiting[0].commands <= DEPTH):
            request = self._waiting.popleft()
            if not request.answers.done():
                batch.append(request)
                count += request.commands
        return batch

    async def _exchange(self, batch: list[_Request]) -> None:
        connection = self._idle.pop() if self._idle else self._kind(**self._options)
        try:
            with Limit(self._patience):
                await _connect(connection)
                await connection.send_packed_command(b"".join([one.packed for one in batch]), check_health=False)
                for request in batch:
                    answers = [await _answer(connection) for _ in range(request.commands)]
                    if not request.answers.done():
                        request.answers.set_result(answers)
        except (errors.RedisError, OSError) as error:  # asyncio's timeout is an OSError too
            _fail(batch, error)
            _fail(self._waiting, error)  # so that nobody waits for longer than one exchange, however long the queue
            self._waiting.clear()
            self._idle.append(connection)
            await self._hang_up()  # the others have most likely lost their server as well
        except BaseException:  # cancelled by `close`, or a fault of ours: never leave anybody waiting
            _fail(batch, errors.ConnectionError(_CLOSED))
            await connection.disconnect(nowait=True)
            raise
        else:
            self._idle.append(connection)

    async def _hang_up(self, *, nowait: bool = True) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(errors.TimeoutError):  # a server that does not even say goodbye
                await connection.disconnect(nowait=nowait)


def _request(commands: Sequence[Command]) -> _Request:
    try:
        packed = b"".join([pack_command(command) for command in commands])
    except TypeError as error:  # our caller's mistake, and nobody else's trouble
        raise errors.DataError(str(error)) from None
    loop = asyncio.get_running_loop()
    return _Request(packed, len(commands), loop.time(), loop.create_future())


async def _connect(connection: AbstractConnection) -> None:
    """Connect it if it is not, or if the server has closed it meanwhile."""
    if connection.is_connected:
        with suppress(errors.ConnectionError):
            if not await connection.can_read():
                return
        await connection.disconnect(nowait=True)
    await connection.connect()  # type: ignore[no-untyped-call]


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except errors.ReadOnlyError:
        raise  # the server was demoted: its name may lead to another one by now, its connections do not
    except errors.ResponseError as error:
        return error


def _fail(batch: "Sequence[_Request] | deque[_Request]", error: Exception) -> None:
    for request in batch:
        if not request.answers.done():
            request.answers.set_exception(error)
