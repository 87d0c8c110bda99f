"""Fixtures that every test may ask for: a real Valkey, a store on it, and a real Redis where one is installed."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from service.store import Store
from tests.fakes.google_server import GoogleServer
from tests.fakes.zoom_server import ZoomServer
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.tools import need

pytest.register_assert_rewrite("providers.testing")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def valkey_url() -> AsyncIterator[str]:
    """The URL of the session's Valkey, or what STORE_BINARY names; a test that needs it empty asks for `store`."""
    # It is never killed, so no write has to wait for a slow disk.
    async with StoreServer(os.environ.get("STORE_BINARY"), "--appendfsync", "no") as server:
        yield server.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_url() -> AsyncIterator[str]:
    """The URL of the session's Redis, from the system's package."""
    async with StoreServer(need("redis-server")) as server:
        yield server.url


@pytest.fixture
async def store(valkey_url: str) -> AsyncIterator[Store]:
    """A store on an empty database."""
    opened = await Store.open(valkey_url)
    await opened.execute("FLUSHALL")
    yield opened
    await opened.close()


@pytest.fixture
async def store_url(store: Store, valkey_url: str) -> str:
    """The URL of an empty database."""
    return valkey_url


@pytest.fixture(scope="session")
def _meeting_server() -> Iterator[MemoryServer]:
    with MemoryServer() as server:
        yield server


@pytest.fixture
async def meeting_server(_meeting_server: MemoryServer) -> MemoryServer:
    """The session's reference meeting server, without meetings, faults and calls."""
    await _meeting_server.reset()
    return _meeting_server


@pytest.fixture(scope="session")
def _zoom_server() -> Iterator[ZoomServer]:
    with ZoomServer() as server:
        yield server


@pytest.fixture
async def zoom(_zoom_server: ZoomServer) -> ZoomServer:
    """A Zoom with three apps and two users, without meetings, tokens, faults and calls."""
    await _zoom_server.reset()
    return _zoom_server


@pytest.fixture(scope="session")
def _google_server() -> Iterator[GoogleServer]:
    with GoogleServer() as server:
        yield server


@pytest.fixture
async def google(_google_server: GoogleServer) -> GoogleServer:
    """A Google with three apps, a service account and three people, with no spaces, events, tokens, faults, calls."""
    await _google_server.reset()
    return _google_server
