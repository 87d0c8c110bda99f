"""Connecting an account, from the login to the meeting, against an OAuth server that is not ours."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import pytest

from providers.base import ProviderInfo, Scope
from service.grants import Grants
from service.store import Store
from service.vault import Vault
from tests.acme import ACME, OAUTH
from tests.authority import CLIENT, SECRET, Authority, signed_in
from tests.events import record
from tests.ports import NO_TLS
from tests.running import ADMIN, PUBLIC, Running, running
from tests.servers import MemoryServer, RawServer, http
from tests.stores import StoreServer
from tests.test_secrets import ETERNAL, contents
from tests.test_settings import become

CONNECT = f"{PUBLIC}/connect/zoom"
CALLBACK = f"{CONNECT}/callback"
OURS = {"Sec-Fetch-Site": "same-origin"}
OFFICE = {"link": "direct"}


class Made(NamedTuple):
    """A connection, and whose it is."""

    id: str
    company: str


@pytest.fixture
async def authority(meeting_server: MemoryServer) -> AsyncIterator[Authority]:
    async with Authority(CALLBACK, meetings_url=meeting_server.url) as authority:
        yield authority


@asynccontextmanager
async def served(
    store_url: str, authority: Authority, provider: ProviderInfo = ACME, **environment: str
) -> AsyncIterator[Running]:
    """A service whose one provider is Acme."""
    given: dict[str, Any] = {**authority.environment, **environment}
    async with running(store_url, providers={"zoom": provider}, **given) as service:
        yield service


@pytest.fixture
async def service(store_url: str, authority: Authority) -> AsyncIterator[Running]:
    async with served(store_url, authority) as service:
        yield service


async def log_in(service: Running, token: str = ADMIN, **headers: str) -> httpx.Response:
    """The form, sent."""
    fields = {"admin_token": token, "next": "/connect/zoom"}
    return await service.client.post(f"{PUBLIC}/login", data=fields, headers=headers or OURS)


def inline(page: str) -> list[str]:
    """Scripts that are in a page itself, and elements that begin one; those in our files are not meant."""
    return re.findall(r"<script(?! src=\"/static/[a-z.]+\" defer></script>)[^>]*>|\son[a-z]+=|<style|\sstyle=", page)


async def begun(service: Running) -> str:
    """The authorization request after login and click."""
    assert (await log_in(service)).status_code == 303
    answer = await service.client.get(f"{CONNECT}/start", headers=OURS)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def connected(service: Running, login: str = "anna") -> str:
    """All of it; answers the connection's id."""
    answer = await service.client.get(await signed_in(await begun(service), login))
    assert answer.status_code == 303, answer.text
    shown = await service.client.get(answer.headers["location"])
    assert (shown.status_code, "is connected" in shown.text) == (200, True), shown.text
    return str(httpx.URL(answer.headers["location"]).params["connected"])


async def shown(service: Running, connection: str) -> dict[str, Any]:
    """A connection as the API shows it."""
    return dict((await service.admin("GET", f"/connections/{connection}")).json())


async def choose(service: Running, connection: str) -> None:
    """Make it every office's choice."""
    chosen = await service.admin("PUT", "/offices/default", json={**OFFICE, "connection": connection})
    assert chosen.status_code == 200, chosen.text


async def test_from_the_login_to_the_meeting(service: Running, meeting_server: MemoryServer) -> None:
    connection = await connected(service)
    row = await shown(service, connection)
    assert (row["provider"], row["method"], row["account"]) == ("zoom", "oauth", "anna@example.org")
    assert (row["state"], row["missing_scopes"]) == ("ready", [])
    assert set(row["scopes"]) == {"openid", "email", "meeting:write:meeting"}
    await choose(service, connection)
    assert await service.link(record())
    assert len(await meeting_server.meetings()) == 1


async def test_an_account_is_connected_for_the_company_that_was_named_and_stays_with_it(
    service: Running, store: Store
) -> None:
    north, south = str(uuid.uuid4()), str(uuid.uuid4())
    await become(service, store, north, south)
    page = (await service.client.get(CONNECT)).text
    assert f"/connect/zoom/start?company={south}" in page
    rows: list[Made] = []
    for query in (f"company={south}", ""):
        if not query:  # an admin of all connects it again
            await log_in(service)
            query = f"again={rows[0].id}"
        asked = (await service.client.get(f"{CONNECT}/start?{query}", headers=OURS)).headers["location"]
        answer = await service.client.get(await signed_in(asked, "anna"))
        assert answer.status_code == 303, answer.text
        connection = str(httpx.URL(answer.headers["location"]).params["connected"])
        stored = json.loads(await store.execute("HGET", "vm:connections", connection))
        rows.append(Made(connection, stored["company"]))
    assert rows == [Made(rows[0].id, south)] * 2


async def test_the_request_is_what_the_standards_ask_for(service: Running, authority: Authority) -> None:
    url = httpx.URL(await begun(service))
    asked = dict(url.params)
    assert str(url).startswith(f"{authority.url}/oauth/authorize?")
    assert (asked["response_type"], asked["redirect_uri"]) == ("code", CALLBACK)
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) >= 43
    assert len(asked["code_challenge"]) == 43
    assert "openid" in asked["scope"].split()


async def test_every_page_is_cached_by_nobody_and_runs_nothing_that_came_with_it(service: Running) -> None:
    for answer in (
        await service.client.get(CONNECT),
        await log_in(service, "wrong"),
        await log_in(service),
        await service.client.get(CONNECT),
        await service.client.get(f"{CONNECT}/start", headers=OURS),
        await service.client.get(f"{CALLBACK}?state=x&code=y"),
        await service.client.get(f"{PUBLIC}/connect/nobody"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "same-origin"
        assert inline(answer.text) == []


async def test_the_session_is_a_cookie_that_pages_cannot_read(store_url: str, authority: Authority) -> None:
    async with served(store_url, authority) as service:
        cookie = (await log_in(service)).headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "secure" not in cookie
    async with served(store_url, authority, PUBLIC_URL="https://meetings.example.org") as service:
        form = {"admin_token": ADMIN}
        answer = await service.client.post("https://meetings.example.org/login", data=form, headers=OURS)
        assert answer.headers["set-cookie"].startswith("__Host-")
        assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"X": "y"}])
async def test_a_login_that_another_site_sends_is_refused(service: Running, headers: dict[str, str]) -> None:
    answer = await log_in(service, **headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_an_old_browser_says_its_origin(service: Running) -> None:
    assert (await log_in(service, Origin=PUBLIC)).status_code == 303


async def test_nobody_guesses_the_token(service: Running) -> None:
    for _ in range(10):
        assert (await log_in(service, "wrong")).status_code == 403
    answer = await log_in(service)
    assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)


async def test_without_a_session_or_from_elsewhere_nothing_begins(service: Running) -> None:
    asked = await service.client.get(f"{CONNECT}/start", headers=OURS)
    assert asked.headers["location"] == "/login?next=/connect/zoom/start"
    await log_in(service)
    foreign = await service.client.get(f"{CONNECT}/start", headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.headers["location"] == "/connect/zoom"


async def refused(service: Running, url: str, status: int, words: str) -> None:
    """The way back ends on a page with these words, and nothing is connected."""
    answer = await service.client.get(url)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert 'href="/connect/zoom"' in answer.text
    assert (await service.admin("GET", "/connections")).json()["connections"] == []


async def test_who_does_not_agree_is_told_so(service: Running) -> None:
    back = await signed_in(await begun(service), "anna", agree=False)
    await refused(service, back, 403, "Access was denied")


async def test_a_way_back_works_once(service: Running) -> None:
    back = await signed_in(await begun(service), "anna")
    assert (await service.client.get(back)).status_code == 303
    again = await service.client.get(back)
    assert (again.status_code, "used already" in again.text) == (409, True)


async def test_two_clicks_on_the_way_back_at_once_connect_once(service: Running, authority: Authority) -> None:
    back = await signed_in(await begun(service), "anna")
    answers = await asyncio.gather(*[service.client.get(back) for _ in range(5)])
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409, 409]
    assert len(await authority.log("authorization_code")) == 1


async def test_a_state_that_is_unknown_or_too_old_is_refused(service: Running) -> None:
    await log_in(service)
    await refused(service, f"{CALLBACK}?state=nobody&code=x", 410, "too long")
    await refused(service, f"{CALLBACK}?code=x", 400, "Nothing to do here")


async def test_another_browser_cannot_use_a_state(service: Running) -> None:
    """Neither one without a session nor one with its own: an account is never connected for somebody else."""
    back = await signed_in(await begun(service), "mallory")
    service.client.cookies.clear()
    await refused(service, back, 403, "log in and start again")
    await log_in(service)
    await refused(service, back, 403, "somebody else")


async def test_a_code_of_another_request_is_refused(service: Running) -> None:
    """The code is stolen and put into one's own way back: the verifier does not fit."""
    stolen = httpx.URL(await signed_in(await begun(service), "anna")).params["code"]
    mine = httpx.URL(await begun(service)).params["state"]
    await refused(service, f"{CALLBACK}?state={mine}&code={stolen}", 410, "too long")


async def test_a_wrong_client_secret_is_the_operators_problem(store_url: str, authority: Authority) -> None:
    async with served(store_url, authority, ZOOM_CLIENT_SECRET="not-the-secret") as service:
        back = await signed_in(await begun(service), "anna")
        await refused(service, back, 502, "operator")


async def test_a_vendor_that_is_down_is_asked_again_later(store_url: str, authority: Authority) -> None:
    async with (
        RawServer(http(503)) as down,
        served(store_url, authority, ZOOM_OAUTH_URL=f"{down.url}/oauth") as service,
    ):
        state = httpx.URL(await begun(service)).params["state"]
        await refused(service, f"{CALLBACK}?state={state}&code=x", 503, "Try again soon")


@pytest.mark.parametrize("code", ["invalid_scope", "<script>"])
async def test_what_a_vendor_says_is_shown_as_a_word_or_not_at_all(service: Running, code: str) -> None:
    state = httpx.URL(await begun(service)).params["state"]
    answer = await service.client.get(CALLBACK, params={"state": state, "error": code})
    assert (answer.status_code, inline(answer.text)) == (502, [])


async def test_without_a_client_the_page_says_what_to_set(store_url: str) -> None:
    async with running(store_url, providers={"zoom": ACME}) as service:
        await log_in(service)
        answer = await service.client.get(CONNECT)
        assert answer.status_code == 404
        assert "ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET" in answer.text
        assert CALLBACK in answer.text


async def test_while_the_store_is_down_the_page_says_so(authority: Authority) -> None:
    async with StoreServer() as store, served(store.url, authority) as service:
        store.kill()
        assert (await service.client.get(CONNECT, headers={"Cookie": "vello_meetings=x"})).status_code == 503
        await store.start()


async def test_connecting_again_keeps_the_connection_and_wakes_what_waits(
    service: Running, store: Store, authority: Authority, meeting_server: MemoryServer
) -> None:
    """The account's access ends; what is booked meanwhile gets an honest link, and its meeting after reconnecting."""
    connection = await connected(service)
    await choose(service, connection)
    await end_access(store, authority)
    waiting = [record() for _ in range(3)]
    links = [await service.link(data) for data in waiting]
    assert all(link and link.startswith(f"{PUBLIC}/m/") for link in links)
    row = await shown(service, connection)
    assert row["state"] == "reconnect"
    assert CONNECT in row["reason"]
    assert await connected(service) == connection
    for data in waiting:
        assert (await service.settled(data["id"]))["state"] == "ready"
    assert (await shown(service, connection))["state"] == "ready"
    assert [await service.link(data) for data in waiting] == links
    assert len(await meeting_server.meetings()) == 3


async def tokens(store: Store) -> tuple[str, str]:
    """The access token and the refresh token of the one grant there is."""
    (key,) = await store.execute("KEYS", "vm:grant:*")
    grants = Grants(store, Vault([("k1", bytes(32))]))
    access_token, refresh_token = grants.open(await grants.look(key.removeprefix("vm:grant:")), "zoom")
    assert refresh_token
    return access_token, refresh_token


async def end_access(store: Store, authority: Authority) -> None:
    """The person removes the app at the vendor, and the next token is due."""
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as client:
        for token in reversed(await tokens(store)):
            await client.post(f"{authority.url}/oauth/revoke", data={"token": token}, auth=(CLIENT, SECRET))
    await store.execute("HSET", (await store.execute("KEYS", "vm:grant:*"))[0], "expires", "0")


async def test_a_second_account_is_a_second_connection(service: Running) -> None:
    one, two = await connected(service, "anna"), await connected(service, "bert")
    assert one != two
    assert (await shown(service, two))["account"] == "bert@example.org"


async def test_disconnecting_is_refused_while_in_use_and_revokes_at_the_vendor(
    service: Running, store: Store, authority: Authority
) -> None:
    connection = await connected(service)
    await choose(service, connection)
    answer = await service.admin("DELETE", f"/connections/{connection}")
    assert (answer.status_code, "default" in answer.json()["error"]["message"]) == (409, True)
    access_token, _ = await tokens(store)
    assert await lets_in(authority, access_token)
    assert (await service.admin("DELETE", f"/connections/{connection}", force="true")).status_code == 204
    assert not await lets_in(authority, access_token)


async def lets_in(authority: Authority, access_token: str) -> bool:
    """Whether the vendor's API accepts a token."""
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as client:
        headers = {"Authorization": f"Bearer {access_token}"}
        return (await client.get(f"{authority.url}/v2/users/me", headers=headers)).status_code == 200


async def test_a_removed_account_can_be_connected_again(service: Running) -> None:
    connection = await connected(service)
    assert (await service.admin("DELETE", f"/connections/{connection}")).status_code == 204
    page = await service.client.get(f"{CONNECT}?connected={connection}")
    assert (page.status_code, "is gone" in page.text) == (404, True)
    assert (await shown(service, await connected(service)))["state"] == "ready"


async def test_an_account_of_the_client_before_keeps_its_connection(service: Running, store: Store) -> None:
    """The operator made another app: the old grant is of no use, the connection is."""
    connection = await connected(service)
    (key,) = await store.execute("KEYS", "vm:grant:*")
    row = json.loads(await store.execute("HGET", "vm:connections", connection))
    await store.execute("RENAME", key, "vm:grant:of-the-client-before")
    await store.execute("HSET", "vm:connections", connection, json.dumps({**row, "grant": "of-the-client-before"}))
    assert await connected(service) == connection
    assert await store.execute("KEYS", "vm:grant:*") == [key]


async def test_missing_scopes_are_named_with_what_to_tick(store_url: str, authority: Authority) -> None:
    wanted = Scope("record meetings", ("recording:write", "recording:write:admin"))
    strict = replace(ACME, oauth=replace(OAUTH, scopes=(*OAUTH.scopes, wanted)))
    async with served(store_url, authority, strict) as service:
        answer = await service.client.get(await signed_in(await begun(service), "anna"))
        page = (await service.client.get(answer.headers["location"])).text
        assert "To record meetings, tick one of: recording:write, recording:write:admin" in page
        row = await shown(service, httpx.URL(answer.headers["location"]).params["connected"])
        assert (row["state"], row["missing_scopes"]) == ("failing", ["recording:write"])
        assert "record meetings" in row["reason"]


@pytest.mark.parametrize("status", [403, 503])
async def test_an_account_that_cannot_be_named_is_not_connected(
    store_url: str, authority: Authority, status: int
) -> None:
    async with RawServer(http(status)) as api, served(store_url, authority, ZOOM_API_URL=api.url) as service:
        back = await signed_in(await begun(service), "anna")
        await refused(service, back, 503 if status == 503 else 502, "Nothing was connected")


async def test_what_waits_is_woken_although_a_late_run_said_otherwise(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    """A run that began before the account was connected again parks its record after that."""
    connection = await connected(service)
    await choose(service, connection)
    await meeting_server.faults(fail=[{"status": 401, "times": 2}])
    data = record()
    await service.link(data)
    assert (await shown(service, connection))["state"] == "reconnect"
    late = {"state": "reconnect", "reason": "late", "checked_at": 1}
    await store.execute("HSET", "vm:connections:health", connection, json.dumps(late))
    await service.app.app.state.upkeep.round()
    assert (await service.settled(data["id"]))["state"] == "ready"
    assert (await shown(service, connection))["state"] == "ready"


async def test_a_grant_that_nobody_uses_is_renewed(service: Running, store: Store, authority: Authority) -> None:
    connection = await connected(service)
    (key,) = await store.execute("KEYS", "vm:grant:*")
    await service.app.app.state.upkeep.round()
    assert await authority.log() == []
    await store.execute("HINCRBY", key, "refreshed", -8 * 86_400_000)
    await asyncio.gather(*[service.app.app.state.upkeep.round() for _ in range(3)])
    assert [line["status"] for line in await authority.log()] == [200]
    await store.execute("HINCRBY", key, "refreshed", -8 * 86_400_000)
    for token in reversed(await tokens(store)):
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as client:
            await client.post(f"{authority.url}/oauth/revoke", data={"token": token}, auth=(CLIENT, SECRET))
    await service.app.app.state.upkeep.round()
    assert (await shown(service, connection))["state"] == "reconnect"


async def test_accounts_that_can_never_be_renewed_keep_nobody_behind_them_from_it(
    service: Running, store: Store, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await connected(service, "anna")
    (stuck,) = await store.execute("KEYS", "vm:grant:*")
    await connected(service, "bert")
    assert (await service.admin("GET", "/connections")).json()["connections"][0]["id"] == first
    await store.execute("HSET", stuck, "client_id", "another app")
    for key in await store.execute("KEYS", "vm:grant:*"):
        await store.execute("HINCRBY", key, "refreshed", -8 * 86_400_000)
    monkeypatch.setattr("service.upkeep.RENEWALS", 1)
    for _ in range(40):
        await service.app.app.state.upkeep.round()
    assert [line["status"] for line in await authority.log()] == [200]


async def test_an_app_of_ones_own_account_needs_no_browser(
    service: Running, store: Store, authority: Authority, meeting_server: MemoryServer
) -> None:
    app = {"account_id": "our-account", "client_id": CLIENT, "client_secret": SECRET}
    fields = {"provider": "zoom", "method": "server_to_server", "url": meeting_server.url, **app}
    made = await service.admin("POST", "/connections", json=fields)
    assert made.status_code == 201, made.text
    await choose(service, made.json()["id"])
    assert all(await asyncio.gather(*[service.link(record()) for _ in range(5)]))
    assert [line["status"] for line in await authority.log("account_credentials")] == [200]
    row = await shown(service, made.json()["id"])
    assert (row["method"], row["scopes"], row["missing_scopes"]) == (
        "server_to_server",
        ["meeting:write:meeting"],
        ["openid", "email"],
    )
    assert SECRET not in made.text
    await service.admin("DELETE", f"/connections/{row['id']}", force="true")
    assert await store.execute("KEYS", "vm:grant:*") == []


async def test_nothing_secret_gets_out_and_every_key_lives_for_a_time(
    authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every page and line of a life with errors in it; the store in clear, its files included."""
    async with StoreServer() as server:
        store = await Store.open(server.url)
        async with served(server.url, authority) as service:
            url = await begun(service)
            back = await signed_in(url, "anna")
            pages = [(await service.client.get(back)).text, (await service.client.get(back)).text]
            connection = (await service.admin("GET", "/connections")).json()["connections"][0]["id"]
            held = [*await tokens(store)]
            await choose(service, connection)
            await end_access(store, authority)
            pages.append(str(await service.link(record())))
            await connected(service)
            held += await tokens(store)
            pages += [(await service.client.get(f"{CONNECT}?connected={connection}")).text]
            pages += [(await service.admin("GET", "/connections")).text]
            sessions = [cookie.value for cookie in service.client.cookies.jar]
        keys = await store.execute("KEYS", "*")
        eternal = [key for key in keys if int(await store.execute("TTL", key)) == -1]
        stored = contents(server).decode(errors="replace")
        await store.close()
    logged = "".join(capfd.readouterr())
    assert "account_connected" in logged
    assert [key for key in eternal if not ETERNAL.fullmatch(key)] == []
    codes = [httpx.URL(back).params["code"], httpx.URL(url).params["state"]]
    secrets = {*held, *codes, *filter(None, sessions), SECRET, ADMIN}
    assert len(secrets) >= 9
    for place in (stored, logged, "\n".join(pages)):
        assert [secret for secret in secrets if secret in place] == []


async def test_the_api_sends_browsers_accounts_to_the_browser(service: Running) -> None:
    answer = await service.admin("POST", "/connections", json={"provider": "zoom", "url": "http://127.0.0.1:1"})
    assert (answer.status_code, CONNECT in answer.json()["error"]["message"]) == (422, True)
