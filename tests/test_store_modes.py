"""A real service on every kind of store, with events flowing: outages end by themselves and nothing is lost."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.flows import Flow
from tests.processes import Service
from tests.servers import MemoryServer
from tests.stores import ClusterServers, StoreServer, Watched
from tests.tools import need
from tests.waiting import wait_until

KINDS = ("valkey", "redis")


def server_of(kind: str) -> str | None:
    """The binary of a kind of server; None: the one that comes with the package."""
    return need("redis-server") if kind == "redis" else None


def sentinel_of(kind: str) -> str | None:
    """The binary of a kind's sentinels."""
    return need("redis-sentinel") if kind == "redis" else None


@asynccontextmanager
async def flowing(url: str, vendor: MemoryServer, **environment: str) -> AsyncIterator[tuple[Service, Flow]]:
    """A service on a store, and bookings that flow; in the end they must all be right."""
    async with Service(REDIS_URL=url, LEASE_SECONDS="2", LOG_LEVEL="error", **environment) as service:
        await service.connect(vendor.url)
        async with Flow(service) as flow:
            await flow.goes_on()
            yield service, flow
        await flow.check(vendor)
        assert await service.stop() == 0


async def is_not_ready(service: Service) -> None:
    """Come back when the service says that it cannot work."""

    async def refused() -> bool:
        return (await service.request("GET", "/readyz")).status_code == 503

    await wait_until(refused, 20)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
async def test_events_outlive_a_failover(kind: str, meeting_server: MemoryServer) -> None:
    async with Watched(server_of(kind), sentinel_of(kind)) as watched:
        async with flowing(watched.url, meeting_server) as (_, flow):
            lost = await watched.kill_master()
            await flow.is_refused()  # the new master has no replica, and may not acknowledge what nobody else has
            await lost.start()
            await flow.goes_on(timeout=60)
            assert await watched.master() is not lost


@pytest.mark.timeout(180)
async def test_events_outlive_a_master_that_hangs_and_comes_back(meeting_server: MemoryServer) -> None:
    """It thaws as a replica, on whose connections nothing may be written."""
    async with Watched() as watched:
        async with flowing(watched.url, meeting_server) as (_, flow):
            old = await watched.master()
            assert old
            old.freeze()
            await wait_until(lambda: _is_another(watched, old), 30)
            old.thaw()
            await flow.goes_on(timeout=60)
            assert await watched.master() is not old


async def _is_another(watched: Watched, old: StoreServer) -> bool:
    return await watched.master() is not old


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
async def test_events_outlive_a_node_of_a_cluster(kind: str, meeting_server: MemoryServer) -> None:
    async with ClusterServers(server_of(kind)) as cluster:
        async with flowing(cluster.url, meeting_server) as (service, flow):
            for node in cluster.nodes[:2]:
                node.kill()
                await flow.is_refused()
                await is_not_ready(service)
                await node.start()
                await flow.goes_on(timeout=60)
            assert (await service.request("GET", "/readyz")).status_code == 200
