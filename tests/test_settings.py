"""The settings as an attacker and as other admins meet them: sessions, companies, what others wrote, what is secret."""

import hashlib
import json
import re
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from providers import memory
from providers.base import MeetingProvider, ProviderInfo, ProviderSettings
from service.changes import Changes
from service.choices import Choices
from service.connections import Connection, Connections
from service.farewell import Farewell, Farewells
from service.grants import Grants
from service.ledger import Ledger
from service.oauth import Broker
from service.observer import Observer
from service.settings import Settings
from service.store import Store
from service.vault import Vault
from service.vello import sign
from service.web.session import Person, Sessions
from tests.events import body, record
from tests.running import ADMIN, PUBLIC, TOKEN, Running, running
from tests.servers import MemoryServer
from tests.test_login import OURS, form_token, log_in
from tests.waiting import wait_until

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7919*7907}}"
AWAY = "http://127.0.0.1:9"  # nobody answers there
OPEN = {
    "/login",
    "/login/oidc",
    "/login/oidc/callback",
    "/logout",
    "/language",
    "/livez",
    "/readyz",
    "/metrics",
    "/errors",
}
NAMES = {"office": "default", "record": str(uuid.UUID(int=7)), "connection": "x", "company": "x", "provider": "jitsi"}


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        yield service


def routes(service: Running) -> list[tuple[str, str]]:
    """Every page of admins and every form they send."""
    found = []
    for route in service.app.app.router.routes:
        if isinstance(route, Route) and not re.match(r"/(m|h|api|webhooks|static|brand)/", route.path):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                found.append((method, re.sub(r"\{(\w+)(:\w+)?\}", lambda name: NAMES.get(name[1], "x"), route.path)))
    return [(method, path) for method, path in found if path not in OPEN]


async def page(service: Running, path: str, **headers: str) -> httpx.Response:
    return await service.client.get(f"{PUBLIC}{path}", headers=headers)


async def send(service: Running, path: str, **fields: str) -> httpx.Response:
    """A form from a page of ours, with the session's token."""
    token = await form_token(service)
    return await service.client.post(f"{PUBLIC}{path}", data={"form_token": token, **fields}, headers=OURS)


async def become(service: Running, store: Store, *companies: str) -> None:
    """Log in as an admin of some companies only."""
    response = Response()
    scope: dict[str, Any] = {"type": "http", "headers": [], "method": "GET", "path": "/"}
    await Sessions(store, PUBLIC).begin(Request(scope), response, Person("limited@example.org", companies))
    service.client.cookies.clear()
    service.client.cookies.set("vello_meetings", response.headers["set-cookie"].split("=")[1].split(";")[0])


async def linked(service: Running, data: dict[str, Any]) -> dict[str, Any]:
    assert await service.link(data)
    return data


async def process(store: Store) -> Farewells:
    """Another process's view of what is being taken out of use, two bookings a step."""
    vault = Vault([("k1", bytes(32))])  # the key of `running`
    known = {"memory": memory.PROVIDER}

    def connect(info: ProviderInfo, settings: ProviderSettings, _row: Connection) -> MeetingProvider:
        raise AssertionError(info.name)  # it asks no provider anything

    settings = Settings(Choices(store), Connections(store, vault, known, connect))
    await settings.load()
    ledger = Ledger(store, vault, 30)
    broker = Broker(Grants(store, vault), {}, PUBLIC, Observer())
    return Farewells(store, ledger, settings, broker, Changes(store), scan=2)


async def left_it(service: Running, connection: str) -> bool:
    """Whether a connection that is being taken out of use is gone."""
    await service.admin("GET", f"/connections/{connection}/disconnect")
    return (await service.admin("GET", f"/connections/{connection}")).status_code == 404


def test_the_script_of_others_is_the_one_that_was_taken() -> None:
    """npm's htmx.org 2.0.11, dist/htmx.min.js."""
    script = Path(__file__).parent.parent / "service" / "web" / "static" / "htmx.min.js"
    digest = hashlib.sha256(script.read_bytes()).hexdigest()
    assert digest == "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"


async def test_nobody_without_a_session_sees_or_does_anything(service: Running) -> None:
    seen = routes(service)
    assert len(seen) > 25
    for method, path in seen:
        answer = await service.client.request(method, f"{PUBLIC}{path}", headers=OURS)
        assert answer.status_code in (303, 401, 403), (method, path)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/login"), (method, path)
        assert TOKEN not in answer.text


async def test_no_form_of_another_site_does_anything(service: Running) -> None:
    await log_in(service)
    token = await form_token(service)
    for method, path in routes(service):
        if method == "POST":
            for headers in ({"Sec-Fetch-Site": "same-site"}, {"Origin": "null"}, {}):
                answer = await service.client.post(f"{PUBLIC}{path}", data={"form_token": token}, headers=headers)
                assert answer.status_code == 403, path


async def test_every_page_forbids_what_it_does_not_need(service: Running) -> None:
    await log_in(service)
    for path in (
        "/",
        "/offices",
        "/offices/default",
        "/bookings",
        "/connections",
        "/companies",
        "/deliveries",
        "/errands",
        "/privacy",
        "/nowhere/x",
        "/login",
    ):
        answer = await page(service, path)
        policy = answer.headers.get("content-security-policy", "")
        if path != "/nowhere/x":
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"


async def test_a_connections_page_says_how_many_bookings_wait_for_it(
    service: Running, meeting_server: MemoryServer
) -> None:
    connection = await service.connect(meeting_server.url)
    await meeting_server.faults(fail=[{"status": 401, "times": 9}], only="create")
    await log_in(service)
    assert "Waiting for it" not in (await page(service, f"/connections/{connection}")).text
    for _ in range(2):
        await service.link(record())
    shown = (await page(service, f"/connections/{connection}")).text
    assert "<dt>Waiting for it</dt><dd>2 bookings</dd>" in shown


async def test_nothing_that_others_wrote_becomes_part_of_a_page(service: Running, meeting_server: MemoryServer) -> None:
    """Vello's fields, names of offices, connections and companies, what a provider answered, what is asked for."""
    await log_in(service)
    made = await service.admin("POST", "/connections", json={"provider": "memory", "url": meeting_server.url})
    connection = made.json()["id"]
    await send(service, f"/connections/{connection}", do="rename", name=EVIL)
    choice = {"connection": connection, "name": EVIL, "tag": EVIL, "title": EVIL.replace("{", "(").replace("}", ")")}
    data = record(record_number=EVIL, language=EVIL)
    await service.say("record.update_metadata", data)
    for office in ("default", data["office"]):
        assert (await service.admin("PUT", f"/offices/{office}", json=choice)).status_code == 200
    await service.admin("POST", "/companies", json={"id": str(uuid.uuid4()), "name": EVIL})
    paths = ["/", "/offices", f"/offices/{data['office']}", "/bookings", f"/bookings/{data['id']}", "/connections"]
    paths += [f"/connections/{connection}", f"/connections/{connection}/leave", "/companies"]
    asked = "&".join(
        f"{name}={EVIL}" for name in ("record", "type", "verdict", "since", "connection", "kind", "failing")
    )
    lines = (await service.admin("GET", "/deliveries")).json()["deliveries"]
    paths += [f"/deliveries?{asked}", "/deliveries", *(f"/deliveries/{line['id']}" for line in lines)]
    for path in [*paths, f"/bookings?q={EVIL}&day={EVIL}", f"/connect/{EVIL}", f"/login?next={EVIL}"]:
        answer = await page(service, path)
        assert "<script>alert" not in answer.text, path
        assert "<img" not in answer.text, path
        assert str(7919 * 7907) not in answer.text, path  # no template was carried out
    refused = await send(service, "/companies", id=EVIL, name=EVIL, endpoint_url=EVIL)
    assert (refused.status_code, "<script>alert" in refused.text) == (422, False)


async def test_no_secret_is_ever_shown(service: Running, store: Store) -> None:
    await log_in(service)
    secret = "s" * 20 + "-of-a-token-server-and-longer"
    made = await send(
        service,
        "/connections/new/jitsi",
        **{"settings.url": AWAY, "settings.app_id": "app", "secret.settings.secret": secret},
        anyway="yes",
    )
    assert made.status_code == 303, made.text
    wrong = await send(service, "/connections/new/jitsi", **{"settings.url": "x", "secret.settings.secret": secret})
    assert wrong.status_code == 422
    where = made.headers["location"].partition("?")[0]
    pages = [wrong.text] + [(await page(service, path)).text for path in (where, "/connections", f"{where}/leave")]
    await service.say("connection.test", {})
    pages += [(await page(service, "/")).text]
    assert not [text for text in pages if secret in text or ADMIN in text or TOKEN in text]
    changes = str(await store.execute("LRANGE", "vm:changes", 0, -1))
    assert secret not in changes


async def test_a_companys_token_is_shown_once_and_two_are_valid_while_it_is_changed(service: Running) -> None:
    await log_in(service)
    company = str(uuid.uuid4())
    added = await send(service, "/companies", id=company, name="North")
    first = re.search(r'id="token"[^>]*value="([^"]+)"', added.text)
    renewed = await send(service, f"/companies/{company}", do="renew")
    second = re.search(r'id="token"[^>]*value="([^"]+)"', renewed.text)
    assert first
    assert second
    assert first[1] not in renewed.text
    assert second[1] not in (await page(service, "/companies")).text
    url, raw = f"{PUBLIC}/webhooks/vello/{company}", body("connection.test", {})

    async def taken(token: str) -> bool:
        answer = await service.client.post(url, content=raw, headers={"Vello-Signature": sign(token, url, raw)})
        return answer.status_code == 200

    assert [await taken(first[1]), await taken(second[1])] == [True, True]
    await send(service, f"/companies/{company}", do="settle")
    assert [await taken(first[1]), await taken(second[1])] == [False, True]


async def test_an_admin_of_one_company_sees_nothing_of_another(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    north, south = str(uuid.uuid4()), str(uuid.uuid4())
    token = "token-of-the-companies"
    for company in (north, south):
        await service.admin("POST", "/companies", json={"id": company, "name": company[:4], "tokens": [token]})
    shared = await service.connect(meeting_server.url)
    bookings = {}
    for company in (north, south):
        bookings[company] = data = record(company=company)
        url = f"{PUBLIC}/webhooks/vello/{company}"
        assert (await service.post(body("record.update_metadata", data), url=url, token=token)).status_code == 200
    await become(service, store, north)
    mine, other = bookings[north], bookings[south]
    for path, data in ((f"/bookings/{mine['id']}", mine), (f"/offices/{mine['office']}", mine), ("/bookings", mine)):
        answer = await page(service, path)
        assert answer.status_code == 200, path
        assert data["id"] in answer.text or data["office"] in answer.text
        assert other["id"] not in answer.text
        assert other["office"] not in answer.text
    for path in (
        f"/bookings/{other['id']}",
        f"/bookings/{other['id']}/host",
        f"/offices/{other['office']}",
        "/offices/default",
        f"/connections/{shared}",
        f"/connections/{shared}/leave",
    ):
        assert (await page(service, path)).status_code == 404, path
    for path in ("/companies",):
        assert (await page(service, path)).status_code == 403, path
    assert (await page(service, "/")).headers["location"] == "/bookings"
    assert shared not in (await page(service, "/connections")).text
    found = re.search(r'name="form_token" value="([^"]+)"', (await page(service, f"/bookings/{mine['id']}")).text)
    assert found

    async def sent(path: str, **fields: str) -> int:
        given = {"form_token": found[1], **fields}
        return (await service.client.post(f"{PUBLIC}{path}", data=given, headers=OURS)).status_code

    assert await sent(f"/bookings/{other['id']}", do="release") == 404
    assert await sent(f"/offices/{other['office']}", do="save") == 404
    assert await sent(f"/offices/{mine['office']}", do="save", connection=shared) == 422
    assert await sent(f"/connections/{shared}/leave", how="keep") == 404
    assert await sent(f"/connections/{shared}", do="test") == 404
    assert await sent("/companies", id=str(uuid.uuid4()), name="x") == 403
    assert await sent(f"/companies/{south}", do="remove") == 403
    assert await sent("/start/book") == 403
    fields = {"settings.url": AWAY, "name": "North's", "anyway": "yes"}
    assert await sent("/connections/new/jitsi", **fields) == 303
    assert "North&#39;s" in (await page(service, "/connections")).text
    await become(service, store, south)
    assert "North&#39;s" not in (await page(service, "/connections")).text


async def test_what_an_admin_of_everything_gave_an_office_stays_when_its_own_admin_saves(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    north, token = str(uuid.uuid4()), "token-of-north"
    await service.admin("POST", "/companies", json={"id": north, "name": "North", "tokens": [token]})
    shared, data = await service.connect(meeting_server.url), record(company=north)
    url, office = f"{PUBLIC}/webhooks/vello/{north}", data["office"]
    assert (await service.post(body("record.update_metadata", data), url=url, token=token)).status_code == 200
    await service.admin("PUT", f"/offices/{office}", json={"connection": shared})
    await become(service, store, north)
    assert "was removed" not in (await page(service, "/offices")).text
    form = (await page(service, f"/offices/{office}")).text
    assert f'<option value="{shared}" selected>' in form
    found = re.search(r'name="form_token" value="([^"]+)"', form)
    assert found
    typed = {"form_token": found[1], "do": "save", "name": "North office", "time_zone": "UTC", "connection": shared}
    version = re.search(r'name="version" value="([^"]+)"', form)
    assert version
    sent = {**typed, "version": version[1]}
    assert (await service.client.post(f"{PUBLIC}/offices/{office}", data=sent, headers=OURS)).status_code == 303
    row = (await service.admin("GET", f"/offices/{office}")).json()
    assert (row["name"], row["connection"]) == ("North office", shared)


async def company_of(service: Running, company: str, office: str | None = None) -> dict[str, Any]:
    """Another company, and a booking of it that Vello told of."""
    token = "token-of-the-company"
    made = {"id": company, "name": f"Company {company[:4]}", "tokens": [token]}
    assert (await service.admin("POST", "/companies", json=made)).status_code == 201
    data = record(company=company, **({"office": office} if office else {}))
    url = f"{PUBLIC}/webhooks/vello/{company}"
    assert (await service.post(body("record.update_metadata", data), url=url, token=token)).status_code == 200
    return data


async def test_what_is_chosen_for_all_offices_is_for_admins_of_all_companies(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    north = str(uuid.uuid4())
    shared = await service.connect(meeting_server.url)
    secret = {"connection": shared, "default_host": "boss@example.org", "tag": "our-tag", "title": "Our title"}
    await service.admin("PUT", "/offices/default", json=secret)
    await meeting_server.faults(fail=[{"status": 401}] * 9)
    data = await company_of(service, north)
    await become(service, store, north)
    hidden = ("boss@", "our-tag", "Our title", f"/connections/{shared}", 'href="/offices/default"')
    office, booking = [
        (await page(service, f"/{at}")).text for at in (f"offices/{data['office']}", f"bookings/{data['id']}")
    ]
    assert [word for word in hidden if word in office + booking] == []
    assert "An admin of all companies can mend it." in booking
    await log_in(service)
    assert "boss@example.org" in (await page(service, f"/offices/{data['office']}")).text


async def test_an_admin_of_several_companies_says_whose_a_connection_is(service: Running, store: Store) -> None:
    north, south = sorted(str(uuid.uuid4()) for _ in range(2))
    await company_of(service, south)
    await become(service, store, north, south, "own")
    form = (await page(service, "/connections/new/jitsi")).text
    assert f'<option value="{south}">Company {south[:4]}</option>' in form
    found = re.search(r'name="form_token" value="([^"]+)"', form)
    assert found
    fields = {"form_token": found[1], "settings.url": AWAY, "name": "Theirs", "company": south, "anyway": "yes"}
    answer = await service.client.post(f"{PUBLIC}/connections/new/jitsi", data=fields, headers=OURS)
    assert answer.status_code == 303
    connection = answer.headers["location"].split("/")[2].split("?")[0]
    for company, status in ((south, 200), (north, 404), ("own", 404)):
        await become(service, store, company)
        assert (await page(service, f"/connections/{connection}")).status_code == status
    assert 'id="company"' not in (await page(service, "/connections/new/jitsi")).text


async def test_no_company_gets_anothers_connection_whoever_asks(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    north, south = str(uuid.uuid4()), str(uuid.uuid4())
    mine, other = await company_of(service, north), await company_of(service, south)
    fields = {"provider": "memory", "url": meeting_server.url}
    made = {}
    for company in (north, south, None):
        row = (await service.admin("POST", "/connections", json=fields)).json()["id"]
        made[company] = row
        if company:
            stored = json.loads(await store.execute("HGET", "vm:connections", row))
            await store.execute("HSET", "vm:connections", row, json.dumps({**stored, "company": company}))
    await service.admin("PUT", f"/offices/{mine['office']}", json={"connection": made[north]})
    for office, connection, status in (
        (other["office"], made[north], 422),
        (other["office"], made[None], 200),
        (other["office"], made[south], 200),
    ):
        answer = await service.admin("PUT", f"/offices/{office}", json={"connection": connection})
        assert answer.status_code == status, answer.text
    for to, status in ((made[south], 422), (made[None], 202)):
        wanted = {"how": "move", "to": to}
        answer = await service.admin("POST", f"/connections/{made[north]}/disconnect", json=wanted)
        assert answer.status_code == status, answer.text
    await log_in(service)
    form = (await page(service, f"/offices/{other['office']}")).text
    assert (f'value="{made[south]}"' in form, f'value="{made[north]}"' in form) == (True, False)


async def test_an_offices_history_calls_things_by_their_names_and_leads_back_to_the_start(
    service: Running, meeting_server: MemoryServer
) -> None:
    await log_in(service)
    connection = await service.connect(meeting_server.url, name="The clinic's account")
    text = (await page(service, "/offices/default?saved=1")).text
    history = text.split("Who changed it")[1]
    assert "The clinic&#39;s account" in history
    assert connection not in history
    assert '<a href="/">Back to the start page</a>' in text
    assert "Back to the start page" not in (await page(service, "/offices/default")).text


async def test_what_can_be_connected_at_once_comes_before_what_the_operator_must_set_up(service: Running) -> None:
    await log_in(service)
    text = (await page(service, "/connections")).text
    assert text.rindex('href="/connections/new/') < text.index("The operator of this service must set it up first.")


async def test_another_meeting_is_made_in_place_of_the_one_that_stands(
    service: Running, meeting_server: MemoryServer
) -> None:
    await service.connect(meeting_server.url)
    data = record()
    await service.link(data)
    before = (await service.settled(data["id"]))["meeting_id"]
    await log_in(service)
    assert (await send(service, f"/bookings/{data['id']}", do="recreate")).status_code == 303
    after = await service.settled(data["id"])
    assert (after["state"], after["meeting_id"] != before) == ("ready", True)
    assert len(await meeting_server.meetings()) == 1


async def test_a_booking_that_is_let_go_of_keeps_its_meeting_until_it_is_taken_back(
    service: Running, meeting_server: MemoryServer
) -> None:
    await service.connect(meeting_server.url)
    data = record()
    await service.link(data)
    await service.settled(data["id"])
    await log_in(service)
    await send(service, f"/bookings/{data['id']}", do="release")
    await service.say("record.updated", {**data, "version": 2, "time": data["time"] + 3600})
    await service.say("record.cancelled", {**data, "version": 3, "canceled": True})
    await service.settled(data["id"])
    assert [meeting["start"] for meeting in await meeting_server.meetings()] == [data["time"]]
    assert await service.link({**data, "version": 4}) is None
    await send(service, f"/bookings/{data['id']}", do="take_back")
    assert await service.link({**data, "version": 5}) is not None
    assert len(await meeting_server.meetings()) == 2


@pytest.mark.parametrize(("how", "left"), [("keep", 1), ("remove", 0)])
async def test_a_connection_leaves_and_its_meetings_are_kept_or_removed(
    service: Running, meeting_server: MemoryServer, how: str, left: int
) -> None:
    connection = await service.connect(meeting_server.url)
    await service.link(record())
    answer = await service.admin("POST", f"/connections/{connection}/disconnect", json={"how": how})
    assert answer.status_code == 202
    await wait_until(lambda: left_it(service, connection), 15)
    assert len(await meeting_server.meetings()) == left
    assert (await service.admin("GET", "/offices/default")).json()["connection"] is None


async def test_a_connection_leaves_only_when_every_booking_was_looked_at_by_whichever_process(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    """Each step looks at two bookings here, and the first three have no meeting."""
    soon = int(time.time()) + 86_400
    async with running(store_url) as service:
        for hour in range(3):
            await service.link(record(time=soon + hour * 3600))
        connection = await service.connect(meeting_server.url)
        for hour in range(3, 6):
            await service.settled((await linked(service, record(time=soon + hour * 3600)))["id"])
    assert len(await meeting_server.meetings()) == 3
    await (await process(store)).begin(connection, "remove", None, "anna")
    steps = [await (await process(store)).step(connection) for _ in range(6)]
    # Nobody works, so nothing is removed, however often each is looked at.
    assert [step.left if step else 0 for step in steps] == [1, 3, 3, 3, 3, 3]
    async with running(store_url) as service:

        async def gone() -> bool:
            return await (await process(store)).step(connection) is None

        await wait_until(gone, 30)
        assert (await service.admin("GET", f"/connections/{connection}")).status_code == 404
    assert await meeting_server.meetings() == []


async def test_a_connection_that_a_kill_stopped_from_leaving_leaves_all_the_same(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    """What is in the store when the process dies at once after it promised."""
    connection = await service.connect(meeting_server.url)
    await service.link(record())
    begun = Farewell(connection, "remove", None, "API", int(time.time()), 1, 1)
    await store.execute("HSET", "vm:farewells", connection, json.dumps(asdict(begun)))
    await wait_until(lambda: left_it(service, connection), 15)
    assert await meeting_server.meetings() == []
    assert (await service.admin("GET", "/offices/default")).json()["connection"] is None
    assert await store.execute("HGETALL", "vm:farewells") == {}


async def test_a_connection_leaves_no_meeting_behind_while_its_provider_refuses_or_an_office_chooses_it_again(
    service: Running, meeting_server: MemoryServer
) -> None:
    connection = await service.connect(meeting_server.url)
    data = record()
    await service.link(data)
    await meeting_server.faults(fail=[{"status": 403}] * 3, only="delete")
    await service.admin("POST", f"/connections/{connection}/disconnect", json={"how": "remove"})

    async def stuck() -> bool:
        answer = await service.admin("GET", f"/connections/{connection}/disconnect")
        return bool(answer.json()["stuck"] == 1)

    await wait_until(stuck, 15)
    assert (await service.admin("GET", f"/connections/{connection}")).status_code == 200
    await service.admin("PUT", "/offices/default", json={"connection": connection})
    await meeting_server.faults()
    await service.admin("GET", f"/connections/{connection}/disconnect")
    await service.admin("POST", f"/records/{data['id']}/reconcile")
    await wait_until(lambda: left_it(service, connection), 15)
    assert await meeting_server.meetings() == []
    assert (await service.admin("GET", "/offices/default")).json()["connection"] is None


async def test_meetings_move_to_no_connection_that_leaves_itself(
    service: Running, meeting_server: MemoryServer
) -> None:
    one = await service.connect(meeting_server.url)
    await service.link(record())
    two = (await service.admin("POST", "/connections", json={"provider": "memory", "url": meeting_server.url})).json()
    await meeting_server.faults(fail=[{"status": 403}] * 3, only="delete")
    await service.admin("POST", f"/connections/{one}/disconnect", json={"how": "remove"})
    answer = await service.admin("POST", f"/connections/{two['id']}/disconnect", json={"how": "move", "to": one})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")


async def test_a_test_booking_is_offered_once_there_is_somebody_to_make_its_meeting(
    service: Running, meeting_server: MemoryServer
) -> None:
    await log_in(service)
    assert "/start/book" not in (await page(service, "/")).text
    await service.connect(meeting_server.url)
    assert "/start/book" in (await page(service, "/")).text


async def test_of_two_programs_that_change_an_office_the_second_is_refused(service: Running) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    url = f"{PUBLIC}/api/v1/offices/default"
    await service.client.put(url, json={"name": "one"}, headers=headers)
    tag = (await service.client.get(url, headers=headers)).headers["etag"]
    conditional = {**headers, "If-Match": tag}
    first = await service.client.put(url, json={"name": "two"}, headers=conditional)
    assert (first.status_code, first.headers["etag"] != tag) == (200, True)
    for method in ("PUT", "DELETE"):
        answer = await service.client.request(method, url, json={"name": "three"}, headers=conditional)
        assert (answer.status_code, answer.json()["error"]["code"]) == (412, "changed_meanwhile")
    again = await service.client.put(url, json={"name": "two"}, headers={**headers, "If-Match": first.headers["etag"]})
    assert again.status_code == 200


async def test_a_change_is_weighed_before_it_is_made(service: Running, meeting_server: MemoryServer) -> None:
    connection = await service.connect(meeting_server.url)
    for _ in range(3):
        await service.link(record())

    async def weighed(**choice: Any) -> dict[str, Any]:
        return dict((await service.admin("POST", "/offices/default/preview", json=choice)).json())

    nothing = {"made": 0, "changed": 0, "replaced": 0, "removed": 0, "links_lost": 0, "complete": True}
    assert await weighed(connection=connection) == {"upcoming": 3, **nothing}
    assert await weighed(connection=connection, title="Other") == {"upcoming": 3, **nothing, "changed": 3}
    assert await weighed() == {"upcoming": 3, **nothing, "removed": 3, "links_lost": 3}


async def test_a_weighing_that_did_not_look_at_every_booking_says_so(
    service: Running, meeting_server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few of those that it looked at are the office's."""
    connection = await service.connect(meeting_server.url)
    office, start = str(uuid.uuid4()), int(time.time()) + 3600
    for minute in range(201):
        await service.say("record.created", record(office=office, time=start + 60 * minute))
    url, choice = f"/offices/{uuid.uuid4()}/preview", {"connection": connection}
    assert (await service.admin("POST", url, json=choice)).json()["complete"] is True
    monkeypatch.setattr("service.web.api_offices.SCAN", 200)
    weighed = (await service.admin("POST", url, json=choice)).json()
    assert (weighed["upcoming"], weighed["complete"]) == (0, False)


async def test_what_an_office_left_on_a_connection_moves_to_the_one_it_chose_when_that_leaves(
    service: Running, meeting_server: MemoryServer
) -> None:
    old = await service.connect(meeting_server.url)
    data = record()
    await service.link(data)
    new = await service.connect(meeting_server.url)
    await service.say("record.updated", {**data, "version": 2})
    assert (await service.settled(data["id"]))["connection"] == old
    await service.admin("POST", f"/connections/{old}/disconnect", json={"how": "remove"})
    await wait_until(lambda: left_it(service, old), 15)
    row = await service.settled(data["id"])
    assert (row["state"], row["connection"]) == ("ready", new)
    assert len(await meeting_server.meetings()) == 1


async def test_bookings_that_wait_for_somebody_come_first_each_with_its_cure(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    """Those of a dead account too, which count as in work until it lives again."""
    await log_in(service)
    await service.say("connection.test", {})
    assert '<a href="/#step4">Make a test booking</a>' in (await page(service, "/bookings")).text
    connection = await service.connect(meeting_server.url)
    await service.link(record(record_number="fine"))
    await meeting_server.faults(fail=[{"status": 401, "times": 9}], only="create")
    await service.link(record(record_number="waits"))
    text = (await page(service, "/bookings")).text
    first = text.split("These need somebody")[1].split("Coming up")[0]
    assert ("No. waits" in first, "No. fine" in first) == (True, False)
    assert f'<a href="/connections/{connection}">Mend it</a>' in first
    assert "Next: make an account work again." in (await page(service, "/")).text
    await become(service, store, "own")
    text = (await page(service, "/bookings")).text
    assert "An admin of all companies can mend it." in text
    assert f"/connections/{connection}" not in text


async def test_who_takes_an_account_out_of_use_removes_no_meetings_by_mistake(
    service: Running, meeting_server: MemoryServer
) -> None:
    await log_in(service)
    connection = await service.connect(meeting_server.url)
    await service.link(record())
    text = (await page(service, f"/connections/{connection}/leave")).text
    assert re.findall(r'name="how" value="(\w+)" checked', text) == ["keep"]


async def test_a_service_is_called_by_the_name_that_its_office_gave_it(
    service: Running, meeting_server: MemoryServer
) -> None:
    await log_in(service)
    await service.connect(meeting_server.url)
    data = record()
    await service.link(data)
    names = {"service_names": {data["service"]: "Speech therapy"}}
    assert (await service.admin("PUT", f"/offices/{data['office']}", json=names)).status_code == 200
    for path in (f"/bookings/{data['id']}", f"/offices/{data['office']}"):
        assert f"Speech therapy <code>{data['service']}</code>" in (await page(service, path)).text
