"""A store that is lost with 500 meetings standing at Zoom and in a Google calendar, and how they come back."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest

from providers.base import Meeting, MeetingProvider, MeetingSpec
from providers.google_account import EVENTS
from service.plan import key_of
from service.store import Store
from service.swept import Kind
from tests.events import record
from tests.fakes.google_server import GoogleServer
from tests.fakes.zoom_server import ZoomServer
from tests.ports import free_port
from tests.processes import Service
from tests.providers.googling import delegated
from tests.providers.zooming import S2S, connected
from tests.running import Running, running
from tests.servers import MemoryServer
from tests.test_google_bookings import environment
from tests.test_sweep import OWNER
from tests.test_zoom_bookings import own_app, zoomed
from tests.waiting import wait_until

ANNA = "anna@example.org"
EACH = 250
"""Bookings at each of the two."""
OFFICE = "1aeef479-7c49-40e2-9ab6-09fd454fa226"
"""The one that chose Google; all others have Zoom."""
DAY = 86_400


@asynccontextmanager
async def served(store_url: str, zoom: ZoomServer, google: GoogleServer) -> AsyncIterator[Running]:
    """A service with both, without connections."""
    given = {**environment(google), "ZOOM_OAUTH_URL": zoom.oauth_url, "ZOOM_API_URL": zoom.api_url}
    async with running(store_url, **given, ANSWER_DEADLINE="30") as service:
        yield service


async def account(service: Running, **fields: Any) -> str:
    made = await service.admin("POST", "/connections", json=fields)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def chosen(service: Running, google: GoogleServer) -> None:
    """Both accounts are connected, swept, and chosen."""
    zooms = await account(service, provider="zoom", method="server_to_server", **S2S)
    key = await google.key()
    robot = await account(
        service, provider="google_meet", method="service_account", key=key, subject=ANNA, mode="calendar"
    )
    await service.app.app.state.sweep.run()
    zoom_choice = {"connection": zooms, "link": "direct", "default_host": ANNA}
    for office, choice in (("default", zoom_choice), (OFFICE, {"connection": robot, "link": "direct"})):
        answer = await service.admin("PUT", f"/offices/{office}", json=choice)
        assert answer.status_code == 200, answer.text


async def together(calls: Sequence[Awaitable[Any]], most: int = 20) -> list[Any]:
    """All of them, some at a time."""
    places = asyncio.Semaphore(most)

    async def one(call: Awaitable[Any]) -> Any:
        async with places:
            return await call

    return list(await asyncio.gather(*map(one, calls)))


async def standing(zoom: ZoomServer, google: GoogleServer) -> dict[str, str]:
    """The link of every meeting that stands, by its id."""
    found = {str(meeting["id"]): str(meeting["join_url"]) for meeting in await zoom.meetings()}
    return found | {event["id"]: event["hangoutLink"] for event in await google.events()}


def a_spec(data: dict[str, Any], host: str | None) -> MeetingSpec:
    """What the service asks for, for this booking."""
    return MeetingSpec(
        key_of(data["id"]), 0, "Appointment", data["time"], data["duration"], host=host, owner=OWNER, options={}
    )


async def made_before(zoom: ZoomServer, google: GoogleServer, bookings: Sequence[dict[str, Any]]) -> dict[str, Meeting]:
    """The bookings' meetings, as the service that has lost its store made them."""
    async with AsyncExitStack() as stack:
        zooms = await stack.enter_async_context(connected(zoom, S2S))
        robot = await stack.enter_async_context(delegated(google, mode="calendar"))

        async def make(data: dict[str, Any]) -> Meeting:
            at_google = data["office"] == OFFICE
            provider: MeetingProvider = robot if at_google else zooms
            return await provider.create(a_spec(data, None if at_google else ANNA))

        meetings = await together([make(data) for data in bookings], 4)
    return {data["id"]: meeting for data, meeting in zip(bookings, meetings, strict=True)}


@pytest.mark.timeout(600)
async def test_500_meetings_come_back_with_vellos_next_events_and_none_is_left_or_made_twice(
    store: Store, store_url: str, zoom: ZoomServer, google: GoogleServer
) -> None:
    await zoom.control("PUT", "limits", {"plan": None, "per_user": 10_000})
    await google.limits(calendar_per_user=None)
    await google.delegate(EVENTS)
    soon = int(time.time()) // 60 * 60 + DAY
    bookings = [record(time=soon + 1800 * number, created=1_500_000_000) for number in range(2 * EACH)]
    for data in bookings[EACH:]:
        data["office"] = OFFICE
    made = await made_before(zoom, google, bookings)
    before, calls = await standing(zoom, google), len(await zoom.calls("create"))
    assert len(before) == 2 * EACH
    async with served(store_url, zoom, google) as service:
        await chosen(service, google)
        said = [("update_metadata", data) for data in bookings]
        gone = set()
        for number in range(0, 2 * EACH, 10):  # of ten one is moved, one cancelled and one deleted
            moved, cancelled, deleted = bookings[number], bookings[number + 1], bookings[number + 2]
            said[number] = ("updated", {**moved, "time": moved["time"] + 900, "version": 2})
            said[number + 1] = ("cancelled", {**cancelled, "canceled": True, "version": 2})
            said[number + 2] = ("deleted", {"id": deleted["id"]})
            gone |= {cancelled["id"], deleted["id"]}
        answers = await together([service.say(f"record.{kind}", data) for kind, data in said])
        for data in bookings:
            await service.settled(data["id"], 60)
        for (kind, data), answer in zip(said, answers, strict=True):
            if kind == "update_metadata":
                assert answer["metadata"]["video_link"] == made[data["id"]].join_url
        kept = {meeting.id: meeting.join_url for id_, meeting in made.items() if id_ not in gone}
        assert await standing(zoom, google) == kept
        assert len(await zoom.calls("create")) == calls
        assert (await service.app.app.state.sweep.look()).findings == []
    assert (await zoom.state())["junk"] == []
    assert (await google.state())["junk"] == []


async def sweeping(services: Sequence[Service], *options: str) -> list[dict[str, Any]]:
    """What `vello-meetings sweep` finds, in a process of its own."""
    environment = services[0].environment
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "service", "sweep", "--json", *options),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    findings: list[dict[str, Any]] = json.loads(out)["findings"]
    return findings


@pytest.mark.timeout(240)
async def test_sweeps_amid_events_and_dying_services_lose_nothing_and_leave_nothing(
    store_url: str, meeting_server: MemoryServer
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    common: dict[str, Any] = {"REDIS_URL": store_url, "PUBLIC_URL": url, "LEASE_SECONDS": "1", "LOG_LEVEL": "error"}
    soon = int(time.time()) // 60 * 60 + DAY
    bookings = [record(time=soon + 1800 * number) for number in range(16)]
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(Service(**common)) for _ in range(2)]
        for each in services:
            each.endpoint = f"{url}/webhooks/vello"
        await services[0].connect(meeting_server.url)
        await meeting_server.faults(older=3600, delay=0.02)  # nothing is too young for a sweep

        async def vello(kind: str, data: dict[str, Any]) -> None:
            """Sent again until it is taken, as Vello does."""

            async def taken() -> bool:
                for each in services:
                    with suppress(httpx.HTTPError):
                        if (await each.say(kind, data)).status_code == 200:
                            return True
                return False

            await wait_until(taken, 30)

        async def life(number: int, data: dict[str, Any]) -> None:
            await vello("record.update_metadata", data)
            data |= {"time": data["time"] + 600, "version": 2}
            await vello("record.updated", data)
            if number % 4 == 0:
                data |= {"canceled": True, "version": 3}
                await vello("record.cancelled", data)

        lives = asyncio.ensure_future(together([life(number, data) for number, data in enumerate(bookings)], 4))
        while not lives.done():
            await sweeping(services)
            services[0].kill()
            await services[0].start()
        await lives
        for data in bookings:
            await services[0].settled(data["id"], 60)
        await sweeping(services)
        for data in bookings:
            await services[0].settled(data["id"], 60)
        assert await sweeping(services, "--dry-run") == []
    starts = {meeting["key"]: meeting["start"] for meeting in await meeting_server.meetings()}
    assert starts == {key_of(data["id"]): data["time"] for data in bookings if not data["canceled"]}
    assert len(await meeting_server.meetings()) == len(starts)


async def test_a_host_who_is_gone_hides_nobody_elses_meetings(store_url: str, zoom: ZoomServer) -> None:
    """Those whom offices chose are looked at, and those whom the account names besides."""
    async with zoomed(store_url, zoom) as service:
        connection = await own_app(service, default_host=f"{ANNA}, gone@example.org")
        data = record(time=int(time.time()) // 60 * 60 + DAY)
        await service.link(data)
        (meeting,) = await zoom.meetings()
        await zoom.control("DELETE", f"meetings/{meeting['id']}")
        async with connected(zoom, S2S) as provider:
            await provider.create(a_spec(record(time=data["time"]), "ben@example.org"))
        done = await service.app.app.state.sweep.run()
        assert {(each.kind, each.record) for each in done.findings} == {(Kind.REPAIR, data["id"]), (Kind.NOTE, None)}
        assert list(done.report.left) == [connection]
        assert (await service.settled(data["id"]))["state"] == "ready"
    assert len(await zoom.meetings()) == 2
    assert (await zoom.state())["junk"] == []
