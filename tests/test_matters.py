"""What needs a person: each state says what it should, and the look at all of them costs what it should."""

import json
import time
from dataclasses import replace
from typing import Any, get_args

import pytest

from service.connections import Health
from service.lacking import Lacking, Shortfall, lacking
from service.matters import EXPIRES_SOON, PATIENCE, Code, Condition, Silence, matters
from service.shards import SHARDS, base, shard_of
from service.store import Store
from tests.authority import Authority
from tests.events import START, record
from tests.running import running, together
from tests.servers import MemoryServer
from tests.test_connect import CALLBACK, choose, connected, served
from tests.waiting import wait_until

NOW = 1_800_000_000
GOOD = Condition("c1", "Reception")
DEAD = replace(GOOD, health=Health("reconnect", "why", NOW - 50, NOW - 100))
DOWN = replace(GOOD, health=Health("failing", "why", NOW - 50, NOW - 100, "outage"))
REFUSED = replace(GOOD, health=Health("failing", "why", NOW - 50, NOW - 100, "probe"))
CASES: dict[str, tuple[Condition, list[Code]]] = {
    "well": (GOOD, []),
    "dead account": (DEAD, ["connection.reconnect"]),
    "outage": (DOWN, ["connection.outage"]),
    "refused": (REFUSED, ["connection.refused"]),
    "scopes": (replace(GOOD, lacking=True), ["connection.scopes"]),
    "scopes explain a refusal": (replace(REFUSED, lacking=True), ["connection.scopes"]),
    "scopes explain no dead account": (
        replace(DEAD, lacking=True),
        ["connection.reconnect", "connection.scopes"],
    ),
    "ends soon": (replace(GOOD, ends_at=NOW + EXPIRES_SOON), ["connection.expiring"]),
    "ends later": (replace(GOOD, ends_at=NOW + EXPIRES_SOON + 1), []),
    "has ended": (replace(DEAD, ends_at=NOW - 1), ["connection.reconnect"]),
    "not renewed": (replace(GOOD, idle_for=30 * 86_400), ["connection.expiring"]),
    "renewed last week": (replace(GOOD, idle_for=8 * 86_400), []),
    "spent": (replace(GOOD, left=0.0), ["connection.budget"]),
    "nearly spent": (replace(GOOD, left=0.01), []),
    "not readable": (replace(DEAD, usable=False), ["connection.unusable"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_connection_says_what_it_needs_and_where(case: str) -> None:
    condition, codes = CASES[case]
    found = matters([condition], Shortfall(), NOW)
    assert [each.code for each in found] == codes
    for each in found:
        assert (each.about, each.path) == ("c1", "/connections/c1")
        assert each.text.endswith(".")
        assert each.cure.endswith(".")
        assert "why" not in each.text  # what a provider said stays on the page


def test_a_dead_account_says_since_when_and_how_many_wait() -> None:
    (dead,) = matters([replace(DEAD, waiting=7, company="north")], Shortfall(), NOW)
    assert (dead.since, dead.company, "7" in dead.text) == (NOW - 100, "north", True)


def test_bookings_are_counted_by_company_and_told_apart() -> None:
    def booking(name: str, start: int, realm: str = "", *, failed: bool = False) -> Lacking:
        return Lacking(name, NOW + start, realm, failed, None)

    some = (
        booking("a", 60),
        booking("b", 3600, failed=True),
        booking("c", 90_000, failed=True),
        booking("d", 120, "north"),
    )
    found = matters([], Shortfall(some), NOW)
    assert [(each.code, each.about, each.company, each.items) for each in found] == [
        ("bookings.missing", "", "own", ("a", "b")),
        ("bookings.missing", "north", "north", ("d",)),
        ("bookings.failed", "", "own", ("c",)),
    ]
    assert "2+" in matters([], Shortfall(some, 5), NOW)[0].text


def test_clocks_and_ways_to_tell_people_are_matters_too() -> None:
    silences = {"mail": Silence(NOW - 9, "550 no"), "webhook": Silence(NOW - 8, "status 500")}
    found = matters([], Shortfall(), NOW, skew=-7.0, silences=silences)
    assert [each.code for each in found] == ["clock", "notices.mail", "notices.webhook"]
    assert not any("550" in each.text for each in found)
    assert matters([], Shortfall(), NOW, skew=4.9) == []


def test_every_code_has_its_patience() -> None:
    assert list(PATIENCE) == list(get_args(Code))


@pytest.fixture
def tomorrow() -> dict[str, Any]:
    return record(time=int(time.time()) + 7200)


async def test_a_booking_of_the_next_day_that_was_given_up_or_waits_is_found_and_later_not(
    store: Store, store_url: str, meeting_server: MemoryServer, tomorrow: dict[str, Any]
) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        assert await lacking(store, time.time()) == Shortfall()
        await meeting_server.faults(fail=[{"status": 401, "times": 99}], only="create")
        await service.link(tomorrow)
        await service.link(record())  # in the far future: it waits, and nobody need know yet
        (found,) = (await lacking(store, time.time())).bookings
        assert (found.start, found.realm, found.failed, found.parked) == (tomorrow["time"], "", False, connection)
        assert tomorrow["id"] not in str(found)
        await meeting_server.faults()
        await service.admin("POST", f"/connections/{connection}/test")
        assert (await service.settled(tomorrow["id"]))["state"] == "ready"
        assert await lacking(store, time.time()) == Shortfall()


async def test_a_failed_booking_is_found_however_far_ahead_until_it_is_mended_cancelled_erased_or_over(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async def seen(now: float) -> list[int]:
        found = (await lacking(store, now)).bookings
        assert all(each.failed for each in found)
        return [each.start for each in found]

    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        mended, cancelled, erased, over = some = [record(time=START + at) for at in range(4)]
        keys = [f"{base(shard_of(data['id']))}failed" for data in some]
        await meeting_server.faults(fail=[{"status": 400, "times": 12}], only="create")
        await together(*[service.link(data) for data in some])
        for data in some:
            assert (await service.settled(data["id"], timeout=20))["state"] == "failed"
        assert await seen(time.time()) == [START, START + 1, START + 2, START + 3]
        assert await store.execute("TTL", keys[0]) > 80 * 86_400
        await service.link(mended)  # Vello's next word has it tried again
        await service.settled(mended["id"])
        await service.say("record.cancelled", {**cancelled, "canceled": True, "version": 2})
        await service.app.app.state.erasure.record(erased["id"])
        for key, data in zip(keys[:3:2], (mended, erased), strict=True):
            assert await store.execute("ZSCORE", key, data["id"]) is None
        assert await seen(time.time()) == [START + 3]
        assert await seen(START + 4) == []
        assert await store.execute("ZSCORE", keys[3], over["id"]) is None


async def test_the_look_reads_the_next_day_and_no_more(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    """Thousands of later bookings cost nothing; of a day with too many the rest is counted, not read."""
    now = int(time.time())
    for shard in range(SHARDS):
        rows = [part for at in range(1200) for part in (now + 100 + at, f"soon-{at}")]
        rows += [part for at in range(300) for part in (now + 200_000 + at, f"later-{at}")]
        await store.execute("ZADD", f"{base(shard)}index", *rows)
    patient = await Store.open(store_url, patience=60)  # none of its calls is made twice
    began = await store.execute("INFO", "commandstats")
    shortfall = await lacking(patient, now)
    ended = await store.execute("INFO", "commandstats")
    assert (shortfall.bookings, shortfall.unseen) == ((), 200 * SHARDS)
    read = ended["cmdstat_hmget"]["calls"] - began.get("cmdstat_hmget", {}).get("calls", 0)
    assert read == 1000 * SHARDS
    await patient.close()


async def test_the_survey_sees_all_of_it_in_use_and_nothing_else(
    store: Store, store_url: str, meeting_server: MemoryServer, tomorrow: dict[str, Any]
) -> None:
    async with running(store_url) as service:
        survey = service.app.app.state.survey
        unused = await service.connect(meeting_server.url)
        connection = await service.connect(meeting_server.url, name="Reception")
        assert (await survey.look()).matters == ()
        assert [*(await survey.look()).working] == [connection]
        await meeting_server.faults(fail=[{"status": 401, "times": 99}], only="create")
        await service.link(tomorrow)
        await wait_until(lambda: _seen(survey, ["connection.reconnect", "bookings.missing"]))
        dead, missing = (await survey.look()).matters
        assert (dead.about, "Reception" in dead.text, "that wait: 1" in dead.text) == (connection, True, True)
        assert missing.items == ()  # it waits for the account, which is a matter of its own
        assert unused not in str((await survey.look()).matters)


async def _seen(survey: Any, codes: list[str]) -> bool:
    return [each.code for each in (await survey.look()).matters] == codes


async def test_an_account_that_was_not_renewed_for_weeks_is_in_danger(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with (
        Authority(CALLBACK, meetings_url=meeting_server.url) as authority,
        served(store_url, authority) as service,
    ):
        await choose(service, await connected(service))
        survey = service.app.app.state.survey
        assert (await survey.look()).matters == ()
        (grant,) = await store.execute("KEYS", "vm:grant:*")
        await store.execute("HSET", grant, "refreshed", int((time.time() - 30 * 86_400) * 1000))
        (stale,) = (await survey.look()).matters
        assert (stale.code, "30 days" in stale.text) == ("connection.expiring", True)


async def test_a_connection_whose_key_is_gone_is_named_and_hides_no_other(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url, name="Reception")
        row = json.loads(await store.execute("HGET", "vm:connections", connection))
        row["envelope"] = row["envelope"].replace("k1", "k9", 1)
        await store.execute("HSET", "vm:connections", connection, json.dumps(row))
        found = (await service.app.app.state.survey.look()).matters
        assert [(each.code, each.about) for each in found] == [("connection.unusable", connection)]
