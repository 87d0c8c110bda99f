"""Limits in time: what is over ends, what came in time counts, and whoever else cancels is heard."""

import asyncio
import socket

import pytest

from providers.limit import HELD_UP, Limit
from tests.waiting import stand_still


async def test_what_takes_too_long_ends_and_what_does_not_goes_on() -> None:
    with pytest.raises(TimeoutError), Limit(0.01):
        await asyncio.Event().wait()
    with Limit(30):
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


async def test_of_two_limits_the_one_that_is_over_ends() -> None:
    with Limit(30):
        with pytest.raises(TimeoutError), Limit(0.01):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), Limit(0.01), Limit(30):
        await asyncio.Event().wait()


async def test_whoever_cancels_a_task_is_heard_though_its_time_is_over() -> None:
    async def limited() -> None:
        with Limit(0.01):
            try:
                await asyncio.Event().wait()
            finally:
                task.cancel()

    task = asyncio.create_task(limited())
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("late", [0.05, HELD_UP + 0.2], ids=["a moment", "long"])
async def test_what_came_while_the_process_stood_still_is_in_time(monkeypatch: pytest.MonkeyPatch, late: float) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)

    async def limited() -> bytes:
        with Limit(0.2):
            return await reader.readexactly(1)

    answer = asyncio.create_task(limited())
    await asyncio.sleep(0)
    theirs.send(b"x")
    stand_still(monkeypatch, 0.2 + late)
    assert await answer == b"x"
    writer.close()
    await writer.wait_closed()
    theirs.close()
