"""The wires under `providers.http`: opened by calls and kept for the next ones. httpx's own pool slows down under load.

Every call that fails here says whether any of it can have left this process, and no call is ever sent twice.
"""

import asyncio
import socket
import ssl
from asyncio import Semaphore, timeout
from collections import defaultdict, deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from aiohappyeyeballs import AddrInfoType, start_connection

from providers.base import FENCE, NoRoom
from providers.wire import Reply, Wire

HOST_LIMIT = 512
"""Calls in flight to one scheme, host and port, over all connections of a process."""
KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: less than the five after which common servers close it."""

_KNOWN: Final = 10.0  # seconds for which a host's addresses are believed
_NEXT_ADDRESS: Final = 0.25  # seconds after which a host's next address is tried beside one that does not answer


class NeverSent(Exception):
    """No byte of the call left this process; the message ends the sentence "the host cannot be reached"."""


class Origin(NamedTuple):
    """Where calls go."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


class Hosts:
    """Room for calls to each host, shared by all clients of a process."""

    def __init__(self, limit: int = HOST_LIMIT) -> None:
        self._limit = limit
        self._rooms: WeakValueDictionary[Origin, Semaphore] = WeakValueDictionary()

    def room(self, origin: Origin, patience: float) -> "_Place":
        """One place at `origin` to hold. Entering it raises NoRoom when none is free in `patience` seconds."""
        room = self._rooms.get(origin)
        if room is None:
            self._rooms[origin] = room = Semaphore(self._limit)
        return _Place(room, self._limit, origin, patience)


class _Place:
    def __init__(self, room: Semaphore, limit: int, origin: Origin, patience: float) -> None:
        self._room = room
        self._limit = limit
        self._origin = origin
        self._patience = patience

    async def __aenter__(self) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with timeout(self._patience):
                await self._room.acquire()
        except TimeoutError:
            raise NoRoom(f"{self._limit} calls to {self._origin} are in flight already.") from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.release()


class Wires:
    """The connections of one client: `connect` seconds to open one, `read` without a byte from its host, `keep` idle.

    `trust` makes what says which certificates are believed; it is asked once, and not in the loop: that takes a while.
    """

    def __init__(
        self, trust: Callable[[], ssl.SSLContext], *, connect: float, read: float, keep: float = KEEP_ALIVE
    ) -> None:
        self._trust = trust
        self._connect = connect
        self._read = read
        self._keep_alive = keep
        self._open: set[Wire] = set()
        self._idle: defaultdict[Origin, deque[tuple[float, Wire]]] = defaultdict(deque)  # the oldest one first
        self._sweep: asyncio.TimerHandle | None = None
        self._lookups: dict[tuple[str, int], asyncio.Task[list[AddrInfoType]]] = {}

    async def call(self, origin: Origin, request: bytes, *, most: int, bodiless: bool) -> Reply:
        """Send a whole request and wait for its answer; see `Wire.call`. Raises: NeverSent, NoRoom, AnswerLost."""
        wire = self._kept(origin) or await self._opened(origin)
        try:
            if (may := FENCE.get()) and not may():
                raise NoRoom("This process stood still for too long to make the call.")
            return await wire.call(request, read=self._read, most=most, bodiless=bodiless)
        finally:
            if wire.closed:
                self._open.discard(wire)
            else:
                self._keep(origin, wire)

    async def close(self) -> None:
        """Close all of them; calls in flight lose their answers."""
        if self._sweep:
            self._sweep.cancel()
        for asked in self._lookups.values():
            asked.cancel()
        for wire in self._open:
            wire.close()
        self._open.clear()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop closes them in its next turn

    def _kept(self, origin: Origin) -> Wire | None:
        idle, oldest = self._idle.get(origin), asyncio.get_running_loop().time() - self._keep_alive
        while idle:
            since, wire = idle.pop()
            if not wire.closed and since > oldest:  # the loop may have been held up, and its host has closed it
                return wire
            wire.close()
            self._open.discard(wire)
        return None

    def _keep(self, origin: Origin, wire: Wire) -> None:
        loop = asyncio.get_running_loop()
        self._idle[origin].append((loop.time(), wire))
        self._sweep = self._sweep or loop.call_later(self._keep_alive, self._close_idle)

    def _close_idle(self) -> None:
        loop, self._sweep = asyncio.get_running_loop(), None
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0][1].closed or idle[0][0] <= loop.time() - self._keep_alive):
                _, wire = idle.popleft()
                wire.close()
                self._open.discard(wire)
            if not idle:
                del self._idle[origin]
        if self._idle:
            oldest = min(idle[0][0] for idle in self._idle.values())
            self._sweep = loop.call_at(oldest + self._keep_alive, self._close_idle)

    async def _opened(self, origin: Origin) -> Wire:
        secure = origin.scheme == "https"
        trust = await asyncio.to_thread(self._trust) if secure else None
        loop = asyncio.get_running_loop()
        try:
            async with timeout(self._connect):
                addresses = await self._addresses(origin.host, origin.port)
                name = origin.host if secure else None
                if len(addresses) == 1 and addresses[0][0] == socket.AF_INET:  # no choice, and twice as quick
                    ip, port = addresses[0][4][:2]
                    _, wire = await loop.create_connection(Wire, str(ip), port, ssl=trust, server_hostname=name)
                else:
                    connected = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS)
                    _, wire = await loop.create_connection(Wire, sock=connected, ssl=trust, server_hostname=name)
        except ssl.SSLCertVerificationError:
            raise NeverSent(": its certificate is not trusted") from None
        except OSError:  # a timeout, a refusal, an unknown name
            raise NeverSent from None
        self._open.add(wire)
        return wire

    async def _addresses(self, host: str, port: int) -> list[AddrInfoType]:
        """Where a host is; calls that come meanwhile wait for the same look-up."""
        asked = self._lookups.get((host, port))
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.create_task(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))  # type: ignore[arg-type]
            self._lookups[host, port] = asked

            def forget(*_: object) -> None:
                self._lookups.pop((host, port), None)

            asked.add_done_callback(lambda done: forget() if done.cancelled() or done.exception() else None)
            loop.call_later(_KNOWN, forget)
        return await asyncio.shield(asked)
