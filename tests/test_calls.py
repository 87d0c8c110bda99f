"""Room for calls: each connection has its own, and what finds none comes back when there may be some."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from providers.base import Budget
from service.budget import Budgets, Purse, Spent
from service.calls import LONGEST_QUEUE, Calls, Room
from service.gate import Gate, Held
from service.observer import Observer
from service.store import Store
from service.turns import AT_ONCE, CROWD, Turns
from tests.waiting import wait_until


async def fill(room: Room, stack: AsyncExitStack, places: int) -> None:
    """Take all places."""
    for _ in range(places):
        stack.callback(room.give_back, await room.take())


async def test_there_are_so_many_places_and_a_left_one_is_free_again() -> None:
    room = Room(3)
    for _ in range(3):
        async with AsyncExitStack() as stack:
            await fill(room, stack, 3)
            with pytest.raises(Held):
                async with asyncio.timeout(30):
                    await room.take()


async def test_where_calls_are_quick_one_waits_for_a_place() -> None:
    room, done = Room(2), 0

    async def call() -> None:
        nonlocal done
        place = await room.take()
        await asyncio.sleep(0)
        done += 1
        room.give_back(place)

    await asyncio.gather(*[call() for _ in range(15)])
    assert done == 15


async def test_behind_calls_that_hang_nobody_waits_and_all_come_back_one_after_the_other() -> None:
    room = Room(2)
    async with AsyncExitStack() as stack:
        await fill(room, stack, 2)
        with pytest.raises(Held):  # after the patience of one that could still hope
            await room.take()
        began = asyncio.get_running_loop().time()
        waits = []
        for _ in range(1000):
            with pytest.raises(Held) as caught:
                await room.take()
            waits.append(caught.value.wait)
        assert asyncio.get_running_loop().time() - began < 15  # until a hanging call is old enough to be seen as one
    assert waits[0] < 5
    assert sum(waits[10:30]) < sum(waits[60:80])
    assert LONGEST_QUEUE * 0.7 < max(waits) <= LONGEST_QUEUE * 1.25
    assert len({round(wait) for wait in waits[-100:]}) > 5


async def test_connections_and_those_vello_waits_for_have_places_of_their_own(store: Store) -> None:
    calls = Calls(Gate(store), Budgets(store), Observer(), inline=1, background=1)
    async with AsyncExitStack() as stack:
        for connection, inline in (("a", True), ("a", False), ("b", True), ("b", False)):
            await stack.enter_async_context(calls.permit(connection, None, inline=inline))
        with pytest.raises(Held, match="in flight"):
            await stack.enter_async_context(calls.permit("a", None, inline=False))
        await stack.enter_async_context(calls.permit("c", None, inline=False))


async def refusal(calls: Calls) -> str:
    """Why a call may not begin now, '' if it may."""
    try:
        async with calls.permit("a", None, inline=True):
            return ""
    except Held as error:
        return str(error)


async def test_a_trial_that_finds_no_room_is_somebody_elses(store: Store) -> None:
    here, there = Gate(store, first=0.001), Gate(store, first=0.001)
    calls = Calls(here, Budgets(store), Observer(), inline=1)
    async with calls.permit("a", None, inline=True):
        for _ in range(5):
            await here.unwell(await here.enter("a"))
        await wait_until(lambda: _is_full(calls))
    assert await there.states(["a"]) == {"a": "open"}
    assert (await there.enter("a")).trial


async def test_what_was_drawn_for_a_call_that_never_began_is_given_back(store: Store) -> None:
    """Its lease was lost meanwhile, or the process stops before it goes out."""
    budgets, budget = Budgets(store), Budget(per_host=9)
    calls, purse = Calls(Gate(store), budgets, Observer()), Purse("a", "anna", budget, "create")

    async def left() -> int:
        return (await budgets.left([("a", budget)]))[0].get("anna", 9)

    async with calls.permit("a", purse, inline=False):
        assert await left() == 8
    assert await left() == 9
    async with AsyncExitStack() as stack:
        permit = await stack.enter_async_context(calls.permit("a", purse, inline=True))
        stopped = asyncio.create_task(_held(calls, purse))

        async def drawn() -> bool:
            return await left() == 7

        await wait_until(drawn)
        stopped.cancel()
        await asyncio.wait([stopped])
        assert await left() == 8
        permit.begun()
    assert await left() == 8


async def test_a_permit_leaves_its_place_however_it_ends(store: Store) -> None:
    budgets, purse = Budgets(store), Purse("a", "anna", Budget(per_host=1), "create")
    calls = Calls(Gate(store), budgets, Observer(), inline=1)
    for _ in range(2):
        async with calls.permit("a", None, inline=True) as permit:
            permit.begun()
        with pytest.raises(ZeroDivisionError):
            async with calls.permit("a", None, inline=True):
                raise ZeroDivisionError
    await budgets.draw(purse)
    for _ in range(2):
        with pytest.raises(Spent):
            await calls.permit("a", purse, inline=True).__aenter__()
    assert await refusal(calls) == ""


async def test_one_call_is_given_back_once_whoever_says_that_it_came_to_nothing(store: Store) -> None:
    budgets, budget = Budgets(store), Budget(per_host=9)
    calls, purse = Calls(Gate(store), budgets, Observer()), Purse("a", "anna", budget, "create")
    await budgets.draw(purse)
    async with calls.permit("a", purse, inline=False) as permit:
        permit.begun()
        await calls.nothing_came(permit, spent=False)
        await calls.nothing_came(permit, spent=False)
    assert await budgets.left([("a", budget)]) == [{"anna": 8}]


async def _held(calls: Calls, purse: Purse) -> None:
    async with calls.permit("a", purse, inline=True):
        await asyncio.Event().wait()


async def _is_full(calls: Calls) -> bool:
    return "in flight" in await refusal(calls)


async def test_a_few_calls_that_vello_waits_for_begin_at_a_time_and_whoever_came_first_is_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.turns.LONGEST", 60.0)
    calls, turns, order = Calls(Gate(store), Budgets(store), Observer()), Turns(), list[int]()

    async def one(number: int) -> None:
        turn = await turns.take()
        async with calls.permit("a", None, inline=True, turn=turn) as permit:
            order.append(number)
            permit.begun()

    begun = [await turns.take() for _ in range(AT_ONCE)]
    late = [asyncio.create_task(one(number)) for number in range(CROWD - 1)]
    async with calls.permit("a", None, inline=False):  # what nobody waits for needs no turn
        _, waiting = await asyncio.wait(late, timeout=0.05)
    assert len(waiting) == len(late)
    begun[0].end()
    async with asyncio.timeout(30):
        await asyncio.gather(*late)
    assert order == sorted(order)
