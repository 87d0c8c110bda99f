"""The connections under `providers.http`: aiohttp's, because httpx's own pool slows down under load.

Every call that fails here says whether any of it can have left this process, and no call is ever sent twice.
"""

import ssl
from asyncio import Semaphore, timeout
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from providers.base import NoRoom

if TYPE_CHECKING:
    from httpx_aiohttp import AiohttpTransport

HOST_LIMIT = 512
"""Calls in flight to one scheme, host and port, over all connections of a process."""
KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: less than the five after which common servers close it."""


class NeverSent(Exception):
    """No byte of the call left this process; the message ends the sentence "the host cannot be reached"."""


class AnswerLost(Exception):
    """The call may have arrived; its answer did not."""


class Hosts:
    """Room for calls to each host, shared by all clients of a process."""

    def __init__(self, limit: int = HOST_LIMIT) -> None:
        self._limit = limit
        self._rooms: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def room(self, origin: str, patience: float) -> AsyncIterator[None]:
        """Hold one place at `origin` (scheme, host, port). Raises NoRoom when none is free in `patience` seconds."""
        room = self._rooms.get(origin)
        if room is None:
            self._rooms[origin] = room = Semaphore(self._limit)
        if room.locked():
            try:
                async with timeout(patience):
                    await room.acquire()
            except TimeoutError:
                raise NoRoom(f"{self._limit} calls to {origin} are in flight already.") from None
        else:
            await room.acquire()
        try:
            yield
        finally:
            room.release()


def transport(trust: ssl.SSLContext) -> "AiohttpTransport":
    """Connections of one client; they are opened by its calls and closed by `aclose`."""
    import aiohttp  # 9 MB and a tenth of a second that a service without a vendor to call never pays
    from httpx_aiohttp import AiohttpTransport

    async def once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        # aiohttp repeats a GET, PUT or DELETE by itself when the server closed the connection it was sent on, and
        # what httpx makes of its errors no longer tells a refused connection from one that broke in the middle.
        try:
            return await handler(request)
        except aiohttp.ClientConnectorCertificateError:
            raise NeverSent(": its certificate is not trusted") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise NeverSent from None
        except (aiohttp.ClientError, OSError):
            raise AnswerLost from None

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=HOST_LIMIT, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Content-Type",),
            auto_decompress=False,
            trust_env=False,
            middlewares=(once,),
        )

    return AiohttpTransport(verify=trust, trust_env=False, client=session)
