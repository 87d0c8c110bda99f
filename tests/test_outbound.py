"""Providers that hang, fail and limit: who is held up by it, who is not, and what people are told."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from providers.base import Meeting, MeetingSpec, OutcomeUnknown
from service.shards import shard_of
from service.store import Store
from tests.events import START, record
from tests.running import Running, running
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.test_reconcile import Bench, Careless
from tests.waiting import outage, wait_until

OFFICES = ("1aeef479-7c49-40e2-9ab6-09fd454fa226", "2aeef479-7c49-40e2-9ab6-09fd454fa226")


async def connection(service: Running, identifier: str) -> dict[str, object]:
    """A connection as the API shows it."""
    return dict((await service.admin("GET", f"/connections/{identifier}")).json())


async def broken(service: Running, vendor: MemoryServer, account: str) -> None:
    """Let calls fail until the account is left alone."""
    await vendor.faults(fail=[{"status": 500, "times": 1000}])
    await asyncio.gather(*[service.link(record()) for _ in range(6)])
    await wait_until(lambda: _state(service, account, "failing"))


async def _state(service: Running, account: str, state: str) -> bool:
    return (await connection(service, account))["state"] == state


async def test_a_provider_that_does_not_answer_is_left_alone_and_its_bookings_get_honest_links(
    store_url: str, store: Store, meeting_server: MemoryServer
) -> None:
    async with running(store_url, ANSWER_DEADLINE="30") as service:
        account = await service.connect(meeting_server.url)
        await broken(service, meeting_server, account)
        assert "left alone" in str((await connection(service, account))["reason"])

        async def shut() -> bool:  # for the length of this test; the end of a trial would open it again
            trial = await store.execute("HEXISTS", f"vm:gate:{account}", "trial")
            await store.execute("HSET", f"vm:gate:{account}", "till", "9" * 13)
            return not trial

        await wait_until(shut)
        await outage(1.1)  # what a process believes without a look
        calls, bookings = len(await meeting_server.calls()), [record() for _ in range(30)]
        began = time.monotonic()
        links = await asyncio.gather(*[service.link(data) for data in bookings])
        assert time.monotonic() - began < 20
        assert all(link and "/m/" in link for link in links)
        assert len(await meeting_server.calls()) == calls
        for data in bookings:
            seen = await service.record(data["id"])
            assert (seen["state"], seen["attempts"]) == ("pending", 0)
            assert re.search(r"does not answer; tried again at \d\d:\d\d:\d\d UTC\.$", seen["reason"])
            assert seen["next_attempt_at"]
            assert [line["what"] for line in seen["journal"]] == ["event", "held", "told"]
            row = f"vm:{{s{shard_of(data['id'])}}}:r:{data['id']}"
            assert await store.execute("HEXISTS", row, "intent") == 0  # nothing was begun


async def test_when_it_answers_again_everything_goes_on_by_itself(store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        account = await service.connect(meeting_server.url)
        await broken(service, meeting_server, account)
        bookings = [record() for _ in range(10)]
        links = await asyncio.gather(*[service.link(data) for data in bookings])
        await meeting_server.faults()
        for data, link in zip(bookings, links, strict=True):
            ready = await service.settled(data["id"], 40)
            assert (ready["state"], ready["link"]) == ("ready", link)
        assert await _state(service, account, "ready")
        keys = [meeting["key"] for meeting in await meeting_server.meetings()]
        assert len(keys) == len(set(keys))


async def test_a_limit_holds_up_only_the_booking_it_was_said_to(store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        account = await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 429, "times": 8, "retry_after": 600}], only="create")
        limited = [record() for _ in range(8)]
        links = await asyncio.gather(*[service.link(data) for data in limited])
        assert all(link and "/m/" in link for link in links)
        for data in limited:
            due = (await service.record(data["id"]))["next_attempt_at"]
            assert 500 < due - time.time() < 700
        other = record()
        assert "/join/" in str(await service.link(other))
        assert await _state(service, account, "ready")


async def test_refusals_are_no_reason_to_leave_a_provider_alone(store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 400, "times": 12}], only="create")
        for _ in range(12):
            await service.link(record())
        assert "/join/" in str(await service.link(record()))


class Late(Careless):
    """A vendor that loses the answer of its first create and carries it out after we gave up."""

    def __init__(self, after: float) -> None:
        super().__init__()
        self.after = after
        self.found = 0

    async def create(self, spec: MeetingSpec) -> Meeting:
        if self.made:
            return await super().create(spec)
        self.made += 1
        asyncio.get_running_loop().call_later(self.after, self.meetings.__setitem__, "m-late", spec)
        raise OutcomeUnknown("The answer was lost.")

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        self.found += 1
        return await super().find(spec)


async def carry_on(bench: Bench, about: str, until: Callable[[], Awaitable[bool]]) -> None:
    """Be the worker for one record."""

    async def turn() -> bool:
        for lease in (await bench.ledger.claim([shard_of(about)], 1))[0].leases:
            await bench.start(lease)
        return await until()

    await wait_until(turn)


@pytest.mark.parametrize("crashed", [False, True], ids=["lost", "crashed"])
async def test_a_create_that_may_still_come_true_is_not_asked_for_too_early(store: Store, crashed: bool) -> None:
    """A vendor without idempotency may be slower than we wait: a find before its commit would make a second one."""
    vendor, data = Late(after=2.0), record()
    bench = Bench(store, vendor, settling=6.0)
    await bench.prepare()
    await bench.start(await bench.lease(data))
    if crashed:  # whoever takes over knows only the intent
        await bench.start(await bench.seize(data["id"]))
        found = await bench.ledger.get(data["id"])
        assert found
        assert found[0].reason
        assert "may still carry it out" in found[0].reason.text
    assert vendor.found == 0

    async def has_meeting() -> bool:
        found = await bench.ledger.get(data["id"])
        return bool(found and found[0].meeting)

    await carry_on(bench, data["id"], has_meeting)
    assert list(vendor.meetings) == ["m-late"]


async def by_the_dozen(bookings: list[dict[str, Any]], act: Callable[[dict[str, Any]], Awaitable[object]]) -> None:
    """Something for each of many bookings, not all at once."""
    for some in range(0, len(bookings), 12):
        await asyncio.gather(*[act(data) for data in bookings[some : some + 12]])


async def slowest(times: int, act: Callable[[], Awaitable[object]]) -> float:
    """How long the slowest of a few took, in seconds; no less than the 99th of a hundred."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        await act()
        took.append(time.monotonic() - began)
    return max(took)


@pytest.mark.timeout(300)
async def test_a_connection_that_hangs_slows_no_other() -> None:
    """A hangs for 30 s a call with hundreds of bookings; B is as quick as it is alone."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(StoreServer())
        hanging, fine = [await stack.enter_async_context(MemoryServer()) for _ in range(2)]
        service = await stack.enter_async_context(running(store.url, ANSWER_DEADLINE="10"))
        for office, vendor in zip(OFFICES, (hanging, fine), strict=True):
            made = await service.admin("POST", "/connections", json={"provider": "memory", "url": vendor.url})
            chosen = {"connection": made.json()["id"], "link": "direct"}
            assert (await service.admin("PUT", f"/offices/{office}", json=chosen)).status_code == 200

        async def asks() -> None:
            assert "/join/" in str(await service.link(record(office=OFFICES[1])))

        async def moves() -> None:
            data = record(office=OFFICES[1])
            await service.link(data)
            await service.say("record.updated", {**data, "version": 2, "time": START + 60})
            seen = await service.settled(data["id"])
            assert seen["start"] == START + 60

        waiting = [record(office=OFFICES[0]) for _ in range(300)]
        await by_the_dozen(waiting, service.link)
        alone = await slowest(25, asks), await slowest(15, moves)
        await hanging.faults(delay=30.0)
        moved = [{**data, "version": 2, "time": START + 60} for data in waiting]
        await by_the_dozen(moved, lambda data: service.say("record.updated", data))
        asking = [asyncio.create_task(service.link(record(office=OFFICES[0]))) for _ in range(100)]
        await wait_until(lambda: _many(hanging), 30)
        beside = await slowest(25, asks), await slowest(15, moves)
        links = await asyncio.gather(*asking)
        assert all(link and "/m/" in link for link in links)
        await hanging.faults()
        assert max(beside) < 4 * max(alone) + 12  # machines are busy; one call of A would be 30


async def _many(server: MemoryServer) -> bool:
    return len(await server.calls("create")) >= 350
