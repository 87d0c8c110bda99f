"""Processes in a cluster: how they stop, what each role does, clocks that disagree, a start without a provider."""

import asyncio
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.events import START, record
from tests.ports import free_port
from tests.processes import Service
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.tools import need
from tests.waiting import wait_until

GRACE = 30
"""Seconds a cluster waits after SIGTERM by default."""
LONG_LEASE = "120"  # seconds; nobody may wait for one of these to end


@pytest.fixture
async def vendor() -> AsyncIterator[MemoryServer]:
    """A meeting server of this test alone: a call it still holds when the test ends makes a meeting for nobody."""
    async with MemoryServer() as server:
        yield server


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


async def direct(service: Service) -> None:
    """Let every office have the meeting's own link."""
    chosen = (await service.admin("GET", "/offices/default")).json()
    await service.admin("PUT", "/offices/default", json={"connection": chosen["connection"], "link": "direct"})


async def called(vendor: MemoryServer, verb: str) -> None:
    async def arrived() -> bool:
        return bool(await vendor.calls(verb))

    await wait_until(arrived, 20)


async def test_a_stop_takes_nothing_new_and_finishes_the_answer_it_is_giving(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with Service(
        REDIS_URL=store_url, LOG_LEVEL="error", LEASE_SECONDS=LONG_LEASE, ANSWER_DEADLINE="30"
    ) as service:
        await service.connect(meeting_server.url)
        await direct(service)
        await meeting_server.faults(hold=True, only="create")
        answer = asyncio.create_task(service.say("record.update_metadata", record()))
        await called(meeting_server, "create")
        assert service.process
        service.process.send_signal(signal.SIGTERM)
        await wait_until(lambda: refuses(service.port), 20)
        assert not answer.done(), "it refuses others while it still answers"
        await meeting_server.faults()
        link = (await answer).json()["metadata"]["video_link"]
        assert link.startswith(meeting_server.url)
        assert await asyncio.to_thread(service.process.wait, GRACE) == 0
    assert len(await meeting_server.meetings()) == 1


@pytest.mark.timeout(300)
async def test_a_stop_while_a_provider_hangs_ends_in_time_and_leaves_its_work_to_others_at_once(
    store_url: str, vendor: MemoryServer
) -> None:
    data = record()
    service = Service(REDIS_URL=store_url, LOG_LEVEL="error", LEASE_SECONDS=LONG_LEASE, ANSWER_DEADLINE="0.5")
    other = Service("--role", "worker", REDIS_URL=store_url, LOG_LEVEL="error", LEASE_SECONDS=LONG_LEASE)
    async with service, other:
        await service.connect(vendor.url)
        await vendor.faults(delay=60.0, only="create")
        assert "/m/" in (await service.say("record.update_metadata", data)).json()["metadata"]["video_link"]
        await called(vendor, "create")
        await vendor.faults()
        began = time.monotonic()
        assert await service.stop() == 0
        assert time.monotonic() - began < GRACE

        async def stands() -> bool:
            return len(await vendor.meetings()) == 1

        await wait_until(stands, 20)
        assert await other.stop() == 0
    async with Service(REDIS_URL=store_url, LOG_LEVEL="error") as heir:
        assert (await heir.settled(data["id"]))["state"] == "ready"


async def test_web_answers_and_worker_carries_out(store_url: str, meeting_server: MemoryServer) -> None:
    data = record()
    moved = {**data, "version": 2, "time": START + 60}
    async with Service("--role", "web", REDIS_URL=store_url, LOG_LEVEL="error") as web:
        await web.connect(meeting_server.url)
        assert (await web.say("record.update_metadata", data)).json()["metadata"]["video_link"]
        assert len(await meeting_server.meetings()) == 1, "web carries out what Vello waits for"
        assert (await web.say("record.updated", moved)).status_code == 200
        assert (await web.admin("GET", f"/records/{data['id']}")).json()["state"] == "pending"
        async with Service("--role", "worker", REDIS_URL=store_url, LOG_LEVEL="error") as worker:
            assert (await web.settled(data["id"]))["state"] == "ready"
            assert [meeting["start"] for meeting in await meeting_server.meetings()] == [START + 60]
            assert (await worker.say("record.updated", moved)).status_code == 404
            assert [(await worker.request("GET", path)).status_code for path in ("/", "/m/x", "/api/v1/offices")] == [
                404,
                404,
                404,
            ]
            for service in (web, worker):
                for path in ("/livez", "/readyz", "/metrics"):
                    assert (await service.request("GET", path)).status_code == 200
            assert await worker.stop() == 0
        assert await web.stop() == 0


async def test_a_start_needs_no_provider(store_url: str, meeting_server: MemoryServer) -> None:
    data = record()
    async with Service(REDIS_URL=store_url, LOG_LEVEL="error") as first:
        await first.connect("http://127.0.0.1:1")
        assert await first.stop() == 0
    async with Service(REDIS_URL=store_url, LOG_LEVEL="error") as service:
        link = (await service.say("record.update_metadata", data)).json()["metadata"]["video_link"]
        assert (await service.request("GET", urlsplit(link).path)).status_code == 200
        await service.connect(meeting_server.url)
        await service.say("record.update_metadata", data)
        assert (await service.settled(data["id"]))["state"] == "ready"


async def skewed(stack: AsyncExitStack, minutes: int, store_url: str) -> Service:
    """A service whose wall clock is off."""
    asked = [need("faketime"), "-f", "+0", "sh", "-c", "echo $LD_PRELOAD"]
    library = (
        await asyncio.to_thread(subprocess.run, asked, capture_output=True, text=True, check=True)
    ).stdout.strip()
    off = {"LD_PRELOAD": library, "FAKETIME": f"{minutes:+d}m", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    service = Service(REDIS_URL=store_url, LOG_LEVEL="error", LEASE_SECONDS="6", ANSWER_DEADLINE="1")
    service.environment |= off
    await stack.enter_async_context(service)
    said = parsedate_to_datetime((await service.request("GET", "/livez")).headers["date"])
    assert abs(said.timestamp() - time.time() - minutes * 60) < 60, "its clock is off as it was told"
    return service


async def test_a_start_waits_for_a_store_that_starts_as_well(tmp_path: Path) -> None:
    """As on a fresh cluster, and on one whose store comes back: who gave up would be tried again minutes later."""
    log, store = tmp_path / "log", StoreServer(port=free_port())
    service = Service(log=log, REDIS_URL=f"redis://127.0.0.1:{store.port}/0", LOG_FORMAT="json")
    starting = asyncio.create_task(service.start())
    try:
        await wait_until(lambda: log.exists() and "store_awaited" in log.read_text())
        async with store:
            await starting
            assert log.read_text().count("store_awaited") == 1
            assert await service.stop() == 0
    finally:
        starting.cancel()
        service.kill()


async def test_clocks_that_disagree_by_twenty_minutes_do_no_harm(store_url: str, vendor: MemoryServer) -> None:
    held, retried, orphaned = record(), record(), record()
    async with AsyncExitStack() as stack:
        fast, slow = await skewed(stack, 10, store_url), await skewed(stack, -10, store_url)
        await fast.connect(vendor.url)

        await vendor.faults(delay=8.0, only="create")
        await fast.say("record.update_metadata", held)  # works on it for longer than a lease, and keeps it
        assert (await slow.settled(held["id"]))["state"] == "ready"
        assert len(await vendor.calls("create")) == 1

        await vendor.faults(fail=[{"status": 429, "times": 1, "retry_after": 3}], only="create")
        await slow.say("record.update_metadata", retried)
        waits = (await fast.admin("GET", f"/records/{retried['id']}")).json()
        assert waits["state"] == "ready" or abs(waits["next_attempt_at"] - time.time()) < 60
        assert (await fast.settled(retried["id"]))["state"] == "ready"

        await fast.say("record.cancelled", {"id": retried["id"]})
        await slow.say("record.updated", {**retried, "version": None, "changed": int(time.time()) - 300})
        assert (await slow.settled(retried["id"]))["state"] == "gone", "what was written before it stays older"

        await vendor.faults(delay=30.0, only="create")
        await fast.say("record.update_metadata", orphaned)
        fast.kill()
        await vendor.faults()
        found = await slow.settled(orphaned["id"])
        assert found["state"] == "ready"
        assert "takeover" in [line["what"] for line in found["journal"]]
        for data in (held, retried, orphaned):
            story = (await slow.admin("GET", f"/records/{data['id']}")).json()["journal"]
            assert [line for line in story if abs(line["at"] - time.time()) > 120] == []


async def test_a_door_opens_at_the_same_time_whatever_clock_a_process_has(store_url: str) -> None:
    """It opens 15 minutes before; one clock would open it 10 minutes early, the other 10 minutes late."""
    near, far = record(time=int(time.time()) + 600), record(time=int(time.time()) + 1200)
    jitsi = {"provider": "jitsi", "url": "https://meet.example.org", "app_id": "app", "secret": "s" * 32}
    async with AsyncExitStack() as stack:
        fast, slow = [await skewed(stack, minutes, store_url) for minutes in (10, -10)]
        made = await fast.admin("POST", "/connections", json=jitsi)
        await fast.admin("PUT", "/offices/default", json={"connection": made.json()["id"]})
        for data, status in ((near, 303), (far, 200)):
            link = (await fast.say("record.update_metadata", data)).json()["metadata"]["video_link"]
            for service in (fast, slow):
                assert (await service.request("GET", f"{urlsplit(link).path}/join")).status_code == status
