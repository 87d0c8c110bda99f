"""Bookings on Google Meet, from the consent page to the meeting: kinds, limits, dead accounts, service accounts."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from providers.google_account import AUTH, EVENTS, ROOMS, SPACES
from service.config import ConfigError
from service.store import Store
from tests.events import START, record
from tests.fakes.google_server import GoogleServer
from tests.fakes.zoom_server import ZoomServer
from tests.ports import NO_TLS
from tests.running import ADMIN, PUBLIC, Running, running
from tests.waiting import wait_until

ANNA, BEN = "anna@example.org", "ben@example.org"
OURS = {"Sec-Fetch-Site": "same-origin"}
CONNECT = f"{PUBLIC}/connect/google_meet"
WEEK = 7 * 86_400


def environment(google: GoogleServer, client: str = "user") -> dict[str, Any]:
    """What a service must know of the fake."""
    return {
        "GOOGLE_CLIENT_ID": f"{client}-app",
        "GOOGLE_CLIENT_SECRET": f"{client}-secret",
        "GOOGLE_AUTHORIZE_URL": f"{google.url}/o/oauth2/v2/auth",
        "GOOGLE_TOKEN_URL": f"{google.url}/token",
        "GOOGLE_REVOKE_URL": f"{google.url}/revoke",
        "GOOGLE_CALENDAR_URL": f"{google.url}/calendar/v3",
        "GOOGLE_MEET_URL": f"{google.url}/v2",
    }


@asynccontextmanager
async def served(store_url: str, google: GoogleServer, client: str = "user", **more: Any) -> AsyncIterator[Running]:
    """A service whose Google is the fake; whatever it sent was as Google's documents say."""
    async with running(store_url, **environment(google, client), **more) as service:
        yield service
    assert (await google.state())["junk"] == []
    assert (await google.state())["mails"] == []


@pytest.fixture
async def service(store_url: str, google: GoogleServer) -> AsyncIterator[Running]:
    async with served(store_url, google) as service:
        yield service


async def consented(
    service: Running, user: str = ANNA, *, feature: str = "space", unticked: tuple[str, ...] = (), click: str = "allow"
) -> httpx.Response:
    """The way from the login here to the page after the consent there."""
    await service.client.post(f"{PUBLIC}/login", data={"admin_token": ADMIN}, headers=OURS)
    page = await service.client.get(CONNECT)
    assert f"/connect/google_meet/start?feature={feature}" in page.text
    return await agreed(service, f"feature={feature}", user, unticked=unticked, click=click)


async def agreed(
    service: Running, query: str, user: str = ANNA, *, unticked: tuple[str, ...] = (), click: str = "allow"
) -> httpx.Response:
    """The way from a button here, by its query, over the consent there to the page after it."""
    begun = await service.client.get(f"{CONNECT}/start?{query}", headers=OURS)
    asked = begun.headers["location"]
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as person:
        shown = await person.get(asked)
        assert shown.status_code == 200, shown.text
        boxes = re.findall(r'name="granted" value="([^"]+)"', shown.text)
        form: dict[str, Any] = {**dict(parse_qsl(urlsplit(asked).query)), "user": user, "decision": click}
        form["granted"] = [box for box in boxes if box.removeprefix(AUTH) not in unticked]
        back = await person.post(asked.partition("?")[0], data=form)
        assert back.status_code == 302, back.text
    answer = await service.client.get(back.headers["location"])
    return await service.client.get(answer.headers["location"]) if answer.is_redirect else answer


async def connected(service: Running, user: str = ANNA, **more: Any) -> str:
    """A person's account, connected in the browser; answers the connection's id."""
    page = await consented(service, user, **more)
    assert "is connected" in page.text, page.text
    return str(page.url.params["connected"])


async def choose(service: Running, connection: str, **fields: Any) -> None:
    """Make a connection every office's choice."""
    chosen = await service.admin("PUT", "/offices/default", json={"connection": connection, **fields})
    assert chosen.status_code == 200, chosen.text


async def robot(service: Running, google: GoogleServer, **fields: Any) -> str:
    """The service account's connection, made with its key file, every office's choice."""
    given = {"provider": "google_meet", "method": "service_account", "key": await google.key(), "subject": ANNA}
    made = await service.admin("POST", "/connections", json={**given, **fields})
    assert made.status_code == 201, made.text
    await choose(service, made.json()["id"])
    return str(made.json()["id"])


async def shown(service: Running, connection: str) -> dict[str, Any]:
    """A connection as the API shows it."""
    return dict((await service.admin("GET", f"/connections/{connection}")).json())


async def open_rooms(google: GoogleServer) -> list[str]:
    """The links of rooms that everybody may enter."""
    return [one["meetingUri"] for one in await google.spaces() if one["config"]["accessType"] == "OPEN"]


async def test_from_the_consent_to_the_room_and_its_end(service: Running, google: GoogleServer) -> None:
    id_ = await connected(service)
    row = await shown(service, id_)
    assert (row["provider"], row["method"], row["account"]) == ("google_meet", "oauth", ANNA)
    assert (row["state"], row["missing_scopes"], row["warnings"]) == ("ready", [], [])
    assert f"{AUTH}{SPACES}" in row["scopes"]
    assert f"{AUTH}{EVENTS}" not in row["scopes"]
    await choose(service, id_)
    data = record()
    link = await service.link(data)
    assert await open_rooms(google) == [link]
    assert await service.link({**data, "time": START + 3600, "version": 2}) == link
    await service.say("record.cancelled", {**data, "canceled": True, "version": 3})
    await service.settled(data["id"])
    assert await open_rooms(google) == []


async def test_from_the_consent_to_the_calendar(service: Running, google: GoogleServer) -> None:
    id_ = await connected(service, feature="calendar")
    assert f"{AUTH}{SPACES}" not in (await shown(service, id_))["scopes"]
    await choose(service, id_)
    data = record()
    link = await service.link(data)
    (event,) = await google.events()
    assert (event["hangoutLink"], await open_rooms(google)) == (link, [link])
    assert await service.link({**data, "time": START + 3600, "version": 2}) == link

    async def moved() -> bool:
        (one,) = await google.events()
        return datetime.fromisoformat(one["start"]["dateTime"]).timestamp() == START + 3600

    await wait_until(moved)
    await service.say("record.cancelled", {**data, "canceled": True, "version": 3})
    await service.settled(data["id"])
    assert (await google.events(), await open_rooms(google)) == ([], [])
    again = await service.link({**data, "version": 4})
    assert again != link
    assert [one["hangoutLink"] for one in await google.events()] == [again]


async def test_offices_choose_between_both(service: Running, google: GoogleServer) -> None:
    await choose(service, await connected(service, feature="both"), options={"mode": "calendar"})
    await service.link(record())
    assert len(await google.events()) == 1
    await choose(service, (await service.admin("GET", "/offices/default")).json()["connection"])
    await service.link(record())
    assert (len(await google.events()), len(await google.spaces())) == (1, 2)


async def test_a_room_that_takes_longer_than_vello_waits_is_finished_in_the_background(
    store_url: str, google: GoogleServer
) -> None:
    await google.user(pending_reads=6)
    async with served(store_url, google, ANSWER_DEADLINE="0.5") as service:
        await choose(service, await connected(service, feature="calendar"))
        data = record()
        link = str(await service.link(data))
        assert link.startswith(f"{PUBLIC}/m/")
        seen = await service.settled(data["id"], 30)
        (event,) = await google.events()
        assert seen["join_url"] == event["hangoutLink"]
        assert (await service.client.get(f"{link}/join")).headers["location"] == event["hangoutLink"]


async def test_an_unticked_box_is_named_with_its_cure(service: Running) -> None:
    page = await consented(service, feature="both", unticked=(EVENTS,))
    assert "does not allow this service to: make calendar entries" in page.text
    assert "leave every box ticked" in page.text
    (row,) = (await service.admin("GET", "/connections")).json()["connections"]
    assert (row["state"], "make calendar entries" in row["reason"]) == ("failing", True)
    assert (await consented(service, feature="both")).status_code == 200
    assert (await shown(service, row["id"]))["state"] == "ready"


async def test_what_is_optional_may_stay_unticked(service: Running, google: GoogleServer) -> None:
    id_ = await connected(service, feature="calendar", unticked=(ROOMS,))
    row = await shown(service, id_)
    assert (row["state"], row["missing_scopes"]) == ("ready", [])
    assert "Guests ask to be let into rooms" in row["warnings"][0]


async def test_who_does_not_agree_is_told_so(service: Running) -> None:
    assert "Access was denied" in (await consented(service, click="deny")).text


async def test_without_a_lasting_token_nothing_is_connected_and_the_page_says_what_to_do(
    store_url: str, google: GoogleServer
) -> None:
    """As when an operator's proxy takes `prompt` out of the address."""
    async with served(store_url, google) as service:
        await consented(service, click="deny")
        begun = await service.client.get(f"{CONNECT}/start?feature=space", headers=OURS)
        query = {**dict(parse_qsl(urlsplit(begun.headers["location"]).query)), "access_type": "online"}
        form = {**query, "user": ANNA, "decision": "allow", "granted": f"{AUTH}{SPACES}"}
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as person:
            back = await person.post(f"{google.url}/o/oauth2/v2/auth", data=form)
        page = await service.client.get(back.headers["location"])
        assert (page.status_code, "myaccount.google.com/permissions" in page.text) == (502, True)
        assert (await service.admin("GET", "/connections")).json()["connections"] == []


async def test_without_a_client_the_page_says_what_to_set(store_url: str) -> None:
    async with running(store_url) as service:
        await service.client.post(f"{PUBLIC}/login", data={"admin_token": ADMIN}, headers=OURS)
        answer = await service.client.get(CONNECT)
        assert "GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET" in answer.text


async def test_a_renewal_keeps_the_refresh_token_and_a_dead_one_says_why(
    service: Running, google: GoogleServer, store: Store
) -> None:
    id_ = await connected(service)
    await choose(service, id_)
    for _ in range(2):
        await due(store)
        assert (await service.link(record()) or "").startswith(google.url)
    await google.control("POST", "revoke", {"client_id": "user-app", "user": ANNA})
    await due(store)
    data = record()
    link = str(await service.link(data))
    assert link.startswith(f"{PUBLIC}/m/")
    await wait_until(lambda: is_in(service, id_, "reconnect"))
    assert "myaccount.google.com/permissions" in (await shown(service, id_))["reason"]
    assert await connected(service) == id_
    seen = await service.settled(data["id"])
    assert (await service.client.get(f"{link}/join")).headers["location"] == seen["join_url"]


async def due(store: Store) -> None:
    """The next call needs a new access token."""
    for key in await store.execute("KEYS", "vm:grant:*"):
        await store.execute("HSET", key, "expires", "0")


async def is_in(service: Running, id_: str, state: str) -> bool:
    return bool((await shown(service, id_))["state"] == state)


async def test_a_consent_screen_in_testing_is_recognised_after_seven_days(
    store_url: str, google: GoogleServer, store: Store
) -> None:
    async with served(store_url, google, "testing") as service:
        id_ = await connected(service)
        assert "consent screen is in Testing" in (await shown(service, id_))["warnings"][0]
        await choose(service, id_)
        await google.forward(WEEK)
        (key,) = await store.execute("KEYS", "vm:grant:*")
        await store.execute("HINCRBY", key, "connected", -WEEK)
        await store.execute("HINCRBY", key, "refreshed", -3_600_000)
        await due(store)
        await service.link(record())
        await wait_until(lambda: is_in(service, id_, "reconnect"))
        reason = (await shown(service, id_))["reason"]
        assert "seven days after it was connected" in reason
        assert "in Testing" in reason


async def test_one_account_of_two_offices_is_revoked_once_it_is_removed(service: Running, google: GoogleServer) -> None:
    first, ben = await connected(service), await connected(service, BEN)
    assert await connected(service) == first
    await choose(service, ben)
    assert (await service.admin("DELETE", f"/connections/{first}")).status_code == 204
    alive = {one["grant"]["user_id"] for one in (await google.state())["refresh_tokens"] if one["live"]}
    users = {one["email"]: one["id"] for one in (await google.state())["users"]}
    assert alive == {users[BEN]}


async def test_the_eleventh_room_of_a_minute_waits_its_turn(
    service: Running, google: GoogleServer, store: Store
) -> None:
    id_ = await connected(service)
    await choose(service, id_)
    links = [await service.link(record()) for _ in range(10)]
    assert (await shown(service, id_))["budget"] == {"me": 0}
    data = record()
    link = str(await service.link(data))
    assert link.startswith(f"{PUBLIC}/m/")
    assert len(await google.calls("spaces.create")) == len(links)
    seen = await service.record(data["id"])
    assert "10 new meetings a minute, and this one waits its turn" in seen["reason"]
    assert 0 < seen["next_attempt_at"] - datetime.now().timestamp() < 70


async def test_a_lost_answer_costs_an_empty_room_and_no_booking(service: Running, google: GoogleServer) -> None:
    await choose(service, await connected(service))
    await google.faults(lose_answers=1, only="spaces.create")
    data = record()
    await service.link(data)
    seen = await service.settled(data["id"], 20)
    assert (seen["state"], len(await google.spaces())) == ("ready", 2)
    assert any("nobody can find it" in line["text"] for line in seen["journal"])


async def test_a_service_account_makes_each_hosts_meetings_with_a_token_of_its_own(
    service: Running, google: GoogleServer, store: Store
) -> None:
    id_ = await robot(service, google)
    row = await shown(service, id_)
    assert (row["method"], row["account"]) == ("service_account", "robot@project-1.iam.gserviceaccount.com")
    assert "PRIVATE KEY" not in str(row)
    data = record()
    await service.link(data)
    await choose(service, id_, hosts={data["resource"]: BEN})
    for _ in range(3):
        await service.link(record(resource=data["resource"]))
    users = {one["email"]: one["id"] for one in (await google.state())["users"]}
    owners = [one["owner"] for one in await google.spaces()]
    assert [owner in (ANNA, users[ANNA]) for owner in owners] == [True, False, False, False]
    assert len(await google.calls("token")) == 2
    for key in await store.execute("KEYS", "vm:grant:*"):
        assert 0 < int(await store.execute("TTL", key)) <= 3600
        assert "ya29" not in str(await store.execute("HGETALL", key))
    stored = str(await store.execute("HGETALL", "vm:connections"))
    assert "PRIVATE KEY" not in stored


async def test_what_was_not_delegated_is_explained(service: Running, google: GoogleServer) -> None:
    await google.delegate(EVENTS)
    id_ = await robot(service, google)
    await service.link(record())
    await wait_until(lambda: is_in(service, id_, "failing"))
    assert "Domain-wide delegation" in (await shown(service, id_))["reason"]
    test = (await service.admin("POST", f"/connections/{id_}/test")).json()
    assert (test["ok"], "Domain-wide delegation" in test["steps"][-1]["text"]) == (False, True)


async def test_a_host_whom_google_does_not_know_is_the_admins_matter(service: Running, google: GoogleServer) -> None:
    id_ = await robot(service, google)
    await choose(service, id_, default_host="nobody@example.org")
    data = record()
    await service.link(data)

    async def told() -> bool:
        return "no person of this address" in ((await service.record(data["id"]))["reason"] or "")

    await wait_until(told)


@pytest.mark.parametrize("feature", ["space", "calendar", "both"])
async def test_a_connection_can_be_tried(service: Running, google: GoogleServer, feature: str) -> None:
    id_ = await connected(service, feature=feature)
    test = (await service.admin("POST", f"/connections/{id_}/test")).json()
    assert test["ok"], test
    assert (await google.events(), await open_rooms(google)) == ([], [])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"key": "no json", "subject": ANNA}, "key is no JSON"),
        ({"key": {"type": "authorized_user"}, "subject": ANNA}, "no key file of a service account"),
        ({"key": {"type": "service_account"}, "subject": ANNA}, "service account"),
        ({}, "service account"),
        ({"user_id": "1"}, "connected in a browser"),
    ],
)
async def test_a_wrong_key_is_refused_and_not_repeated(service: Running, fields: dict[str, Any], said: str) -> None:
    answer = await service.admin("POST", "/connections", json={"provider": "google_meet", **fields})
    assert (answer.status_code, said in answer.text) == (422, True), answer.text


async def test_an_office_that_goes_from_zoom_to_google_keeps_its_meetings_until_they_are_moved(
    store_url: str, google: GoogleServer, zoom: ZoomServer
) -> None:
    """New bookings go to Google, old ones follow their bookings on Zoom, and the hosted links follow in the end."""
    at_zoom = {"ZOOM_OAUTH_URL": zoom.oauth_url, "ZOOM_API_URL": zoom.api_url}
    app = {"account_id": "account-1", "client_id": "s2s-app", "client_secret": "s2s-secret"}
    async with served(store_url, google, **at_zoom) as service:
        made = (await service.admin("POST", "/connections", json={"provider": "zoom", **app})).json()
        muted = {"mute_upon_entry": True}
        await choose(service, made["id"], default_host=ANNA, link="hosted", options=muted)
        old, new = record(), record()
        link = str(await service.link(old))
        id_ = await connected(service, feature="both")
        chosen = {"link": "hosted", "options": {"mode": "calendar"}}
        await choose(service, id_, **chosen)
        await service.link(new)
        assert await service.link({**old, "time": START + 3600, "version": 2}) == link
        await service.settled(old["id"])
        (meeting,) = await zoom.meetings()
        assert datetime.fromisoformat(meeting["start_time"]).timestamp() == START + 3600
        assert (await service.client.get(f"{link}/join")).headers["location"] == meeting["join_url"]
        assert len(await google.events()) == 1
        await choose(service, id_, move=True, **chosen)

        async def empty() -> bool:
            return await zoom.meetings() == []

        await wait_until(empty, 20)
        seen = await service.settled(old["id"])
        assert seen["join_url"] in [one["hangoutLink"] for one in await google.events()]
        assert (await service.client.get(f"{link}/join")).headers["location"] == seen["join_url"]
        assert await service.link({**old, "time": START + 3600, "version": 2}) == link


async def test_a_service_accounts_key_may_come_from_a_file(
    store_url: str, google: GoogleServer, tmp_path: Path
) -> None:
    """A new key in the same file is taken at the next start."""
    file = tmp_path / "key.json"
    file.write_text(json.dumps(await google.key()))
    given = {"GOOGLE_SERVICE_ACCOUNT_KEY_FILE": str(file), "GOOGLE_SERVICE_ACCOUNT_SUBJECT": ANNA}
    async with served(store_url, google, **given) as service:
        row = await shown(service, "google")
        assert (row["provider"], row["method"]) == ("google_meet", "service_account")
        await choose(service, "google")
        assert await service.link(record()) in await open_rooms(google)
    file.write_text(json.dumps({**await google.key(), "client_email": "other@project-1.iam.gserviceaccount.com"}))
    async with served(store_url, google, **given) as service:
        assert (await shown(service, "google"))["account"] == "other@project-1.iam.gserviceaccount.com"
    file.write_text("no key")
    with pytest.raises(ConfigError, match="GOOGLE_SERVICE_ACCOUNT_KEY: key is no JSON") as caught:
        async with served(store_url, google, **given):
            pass
    assert "no key" not in str(caught.value)
