"""An office's bookings are found however many there are of others: to be looked at again, and to tell of services."""

import re
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.events import record
from tests.running import Running, running, together
from tests.servers import MemoryServer
from tests.test_login import log_in
from tests.test_settings import page, send
from tests.waiting import wait_until

HOUR, DAY = 3600, 86_400


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        await log_in(service)
        yield service


async def crowd(service: Running, start: int, count: int = 30) -> None:
    """Bookings of other offices."""
    others = [record(office=str(uuid.UUID(int=7)), time=start + number) for number in range(count)]
    await together(*(service.say("record.created", each) for each in others))


async def known(service: Running, start: int) -> dict[str, Any]:
    """A booking of an office of its own."""
    data = record(time=start)
    await service.say("record.created", data)
    return data


async def test_all_upcoming_bookings_of_an_office_are_looked_at_again_behind_however_many_of_others(
    service: Running, meeting_server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.again._PAGE", 10)
    monkeypatch.setattr("service.web.api_offices.SCAN", 10)
    connection = await service.connect(meeting_server.url)
    now = int(time.time())
    await crowd(service, now + HOUR)
    data = record(time=now + DAY)
    assert await service.link(data)
    office = data["office"]
    version = re.search(r'name="version" value="([^"]*)"', (await page(service, f"/offices/{office}")).text)
    assert version
    fields = {"connection": connection, "time_zone": "UTC", "title": "Another title", "version": version[1]}
    answer = await send(service, f"/offices/{office}", do="save", carry_out="yes", **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/errands?saved=1")

    async def retitled() -> bool:
        return [each["title"] for each in await meeting_server.meetings()] == ["Another title"]

    await wait_until(retitled)

    async def told() -> bool:
        text = (await page(service, "/errands")).text
        return "Done" in text and "1 booking looked at again" in text

    await wait_until(told)
    assert (await service.admin("GET", "/errands")).json()["errands"][0]["counts"] == {"looked": 31, "asked": 1}


async def test_an_office_shows_what_is_to_come_first_however_much_was(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.api_offices.SCAN", 25)
    monkeypatch.setattr("service.web.api_offices._PAGE", 5)
    now = int(time.time())
    await crowd(service, now - 5 * DAY)
    data = await known(service, now + DAY)
    text = (await page(service, f"/offices/{data['office']}")).text
    assert f"<code>{data['service']}</code>" in text
    assert f'name="host.{data["resource"]}"' in text


async def test_an_office_shows_what_was_lately_before_what_was_long_ago(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.api_offices.SCAN", 25)
    monkeypatch.setattr("service.web.api_offices._PAGE", 5)
    now = int(time.time())
    await crowd(service, now - 20 * DAY)
    data = await known(service, now - 2 * DAY)
    assert re.search(f"<code>{data['service']}</code>", (await page(service, f"/offices/{data['office']}")).text)
