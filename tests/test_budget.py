"""What vendors allow each host in a day: counted over all processes, creates last, the vendor's word believed."""

import hashlib
from importlib import resources
from itertools import pairwise

import pytest

from providers.base import Budget, MeetingSpec
from providers.google_account import EVENTS, SPACES, GoogleSettings
from providers.google_meet import PROVIDER as GOOGLE
from providers.http import Http
from service.budget import Budgets, Purse, purse_of
from service.connections import Connections
from service.entry import Placement
from service.gate import Held
from service.plan import Action, Verdict
from service.store import Script, Store
from tests.chaos.renewer import VAULT

BUDGET = Budget(per_host=10, reserve=3)
DAY = 86_400
SCRIPT = Script(resources.files("service").joinpath("budget.lua").read_text())


def purse(verb: str, host: str = "anna", account: str = "a") -> Purse:
    return Purse(account, host, BUDGET, verb)


async def drawn(budgets: Budgets, verb: str, host: str = "anna", account: str = "a") -> int:
    """How many calls can still be drawn."""
    for count in range(20):
        try:
            await budgets.draw(purse(verb, host, account))
        except Held:
            return count
    raise AssertionError("there is no end to it")


async def test_updates_leave_the_reserve_and_creates_take_all(store: Store) -> None:
    budgets = Budgets(store)
    assert await drawn(budgets, "update") == 7
    assert await drawn(budgets, "create") == 3
    assert (await drawn(budgets, "update"), await drawn(budgets, "create")) == (0, 0)


async def test_all_processes_count_together_and_each_host_and_account_apart(store: Store) -> None:
    here, there = Budgets(store), Budgets(store)
    for budgets in (here, there, here, there):
        await budgets.draw(purse("create"))
    assert await there.left([("a", BUDGET), ("b", BUDGET)]) == [{"anna": 6}, {}]
    assert await drawn(here, "create") == 6
    assert await drawn(here, "create", "ben") == 10
    assert await drawn(here, "create", account="b") == 10


async def test_what_came_to_nothing_is_given_back(store: Store) -> None:
    budgets = Budgets(store)
    await drawn(budgets, "create")
    await budgets.give_back(purse("create"))
    assert await drawn(budgets, "create") == 1


async def test_nothing_is_given_back_that_was_not_drawn(store: Store) -> None:
    budgets = Budgets(store)
    await budgets.give_back(purse("create"))
    assert await drawn(budgets, "create") == 10


@pytest.mark.parametrize("budget", [BUDGET, Budget(per_host=10, seconds=60)])
async def test_a_command_sent_twice_counts_once_whoever_came_in_between(store: Store, budget: Budget) -> None:
    budgets, mine = Budgets(store), Purse("a", "anna", budget, "create")
    for _ in range(3):
        await budgets.draw(mine)
    keys, short = ("vm:budget:" + hashlib.sha256(b"a").hexdigest()[:16],), 60_000 if budget.seconds == 60 else 0
    for verb, left in (("give", 8), ("draw", 7)):
        await store.call(SCRIPT, keys, (verb, f"my-{verb}", "anna", 10, short, 0))
        await budgets.draw(Purse("a", "ben", budget, "create"))
        await store.call(SCRIPT, keys, (verb, f"my-{verb}", "anna", 10, short, 0))
        assert (await budgets.left([("a", budget)]))[0]["anna"] == left


async def test_a_vendor_that_says_so_earlier_is_believed(store: Store) -> None:
    budgets = Budgets(store)
    await budgets.spent(purse("update"))
    assert await drawn(budgets, "create") == 0
    assert await budgets.left([("a", BUDGET)]) == [{"anna": 0}]


async def test_who_comes_too_late_waits_for_the_next_day_and_is_told_why(store: Store) -> None:
    budgets = Budgets(store)
    await drawn(budgets, "create")
    seconds, _ = await store.execute("TIME")
    with pytest.raises(Held, match="10 new and changed meetings a day, and today's are used up") as create:
        await budgets.draw(purse("create"))
    with pytest.raises(Held, match="the last 3 of today are kept for new ones"):
        await budgets.draw(purse("update"))
    left = DAY - int(seconds) % DAY
    assert left - 5 < create.value.wait < left + 65
    (key,) = await store.execute("KEYS", "*budget*")
    assert left - 5 < await store.execute("TTL", key) < left + 65


async def test_a_new_day_begins_anew(store: Store) -> None:
    budgets = Budgets(store)
    for host in ("anna", "ben"):
        await drawn(budgets, "create", host)
    (key,) = await store.execute("KEYS", "*budget*")
    await store.execute("HINCRBY", key, "day", -1)
    assert await budgets.left([("a", BUDGET)]) == [{}]
    assert await drawn(budgets, "create") == 10
    assert await budgets.left([("a", BUDGET)]) == [{"anna": 0}]


MINUTE = Budget(per_host=4, seconds=60, verbs=("create",))


async def pace(budgets: Budgets, host: str = "anna") -> float:
    """Seconds until a call may be made, 0 if it was."""
    try:
        await budgets.draw(Purse("paced", host, MINUTE, "create"))
    except Held as held:
        return held.wait
    return 0.0


async def aged(store: Store, seconds: float) -> None:
    """All calls, and the turns of those who wait, were so long ago."""
    (key,) = await store.execute("KEYS", "*budget*")
    row = await store.execute("HGETALL", key)
    for name, times in row.items():
        if name[:2] in ("c:", "q:"):
            older = " ".join(str(int(int(at) - seconds * 1000)) for at in times.split())
            await store.execute("HSET", key, name, older)


async def test_a_minute_has_no_beginning_so_no_stretch_of_it_holds_too_many(store: Store) -> None:
    budgets = Budgets(store)
    assert [await pace(budgets) for _ in range(4)] == [0.0] * 4
    assert 50 < await pace(budgets) < 62
    assert await pace(budgets, "ben") == 0.0
    assert await budgets.left([("paced", MINUTE)]) == [{"anna": 0, "ben": 3}]
    await aged(store, 45)
    assert 0 < await pace(budgets) < 62
    await aged(store, 16)
    assert await budgets.left([("paced", MINUTE)]) == [{"anna": 4, "ben": 4}]
    assert await pace(budgets) == 0.0


async def test_who_waits_has_a_turn_of_its_own(store: Store) -> None:
    budgets = Budgets(store)
    for _ in range(4):
        await pace(budgets)
    waits = [await pace(budgets) for _ in range(8)]
    assert all(abs(later - sooner - 15) < 6 for sooner, later in pairwise(waits))


async def test_nobody_waits_longer_than_ten_minutes_to_look_again(store: Store) -> None:
    budgets = Budgets(store)
    assert max([await pace(budgets) for _ in range(60)]) < 602


async def test_those_who_find_no_turn_within_ten_minutes_do_not_all_come_back_at_once(store: Store) -> None:
    """Else one minute in ten would serve them, and the others nobody."""
    budgets = Budgets(store)
    late = [await pace(budgets) for _ in range(150)][50:]
    assert max(late) - min(late) > 150


async def test_a_queue_that_was_long_delays_nobody_for_longer_than_it_lasts(store: Store) -> None:
    budgets = Budgets(store)
    for _ in range(150):
        await pace(budgets)
    await aged(store, 600)
    assert [await pace(budgets) for _ in range(4)] == [0.0] * 4
    assert await pace(budgets) < 90


async def test_in_a_minute_too_a_vendor_is_believed_and_what_came_to_nothing_is_given_back(store: Store) -> None:
    budgets, paced = Budgets(store), Purse("paced", "anna", MINUTE, "create")
    await budgets.spent(paced)
    with pytest.raises(Held, match="4 new meetings a minute, and this one waits its turn"):
        await budgets.draw(paced)
    await budgets.give_back(paced)
    assert await pace(budgets) == 0.0
    assert await pace(budgets) > 0
    (key,) = await store.execute("KEYS", "*budget*")
    assert 60 < await store.execute("TTL", key) < 260


@pytest.mark.parametrize(("usual", "chosen"), [("calendar", "space"), ("space", "calendar")])
async def test_what_is_counted_is_what_the_office_chose_not_what_its_connection_makes_as_a_rule(
    store: Store, usual: str, chosen: str
) -> None:
    http = Http()
    connections = Connections(store, VAULT, {"google_meet": GOOGLE}, lambda info, made, _: info.connect(made, http))
    settings = GoogleSettings(user_id="1", email="a@x", mode=usual, granted=(SPACES, EVENTS))
    row = await connections.add("google_meet", "Google", settings)
    await connections.load()
    placed = Placement(row.id, MeetingSpec("k", 0, "T", 0, 60, options={"mode": chosen}), None)
    budgets, purse = Budgets(store), purse_of(connections, placed, Verdict.CREATE)
    assert (purse is not None) == (chosen == "space")
    if purse:
        await budgets.spent(purse)
    hosts = await budgets.able(connections, Action(Verdict.CREATE, "", wanted=placed, hosts=("me",)))
    assert hosts == (() if purse else ("me",))
    await http.close()
