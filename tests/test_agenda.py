"""Hosts who hold one meeting at a time: who is free is taken, who is not is warned about."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.store import Store
from tests.events import START, record
from tests.fakes.zoom_server import ZoomServer
from tests.running import Running
from tests.test_zoom_bookings import ANNA, BEN, own_app, zoomed
from tests.waiting import wait_until

BUSY = "The host has another meeting at that time"


@pytest.fixture
async def service(store_url: str, zoom: ZoomServer) -> AsyncIterator[Running]:
    async with zoomed(store_url, zoom) as service:
        yield service


async def booked(service: Running, start: int = START, **fields: Any) -> dict[str, Any]:
    """A booking of half an hour that has its meeting; as the API shows it."""
    data = record(time=start, **fields)
    await service.link(data)
    return {**await service.settled(data["id"]), "data": data}


def warned(shown: dict[str, Any]) -> bool:
    return any(BUSY in line["text"] for line in shown["journal"])


@pytest.mark.parametrize(("second", "warns"), [(START + 1200, True), (START - 1200, True), (START, True)])
async def test_a_second_meeting_at_the_same_time_is_made_and_warned_about(
    service: Running, zoom: ZoomServer, second: int, warns: bool
) -> None:
    await own_app(service)
    assert not warned(await booked(service))
    assert warned(await booked(service, second)) is warns
    assert len(await zoom.meetings()) == 2


@pytest.mark.parametrize("second", [START + 1800, START - 1800])
async def test_one_after_the_other_is_nothing_to_warn_of(service: Running, second: int) -> None:
    await own_app(service)
    await booked(service)
    assert not warned(await booked(service, second))


async def test_of_several_hosts_a_free_one_is_taken_and_the_first_when_nobody_is(
    service: Running, zoom: ZoomServer
) -> None:
    await own_app(service, default_host=f"{ANNA}, {BEN}")
    shown = [await booked(service, START + late) for late in (0, 600, 1200, 2400)]
    assert [one["host"] for one in shown] == [ANNA, BEN, ANNA, BEN]
    assert [warned(one) for one in shown] == [False, False, True, False]


async def test_who_has_a_meeting_keeps_it_when_it_moves(service: Running, zoom: ZoomServer) -> None:
    """Another host would be another link; so it is warned about instead."""
    await own_app(service, default_host=f"{ANNA},{BEN}")
    first, second = await booked(service), await booked(service, START + 86_400)
    assert (first["host"], second["host"]) == (ANNA, ANNA)
    await service.say("record.updated", {**second["data"], "time": START, "version": 2})

    async def told() -> bool:
        return warned(await service.record(second["id"]))

    await wait_until(told)
    assert (await service.record(second["id"]))["join_url"] == second["join_url"]


async def test_who_was_given_back_is_free(service: Running, store: Store) -> None:
    await own_app(service, default_host=f"{ANNA},{BEN}")
    first = await booked(service)
    await service.say("record.cancelled", {**first["data"], "canceled": True, "version": 2})

    async def gone() -> bool:
        return (await service.record(first["id"]))["meeting_id"] is None

    await wait_until(gone)
    assert (await service.settled(first["id"]))["state"] == "gone"
    assert (await booked(service))["host"] == ANNA
    for key in await store.execute("KEYS", "*agenda*"):
        assert await store.execute("TTL", key) > 0


async def test_a_hosts_bookings_are_kept_a_day_longer_than_the_last_however_often_they_are_written(
    service: Running, store: Store
) -> None:
    start = int(time.time()) // 60 * 60 + 86_400
    await own_app(service)
    for hour in (2, 1, 0):
        await booked(service, start + hour * 3600)
    (key,) = await store.execute("KEYS", "*agenda*")
    last = start + 2 * 3600 + 1800 - time.time() + 86_400
    assert last - 60 < await store.execute("TTL", key) < last + 60


async def warnings(service: Running, id_: str) -> list[str]:
    """What the API warns of, for one record and in the list alike."""
    listed = (await service.admin("GET", "/records", warned="true")).json()["records"]
    shown: list[str] = (await service.record(id_))["warnings"]
    assert [one["warnings"] for one in listed if one["id"] == id_] == ([shown] if shown else [])
    return shown


async def test_both_bookings_warn_as_long_as_they_are_at_the_same_time(service: Running) -> None:
    await own_app(service)
    first, second = await booked(service), await booked(service, START + 1200)
    alone = await booked(service, START + 86_400)
    for one in (first, second):
        (text,) = await warnings(service, one["id"])
        assert text.startswith(BUSY)
    assert await warnings(service, alone["id"]) == []
    rest = (await service.admin("GET", "/records", warned="false")).json()["records"]
    assert [one["id"] for one in rest] == [alone["id"]]
    await service.say("record.updated", {**second["data"], "time": START + 7200, "version": 2})

    async def apart() -> bool:
        return not any([(await service.record(one["id"]))["warnings"] for one in (first, second)])

    await wait_until(apart)
    assert (await service.admin("GET", "/records", warned="true")).json()["records"] == []


async def test_pages_of_records_with_warnings_leave_none_out(service: Running) -> None:
    await own_app(service)
    pairs = [
        (await booked(service, START + day * 86_400), await booked(service, START + day * 86_400 + 60))
        for day in range(3)
    ]
    await booked(service, START + 4000)
    seen, cursor = [], "0."
    while cursor:
        page = (await service.admin("GET", "/records", warned="true", limit=2, cursor=cursor)).json()
        seen += [one["id"] for one in page["records"]]
        cursor = page["cursor"]
    assert seen == [one["id"] for pair in pairs for one in pair]


async def test_a_basic_hosts_long_booking_warns(service: Running, zoom: ZoomServer) -> None:
    await own_app(service)
    await zoom.user(ANNA, type=1)
    assert await warnings(service, (await booked(service))["id"]) == []
    (text,) = await warnings(service, (await booked(service, START + 86_400, duration=3600))["id"])
    assert "ends the meeting after 40 minutes" in text
