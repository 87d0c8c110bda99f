"""kill -9 at every step: nothing is lost, nothing is made twice, nothing is left over."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import pytest

from tests.events import START, record
from tests.processes import Service, Tripwire
from tests.servers import MemoryServer

_STEPS = 16  # more commands than one event with its reconcile sends; a step that is never reached ends the search


async def _vello(service: Service, kind: str, data: dict[str, Any]) -> bool:
    """One event; False when the service died before it answered, so Vello will send it again."""
    with suppress(httpx.HTTPError):
        return (await service.say(kind, data)).status_code == 200
    return False


@pytest.mark.timeout(600)
@pytest.mark.parametrize("after", [False, True], ids=["before the store had it", "before its answer came"])
@pytest.mark.parametrize(
    ("told", "taken_back"),
    [
        ("record.update_metadata", False),
        ("record.updated", False),
        ("record.updated", True),
        ("record.cancelled", False),
        ("record.cancelled", True),
    ],
)
async def test_a_kill_at_any_step_loses_nothing(
    store_url: str, meeting_server: MemoryServer, told: str, taken_back: bool, after: bool
) -> None:
    """The event is told to a service that dies at its n-th command to the store, for every n; Vello repeats it.

    `taken_back`: before anybody took over, Vello said that the booking is as it was before the event.
    """
    trips = 0
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(Tripwire(store_url))

        async def fresh() -> Service:
            service = Service(REDIS_URL=wire.url, LEASE_SECONDS="1", LOG_LEVEL="error")
            return await stack.enter_async_context(service)

        service = await fresh()
        await service.connect(meeting_server.url)
        for step in range(1, _STEPS):
            await meeting_server.reset()
            data = record()
            if told != "record.update_metadata":
                assert await _vello(service, "record.update_metadata", data)
                data |= {"version": 2, "time": START + 3600, "canceled": told == "record.cancelled"}
            wire.arm(service, step, after=after)
            answered = await _vello(service, told, data)
            with suppress(httpx.HTTPError):
                await service.settled(data["id"])
            wire.disarm()
            if not wire.tripped:
                break
            trips += 1
            service = await fresh()
            if not answered:
                assert await _vello(service, told, data)
            if taken_back:
                data |= {"version": 3, "time": START, "canceled": False}
                assert await _vello(service, "record.updated", data)
            await _right(service, meeting_server, data)
    assert trips >= 3


async def _right(service: Service, vendor: MemoryServer, data: dict[str, Any]) -> None:
    seen = await service.settled(data["id"])
    standing = [(meeting["id"], meeting["start"]) for meeting in await vendor.meetings()]
    if data["canceled"]:
        assert (seen["state"], standing) == ("gone", [])
    else:
        assert seen["state"] == "ready"
        assert standing == [(seen["meeting_id"], data["time"])]


@pytest.mark.parametrize("lost", [False, True], ids=["while the provider works", "after it lost its answer"])
async def test_a_kill_in_the_middle_of_a_providers_call_makes_no_second_meeting(
    store_url: str, meeting_server: MemoryServer, lost: bool
) -> None:
    data = record()
    service = Service(REDIS_URL=store_url, LEASE_SECONDS="1", LOG_LEVEL="error", ANSWER_DEADLINE="0.3")
    async with service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(delay=0.0 if lost else 0.8, lose_answers=int(lost), only="create")
        answer = await service.say("record.update_metadata", data)
        assert "/m/" in answer.json()["metadata"]["video_link"]
        service.kill()
    await meeting_server.faults()
    async with Service(REDIS_URL=store_url, LEASE_SECONDS="1", LOG_LEVEL="error") as heir:
        await _right(heir, meeting_server, data)
    assert len(await meeting_server.calls("create")) == 1


async def test_what_was_acknowledged_survives_service_and_embedded_store(
    tmp_path: Any, meeting_server: MemoryServer
) -> None:
    """The service and the Valkey it supervises both end without warning, five times, in the middle of bookings."""
    bookings = [record() for _ in range(20)]
    for number in range(5):
        async with Service(DATA_DIR=str(tmp_path), LEASE_SECONDS="1", LOG_LEVEL="error") as service:
            if number == 0:
                await service.connect(meeting_server.url)
            mine = bookings[number * 4 : number * 4 + 4]
            answers = await asyncio.gather(*[_vello(service, "record.update_metadata", data) for data in mine])
            assert all(answers)
            for data in mine:
                data |= {"version": 2, "time": START + 60}
            assert all(await asyncio.gather(*[_vello(service, "record.updated", data) for data in mine]))
            service.kill()
    async with Service(DATA_DIR=str(tmp_path), LEASE_SECONDS="1", LOG_LEVEL="error") as service:
        for data in bookings:
            assert (await service.settled(data["id"]))["state"] == "ready"
        assert await service.stop() == 0
    assert sorted(meeting["start"] for meeting in await meeting_server.meetings()) == [START + 60] * 20
