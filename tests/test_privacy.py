"""Erasing and exporting by the API: what the command does, in the background, the delivery log included."""

import time
import uuid
from dataclasses import replace
from typing import Any

import pytest

from service.changes import Changes
from service.commands import erase
from service.erasure import Erased
from service.errands import Errand
from service.store import Store
from tests.events import record
from tests.running import Running, running
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.test_companies_apart import owned
from tests.test_companies_apart import say as told_by
from tests.test_deliveries import lines
from tests.test_erasure import DOWN, booked, config, traces
from tests.test_replays import ended, post
from tests.test_secrets import contents
from tests.waiting import wait_until


async def erased(service: Running, **whose: str) -> dict[str, int]:
    """Erase by the API; the counts at its end."""
    done = await ended(service, (await post(service, "/erasures", 202, whose))["id"])
    assert done["state"] == "done"
    return dict(done["counts"])


async def test_an_erasure_by_the_api_leaves_no_byte_of_it_in_the_store_nor_in_its_files(
    meeting_server: MemoryServer, capfd: pytest.CaptureFixture[str]
) -> None:
    async with StoreServer() as server, running(server.url) as service:
        await server.say("CONFIG", "SET", "rdbcompression", "no")
        await service.connect(meeting_server.url, link="hosted")
        data, other = record(user=str(uuid.uuid4())), record()
        names, kept = await booked(service, data), await booked(service, other)
        await service.say("record.updated", {**data, "version": 2})
        assert len(await lines(service, record=data["id"])) >= 3
        capfd.readouterr()
        assert await erased(service, record=data["id"].upper()) == {"looked": 0, "erased": 1, "left": 0}
        for kind in ("record.updated", "record.update_metadata"):  # Vello sends what it likes
            await service.say(kind, {**data, "version": 9})
        assert await lines(service, record=data["id"]) == []
        assert [each["verdict"] for each in await lines(service, failing=False, kind="event")].count("erased") == 2
        store = await Store.open(server.url)
        assert await traces(store, names) == []
        assert len(await traces(store, kept)) == 3
        await store.execute("BGREWRITEAOF")

        async def rewritten() -> bool:
            said = await store.execute("INFO", "persistence")
            return not (said["aof_rewrite_in_progress"] or said["aof_rewrite_scheduled"])

        await wait_until(rewritten, 10)
        await server.say("SAVE")
        await store.close()
        stored = contents(server).decode(errors="replace")
        assert [name for name in kept if name in stored][:1] == [other["id"]]  # the files are those
        assert [name for name in names if name in stored] == []
        assert len(await lines(service, record=other["id"])) >= 2
    after = "".join(capfd.readouterr()).partition("erased")[2]
    assert data["id"] not in after


async def test_all_of_a_customer_go_and_lines_that_named_her_of_bookings_that_did_not(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    customer = str(uuid.uuid4())
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        mine = [record(customer=customer) for _ in range(3)]
        for data in mine:
            await booked(service, data)
        passed_on = record(customer=customer)
        await service.say("record.created", passed_on)
        await service.say("record.updated", {**passed_on, "version": 2, "customer": str(uuid.uuid4())})
        counts = await erased(service, customer=customer)
        assert (counts["erased"], counts["left"]) == (3, 0)
        assert await meeting_server.meetings() == []
        assert [each["version"] for each in await lines(service, record=passed_on["id"])] == [2]
        for data in mine:
            assert await traces(store, [data["id"], customer]) == []


@pytest.mark.parametrize("by", ["api", "command"])
async def test_a_customers_records_that_vello_deleted_are_erased_while_the_log_knows_whose_they_were(
    store: Store, store_url: str, meeting_server: MemoryServer, by: str
) -> None:
    """In the order that is recommended: in Vello first."""
    customer = str(uuid.uuid4())
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        deleted, passed_on = record(customer=customer), record(customer=customer)
        names = await booked(service, deleted)
        await service.say("record.deleted", {"id": deleted["id"], "version": 2})
        await booked(service, passed_on)
        await service.say("record.updated", {**passed_on, "version": 2, "customer": str(uuid.uuid4())})
        assert (await service.settled(deleted["id"]))["state"] == "gone"
        assert len(await lines(service, record=deleted["id"], kind="event")) == 2
        if by == "api":
            assert (await erased(service, customer=customer))["erased"] == 1
        else:
            assert await erase(config(store_url), customer=customer) == Erased(1, {})
        assert await traces(store, names) == []
        assert await lines(service, record=deleted["id"]) == []
        assert (await service.settled(passed_on["id"]))["state"] == "ready"  # it is another customer's by now
        assert await service.link({**deleted, "version": 9}) is None
        assert len(await meeting_server.meetings()) == 1


async def test_a_deleted_record_that_is_another_companys_is_erased_by_no_line_of_ones_own(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    """After a store was lost, whoever speaks of a booking first is believed; the lines of before stay."""
    customer = str(uuid.uuid4())
    async with running(store_url) as service:
        north = await owned(service, store, meeting_server.url, "northern")
        south = await owned(service, store, meeting_server.url, "southern")
        theirs = {**south.booking, "id": str(uuid.uuid4())}
        mine = {**north.booking, "id": theirs["id"], "customer": customer}
        await told_by(service, north.id, mine, "record.created")
        assert len(await lines(service, record=theirs["id"])) == 1
        for key in await store.execute("KEYS", f"vm:*{theirs['id']}"):
            await store.execute("DEL", key)
        await told_by(service, south.id, theirs, "record.created")
        await told_by(service, south.id, {"id": theirs["id"], "version": 3}, "record.deleted")
        errand = Errand("1", "erase", "", int(time.time()), place="look")
        about: Any = {"record": None, "customer": customer, "companies": [north.id]}
        while errand.place == "look":
            step = await service.app.app.state.erasure.step(errand, about)
            errand, about = replace(errand, place=step.place or "", counts=step.counts), step.what
        assert errand.counts["erased"] == 0
        assert [each["realm"] for each in await lines(service, record=theirs["id"])] == [south.id] * 2
        assert (await service.record(theirs["id"]))["state"] == "gone"


async def test_while_the_provider_is_down_an_erasure_goes_on_and_says_how_many_are_left(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record()
        names = await booked(service, data)
        await meeting_server.faults(fail=DOWN)
        errand = (await post(service, "/erasures", 202, {"record": data["id"]}))["id"]

        async def waits() -> bool:
            return bool((await service.admin("GET", f"/errands/{errand}")).json()["counts"].get("left") == 1)

        await wait_until(waits, 20)
        assert await lines(service, record=data["id"]) == []
        assert await traces(store, names[1:]) == []
        await meeting_server.faults()
        assert (await ended(service, errand))["counts"]["left"] == 0
        assert await traces(store, names) == []
    changes = [(change.what, change.did, change.fields) for change in await Changes(store).of("erase")]
    assert changes == [("erase", "added", {})]


async def test_an_export_tells_of_the_log_too(store_url: str, meeting_server: MemoryServer) -> None:
    customer = str(uuid.uuid4())
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record(customer=customer)
        await booked(service, data)
        await booked(service, record())
        for asked in ({"customer": customer}, {"record": data["id"]}):
            answer = await service.admin("GET", "/export", **asked)
            assert answer.headers["cache-control"] == "no-store"
            told = answer.json()
            [known] = told["records"]
            assert (known["id"], known["state"], told["complete"]) == (data["id"], "ready", True)
            assert {line["kind"] for line in known["deliveries"]} == {"event", "call"}
            assert "content" not in str(known["deliveries"])
        assert (await service.admin("GET", "/export", record=str(uuid.uuid4()))).json()["records"] == []


async def test_neither_is_done_for_nobody_or_for_two(store_url: str) -> None:
    one = str(uuid.uuid4())
    async with running(store_url) as service:
        for whose in ({}, {"record": one, "customer": one}, {"record": "Aino"}):
            assert (await service.admin("POST", "/erasures", json=whose)).status_code == 422
            assert (await service.admin("GET", "/export", **whose)).status_code == 422


async def test_retention_is_what_the_environment_says(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url, RETENTION_DAYS="2") as service:
        await service.connect(meeting_server.url, link="hosted")
        data = record(time=1_700_000_000)
        link = await service.link(data)
        await service.settled(data["id"])
        assert link
        day = 86_400
        for key in await store.execute("KEYS", "vm:*:[rjm]:*"):
            assert day < await store.execute("TTL", key) <= 2 * day, key
        assert len(await store.execute("KEYS", "vm:*:[rjm]:*")) == 3
