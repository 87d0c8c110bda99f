"""A real service on every kind of store, with events flowing: outages end by themselves and nothing is lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

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
async def flowing(url: str, vendor: MemoryServer) -> AsyncIterator[tuple[Service, Flow]]:
    """A service on a store, and bookings that flow; in the end they must all be right."""
    async with Service(REDIS_URL=url, LEASE_SECONDS="2", LOG_LEVEL="error") as service:
        await service.connect(vendor.url)
        async with Flow(service) as flow:
            await flow.goes_on()
            yield service, flow
        await flow.check(vendor)
        assert await service.stop() == 0


async def is_not_ready(service: Service) -> None:
    """Come back when the service says that it cannot work."""
    await wait_until(lambda: _says(service, 503), 60)


async def is_ready(service: Service) -> None:
    """Come back when the service says that it can work."""
    await wait_until(lambda: _says(service, 200), 60)


async def _says(service: Service, status: int) -> bool:
    return (await service.request("GET", "/readyz")).status_code == status


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
async def test_events_outlive_a_failover(kind: str, meeting_server: MemoryServer) -> None:
    async with (
        Watched(server_of(kind), sentinel_of(kind)) as watched,
        flowing(watched.url, meeting_server) as (_, flow),
    ):
        lost = await watched.kill_master()
        await wait_until(lambda: _is_another(watched, lost), 120)
        await flow.is_refused()  # the new master has no replica, and may not acknowledge what nobody else has
        await lost.start()
        await flow.goes_on(timeout=120)


@pytest.mark.timeout(600)
async def test_events_outlive_a_master_that_hangs_and_comes_back(meeting_server: MemoryServer) -> None:
    """It thaws as a replica, on whose connections nothing may be written."""
    async with Watched() as watched, flowing(watched.url, meeting_server) as (_, flow):
        old = await watched.master()
        assert old
        old.freeze()
        await wait_until(lambda: _is_another(watched, old), 120)
        old.thaw()
        await flow.goes_on(timeout=120)


async def _is_another(watched: Watched, old: StoreServer) -> bool:
    return await watched.master() is not old


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
async def test_events_outlive_a_node_of_a_cluster(kind: str, meeting_server: MemoryServer) -> None:
    async with ClusterServers(server_of(kind)) as cluster, flowing(cluster.url, meeting_server) as (service, flow):
        node = cluster.nodes[1]
        node.kill()
        await flow.is_refused()
        await is_not_ready(service)
        await node.start()
        await is_ready(service)
        await flow.goes_on(timeout=120)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
async def test_events_outlive_a_master_of_a_cluster_with_replicas(kind: str, meeting_server: MemoryServer) -> None:
    async with (
        ClusterServers(server_of(kind), replicas=True) as cluster,
        flowing(cluster.url, meeting_server) as (_, flow),
    ):
        lost = await cluster.kill_master()
        await flow.is_refused()
        await wait_until(cluster.promoted, 120)
        await lost.start()  # as the replica of its successor, which takes nothing while it has none
        await flow.goes_on(timeout=120)
        assert await cluster.promoted()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", KINDS)
async def test_events_wait_while_the_store_is_full_or_read_only(kind: str, meeting_server: MemoryServer) -> None:
    full = (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"))
    lonely = (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0"))
    replica = (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"))
    async with (
        StoreServer(server_of(kind)) as server,
        flowing(server.url, meeting_server) as (service, flow),
    ):
        for trouble, cure in (full, lonely, replica):
            await server.say(*trouble)
            await flow.is_refused()
            await is_not_ready(service)
            await server.say(*cure)
            await is_ready(service)
            await flow.goes_on()


@pytest.mark.timeout(240)
async def test_a_store_that_may_forget_is_warned_of_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with (
        ClusterServers(None, "--appendonly", "no", "--maxmemory-policy", "allkeys-lru") as cluster,
        Service(REDIS_URL=cluster.url, log=log) as service,
    ):
        assert await service.stop() == 0
    text = log.read_text()
    assert (text.count("maxmemory-policy noeviction"), text.count("appendonly yes")) == (1, 1)
