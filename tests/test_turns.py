"""Laws of turns: a few begin at a time, nobody is passed over, and nobody waits for long."""

import asyncio

import pytest

from service import turns as module
from service.budget import Budgets
from service.calls import Calls
from service.gate import Gate
from service.observer import Observer
from service.store import Store
from service.turns import AT_ONCE, CROWD, Turn, Turns
from tests.events import record
from tests.running import running
from tests.servers import MemoryServer
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 60.0)


async def full() -> tuple[Turns, list[Turn]]:
    """All turns, and those who have them."""
    turns = Turns()
    return turns, [await turns.take() for _ in range(AT_ONCE)]


async def waiting(turns: Turns, number: int) -> list[asyncio.Task[Turn]]:
    """Those who wait for one."""
    tasks = [asyncio.create_task(turns.take()) for _ in range(number)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_a_turn_that_ends_is_the_next_ones_and_ends_but_once() -> None:
    turns, begun = await full()
    first, second = await waiting(turns, 2)
    begun[0].end()
    begun[0].end()
    await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    assert (first.done(), second.done()) == (True, False)
    (await first).end()
    await second


async def test_of_a_crowd_more_begin_at_a_time() -> None:
    turns, _ = await full()
    late = await waiting(turns, 3 * CROWD)
    assert [task.done() for task in late].count(True) == 2
    assert [task.done() for task in late] == [True] * 2 + [False] * (3 * CROWD - 2)
    for task in late:
        task.cancel()


async def test_who_waits_no_more_is_passed_over_and_no_turn_is_lost() -> None:
    turns, begun = await full()
    left, given, last = await waiting(turns, 3)
    left.cancel()
    await asyncio.wait([left])
    begun[0].end()
    await asyncio.sleep(0)
    given.cancel()  # at the moment it is his
    async with asyncio.timeout(10):
        await last
    assert given.cancelled()


async def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, _ = await full()
    monkeypatch.setattr(module, "LONGEST", 0.01)
    without = await turns.take()
    without.end()
    (task,) = await waiting(turns, 1)
    assert not task.done(), "who went without a turn had none to give back"
    await task


async def test_of_many_who_were_answered_a_few_finish_at_a_time_and_whoever_came_first_is_next() -> None:
    turns = Turns(finishing=Turns())
    begun = []
    for _ in range(AT_ONCE + 2):
        begun.append(await turns.take())
        begun[-1].end()
        await asyncio.sleep(0)
    resumed = [asyncio.create_task(turn.resume()) for turn in begun]
    late = resumed[AT_ONCE:]
    _, still = await asyncio.wait(resumed, timeout=0.05)
    assert still == set(late)
    begun[0].end()
    await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
    assert [task.done() for task in late] == [True, False]
    async with asyncio.timeout(10):
        await begun[1].resume()  # once is enough, and holds nobody up
    begun[1].end()
    await asyncio.wait(late)


async def test_what_nobody_waits_for_any_more_is_finished_without_a_turn() -> None:
    finishing, _ = await full()
    turns = Turns(finishing=finishing)
    turn = await turns.take()
    turn.leave()
    async with asyncio.timeout(10):
        await turn.resume()


async def test_who_waits_for_room_at_a_connection_gives_up_the_turn(store: Store) -> None:
    turns, begun = await full()
    calls = Calls(Gate(store), Budgets(store), Observer(), inline=1)
    async with calls.permit("a", None, inline=True):
        (next_one,) = await waiting(turns, 1)
        held = asyncio.create_task(_held(calls, begun[0]))
        async with asyncio.timeout(10):
            await next_one
    await held


async def _held(calls: Calls, turn: Turn) -> None:
    async with calls.permit("a", None, inline=True, turn=turn):
        pass


async def test_calls_under_way_hold_no_turn(store_url: str, meeting_server: MemoryServer) -> None:
    """Twice as many as begin at a time are at a provider that does not answer yet, and so is one more."""
    number = 2 * AT_ONCE + 1

    async def at_the_provider() -> bool:
        return len(await meeting_server.calls("create")) == number

    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(hold=True, only="create")
        asked = [service.link(record()) for _ in range(number)]
        answers = asyncio.gather(*asked)
        await wait_until(at_the_provider)
        await meeting_server.faults()
        links = await answers
    assert all(link and link.startswith(meeting_server.url) for link in links)


async def test_bookings_that_were_answered_too_late_for_vello_leave_their_turns(
    store_url: str, meeting_server: MemoryServer
) -> None:
    """Nobody waits for those any more: their runs end, and with them their turns."""
    number = AT_ONCE + 1
    async with running(store_url, ANSWER_DEADLINE="1") as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(hold=True, only="create")
        late = [record() for _ in range(number)]
        pages = await asyncio.gather(*[service.link(data) for data in late])
        assert not any(str(page).startswith(meeting_server.url) for page in pages)
        await meeting_server.faults()
        for data in late:
            assert (await service.settled(data["id"]))["state"] == "ready"
        for data in [record() for _ in range(number)]:
            assert str(await service.link(data)).startswith(meeting_server.url)
