"""Whose account a connection reaches is what its vendor says; what somebody typed counts for their company alone."""

import json
from collections.abc import AsyncIterator

import pytest

from providers.base import Account, Meeting, MeetingSpec
from providers.http import Http
from providers.zoom import PROVIDER as ZOOM
from service.agenda import Agendas
from service.budget import Budgets, purse_of
from service.connections import Connection, Connections
from service.entry import Placement
from service.plan import Verdict
from service.store import Store
from tests.events import START
from tests.fakes.zoom_server import ZoomServer
from tests.running import Running
from tests.test_connection_forms import send, shown
from tests.test_ledger import VAULT
from tests.test_login import log_in
from tests.test_zoom_bookings import ANNA, BEN, OWN_APP, connected, connection, zoomed

NORTH, SOUTH = "north", "south"
GRANTED = {"account_id": "account-1", "user_id": "anna", "email": ANNA, "admin_managed": True}


@pytest.fixture
async def connections(store: Store) -> AsyncIterator[Connections]:
    http = Http()
    yield Connections(store, VAULT, {"zoom": ZOOM}, lambda info, made, _: info.connect(made, http))
    await http.close()


async def typed(connections: Connections, company: str | None) -> Connection:
    """An app of one's own of the one account, as somebody says."""
    settings = connections.validated("zoom", OWN_APP)
    row = await connections.add("zoom", "Zoom", settings, company=company)
    await connections.load()
    return row


def account(connections: Connections, row: Connection) -> str:
    counted = connections.budget(row.id)
    assert counted
    return counted[0]


def at(row: Connection, host: str = ANNA) -> Placement:
    spec = MeetingSpec("key of " + row.id, 0, "Appointment", START, 1800, host=host)
    return Placement(row.id, spec, Meeting(row.id, "https://zoom.us/j/1", host))


async def test_an_account_that_another_company_typed_tells_it_nothing_and_takes_nothing(
    store: Store, connections: Connections
) -> None:
    """Neither who hosts there, nor what is left of their day, nor when they are free."""
    norths, souths = await typed(connections, NORTH), await typed(connections, SOUTH)
    budgets, agendas = Budgets(store), Agendas(store)
    spent = purse_of(connections, at(norths), Verdict.CREATE)
    assert spent
    await budgets.draw(spent)
    counted = [connections.budget(row.id) for row in (norths, souths)]
    assert await budgets.left([each for each in counted if each]) == [{ANNA: 99}, {}]
    await agendas.noted(connections, at(souths))
    assert await agendas.warnings(connections, [at(norths)]) == [None]
    assert await agendas.noted(connections, at(norths)) == ()


async def test_all_connections_of_one_company_and_all_of_the_installation_count_an_account_once(
    connections: Connections,
) -> None:
    for company in (None, NORTH):
        first, second = await typed(connections, company), await typed(connections, company)
        assert account(connections, first) == account(connections, second)
    souths = await typed(connections, SOUTH)
    granted = await connections.adopt("zoom", "g" * 32, Account("anna", ANNA, GRANTED), None, NORTH)
    await connections.load()
    norths = [row for row in connections.all() if row.company == NORTH]
    assert len({account(connections, row) for row in norths}) == 1
    assert account(connections, souths) != account(connections, granted)
    also = await connections.adopt("zoom", "h" * 32, Account("ben", BEN, {**GRANTED, "user_id": "ben"}), None, SOUTH)
    await connections.load()
    assert {account(connections, row) for row in (souths, also)} == {account(connections, granted)}  # Zoom said so


@pytest.fixture
async def service(store_url: str, zoom: ZoomServer) -> AsyncIterator[Running]:
    async with zoomed(store_url, zoom) as service:
        yield service


@pytest.mark.parametrize("act", ["mend", "check"])
async def test_nobody_gives_an_account_that_was_connected_in_a_browser_other_settings(
    service: Running, store: Store, act: str
) -> None:
    id_ = await connected(service)
    before = await store.execute("HGET", "vm:connections", id_)
    wrong = {"settings__account_id": "another", "settings__email": BEN, "settings__user_id": "ben"}
    for fields in (wrong, {**wrong, "settings__client_id": "x", "secret__settings__client_secret": "y"}):
        answer = await send(service, f"/connections/{id_}", do=act, **fields)
        assert answer.status_code == 422
        assert await store.execute("HGET", "vm:connections", id_) == before
    row = json.loads(before)
    await store.execute("HSET", "vm:connections", id_, json.dumps({**row, "envelope": "spoilt"}))
    await service.app.app.state.settings.load()
    assert (await send(service, f"/connections/{id_}", do=act, **wrong)).status_code == 422


async def test_a_form_takes_only_what_it_asks_for(service: Running) -> None:
    await log_in(service)
    app = {f"settings__{name}": value for name, value in OWN_APP.items() if name != "client_secret"}
    secret = {"secret__settings__client_secret": OWN_APP["client_secret"]}
    more = {"settings__email": BEN, "settings__user_id": "ben"}
    made = await send(service, "/connections/new/zoom", **app, **secret, **more)
    assert made.status_code == 303, made.text
    id_ = made.headers["location"].rpartition("/")[2].partition("?")[0]
    assert (await connection(service, id_))["account"] == OWN_APP["account_id"]
    stands = await shown(service, f"/connections/{id_}")
    assert (await send(service, f"/connections/{id_}", do="mend", **stands, **secret, **more)).status_code == 303
    assert (await connection(service, id_))["account"] == OWN_APP["account_id"]
