"""Link modes and the promise: whatever fails, the link that Vello was told works when the meeting starts.

Each row of `TROUBLES` is one thing that goes wrong, and what customers read meanwhile. Everything happens as it would:
events are signed and sent, providers are servers that fail, customers open the link that Vello was told.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import pytest

from service.ledger import RETENTION
from service.shards import shard_keys, shard_of
from service.store import Store
from tests.events import START, record
from tests.fakes.zoom_server import ZoomServer
from tests.ports import NO_TLS
from tests.running import PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_zoom_bookings import ANNA, choose, connected, own_app, zoomed
from tests.waiting import wait_until

CONTACT = "Call 09 123 456"
PATIENCE, IMPATIENCE = "20", "4"
"""Seconds for which Vello waits, where the deadline is not the point and where it is."""

COMING, LATE, TROUBLE, JOIN = (
    "You need not do anything",
    "takes longer than usual",
    "There is a problem",
    "Join the meeting",
)
"""What a customer reads: it is being prepared; so it is, and late; somebody must do something first; come in."""


class World:
    """A service, its customers, and the two vendors that may fail."""

    def __init__(self, service: Running, store: Store, memory: MemoryServer, zoom: ZoomServer) -> None:
        self.service, self.store, self.memory, self.zoom = service, store, memory, zoom

    async def reads(self, link: str) -> str:
        """Which of the four a customer reads at `link`."""
        page = await self.service.client.get(link)
        assert page.status_code == 200
        said = next(text for text in (JOIN, TROUBLE, LATE, COMING) if text in page.text)
        assert (CONTACT in page.text) is (said != JOIN)
        assert ("http-equiv" in page.text) is (said != JOIN)  # it looks again by itself
        return said

    async def leads_in(self, link: str) -> bool:
        """Whether a customer who opens the link, and presses Join where it is ours, stands in a meeting that exists."""
        if link.startswith(PUBLIC):
            into = await self.service.client.get(f"{link}/join")
            if into.status_code != 303:
                return False
            link = into.headers["location"]
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as customer:
            return (await customer.get(link)).status_code == 200

    async def starts(self) -> list[int]:
        """When the meetings start that stand at the vendors."""
        own = [int(meeting["start"]) for meeting in await self.memory.meetings()]
        theirs = [meeting["start_time"] for meeting in await self.zoom.meetings()]
        return own + [int(datetime.fromisoformat(start).timestamp()) for start in theirs]


Act = Callable[[World], Awaitable[Any]]


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, how it ends, and what customers without a meeting read in between."""

    begins: Act
    ends: Act
    reads: str
    vendor: str = "memory"
    look_again: bool = False
    """An admin has to press "Look again now": waiting alone ends it only tomorrow, or never."""
    deadline: str = PATIENCE


def fails(**fault: Any) -> Act:
    return lambda world: world.memory.faults(fail=[{"times": 99, **fault}])


async def recovers(world: World) -> None:
    await world.memory.faults()


async def day_is_used_up(world: World) -> None:
    await world.zoom.control("PUT", "limits", {"per_user": 0})


async def next_day(world: World) -> None:
    """What was drawn yesterday counts no more, at Zoom and here."""
    await world.zoom.control("PUT", "limits", {"per_user": 100})
    for key in await world.store.execute("KEYS", "vm:budget:*"):
        await world.store.execute("DEL", key)


TROUBLES = {
    "answers after the deadline": Trouble(
        lambda world: world.memory.faults(hold=True), recovers, COMING, deadline=IMPATIENCE
    ),
    "is down": Trouble(fails(status=503), recovers, LATE),
    "loses its answer": Trouble(lambda world: world.memory.faults(lose_answers=99), recovers, LATE),
    "wants fewer calls": Trouble(fails(status=429, retry_after=1), recovers, LATE),
    "has a day's limit": Trouble(day_is_used_up, next_day, LATE, "zoom", look_again=True),
    "wants to be connected again": Trouble(
        lambda world: world.zoom.control("POST", "revoke", {"client_id": "user-app", "user": ANNA}),
        lambda world: connected(world.service),
        TROUBLE,
        "zoom of a person",
    ),
    "refuses": Trouble(fails(status=403), recovers, TROUBLE, look_again=True),
}
troubles = pytest.mark.parametrize(
    "trouble", list(TROUBLES.values()), ids=[name.replace(" ", "-") for name in TROUBLES]
)
modes = pytest.mark.parametrize("mode", ["direct", "hosted"])


@asynccontextmanager
async def world(
    store_url: str, store: Store, memory: MemoryServer, zoom: ZoomServer, mode: str, trouble: Trouble
) -> AsyncIterator[World]:
    """A service whose only connection works so far."""
    vendor = trouble.vendor
    async with zoomed(store_url, zoom, ANSWER_DEADLINE=trouble.deadline) as service:
        if vendor == "memory":
            connection = await service.connect(memory.url)
        else:
            connection = await (own_app if vendor == "zoom" else connected)(service)
        host = ANNA if vendor == "zoom" else None
        await choose(service, connection, link=mode, contact=CONTACT, default_host=host)
        assert (await service.admin("POST", f"/connections/{connection}/test")).json()["ok"]
        yield World(service, store, memory, zoom)


@modes
@troubles
async def test_a_new_bookings_link_is_true_before_and_after_and_never_changes(
    store_url: str, store: Store, meeting_server: MemoryServer, zoom: ZoomServer, trouble: Trouble, mode: str
) -> None:
    """Vello is told the booking's page in both modes; the page says what is so; later it leads into the meeting."""
    data = record()
    async with world(store_url, store, meeting_server, zoom, mode, trouble) as w:
        await trouble.begins(w)
        link = await w.service.link(data)
        assert link
        assert link.startswith(f"{PUBLIC}/m/")

        async def so() -> bool:
            return await w.reads(link) == trouble.reads

        await wait_until(so)
        assert not await w.leads_in(link)
        shown = await w.service.record(data["id"])
        assert (shown["link"], shown["vello_told"], shown["join_url"]) == (link, True, None)

        await trouble.ends(w)
        if trouble.look_again:
            await w.service.admin("POST", f"/records/{data['id']}/reconcile")
        ready = await w.service.settled(data["id"], 20)
        assert (ready["state"], ready["link"], ready["vello_told"]) == ("ready", link, True)
        assert await w.reads(link) == JOIN
        assert await w.leads_in(link)
        assert await w.starts() == [START]
        assert await w.service.link(data) == link


@modes
@troubles
async def test_a_link_that_vello_was_told_works_all_the_time_while_its_booking_moves(
    store_url: str, store: Store, meeting_server: MemoryServer, zoom: ZoomServer, trouble: Trouble, mode: str
) -> None:
    """The meeting follows as soon as it can; the link is the same before, meanwhile and afterwards."""
    data = record()
    moved = {**data, "version": 2, "time": START + 3600}
    async with world(store_url, store, meeting_server, zoom, mode, trouble) as w:
        link = await w.service.link(data)
        assert link
        assert link.startswith(PUBLIC) is (mode == "hosted")
        await trouble.begins(w)
        assert await w.service.link(moved) == link
        assert await w.leads_in(link)
        shown = await w.service.record(data["id"])
        assert (shown["link"], shown["vello_told"]) == (link, True)
        if mode == "hosted":
            assert await w.reads(link) == JOIN

        await trouble.ends(w)
        if trouble.look_again:
            await w.service.admin("POST", f"/records/{data['id']}/reconcile")
        ready = await w.service.settled(data["id"], 20)
        assert (ready["state"], ready["link"], ready["vello_told"]) == ("ready", link, True)
        assert await w.leads_in(link)
        assert await w.starts() == [START + 3600]


async def test_a_refusal_is_given_up_in_the_end_and_the_page_goes_on_saying_so_until_it_is_mended(
    store_url: str, store: Store, meeting_server: MemoryServer, zoom: ZoomServer
) -> None:
    data = record()
    async with world(store_url, store, meeting_server, zoom, "direct", TROUBLES["refuses"]) as w:
        await meeting_server.faults(fail=[{"status": 403, "times": 3}])
        link = str(await w.service.link(data))
        assert (await w.service.settled(data["id"], 20))["state"] == "failed"
        assert await w.reads(link) == TROUBLE
        assert await w.service.link(data) == link  # Vello asks again, and so it is tried again
        assert (await w.service.settled(data["id"]))["state"] == "ready"
        assert await w.leads_in(link)


@modes
async def test_a_meeting_is_replaced_only_when_the_new_one_stands_and_vello_learns_of_it_when_it_asks(
    store_url: str, store: Store, meeting_server: MemoryServer, zoom: ZoomServer, mode: str
) -> None:
    """The one rule by which a direct link changes. While the other provider is down, the old link leads in."""
    data = record()
    with MemoryServer() as other:
        async with world(store_url, store, meeting_server, zoom, mode, TROUBLES["is down"]) as w:
            link = str(await w.service.link(data))
            await other.faults(fail=[{"status": 503, "times": 99}], only="create")
            await choose(w.service, await w.service.connect(other.url), link=mode, move=True)
            await w.service.admin("POST", f"/records/{data['id']}/reconcile")

            async def tried() -> bool:
                return bool(await other.calls("create"))

            await wait_until(tried)
            assert await w.leads_in(link)
            await other.faults()
            new = await w.service.settled(data["id"], 20)
            assert new["join_url"].startswith(other.url)
            assert new["vello_told"] is (mode == "hosted")
            told = str(await w.service.link(data))
            assert told == new["link"] == (link if mode == "hosted" else new["join_url"])
            assert await w.leads_in(told)
            assert (await w.service.record(data["id"]))["vello_told"]
            assert await meeting_server.meetings() == []


async def test_who_asks_while_a_meeting_is_being_replaced_gets_a_link_that_outlives_it(
    store_url: str, store: Store, meeting_server: MemoryServer, zoom: ZoomServer
) -> None:
    """It is the booking's page: it leads into the old meeting, then into the new one, and Vello keeps it."""
    data = record()
    with MemoryServer() as other:
        async with world(store_url, store, meeting_server, zoom, "direct", TROUBLES["is down"]) as w:
            direct = str(await w.service.link(data))
            await other.faults(fail=[{"status": 503, "times": 99}], only="create")
            await choose(w.service, await w.service.connect(other.url), move=True)
            link = str(await w.service.link(data))
            assert link.startswith(f"{PUBLIC}/m/")
            assert await w.leads_in(direct)
            assert await w.leads_in(link)
            await other.faults()
            assert (await w.service.settled(data["id"], 20))["vello_told"]
            assert await w.leads_in(link)
            assert await w.service.link(data) == link


@pytest.mark.parametrize("ending", [None, "record.cancelled"], ids=["held", "cancelled"])
async def test_a_hosted_link_lives_until_its_meeting_has_ended_and_for_the_retention(
    store_url: str, store: Store, meeting_server: MemoryServer, ending: str | None
) -> None:
    """Also after the booking moved; once cancelled it says so for as long."""
    data, later = record(), START + 86_400
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        link = str(await service.link(data))
        await service.say("record.updated", {**data, "version": 2, "time": later})
        if ending:
            await service.say(ending, {**data, "version": 3, "time": later, "canceled": True})
        await service.settled(data["id"])
        token, shard = link.rpartition("/")[2], shard_of(data["id"])
        beginning = shard_keys(shard)[0].removesuffix("due")
        gone_at = [
            int(await store.execute("EXPIRETIME", f"{beginning}{key}")) for key in (f"m:{token}", f"r:{data['id']}")
        ]
        assert gone_at == [later + data["duration"] + RETENTION] * 2
        assert await service.link({**data, "version": 4, "time": later}) == link
