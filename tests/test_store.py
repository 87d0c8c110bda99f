"""The store: calls outlive a restart, end in time when nobody answers, and tell an outage from a mistake."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ResponseError

from service.store import Script, Store, StoreRefused, StoreUnavailable
from tests.stores import ScriptedServer, StoreServer, info
from tests.waiting import outage, wait_until

SET = Script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")
SUPPORTED = info(redis_version="7.2.4")


@asynccontextmanager
async def opened(url: str, patience: float = 3.0) -> AsyncIterator[Store]:
    """A store that is closed in the end."""
    store = await Store.open(url, patience=patience)
    try:
        yield store
    finally:
        await store.close()


async def test_a_script_runs_whether_or_not_the_server_knows_it(store: Store) -> None:
    await store.execute("SCRIPT", "FLUSH")
    assert [await store.call(SET, ["key"], [value]) for value in ("first", "second")] == ["first", "second"]


async def test_many_calls_go_in_one_round_trip_and_answer_in_order(store: Store) -> None:
    await store.execute("SCRIPT", "FLUSH")
    calls = [([f"key:{number}"], [number]) for number in range(100)]
    expected = [str(number) for number in range(100)]
    assert await store.pipeline_call(SET, calls) == expected
    assert await store.pipeline_call(SET, calls) == expected
    assert await store.pipeline_call(SET, []) == []


async def test_a_pipeline_answers_in_order(store: Store) -> None:
    assert await store.pipeline([("SET", "a", 1), ("GET", "a"), ("GET", "b")]) == [True, "1", None]
    assert await store.pipeline([]) == []


async def test_a_callers_mistake_is_no_outage_and_quotes_no_data(store: Store) -> None:
    await store.execute("SET", "text", "secret")
    with pytest.raises(ResponseError, match="WRONGTYPE") as caught:
        await store.pipeline([("GET", "text"), ("LPUSH", "text", "secret")])
    assert "secret" not in str(caught.value)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await store.call(Script("return redis.call('LPUSH', KEYS[1], 1)"), ["text"], [])


async def test_a_call_that_is_cancelled_leaves_no_answer_for_the_next_one(store: Store) -> None:
    """Pins redis-py: a connection whose answer nobody waits for any more is not used again."""
    for number in range(100):
        abandoned = asyncio.create_task(store.pipeline([("ECHO", "old")] * 20))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        abandoned.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await abandoned
        assert await store.execute("ECHO", number) == str(number)


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancelled_call_ends_at_once(store: Store, turns: int) -> None:
    """Whenever it is cancelled: with a timeout of its own, redis-py sends in a way that forgets it on Python 3.11."""
    call = asyncio.create_task(store.execute("BLPOP", "nothing", 0))
    for _ in range(turns):
        await asyncio.sleep(0)
    call.cancel()
    done, _ = await asyncio.wait([call], timeout=5)
    assert done
    assert call.cancelled()


async def test_a_killed_server_that_comes_back_costs_no_call_under_load() -> None:
    async with StoreServer() as server, opened(server.url, patience=20.0) as store:
        answered, stop = 0, False

        async def load(name: int) -> None:
            nonlocal answered
            while not stop:
                assert await store.call(SET, [f"key:{name}"], [answered]) is not None
                assert await store.pipeline_call(SET, [([f"a:{name}"], [1]), ([f"b:{name}"], [2])]) == ["1", "2"]
                assert await store.pipeline([("SET", f"c:{name}", 3), ("GET", f"c:{name}")]) == [True, "3"]
                answered += 1

        callers = [asyncio.create_task(load(name)) for name in range(50)]
        await wait_until(lambda: answered > 200)
        server.kill()
        await outage(0.5)
        before = answered
        await server.start()
        await wait_until(lambda: answered > before + 200)
        stop = True
        await asyncio.gather(*callers)


async def test_a_server_that_stays_away_is_reported_in_time_and_used_again_when_it_is_back() -> None:
    async with StoreServer() as server, opened(server.url, patience=1.0) as store:
        server.kill()
        started = time.monotonic()
        answers = await asyncio.gather(
            *(store.call(SET, ["key"], ["value"]) for _ in range(100)), store.ping(), return_exceptions=True
        )
        assert time.monotonic() - started < 20.0
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        await server.start()
        assert await store.call(SET, ["key"], ["value"]) == "value"


async def test_a_server_that_hangs_is_reported_in_time() -> None:
    async with StoreServer() as server, opened(server.url, patience=0.5) as store:
        server.freeze()
        started = time.monotonic()
        answers = await asyncio.gather(*(store.ping() for _ in range(100)), return_exceptions=True)
        assert time.monotonic() - started < 20.0
        assert {str(answer) for answer in answers} == {"The store is unavailable: it did not answer in time."}


async def test_a_server_that_was_never_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await Store.open("unix:///nowhere/socket", patience=0.1)


async def test_a_full_store_is_unavailable_until_it_has_room() -> None:
    async with StoreServer() as server, opened(server.url) as store:
        await store.execute("CONFIG", "SET", "maxmemory", "1")
        for call in (
            store.call(SET, ["key"], ["value"]),
            store.pipeline_call(SET, [(["key"], ["value"])]),
            store.pipeline([("SET", "key", "value")]),
        ):
            with pytest.raises(StoreUnavailable, match="out of memory"):
                await call
        await store.execute("CONFIG", "SET", "maxmemory", "0")
        assert await store.call(SET, ["key"], ["value"]) == "value"


async def test_a_wrong_password_is_reported_at_once_and_never_shown() -> None:
    async with StoreServer() as server:
        async with opened(server.url) as store:
            await store.execute("CONFIG", "SET", "requirepass", "right-password")
        async with opened(f"{server.url}?password=right-password") as store:
            await store.ping()
        started = time.monotonic()
        for url in (server.url, f"{server.url}?password=wrong-password"):
            with pytest.raises(StoreUnavailable) as caught:
                await Store.open(url)
            assert "wrong-password" not in str(caught.value)
        assert time.monotonic() - started < 20.0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"-READONLY You can't write against a read only replica.", "read-only replica"),
        (b"-LOADING Valkey is loading the dataset in memory", "loading its data"),
        (b"-MASTERDOWN Link with MASTER is down", "without its primary"),
        (b"-CLUSTERDOWN The cluster is down", "cluster is down"),
        (b"-MISCONF Errors writing to the AOF file", "cannot write to its disk"),
        (b"-BUSY Valkey is busy running a script.", "busy with another script"),
        (b"-NOREPLICAS Not enough good replicas to write.", "too few replicas"),
        (b"-NOPERM No permissions to run the 'evalsha' command", "may not do"),
        (b"-NOAUTH Authentication required.", "user name and password"),
        (b"-ERR max number of clients reached", "max number of clients"),
        (
            b"-ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -OOM command not",
            "out of memory",
        ),
    ],
)
async def test_a_servers_state_is_an_outage_with_its_reason(answer: bytes, reason: str) -> None:
    async with (
        ScriptedServer({"INFO": SUPPORTED, "EVALSHA": answer + b"\r\n"}) as server,
        opened(server.url, patience=0.6) as store,
    ):
        with pytest.raises(StoreUnavailable, match=reason):
            await store.call(SET, ["key"], ["value"])
        with pytest.raises(StoreUnavailable, match=reason):
            await store.pipeline_call(SET, [(["key"], ["value"])] * 2)
        assert await store.execute("PING") is not None


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"redis_version": "6.2.0"}, False),
        ({"redis_version": "8.4.1"}, False),
        ({"redis_version": "10.0.0"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, False),
        ({"redis_version": "6.0.16"}, True),
        ({"redis_version": "5.0.14"}, True),
        ({"redis_version": "7.2.4", "valkey_version": "7.1.0"}, True),
        ({}, True),
        ({"redis_version": "7.2.4", "redis_mode": "cluster"}, True),
        ({"redis_version": "7.2.4", "redis_mode": "sentinel"}, True),
    ],
)
async def test_a_server_that_is_too_old_or_of_another_kind_is_refused(fields: dict[str, str], refused: bool) -> None:
    async with ScriptedServer({"INFO": info(**fields)}) as server:
        if refused:
            with pytest.raises(StoreRefused, match=r"^The store (is|runs) .*\.$"):
                await Store.open(server.url)
        else:
            async with opened(server.url) as store:
                await store.ping()


async def test_redis_serves_as_well_as_valkey(redis_url: str) -> None:
    async with opened(redis_url) as store:
        assert await store.call(SET, ["key"], ["value"]) == "value"
        assert await store.pipeline_call(SET, [(["key"], ["again"])]) == ["again"]


async def test_a_subscription_lasts_over_a_restart_and_says_when_to_look_again() -> None:
    async with StoreServer() as server, opened(server.url) as store:
        connections: list[float] = []
        heard: list[tuple[str, str]] = []

        async def listen() -> None:
            async for message in store.subscribe("one", "two", on_connect=lambda: connections.append(0)):
                heard.append(message)

        listener = asyncio.create_task(listen())
        await wait_until(lambda: len(connections) == 1)
        await store.pipeline([("PUBLISH", "one", "a"), ("PUBLISH", "two", "b"), ("PUBLISH", "three", "c")])
        await wait_until(lambda: heard == [("one", "a"), ("two", "b")])
        for restart in (2, 3):
            server.kill()
            await outage(0.2)
            await server.start()
            await wait_until(lambda restart=restart: len(connections) == restart)  # type: ignore[misc]
            await store.execute("PUBLISH", "one", restart)
            await wait_until(lambda restart=restart: heard[-1] == ("one", str(restart)))  # type: ignore[misc]
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener
        await wait_until(lambda: _nobody_listens(store))


async def _nobody_listens(store: Store) -> bool:
    return await store.execute("PUBSUB", "NUMSUB", "one") in (["one", 0], [("one", 0)])
