"""The calls of one turn travel together, and still each has its own answer, error, deadline and end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import DataError, ResponseError

from service.store import Script, Store, StoreUnavailable
from service.store_node import DEPTH, LANES, _answer
from tests.stores import ScriptedServer, StoreServer, info
from tests.waiting import outage, stand_still, wait_until

SET = Script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")
COUNT = Script("return (ARGV[1] or '') .. ': ' .. redis.call('INCR', KEYS[1])")


@pytest.fixture
async def server() -> AsyncIterator[StoreServer]:
    """A server that counts for one test only."""
    async with StoreServer() as running:
        yield running


async def test_many_calls_share_few_connections_and_each_gets_its_own_answer(store: Store) -> None:
    before = (await store.execute("INFO", "stats"))["total_connections_received"]
    calls = [store.call(SET, [f"key:{number}"], [number]) for number in range(1000)]
    assert await asyncio.gather(*calls) == [str(number) for number in range(1000)]
    after = (await store.execute("INFO", "stats"))["total_connections_received"]
    assert after - before <= LANES


async def test_the_calls_of_one_turn_cost_one_round_trip_beside_the_first(server: StoreServer) -> None:
    """Which may go at once: until then callers came one by one."""
    store = await Store.open(server.url)
    for _ in range(2):  # the first time connects
        before = await _reads(store)
        await asyncio.gather(*(store.call(SET, [f"key:{number}"], [number]) for number in range(DEPTH + 1)))
    assert await _reads(store) - before <= 5  # a long one may arrive in pieces; the count itself is one
    await store.close()


async def test_who_stood_still_gets_the_answers_all_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [asyncio.create_task(store.call(SET, [f"key:{number}"], [number])) for number in range(200)]
    for _ in range(3):
        await asyncio.sleep(0)  # some have been sent, the others wait for a connection
    stand_still(monkeypatch, 3600)
    assert await asyncio.gather(*calls) == [str(number) for number in range(200)]


async def test_nobody_waits_for_longer_than_a_call_may_take_at_a_server_that_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It answers each exchange in time, but calls come faster."""
    monkeypatch.setattr("service.store_node._answer", slow := Slow())
    async with StoreServer() as server:
        store = await Store.open(server.url, patience=1.0)
        await store.call(SET, ["key"], ["value"])
        slow.pause = 0.02
        calls = [asyncio.create_task(store.call(SET, [f"key:{number}"], [number])) for number in range(1000)]
        started = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(answer) for answer in answers} == {str, StoreUnavailable}
        assert asyncio.get_running_loop().time() - started < 20.0
        slow.pause = 0.0
        await store.close()


class Slow:
    """Reads each answer late."""

    def __init__(self) -> None:
        self.pause = 0.0

    async def __call__(self, connection: Any) -> Any:
        await outage(self.pause)
        return await _answer(connection)


async def test_a_caller_that_is_stopped_takes_its_own_call_along_and_nobody_elses() -> None:
    async with ScriptedServer({"INFO": info(redis_version="7.2.4"), "HANG": b""}) as server:
        store = await Store.open(server.url, patience=20)
        first = asyncio.create_task(store.execute("HANG"))
        await wait_until(lambda: "HANG" in server.asked)
        others = [asyncio.create_task(store.execute("NEXT")) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        assert await asyncio.gather(*others) == ["OK"] * 3
        assert await store.execute("LAST") == "OK"
        await store.close()


async def _reads(store: Store) -> int:
    return int((await store.execute("INFO", "stats"))["total_reads_processed"])


async def test_one_callers_error_is_nobody_elses(store: Store) -> None:
    await store.execute("SET", "text", "secret")
    answers = await asyncio.gather(
        store.call(SET, ["a"], [1]),
        store.call(Script("return redis.call('LPUSH', KEYS[1], 1)"), ["text"], []),
        store.execute("LPUSH", "text", 1),
        store.execute("SET", "b", object()),
        store.pipeline([("GET", "text"), ("LPUSH", "text", 1)]),
        store.call(SET, ["c"], [3]),
        return_exceptions=True,
    )
    assert (answers[0], answers[5]) == ("1", "3")
    assert [type(answer) for answer in answers[1:5]] == [ResponseError, ResponseError, DataError, ResponseError]


async def test_an_unknown_script_costs_only_its_own_callers_a_repeat(store: Store) -> None:
    await store.execute("SCRIPT", "FLUSH")
    other = Script("return ARGV[1] .. '!'")
    calls = [store.call(SET if number % 2 else other, [f"k:{number}"], [number]) for number in range(50)]
    assert await asyncio.gather(*calls) == [str(n) if n % 2 else f"{n}!" for n in range(50)]


@pytest.mark.parametrize("turns", range(6))
async def test_a_caller_that_is_cancelled_takes_nobodys_answer_along(store: Store, turns: int) -> None:
    """Nor does it make the others run twice."""
    await store.call(COUNT, ["known"], [])
    calls = [asyncio.create_task(store.call(COUNT, [f"key:{number}"], [number])) for number in range(60)]
    for _ in range(turns):
        await asyncio.sleep(0)
    for call in calls[::3]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    kept = [(number, answer) for number, answer in enumerate(answers) if number % 3]
    assert [answer for _, answer in kept] == [f"{number}: 1" for number, _ in kept]
    assert await store.call(SET, ["key"], ["next"]) == "next"


async def test_a_long_answer_does_not_hold_up_the_next_calls(store: Store) -> None:
    """A connection waits, the others go on: here for a command that blocks."""
    blocked = [asyncio.create_task(store.execute("BLPOP", "nothing", 0)) for _ in range(2)]
    await wait_until(lambda: _blocked(store))
    assert await store.call(SET, ["key"], ["value"]) == "value"
    for call in blocked:
        call.cancel()
    await asyncio.gather(*blocked, return_exceptions=True)


async def _blocked(store: Store) -> bool:
    return bool((await store.execute("INFO", "clients"))["blocked_clients"] == 1)


async def test_a_pipeline_stays_together_and_in_order_among_others(store: Store) -> None:
    long = [("APPEND", "text", f"{number};") for number in range(3 * DEPTH)]
    await asyncio.gather(*(store.call(SET, [f"key:{number}"], [number]) for number in range(100)), store.pipeline(long))
    assert await store.execute("GET", "text") == "".join(f"{number};" for number in range(3 * DEPTH))


async def test_a_deadline_is_each_callers_own(server: StoreServer) -> None:
    patient, hasty = await Store.open(server.url, patience=20.0), await Store.open(server.url, patience=2.0)
    server.freeze()
    waiting = asyncio.create_task(patient.call(SET, ["key"], ["value"]))
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await hasty.call(SET, ["key"], ["other"])
    server.thaw()
    assert await waiting == "value"
    for store in (patient, hasty):
        await store.close()


async def test_answers_that_stop_half_way_fail_their_callers_only_and_are_never_read_by_others() -> None:
    """The server answers the first of two commands and hangs; what it says later is nobody's."""
    async with ScriptedServer({"INFO": info(redis_version="7.2.4"), "HANG": b""}) as server:
        store = await Store.open(server.url, patience=2.0)
        answers = await asyncio.gather(store.execute("FIRST"), store.execute("HANG"), return_exceptions=True)
        assert answers[0] == "OK"
        assert isinstance(answers[1], StoreUnavailable)
        assert await store.execute("NEXT") == "OK"
        await store.close()


async def test_a_server_that_was_demoted_is_connected_to_anew() -> None:
    """Its name may lead to another server by now."""
    readonly = b"-READONLY You can't write against a read only replica.\r\n"
    async with ScriptedServer({"INFO": info(redis_version="7.2.4"), "WRITE": readonly}) as server:
        store = await Store.open(server.url, patience=2.0)
        with pytest.raises(StoreUnavailable, match="read-only replica"):
            await store.execute("WRITE")
        before = server.connections
        assert await store.execute("READ") == "OK"
        assert (before >= 2, server.connections) == (True, before + 1)
        await store.close()


async def test_a_store_that_is_closed_leaves_nobody_waiting(server: StoreServer) -> None:
    store = await Store.open(server.url, patience=2.0)
    calls = [asyncio.create_task(store.execute("BLPOP", "nothing", 0)) for _ in range(LANES + 2)]
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}


@pytest.mark.parametrize("turns", range(6))
async def test_a_store_that_is_closed_at_any_turn_leaves_nobody_waiting(store_url: str, turns: int) -> None:
    """Not even those whose exchange had not begun."""
    store = await Store.open(store_url, patience=2.0)
    calls = [asyncio.create_task(store.call(SET, ["key"], ["value"])) for _ in range(LANES * DEPTH + 2)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await store.close()
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} <= {StoreUnavailable, str}
