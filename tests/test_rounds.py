"""Work that comes round: it survives its faults, and ends when it is told to."""

from collections.abc import Awaitable, Callable

from service.rounds import Rounds
from service.store import StoreUnavailable
from tests.waiting import wait_until


def failing(*faults: Exception) -> tuple[Callable[[], Awaitable[None]], list[int]]:
    """Work that fails once with each of `faults`, and what counts how often it was done."""
    done: list[int] = []

    async def work() -> None:
        done.append(1)
        if len(done) <= len(faults):
            raise faults[len(done) - 1]

    return work, done


async def test_a_fault_and_a_store_that_is_away_end_no_rounds_and_stop_does() -> None:
    work, done = failing(StoreUnavailable("away"), ValueError("a fault of ours"))
    rounds = Rounds("test", work, 0.01)
    rounds.start()
    await wait_until(lambda: len(done) > 3)
    await rounds.stop()
    await rounds.stop()
    assert rounds._task is not None
    assert rounds._task.cancelled()


async def test_what_never_began_can_be_stopped() -> None:
    work, done = failing()
    await Rounds("test", work).stop()
    assert done == []
