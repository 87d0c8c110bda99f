"""The ways to the servers of a cluster and of sentinels: keys find their node, redirections are followed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from service.store import Script, Store, StoreRefused, StoreUnavailable
from service.store_routes import key_of, slot_of
from tests.ports import free_port
from tests.stores import ClusterServers, ScriptedServer, StoreServer, Watched, info
from tests.tools import need
from tests.waiting import wait_until

SET = Script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")
SHARDS = range(64)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["valkey", "redis"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[ClusterServers]:
    """A cluster of each kind of server for this module's tests; none of them ends a node."""
    async with ClusterServers(need("redis-server") if request.param == "redis" else None) as servers:
        yield servers


@pytest.fixture
async def store(cluster: ClusterServers) -> AsyncIterator[Store]:
    """A store on the cluster, empty."""
    for node in cluster.nodes:
        await node.say("FLUSHALL")
    opened = await Store.open(cluster.url)
    yield opened
    await opened.close()


async def test_a_key_lives_where_the_cluster_says(cluster: ClusterServers) -> None:
    for key in ("vm:offices", "vm:{s5}:due", "a{b}c{d}", "{}a", "a{", "ä", "{{x}}"):
        assert slot_of(key) == await cluster.nodes[0].say("CLUSTER", "KEYSLOT", key)
    assert key_of(SET.by_sha(["k", "l"], ["a"])) == "k"
    assert [key_of(command) for command in [("GET", "k"), ("PING",)]] == ["k", ""]


async def test_scripts_and_pipelines_reach_every_node_and_answer_in_order(
    cluster: ClusterServers, store: Store
) -> None:
    calls = [([f"vm:{{s{n}}}:a"], [n]) for n in SHARDS]
    for _ in range(2):
        assert await store.pipeline_call(SET, calls) == [str(n) for n in SHARDS]
    assert await asyncio.gather(*(store.call(SET, keys, args) for keys, args in calls)) == [str(n) for n in SHARDS]
    assert await store.pipeline([("GET", f"vm:{{s{n}}}:a") for n in SHARDS]) == [str(n) for n in SHARDS]
    assert min([await node.say("DBSIZE") for node in cluster.nodes]) > 0
    await store.ping()


async def test_one_nodes_error_spares_the_others(store: Store) -> None:
    await store.execute("SET", "vm:{s1}:text", "x")
    answers = await asyncio.gather(
        *(store.execute("LPUSH" if n == 1 else "SET", f"vm:{{s{n}}}:text", n) for n in SHARDS), return_exceptions=True
    )
    assert [type(answer).__name__ for answer in answers if answer is not True] == ["ResponseError"]


async def test_a_slot_that_moves_is_followed_while_it_moves_and_afterwards(
    cluster: ClusterServers, store: Store
) -> None:
    await store.pipeline([("SET", "vm:{s7}:stays", 1), ("SET", "vm:{s7}:moves", 2)])
    slot = slot_of("vm:{s7}:moves")
    holders = [node for node in cluster.nodes if await node.say("CLUSTER", "COUNTKEYSINSLOT", slot)]
    source, target = holders[0], next(node for node in cluster.nodes if node is not holders[0])
    names = {node: await node.say("CLUSTER", "MYID") for node in (source, target)}
    await target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    await source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    await source.say("MIGRATE", "127.0.0.1", target.port, "vm:{s7}:moves", 0, 10_000)
    assert await store.pipeline([("GET", "vm:{s7}:stays"), ("GET", "vm:{s7}:moves")]) == ["1", "2"]
    assert await store.call(SET, ["vm:{s7}:new"], ["3"]) == "3"
    assert await store.call(SET, ["vm:{s7}:stays"], ["4"]) == "4"
    await source.say("MIGRATE", "127.0.0.1", target.port, "vm:{s7}:stays", 0, 10_000)
    for node in (target, source):
        await node.say("CLUSTER", "SETSLOT", slot, "NODE", names[target])
    assert await store.pipeline([("GET", f"vm:{{s7}}:{key}") for key in ("stays", "moves", "new")]) == ["4", "2", "3"]
    assert await store.call(SET, ["vm:{s7}:new"], ["5"]) == "5"


async def test_a_message_from_any_node_is_heard(cluster: ClusterServers, store: Store) -> None:
    heard: set[str] = set()
    connected = asyncio.Event()

    async def listen() -> None:
        async for _, data in store.subscribe("vm:wake", on_connect=connected.set):
            heard.add(data)

    async def all_heard() -> bool:
        """Masters pass on what is said to them as well as they are linked, which may take a while at first."""
        for number, node in enumerate(cluster.nodes):
            await node.say("PUBLISH", "vm:wake", number)
        return heard == {"0", "1", "2"}

    listener = asyncio.create_task(listen())
    await connected.wait()
    await wait_until(all_heard)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


async def test_a_cluster_is_no_single_server_and_the_other_way_round(cluster: ClusterServers) -> None:
    with pytest.raises(StoreRefused, match=r"runs in cluster mode; write its address as redis\+cluster://"):
        await Store.open(cluster.nodes[0].url)
    async with StoreServer(port=free_port()) as server:
        with pytest.raises(StoreUnavailable, match="it is no cluster"):
            await Store.open(f"redis+cluster://127.0.0.1:{server.port}", patience=2.0)


async def test_one_old_node_refuses_the_cluster() -> None:
    """Slots of a cluster whose second node is too old."""
    old_one, new_one = ({"INFO": info(redis_version=version, redis_mode="cluster")} for version in ("6.0.16", "7.2.4"))
    async with ScriptedServer(old_one, tcp=True) as old, ScriptedServer(new_one, tcp=True) as new:
        ranges = (
            b"*2\r\n"
            b"*3\r\n:0\r\n:8000\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\na\r\n"
            b"*3\r\n:8001\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\nb\r\n" % (new.port, old.port)
        )
        for server in (old, new):
            server.answers["CLUSTER"] = ranges
        with pytest.raises(StoreRefused, match=r"Redis 6\.0\.16; use Redis 6\.2"):
            await Store.open(f"redis+cluster://127.0.0.1:{new.port}")


async def test_a_service_the_sentinels_do_not_know_is_said() -> None:
    async with Watched() as watched:
        with pytest.raises(StoreUnavailable, match="know no service named other"):
            await Store.open(watched.url.replace("/vello", "/other"), patience=2.0)
        dead = "127.0.0.1:1,"
        store = await Store.open(watched.url.replace("://", f"://{dead}"))
        assert await store.call(SET, ["vm:key"], ["value"]) == "value"
        await store.close()


async def test_an_old_master_refuses_the_sentinels_address() -> None:
    async with ScriptedServer({"INFO": info(redis_version="5.0.14")}, tcp=True) as server:
        place = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(server.port)), server.port)
        server.answers |= {"SENTINEL": place, "ROLE": b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"}
        with pytest.raises(StoreRefused, match=r"Redis 5\.0\.14; use Redis 6\.2"):
            await Store.open(f"redis+sentinel://127.0.0.1:{server.port}/vello")
