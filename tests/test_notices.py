"""What a vendor tells of its own accord: people's changes are repaired, our own doing and lies are not."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from service.store import Store
from tests.acme import ACME, signature
from tests.authority import CLIENT, Authority
from tests.events import record
from tests.running import PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_connect import CALLBACK, choose, connected, served, shown
from tests.waiting import wait_until

SECRET = "webhook-secret"
LATER = 60.0  # seconds after which a change cannot be ours


@pytest.fixture
async def service(store_url: str, meeting_server: MemoryServer) -> AsyncIterator[Running]:
    async with (
        Authority(CALLBACK, meetings_url=meeting_server.url) as authority,
        served(store_url, authority, ZOOM_WEBHOOK_SECRET=SECRET) as service,
    ):
        yield service


async def tell(service: Running, *, secret: str = SECRET, after: float = LATER, **said: Any) -> httpx.Response:
    """The vendor's webhook, about something that happens `after` seconds from now."""
    body = json.dumps({"at": time.time() + after, **said}).encode()
    headers = {"X-Acme-Signature": signature(body, secret)}
    return await service.client.post(f"{PUBLIC}/webhooks/zoom", content=body, headers=headers)


async def booked(service: Running) -> dict[str, Any]:
    """A booking with its meeting."""
    await choose(service, await connected(service))
    data = record()
    await service.link(data)
    return await service.settled(data["id"])


async def removed(meeting_server: MemoryServer, meeting: str) -> None:
    """Somebody removes a meeting at the vendor."""
    assert (await meeting_server.request("DELETE", f"/meetings/{meeting}")).is_success


async def test_a_challenge_is_answered(service: Running) -> None:
    answer = await tell(service, kind="challenge", answer={"plain": "a", "sealed": "b"})
    assert (answer.status_code, answer.json()) == (200, {"plain": "a", "sealed": "b"})


async def test_a_meeting_that_a_person_removed_is_made_anew(service: Running, meeting_server: MemoryServer) -> None:
    before = await booked(service)
    await removed(meeting_server, before["meeting_id"])
    assert (await tell(service, kind="changed", meeting=before["meeting_id"])).status_code == 200

    async def anew() -> bool:
        now = await service.record(before["id"])
        return bool(now["state"] == "ready" and now["meeting_id"] != before["meeting_id"])

    await wait_until(anew, 10)
    told = [line["text"] for line in (await service.record(before["id"]))["journal"]]
    assert any("Somebody changed or removed the meeting in Acme" in text for text in told)
    assert len(await meeting_server.meetings()) == 1


async def test_the_echo_of_our_own_doing_does_nothing(service: Running, meeting_server: MemoryServer) -> None:
    before = await booked(service)
    calls = await meeting_server.calls()
    assert (await tell(service, kind="changed", meeting=before["meeting_id"], after=0)).status_code == 200
    assert (await tell(service, kind="changed", meeting="of-somebody-else")).status_code == 200
    assert await service.record(before["id"]) == before
    assert await meeting_server.calls() == calls


async def test_a_removed_meeting_of_a_cancelled_booking_does_nothing(service: Running) -> None:
    before = await booked(service)
    await service.say("record.cancelled", {"id": before["id"]})
    gone = await service.settled(before["id"])
    await tell(service, kind="changed", meeting=before["meeting_id"])
    assert (await service.record(before["id"])) == gone


async def test_an_account_that_leaves_is_forgotten_and_its_bookings_wait(service: Running, store: Store) -> None:
    before = await booked(service)
    assert (await tell(service, kind="left", account="anna", client=CLIENT)).status_code == 200
    assert await store.execute("KEYS", "vm:grant:*") == []
    row = await shown(service, before["connection"])
    assert (row["state"], "removed this service in Acme" in row["reason"]) == ("reconnect", True)
    waiting = record()
    await service.link(waiting)
    assert (await service.record(waiting["id"]))["state"] == "pending"
    assert await connected(service) == before["connection"]
    assert (await service.settled(waiting["id"]))["state"] == "ready"


async def test_what_the_vendor_did_not_sign_is_refused(service: Running, store: Store) -> None:
    await booked(service)
    answer = await tell(service, secret="guessed", kind="left", account="anna", client=CLIENT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_signature")
    assert len(await store.execute("KEYS", "vm:grant:*")) == 1


async def test_without_a_secret_nothing_is_taken(store_url: str) -> None:
    async with running(store_url, providers={"zoom": ACME}) as service:
        answer = await tell(service, kind="left", account="anna", client=CLIENT)
        assert (answer.status_code, "ZOOM_WEBHOOK_SECRET" in answer.text) == (404, True)
        assert (await service.client.post(f"{PUBLIC}/webhooks/nobody")).status_code == 404


async def test_nothing_leads_from_a_meeting_that_is_gone_to_its_record(service: Running, store: Store) -> None:
    before = await booked(service)
    assert await store.execute("KEYS", "vm:meeting:*")
    await service.say("record.cancelled", {"id": before["id"]})
    assert (await service.settled(before["id"]))["state"] == "gone"
    assert await store.execute("KEYS", "vm:meeting:*") == []
