"""API v1 as whoever holds the admin token uses it."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.events import START, record
from tests.running import ADMIN, PUBLIC, Running, running
from tests.servers import MemoryServer

JITSI = "https://meet.example.org"
SECRET = "app-secret-that-must-never-come-back"


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url, JITSI_URL=JITSI) as service:
        yield service


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", f"Basic {ADMIN}", f"Bearer {ADMIN}x", "Bearer é"])
async def test_without_the_admin_token_everything_is_401(service: Running, header: str | None) -> None:
    headers = [(b"Authorization", header.encode())] if header else []
    for method, path in (("GET", "/offices"), ("POST", "/connections"), ("DELETE", "/connections/jitsi")):
        answer = await service.client.request(method, f"/api/v1{path}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


async def test_the_openapi_document_is_valid(service: Running) -> None:
    validate((await service.client.get("/api/v1/openapi.json")).json())


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
        ({"services": ["x"]}, "services"),
        ({"hosts": {"x": "anna@example.org"}}, "hosts"),
        ({"name": "a\nb"}, "name"),
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
    ],
)
async def test_a_wrong_connection_is_422_and_says_what_is_wrong(
    service: Running, body: dict[str, Any], said: str
) -> None:
    answer = await service.admin("POST", "/connections", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]
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


async def test_records_are_paged_by_start_each_once(service: Running) -> None:
    mine, ids = str(uuid.uuid4()), []
    for number in range(23):
        data = record(time=START + number // 4, office=mine if number % 2 else str(uuid.uuid4()))
        ids.append(data["id"])
        await (service.link(data) if number < 5 else service.say("record.created", data))
    seen: list[dict[str, Any]] = []
    cursor: str | None = "0."
    while cursor is not None:
        page = (await service.admin("GET", "/records", limit=5, cursor=cursor)).json()
        seen += page["records"]
        cursor = page["cursor"]
    assert sorted(found["id"] for found in seen) == sorted(ids)
    assert [found["start"] for found in seen] == sorted(found["start"] for found in seen)
    ready = (await service.admin("GET", "/records", state="ready")).json()["records"]
    assert len(ready) == 5
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
    assert [line["what"] for line in shown["journal"]] == ["event", "create", "ready", "settled"]
    assert (await service.admin("GET", f"/records/{uuid.uuid4()}")).status_code == 404
    assert (await service.admin("POST", f"/records/{uuid.uuid4()}/reconcile")).status_code == 404
    assert (await service.admin("GET", "/records/nonsense")).status_code == 422


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
