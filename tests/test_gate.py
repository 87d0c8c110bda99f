"""The gate of a connection over several processes: when it opens, who tries, when it closes."""

import asyncio

import pytest

from service.gate import Gate, Held, Passage
from service.store import Store
from tests.waiting import wait_until

ACCOUNT = "account-1"


def gate(store: Store, first: float = 30.0, longest: float = 60.0, trial: float = 30.0) -> Gate:
    """One process's view of all gates."""
    return Gate(store, first=first, longest=longest, trial=trial)


async def entered(one: Gate) -> Passage | None:
    """A passage, None when the gate is open."""
    try:
        return await one.enter(ACCOUNT)
    except Held:
        return None


async def trial(one: Gate) -> Passage:
    """The passage of whoever may try next, waited for."""
    found: list[Passage] = []

    async def may() -> bool:
        found[:] = [passage] if (passage := await entered(one)) else []
        return bool(found)

    await wait_until(may)
    assert found[0].trial
    return found[0]


async def fail(one: Gate, times: int = 5) -> list[bool]:
    """Calls that find the provider unwell, one after the other."""
    return [await one.unwell(await one.enter(ACCOUNT)) for _ in range(times)]


async def scripts(store: Store) -> int:
    """How many scripts the store has run."""
    stats = await store.execute("INFO", "commandstats")
    return sum(int(row["calls"]) for name, row in stats.items() if name in ("cmdstat_eval", "cmdstat_evalsha"))


async def test_it_opens_after_five_failures_in_a_row_and_for_everybody(store: Store) -> None:
    here, there = gate(store), gate(store)
    assert await fail(here) == [False, False, False, False, True]
    assert await entered(here) is None
    assert await entered(there) is None
    assert await here.states([ACCOUNT, "account-2"]) == {ACCOUNT: "open", "account-2": "closed"}
    assert (await there.enter("account-2")).trial is False


async def test_failures_of_several_processes_add_up(store: Store) -> None:
    here, there = gate(store), gate(store)
    assert await fail(here, 3) == [False] * 3
    assert await fail(there, 2) == [False, True]


async def test_a_success_in_between_starts_the_count_anew(store: Store) -> None:
    one = gate(store)
    for _ in range(3):
        assert not any(await fail(one, 4))
        await one.well(await one.enter(ACCOUNT))
    assert await one.states([ACCOUNT]) == {ACCOUNT: "closed"}


async def test_it_is_open_until_the_time_is_over_and_says_for_how_long(store: Store) -> None:
    one = gate(store, first=30.0)
    await fail(one)
    waits = []
    for _ in range(50):
        with pytest.raises(Held, match="does not answer") as caught:
            await one.enter(ACCOUNT)
        waits.append(caught.value.wait)
    assert 20 < min(waits) < max(waits) < 60
    assert max(waits) - min(waits) > 3  # they must not all come back at once


async def test_exactly_one_call_of_all_processes_is_the_trial(store: Store) -> None:
    processes = [gate(store, first=0.05) for _ in range(4)]
    await fail(processes[0])
    first = await trial(processes[0])
    passed = await asyncio.gather(*[entered(one) for one in processes for _ in range(20)])
    assert [passage for passage in passed if passage] == []
    assert await processes[1].states([ACCOUNT]) == {ACCOUNT: "half_open"}
    await processes[0].well(first)
    assert (await processes[0].enter(ACCOUNT)).trial is False
    await wait_until(lambda: _lets_through(processes[1]))


async def test_of_many_who_come_when_the_time_is_over_one_passes(store: Store) -> None:
    processes = [gate(store, first=30.0) for _ in range(4)]
    await fail(processes[0])
    for one in processes:
        assert await entered(one) is None
    await store.execute("HSET", f"vm:gate:{ACCOUNT}", "till", 0)
    passages: list[Passage] = []

    async def tried() -> bool:
        all_of_them = await asyncio.gather(*[entered(one) for one in processes for _ in range(5)])
        passages.extend(passage for passage in all_of_them if passage)
        return bool(passages)

    await wait_until(tried)
    assert len(passages) == 1


async def _lets_through(one: Gate) -> bool:
    return await entered(one) is not None


async def test_a_failed_trial_doubles_the_time_up_to_a_cap(store: Store) -> None:
    one, lengths = gate(store, first=0.02, longest=0.1), []
    await fail(one)
    for _ in range(4):
        lengths.append(int(await store.execute("HGET", f"vm:gate:{ACCOUNT}", "length")))
        assert await one.unwell(await trial(one)) is True
    assert lengths == [20, 40, 80, 100]
    await one.well(await trial(one))
    assert await store.execute("EXISTS", f"vm:gate:{ACCOUNT}") == 0


async def test_a_trial_that_came_to_nothing_is_somebody_elses(store: Store) -> None:
    here, there = gate(store, first=0.02), gate(store, first=0.02)
    await fail(here)
    await here.leave(await trial(here))
    assert (await trial(there)).trial


async def test_a_trial_that_nobody_ends_is_over_after_a_while(store: Store) -> None:
    here, there = gate(store, first=0.02, trial=0.1), gate(store, first=0.02, trial=0.1)
    await fail(here)
    await trial(here)
    assert (await trial(there)).trial


async def test_calls_that_began_before_it_opened_change_nothing(store: Store) -> None:
    one = gate(store)
    early = [await one.enter(ACCOUNT) for _ in range(8)]
    opened = [await one.unwell(passage) for passage in early[:6]]
    assert opened == [False, False, False, False, True, False]
    length = await store.execute("HMGET", f"vm:gate:{ACCOUNT}", "length", "openings", "till")
    await one.unwell(early[6])
    await one.well(early[7])
    assert await store.execute("HMGET", f"vm:gate:{ACCOUNT}", "length", "openings", "till") == length
    assert await entered(one) is None


async def test_a_failure_told_twice_counts_once(store: Store) -> None:
    """The client sends a command again when its answer was lost."""
    one = gate(store)
    passage = await one.enter(ACCOUNT)
    for _ in range(9):
        assert await one.unwell(passage) is False
    assert await store.execute("HGET", f"vm:gate:{ACCOUNT}", "failures") == "1"


async def test_a_healthy_connection_costs_one_look_a_second_at_most(store: Store) -> None:
    one = gate(store)
    before = await scripts(store)
    for _ in range(200):
        await one.well(await one.enter(ACCOUNT))
    assert await scripts(store) - before <= 3
    assert await store.execute("KEYS", "vm:gate:*") == []


async def test_what_it_remembers_is_forgotten(store: Store) -> None:
    one = gate(store)
    await fail(one)
    assert 0 < await store.execute("TTL", f"vm:gate:{ACCOUNT}") <= 3600
