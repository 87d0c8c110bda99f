"""Bookings on Zoom, from Vello's event to the meeting: limits, hosts, dead accounts and what people do in Zoom."""

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from providers.base import Budget
from service.budget import Budgets, Purse
from service.grants import Grants
from service.store import Store
from tests.events import START, record
from tests.fakes.zoom_server import ZoomServer
from tests.ports import NO_TLS
from tests.running import ADMIN, PUBLIC, Running, running
from tests.waiting import outage, wait_until

ANNA, BEN = "anna@example.org", "ben@example.org"
OWN_APP = {"account_id": "account-1", "client_id": "s2s-app", "client_secret": "s2s-secret"}
WEBHOOK_SECRET = "webhook-secret"


@asynccontextmanager
async def zoomed(store_url: str, zoom: ZoomServer, **more: Any) -> AsyncIterator[Running]:
    """A service whose Zoom is the fake."""
    given: dict[str, Any] = {
        "ZOOM_OAUTH_URL": zoom.oauth_url,
        "ZOOM_API_URL": zoom.api_url,
        "ZOOM_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    given |= {"ZOOM_CLIENT_ID": "user-app", "ZOOM_CLIENT_SECRET": "user-secret"}
    async with running(store_url, **given, **more) as service:
        yield service


@pytest.fixture
async def service(store_url: str, zoom: ZoomServer) -> AsyncIterator[Running]:
    left = 86_400 - time.time() % 86_400
    if left < 30:  # what was drawn today is counted
        await outage(left + 1)
    async with zoomed(store_url, zoom) as service:
        yield service


async def choose(service: Running, connection: str, **fields: Any) -> None:
    """Make a connection every office's choice."""
    choice = {"connection": connection, "link": "direct", **fields}
    chosen = await service.admin("PUT", "/offices/default", json=choice)
    assert chosen.status_code == 200, chosen.text


async def own_app(service: Running, **fields: Any) -> str:
    """A Server-to-Server connection with Anna as every office's host."""
    made = await service.admin("POST", "/connections", json={"provider": "zoom", **OWN_APP})
    assert made.status_code == 201, made.text
    await choose(service, made.json()["id"], **{"default_host": ANNA, **fields})
    return str(made.json()["id"])


async def connected(service: Running) -> str:
    """Anna's account, connected in the browser; answers the connection's id."""
    ours = {"Sec-Fetch-Site": "same-origin"}
    await service.client.post(f"{PUBLIC}/login", data={"admin_token": ADMIN}, headers=ours)
    asked = (await service.client.get(f"{PUBLIC}/connect/zoom/start", headers=ours)).headers["location"]
    form = {**dict(parse_qsl(urlsplit(asked).query)), "user": ANNA, "decision": "allow"}
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as person:
        back = await person.post(asked.partition("?")[0], data=form)
    answer = await service.client.get(back.headers["location"])
    assert answer.status_code == 303, answer.text
    return str(httpx.URL(answer.headers["location"]).params["connected"])


async def connection(service: Running, id_: str) -> dict[str, Any]:
    return dict((await service.admin("GET", f"/connections/{id_}")).json())


async def leads_to(service: Running, link: str) -> str:
    """Where a customer who clicks gets to."""
    if not link.startswith(PUBLIC):
        return link
    return str((await service.client.get(f"{link}/join")).headers["location"])


def start(meeting: dict[str, Any]) -> int:
    """When a meeting starts, as Zoom has it."""
    return int(datetime.fromisoformat(meeting["start_time"]).timestamp())


async def says(service: Running, name: str, payload: dict[str, Any], *, later: float = 60) -> httpx.Response:
    """Zoom's own event, signed, of a moment from now: what is told of our own calls comes sooner."""
    now = int(time.time())
    raw = json.dumps({"event": name, "event_ts": int((time.time() + later) * 1000), "payload": payload})
    signed = hmac.digest(WEBHOOK_SECRET.encode(), f"v0:{now}:{raw}".encode(), hashlib.sha256).hex()
    headers = {"x-zm-request-timestamp": str(now), "x-zm-signature": f"v0={signed}"}
    return await service.client.post("/webhooks/zoom", content=raw, headers=headers)


async def test_who_enters_a_wrong_secret_again_hears_at_once_what_is_wrong(service: Running) -> None:
    id_ = await own_app(service)
    ours = {"Sec-Fetch-Site": "same-origin"}
    await service.client.post(f"{PUBLIC}/login", data={"admin_token": ADMIN}, headers=ours)
    text = (await service.client.get(f"{PUBLIC}/connections/{id_}")).text
    fields = dict(re.findall(r'name="(form_token|version|read_at)" value="([^"]*)"', text))
    typed = {"do": "mend", "secret.settings.client_secret": "wrong"}
    answer = await service.client.post(f"{PUBLIC}/connections/{id_}", data={**fields, **typed}, headers=ours)
    assert answer.status_code == 303
    assert (await connection(service, id_))["state"] == "failing"


async def test_a_booking_gets_its_meeting_and_moves_it(service: Running, zoom: ZoomServer) -> None:
    await own_app(service)
    data = record()
    link = await service.link(data)
    (meeting,) = await zoom.meetings()
    assert link == meeting["join_url"]
    await service.say("record.updated", {**data, "time": START + 3600, "version": 2})

    async def moved() -> bool:
        return [(one["id"], start(one)) for one in await zoom.meetings()] == [(meeting["id"], START + 3600)]

    await wait_until(moved)
    await service.say("record.cancelled", {**data, "canceled": True, "version": 3})
    await service.settled(data["id"])
    assert await zoom.meetings() == []


async def test_the_hosts_link_is_fetched_at_the_click_and_kept_nowhere(
    service: Running, zoom: ZoomServer, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    await own_app(service)
    data = record()
    await service.link(data)
    first, second = [await service.admin("GET", f"/records/{data['id']}/host_link") for _ in range(2)]
    assert first.headers["cache-control"] == "no-store"
    assert first.json()["url"].startswith(f"{zoom.url}/s/")
    assert first.json() != second.json()
    for key in await store.execute("KEYS", f"*{data['id']}*"):
        kind = "HGETALL" if ":r:" in key else "LRANGE"
        assert "zak" not in str(await store.execute(kind, key, *((0, -1) if kind == "LRANGE" else ())))
    assert "zak" not in (await service.admin("GET", f"/records/{data['id']}")).text
    logged = "".join(capfd.readouterr())
    assert "provider_call" in logged
    assert "zak" not in logged


async def test_without_a_meeting_there_is_no_link_for_its_host(service: Running, zoom: ZoomServer) -> None:
    await own_app(service)
    data = record()
    path = f"/records/{data['id']}/host_link"
    assert (await service.admin("GET", path)).json()["error"]["code"] == "unknown_record"
    await service.say("record.created", data)
    answer = await service.admin("GET", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_meeting")
    await service.link(data)
    (meeting,) = await zoom.meetings()
    await zoom.control("DELETE", f"meetings/{meeting['id']}")
    answer = await service.admin("GET", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_meeting")
    assert "reconcile" in answer.json()["error"]["message"]
    assert (await service.admin("POST", f"/records/{data['id']}/reconcile")).status_code == 202

    async def starts() -> bool:
        return (await service.admin("GET", path)).status_code == 200

    await wait_until(starts)
    await zoom.faults(fail=[{"status": 503, "times": 3}])
    assert (await service.admin("GET", path)).status_code == 503


async def test_the_hosts_own_link_fetches_zooms_at_each_click_and_never_before(
    service: Running, zoom: ZoomServer, capfd: pytest.CaptureFixture[str]
) -> None:
    await own_app(service)
    data = record()
    await service.link(data)
    link = (await service.record(data["id"]))["host_link"]
    before = len(await zoom.calls())
    assert "Start the meeting" in (await service.client.get(link)).text
    assert len(await zoom.calls()) == before
    first, second = [await service.client.get(f"{link}/start") for _ in range(2)]
    assert (first.status_code, first.headers["referrer-policy"]) == (303, "no-referrer")
    assert first.headers["location"].startswith(f"{zoom.url}/s/")
    assert first.headers["location"] != second.headers["location"]
    logged = "".join(capfd.readouterr())
    assert "provider_call" in logged
    assert not [secret for secret in ("zak", link.rpartition("/")[2]) if secret in logged]


async def test_a_hosts_click_that_fails_says_why_and_makes_anew_what_was_removed(
    service: Running, zoom: ZoomServer
) -> None:
    await own_app(service)
    data = record()
    await service.link(data)
    link = (await service.record(data["id"]))["host_link"]
    await zoom.faults(fail=[{"status": 503, "times": 3}])
    busy = await service.client.get(f"{link}/start")
    assert (busy.status_code, "does not answer at the moment" in busy.text) == (200, True)
    assert 'http-equiv="refresh"' in busy.text
    await zoom.faults(only="get", fail=[{"status": 401, "times": 2}])
    dead = await service.client.get(f"{link}/start")
    assert "connect it again" in dead.text
    assert "http-equiv" not in dead.text
    (meeting,) = await zoom.meetings()
    await zoom.control("DELETE", f"meetings/{meeting['id']}")
    assert "being prepared" in (await service.client.get(f"{link}/start")).text

    async def made_anew() -> bool:
        return len(await zoom.meetings()) == 1

    await wait_until(made_anew)
    await service.settled(data["id"])
    (another,) = await zoom.meetings()
    assert another["id"] != meeting["id"]
    assert f"/s/{another['id']}" in (await service.client.get(f"{link}/start")).headers["location"]


async def test_moves_leave_the_last_calls_of_a_day_to_new_bookings(
    service: Running, zoom: ZoomServer, store: Store
) -> None:
    id_ = await own_app(service)
    data = record()
    link = await service.link(data)
    assert (await connection(service, id_))["budget"] == {ANNA: 99}
    budgets, purse = Budgets(store), Purse("zoom\0account-1", ANNA, Budget(100, 20), "update")
    for _ in range(79):
        await budgets.draw(purse)
    await service.say("record.updated", {**data, "time": START + 3600, "version": 2})
    await wait_until(lambda: held(service, data["id"]))
    assert await service.link({**data, "time": START + 7200, "version": 3}) == link
    assert await zoom.calls("update") == []
    assert await service.link(record()) in [meeting["join_url"] for meeting in await zoom.meetings()]
    assert (await connection(service, id_))["budget"] == {ANNA: 19}
    shown = await service.record(data["id"])
    assert "the last 20 of today are kept for new ones; tried again at 00:0" in shown["reason"]
    assert [line["what"] for line in shown["journal"]].count("held") == 1
    await service.say("record.cancelled", {**data, "canceled": True, "version": 4})
    await service.settled(data["id"])
    assert len(await zoom.meetings()) == 1


async def held(service: Running, id_: str) -> bool:
    return "tried again at" in ((await service.record(id_))["reason"] or "")


async def test_when_zoom_says_that_the_day_is_over_nobody_asks_again(service: Running, zoom: ZoomServer) -> None:
    id_ = await own_app(service)
    await zoom.control("PUT", "limits", {"per_user": 1})
    assert (await service.link(record()) or "").startswith(zoom.url)
    for _ in range(3):
        data = record()
        link = await service.link(data)
        assert link
        assert link.startswith(f"{PUBLIC}/m/")
        assert (await service.client.get(link)).status_code == 200
        await wait_until(lambda data=data: held(service, data["id"]))  # type: ignore[misc]
    assert len(await zoom.calls("create")) == 2
    assert (await connection(service, id_))["budget"] == {ANNA: 0}
    assert (await connection(service, id_))["state"] == "ready"


async def test_a_user_has_one_budget_however_many_connections_reach_them(service: Running, zoom: ZoomServer) -> None:
    """Zoom counts by user; so the agenda is one as well."""
    own, person = await own_app(service), await connected(service)
    await service.link(record())
    await choose(service, person)
    data = record(time=START + 600)
    await service.link(data)
    await choose(service, own, default_host=(await zoom.user(ANNA))["id"])
    await service.link(record(time=START + 86_400))
    assert [(await connection(service, id_))["budget"] for id_ in (own, person)] == [{ANNA: 97}] * 2
    told = [line["text"] for line in (await service.record(data["id"]))["journal"]]
    assert any("The host has another meeting at that time" in text for text in told)


async def test_one_persons_connection_tells_nobody_elses_budget(service: Running, zoom: ZoomServer) -> None:
    own, person = await own_app(service, default_host=BEN), await connected(service)
    await service.link(record())
    assert (await connection(service, own))["budget"] == {BEN: 99}
    assert (await connection(service, person))["budget"] == {}


async def test_of_several_hosts_one_with_nothing_left_today_is_skipped(
    service: Running, zoom: ZoomServer, store: Store
) -> None:
    id_ = await own_app(service, default_host=f"{ANNA}, {BEN}")
    await Budgets(store).spent(Purse("zoom\0account-1", ANNA, Budget(100, 20), "create"))
    data = record()
    await service.link(data)
    assert (await service.record(data["id"]))["host"] == BEN
    assert len(await zoom.calls("create")) == 1
    assert (await connection(service, id_))["budget"] == {ANNA: 0, BEN: 99}


async def test_when_zoom_says_that_a_hosts_day_is_over_another_host_is_taken_at_once(
    service: Running, zoom: ZoomServer
) -> None:
    await own_app(service, default_host=f"{ANNA}, {BEN}")
    await zoom.control("PUT", "limits", {"per_user": 1})
    hosts = []
    for late in (0, 3600):
        data = record(time=START + late)
        await service.link(data)
        hosts.append((await service.settled(data["id"]))["host"])
    assert hosts == [ANNA, BEN]
    data = record(time=START + 7200)
    await service.link(data)
    await wait_until(lambda: held(service, data["id"]))
    assert [call["verb"] for call in await zoom.calls("create")] == ["create"] * 4  # each host refused once
    shown = await service.record(data["id"])
    assert "today's are used up" in shown["reason"]


async def test_bookings_at_the_same_time_share_what_is_left_of_two_hosts(
    service: Running, zoom: ZoomServer, store: Store
) -> None:
    """All look before one draws; who comes too late takes the other host and does not wait for tomorrow."""
    await own_app(service, default_host=f"{ANNA}, {BEN}")
    budgets, purse = Budgets(store), Purse("zoom\0account-1", ANNA, Budget(100, 20), "create")
    await budgets.spent(purse)
    await budgets.give_back(purse)
    bookings = [record(time=START + 3600 * number) for number in range(6)]
    await asyncio.gather(*[service.link(data) for data in bookings])
    hosts = [(await service.settled(data["id"]))["host"] for data in bookings]
    assert sorted(hosts) == [ANNA, *[BEN] * 5]


async def test_a_token_endpoint_that_wants_fewer_calls_is_not_unwell(service: Running, zoom: ZoomServer) -> None:
    """No gate opens, and the connection is not said to fail."""
    await zoom.faults(only="token", fail=[{"status": 429, "times": 100, "retry_after": 2}])
    id_ = await own_app(service)
    bookings = [record() for _ in range(8)]
    for data in bookings:
        assert str(await service.link(data)).startswith(f"{PUBLIC}/m/")
    metrics = (await service.client.get("/metrics")).text
    assert f'vello_meetings_breaker_state{{connection="{id_}"}} 0.0' in metrics
    assert (await connection(service, id_))["state"] == "ready"
    reasons = [(await service.record(data["id"]))["reason"] for data in bookings]
    assert all("wants fewer calls" in reason for reason in reasons)
    await zoom.faults()
    for data in bookings:
        assert (await service.settled(data["id"], 30))["state"] == "ready"


async def test_what_came_to_nothing_costs_no_call_of_the_day(service: Running, zoom: ZoomServer) -> None:
    id_ = await own_app(service)
    await zoom.user(ANNA, may_host=False)
    data = record()
    await service.link(data)
    assert (await service.record(data["id"]))["reason"]
    assert (await connection(service, id_))["budget"] == {ANNA: 100}


async def test_bookings_of_a_dead_account_get_their_meetings_when_it_is_connected_again(
    service: Running, zoom: ZoomServer
) -> None:
    """Customers hold the links they got meanwhile, and those work."""
    id_ = await connected(service)
    await choose(service, id_)
    early = record()
    links = {early["id"]: await service.link(early)}
    await zoom.control("POST", "revoke", {"client_id": "user-app", "user": ANNA})
    for data in [record() for _ in range(8)]:
        links[data["id"]] = link = await service.link(data)
        assert link
        assert link.startswith(f"{PUBLIC}/m/")
        assert (await service.client.get(link)).status_code == 200
    await service.say("record.updated", {**early, "time": START + 3600, "version": 2})
    await wait_until(lambda: is_in(service, id_, "reconnect"))
    assert len(await zoom.meetings()) == 1
    assert await connected(service) == id_
    for record_id, link in links.items():
        seen = await service.settled(record_id, 20)
        assert (seen["state"], await leads_to(service, str(link))) == ("ready", seen["join_url"])
    starts = {meeting["join_url"]: start(meeting) for meeting in await zoom.meetings()}
    assert len(starts) == 9
    assert starts[str(links[early["id"]])] == START + 3600
    assert (await connection(service, id_))["state"] == "ready"


async def is_in(service: Running, id_: str, state: str) -> bool:
    return bool((await connection(service, id_))["state"] == state)


async def test_a_meeting_that_somebody_removes_in_zoom_is_made_again(service: Running, zoom: ZoomServer) -> None:
    await own_app(service, link="hosted")
    data = record()
    link = str(await service.link(data))
    (meeting,) = await zoom.meetings()
    await zoom.control("DELETE", f"meetings/{meeting['id']}")
    thing = {"account_id": "account-1", "object": {"id": meeting["id"], "host_id": meeting["host_id"]}}
    assert (await says(service, "meeting.deleted", thing)).status_code == 200

    async def again() -> bool:
        return [one["id"] for one in await zoom.meetings()] not in ([], [meeting["id"]])

    await wait_until(again)
    await service.settled(data["id"])
    (new,) = await zoom.meetings()
    assert await leads_to(service, link) == new["join_url"]


async def test_what_somebody_changes_in_zoom_is_set_right(service: Running, zoom: ZoomServer) -> None:
    await own_app(service)
    data = record()
    await service.link(data)
    (meeting,) = await zoom.meetings()
    await zoom.control("POST", f"meetings/{meeting['id']}", {"topic": "Somebody's idea"})
    thing = {"account_id": "account-1", "object": {"id": str(meeting["id"])}}
    assert (await says(service, "meeting.updated", thing)).status_code == 200

    async def right() -> bool:
        return [one["topic"] for one in await zoom.meetings()] == [meeting["topic"]]

    await wait_until(right)


async def test_zoom_is_answered_when_it_proves_the_address(service: Running) -> None:
    answer = await says(service, "endpoint.url_validation", {"plainToken": "plain"})
    proof = hmac.digest(WEBHOOK_SECRET.encode(), b"plain", hashlib.sha256).hex()
    assert answer.json() == {"plainToken": "plain", "encryptedToken": proof}
    assert (await service.client.post("/webhooks/zoom", content=b"{}")).status_code == 401


async def test_an_account_that_removes_the_app_is_to_be_connected_again(service: Running, zoom: ZoomServer) -> None:
    id_ = await connected(service)
    user = await zoom.user(ANNA)
    gone = {"account_id": "account-1", "user_id": user["id"], "client_id": "user-app"}
    assert (await says(service, "app_deauthorized", gone)).status_code == 200
    await wait_until(lambda: is_in(service, id_, "reconnect"))
    assert "removed this service in Zoom" in (await connection(service, id_))["reason"]


async def test_an_account_that_was_connected_after_it_removed_the_app_keeps_its_access_whenever_that_is_told(
    service: Running, zoom: ZoomServer
) -> None:
    id_ = await connected(service)
    user = await zoom.user(ANNA)
    gone = {"account_id": "account-1", "user_id": user["id"], "client_id": "user-app"}
    assert (await says(service, "app_deauthorized", gone)).status_code == 200
    assert await is_in(service, id_, "reconnect")
    assert await connected(service) == id_
    for event in ({}, {"deauthorization_time": datetime.fromtimestamp(time.time() - 120, UTC).isoformat()}):
        again = await says(service, "app_deauthorized", {**gone, **event}, later=60 if event else -120)
        assert again.status_code == 200
        assert await is_in(service, id_, "ready")
    await choose(service, id_)
    assert await service.link(record()) == (await zoom.meetings())[0]["join_url"]


async def test_an_account_that_is_connected_while_its_removal_of_the_app_is_told_is_not_called_dead(
    service: Running, zoom: ZoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = await connected(service)
    user = await zoom.user(ANNA)
    leave = Grants.leave

    async def overtaken(self: Grants, grant: str, at: float) -> bool:
        gone = await leave(self, grant, at)
        assert await connected(service) == id_
        return gone

    monkeypatch.setattr(Grants, "leave", overtaken)
    gone = {"account_id": "account-1", "user_id": user["id"], "client_id": "user-app"}
    assert (await says(service, "app_deauthorized", gone)).status_code == 200
    assert await is_in(service, id_, "ready")


async def test_a_scope_that_an_app_lacks_is_named_when_it_is_connected(service: Running, zoom: ZoomServer) -> None:
    """With what to tick, and still after its first meetings, which may work."""
    granted = (await zoom.control("POST", "grant", {"client_id": "s2s-app"}))["scope"].split()
    scopes = [scope for scope in granted if "update" not in scope]
    await zoom.control("PUT", "apps", {"client_id": "s2s-app", "scopes": scopes})
    id_ = await own_app(service)
    row = await connection(service, id_)
    assert (row["state"], row["missing_scopes"]) == ("failing", ["meeting:update:meeting"])
    assert "move meetings (meeting:update:meeting or meeting:update:meeting:admin" in row["reason"]
    data = record()
    await service.link(data)
    row = await connection(service, id_)
    assert row["state"] == "ready"
    assert "move meetings (meeting:update:meeting or" in row["warnings"][0]
    await service.say("record.updated", {**data, "time": START + 3600, "version": 2})

    async def told() -> bool:
        return "meeting:update:meeting" in ((await service.record(data["id"]))["reason"] or "")

    await wait_until(told)


async def test_an_app_with_a_wrong_secret_is_known_when_it_is_connected(service: Running) -> None:
    made = await service.admin("POST", "/connections", json={"provider": "zoom", **OWN_APP, "client_secret": "wrong"})
    assert (made.status_code, made.json()["state"]) == (201, "failing")
    assert "compare them with the app there" in made.json()["reason"]


async def test_many_callers_share_one_token_of_an_app(service: Running, zoom: ZoomServer) -> None:
    await own_app(service)
    await asyncio.gather(*[service.link(record()) for _ in range(8)])
    assert len(await zoom.calls("token")) == 1
    metrics = (await service.client.get("/metrics")).text
    assert 'vello_meetings_token_refreshes_total{outcome="ok",provider="zoom"} 1.0' in metrics


async def test_hosts_are_proposed_from_the_accounts_users_as_long_as_zoom_answers(
    service: Running, zoom: ZoomServer
) -> None:
    id_ = await own_app(service)
    assert {ANNA, BEN} <= set((await service.admin("GET", f"/connections/{id_}/people")).json()["people"])
    ours = {"Sec-Fetch-Site": "same-origin"}
    await service.client.post(f"{PUBLIC}/login", data={"admin_token": ADMIN}, headers=ours)
    page = f"{PUBLIC}/offices/default/people?connection={id_}"
    assert f'<option value="{BEN}">' in (await service.client.get(page)).text
    await zoom.faults(fail=[{"status": 500, "times": 9}], only="users")
    answer = await service.admin("GET", f"/connections/{id_}/people")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert (await service.client.get(page)).text.strip() == ""
