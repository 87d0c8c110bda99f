"""A connection's test: seen while it goes on, from any process, one at a time."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.store import Store
from tests.running import ADMIN, PUBLIC, Running, running, together
from tests.servers import MemoryServer
from tests.test_login import OURS, form_token, log_in
from tests.waiting import wait_until

HTMX = {**OURS, "HX-Request": "true"}


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        yield service


async def creates(meeting_server: MemoryServer) -> int:
    """How many meetings were asked for."""
    return len(await meeting_server.calls("create"))


async def begin(service: Running, connection: str) -> str:
    """Press the button in a browser with a script; answers the part of the page that it gets."""
    fields = {"form_token": await form_token(service), "do": "test"}
    answer = await service.client.post(f"{PUBLIC}/connections/{connection}", data=fields, headers=HTMX)
    assert answer.status_code == 200
    return answer.text


async def test_a_test_answers_at_once_and_is_then_followed_until_it_ends(
    service: Running, meeting_server: MemoryServer
) -> None:
    connection = await service.connect(meeting_server.url)
    await log_in(service)
    await meeting_server.faults(hold=True)
    part = await begin(service, connection)
    assert "<html" not in part
    assert part.count("To come") == 4
    await meeting_server.faults(delay=0.5)
    seen = [part]

    async def ended() -> bool:
        where = re.search(r'hx-get="([^"]+)"', seen[-1])
        if where is None:
            return True
        answer = await service.client.get(f"{PUBLIC}{where[1]}", headers=HTMX)
        if answer.status_code == 200:
            seen.append(answer.text)
        else:
            assert (answer.status_code, answer.text) == (204, "")  # nothing new: what is read is not disturbed
        return False

    await wait_until(ended, 20)
    assert [text.count(">Done<") for text in seen][-1] == 5
    assert len({text.count(">Done<") for text in seen}) > 2
    assert 'id="state" hx-swap-oob="true"' in seen[-1]
    assert await meeting_server.meetings() == []


async def test_without_a_script_the_end_is_waited_for_and_a_reload_tests_nothing_again(
    service: Running, meeting_server: MemoryServer
) -> None:
    connection = await service.connect(meeting_server.url)
    await log_in(service)
    fields = {"form_token": await form_token(service), "do": "test"}
    answer = await service.client.post(f"{PUBLIC}/connections/{connection}", data=fields, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/connections/{connection}#try")
    page = (await service.client.get(f"{PUBLIC}/connections/{connection}")).text
    assert (page.count(">Done<"), "It works" in page) == (5, True)
    assert await creates(meeting_server) == 1
    other = await service.client.get(f"{PUBLIC}/connections/{connection}/test")
    assert other.headers["location"] == f"/connections/{connection}#try"


async def test_who_asks_while_a_test_goes_on_sees_that_one_from_whichever_process(
    service: Running, store_url: str, meeting_server: MemoryServer
) -> None:
    connection = await service.connect(meeting_server.url)
    await meeting_server.faults(delay=0.4)
    async with running(store_url, role="web") as other:
        asked = [each.admin("POST", f"/connections/{connection}/test") for each in (service, other, service)]
        answers = [answer.json() for answer in await together(*asked)]
    assert answers[0]["ok"]
    assert answers == [answers[0]] * 3
    assert await creates(meeting_server) == 1
    assert (await service.admin("POST", f"/connections/{connection}/test")).json()["ok"]
    assert await creates(meeting_server) == 2


async def test_who_stops_waiting_for_a_test_leaves_no_meeting_behind(
    service: Running, meeting_server: MemoryServer
) -> None:
    connection = await service.connect(meeting_server.url)
    await meeting_server.faults(delay=0.3)
    asking = asyncio.create_task(service.admin("POST", f"/connections/{connection}/test"))

    async def made() -> bool:
        return len(await meeting_server.meetings()) == 1

    await wait_until(made, 10)
    asking.cancel()

    async def gone() -> bool:
        return await meeting_server.meetings() == []

    await wait_until(gone, 10)


async def test_a_stop_waits_for_the_end_of_a_test(store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        await log_in(service)
        await meeting_server.faults(delay=0.2)
        await begin(service, connection)
    assert (await creates(meeting_server), await meeting_server.meetings()) == (1, [])


async def test_a_test_whose_process_died_is_begun_anew_by_who_asks_next(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    connection = await service.connect(meeting_server.url)
    await log_in(service)
    part = await begin(service, connection)
    where = re.search(r'hx-get="([^"]+)"', part)
    assert where
    key = f"vm:rehearsal:{connection}"

    async def over() -> bool:
        return bool(json.loads(await store.execute("GET", key))["ended"])

    await wait_until(over, 10)
    assert 0 < await store.execute("TTL", key) <= 600
    await store.execute("DEL", key)  # as it vanishes when nobody says a word for two minutes
    lost = await service.client.get(f"{PUBLIC}{where[1]}", headers=HTMX)
    assert "The test broke off." in lost.text
    assert "hx-get" not in lost.text
    dead = {"id": "of-a-dead-process", "at": 1, "steps": [], "now": "create", "ended": False}
    await store.execute("SET", key, json.dumps(dead), "PX", 300)
    assert (await service.admin("POST", f"/connections/{connection}/test")).json()["ok"]


async def test_a_test_is_made_as_an_office_that_chose_the_connection_would_make_meetings(
    service: Running, meeting_server: MemoryServer
) -> None:
    """With its host, be it only one resource's, and its options."""
    connection = await service.connect(meeting_server.url)
    resource = "7f3c0a52-36a1-4b8e-9d2b-5b1f9c0a7d11"
    choice: dict[str, Any] = {"connection": connection, "hosts": {resource: "anna@example.org"}}
    assert (await service.admin("PUT", "/offices/default", json=choice)).status_code == 200
    await meeting_server.faults(fail=[{"status": 403}], only="delete")
    answer = (await service.admin("POST", f"/connections/{connection}/test")).json()
    assert [step["ok"] for step in answer["steps"]] == [True, True, True, True, False]
    assert [meeting["host"] for meeting in await meeting_server.meetings()] == ["anna@example.org"]


async def test_a_connection_without_its_adapter_is_not_tested(service: Running, store: Store) -> None:
    row = {"id": "x", "provider": "gone", "method": "", "name": "Gone", "account": "", "envelope": ""}
    await store.execute("HSET", "vm:connections", "x", json.dumps(row))
    answer = await service.client.post("/api/v1/connections/x/test", headers={"Authorization": f"Bearer {ADMIN}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_adapter")
