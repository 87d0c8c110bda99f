"""API v1 as whoever holds the admin token uses it."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from service.choices import Choice
from service.shards import shard_of
from service.store import Store
from service.vello import sign
from tests.events import START, body, record
from tests.running import ADMIN, PUBLIC, Running, running, together
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.waiting import stand_still, wait_until

JITSI = "https://meet.example.org"
SECRET = "app-secret-that-must-never-come-back"


def neighbours(count: int) -> list[str]:
    """Ids of records that share a shard."""
    found: list[str] = []
    while len(found) < count:
        one = str(uuid.uuid4())
        found += [one] if shard_of(one) == 7 else []
    return found


async def paged(service: Running, **query: Any) -> list[dict[str, Any]]:
    """All records of all pages."""
    seen: list[dict[str, Any]] = []
    cursor: str | None = "0."
    while cursor is not None:
        page = (await service.admin("GET", "/records", cursor=cursor, **query)).json()
        seen, cursor = seen + page["records"], page["cursor"]
    return seen


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url, JITSI_URL=JITSI) as service:
        yield service


async def test_a_search_that_finds_nothing_asks_the_store_a_few_times(
    service: Running, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [str(uuid.UUID(int=number << 64)) for number in range(400)]
    await together(*(service.say("record.created", record(id=id_)) for id_ in ids[:50]))
    gone = [("ZADD", f"vm:{{s{shard_of(id_)}}}:index", START - 1, id_) for id_ in ids[50:]]  # their time has come
    await store.pipeline(gone)
    trips, pipeline = 0, Store.pipeline

    async def counted(self: Store, commands: Any) -> Any:
        nonlocal trips
        trips += 1
        return await pipeline(self, commands)

    monkeypatch.setattr(Store, "pipeline", counted)
    page = (await service.admin("GET", "/records", state="ready", limit=1)).json()
    assert page == {"records": [], "cursor": None}
    assert trips < 40


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", f"Basic {ADMIN}", f"Bearer {ADMIN}x", "Bearer é"])
async def test_without_the_admin_token_everything_is_401(service: Running, header: str | None) -> None:
    headers = [(b"Authorization", header.encode())] if header else []
    for method, path in (("GET", "/offices"), ("POST", "/connections"), ("DELETE", "/connections/jitsi")):
        answer = await service.client.request(method, f"/api/v1{path}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


async def test_without_the_admin_token_nothing_of_a_body_is_read(service: Running) -> None:
    read = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(64):
            read += 1
            yield b" " * 65_536

    answer = await service.client.post("/api/v1/connections", content=flood())
    assert (answer.status_code, read) == (401, 0)
    assert (await service.client.put("/api/v1/offices/default", content=b"{")).status_code == 401


async def test_what_is_too_large_or_no_json_is_refused_as_such(service: Running) -> None:
    async def flood() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65_536

    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
    bodies: list[tuple[Any, int]] = [(flood(), 413), (b"{", 400), (b"[" * 100_000, 400), (b"\xff", 400), (b"", 422)]
    for content, status in bodies:
        answer = await service.client.post("/api/v1/connections", content=content, headers=headers)
        assert answer.status_code == status, answer.text
        assert set(answer.json()["error"]) == {"code", "message"}


async def test_the_openapi_document_is_valid_and_asks_for_the_token(service: Running) -> None:
    document = (await service.client.get("/api/v1/openapi.json")).json()
    validate(document)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert operations
    assert all(operation["security"] for operation in operations)


async def test_every_answer_is_what_the_openapi_document_says(service: Running, meeting_server: MemoryServer) -> None:
    document = (await service.client.get("/api/v1/openapi.json")).json()
    called: set[tuple[str, str]] = set()

    async def call(method: str, path: str, *, json: Any = None, query: Any = None, **names: str) -> Any:
        called.add((method.lower(), f"/api/v1{path}"))
        answer = await service.admin(method, path.format(**names), json=json, **(query or {}))
        described = document["paths"][f"/api/v1{path}"][method.lower()]["responses"][str(answer.status_code)]
        if answer.status_code == 204:
            assert answer.content == b""
            return None
        schema = described["content"]["application/json"]["schema"]
        OAS31Validator({**schema, "components": document["components"]}).validate(answer.json())
        return answer.json()

    ready, failed, gone = record(), record(), record()
    connection = await service.connect(meeting_server.url)
    await service.link(ready)
    await service.link(gone)
    await service.say("record.deleted", {"id": gone["id"]})
    await meeting_server.faults(fail=[{"status": 400, "times": 1}])
    await service.link(failed)
    await service.say("record.cancelled", {"id": str(uuid.uuid4())})
    for office in ("default", ready["office"], str(uuid.uuid4()), "x"):
        await call("GET", "/offices/{office}", office=office)
        await call("PUT", "/offices/{office}", office=office, json={"connection": connection, "options": {}})
        await call("PUT", "/offices/{office}", office=office, json={"options": {"x": 1}})
        await call("POST", "/offices/{office}/preview", office=office, json={"connection": connection})
        await call("POST", "/offices/{office}/preview", office=office, json={"connection": "x"})
        await call("PUT", "/offices/{office}/company", office=office, json={"company": "own"})
        await call("PUT", "/offices/{office}/company", office=office, json={"company": str(uuid.uuid4())})
    await call("GET", "/offices")
    for one in (ready["id"], failed["id"], gone["id"], str(uuid.uuid4()), "x"):
        await call("GET", "/records/{record}", record=one)
        await call("GET", "/records/{record}/host_link", record=one)
        for verb in ("reconcile", "recreate", "release", "take_back"):
            await call("POST", f"/records/{{record}}/{verb}", record=one)
    for query in ({}, {"limit": 1}, {"state": "ready"}, {"state": "x"}, {"cursor": "x"}):
        await call("GET", "/records", query=query)
    await call("POST", "/connections", json={"provider": "jitsi", "url": JITSI})
    await call("POST", "/connections", json={"provider": "jitsi"})
    await call("POST", "/connections", json=[])
    for wanted in ({"provider": "memory", "url": meeting_server.url}, {"provider": "jitsi"}, {"provider": "x"}):
        await call("POST", "/connections/check", json=wanted)
    await call("GET", "/connections")
    for one in (connection, "jitsi", "x"):
        await call("GET", "/connections/{connection}", connection=one)
        await call("POST", "/connections/{connection}/test", connection=one)
        await call("GET", "/connections/{connection}/people", connection=one)
        await call("PATCH", "/connections/{connection}", connection=one, json={"name": "Other"})
        await call("POST", "/connections/{connection}/disconnect", connection=one, json={"how": "move"})
        await call("GET", "/connections/{connection}/disconnect", connection=one)
        await call("DELETE", "/connections/{connection}", connection=one)
    await call("DELETE", "/connections/{connection}", connection=connection, query={"force": "true"})
    await call("DELETE", "/connections/{connection}", connection=connection, query={"force": "perhaps"})
    company = str(uuid.uuid4())
    for _ in range(2):
        await call("POST", "/companies", json={"id": company, "name": "North"})
    await call("GET", "/companies")
    for one in (company, "x"):
        await call("POST", "/companies/{company}/tokens", company=one)
        await call("DELETE", "/companies/{company}/tokens", company=one)
        await call("DELETE", "/companies/{company}", company=one)
    lines = await call("GET", "/deliveries", query={"kind": "event"})
    for one in (lines["deliveries"][0]["id"], "1700000000000.5.0123456789abcdef01234567", "x"):
        await call("GET", "/deliveries/{delivery}", delivery=one)
        await call("POST", "/deliveries/{delivery}/preview", delivery=one)
        await call("POST", "/deliveries/{delivery}/replay", delivery=one)
    for body_ in ({"since": 0}, {"since": 0, "record": gone["id"]}, {}):
        await call("POST", "/replays/preview", json=body_)
    begun = await call("POST", "/replays", json={"since": 0, "record": gone["id"]})
    await call("GET", "/errands")
    for one in (begun["id"], "x"):
        await call("GET", "/errands/{errand}", errand=one)
        await call("POST", "/errands/{errand}/stop", errand=one)
    for body_ in ({"record": gone["id"]}, {}):
        await call("POST", "/erasures", json=body_)
    await call("GET", "/export", query={"record": ready["id"]})
    await call("GET", "/export")
    await call("POST", "/logos")
    for office in ("default", str(uuid.uuid4())):
        await call("DELETE", "/offices/{office}", office=office)
    everything = {(method, path) for path, operations in document["paths"].items() for method in operations}
    assert called == everything


async def test_while_the_store_is_down_the_api_says_so() -> None:
    async with StoreServer() as store, running(store.url) as service:
        store.kill()
        answer = await service.admin("GET", "/offices")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        await store.start()


async def test_the_first_start_has_a_connection_and_a_default_choice(service: Running) -> None:
    offices = (await service.admin("GET", "/offices")).json()["offices"]
    assert [(office["id"], office["own"], office["connection"]) for office in offices] == [("default", True, "jitsi")]
    connection = (await service.admin("GET", "/connections/jitsi")).json()
    assert (connection["provider"], connection["method"], connection["state"]) == ("jitsi", "plain", "ready")
    assert connection["in_use_by"] == ["default"]


async def test_a_default_that_was_chosen_survives_a_restart_and_another_jitsi_url(store_url: str) -> None:
    async with running(store_url, JITSI_URL=JITSI) as service:
        data = record()
        link = await service.link(data)
        await service.admin("PUT", "/offices/default", json={"connection": "jitsi", "tag": "kept"})
    async with running(store_url, JITSI_URL="https://other.example.org") as service:
        assert (await service.admin("GET", "/offices/default")).json()["tag"] == "kept"
        assert (await service.admin("GET", "/connections/jitsi")).json()["account"] == "https://other.example.org"
        assert await service.link(data) == link
        other = await service.link(record())
        assert other
        assert other.startswith("https://other.example.org/")


async def test_offices_named_by_events_list_themselves(service: Running) -> None:
    data = record()
    await service.say("record.created", data)
    shown = (await service.admin("GET", f"/offices/{data['office']}")).json()
    assert (shown["own"], shown["connection"]) == (False, "jitsi")
    put = await service.admin("PUT", f"/offices/{data['office']}", json={"name": "North", "connection": None})
    assert put.json()["own"] is True
    assert await service.link(data) is None
    assert (await service.admin("DELETE", f"/offices/{data['office']}")).status_code == 204
    assert await service.link(data)
    assert (await service.admin("GET", f"/offices/{uuid.uuid4()}")).status_code == 404


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"options": {"waiting_room": True}}, "options.waiting_room"),
        ({"options": {"opens_before": -1}}, "options.opens_before"),
        ({"options": {"opens_before": "10"}}, "options.opens_before"),
        ({"connection": "nobody"}, "connection"),
        ({"link": "sideways"}, "link"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"title": "{customer}"}, "title"),
        ({"title": "{office"}, "title"),
        ({"title": "{office.__class__}"}, "title"),
        ({"title": "{office:d}"}, "title"),
        ({"title": "{office:>999999999}"}, "title"),
        ({"title": "{record_number!r}"}, "title"),
        ({"title": "{office:{record_number}}"}, "title"),
        ({"services": ["x"]}, "services"),
        ({"hosts": {"x": "anna@example.org"}}, "hosts"),
        ({"name": "a\nb"}, "name"),
        ({"default_host": ""}, "default_host"),
        ({"options": {"opens_before": 1441}}, "options.opens_before"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_choice_is_422_and_named(service: Running, choice: dict[str, Any], named: str) -> None:
    before = (await service.admin("GET", "/offices/default")).json()
    answer = await service.admin("PUT", "/offices/default", json={"connection": "jitsi", **choice})
    assert answer.status_code == 422
    assert f"`{named}" in answer.json()["error"]["message"]
    assert (await service.admin("GET", "/offices/default")).json() == before


async def test_a_choice_is_given_back_as_it_was_put(service: Running) -> None:
    choice = {
        "name": "Etelä",
        "time_zone": "Europe/Helsinki",
        "connection": "jitsi",
        "link": "hosted",
        "services": [str(uuid.uuid4())],
        "hosts": {str(uuid.uuid4()): "anna@example.org"},
        "default_host": "desk@example.org",
        "title": "Visit {record_number} at {office}",
        "tag": "video",
        "options": {"opens_before": 30},
    }
    office = str(uuid.uuid4())
    assert (await service.admin("PUT", f"/offices/{office}", json=choice)).status_code == 200
    shown = (await service.admin("GET", f"/offices/{office.upper()}")).json()
    assert {name: shown[name] for name in choice} == choice


@pytest.mark.parametrize("title", ["{office}", "{{braces}} {record_number}", "{office}{office}", "{service}"])
async def test_a_title_that_is_taken_makes_meetings(service: Running, meeting_server: MemoryServer, title: str) -> None:
    connection = await service.connect(meeting_server.url)
    data = record(record_number="b264c6ff-a8fc-4")
    names = {data["service"]: "Massage"}
    choice = {"connection": connection, "title": title, "name": "North", "service_names": names}
    assert (await service.admin("PUT", "/offices/default", json=choice)).status_code == 200
    await service.link(data)
    assert (await service.record(data["id"]))["state"] == "ready"
    made = [meeting["title"] for meeting in await meeting_server.meetings()]
    assert made == [title.format(office="North", service="Massage", record_number="b264c6ff-a8fc-4")]


async def test_every_way_to_connect_jitsi_is_told_apart(service: Running) -> None:
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    app_id = "vpaas-magic-cookie-1a2b3c"
    ways = {
        "plain": {"url": f"{JITSI}/"},
        "token": {"url": JITSI, "app_id": "app", "secret": SECRET, "subject": "meet.jitsi"},
        "jaas": {"url": "https://8x8.vc", "app_id": app_id, "key_id": "4f4910", "private_key": pem},
    }
    accounts = {"plain": JITSI, "token": JITSI, "jaas": f"https://8x8.vc/{app_id}"}
    for method, fields in ways.items():
        made = await service.admin("POST", "/connections", json={"provider": "jitsi", "method": method, **fields})
        assert made.status_code == 201, made.text
        shown = (await service.admin("GET", f"/connections/{made.json()['id']}")).json()
        assert (shown["method"], shown["account"], shown["name"]) == (method, accounts[method], accounts[method])
        assert (shown["state"], shown["in_use_by"]) == ("ready", [])
        assert SECRET not in made.text
        assert pem.splitlines()[3] not in made.text


async def test_no_secret_of_a_connection_comes_back(service: Running) -> None:
    body = {"provider": "jitsi", "name": "Tokens", "url": JITSI, "app_id": "app", "secret": SECRET, "subject": "sub"}
    made = await service.admin("POST", "/connections", json=body)
    assert (made.status_code, made.json()["method"]) == (201, "token")
    shown = await service.admin("GET", f"/connections/{made.json()['id']}")
    listed = await service.admin("GET", "/connections")
    refused = await service.admin("POST", "/connections", json={**body, "app_id": None, "private_key": SECRET})
    assert refused.status_code == 422
    for answer in (made, shown, listed, refused):
        assert SECRET not in answer.text
        assert "envelope" not in answer.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"provider": "jitsi"}, "url"),
        ({"provider": "jitsi", "url": "http://meet.example.org"}, "url"),
        ({"provider": "jitsi", "url": JITSI, "secret": "s" * 40}, "app_id"),
        ({"provider": "jitsi", "url": JITSI, "colour": "red"}, "colour"),
        ({"provider": "jitsi", "url": JITSI, "method": "token"}, "method"),
        ({"url": JITSI}, "provider"),
        ({"provider": "jitsi", "url": JITSI, "name": "a\nb"}, "name"),
        ({"provider": "jitsi", "url": JITSI, "app_id": "app", "secret": SECRET, "private_key": SECRET}, "private_key"),
        ({"provider": "jitsi", "url": JITSI, "app_id": "app", "secret": {"x": SECRET}}, "secret"),
        ({"provider": "jitsi", "url": "https://8x8.vc", "app_id": "app", "secret": SECRET}, "JaaS"),
    ],
)
async def test_a_wrong_connection_is_422_and_says_what_is_wrong(
    service: Running, body: dict[str, Any], said: str
) -> None:
    answer = await service.admin("POST", "/connections", json=body)
    assert answer.status_code == 422
    message = answer.json()["error"]["message"]
    assert said in message
    assert message.endswith(".")
    assert not message.endswith("..")
    assert "Value error" not in message
    assert SECRET not in message
    assert len((await service.admin("GET", "/connections")).json()["connections"]) == 1


async def test_a_connection_in_use_is_not_removed_by_mistake(service: Running) -> None:
    data = record()
    await service.link(data)
    answer = await service.admin("DELETE", "/connections/jitsi")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "in_use")
    assert "default" in answer.json()["error"]["message"]
    assert (await service.admin("DELETE", "/connections/jitsi", force="true")).status_code == 204
    assert (await service.admin("GET", "/connections/jitsi")).status_code == 404
    assert (await service.admin("DELETE", "/connections/jitsi")).status_code == 404


async def test_a_connections_test_makes_and_removes_a_real_meeting(
    service: Running, meeting_server: MemoryServer
) -> None:
    connection = await service.connect(meeting_server.url)
    done = (await service.admin("POST", f"/connections/{connection}/test")).json()
    assert done["ok"]
    assert [step["step"] for step in done["steps"]] == ["probe", "create", "move", "find", "delete"]
    assert await meeting_server.meetings() == []


@pytest.mark.parametrize("verb", ["probe", "create", "update", "find", "delete"])
async def test_a_connections_test_says_at_which_step_it_failed(
    service: Running, meeting_server: MemoryServer, verb: str
) -> None:
    connection = await service.connect(meeting_server.url)
    await meeting_server.faults(fail=[{"status": 400, "times": 1}], only=verb)
    done = (await service.admin("POST", f"/connections/{connection}/test")).json()
    assert not done["ok"]
    failed = [step["step"] for step in done["steps"] if not step["ok"]]
    assert failed == ["move" if verb == "update" else verb]
    assert len(await meeting_server.meetings()) == (1 if verb == "delete" else 0)
    shown = (await service.admin("GET", f"/connections/{connection}")).json()
    assert (shown["state"], bool(shown["reason"])) == ("failing", True)
    await meeting_server.faults()
    assert (await service.admin("POST", f"/connections/{connection}/test")).json()["ok"]
    assert (await service.admin("GET", f"/connections/{connection}")).json()["state"] == "ready"


async def test_a_connections_test_leaves_nothing_behind_when_an_answer_got_lost(
    service: Running, meeting_server: MemoryServer
) -> None:
    connection = await service.connect(meeting_server.url)
    await meeting_server.faults(lose_answers=1, only="create")
    done = (await service.admin("POST", f"/connections/{connection}/test")).json()
    assert not done["ok"]
    assert await meeting_server.meetings() == []


async def test_a_connection_that_works_again_in_one_service_works_in_all(
    store_url: str, meeting_server: MemoryServer
) -> None:
    parked = record()
    async with (
        running(store_url) as admin,
        running(store_url, role="web") as web,
        running(store_url, role="worker"),
    ):
        connection = await admin.connect(meeting_server.url)
        await web.link(parked)
        await meeting_server.faults(fail=[{"status": 401}], only="update")
        await web.say("record.updated", {**parked, "version": 2, "time": START + 60})  # the worker meets the refusal

        async def reads(state: str) -> bool:
            return bool((await admin.admin("GET", f"/connections/{connection}")).json()["state"] == state)

        async def works_again() -> bool:
            await web.link(record())  # the web process sees that the account works
            return bool((await admin.record(parked["id"]))["state"] == "ready")

        await wait_until(lambda: reads("reconnect"))
        await wait_until(works_again, 10)
        assert await reads("ready")
        assert (await admin.record(parked["id"]))["start"] == START + 60


async def test_records_of_one_shard_with_one_start_are_paged_each_once(service: Running) -> None:
    ids = neighbours(12)
    for one in ids:
        await service.say("record.created", record(id=one))
    others = [record(time=START + number % 2) for number in range(8)]
    for other in others:
        await service.say("record.created", other)
    everybody = sorted([*ids, *(other["id"] for other in others)])
    for limit in (1, 2, 5, 11, 12, 20, 200):
        seen = await paged(service, limit=limit)
        assert sorted(found["id"] for found in seen) == everybody
        assert [found["start"] for found in seen] == sorted(found["start"] for found in seen)
    late = [other["id"] for other in others if other["time"] == START]
    assert [found["id"] for found in await paged(service, limit=1, office=others[0]["office"])] == late[:1]


async def test_records_are_paged_by_start_each_once(service: Running) -> None:
    mine, ids = str(uuid.uuid4()), []
    for number in range(23):
        data = record(time=START + number // 4, office=mine if number % 2 else str(uuid.uuid4()))
        ids.append(data["id"])
        await (service.link(data) if number < 5 else service.say("record.created", data))
    seen = await paged(service, limit=5)
    assert sorted(found["id"] for found in seen) == sorted(ids)
    assert [found["start"] for found in seen] == sorted(found["start"] for found in seen)
    ready = (await service.admin("GET", "/records", state="ready")).json()["records"]
    assert len(ready) == 5
    assert await paged(service, state="ready", limit=2) == ready
    of_mine = (await service.admin("GET", "/records", office=mine.upper())).json()["records"]
    assert len(of_mine) == 11
    assert (await service.admin("GET", "/records", state="odd")).status_code == 422
    assert (await service.admin("GET", "/records", cursor="x")).status_code == 422
    assert (await service.admin("GET", "/records", limit=0)).status_code == 422


async def test_a_record_is_shown_with_its_story(service: Running) -> None:
    data = record(office=None)
    link = await service.link(data)
    shown = await service.record(data["id"].upper())
    assert (shown["state"], shown["link"], shown["join_url"], shown["vello_told"]) == ("ready", link, link, True)
    assert (shown["company"], shown["office"], shown["version"]) == (data["company"], None, 1)
    assert [line["what"] for line in shown["journal"]] == ["event", "create", "ready", "settled", "told"]
    assert (await service.admin("GET", f"/records/{uuid.uuid4()}")).status_code == 404
    assert (await service.admin("POST", f"/records/{uuid.uuid4()}/reconcile")).status_code == 404
    assert (await service.admin("GET", "/records/nonsense")).status_code == 422


async def test_a_record_that_waits_is_looked_at_at_once_when_asked(
    service: Running, meeting_server: MemoryServer
) -> None:
    data = record()
    await service.connect(meeting_server.url)
    await meeting_server.faults(fail=[{"status": 429, "retry_after": 600}])
    await service.link(data)
    waiting = await service.record(data["id"])
    assert (waiting["state"], waiting["attempts"]) == ("pending", 1)
    assert waiting["next_attempt_at"] - waiting["journal"][-1]["at"] >= 590
    answer = await service.admin("POST", f"/records/{data['id'].upper()}/reconcile")
    assert (answer.status_code, answer.json()["id"]) == (202, data["id"])
    ready = await service.settled(data["id"])
    assert (ready["state"], ready["attempts"], ready["next_attempt_at"]) == ("ready", 0, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [("id", "x"), ("name", ""), ("name", "a\nb"), ("endpoint_url", "nowhere"), ("tokens", []), ("tokens", [""])],
)
async def test_a_wrong_company_is_422_and_named(service: Running, field: str, value: Any) -> None:
    fields = {"id": str(uuid.uuid4()), "name": "North", field: value}
    answer = await service.admin("POST", "/companies", json=fields)
    assert answer.status_code == 422
    assert f"`{field}" in answer.json()["error"]["message"]
    assert (await service.admin("GET", "/companies")).json()["companies"] == []


async def test_a_company_may_bring_its_own_url_and_tokens(service: Running) -> None:
    company, url = str(uuid.uuid4()), "https://proxy.example.org/vello"
    fields = {"id": company, "name": "North", "endpoint_url": url, "tokens": ["old-token", "new-token"]}
    made = (await service.admin("POST", "/companies", json=fields)).json()
    assert (made["endpoint_url"], made["tokens"]) == (url, ["old-token", "new-token"])
    raw = body("connection.test", {})
    for token in ("old-token", "new-token"):
        headers = {"Vello-Signature": sign(token, url, raw)}
        answer = await service.client.post(f"/webhooks/vello/{company.upper()}", content=raw, headers=headers)
        assert answer.status_code == 200
    listed = (await service.admin("GET", "/companies")).json()["companies"]
    assert listed[0]["reached_at"]


async def test_companies_are_added_once_and_show_their_tokens_once(service: Running) -> None:
    company = str(uuid.uuid4())
    made = await service.admin("POST", "/companies", json={"id": company, "name": "North"})
    assert made.json()["endpoint_url"] == f"{PUBLIC}/webhooks/vello/{company}"
    assert len(made.json()["tokens"][0]) >= 32
    assert (await service.admin("POST", "/companies", json={"id": company, "name": "Again"})).status_code == 409
    listed = (await service.admin("GET", "/companies")).json()["companies"]
    assert [(row["id"], row["tokens"], row["reached_at"]) for row in listed] == [(company, None, None)]
    assert (await service.admin("DELETE", f"/companies/{uuid.uuid4()}")).status_code == 404


async def test_another_services_choice_holds_from_the_next_event(store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as one, running(store_url) as two:
        assert await two.link(record()) is None
        await one.connect(meeting_server.url)
        assert await two.link(record())
        await one.admin("PUT", "/offices/default", json={"connection": None})
        assert await two.link(record()) is None


async def test_an_office_forgotten_in_one_service_lists_itself_again_in_another(store_url: str) -> None:
    data = record()
    async with running(store_url) as one, running(store_url) as two:
        await two.say("record.created", data)
        assert (await one.admin("DELETE", f"/offices/{data['office']}")).status_code == 204
        assert (await one.admin("GET", f"/offices/{data['office']}")).status_code == 404
        await two.say("record.updated", {**data, "version": 2})
        assert (await one.admin("GET", f"/offices/{data['office']}")).status_code == 200


async def test_a_connection_removed_in_one_service_is_gone_in_another(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as one, running(store_url) as two:
        old = await one.connect(meeting_server.url)
        assert await two.link(record())
        await one.connect(JITSI, provider="jitsi")
        assert (await one.admin("DELETE", f"/connections/{old}", force="true")).status_code == 204
        link = await two.link(record())
        assert link
        assert link.startswith(f"{JITSI}/")
        gone: list[httpx.Response] = [await two.admin("GET", f"/connections/{old}")]
        gone += [await two.admin("POST", f"/connections/{old}/test")]
        assert [answer.status_code for answer in gone] == [404, 404]


async def test_a_thousand_offices_are_all_listed(store: Store, store_url: str) -> None:
    choice = Choice(connection="jitsi", time_zone="Europe/Helsinki").model_dump_json()
    await store.pipeline([("HSET", "vm:offices", str(uuid.uuid4()), choice) for _ in range(1000)])
    async with running(store_url, JITSI_URL=JITSI) as service:
        listed = (await service.admin("GET", "/offices")).json()["offices"]
        assert len(listed) == 1001


async def test_wrong_tokens_are_told_of_in_the_log_once_in_a_while_and_keep_nobody_out(
    service: Running, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.web.guard._EVERY", 600.0)
    told = ""

    async def ask(**headers: str) -> int:
        return (await service.client.get(f"{PUBLIC}/api/v1/offices", headers=headers)).status_code

    def lines() -> list[str]:
        nonlocal told
        told += capfd.readouterr().out
        return [line for line in told.splitlines() if "api_refused" in line]

    assert (await ask(), lines()) == (401, [])
    for _ in range(50):
        assert await ask(Authorization="Bearer wrong-guess-of-a-token") == 401
    assert await ask(Authorization=f"Bearer {ADMIN}") == 200
    assert (len(lines()), "warning" in lines()[0], "guess" in told) == (1, True, False)
    stand_still(monkeypatch, 601)
    await ask(Authorization="Bearer wrong-guess-of-a-token")
    assert "times=50" in lines()[1]
