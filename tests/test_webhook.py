"""The webhook as Vello uses it: every rule of the contract, over HTTP, with a real store behind it."""

import json
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from service.vello import sign
from tests.events import DOCUMENTED, DOCUMENTED_ID, START, body, record
from tests.running import ADMIN, ENDPOINT, PUBLIC, TOKEN, Running, running, together
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.waiting import wait_until

JITSI = "https://meet.example.org"


@pytest.fixture
async def jitsi(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url, JITSI_URL=JITSI) as service:
        yield service


@pytest.fixture
async def memory(store_url: str, meeting_server: MemoryServer) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        yield service


async def test_vellos_documented_example_gets_a_link(jitsi: Running) -> None:
    answer = await jitsi.post(DOCUMENTED)
    assert answer.status_code == 200
    assert list(answer.json()) == ["metadata"]
    assert answer.json()["metadata"]["video_link"].startswith(f"{JITSI}/")
    assert (await jitsi.record(DOCUMENTED_ID))["start"] == 1578952635


async def test_asking_again_gives_the_same_link_and_makes_nothing(
    memory: Running, meeting_server: MemoryServer
) -> None:
    data = record()
    first = await memory.link(data)
    assert (
        first == await memory.link(data) == await memory.link({**data, "metadata": {"video_link": first}, "version": 2})
    )
    assert len(await meeting_server.calls("create")) == 1


async def test_one_flipped_byte_anywhere_is_401_and_leaves_no_trace(jitsi: Running) -> None:
    signature = sign(TOKEN, ENDPOINT, DOCUMENTED)
    flipped = bytearray(DOCUMENTED)
    flipped[100] ^= 1
    attempts = [
        (bytes(flipped), signature),
        (DOCUMENTED, sign(TOKEN, ENDPOINT + "/", DOCUMENTED)),
        (DOCUMENTED, sign(TOKEN + "x", ENDPOINT, DOCUMENTED)),
        (DOCUMENTED, signature[:-1] + ("0" if signature[-1] != "0" else "1")),
        (DOCUMENTED, ""),
    ]
    for raw, given in attempts:
        answer = await jitsi.client.post(ENDPOINT, content=raw, headers={"Vello-Signature": given})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_signature"
    assert (await jitsi.client.post(ENDPOINT, content=DOCUMENTED)).status_code == 401
    assert (await jitsi.admin("GET", "/records")).json()["records"] == []


async def test_the_signed_url_is_the_configured_one_whatever_the_request_says(store_url: str) -> None:
    urls = "https://new.example.org/hook,https://old.example.org/webhooks/vello"
    async with running(store_url, VELLO_ENDPOINT_URL=urls, VELLO_WEBHOOK_TOKEN="next,now") as service:
        for token in ("next", "now"):
            for url in urls.split(","):
                headers = {"Vello-Signature": sign(token, url, DOCUMENTED), "Host": "evil.example.org"}
                answer = await service.client.post("/webhooks/vello", content=DOCUMENTED, headers=headers)
                assert answer.status_code == 200
        wrong = {"Vello-Signature": sign("now", ENDPOINT, DOCUMENTED)}
        assert (await service.client.post("/webhooks/vello", content=DOCUMENTED, headers=wrong)).status_code == 401


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[1]",
        b"[" * 200_000,
        body("record.created", {"id": "x"}),
        body("record.updated", record(duration=-1)),
    ],
    ids=["nothing", "no fields", "a list", "deep", "no uuid", "a negative duration"],
)
async def test_what_is_no_event_is_400_and_leaves_no_trace(jitsi: Running, raw: bytes) -> None:
    answer = await jitsi.post(raw)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"code", "message"}
    assert (await jitsi.admin("GET", "/records")).json()["records"] == []


async def test_a_body_over_256_kib_is_413_with_and_without_a_length(jitsi: Running) -> None:
    large = b" " * (256 * 1024 + 1)

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(large), 65_536):
            yield large[at : at + 65_536]

    admin = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
    for path in (ENDPOINT, "/api/v1/connections"):
        for content in (large, chunks()):
            answer = await jitsi.client.post(path, content=content, headers=admin)
            assert answer.status_code == 413
            assert answer.json()["error"]["code"] == "too_large"
    deep = await jitsi.client.post("/api/v1/connections", content=b"[" * 200_000, headers=admin)
    assert deep.status_code == 400


async def test_a_body_of_exactly_256_kib_is_read(jitsi: Running) -> None:
    data = record(details={"note": ""})
    room = 256 * 1024 - len(body("record.update_metadata", data))
    data["details"]["note"] = "x" * room
    raw = body("record.update_metadata", data)
    assert len(raw) == 256 * 1024
    assert (await jitsi.post(raw)).status_code == 200


async def test_the_connection_test_and_unknown_events_are_200(jitsi: Running) -> None:
    assert await jitsi.say("connection.test", {}) == {}
    assert await jitsi.say("invoice.paid", {"id": "whatever"}) == {}
    assert await jitsi.say("record.confirmed", {"id": 7}) == {}


async def test_a_meeting_is_made_only_when_vello_asked_for_its_link(
    memory: Running, meeting_server: MemoryServer
) -> None:
    data = record()
    for kind in ("record.created", "record.updated"):
        assert await memory.say(kind, data) == {}
    assert (await memory.settled(data["id"]))["state"] == "none"
    assert await meeting_server.meetings() == []
    assert await memory.link(data)
    assert len(await meeting_server.meetings()) == 1


async def test_the_meeting_follows_the_booking_to_its_end(memory: Running, meeting_server: MemoryServer) -> None:
    data = record()
    link = await memory.link(data)
    await memory.say("record.updated", {**data, "time": START + 3600, "version": 2})
    assert (await memory.settled(data["id"]))["link"] == link
    assert [meeting["start"] for meeting in await meeting_server.meetings()] == [START + 3600]
    await memory.say("record.cancelled", {"id": data["id"]})
    assert (await memory.settled(data["id"]))["state"] == "gone"
    assert await meeting_server.meetings() == []
    assert await memory.say("record.update_metadata", {**data, "version": 2, "time": START + 3600}) == {"metadata": {}}
    await memory.say("record.updated", {**data, "version": 3})
    assert (await memory.settled(data["id"]))["state"] == "ready"
    await memory.say("record.deleted", {"id": data["id"]})
    assert (await memory.settled(data["id"]))["state"] == "gone"
    assert await meeting_server.meetings() == []
    assert await memory.link({**data, "version": 9}) is None
    assert await meeting_server.meetings() == []


async def test_twenty_at_once_make_one_meeting_and_get_one_link(memory: Running, meeting_server: MemoryServer) -> None:
    data = record()
    await meeting_server.faults(delay=0.2)
    links = await together(*[memory.link(data) for _ in range(20)])
    assert len(set(links)) == 1
    assert links[0]
    assert len(await meeting_server.calls("create")) == len(await meeting_server.meetings()) == 1


async def test_twenty_at_once_over_two_services_make_one_meeting(store_url: str, meeting_server: MemoryServer) -> None:
    data = record()
    await meeting_server.faults(delay=0.2)
    async with running(store_url) as one, running(store_url) as two:
        await one.connect(meeting_server.url)
        links = await together(*[service.link(data) for service in (one, two) for _ in range(10)])
    assert len(set(links)) == 1
    assert len(await meeting_server.calls("create")) == len(await meeting_server.meetings()) == 1


async def test_a_slow_provider_gets_vello_a_hosted_link_in_time(store_url: str, meeting_server: MemoryServer) -> None:
    data = record()
    async with running(store_url, ANSWER_DEADLINE="0.6") as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(hold=True)
        link = await service.link(data)
        assert link
        assert link.startswith(f"{PUBLIC}/m/")
        pending = await service.client.get(link)
        assert (pending.status_code, "being prepared" in pending.text) == (200, True)
        await meeting_server.faults()
        ready = await service.settled(data["id"])
        assert (ready["state"], ready["link"], ready["vello_told"]) == ("ready", link, True)
        into = await service.client.get(f"{link}/join")
        assert (into.status_code, into.headers["location"]) == (303, ready["join_url"])
        assert await service.link(data) == link


async def test_a_provider_that_is_down_gets_vello_a_hosted_link_that_works_later(
    store_url: str, meeting_server: MemoryServer
) -> None:
    data = record()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 503, "times": 3}])
        link = await service.link(data)
        assert link
        assert link.startswith(f"{PUBLIC}/m/")
        ready = await service.settled(data["id"], timeout=20)
        assert ready["state"] == "ready"
        assert (await service.client.get(f"{link}/join")).status_code == 303
        assert len(await meeting_server.meetings()) == 1


async def test_a_lost_answer_is_found_again_not_made_twice(store_url: str, meeting_server: MemoryServer) -> None:
    data = record()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(lose_answers=1, only="create")
        assert await service.link(data)
        assert (await service.settled(data["id"], timeout=20))["state"] == "ready"
    assert len(await meeting_server.meetings()) == 1
    assert len(await meeting_server.calls("create")) == 1


async def test_somebody_elses_link_is_left_alone(memory: Running, meeting_server: MemoryServer) -> None:
    data = record(metadata={"video_link": "https://elsewhere.example/room"})
    assert await memory.say("record.update_metadata", data) == {"metadata": {}}
    assert await meeting_server.calls("create") == []


@pytest.mark.parametrize("ended", [{"canceled": True}, {"archived": True}])
async def test_what_has_ended_gets_no_link(memory: Running, ended: dict[str, bool]) -> None:
    assert await memory.say("record.update_metadata", record(**ended)) == {"metadata": {}}


async def test_without_a_chosen_provider_there_is_no_link_and_later_there_is(
    store_url: str, meeting_server: MemoryServer
) -> None:
    data = record(office=None)
    async with running(store_url) as service:
        assert await service.say("record.update_metadata", data) == {"metadata": {}}
        await service.connect(meeting_server.url)
        assert await service.link(data)


async def test_an_office_serves_itself_and_the_default_serves_the_rest(
    jitsi: Running, meeting_server: MemoryServer
) -> None:
    mine = record()
    answer = await jitsi.admin("POST", "/connections", json={"provider": "memory", "url": meeting_server.url})
    choice = {"connection": answer.json()["id"], "tag": "video", "services": [mine["service"]]}
    assert (await jitsi.admin("PUT", f"/offices/{mine['office']}", json=choice)).status_code == 200
    metadata = (await jitsi.say("record.update_metadata", mine))["metadata"]
    assert metadata["tag"] == "video"
    assert metadata["video_link"].startswith(meeting_server.url)
    assert await jitsi.link({**mine, "id": str(uuid.uuid4()), "service": str(uuid.uuid4())}) is None
    other = await jitsi.link(record())
    assert other
    assert other.startswith(JITSI)


async def test_another_company_has_its_own_url_and_tokens(jitsi: Running) -> None:
    data = record()
    company = data["company"]
    url = f"{PUBLIC}/webhooks/vello/{company}"
    raw = body("record.update_metadata", data)
    assert (await jitsi.post(raw, url=url)).status_code == 404
    made = await jitsi.admin("POST", "/companies", json={"id": company, "name": "Salon"})
    assert made.status_code == 201
    token = made.json()["tokens"][0]
    assert (await jitsi.post(raw, url=url, token=token)).json()["metadata"]["video_link"]
    assert (await jitsi.post(raw, url=url)).status_code == 401
    foreign = body("record.update_metadata", record())
    assert (await jitsi.post(foreign, url=url, token=token)).status_code == 400
    stolen = await jitsi.post(body("record.deleted", {"id": data["id"]}))
    assert (stolen.status_code, stolen.json()["error"]["code"]) == (400, "wrong_company")
    assert (await jitsi.record(data["id"]))["state"] == "ready"
    assert token not in (await jitsi.admin("GET", "/companies")).text
    assert (await jitsi.admin("DELETE", f"/companies/{company}")).status_code == 204
    assert (await jitsi.post(raw, url=url, token=token)).status_code == 404


async def test_nobody_uses_what_an_office_of_another_company_chose(jitsi: Running) -> None:
    mine = record()
    assert await jitsi.link(mine)
    company = str(uuid.uuid4())
    made = await jitsi.admin("POST", "/companies", json={"id": company, "name": "Salon"})
    url, token = f"{PUBLIC}/webhooks/vello/{company}", made.json()["tokens"][0]
    theirs = record(company=company, office=mine["office"])
    for kind in ("record.created", "record.update_metadata"):
        refused = await jitsi.post(body(kind, theirs), url=url, token=token)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "wrong_company")
    assert (await jitsi.admin("GET", f"/records/{theirs['id']}")).status_code == 404
    theirs["office"] = str(uuid.uuid4())
    assert (await jitsi.post(body("record.update_metadata", theirs), url=url, token=token)).status_code == 200
    assert (await jitsi.admin("DELETE", f"/offices/{mine['office']}")).status_code == 204
    theirs["office"] = mine["office"]
    moved = {**theirs, "version": 2}
    assert (await jitsi.post(body("record.update_metadata", moved), url=url, token=token)).status_code == 200


async def test_a_cancellation_without_version_outranks_what_was_written_before_it(memory: Running) -> None:
    import time

    data = record(changed=int(time.time()) - 600)
    await memory.link(data)
    await memory.say("record.cancelled", {"id": data["id"]})
    late = {**data, "version": 2, "changed": int(time.time()) - 300}
    await memory.say("record.updated", late)
    assert (await memory.settled(data["id"]))["state"] == "gone"
    await memory.say("record.updated", {**late, "version": 3, "changed": int(time.time()) + 300})
    assert (await memory.settled(data["id"]))["state"] == "ready"


async def test_events_without_a_version_go_by_change_then_by_arrival(memory: Running) -> None:
    data = record(version=None, changed=1_800_000_000)
    await memory.link(data)
    await memory.say("record.updated", {**data, "time": START + 60, "changed": 1_800_000_060})
    await memory.say("record.updated", {**data, "time": START + 30, "changed": 1_800_000_030})
    assert (await memory.settled(data["id"]))["start"] == START + 60
    await memory.say("record.updated", {**data, "time": START + 90, "changed": 1_800_000_060})
    assert (await memory.settled(data["id"]))["start"] == START + 90


async def test_a_choice_change_leaves_the_link_and_a_move_shows_and_tells_another(
    jitsi: Running, meeting_server: MemoryServer
) -> None:
    data = record()
    first = await jitsi.link(data)
    connection = await jitsi.connect(meeting_server.url)
    assert (await jitsi.record(data["id"]))["vello_told"]
    assert await jitsi.link(data) == first
    await jitsi.admin("PUT", "/offices/default", json={"connection": connection, "move": True})

    async def shown() -> bool:
        return not (await jitsi.record(data["id"]))["vello_told"]

    await wait_until(shown)
    second = await jitsi.link(data)
    assert first != second
    assert second
    assert second.startswith(meeting_server.url)
    assert (await jitsi.record(data["id"]))["vello_told"]


async def test_while_the_store_is_down_vello_gets_503_and_sends_again_until_it_is_back() -> None:
    data = record()
    asked = body("record.update_metadata", data)
    async with StoreServer() as store, running(store.url, JITSI_URL=JITSI) as service:
        first = await service.link(data)
        store.kill()
        for raw in (asked, body("record.cancelled", {"id": data["id"]})):
            refused = await service.post(raw)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        assert (await service.client.get("/readyz")).status_code == 503
        assert (await service.client.get("/livez")).status_code == 200
        await store.start()
        assert await service.link(data) == first
        assert (await service.client.get("/readyz")).status_code == 200
        await service.say("record.cancelled", {"id": data["id"]})
        assert (await service.settled(data["id"]))["state"] == "gone"


async def test_another_choice_ends_the_waiting_when_vello_asks_again(
    store_url: str, meeting_server: MemoryServer
) -> None:
    data = record()
    async with running(store_url) as service:
        await service.connect("http://127.0.0.1:1")
        first = await service.link(data)
        assert (await service.record(data["id"]))["state"] == "pending"
        await service.connect(meeting_server.url)
        assert await service.link(data) == first
        assert (await service.record(data["id"]))["state"] == "ready"


async def test_errors_have_one_shape_everywhere(jitsi: Running) -> None:
    answers: list[httpx.Response] = [
        await jitsi.client.get("/nowhere"),
        await jitsi.client.get("/webhooks/vello"),
        await jitsi.client.get("/api/v1/offices"),
        await jitsi.admin("GET", "/offices/not-an-office"),
        await jitsi.admin("PUT", "/offices/default", json={"link": "sideways"}),
        await jitsi.admin("GET", "/records/" + str(uuid.uuid4())),
        await jitsi.client.put("/api/v1/offices/default", content=b"{", headers={"Authorization": f"Bearer {ADMIN}"}),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert set(answer.json()) == {"error"}
        assert set(answer.json()["error"]) == {"code", "message"}
        assert json.dumps(answer.json()["error"]["message"]).rstrip('"').endswith(".")
