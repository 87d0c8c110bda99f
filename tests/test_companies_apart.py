"""Laws of several companies in one installation: to an admin of one, what is another's is as if it were not there."""

import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from service.store import Store
from tests.events import body, record
from tests.running import ADMIN, PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_login import OURS, log_in
from tests.test_settings import become

TOKEN = "token-of-a-company"
NOBODY = {"connection": "0123456789abcdef", "delivery": "1700000000000.5.0123456789abcdef01234567"}
ACTS: dict[str, list[dict[str, str]]] = {
    "/bookings/{record}": [{"do": act} for act in ("reconcile", "recreate", "release", "take_back", "other")],
    "/offices/{office}": [{"do": act, "time_zone": "UTC"} for act in ("save", "forget", "preview", "give", "other")],
    "/connections/{connection}": [{"do": act, "name": "x"} for act in ("test", "check", "rename", "mend", "other")],
    "/connections/{connection}/leave": [{"how": how} for how in ("keep", "remove", "move", "now", "other")],
    "/deliveries/{delivery}": [{}],
    "/companies/{company}": [{"do": act} for act in ("renew", "settle", "remove", "other")],
}


@dataclass(frozen=True)
class Owned:
    """A company with an office, a connection of its own that the office chose, and a booking there."""

    id: str
    office: str
    connection: str
    booking: dict[str, Any]
    delivery: str
    """A line of the delivery log."""
    word: str
    """Part of every name and text of this company."""

    def names(self) -> dict[str, str]:
        """What stands in addresses."""
        known = {"office": self.office, "connection": self.connection, "record": self.booking["id"]}
        return {**known, "company": self.id, "delivery": self.delivery}

    def private(self) -> list[str]:
        """What nobody else may see."""
        ids = [self.id, self.office, self.connection, self.booking["id"], self.booking["resource"], self.delivery]
        return [*ids, self.booking["service"], self.word]


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        yield service


async def say(
    service: Running, company: str, data: dict[str, Any], kind: str = "record.update_metadata"
) -> httpx.Response:
    """What the Vello of a company says."""
    return await service.post(body(kind, data), url=f"{PUBLIC}/webhooks/vello/{company}", token=TOKEN)


async def owned(service: Running, store: Store, url: str, word: str) -> Owned:
    """A company with all that it can have."""
    company = str(uuid.uuid4())
    new = {"id": company, "name": f"{word} Ltd", "tokens": [TOKEN]}
    assert (await service.admin("POST", "/companies", json=new)).status_code == 201
    data = record(company=company, record_number=f"{word}-1")
    assert (await say(service, company, data)).status_code == 200
    made = await service.admin("POST", "/connections", json={"provider": "memory", "url": url, "name": f"{word} rooms"})
    connection = str(made.json()["id"])
    row = json.loads(await store.execute("HGET", "vm:connections", connection))
    await store.execute("HSET", "vm:connections", connection, json.dumps({**row, "company": company}))
    choice = {
        "connection": connection,
        "name": f"{word} office",
        "contact": f"{word} 123",
        "tag": word,
        "default_host": f"{word}@example.org",
        "hosts": {data["resource"]: f"host-of-{word}"},
        "service_names": {data["service"]: f"{word} service"},
    }
    answer = await service.admin("PUT", f"/offices/{data['office']}", json=choice)
    assert answer.status_code == 200, answer.text
    assert (await say(service, company, {**data, "version": 2})).json()["metadata"]["video_link"]
    lines = (await service.admin("GET", "/deliveries", record=data["id"], kind="event")).json()["deliveries"]
    return Owned(company, data["office"], connection, data, lines[0]["id"], word)


@pytest.fixture
async def both(service: Running, store: Store, meeting_server: MemoryServer) -> tuple[Owned, Owned]:
    """North and South, and an admin of North who is logged in."""
    north = await owned(service, store, meeting_server.url, "northern")
    south = await owned(service, store, meeting_server.url, "southern")
    await become(service, store, north.id)
    return north, south


def pages(service: Running) -> list[tuple[str, str]]:
    """Every page of admins and every form, as their routes say them."""
    routes = [route for route in service.app.app.router.routes if isinstance(route, Route)]
    named = [(method, route.path) for route in routes for method in sorted((route.methods or set()) - {"HEAD"})]
    elsewhere = re.compile(r"/(m|api|webhooks|static|login|logout|language|livez|readyz|metrics|connect)\b")
    return [(method, path) for method, path in named if not elsewhere.match(path)]


async def token_of(service: Running) -> str:
    found = re.search(
        r'name="form_token" value="([^"]+)"', (await service.client.get(f"{PUBLIC}/connections/new/jitsi")).text
    )
    assert found
    return found[1]


async def ask(service: Running, method: str, path: str, **fields: str) -> httpx.Response:
    """As a browser does."""
    headers = {**OURS, "Accept": "text/html"}
    if method == "GET":
        return await service.client.get(f"{PUBLIC}{path}", headers=headers)
    data = {"form_token": await token_of(service), **fields}
    return await service.client.post(f"{PUBLIC}{path}", data=data, headers=headers)


def filled(path: str, names: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: names.get(found[1], "jitsi"), path)


def told(answer: httpx.Response, id_: str) -> tuple[int, str, str]:
    """An answer without what the asker named."""
    return answer.status_code, answer.headers.get("location", "").replace(id_, ""), answer.text.replace(id_, "")


async def test_what_is_another_companys_is_as_if_it_were_not(service: Running, both: tuple[Owned, Owned]) -> None:
    """Every page and form answers for it as for an id that nobody ever had, to the letter."""
    _, south = both
    tried = 0
    for method, path in pages(service):
        for fields in ACTS.get(path, [{}]) if method == "POST" else [{}]:
            for name, id_ in south.names().items():
                if f"{{{name}}}" in path:
                    nobody = NOBODY.get(name, str(uuid.uuid4()))
                    theirs = told(await ask(service, method, filled(path, {name: id_}), **fields), id_)
                    assert theirs == told(await ask(service, method, filled(path, {name: nobody}), **fields), nobody)
                    assert theirs[0] in (403, 404), (method, path, fields)
                    tried += 1
    assert tried > 25


async def test_nothing_of_another_company_is_on_any_page(
    service: Running, store: Store, both: tuple[Owned, Owned]
) -> None:
    north, south = both
    addresses = {filled(path, north.names()) for method, path in pages(service) if method == "GET"}
    addresses |= {f"/deliveries?record={south.booking['id']}", f"/deliveries?connection={south.connection}"}
    addresses |= {"/bookings?q=southern-1", f"/bookings?office={south.office}", "/bookings?state=ready"}
    addresses |= {f"/offices/{north.office}/people?connection={south.connection}"}
    addresses |= {f"/connect/zoom?again={south.connection}", f"/connect/zoom?connected={south.connection}"}
    seen = ""
    for address in sorted(addresses):
        answer = await ask(service, "GET", address)
        asked = [id_ for id_ in south.private() if id_ in address]
        found = [word for word in south.private() if word in answer.text and word not in asked]
        assert found == [], (address, found)
        seen += answer.text
    assert all(word in seen for word in north.private() if word not in (north.id,))
    for office, fields in (
        (north.office, {"do": "save", "time_zone": "UTC", "connection": south.connection}),
        (north.office, {"do": "preview", "time_zone": "UTC", "connection": south.connection}),
    ):
        answer = await ask(service, "POST", f"/offices/{office}", **fields)
        assert answer.status_code == 422
        assert south.word not in answer.text
    moved = await ask(service, "POST", f"/connections/{north.connection}/leave", how="move", to=south.connection)
    assert (moved.status_code, south.word in moved.text) == (404, False)


async def test_a_session_of_the_pages_opens_nothing_of_the_api(service: Running, both: tuple[Owned, Owned]) -> None:
    _, south = both
    paths = (await service.client.get(f"{PUBLIC}/api/v1/openapi.json")).json()["paths"]
    calls = [(method, path) for path, operations in paths.items() for method in operations]
    assert len(calls) > 20
    for method, path in calls:
        answer = await service.client.request(method, f"{PUBLIC}{filled(path, south.names())}", headers=OURS)
        assert answer.status_code == 401, (method, path)
        assert south.word not in answer.text


async def test_a_list_goes_on_without_a_word_of_bookings_that_are_not_shown(
    service: Running, both: tuple[Owned, Owned]
) -> None:
    """Where it goes on is sealed: it may be behind another company's booking."""
    north, south = both
    mine, theirs = set(), []
    for hour in range(120):
        for owner, share in ((north, 2), (south, 1)):
            if hour % share == 0:
                start = north.booking["time"] + hour * 60
                data = record(company=owner.id, office=owner.office, time=start)
                assert (await say(service, owner.id, data, "record.created")).status_code == 200
                if owner is north:
                    mine.add(data["id"])
                else:
                    theirs.append(data["id"])
    for first in ("/bookings", "/deliveries"):
        address, found, looks = first, set[str](), 0
        while address and looks < 20:
            text, looks = (await ask(service, "GET", address)).text, looks + 1
            assert not [id_ for id_ in theirs if id_ in text]
            found |= set(re.findall(r'href="/bookings/([0-9a-f-]{36})"', text))
            more = re.search(rf'href="({first}\?[^"]*cursor=([^"&]+)[^"]*)"', text)
            address = more[1].replace("&amp;", "&") if more else ""
            assert more is None or more[2].startswith("v1.")
        assert (first == "/deliveries" or found >= mine, looks > 1) == (True, True)
    odd = await ask(service, "GET", f"/bookings?cursor={north.booking['time']}.{theirs[0]}")
    assert odd.status_code == 200
    assert f"/bookings/{theirs[0]}" not in odd.text


async def test_all_other_offices_get_no_companys_connection(
    service: Running, store: Store, both: tuple[Owned, Owned]
) -> None:
    """Else every company's bookings would be made with one's account; nor does an office that nobody knows get it."""
    north, _ = both
    for office in ("default", str(uuid.uuid4())):
        answer = await service.admin("PUT", f"/offices/{office}", json={"connection": north.connection})
        assert (answer.status_code, "another company's" in answer.json()["error"]["message"]) == (422, True)
    await log_in(service)
    form = await ask(service, "GET", "/offices/default")
    assert f'value="{north.connection}"' not in form.text
    sent = await ask(service, "POST", "/offices/default", do="save", time_zone="UTC", connection=north.connection)
    assert sent.status_code == 422
    assert (await service.admin("GET", "/offices/default")).status_code == 404
    connection = await ask(service, "GET", f"/connections/{north.connection}")
    assert "/offices/default" not in connection.text


async def test_an_office_that_another_companys_event_named_first_is_seen_and_given_to_whom_it_belongs(
    service: Running, store: Store, both: tuple[Owned, Owned]
) -> None:
    north, south = both
    theirs = record(company=south.id, office=north.office)
    refused = await say(service, south.id, theirs)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "wrong_company")
    row = (await service.admin("GET", f"/offices/{north.office}")).json()
    assert (row["company"], row["claimed_by"]) == (north.id, south.id)
    await become(service, store, south.id)
    listed = (await ask(service, "GET", "/offices")).text
    assert f"bookings in the office {north.office}, which is registered for another company" in listed
    assert [word for word in north.private() if word in listed and word != north.office] == []
    await become(service, store, north.id)
    assert "southern" not in (await ask(service, "GET", "/offices")).text
    page = await ask(service, "POST", f"/offices/{north.office}", do="give", company=north.id)
    assert page.status_code == 403
    await log_in(service)
    assert "southern Ltd names this office too" in (await ask(service, "GET", "/offices")).text
    form = (await ask(service, "GET", f"/offices/{north.office}")).text
    version = re.search(r'name="version" value="([^"]+)"', form)
    assert version
    given = {"do": "give", "company": south.id, "version": version[1]}
    assert (await ask(service, "POST", f"/offices/{north.office}", **given)).status_code == 303
    assert (await say(service, south.id, {**theirs, "version": 2})).status_code == 200
    assert (await say(service, north.id, {**north.booking, "version": 3})).status_code == 400
    row = (await service.admin("GET", f"/offices/{north.office}")).json()
    assert (row["company"], row["claimed_by"], row["own"]) == (south.id, north.id, False)


async def test_what_a_company_had_in_an_office_is_neither_seen_nor_served_by_the_one_that_gets_it(
    service: Running, store: Store, both: tuple[Owned, Owned], meeting_server: MemoryServer
) -> None:
    north, south = both
    url = f"/offices/{north.office}/company"
    for company, status in ((str(uuid.uuid4()), 404), ("nobody", 422), (south.id, 200)):
        assert (await service.admin("PUT", url, json={"company": company})).status_code == status
    chosen = {"connection": south.connection, "move": True}
    assert (await service.admin("PUT", f"/offices/{north.office}", json=chosen)).status_code == 200
    row = (await service.admin("GET", f"/records/{north.booking['id']}")).json()
    assert (row["connection"], row["chosen_by"]) == (north.connection, None)
    await service.admin("POST", f"/records/{north.booking['id']}/reconcile")
    assert (await service.settled(north.booking["id"]))["connection"] in (north.connection, None)
    weighed = await service.admin("POST", f"/offices/{north.office}/preview", json=chosen)
    assert weighed.json()["upcoming"] == 0
    await become(service, store, south.id)
    page = (await ask(service, "GET", f"/offices/{north.office}")).text
    assert [word for word in north.private() if word in page and word != north.office] == []
    await become(service, store, north.id)
    assert (await ask(service, "GET", f"/offices/{north.office}")).status_code == 404
    assert (await ask(service, "GET", f"/bookings/{north.booking['id']}")).status_code == 200


async def test_an_office_given_to_whom_it_has_keeps_its_choice_and_the_claim_is_dismissed(
    service: Running, both: tuple[Owned, Owned]
) -> None:
    north, south = both
    assert (await say(service, south.id, record(company=south.id, office=north.office))).status_code == 400
    answer = await service.admin("PUT", f"/offices/{north.office}/company", json={"company": north.id})
    assert (answer.json()["own"], answer.json()["claimed_by"]) == (True, None)
    headers = {"Authorization": f"Bearer {ADMIN}", "If-Match": '"old"'}
    late = await service.client.put(
        f"/api/v1/offices/{north.office}/company", json={"company": south.id}, headers=headers
    )
    assert (late.status_code, late.json()["error"]["code"]) == (412, "changed_meanwhile")
    nobody = await service.admin("PUT", "/offices/default/company", json={"company": south.id})
    assert nobody.status_code == 404


async def test_an_office_without_its_own_choice_any_more_stays_in_the_list(
    service: Running, both: tuple[Owned, Owned]
) -> None:
    north, _ = both
    assert (await service.admin("DELETE", f"/offices/{north.office}")).status_code == 204
    assert (await service.admin("GET", f"/offices/{north.office}")).json()["own"] is False
    assert f"/offices/{north.office}" in (await ask(service, "GET", "/offices")).text
