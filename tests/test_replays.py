"""Replaying: what an event said is applied again, the way it came, and never moves a booking back."""

import asyncio
import json
import time
import uuid
from typing import Any

import pytest

from service.changes import Changes
from service.delivery import Wanted
from service.errands import RUNNING, Errand, Errands, Step
from service.replays import about
from service.store import Store
from service.vault import Vault
from tests.events import START, body, record
from tests.running import Running, running
from tests.servers import MemoryServer
from tests.test_cli import command
from tests.test_deliveries import lines
from tests.waiting import wait_until

VAULT = Vault([("k1", bytes(32))])


async def only(service: Running, data: dict[str, Any], **asked: Any) -> dict[str, Any]:
    """The oldest event of a record in the log that fits."""
    return (await lines(service, record=data["id"], kind="event", **asked))[-1]


async def post(service: Running, path: str, status: int, json: Any = None) -> dict[str, Any]:
    answer = await service.admin("POST", path, json=json)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def ended(service: Running, errand: str) -> dict[str, Any]:
    """An errand once it is over."""
    seen: dict[str, Any] = {}

    async def over() -> bool:
        seen.update((await service.admin("GET", f"/errands/{errand}")).json())
        return bool(seen["state"] != "running")

    await wait_until(over, 30)
    return seen


async def test_a_replay_of_an_old_event_never_moves_a_booking_back(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record()
        await service.link(data)
        await service.say("record.updated", {**data, "version": 2, "time": START + 3600})
        await service.settled(data["id"])
        old = await only(service, data)
        assert (await post(service, f"/deliveries/{old['id']}/preview", 200)) == {
            "verdict": "old",
            "does": "nothing",
            "why": "something newer is known",
        }
        assert (await post(service, f"/deliveries/{old['id']}/replay", 202))["verdict"] == "old"
        assert (await service.settled(data["id"]))["start"] == START + 3600
        [meeting] = await meeting_server.meetings()
        assert meeting["start"] == START + 3600
        again = (await lines(service, record=data["id"]))[0]
        assert (again["replay_of"], again["verdict"]) == (old["id"], "old")


@pytest.mark.parametrize("last", ["record.cancelled", "record.deleted"])
async def test_nor_does_it_revive_one_that_ended(store_url: str, meeting_server: MemoryServer, last: str) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record()
        await service.link(data)
        await service.say(last, {**data, "version": 2, "canceled": True})
        await service.settled(data["id"])
        old = await only(service, data)
        await post(service, f"/deliveries/{old['id']}/replay", 202)
        assert (await service.settled(data["id"]))["state"] == "gone"
        assert await meeting_server.meetings() == []


async def test_nor_does_a_cancellation_without_version_and_time_that_was_taken_back_since(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record()
        await service.link(data)
        bare = {name: value for name, value in data.items() if name not in ("version", "changed")}
        await service.say("record.cancelled", {**bare, "canceled": True})
        assert (await service.settled(data["id"]))["state"] == "gone"
        later = int(time.time()) + 60
        await service.say("record.updated", {**data, "version": 2, "changed": later})
        assert await service.link({**data, "version": 2, "changed": later})
        await service.settled(data["id"])
        old = await only(service, data, type="record.cancelled")
        told = await post(service, f"/deliveries/{old['id']}/preview", 200)
        assert (told["verdict"], told["does"]) == ("old", "nothing")
        assert (await post(service, f"/deliveries/{old['id']}/replay", 202))["verdict"] == "old"
        begun = await post(service, "/replays", 202, {"since": 0, "record": data["id"]})
        done = await ended(service, begun["id"])
        assert done["counts"]["new"] == 0
        assert (await service.settled(data["id"]))["state"] == "ready"
        assert len(await meeting_server.meetings()) == 1


async def test_what_the_ledger_lost_comes_back_by_a_replay_and_is_foretold(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record(record_number="4711", user=str(uuid.uuid4()))
        await service.link(data)
        before = await service.settled(data["id"])
        line = await only(service, data)
        for key in await store.execute("KEYS", f"vm:*{data['id']}"):
            await store.execute("DEL", key)
        told = await post(service, f"/deliveries/{line['id']}/preview", 200)
        assert (told["verdict"], told["does"]) == ("new", "made")
        assert (await service.admin("GET", f"/records/{data['id']}")).status_code == 404
        assert (await post(service, f"/deliveries/{line['id']}/replay", 202))["verdict"] == "new"
        after = await service.settled(data["id"])
        same = ("company", "office", "resource", "service", "number", "version", "start", "duration", "meeting_id")
        assert [after[name] for name in same] == [before[name] for name in same]
        assert len(await meeting_server.meetings()) == 1  # found by its key


async def test_a_link_that_was_not_ours_is_none_in_a_replay_either(store: Store, store_url: str) -> None:
    async with running(store_url) as service:
        data = record(metadata={"video_link": "https://elsewhere.example.org/1"})
        assert await service.link(data) is None
        line = await only(service, data)
        for key in await store.execute("KEYS", f"vm:*{data['id']}"):
            await store.execute("DEL", key)
        told = await post(service, f"/deliveries/{line['id']}/preview", 200)
        assert (told["does"], told["why"]) == ("nothing", "the booking has a video link that is not ours")


async def test_what_carries_no_event_cannot_be_replayed(store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record()
        await service.link(data)
        [call] = await lines(service, kind="call")
        for verb in ("replay", "preview"):
            answer = await service.admin("POST", f"/deliveries/{call['id']}/{verb}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_replayable")


async def test_an_event_of_a_company_that_is_gone_is_refused(store_url: str) -> None:
    company = str(uuid.uuid4())
    async with running(store_url) as service:
        made = (await service.admin("POST", "/companies", json={"id": company, "name": "Other"})).json()
        data = record(company=company)
        await service.post(body("record.created", data), url=made["endpoint_url"], token=made["tokens"][0])
        line = await only(service, data)
        await service.admin("DELETE", f"/companies/{company}")
        assert (await post(service, f"/deliveries/{line['id']}/replay", 202))["verdict"] == "refused"


async def test_a_range_is_foretold_replayed_at_a_pace_and_followed(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    began = time.time() - 1
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        some = [record() for _ in range(6)]
        for data in some:
            await service.link(data)
            await service.say("record.updated", {**data, "version": 2, "time": START + 60})
        await service.link(record())
        for data in some:
            await service.settled(data["id"])
            for key in await store.execute("KEYS", f"vm:*{data['id']}"):
                await store.execute("DEL", key)
        wanted = {"since": began, "type": "record.updated"}
        outlook = await post(service, "/replays/preview", 200, wanted)
        assert outlook == {
            "events": 6, "stale": 0, "made": 0, "changed": 0, "replaced": 0, "removed": 0, "complete": True,
        }  # fmt: skip
        outlook = await post(service, "/replays/preview", 200, {"since": began})
        assert (outlook["events"], outlook["stale"]) == (13, 7)
        errand = await post(service, "/replays", 202, {"since": began})
        assert errand["state"] == "running"
        done = await ended(service, errand["id"])
        assert (done["state"], done["counts"]["replayed"], done["counts"]["new"]) == ("done", 13, 6)
        for data in some:
            assert (await service.record(data["id"]))["start"] == START + 60
        listed = (await service.admin("GET", "/errands")).json()["errands"]
        assert [each["id"] for each in listed] == [errand["id"]]
    changes = await Changes(store).of("replay")
    assert [(change.who, change.did, change.id) for change in changes] == [("API", "added", errand["id"])]
    assert str(began) not in str(await store.execute("HGETALL", "vm:errands"))  # what it was about is gone


def test_what_came_before_the_first_second_is_nothing_and_without_an_end_everything_until_now() -> None:
    assert about(Wanted(until=0), None)["wanted"]["until"] == 0
    assert about(Wanted(until=1.5), None)["wanted"]["until"] == 1.5
    for until in (None, time.time() + 60):
        assert about(Wanted(until=until), None)["wanted"]["until"] == pytest.approx(time.time(), abs=10)


async def test_an_errand_can_be_stopped_and_only_once(store_url: str) -> None:
    async with running(store_url) as service:
        for _ in range(3):
            data = record()
            for version in range(15):
                await service.say("record.updated", {**data, "version": version})
        errand = await post(service, "/replays", 202, {"since": 0})
        assert (await post(service, f"/errands/{errand['id']}/stop", 200))["state"] == "stopped"
        answer = await service.admin("POST", f"/errands/{errand['id']}/stop")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "ended")
        assert (await service.admin("GET", "/errands/none")).json()["error"]["code"] == "unknown_errand"


async def test_an_errand_whose_process_fell_silent_goes_on_elsewhere_and_a_fault_ends_it(store: Store) -> None:
    steps = list[str]()

    async def step(errand: Errand, what: Any) -> Step:
        steps.append(f"{what['name']}{errand.place}")
        if what["name"] == "bad":
            raise ValueError("of ours")
        return Step(None if errand.place == "2" else str(int(errand.place or 0) + 1), {"steps": len(steps)})

    errands = Errands(store, VAULT, Changes(store), {"walk": step})
    begun = await errands.begin("walk", {"name": "a"}, "anna")
    assert "name" not in str(await store.execute("HGETALL", "vm:errands"))
    done = await errands.carry(begun)
    assert (steps, done.state, done.counts, done.what) == (["a", "a1", "a2"], "done", {"steps": 3}, None)
    assert (await errands.carry(begun)).state == "done"  # whoever comes late does nothing
    assert len(steps) == 3
    bad = await errands.carry(await errands.begin("walk", {"name": "bad"}, "anna"))
    assert (bad.state, bad.what) == ("failed", None)
    assert await store.execute("TTL", "vm:errands") > 29 * 86_400


@pytest.mark.parametrize("fails", [False, True], ids=["done", "failed"])
async def test_an_errand_whose_step_takes_longer_than_its_lease_is_nobody_elses_and_ends(
    store: Store, fails: bool
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def step(errand: Errand, what: Any) -> Step:
        begun.set()
        await go_on.wait()
        if fails:
            raise ValueError("of ours")
        return Step(None, {})

    here, elsewhere = (Errands(store, VAULT, Changes(store), {"walk": step}, lease=0.06) for _ in range(2))
    errand = await here.begin("walk", {}, "anna")
    carried = asyncio.create_task(here.carry(errand))
    await begun.wait()
    first = await here.get(errand.id)
    assert first is not None

    async def kept() -> bool:
        now = await here.get(errand.id)
        return now is not None and now.until > first.until + 0.06

    await wait_until(kept)
    assert (await elsewhere.carry(first)).running  # what it saw is not what stands
    go_on.set()
    assert (await carried).state == ("failed" if fails else "done")


async def test_an_errand_that_pauses_has_written_how_far_it_is_and_is_nobody_elses_meanwhile(store: Store) -> None:
    async def step(errand: Errand, what: Any) -> Step:
        return Step("far", {"steps": 1}, pause=600.0)

    errands = Errands(store, VAULT, Changes(store), {"walk": step}, lease=0.06)
    errand = await errands.begin("walk", {}, "anna")
    carried = asyncio.create_task(errands.carry(errand))

    async def written() -> bool:
        now = await errands.get(errand.id)
        return now is not None and (now.place, now.counts) == ("far", {"steps": 1}) and now.until > time.time() + 500

    await wait_until(written)
    carried.cancel()


async def test_of_an_errand_what_a_later_version_wrote_besides_is_left_out(store: Store) -> None:
    errands = Errands(store, VAULT, Changes(store), {})
    begun = await errands.begin("walk", {}, "anna")
    row = json.loads(await store.execute("HGET", "vm:errands", begun.id))
    await store.execute("HSET", "vm:errands", begun.id, json.dumps({**row, "later": 1}))
    assert await errands.all() == [begun]
    assert await errands.stop_one(begun.id, "anna")


async def test_an_errand_that_is_stopped_breaks_off_its_step(store: Store) -> None:
    begun, broken = asyncio.Event(), asyncio.Event()

    async def step(errand: Errand, what: Any) -> Step:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            broken.set()
        raise AssertionError("nobody lets it go on")

    errands = Errands(store, VAULT, Changes(store), {"walk": step}, lease=0.06)
    errand = await errands.begin("walk", {}, "anna")
    carried = asyncio.create_task(errands.carry(errand))
    await begun.wait()
    assert await errands.stop_one(errand.id, "anna")
    assert (await carried).state == "stopped"
    await broken.wait()


async def test_the_command_tells_what_would_happen_and_does_it(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    environment = {"REDIS_URL": store_url, "SECRET_KEYS": "k1:" + "A" * 43 + "=", "LOG_LEVEL": "error"}

    async def said(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(command, "replay", *arguments, **environment)
        return done.returncode, done.stdout + done.stderr

    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record()
        await service.link(data)
        line = await only(service, data)
    for key in await store.execute("KEYS", f"vm:*{data['id']}"):
        await store.execute("DEL", key)
    since = ("--since", "2026-01-01T00:00")
    told = "1 events, 0 of them stale or known. Meetings: 1 made, 0 changed, 0 replaced, 0 removed.\n"
    assert await said(*since, "--dry-run") == (0, told)
    assert await said("--delivery", line["id"], "--dry-run") == (
        0,
        "new: made, because Vello wants a link and there is no meeting.\n",
    )
    assert await said(*since, "--record", data["id"]) == (0, "done: 1 replayed, of those 1 new.\n")
    assert await said("--delivery", line["id"]) == (0, "same\n")
    assert (await said("--delivery", "1.1.abcdef012"))[0] == 1
    assert (await said("--since", "soon"))[0] == 2
    assert (await Changes(store).of("replay"))[0].who == "command line"


async def test_the_page_of_a_booking_stays_the_one_that_vello_was_told(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        data = record()
        link = await service.link(data)
        await service.say("record.updated", {**data, "version": 2, "metadata": {"video_link": link}})
        line = (await lines(service, record=data["id"], type="record.updated"))[0]
        for key in await store.execute("KEYS", f"vm:*{data['id']}"):
            await store.execute("DEL", key)
        await post(service, f"/deliveries/{line['id']}/replay", 202)
        assert await service.link({**data, "version": 2, "metadata": {"video_link": link}}) == link


async def test_no_more_errands_are_under_way_than_may_be(store: Store, store_url: str) -> None:
    idle = Errands(store, VAULT, Changes(store), {})
    for _ in range(RUNNING):
        await idle.begin("walk", {}, "anna")
    async with running(store_url) as service:
        answer = await service.admin("POST", "/replays", json={"since": 0})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many_errands")
        await service.admin("POST", f"/errands/{(await idle.all())[0].id}/stop")
        assert (await service.admin("POST", "/replays", json={"since": 0})).status_code == 202
