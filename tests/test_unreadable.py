"""Laws of a connection whose stored settings cannot be read: it is in nobody's way, and whoever can helps it up."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from providers import jitsi, memory
from providers.base import Account
from service.connections import Connections, Unreadable, connection_purpose
from service.store import Store
from service.vault import Vault
from tests.events import record
from tests.running import ADMIN, PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_companies_apart import filled, pages
from tests.test_connection_forms import send, shown
from tests.test_doctor import examined, the
from tests.test_login import log_in
from tests.waiting import wait_until

VAULT = Vault([("k1", bytes(32))])
Spoil = Callable[[str], Awaitable[None]]


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    """The reference provider has a form here, by which its connections are mended."""
    filled_in = replace(memory.PROVIDER, asks=("url", "token"))
    async with running(store_url, providers={"memory": filled_in, "jitsi": jitsi.PROVIDER}) as service:
        await log_in(service)
        yield service


@pytest.fixture(params=["damaged", "of a laxer adapter"])
def spoil(store: Store, request: pytest.FixtureRequest) -> Spoil:
    """Makes a connection's settings unreadable, and has every process read them again."""

    async def spoilt(connection: str) -> None:
        row = json.loads(await store.execute("HGET", "vm:connections", connection))
        old = VAULT.seal(json.dumps({"url": "ftp://127.0.0.1"}), connection_purpose(connection))
        row["envelope"] = "v1.k1.AAAA" if request.param == "damaged" else old
        await store.execute("HSET", "vm:connections", connection, json.dumps(row))

    return spoilt


async def test_every_page_opens_and_its_bookings_get_their_page(
    service: Running, spoil: Spoil, meeting_server: MemoryServer
) -> None:
    connection, before, after = await service.connect(meeting_server.url, link="hosted"), record(), record()
    link = await service.link(before)
    await spoil(connection)
    names = {"connection": connection, "record": before["id"], "office": "default"}
    for method, path in pages(service):
        if method == "GET" and re.sub(r"\{(connection|record|office|provider)\}", "", path).count("{") == 0:
            answer = await service.client.get(f"{PUBLIC}{filled(path, names)}")
            assert answer.status_code < 500, (path, answer.text)
    page = await service.client.get(f"{PUBLIC}/connections/{connection}")
    assert "Its settings cannot be read here" in page.text
    assert (await service.client.get(str(link))).status_code == 200
    assert "/m/" in str(await service.link(after))
    refused = await service.admin("POST", f"/connections/{connection}/test")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "unreadable_settings")


async def test_it_works_again_once_all_its_settings_are_entered_and_what_waited_goes_on(
    service: Running, spoil: Spoil, meeting_server: MemoryServer
) -> None:
    connection, data = await service.connect(meeting_server.url, link="hosted"), record()
    await spoil(connection)
    await service.link(data)
    page = f"/connections/{connection}"
    nothing = await send(service, page, do="mend", settings__token="x", **await shown(service, page))
    assert nothing.status_code == 422
    typed = {"settings__url": meeting_server.url}
    assert (await send(service, page, do="mend", **typed, **await shown(service, page))).status_code == 303
    await service.admin("POST", f"/records/{data['id']}/reconcile")

    async def ready() -> bool:
        return bool((await service.record(data["id"]))["state"] == "ready")

    await wait_until(ready)


async def test_it_can_be_taken_out_of_use(service: Running, spoil: Spoil, meeting_server: MemoryServer) -> None:
    connection = await service.connect(meeting_server.url)
    await spoil(connection)
    headers = {"Authorization": f"Bearer {ADMIN}"}
    gone = await service.client.delete(f"{PUBLIC}/api/v1/connections/{connection}?force=true", headers=headers)
    assert gone.status_code == 204


async def test_people_and_the_operator_are_told_of_it(
    service: Running, spoil: Spoil, meeting_server: MemoryServer, store_url: str
) -> None:
    connection = await service.connect(meeting_server.url)
    await spoil(connection)
    told = (await service.app.app.state.survey.look()).matters
    assert [(each.code, each.about) for each in told] == [("connection.unusable", connection)]
    found = the(await examined(store_url), "connection", connection)
    assert (found.status, "install the adapter's version" in str(found.cure)) == ("problem", True)


async def test_an_account_that_is_connected_again_needs_nothing_of_what_was_stored(store: Store, spoil: Spoil) -> None:
    connections = Connections(store, VAULT, {"memory": memory.PROVIDER}, lambda *_: pytest.fail("not asked"))
    account = Account("42", "anna@example.org", {"url": "http://127.0.0.1:9"})
    row = await connections.adopt("memory", "g" * 32, account, None)
    await spoil(row.id)
    await connections.load()
    with pytest.raises(Unreadable):
        connections.settings_of(connections.get(row.id))
    await connections.adopt("memory", "g" * 32, account, connections.get(row.id))
    await connections.load()
    assert connections.settings_of(connections.get(row.id)).account == "http://127.0.0.1:9"
