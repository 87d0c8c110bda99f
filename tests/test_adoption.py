"""What is judged of a meeting by a sweep holds only as long as its booking is as it was judged."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from providers.base import Meeting, MeetingSpec
from providers.http import Http
from providers.memory import Memory, MemorySettings
from service.entry import Placement
from service.ledger import Ledger
from service.plan import key_of
from service.store import Store
from service.swept import Kind
from service.vello import UPDATE_METADATA
from service.verbs import Change
from tests.events import START, record
from tests.running import running
from tests.servers import MemoryServer
from tests.test_companies_apart import owned
from tests.test_companies_apart import say as told_by
from tests.test_ledger import VAULT, claim, entry_of, say
from tests.test_sweep import HOUR_OLD, TOMORROW, booking, spec, stand, swept
from tests.waiting import wait_until

SPEC = MeetingSpec("0" * 32, 0, "Appointment", START, 1800)


@pytest.fixture
async def vendor(meeting_server: MemoryServer) -> AsyncIterator[Memory]:
    """Somebody at the provider, behind the service's back."""
    http = Http()
    yield Memory(MemorySettings(url=meeting_server.url), http)
    await http.close()


def placed(name: str, generation: int = 0) -> Placement:
    return Placement("zoom-1", replace(SPEC, generation=generation), Meeting(name, f"https://x.example/{name}"))


async def carried_out(ledger: Ledger, about: str, made: Placement) -> None:
    """A run gives a booking its meeting."""
    lease = await claim(ledger, about)
    assert lease
    sets = {**ledger.standing(about, made), "made": str(made.spec.generation), "state": "ready"}
    assert (await ledger.commit(lease, Change("done", sets))).verdict == "ok"


async def test_a_booking_that_got_a_meeting_since_it_was_judged_keeps_that_one(store: Store) -> None:
    """A run makes it without any event, such as one that had waited for its provider."""
    ledger, data, made = Ledger(store, VAULT, lease_seconds=30), record(), placed("made")
    await say(ledger, UPDATE_METADATA, data)
    judged = await entry_of(ledger, data["id"])
    await carried_out(ledger, data["id"], made)
    assert not await ledger.adopt(judged, placed("seen"), "It stood there.", doubt=False)
    now = await entry_of(ledger, data["id"])
    assert (now.meeting, now.retired) == (made, ())


async def test_a_booking_whose_meeting_was_replaced_since_it_was_judged_keeps_the_new_one(store: Store) -> None:
    """An office chose anew, and a run carried it out."""
    ledger, data = Ledger(store, VAULT, lease_seconds=30), record()
    await say(ledger, UPDATE_METADATA, data)
    await carried_out(ledger, data["id"], placed("first"))
    await ledger.nudge(data["id"], "An office chose anew.")
    judged = await entry_of(ledger, data["id"])
    await carried_out(ledger, data["id"], placed("second", 2))
    assert not await ledger.adopt(judged, placed("seen", 1), "It stood there.", doubt=False)
    assert (await entry_of(ledger, data["id"])).meeting == placed("second", 2)


async def test_an_unknown_meeting_that_an_event_brought_home_since_it_was_judged_is_not_removed(
    store_url: str, store: Store, meeting_server: MemoryServer, vendor: Memory
) -> None:
    known, other = booking(), booking()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        mine = await vendor.create(spec(known))
        assert [kind for kind, _ in await swept(service)] == ["note"]
        await vendor.create(spec(other, owner=""))  # what is noted holds up what is set right
        await meeting_server.faults(older=HOUR_OLD)
        sweeping = asyncio.create_task(swept(service, remove_unknown=True))

        async def noted() -> bool:
            return bool(await store.execute("EXISTS", f"vm:found:{key_of(other['id'])}"))

        await wait_until(noted)
        assert await service.link({**known, "version": 2}) == mine.join_url
        await sweeping
        assert mine.id in await stand(meeting_server)
        assert (await service.settled(known["id"]))["meeting_id"] == mine.id


async def test_what_an_old_backup_knows_moves_and_removes_nothing_before_vello_had_a_day_to_say_more(
    store_url: str, store: Store, meeting_server: MemoryServer, vendor: Memory
) -> None:
    moved, revived = booking(), booking()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await service.link(moved)
        await service.link(revived)
        await service.say("record.cancelled", {**revived, "canceled": True, "version": 2})
        await service.settled(revived["id"])
        [meeting] = await meeting_server.meetings()
        since = int(time.time()) + 1  # here the backup ends, and all that follows is not in it
        await meeting_server.request("PATCH", f"/meetings/{meeting['id']}", json={"start": TOMORROW + 3600})
        held = await vendor.create(spec(revived, generation=5))
        await meeting_server.faults(older=HOUR_OLD)
        await store.execute("HSET", "vm:sweep", "since", since)
        await wait_until(lambda: time.time() > since + 1.1)
        assert [kind for kind, _ in await swept(service)] == [Kind.REPORT] * 2
        assert await stand(meeting_server) == {meeting["id"]: TOMORROW + 3600, held.id: TOMORROW}
        await store.execute("HSET", "vm:sweep", "since", since - 86_500)
        changed = time.time()
        await wait_until(lambda: time.time() > changed + 1.1)
        assert sorted([kind for kind, _ in await swept(service)]) == [Kind.REMOVE, Kind.REPAIR]
        await service.settled(moved["id"])
        await service.settled(revived["id"])
        assert await stand(meeting_server) == {meeting["id"]: TOMORROW}


async def test_after_a_store_was_lost_no_company_gets_or_removes_a_meeting_at_anothers_account(
    store_url: str, store: Store, meeting_server: MemoryServer
) -> None:
    """Whoever speaks of a booking first is believed then: its id is all that is needed for that."""
    http = Http()
    with MemoryServer() as elsewhere:
        async with running(store_url) as service:
            north = await owned(service, store, meeting_server.url, "northern")
            await owned(service, store, elsewhere.url, "southern")
            data = booking(company=north.id, office=north.office)
            theirs = await Memory(MemorySettings(url=elsewhere.url), http).create(spec(data))
            await elsewhere.faults(older=HOUR_OLD)
            await service.admin("GET", "/connections")  # reads the settings anew
            assert [kind for kind, about in await swept(service) if about is None] == ["note"]
            link = (await told_by(service, north.id, data)).json()["metadata"]["video_link"]
            await service.settled(data["id"])
            assert link is not None
            assert (await service.record(data["id"]))["meeting_id"] != theirs.id
            assert await swept(service) == []
            await told_by(service, north.id, {**data, "version": 9}, "record.deleted")
            await service.settled(data["id"])
            assert await swept(service) == []
            assert theirs.id in await stand(elsewhere)
    await http.close()
