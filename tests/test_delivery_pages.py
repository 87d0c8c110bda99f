"""The delivery log, replays and privacy in the settings, as they are without JavaScript."""

import json
import re
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest

from service.changes import Changes
from service.errands import ERRANDS, Errand
from service.store import Store
from tests.events import START, body, record
from tests.running import PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_deliveries import lines
from tests.test_erasure import booked, traces
from tests.test_login import OURS, log_in
from tests.test_replays import ended, only
from tests.test_settings import become, page, send


@pytest.fixture
async def service(store_url: str, meeting_server: MemoryServer) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await log_in(service)
        yield service


def shown(text: str) -> list[str]:
    """The lines that a page lists."""
    return re.findall(r'href="/deliveries/(\d[^"]+)"', text)


async def test_what_is_looked_for_is_found_and_the_rest_follows(service: Running) -> None:
    data = record()
    await service.link(data)
    for _ in range(60):
        await service.say("record.created", record())
    everything = [line["id"] for line in await lines(service, limit=200)]
    first = (await page(service, "/deliveries")).text
    follows = re.search(r'href="(/deliveries\?cursor=[^"]+)"', first)
    assert follows
    assert shown(first) + shown((await page(service, follows[1])).text) == everything
    asked = {
        f"record={data['id']}": {line["id"] for line in await lines(service, record=data["id"])},
        "kind=call": {line["id"] for line in await lines(service, kind="call")},
        "type=record.update_metadata": {line["id"] for line in await lines(service, type="record.update_metadata")},
        "failing=yes": set(),
        "until=2020-01-01T00:00": set(),
    }
    for query, ids in asked.items():
        assert set(shown((await page(service, f"/deliveries?{query}")).text)) == ids, query
    assert "Nothing fits." in (await page(service, "/deliveries?since=2199-01-01T00:00")).text
    assert (await page(service, "/deliveries?cursor=y")).status_code == 200


@pytest.mark.parametrize("name", ["record", "since", "until"])
async def test_what_is_looked_for_by_something_that_cannot_be_read_is_nothing(service: Running, name: str) -> None:
    """Else a slip of the pen would have everything replayed."""
    await service.link(record())
    slip = {name: "1aeef479", "type": "record.update_metadata"}
    found = await page(service, f"/deliveries?{name}=1aeef479")
    assert (shown(found.text), "Nothing fits." in found.text) == ([], True)
    told = await send(service, "/deliveries", do="preview", **slip)
    assert "Replay them" not in told.text
    await send(service, "/deliveries", do="replay", **slip)
    assert (await service.admin("GET", "/errands")).json()["errands"] == []


async def test_a_line_whose_content_cannot_be_read_is_shown_without_a_replay(service: Running, store: Store) -> None:
    data = record()
    await service.link(data)
    line = await only(service, data)
    for key in await store.execute("KEYS", "vm:*:log"):
        for text, at in await rows(store, key):
            await store.execute("ZREM", key, text)
            await store.execute("ZADD", key, at, re.sub(r"v1\.k1\.[^\"]{9}", "v1.k1.AAAAAAAAA", text))
    shown_line = await page(service, f"/deliveries/{line['id']}")
    assert (shown_line.status_code, "Replay it" in shown_line.text) == (200, False)


async def rows(store: Store, key: str) -> list[tuple[str, str]]:
    flat = await store.execute("ZRANGE", key, 0, -1, "WITHSCORES")
    return list(zip(flat[0::2], flat[1::2], strict=True))


async def test_one_is_foretold_and_replayed_and_who_did_it_is_known(service: Running, store: Store) -> None:
    data = record()
    await service.link(data)
    await service.say("record.updated", {**data, "version": 2, "time": START + 60})
    await service.settled(data["id"])
    line = await only(service, data)
    text = (await page(service, f"/deliveries/{line['id']}")).text
    assert "nothing happens: something newer is known" in text
    done = await send(service, f"/deliveries/{line['id']}")
    assert done.headers["location"] == f"/deliveries/{line['id']}?did=old"
    assert "It was replayed: Overtaken." in (await page(service, done.headers["location"])).text
    assert (await service.record(data["id"]))["start"] == START + 60
    [change] = await Changes(store).of("replay")
    assert (change.who != "API", change.id) == (True, line["id"])
    [call] = await lines(service, kind="call", verdict="ok", limit=1)
    assert "Replay it" not in (await page(service, f"/deliveries/{call['id']}")).text
    assert (await send(service, f"/deliveries/{call['id']}")).status_code == 409
    assert (await page(service, "/deliveries/nowhere")).status_code == 404


async def test_many_are_foretold_before_they_are_replayed(service: Running, store: Store) -> None:
    data = record()
    await service.link(data)
    await service.settled(data["id"])
    for key in await store.execute("KEYS", f"vm:*{data['id']}"):
        await store.execute("DEL", key)
    asked = {"record": data["id"]}
    told = (await send(service, "/deliveries", do="preview", **asked)).text
    assert "1 event would be replayed." in told
    assert "1 gets a meeting" in told
    assert (await service.admin("GET", f"/records/{data['id']}")).status_code == 404
    done = await send(service, "/deliveries", do="replay", **asked)
    assert done.headers["location"] == "/errands"
    [errand] = (await service.admin("GET", "/errands")).json()["errands"]
    await ended(service, errand["id"])
    assert "1 event replayed" in (await page(service, "/errands")).text
    assert (await service.settled(data["id"]))["state"] == "ready"


async def test_of_an_errand_that_broke_off_it_is_said_what_helps(service: Running, store: Store) -> None:
    broken = Errand("0123456789abcdef", "erase", "anna", int(time.time()), "failed", ended_at=int(time.time()))
    await store.execute("HSET", ERRANDS, broken.id, json.dumps(asdict(broken)))
    text = (await page(service, "/errands")).text
    assert "the operator of this service finds the cause in the log" in text


async def test_privacy_is_a_form_that_gives_out_and_erases(service: Running, store: Store) -> None:
    data = record()
    names = await booked(service, data)
    wrong = await send(service, "/privacy", whose="customer", id="Aino", do="export")
    assert (wrong.status_code, "Write the id as Vello shows it" in wrong.text) == (422, True)
    given = await send(service, "/privacy", whose="customer", id=data["customer"], do="export")
    assert [known["id"] for known in given.json()["records"]] == [data["id"]]
    unsure = await send(service, "/privacy", whose="record", id=data["id"], do="erase")
    assert (unsure.status_code, "Tick this first" in unsure.text) == (422, True)
    assert len(await traces(store, names)) >= 2
    done = await send(service, "/privacy", whose="record", id=data["id"], do="erase", sure="yes")
    assert done.headers["location"] == "/errands"
    [errand] = (await service.admin("GET", "/errands")).json()["errands"]
    await ended(service, errand["id"])
    text = (await page(service, "/errands")).text
    assert "1 booking erased" in text
    assert data["id"] not in text
    assert await traces(store, names) == []
    assert shown((await page(service, f"/deliveries?record={data['id']}")).text) == []


async def test_an_admin_of_one_company_reaches_nothing_of_another(service: Running, store: Store) -> None:
    north, south, token = str(uuid.uuid4()), str(uuid.uuid4()), "token-of-the-companies"
    bookings = {}
    for company in (north, south):
        await service.admin("POST", "/companies", json={"id": company, "name": company[:4], "tokens": [token]})
        bookings[company] = data = record(company=company, customer=north)
        await service.post(body("record.created", data), url=f"{PUBLIC}/webhooks/vello/{company}", token=token)
        await service.post(b"{", url=f"{PUBLIC}/webhooks/vello/{company}", token=token)
    await service.post(b"{", url=f"{PUBLIC}/webhooks/vello/{uuid.uuid4()}", token=token)
    mine, other = bookings[north], bookings[south]
    theirs = (await only(service, other))["id"]
    await become(service, store, north)
    text = (await page(service, "/deliveries")).text
    assert len(shown(text)) == 2
    assert (mine["id"] in text, other["id"] in text) == (True, False)
    assert (await page(service, f"/deliveries/{theirs}")).status_code == 404
    found = re.search(r'name="form_token" value="([^"]+)"', (await page(service, "/privacy")).text)
    assert found

    async def sent(path: str, **fields: str) -> str:
        answer = await service.client.post(f"{PUBLIC}{path}", data={"form_token": found[1], **fields}, headers=OURS)
        return f"{answer.status_code} {answer.text}"

    assert (await sent(f"/deliveries/{theirs}")).startswith("404")
    assert "0 events would be replayed." in await sent("/deliveries", do="preview", record=other["id"])
    given = await sent("/privacy", whose="customer", id=north, do="export")
    assert (mine["id"] in given, other["id"] in given) == (True, False)
    assert other["id"] not in await sent("/privacy", whose="record", id=other["id"], do="export")
    unknown = str(uuid.uuid4())
    for whose, id_ in (("record", other["id"]), ("record", unknown), ("customer", north)):
        assert (await sent("/privacy", whose=whose, id=id_, do="erase", sure="yes")).startswith("303")
    for errand in (await service.admin("GET", "/errands")).json()["errands"]:
        await ended(service, errand["id"])
    assert (await service.admin("GET", f"/records/{mine['id']}")).status_code == 404
    assert (await service.record(other["id"]))["company"] == south
    assert len(await lines(service, record=other["id"])) == 1
    assert await store.execute("KEYS", "vm:erased:*") != []
    tombs = len(await store.execute("KEYS", "vm:erased:*"))
    await ended(service, (await service.admin("POST", "/erasures", json={"record": unknown})).json()["id"])
    assert len(await store.execute("KEYS", "vm:erased:*")) == tombs + 1  # only an admin of all may say so of it
