"""Runs and what they leave behind: refusals, dead accounts, replacements, zombies, stops."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from providers.base import (
    Capabilities,
    Meeting,
    MeetingProvider,
    MeetingSpec,
    Options,
    OutcomeUnknown,
    ProviderInfo,
    Role,
    TemporaryError,
)
from providers.http import Http
from providers.memory import MemorySettings
from service.agenda import Agendas
from service.budget import Budgets
from service.calls import Calls
from service.choices import Choice, Choices
from service.connections import Connections
from service.entry import Entry, Placement
from service.found import Found
from service.gate import Gate
from service.ledger import Ledger
from service.meetings import Meetings
from service.observer import Observer
from service.plan import key_of
from service.reconcile import Reconciler
from service.runs import Runs
from service.settings import Settings
from service.shards import shard_of
from service.store import Store, StoreUnavailable
from service.swept import Swept
from service.tombs import Tombs
from service.vault import Vault
from service.vello import UPDATE_METADATA
from service.verbs import ZOMBIE, Change, Committed, Known, Lease, Tells
from tests.events import START, event, record
from tests.running import Running, running
from tests.servers import MemoryServer, RawServer, http
from tests.waiting import outage, stand_still, wait_until

VAULT = Vault([("k1", b"k" * 32)])


@pytest.fixture
async def service(store_url: str, meeting_server: MemoryServer) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        yield service


async def test_what_is_refused_for_good_is_given_up_loudly_and_tried_again_at_vellos_next_word(
    service: Running, meeting_server: MemoryServer
) -> None:
    data = record()
    await meeting_server.faults(fail=[{"status": 400, "times": 3}], only="create")
    link = await service.link(data)
    assert link
    failed = await service.settled(data["id"], timeout=20)
    assert (failed["state"], failed["link"]) == ("failed", link)
    assert failed["reason"]
    assert failed["journal"][-1]["what"] == "failed"
    assert "problem" in (await service.client.get(link)).text
    assert len(await meeting_server.calls("create")) == 3
    assert await service.link(data) == link
    assert (await service.settled(data["id"]))["state"] == "ready"


async def test_a_dead_account_parks_its_records_and_a_working_one_wakes_them(store_url: str) -> None:
    data = record()
    with MemoryServer(token="right") as vendor:
        async with running(store_url) as service:
            connection = await service.connect(vendor.url, token="wrong")
            link = await service.link(data)
            assert link
            assert "/m/" in link
            parked = await service.record(data["id"])
            assert parked["state"] == "pending"
            assert parked["next_attempt_at"] > time.time() + 3000  # by itself only after long: a wake-up may be missed
            shown = (await service.admin("GET", f"/connections/{connection}")).json()
            assert shown["state"] == "reconnect"
            assert shown["reason"]
            assert shown["waiting"] == 1
            working = await service.connect(vendor.url, token="right")
            ready = await service.settled(data["id"])
            assert (ready["state"], ready["connection"], ready["link"]) == ("ready", working, link)
            assert (await service.admin("GET", f"/connections/{connection}")).json()["waiting"] == 0


async def test_a_connection_that_works_again_wakes_what_was_parked_on_it(
    service: Running, meeting_server: MemoryServer
) -> None:
    parked = record()
    await meeting_server.faults(fail=[{"status": 401, "times": 1}], only="create")
    await service.link(parked)
    assert (await service.record(parked["id"]))["state"] == "pending"
    assert await service.link(record())
    assert (await service.settled(parked["id"]))["state"] == "ready"


async def test_bookings_that_waited_get_their_meetings_soonest_first(
    store_url: str, meeting_server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.parked.PACE", 0.25)
    waiting = [record(time=START + later) for later in (9000, 0, 3000)]
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 401, "times": 99}], only="create")
        for data in waiting:
            await service.link(data)

        async def left() -> int:
            return int((await service.admin("GET", f"/connections/{connection}")).json()["waiting"])

        assert await left() == 3
        await meeting_server.reset()
        assert (await service.admin("POST", f"/connections/{connection}/test")).json()["ok"]
        for data in waiting:
            assert (await service.settled(data["id"]))["state"] == "ready"
        assert await left() == 0
        keys = [key_of(data["id"]) for data in sorted(waiting, key=lambda data: int(data["time"]))]
        created = [call["key"] for call in await meeting_server.calls("create")]
        assert [key for key in created if key in keys] == keys


async def test_a_meeting_somebody_removed_is_made_anew(service: Running, meeting_server: MemoryServer) -> None:
    data = record()
    await service.link(data)
    gone = (await meeting_server.meetings())[0]["id"]
    await meeting_server.request("DELETE", f"/meetings/{gone}")
    await service.say("record.updated", {**data, "version": 2, "time": START + 60})
    ready = await service.settled(data["id"])
    assert [meeting["id"] for meeting in await meeting_server.meetings()] == [ready["meeting_id"]] != [gone]
    assert not ready["vello_told"]
    assert await service.link({**data, "version": 2, "time": START + 60}) == ready["join_url"]
    assert (await service.record(data["id"]))["vello_told"]


async def test_a_replacement_stands_before_the_old_meeting_goes(store_url: str, meeting_server: MemoryServer) -> None:
    data = record()
    with MemoryServer() as other:
        async with running(store_url) as service:
            await service.connect(meeting_server.url)
            await service.link(data)
            await other.faults(fail=[{"status": 503, "times": 99}], only="create")
            await moved_to(service, await service.connect(other.url))
            await service.link(data)
            assert len(await meeting_server.meetings()) == 1
            await other.faults()
            await service.settled(data["id"])
            assert len(await other.meetings()) == 1
            await wait_until(lambda: _empty(meeting_server))


async def moved_to(service: Running, connection: str, **more: Any) -> None:
    """An admin has all meetings moved to a connection."""
    answer = await service.admin("PUT", "/offices/default", json={"connection": connection, "move": True, **more})
    assert answer.status_code == 200, answer.text


async def test_another_choice_leaves_standing_meetings_where_they_are_until_an_admin_moves_them(
    store_url: str, meeting_server: MemoryServer
) -> None:
    """The old ones follow their bookings there, new ones are made on the new connection, and every link works."""
    direct, cancelled, new = record(), record(), record()
    with MemoryServer() as other:
        async with running(store_url) as service:
            first = await service.connect(meeting_server.url)
            links = [await service.link(data) for data in (direct, cancelled)]
            second = await service.connect(other.url)
            later = {**direct, "version": 2, "time": START + 3600}
            assert await service.link(later) == links[0]
            assert await service.link(new) in [one["join_url"] for one in await other.meetings()]
            await service.say("record.cancelled", {**cancelled, "version": 2, "canceled": True})
            await service.settled(cancelled["id"])
            assert [one["start"] for one in await meeting_server.meetings()] == [START + 3600]
            assert (await service.record(direct["id"]))["connection"] == first
            assert (await service.record(new["id"]))["connection"] == second
            await moved_to(service, second)
            await wait_until(lambda: _empty(meeting_server))
            moved = await service.settled(direct["id"])
            assert (moved["connection"], moved["vello_told"]) == (second, False)
            assert await service.link(later) == moved["join_url"]
            assert len(await other.meetings()) == 2


async def test_a_hosted_link_follows_its_meeting_to_another_connection(
    store_url: str, meeting_server: MemoryServer
) -> None:
    data = record()
    with MemoryServer() as other:
        async with running(store_url) as service:
            await service.connect(meeting_server.url, link="hosted")
            link = str(await service.link(data))
            second = await service.connect(other.url, link="hosted")
            assert await service.link(data) == link
            before = (await service.client.get(f"{link}/join")).headers["location"]
            assert before == (await meeting_server.meetings())[0]["join_url"]
            await moved_to(service, second, link="hosted")
            await wait_until(lambda: _empty(meeting_server))
            assert await service.link(data) == link
            after = (await service.client.get(f"{link}/join")).headers["location"]
            assert after == (await other.meetings())[0]["join_url"]


async def test_a_booking_that_goes_to_another_office_is_made_there(
    store_url: str, meeting_server: MemoryServer
) -> None:
    """The booking changed, not the office's choice."""
    data = record(office=str(uuid.uuid4()))
    with MemoryServer() as other:
        async with running(store_url) as service:
            await service.connect(other.url)
            there = (await service.admin("GET", "/offices/default")).json()["connection"]
            await service.connect(meeting_server.url)
            elsewhere = str(uuid.uuid4())
            await service.admin("PUT", f"/offices/{elsewhere}", json={"connection": there})
            await service.link(data)
            await service.say("record.updated", {**data, "version": 2, "office": elsewhere})
            await wait_until(lambda: _empty(meeting_server))
            assert len(await other.meetings()) == 1


async def _empty(server: MemoryServer) -> bool:
    return await server.meetings() == []


async def test_a_removed_connection_is_said_and_leaves_no_record_stuck(
    service: Running, meeting_server: MemoryServer
) -> None:
    data = record()
    await service.link(data)
    connection = (await service.record(data["id"]))["connection"]
    assert (await service.admin("DELETE", f"/connections/{connection}")).status_code == 409
    assert (await service.admin("DELETE", f"/connections/{connection}", force=True)).status_code == 204
    await service.say("record.cancelled", {"id": data["id"]})
    gone = await service.settled(data["id"])
    assert gone["state"] == "gone"
    assert any("no longer exists" in line["text"] for line in gone["journal"])


async def test_many_bookings_at_once_are_all_carried_out(service: Running, meeting_server: MemoryServer) -> None:
    bookings = [record() for _ in range(150)]
    await asyncio.gather(*[service.link(data) for data in bookings])
    await asyncio.gather(
        *[service.say("record.updated", {**data, "version": 2, "time": START + 60}) for data in bookings]
    )
    for data in bookings:
        assert (await service.settled(data["id"]))["state"] == "ready"
    assert [meeting["start"] for meeting in await meeting_server.meetings()] == [START + 60] * 150


class Careless:
    """A vendor without idempotency: every create makes another meeting, and can be held up halfway."""

    def __init__(self) -> None:
        self.meetings: dict[str, MeetingSpec] = {}
        self.made = 0
        self.arrived = asyncio.Event()
        self.proceed = asyncio.Event()
        self.proceed.set()
        self.answers = asyncio.Event()
        self.answers.set()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(True, True, False, False, False, False)

    async def create(self, spec: MeetingSpec) -> Meeting:
        self.arrived.set()
        await self.proceed.wait()
        self.made += 1
        name = f"m-{self.made}"
        self.meetings[name] = spec
        await self.answers.wait()
        return Meeting(name, f"https://careless.example/{name}")

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        self.meetings[meeting.id] = spec
        return meeting

    async def delete(self, meeting: Meeting) -> None:
        self.meetings.pop(meeting.id, None)

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        names = [name for name, made in self.meetings.items() if made.key == spec.key]
        return Meeting(names[0], f"https://careless.example/{names[0]}") if names else None

    async def probe(self) -> str:
        return "Fine."

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        return meeting.join_url


class Bench:
    """One process's ledger and reconciler on a careless vendor."""

    def __init__(self, store: Store, vendor: Careless, settling: float = 0.0) -> None:
        self.store, self.vendor = store, vendor
        self.ledger = Ledger(store, VAULT, lease_seconds=30)

        def connect(*_: object) -> MeetingProvider:
            return vendor

        info = ProviderInfo("careless", "Careless", MemorySettings, Options, lambda made, http: vendor)
        self.settings = Settings(Choices(store), Connections(store, VAULT, {"careless": info}, connect))
        self.gate = Gate(store)
        self.runs = self.runs_on(self.ledger, settling, self.gate)

    def runs_on(self, ledger: Ledger, settling: float = 0.0, gate: Gate | None = None) -> Runs:
        calls = Calls(gate or Gate(self.store), Budgets(self.store), Observer())
        found = Found(self.store, VAULT, self.settings, Swept(self.store), Tombs())
        reconciler = Reconciler(ledger, self.settings, calls, Agendas(self.store), found, settling=settling)
        return Runs(ledger, self.settings, reconciler, Meetings(self.store), Observer())

    def start(self, lease: Lease) -> asyncio.Task[Entry | None]:
        return self.runs.start(lease, self.settings.revision)

    async def prepare(self) -> None:
        made = MemorySettings(url="http://127.0.0.1:1")
        row = await self.settings.connections.add("careless", "Careless", made)
        await self.settings.choices.put("default", Choice(connection=row.id))
        await self.settings.load()

    async def lease(self, data: dict[str, object]) -> Lease:
        accepted = await self.ledger.accept(event(UPDATE_METADATA, data), "", "https://m.example/m/", inline=True)
        assert accepted.lease
        return accepted.lease

    async def seize(self, about: str) -> Lease:
        """Take the record over as if its holder had been silent for longer than its lease."""
        base = f"vm:{{s{shard_of(about)}}}:"
        await self.store.execute("HSET", f"{base}r:{about}", "lease", "0")
        await self.store.execute("ZADD", f"{base}due", "0", about)
        return (await self.ledger.claim([shard_of(about)], 1))[0].leases[0]


async def finish(bench: Bench, about: str) -> None:
    """Have all that is due of a record carried out."""
    while lease := next(iter((await bench.ledger.claim([shard_of(about)], 1))[0].leases), None):
        await bench.start(lease)


@pytest.fixture
async def bench(store: Store) -> Bench:
    bench = Bench(store, Careless())
    await bench.prepare()
    return bench


async def test_what_a_zombie_makes_is_removed(bench: Bench) -> None:
    vendor, data = bench.vendor, record()
    vendor.proceed.clear()
    zombie = bench.start(await bench.lease(data))
    await vendor.arrived.wait()
    taken = await bench.seize(data["id"])
    vendor.proceed.set()
    await zombie
    heir = Bench(bench.store, vendor)
    await heir.settings.load()
    await heir.start(taken)
    while lease := next(iter((await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases), None):
        await bench.start(lease)
    found = await bench.ledger.get(data["id"])
    assert found
    assert found[0].meeting
    assert found[0].meeting.meeting
    assert list(vendor.meetings) == [found[0].meeting.meeting.id]


class Slow(Careless):
    """Before a create it waits, as for a token; then it calls."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.http = Http(url)

    async def create(self, spec: MeetingSpec) -> Meeting:
        self.arrived.set()
        await self.proceed.wait()
        await self.http.send("POST", "/")
        return await super().create(spec)


async def test_a_zombie_makes_no_call(store: Store) -> None:
    """A process that stood still between an intent and its call sends nothing, and leaves nothing to be looked for."""
    data = record()
    async with RawServer(http(200)) as server:
        bench = Bench(store, vendor := Slow(server.url))
        await bench.prepare()
        vendor.proceed.clear()
        zombie = bench.start(lease := await bench.lease(data))
        await vendor.arrived.wait()
        lease.until = 0.0
        vendor.proceed.set()
        await zombie
        assert (server.requests, vendor.meetings) == ([], {})
        found = await bench.ledger.get(data["id"])
        assert found
        assert (found[0].intent, found[0].reason and found[0].reason.code) == (None, "held")

        async def made() -> bool:
            await finish(bench, data["id"])
            return bool(vendor.meetings)

        await wait_until(made)
        assert len(server.requests) == 1
        await vendor.http.close()


async def test_what_a_zombie_makes_after_its_heir_is_removed_too(bench: Bench) -> None:
    vendor, data = bench.vendor, record()
    vendor.proceed.clear()
    zombie = bench.start(await bench.lease(data))
    await vendor.arrived.wait()
    taken = await bench.seize(data["id"])
    quick = Careless()
    quick.meetings, quick.made = vendor.meetings, 100
    heir = Bench(bench.store, quick)
    await heir.settings.load()
    await heir.start(taken)
    vendor.proceed.set()
    await zombie
    assert len(vendor.meetings) == 2
    while lease := next(iter((await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases), None):
        await bench.start(lease)
    found = await bench.ledger.get(data["id"])
    assert found
    assert found[0].meeting
    assert found[0].meeting.meeting
    assert list(vendor.meetings) == [found[0].meeting.meeting.id] == ["m-101"]


async def test_a_stop_knows_of_a_zombie_beside_its_heir_in_the_same_process(bench: Bench) -> None:
    vendor, data = bench.vendor, record()
    vendor.proceed.clear()
    zombie = bench.start(await bench.lease(data))
    await vendor.arrived.wait()
    heir = bench.start(await bench.seize(data["id"]))
    running = set(bench.runs.running())
    vendor.proceed.set()
    await bench.runs.drain(30.0)
    assert (running, bench.runs.running()) == ({zombie, heir}, [])


class SlowToChange(Careless):
    """Its changes can be held up."""

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        self.arrived.set()
        await self.proceed.wait()
        return await super().update(meeting, spec)


async def test_a_zombies_change_takes_no_meeting_along_that_an_admin_let_go_of(store: Store) -> None:
    slow, data = SlowToChange(), record()
    bench, heir = Bench(store, slow), Bench(store, Careless())
    await bench.prepare()
    await bench.start(await bench.lease(data))
    await heir.settings.load()
    heir.vendor.meetings = slow.meetings
    slow.arrived.clear()
    slow.proceed.clear()
    zombie = bench.start(await bench.lease(data | {"version": 2, "time": START + 3600}))
    await slow.arrived.wait()
    await heir.start(await heir.seize(data["id"]))
    assert await bench.ledger.release(data["id"], "Let go.")
    slow.proceed.set()
    await zombie
    await finish(heir, data["id"])
    assert list(slow.meetings) == ["m-1"]


async def test_nothing_is_let_go_of_whose_holder_fell_silent_amid_its_work(bench: Bench) -> None:
    """It may come back, and would hand in what the record is no longer to have."""
    data = record()
    await bench.start(await bench.lease(data))
    await bench.lease(data | {"version": 2, "time": START + 3600})
    await bench.store.execute("HSET", f"vm:{{s{shard_of(data['id'])}}}:r:{data['id']}", "lease", "0")
    found = await bench.ledger.get(data["id"])
    assert found
    assert not await bench.ledger.release(data["id"], "Let go.")
    assert not await bench.ledger.recreate(found[0], "Anew.")


async def test_a_meeting_that_is_found_while_another_is_about_to_be_made_is_the_only_one(bench: Bench) -> None:
    data = record()
    about_to = await bench.lease(data)
    stands = Bench(bench.store, bench.vendor)
    await stands.settings.load()
    other = record()
    made = await stands.start(await stands.lease(other))
    assert made
    assert made.meeting
    asked = event(UPDATE_METADATA, data)
    await bench.ledger.accept(asked, "", "https://m.example/m/", inline=False, known=Known(made.meeting, doubt=False))
    await bench.start(about_to)
    await finish(bench, data["id"])
    assert list(bench.vendor.meetings) == ["m-1"]


class Away(Ledger):
    """A ledger whose store is away for the first write of each kind that a run hands in its result with."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, VAULT, lease_seconds=30)
        self.failed: list[str] = []

    def _fail(self, verb: str) -> None:
        if verb not in self.failed:
            self.failed.append(verb)
            raise StoreUnavailable("The store is unavailable: it did not answer in time.")

    async def commit(self, lease: Lease, change: Change, nonce: str = "", tells: Tells | None = None) -> Committed:
        self._fail("commit")
        return await super().commit(lease, change, nonce, tells)

    async def orphan(self, record: str, placement: Placement, text: str = ZOMBIE) -> None:
        self._fail("orphan")
        await super().orphan(record, placement, text)


class Frozen(Away):
    """A ledger of a process that stands still for an hour whenever its store is away."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(store)
        self._patch = monkeypatch

    def _fail(self, verb: str) -> None:
        if verb not in self.failed:
            stand_still(self._patch, 3600)
        super()._fail(verb)


@pytest.mark.parametrize("frozen", [False, True], ids=["an outage", "a freeze"])
async def test_what_a_zombie_makes_is_removed_though_the_store_was_away(
    bench: Bench, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heir found nothing yet, so nobody else knows what it made: it hands it in when the store is back."""
    vendor, data = bench.vendor, record()
    vendor.proceed.clear()
    ledger = Frozen(bench.store, monkeypatch) if frozen else Away(bench.store)
    zombie = bench.runs_on(ledger).start(await bench.lease(data), bench.settings.revision)
    await vendor.arrived.wait()
    taken = await bench.seize(data["id"])
    quick = Careless()
    quick.meetings, quick.made = vendor.meetings, 100
    heir = Bench(bench.store, quick)
    await heir.settings.load()
    await heir.start(taken)
    vendor.proceed.set()
    await zombie
    assert ledger.failed == ["commit", "orphan"]
    while lease := next(iter((await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases), None):
        await bench.start(lease)
    assert list(vendor.meetings) == ["m-101"]


async def test_what_a_zombie_made_is_removed_though_it_was_stopped_before_it_could_say_so(bench: Bench) -> None:
    """Whoever looks for it finds its heir's instead: only the zombie knows its name."""
    vendor, data = bench.vendor, record()
    vendor.proceed.clear()
    ledger = Away(bench.store)
    runs = bench.runs_on(ledger)
    zombie = runs.start(await bench.lease(data), bench.settings.revision)
    await vendor.arrived.wait()
    taken = await bench.seize(data["id"])
    quick = Careless()
    quick.meetings, quick.made = vendor.meetings, 100
    heir = Bench(bench.store, quick)
    await heir.settings.load()
    await heir.start(taken)
    vendor.proceed.set()
    await wait_until(lambda: "commit" in ledger.failed)
    await runs.drain(0.0)
    await asyncio.wait([zombie])
    await finish(bench, data["id"])
    assert list(vendor.meetings) == ["m-101"]


class Deaf(Careless):
    """It carries out what it was asked for although nobody waits for its answer; of several it finds the last one."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.meetings, self.made = bench.vendor.meetings, 100
        self.proceed.clear()
        self.asked: list[asyncio.Task[Meeting]] = []

    async def create(self, spec: MeetingSpec) -> Meeting:
        return await self._carried_out(super().create(spec))

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        return await self._carried_out(self._updated(meeting, spec))

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        names = [name for name, made in self.meetings.items() if made.key == spec.key]
        return Meeting(names[-1], f"https://careless.example/{names[-1]}") if names else None

    async def carry_out(self) -> None:
        """Do now what was asked for."""
        self.proceed.set()
        await asyncio.gather(*self.asked)

    async def _updated(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        self.arrived.set()
        await self.proceed.wait()
        return await super().update(meeting, spec)

    async def _carried_out(self, call: Coroutine[Any, Any, Meeting]) -> Meeting:
        self.asked.append(asyncio.create_task(call))
        return await asyncio.shield(self.asked[-1])


async def test_what_a_zombie_may_have_made_when_it_was_stopped_is_removed(bench: Bench) -> None:
    """A process that wakes up after its lease ended is told to end, and its call is carried out all the same."""
    data, deaf = record(), Deaf(bench)
    old = Bench(bench.store, deaf)
    await old.settings.load()
    zombie = old.start(await bench.lease(data))
    await deaf.arrived.wait()
    await bench.start(await bench.seize(data["id"]))
    await old.runs.drain(0.0)
    await asyncio.wait([zombie])
    await deaf.carry_out()
    assert list(deaf.meetings) == ["m-1", "m-101"]
    await finish(old, data["id"])
    assert list(deaf.meetings) == ["m-1"]


async def test_what_a_zombie_may_have_made_is_not_looked_for_too_early(bench: Bench) -> None:
    """A vendor may still carry out what it was asked for when the booking's next run looks for it."""
    data, deaf = record(), Deaf(bench)
    old, settling = Bench(bench.store, deaf), Bench(bench.store, deaf, settling=4.0)
    for each in (old, settling):
        await each.settings.load()
    zombie = old.start(await bench.lease(data))
    await deaf.arrived.wait()
    await bench.start(await bench.seize(data["id"]))
    await old.runs.drain(0.0)
    await asyncio.wait([zombie])
    await finish(settling, data["id"])
    await deaf.carry_out()

    async def settled() -> bool:
        await finish(settling, data["id"])
        found = await bench.ledger.get(data["id"])
        return found is not None and not found[0].unsettled

    await wait_until(settled)
    assert list(deaf.meetings) == ["m-1"]


async def test_what_a_zombie_may_have_changed_when_it_was_stopped_is_set_right(bench: Bench) -> None:
    data, deaf = record(), Deaf(bench)
    await bench.start(await bench.lease(data))
    old = Bench(bench.store, deaf)
    await old.settings.load()
    zombie = old.start(await bench.lease({**data, "version": 2, "time": START + 60}))
    await deaf.arrived.wait()
    taken = await bench.seize(data["id"])
    moved = event("record.updated", {**data, "version": 3, "time": START + 120})
    await bench.ledger.accept(moved, "", "https://m.example/m/", inline=False)
    await bench.start(taken)
    await old.runs.drain(0.0)
    await asyncio.wait([zombie])
    await deaf.carry_out()
    assert [spec.start for spec in deaf.meetings.values()] == [START + 60]
    await finish(bench, data["id"])
    assert [spec.start for spec in deaf.meetings.values()] == [START + 120]


class Mute(Careless):
    """It changes a meeting when it may and never says so."""

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        self.arrived.set()
        await self.proceed.wait()
        await super().update(meeting, spec)
        raise TemporaryError("The vendor did not answer.")


async def test_what_a_zombie_may_have_changed_is_set_right(bench: Bench) -> None:
    """Its change came after its heir's, and it does not even know that it came."""
    data = record()
    await bench.start(await bench.lease(data))
    mute = Mute()
    mute.meetings = bench.vendor.meetings
    mute.proceed.clear()
    old = Bench(bench.store, mute)
    await old.settings.load()
    zombie = old.start(await bench.lease({**data, "version": 2, "time": START + 60}))
    await mute.arrived.wait()
    taken = await bench.seize(data["id"])
    moved = event("record.updated", {**data, "version": 3, "time": START + 120})
    await bench.ledger.accept(moved, "", "https://m.example/m/", inline=False)
    await bench.start(taken)
    mute.proceed.set()
    await zombie
    assert [spec.start for spec in mute.meetings.values()] == [START + 60]
    while lease := next(iter((await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases), None):
        await bench.start(lease)
    assert [spec.start for spec in mute.meetings.values()] == [START + 120]


class Late(Careless):
    """It changes a meeting when it may."""

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        self.arrived.set()
        await self.proceed.wait()
        return await super().update(meeting, spec)


async def test_what_a_zombie_changed_back_is_set_right(bench: Bench) -> None:
    """It sent again what it thought was so already, after its heir had moved the meeting."""
    data = record()
    await bench.start(await bench.lease(data))
    late = Late()
    late.meetings = bench.vendor.meetings
    late.proceed.clear()
    old = Bench(bench.store, late)
    await old.settings.load()
    await bench.ledger.nudge(data["id"], "Looked at again.", doubt=True)
    zombie = old.start((await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases[0])
    await late.arrived.wait()
    taken = await bench.seize(data["id"])
    moved = event("record.updated", {**data, "version": 3, "time": START + 120})
    await bench.ledger.accept(moved, "", "https://m.example/m/", inline=False)
    await bench.start(taken)
    late.proceed.set()
    await zombie
    assert [spec.start for spec in late.meetings.values()] == [START]
    while lease := next(iter((await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases), None):
        await bench.start(lease)
    assert [spec.start for spec in late.meetings.values()] == [START + 120]


class Silent(Careless):
    """It makes a meeting when it may and never says so; of several it finds the last one."""

    async def create(self, spec: MeetingSpec) -> Meeting:
        self.arrived.set()
        await self.proceed.wait()
        self.made += 1
        self.meetings[f"silent-{self.made}"] = spec
        raise OutcomeUnknown("The vendor did not answer.")

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        names = [name for name, made in self.meetings.items() if made.key == spec.key]
        return Meeting(names[-1], f"https://careless.example/{names[-1]}") if names else None


@pytest.mark.parametrize("cancelled", [False, True], ids=["still wanted", "cancelled meanwhile"])
async def test_what_a_zombie_may_have_made_is_looked_for_and_removed(bench: Bench, cancelled: bool) -> None:
    """It was made after its heir had looked for it, and the answer to the zombie was lost."""
    data, silent = record(), Silent()
    silent.meetings = bench.vendor.meetings
    silent.proceed.clear()
    old = Bench(bench.store, silent)
    await old.settings.load()
    zombie = old.start(await bench.lease(data))
    await silent.arrived.wait()
    taken = await bench.seize(data["id"])
    if cancelled:
        said = event("record.cancelled", {**data, "version": 2, "canceled": True})
        await bench.ledger.accept(said, "", "https://m.example/m/", inline=False)
    await bench.start(taken)
    silent.proceed.set()
    await zombie
    assert "silent-1" in silent.meetings
    while lease := next(iter((await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases), None):
        await old.start(lease)
    assert list(silent.meetings) == ([] if cancelled else ["m-1"])
    found = await bench.ledger.get(data["id"])
    assert found
    assert (found[0].retired, found[0].unsettled) == ((), False)


class Confused(Silent):
    """It makes a meeting when it may, and its adapter does not understand the answer."""

    async def create(self, spec: MeetingSpec) -> Meeting:
        with contextlib.suppress(OutcomeUnknown):
            await super().create(spec)
        raise self.error

    error: Exception = KeyError("id")


@pytest.mark.parametrize(
    "error", [KeyError("id"), StoreUnavailable("The store is away.")], ids=["a mistake", "a store that is away"]
)
async def test_what_a_zombie_made_before_a_mistake_is_removed(bench: Bench, error: Exception) -> None:
    data, confused = record(), Confused()
    confused.meetings, confused.error = bench.vendor.meetings, error
    confused.proceed.clear()
    old = Bench(bench.store, confused)
    await old.settings.load()
    zombie = old.start(await bench.lease(data))
    await confused.arrived.wait()
    await bench.start(await bench.seize(data["id"]))
    confused.proceed.set()
    await zombie
    assert list(confused.meetings) == ["m-1", "silent-1"]
    await finish(old, data["id"])
    assert list(confused.meetings) == ["m-1"]


async def test_a_booking_lives_again_after_a_zombies_meeting_was_removed(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    """The vendor never makes a meeting of the same generation again."""
    data, ledger = record(), Ledger(store, Vault([("k1", bytes(32))]))  # the key of `running`
    async with running(store_url, role="web") as service:
        await service.connect(meeting_server.url)
        await service.link(data)
        known = await ledger.get(data["id"])
        assert known
        zombies = known[0].meeting
        assert zombies
        # What is left when a process made it, lost its lease and its heir found the booking cancelled.
        row = f"vm:{{s{shard_of(data['id'])}}}:r:{data['id']}"
        await store.execute("HDEL", row, "meeting")
        await service.say("record.cancelled", {**data, "version": 2, "canceled": True})
        await ledger.orphan(data["id"], zombies)
    async with running(store_url) as service:
        assert (await service.settled(data["id"]))["state"] == "gone"
        assert await meeting_server.meetings() == []
        await service.say("record.updated", {**data, "version": 3})
        assert (await service.settled(data["id"]))["state"] == "ready"


class Freezing(Ledger):
    """A ledger whose caller, when it has written something, does nothing more until it may."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, VAULT, lease_seconds=0.05)
        self.frozen = asyncio.Event()
        self.thaw = asyncio.Event()

    async def begin(self, lease: Lease, change: Change) -> bool:
        begun = await super().begin(lease, change)
        self.frozen.set()
        await self.thaw.wait()
        return begun

    async def renew(self, lease: Lease) -> bool:
        await self.thaw.wait()
        return await super().renew(lease)


async def test_a_process_that_froze_before_its_call_makes_nothing_once_another_took_over(bench: Bench) -> None:
    """Its call would come after its heir looked for what it made, and if the answer were lost, nobody would know."""
    vendor, data = bench.vendor, record()
    lease = await bench.lease(data)
    ledger = Freezing(bench.store)
    zombie = bench.runs_on(ledger).start(lease, bench.settings.revision)
    await ledger.frozen.wait()
    await bench.start(await bench.seize(data["id"]))
    await outage(0.05)  # as long as a lease
    ledger.thaw.set()
    await zombie
    assert list(vendor.meetings) == ["m-1"]
    assert vendor.made == 1


async def test_an_interrupted_create_is_looked_for_before_anything_is_made(bench: Bench) -> None:
    vendor, data = bench.vendor, record()
    lease = await bench.lease(data)
    task = bench.start(lease)
    await task
    found = await bench.ledger.get(data["id"])
    assert found
    assert found[0].meeting
    # The state a kill -9 between the vendor's answer and our commit leaves: an intent, no meeting.
    row = f"vm:{{s{shard_of(data['id'])}}}:r:{data['id']}"
    intent = bench.ledger.seal(data["id"], found[0].meeting)
    await bench.store.execute("HDEL", row, "meeting", "settled")
    await bench.store.execute("HSET", row, "intent", intent)
    await bench.start(await bench.seize(data["id"]))
    assert list(vendor.meetings) == ["m-1"]
    again = await bench.ledger.get(data["id"])
    assert again
    assert again[0].meeting == found[0].meeting


async def test_a_meeting_that_was_found_is_made_what_is_wanted(bench: Bench) -> None:
    """A zombie made it when the booking was at another time; the intent that is open is its heir's."""
    vendor, data = bench.vendor, record()
    await bench.start(await bench.lease(data))
    found = await bench.ledger.get(data["id"])
    assert found
    assert found[0].meeting
    name = next(iter(vendor.meetings))
    vendor.meetings[name] = replace(vendor.meetings[name], start=START - 60)
    row = f"vm:{{s{shard_of(data['id'])}}}:r:{data['id']}"
    intent = bench.ledger.seal(data["id"], found[0].meeting)
    await bench.store.execute("HDEL", row, "meeting", "settled")
    await bench.store.execute("HSET", row, "intent", intent)
    await bench.start(await bench.seize(data["id"]))
    assert [(name, spec.start) for name, spec in vendor.meetings.items()] == [("m-1", START)]
    settled = await bench.ledger.get(data["id"])
    assert settled
    assert (settled[0].doubt, settled[0].unsettled) == (False, False)


async def test_a_stop_between_the_vendors_work_and_its_answer_makes_no_second_meeting(bench: Bench) -> None:
    vendor, data = bench.vendor, record()
    vendor.answers.clear()
    run = bench.start(await bench.lease(data))
    await wait_until(lambda: bool(vendor.meetings))
    await bench.runs.drain(0.05)
    await asyncio.wait([run])
    vendor.answers.set()
    await bench.start((await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases[0])
    assert list(vendor.meetings) == ["m-1"]


async def test_a_stop_in_the_middle_hands_the_record_back_at_once(bench: Bench) -> None:
    vendor, data = bench.vendor, record()
    vendor.proceed.clear()
    run = bench.start(await bench.lease(data))
    await vendor.arrived.wait()
    await bench.runs.drain(0.05)
    await asyncio.wait([run])
    assert bench.runs.running() == []
    vendor.proceed.set()
    leases = (await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases
    assert [lease.entry.record for lease in leases] == [data["id"]]
    await bench.start(leases[0])
    assert len(vendor.meetings) == 1


class Same(Careless):
    """It makes nothing twice of one name."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, idempotent_create=True)


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_late_create_of_what_nobody_wants_any_more_is_waited_for(store: Store, wanted: bool) -> None:
    """Made again it would be the same meeting; where it is to go, it must not come after it was looked for."""
    vendor, data = Same(), record()
    bench = Bench(store, vendor, settling=30.0)
    await bench.prepare()
    vendor.proceed.clear()
    run = bench.start(await bench.lease(data))
    await vendor.arrived.wait()
    await bench.runs.drain(0.05)
    await asyncio.wait([run])
    vendor.proceed.set()
    if not wanted:
        said = event("record.cancelled", {**data, "version": 2, "canceled": True})
        await bench.ledger.accept(said, "", "https://m.example/m/", inline=False)
    lease = (await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases[0]
    await bench.start(lease)
    found = await bench.ledger.get(data["id"])
    assert found
    assert (found[0].meeting is not None, found[0].intent is None) == (wanted, wanted)
    assert found[0].reason is None if wanted else found[0].reason and found[0].reason.code == "held"


async def test_a_fault_of_an_adapter_is_logged_and_tried_again_later(bench: Bench) -> None:
    vendor, data = bench.vendor, record()

    async def broken(spec: MeetingSpec) -> Meeting:
        raise ZeroDivisionError

    vendor.create = broken  # type: ignore[method-assign]
    await bench.start(await bench.lease(data))
    found = await bench.ledger.get(data["id"])
    assert found
    assert found[0].attempts == 1
    assert found[2] is not None


async def test_what_a_provider_warns_of_is_in_the_journal(store: Store) -> None:
    class Reluctant(Careless):
        async def create(self, spec: MeetingSpec) -> Meeting:
            return replace(await super().create(spec), warnings=("It has a waiting room.",))

    bench, data = Bench(store, Reluctant()), record()
    await bench.prepare()
    await bench.start(await bench.lease(data))
    found = await bench.ledger.get(data["id"])
    assert found
    assert ("warning", "It has a waiting room.") in [(line.what, line.text) for line in found[1]]
    assert found[0].meeting
    assert found[0].meeting.meeting == Meeting("m-1", "https://careless.example/m-1")
    assert found[0].meeting.meeting.warnings == ("It has a waiting room.",)
