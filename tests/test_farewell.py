"""Taking a connection out of use where there are more bookings than one look sees."""

import time
from collections.abc import AsyncIterator

import pytest

from tests.events import record
from tests.running import PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_login import OURS, form_token, log_in

HOUR = 3600


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        yield service


async def behind_others(service: Running, server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection that no office chose, with a meeting behind more bookings than one look sees, one of them over."""
    monkeypatch.setattr(service.app.app.state.upkeep._farewells, "_scan", 2)
    now = int(time.time())
    for start in (now - 9 * HOUR, now + HOUR, now + 2 * HOUR, now + 3 * HOUR, now + 4 * HOUR):
        await service.say("record.created", record(time=start))
    connection = await service.connect(server.url)
    await service.link(data := record(time=now + 9 * HOUR))
    await service.settled(data["id"])
    await service.admin("PUT", "/offices/default", json={"connection": None, "move": False})
    assert (await service.admin("GET", f"/connections/{connection}")).json()["in_use_by"] == []
    assert len(await server.meetings()) == 1
    return connection


async def test_a_connection_with_a_meeting_behind_many_bookings_is_not_removed_unless_forced(
    service: Running, meeting_server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await behind_others(service, meeting_server, monkeypatch)
    refused = await service.admin("DELETE", f"/connections/{connection}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "in_use")
    assert (await service.admin("DELETE", f"/connections/{connection}", force="true")).status_code == 204


async def test_the_page_never_says_that_nothing_depends_on_what_has_a_meeting_behind_many_bookings(
    service: Running, meeting_server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await behind_others(service, meeting_server, monkeypatch)
    await log_in(service)
    address = f"{PUBLIC}/connections/{connection}/leave"
    text = (await service.client.get(address)).text
    assert "What is to become of 1 upcoming meeting" in text
    assert "Nothing depends on it" not in text
    idle = {"form_token": await form_token(service), "how": "keep", "idle": "yes"}
    assert (await service.client.post(address, data=idle, headers=OURS)).status_code == 412
    assert (await service.admin("GET", f"/connections/{connection}")).status_code == 200
