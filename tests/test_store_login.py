"""Who may talk to a store: TLS with an authority of one's own, a user with few rights, installations side by side."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.store import Script, Store, StoreRefused, StoreUnavailable
from tests.certificates import Authority
from tests.events import record
from tests.ports import free_port
from tests.processes import Service
from tests.servers import MemoryServer
from tests.stores import ClusterServers, StoreServer, Watched
from tests.tools import need
from tests.waiting import wait_until

SET = Script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")
OPERATE = (Path(__file__).parent.parent / "docs" / "operate.md").read_text()


def rights() -> list[str]:
    """The rights that the documentation says a user needs, for the prefix `shop:`."""
    found = re.search(r"^ACL SETUSER meetings on (.*)$", OPERATE, re.MULTILINE)
    assert found
    return found[1].replace(">password", ">geheim").split()


@asynccontextmanager
async def tls_server(authority: Authority, *hosts: str, binary: str | None = None) -> AsyncIterator[StoreServer]:
    """A server that takes TLS only, from clients the authority knows."""
    certificate, key = authority.issue("server", hosts)
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(authority.path))
    async with StoreServer(binary, "--tls-port", str(port), *files) as server:
        server.url = f"rediss://localhost:{port}"
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority of this test alone."""
    return Authority(tmp_path)


async def test_tls_needs_the_right_authority_a_certificate_and_the_right_name(
    authority: Authority, tmp_path: Path
) -> None:
    redis = need("redis-server")  # the server of the package is built without TLS
    certificate, key = authority.issue("client")
    mine = f"ssl_ca_certs={authority.path}&ssl_certfile={certificate}&ssl_keyfile={key}"
    async with tls_server(authority, "localhost", binary=redis) as server:
        store = await Store.open(f"{server.url}?{mine}")
        assert await store.call(SET, ["vm:key"], ["value"]) == "value"
        server.kill()
        await server.start()
        assert await store.call(SET, ["vm:key"], ["again"]) == "again"
        heard: list[tuple[str, str]] = []
        connected = asyncio.Event()

        async def listen() -> None:
            async for message in store.subscribe("vm:wake", on_connect=connected.set):
                heard.append(message)

        listener = asyncio.create_task(listen())
        await connected.wait()
        await store.execute("PUBLISH", "vm:wake", "1")
        await wait_until(lambda: heard == [("vm:wake", "1")])
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await store.close()
        Authority(tmp_path, "stranger")
        for options in ("", f"?ssl_ca_certs={authority.path}", f"?{mine}".replace("authority", "stranger")):
            with pytest.raises(StoreUnavailable):
                await Store.open(f"{server.url}{options}", patience=0.5)
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await Store.open(f"{server.url}?{mine}".replace("localhost", "127.0.0.1"))
        unchecked = f"{server.url}?{mine}&ssl_check_hostname=false".replace("localhost", "127.0.0.1")
        await (await Store.open(unchecked)).close()


async def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(StoreRefused, match=r"ssl_ca_certs names a file that cannot be read"):
        await Store.open("rediss://localhost?ssl_ca_certs=/does/not/exist")


@pytest.mark.parametrize("binary", ["valkey", "redis"])
async def test_a_service_works_with_exactly_the_rights_that_are_documented(
    binary: str, meeting_server: MemoryServer
) -> None:
    async with StoreServer(need("redis-server") if binary == "redis" else None) as server:
        await server.say("ACL", "SETUSER", "meetings", "on", *rights())
        url = f"{server.url}?username=meetings&password=geheim"
        await _books(url, meeting_server)
        assert await server.say("ACL", "LOG") == []
        await server.say("ACL", "SETUSER", "meetings", "-evalsha", "-eval")
        store = await Store.open(url, prefix="shop:")
        with pytest.raises(StoreUnavailable, match="may not do what was asked"):
            await store.call(SET, ["vm:key"], ["value"])
        await store.close()


async def test_a_cluster_asks_for_a_user_too(meeting_server: MemoryServer) -> None:
    async with ClusterServers() as cluster:
        for node in cluster.nodes:
            await node.say("ACL", "SETUSER", "meetings", "on", *rights())
            await node.say("ACL", "SETUSER", "default", "off")
        await _books(f"{cluster.url}?username=meetings&password=geheim", meeting_server)


async def test_sentinels_and_servers_have_logins_of_their_own(meeting_server: MemoryServer) -> None:
    async with Watched(login=("meetings", rights())) as watched:
        with pytest.raises(StoreUnavailable, match="it asks for a user name and password"):
            await Store.open(f"{watched.url}?username=meetings&password=geheim")
        with pytest.raises(StoreUnavailable, match="it refuses the user name or password"):
            await Store.open(f"{watched.url}?username=meetings&password=wrong&sentinel_password={watched.PASSWORD}")
        await _books(
            f"{watched.url}?username=meetings&password=geheim&sentinel_password={watched.PASSWORD}", meeting_server
        )


async def _books(url: str, vendor: MemoryServer) -> None:
    """A service with the prefix `shop:` makes, moves and removes a meeting, and its pages work."""
    async with Service(REDIS_URL=url, REDIS_PREFIX="shop:", LOG_LEVEL="error") as service:
        await service.connect(vendor.url)
        data = record()
        assert (await service.say("record.update_metadata", data)).status_code == 200
        assert (
            await service.say("record.updated", {**data, "version": 2, "time": data["time"] + 60})
        ).status_code == 200
        assert (await service.settled(data["id"]))["state"] == "ready"
        assert (await service.admin("GET", "/records")).status_code == 200
        assert (await service.say("connection.test", {})).status_code == 200
        assert (await service.say("record.deleted", {"id": data["id"]})).status_code == 200
        assert (await service.settled(data["id"]))["state"] == "gone"
        assert await vendor.meetings() == []
        assert await service.stop() == 0


async def test_two_installations_on_one_server_do_not_see_each_other(
    store_url: str, store: Store, meeting_server: MemoryServer
) -> None:
    data = record()
    async with (
        Service(REDIS_URL=store_url, REDIS_PREFIX="north:", LOG_LEVEL="error") as north,
        Service(REDIS_URL=store_url, REDIS_PREFIX="south:eu:", LOG_LEVEL="error") as south,
    ):
        await north.connect(meeting_server.url)
        assert (await south.admin("GET", "/connections")).json()["connections"] == []
        assert "/m/" in (await north.say("record.update_metadata", data)).text
        assert (await south.say("record.update_metadata", data)).json() == {"metadata": {}}
        assert (await south.settled(data["id"]))["connection"] is None
    keys = await store.execute("KEYS", "*")
    assert {key.partition(":")[0] for key in keys} == {"north", "south"}


async def test_what_becomes_due_wakes_only_its_own_installation(store_url: str) -> None:
    north, south = [await Store.open(store_url, prefix=prefix) for prefix in ("north:", "south:")]
    heard: list[tuple[str, str]] = []
    connected = asyncio.Event()

    async def listen() -> None:
        async for message in north.subscribe("vm:wake", on_connect=connected.set):
            heard.append(message)

    listener = asyncio.create_task(listen())
    await connected.wait()
    await south.execute("PUBLISH", "vm:wake", "south")
    await north.execute("PUBLISH", "vm:wake", "north")
    await wait_until(lambda: bool(heard))
    assert heard == [("vm:wake", "north")]
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    for store in (north, south):
        await store.close()
