"""Laws of an intent that is written with the lease: it saves a call of the store, and holds only what was foreseen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from providers.base import Meeting, MeetingSpec, OutcomeUnknown, ReconnectRequired
from providers.memory import MemorySettings
from service.agenda import Agendas
from service.choices import Choice
from service.entry import Entry
from service.gate import OPENS_AFTER, Gate
from service.reconcile import Reconciler
from service.settings import Settings
from service.shards import letter_of, shard_of
from service.store import Store
from service.turns import AT_ONCE, Turn, Turns
from service.vello import UPDATE_METADATA, Record
from service.verbs import Accepted, Change, Committed, Foreseen, Lease, Telling, telling
from tests.events import START, event, record
from tests.test_reconcile import Bench, Careless, finish
from tests.waiting import stand_still

PREFIX = "https://m.example/m/"
MAKING = "Making a meeting: Vello wants a link and there is no meeting."


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    """A process that has just made a meeting, so that it knows how its connection is."""
    made = Bench(store, Careless())
    await made.prepare()
    await made.start(await made.lease(record()))
    made.vendor.meetings.clear()
    yield made
    await made.runs.drain(1.0)


def said(data: dict[str, Any]) -> Record:
    found = event(UPDATE_METADATA, data).record
    assert found
    return found


async def ask(bench: Bench, data: dict[str, Any], foreseen: Foreseen | None = None) -> Accepted:
    """Vello asks for the link of a booking."""
    foreseen = foreseen or bench.runs.foresee(said(data), "", "")
    if foreseen is None:  # a machine that stood still: what was known of the connection is old
        await bench.gate.leave(await bench.gate.enter(_default(bench)))
        foreseen = bench.runs.foresee(said(data), "", "")
    assert foreseen
    return await bench.ledger.accept(event(UPDATE_METADATA, data), "", PREFIX, inline=True, foreseen=foreseen)


async def leased(bench: Bench, data: dict[str, Any]) -> Lease:
    lease = (await ask(bench, data)).lease
    assert lease
    return lease


async def entry_of(bench: Bench, data: dict[str, Any]) -> Entry:
    found = await bench.ledger.get(data["id"])
    assert found
    return found[0]


async def story(bench: Bench, data: dict[str, Any]) -> list[str]:
    found = await bench.ledger.get(data["id"])
    assert found
    return [line.text for line in found[1]]


async def test_the_intent_stands_before_the_call_and_is_gone_after_it(bench: Bench) -> None:
    data, vendor = record(), bench.vendor
    lease = await leased(bench, data)
    vendor.proceed.clear()
    vendor.arrived.clear()
    run = bench.start(lease)
    await vendor.arrived.wait()
    assert lease.foreseen
    assert (await entry_of(bench, data)).intent == lease.foreseen.placement
    vendor.proceed.set()
    after = await run
    assert after
    assert (after.intent, after.unsettled, len(vendor.meetings)) == (None, False, 1)
    assert await story(bench, data) == [
        "Vello sent record.update_metadata (version 1).",
        MAKING,
        "The meeting was made.",
        "Ready: the meeting is as wanted.",
    ]


@pytest.mark.parametrize("earlier", ["unknown", "named", "with our page"])
async def test_the_entry_that_is_leased_is_the_one_in_the_store(bench: Bench, earlier: str) -> None:
    """Of a booking that was not known the store says little: the rest is what the event said."""
    data = record(language="sv", record_number="A-7")
    if earlier == "named":
        await bench.ledger.accept(event("record.updated", data), "", PREFIX, inline=False)
    if earlier == "with our page":  # of a store that was lost
        data["metadata"] = {"video_link": f"{PREFIX}{letter_of(data['id'])}{'x' * 22}"}
    lease = await leased(bench, data)
    assert _ageless(lease.entry) == _ageless(await entry_of(bench, data))._replace(intent=None)


async def test_a_first_link_takes_two_calls_of_the_store_and_each_writes_the_entry_once(bench: Bench) -> None:
    async def calls() -> tuple[int, int]:
        stats = await bench.store.execute("INFO", "commandstats")
        return int(stats["cmdstat_evalsha"]["calls"]), int(stats["cmdstat_hset"]["calls"])

    await bench.start(await leased(bench, record()))  # by which the scripts come to be known
    took = []
    for _ in range(5):
        before = await calls()
        await bench.start(await leased(bench, record()))
        took.append(tuple(after - then for after, then in zip(await calls(), before, strict=True)))
    assert set(took) == {(2, 2)}


async def test_whoever_takes_over_asks_the_vendor_before_anything_is_made(bench: Bench) -> None:
    data = record()
    lease = await leased(bench, data)
    bench.vendor.meetings["m-9"] = lease.foreseen.placement.spec if lease.foreseen else pytest.fail("not foreseen")
    heir = await bench.seize(data["id"])
    assert lease.foreseen
    assert (heir.entry.intent, heir.foreseen) == (lease.foreseen.placement, None)
    await bench.start(heir)
    assert list(bench.vendor.meetings) == ["m-9"]


async def test_a_zombie_makes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood still between the lease and the call, and somebody else has done the work."""
    data = record()
    lease = await leased(bench, data)
    await bench.start(await bench.seize(data["id"]))
    stand_still(monkeypatch, bench.ledger.lease_seconds)
    await bench.start(lease)
    assert (bench.vendor.made, len(bench.vendor.meetings)) == (2, 1)


async def test_what_is_wanted_otherwise_by_now_is_made_so_and_no_intent_is_left(bench: Bench) -> None:
    data = record()
    lease = await leased(bench, data)
    await bench.settings.choices.put("default", Choice(connection=_default(bench), title="Another title"))
    await bench.settings.announce(bench.ledger)
    bench.vendor.proceed.clear()
    bench.vendor.arrived.clear()
    run = bench.start(lease)
    await bench.vendor.arrived.wait()
    intent = (await entry_of(bench, data)).intent
    assert intent
    assert intent.spec.title == "Another title"
    bench.vendor.proceed.set()
    await run
    assert [spec.title for spec in bench.vendor.meetings.values()] == ["Another title"]
    assert (await entry_of(bench, data)).intent is None


async def test_nothing_is_left_of_it_where_no_meeting_is_wanted_any_more(bench: Bench) -> None:
    data = record()
    lease = await leased(bench, data)
    await bench.settings.choices.put("default", Choice(connection=None))
    await bench.settings.announce(bench.ledger)
    await bench.start(lease)
    seen = await entry_of(bench, data)
    assert (seen.intent, seen.unsettled, bench.vendor.meetings) == (None, False, {})


async def test_what_a_later_step_of_the_same_run_makes_has_an_intent_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step saw that no meeting is wanted, and gave up the intent; by its commit the same one is again."""
    data, choice, commit = record(), Choice(connection=_default(bench)), bench.ledger.commit
    lease = await leased(bench, data)
    await bench.settings.choices.put("default", Choice(connection=None))
    await bench.settings.announce(bench.ledger)

    async def meanwhile(*words: Any) -> Committed:
        monkeypatch.undo()
        await bench.settings.choices.put("default", choice)
        await bench.settings.announce(bench.ledger)
        newer = data | {"version": 2, "customer": "00000000-0000-4000-8000-000000000000"}
        await bench.ledger.accept(event("record.updated", newer), "", PREFIX, inline=False)
        return await commit(*words)

    monkeypatch.setattr(bench.ledger, "commit", meanwhile)
    bench.vendor.proceed.clear()
    bench.vendor.arrived.clear()
    run = bench.start(lease)
    await bench.vendor.arrived.wait()
    assert (await entry_of(bench, data)).intent
    bench.vendor.proceed.set()
    await run
    assert len(bench.vendor.meetings) == 1


async def test_nothing_is_left_of_it_where_the_connection_may_not_be_called(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, elsewhere = record(), Gate(bench.store, first=60.0)
    lease = await leased(bench, data)
    for _ in range(OPENS_AFTER):
        await elsewhere.unwell(await elsewhere.enter(_default(bench)))
    stand_still(monkeypatch, 2.0)  # what it believed is old
    await bench.start(lease)
    seen = await entry_of(bench, data)
    assert (seen.intent, seen.reason and seen.reason.code, bench.vendor.meetings) == (None, "held", {})


async def test_a_stop_before_the_call_hands_back_a_record_without_intent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, arrived = record(), asyncio.Event()

    async def held_up(self: Settings, revision: str) -> None:
        arrived.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Settings, "refresh", held_up)
    run = bench.start(await leased(bench, data))
    await arrived.wait()
    await bench.runs.drain(0.05)
    await asyncio.wait([run])
    assert [lease.entry.intent for lease in (await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases] == [None]


def _default(bench: Bench) -> str:
    choice = bench.settings.choices.of("an office", "")
    assert choice
    assert choice.connection
    return choice.connection


async def _asked_again(bench: Bench, data: dict[str, Any]) -> None:
    await bench.start(await bench.lease(data))
    await bench.settings.choices.put("default", Choice(connection=_default(bench), title="Changed"))
    await bench.settings.announce(bench.ledger)


async def _released(bench: Bench, data: dict[str, Any]) -> None:
    await bench.ledger.accept(event("record.created", data), "", PREFIX, inline=False)
    assert await bench.ledger.release(data["id"], "Let go.")


async def _moved(bench: Bench, data: dict[str, Any]) -> None:
    newer = data | {"version": 2, "time": START + 3600}
    await bench.ledger.accept(event("record.updated", newer), "", PREFIX, inline=False)


async def _interrupted(bench: Bench, data: dict[str, Any]) -> None:
    lease = await leased(bench, data)
    await bench.ledger.commit(lease, Change("back"))


async def _removed(bench: Bench, data: dict[str, Any]) -> None:
    await bench.start(await bench.lease(data))
    cancelled = data | {"version": 2, "canceled": True}
    await bench.ledger.accept(event("record.cancelled", cancelled), "", PREFIX, inline=False)
    await bench.start((await bench.ledger.claim([shard_of(data["id"])], 1))[0].leases[0])
    data |= {"version": 3}


@pytest.mark.parametrize("earlier", [_asked_again, _released, _moved, _interrupted, _removed])
async def test_it_is_not_written_to_a_record_that_is_another_than_was_taken_for(
    bench: Bench, earlier: Callable[[Bench, dict[str, Any]], Awaitable[None]]
) -> None:
    data = record()
    foreseen = bench.runs.foresee(said(data), "", "")
    await earlier(bench, data)
    before = (await entry_of(bench, data)).intent
    lease = (await ask(bench, data, foreseen)).lease
    assert lease is None or lease.foreseen is None
    assert (await entry_of(bench, data)).intent == before


async def test_a_booking_that_was_made_known_before_counts_as_new(bench: Bench) -> None:
    data = record()
    await bench.ledger.accept(event("record.created", data), "", PREFIX, inline=False)
    assert (await leased(bench, data)).foreseen


async def test_whoever_says_it_again_after_a_lost_answer_has_the_same_lease(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's client sends a script again; it is the same call, with the same words."""
    call, twice = bench.store.call, list[Any]()

    async def again(*words: Any) -> Any:
        twice[:] = [await call(*words), await call(*words)]
        return twice[1]

    monkeypatch.setattr(bench.store, "call", again)
    lease = await leased(bench, record())
    monkeypatch.undo()
    assert lease.foreseen
    assert (lease.fence, lease.inherited) == (twice[0][1], False)
    await bench.start(lease)
    assert len(bench.vendor.meetings) == 1


@pytest.mark.parametrize("early", [False, True], ids=["the meeting goes first", "Vello speaks first"])
async def test_a_record_that_the_store_lost_has_a_meeting_with_vellos_next_word(bench: Bench, early: bool) -> None:
    """A primary died that had acknowledged it and not passed it on; the run makes its meeting all the same."""
    data = record()
    lease = await leased(bench, data)
    for key in await bench.store.execute("KEYS", f"vm:*{data['id']}*"):
        await bench.store.execute("DEL", key)
    await bench.start(lease)
    if not early:
        await finish(bench, data["id"])
        assert bench.vendor.meetings == {}
    await bench.start(await bench.lease(data | {"version": 2}))
    await finish(bench, data["id"])
    seen = await entry_of(bench, data)
    assert seen.meeting
    assert seen.meeting.meeting
    assert (list(bench.vendor.meetings), seen.unsettled) == ([seen.meeting.meeting.id], False)


async def test_an_event_is_taken_though_nothing_can_be_foreseen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a plug-in")

    monkeypatch.setattr(Reconciler, "foresee", fails)
    assert bench.runs.foresee(said(record()), "", "") is None


class TwoVendors:
    """Offices choose between two connections, each at a vendor of its own; the first one's account dies."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench, self.old, self.new = bench, bench.vendor, Careless()
        self.new.made = 100
        self.patch = monkeypatch

    async def connect(self) -> str:
        connections = self.bench.settings.connections
        self.patch.setattr(
            connections, "_connect", lambda info, settings, row: self.new if row.name == "New" else self.old
        )
        return (await connections.add("careless", "New", MemorySettings(url="http://127.0.0.1:2"))).id

    async def choose(self, connection: str) -> None:
        await self.bench.settings.choices.put("default", Choice(connection=connection, move=True))
        await self.bench.settings.announce(self.bench.ledger)


def dead(*_: object) -> None:
    raise ReconnectRequired("The account is gone.")


async def test_an_interrupted_making_holds_up_no_booking_whose_office_chose_another_connection(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its account may be dead for good; what was made there is removed when it answers again."""
    data, vendors = record(), TwoVendors(bench, monkeypatch)
    lease = await leased(bench, data)
    assert lease.foreseen
    vendors.old.meetings["m-9"] = lease.foreseen.placement.spec
    await bench.ledger.commit(lease, Change("back"))
    await vendors.choose(chosen := await vendors.connect())
    monkeypatch.setattr(vendors.old, "find", dead)
    await bench.start(await bench.lease(data))
    seen = await entry_of(bench, data)
    assert seen.meeting
    assert (seen.meeting.connection, seen.intent, list(vendors.new.meetings)) == (chosen, None, ["m-101"])
    monkeypatch.delattr(vendors.old, "find")
    await bench.ledger.nudge(data["id"], "Look again.", doubt=False)
    await finish(bench, data["id"])
    standing = list(vendors.old.meetings), list(vendors.new.meetings)
    assert (standing, (await entry_of(bench, data)).unsettled) == (([], ["m-101"]), False)


async def test_what_nobody_can_find_is_said_and_not_looked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    data, vendors = record(), TwoVendors(bench, monkeypatch)
    blind = replace(vendors.old.capabilities, finds=False)
    monkeypatch.setattr(Careless, "capabilities", property(lambda each: blind))
    lease = await leased(bench, data)
    await bench.ledger.commit(lease, Change("back"))
    await vendors.choose(await vendors.connect())
    monkeypatch.setattr(vendors.old, "find", dead)
    await bench.start(await bench.lease(data))
    seen = await entry_of(bench, data)
    assert (seen.retired, seen.unsettled, list(vendors.new.meetings)) == ((), False, ["m-101"])
    assert "If a meeting was made, nobody can find it: it stays empty, and nobody has its link." in await story(
        bench, data
    )


async def test_a_zombie_that_does_not_know_what_it_made_has_it_looked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its intent was given up meanwhile; the time after which it is looked for begins anew."""
    data, vendors = record(), TwoVendors(bench, monkeypatch)
    vendors.old.proceed.clear()
    vendors.old.arrived.clear()

    async def lost(spec: MeetingSpec) -> Meeting:
        vendors.old.arrived.set()
        await vendors.old.proceed.wait()
        raise OutcomeUnknown("The answer was lost.")

    monkeypatch.setattr(vendors.old, "create", lost)
    zombie = bench.start(await leased(bench, data))
    await vendors.old.arrived.wait()
    await vendors.choose(await vendors.connect())
    heir = await bench.seize(data["id"])
    monkeypatch.setattr(vendors.old, "find", dead)
    await bench.start(heir)
    before = await bench.store.execute("HGET", f"vm:{{s{shard_of(data['id'])}}}:r:{data['id']}", "intended")
    vendors.old.proceed.set()
    await zombie
    after = await bench.store.execute("HGET", f"vm:{{s{shard_of(data['id'])}}}:r:{data['id']}", "intended")
    assert int(after) > int(before)


async def test_a_meeting_that_is_wanted_after_all_outlives_its_interrupted_replacement(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The office chose another connection, whose answer to the making was lost, and then the first one again."""
    data, vendors = record(), TwoVendors(bench, monkeypatch)
    first = _default(bench)
    await bench.start(await bench.lease(data))
    (before,) = vendors.old.meetings
    await vendors.choose(await vendors.connect())

    async def lost(spec: MeetingSpec) -> Meeting:
        vendors.new.meetings["m-101"] = spec
        raise OutcomeUnknown("The answer was lost.")

    monkeypatch.setattr(vendors.new, "create", lost)
    await bench.start(await bench.lease(data | {"version": 2}))
    assert (await entry_of(bench, data)).intent
    await vendors.choose(first)
    await bench.ledger.nudge(data["id"], "Look again.", doubt=False)
    await finish(bench, data["id"])
    seen = await entry_of(bench, data)
    standing = list(vendors.old.meetings), list(vendors.new.meetings)
    assert (standing, seen.intent, seen.unsettled) == (([before], []), None, False)


async def test_a_leftover_nobody_can_ask_about_holds_up_no_removal_of_one_that_stands(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in [record() for _ in range(8)]:  # they are kept in the order of a hash
        await bench.start(await bench.lease(data))
        seen = await entry_of(bench, data)
        assert seen.meeting
        maybe = seen.meeting._replace(meeting=None, spec=replace(seen.meeting.spec, generation=7))
        await bench.ledger.orphan(data["id"], maybe)
        stands = seen.meeting._replace(meeting=Meeting("stands", "https://careless.example/stands"))
        await bench.ledger.orphan(data["id"], stands)
        bench.vendor.meetings["stands"] = stands.spec
        await bench.ledger.accept(event("record.deleted", {"id": data["id"]}), "", PREFIX, inline=False)
        with monkeypatch.context() as patch:
            patch.setattr(bench.vendor, "find", dead)
            await finish(bench, data["id"])
        assert bench.vendor.meetings == {}


@pytest.mark.parametrize(("fields", "foreign"), [({"canceled": True}, ""), ({"archived": True}, ""), ({}, "digest")])
async def test_no_meeting_is_foreseen_where_none_is_wanted(bench: Bench, fields: dict[str, Any], foreign: str) -> None:
    assert bench.runs.foresee(said(record(**fields)), "", foreign) is None


async def test_none_is_foreseen_where_a_look_at_the_connection_comes_first(store: Store, bench: Bench) -> None:
    other = Bench(store, Careless())
    await other.settings.load()
    assert other.runs.foresee(said(record()), "", "") is None


def _ageless(entry: Entry) -> Entry:
    return entry._replace(intent_age=0.0)


@pytest.mark.parametrize("hosted", [False, True], ids=["a direct link", "the booking's page"])
async def test_a_run_that_tells_vello_leaves_the_entry_that_it_answers(bench: Bench, hosted: bool) -> None:
    """The ledger does not say again what the run knows; of what came meanwhile it does."""
    data = record()
    lease = await leased(bench, data)

    def tell(entry: Entry) -> Telling:
        assert entry.meeting
        assert entry.meeting.meeting
        return telling(entry, entry.meeting.meeting.join_url, bench.settings.revision, hosted=hosted)

    left = await bench.runs.start(lease, bench.settings.revision, tell)
    assert left is not None
    assert _ageless(left) == _ageless(await entry_of(bench, data))
    assert (left.answer != "", left.hosted, len(left.told)) == (True, hosted, 1)


async def test_a_run_that_tells_vello_hears_of_a_page_that_vello_was_told_meanwhile(bench: Bench) -> None:
    data = record()
    bench.vendor.proceed.clear()
    lease = await leased(bench, data)
    run = bench.runs.start(
        lease, bench.settings.revision, lambda entry: telling(entry, "https://x/1", "r", hosted=False)
    )
    await bench.vendor.arrived.wait()
    await bench.ledger.told(lease.entry, Telling("0123456789abcdef", True, ""))
    bench.vendor.proceed.set()
    left = await run
    assert left is not None
    assert _ageless(left) == _ageless(await entry_of(bench, data))
    assert (left.answer, left.hosted, left.told) == ("", True, ("0123456789abcdef",))


async def test_what_was_chosen_while_a_meeting_was_written_down_is_carried_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run settles a record only by the settings that it says it knew."""
    data, noted = record(), Agendas.noted

    async def choose_meanwhile(self: Agendas, *about: Any) -> tuple[tuple[str, str], ...]:
        await bench.settings.choices.put("default", Choice(connection=_default(bench), title="Another title"))
        await bench.settings.announce(bench.ledger)
        monkeypatch.setattr(Agendas, "noted", noted)
        return await noted(self, *about)

    lease = await leased(bench, data)
    monkeypatch.setattr(Agendas, "noted", choose_meanwhile)
    await bench.start(lease)
    assert [spec.title for spec in bench.vendor.meetings.values()] == ["Another title"]


async def test_a_run_that_is_over_holds_no_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for it may have left while it waited for its turn."""
    monkeypatch.setattr("service.turns.LONGEST", 60.0)
    lease, finishing = await leased(bench, record()), Turns()
    lease.turn = Turn(None, finishing)
    await bench.start(lease)
    async with asyncio.timeout(10):
        for _ in range(AT_ONCE):
            await finishing.wait()
