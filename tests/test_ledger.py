"""The ledger's laws: order, leases, fences, and that every verb may be repeated blindly."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.base import Meeting, MeetingSpec
from service.entry import Entry, Placement
from service.ledger import RETENTION, TOMBSTONE, Ledger
from service.parked import AT_ONCE, paced
from service.shards import base, record_keys, shard_of
from service.store import Script, Store, StoreUnavailable
from service.store_node import Command
from service.vault import Vault
from service.vello import DELETED, UPDATE_METADATA
from service.verbs import Accepted, Change, Lease, Told, telling
from tests.events import START, event, record
from tests.stores import StoreServer
from tests.waiting import wait_until

VAULT = Vault([("k1", b"k" * 32)])
PREFIX = "https://meetings.example.org/m/"
SPEC = MeetingSpec("0" * 32, 0, "Appointment", START, 1800)


class Stuttering(Store):
    """A store whose every script runs twice, as when the first answer was lost and the client repeats it."""

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        await super().call(script, keys, args)
        return await super().call(script, keys, args)


class Comparing(Store):
    """A store that is asked, after each verb that answers an entry, whether that is what it holds."""

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        answer = await super().call(script, keys, args)
        flat = answer[{"accept": 5, "commit": 3}[args[0]]] if args[0] in ("accept", "commit") else None
        if isinstance(flat, list) and len(flat) > 1:  # one alone is the token of a record that was not known
            assert _fields(flat) == await self.execute("HGETALL", keys[3])
        return answer

    async def pipeline_call(self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        answers = await super().pipeline_call(script, calls)
        for (keys, args), answer in zip(calls, answers, strict=True):
            for at in range(3, len(answer) if args[0] == "claim" else 0, 4):
                key = f"{keys[0].removesuffix('due')}r:{answer[at]}"
                assert _fields(answer[at + 3]) == await self.execute("HGETALL", key)
        return answers


def _fields(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


class Interrupted(Store):
    """A store that sends one script again, as when its answer was lost, after something else has happened."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        answer = await super().call(script, keys, args)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is None:
            return answer
        await meanwhile()
        return await super().call(script, keys, args)


@pytest.fixture(params=["valkey", "redis"])
def server_url(request: pytest.FixtureRequest) -> str:
    """A real Valkey, and a real Redis where one is installed."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=[Store, Stuttering, Comparing])
async def ledger(request: pytest.FixtureRequest, server_url: str) -> AsyncIterator[Ledger]:
    store = await request.param.open(server_url)
    await store.execute("FLUSHALL")
    yield Ledger(store, VAULT, lease_seconds=30)
    await store.close()


@pytest.fixture
async def hasty(store: Store) -> Ledger:
    """A ledger whose leases end almost at once: the holder looks dead to everybody else."""
    return Ledger(store, VAULT, lease_seconds=0.05)


async def tell(ledger: Ledger, record: str, link: str, revision: str = "0", *, hosted: bool = False) -> None:
    entry = await entry_of(ledger, record)
    await ledger.told(entry, telling(entry, link, revision, hosted=hosted))


async def say(ledger: Ledger, kind: str, data: Any, *, inline: bool = False) -> Accepted:
    return await ledger.accept(event(kind, data), "", PREFIX, inline=inline)


async def claim(ledger: Ledger, about: str) -> Lease | None:
    claimed = await ledger.claim([shard_of(about)], 8)
    return next((lease for lease in claimed[0].leases if lease.entry.record == about), None)


async def entry_of(ledger: Ledger, about: str) -> Entry:
    found = await ledger.get(about)
    assert found
    return found[0]


async def test_a_link_that_was_asked_for_makes_the_record_due_and_work_leases_it(ledger: Ledger) -> None:
    data = record()
    assert (await say(ledger, "record.created", data)).lease is None
    assert await claim(ledger, data["id"]) is None
    accepted = await say(ledger, UPDATE_METADATA, data)
    assert accepted.entry
    assert accepted.entry.token
    lease = await claim(ledger, data["id"])
    assert lease
    assert await claim(ledger, data["id"]) is None
    assert (await ledger.commit(lease, Change("done", {"state": "ready"}))).verdict == "ok"
    assert await claim(ledger, data["id"]) is None


async def test_an_inline_lease_is_given_once(ledger: Ledger) -> None:
    data = record()
    first = await say(ledger, UPDATE_METADATA, data, inline=True)
    second = await say(ledger, UPDATE_METADATA, data, inline=True)
    assert first.lease
    assert second.lease is None
    assert second.entry
    assert second.entry.token == first.lease.entry.token


async def test_a_newer_wish_sends_the_run_round_again(ledger: Ledger) -> None:
    data = record()
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    newer = await say(ledger, UPDATE_METADATA, {**data, "version": 2, "time": START + 60}, inline=True)
    assert newer.lease is None
    committed = await ledger.commit(lease, Change("done", {"state": "ready"}))
    assert committed.verdict == "moved"
    assert committed.entry
    assert committed.entry.wish
    assert committed.entry.wish.start == START + 60
    again = Lease(committed.entry, lease.fence, lease.until)
    assert (await ledger.commit(again, Change("done", {"state": "ready"}))).verdict == "ok"


async def test_a_zombies_commit_is_refused(hasty: Ledger) -> None:
    data = record()
    zombie = (await say(hasty, UPDATE_METADATA, data, inline=True)).lease
    assert zombie
    taken: list[Lease] = []

    async def expired() -> bool:
        lease = await claim(hasty, data["id"])
        taken.extend([lease] if lease else [])
        return bool(taken)

    await wait_until(expired)
    assert taken[0].fence > zombie.fence
    assert not await hasty.renew(zombie)
    committed = await hasty.commit(zombie, Change("done", {"state": "ready", "made": "7"}))
    assert committed.verdict == "lost"
    assert (await entry_of(hasty, data["id"])).made == 0
    assert (await hasty.commit(taken[0], Change("done", {"state": "ready"}))).verdict == "ok"


async def test_a_commit_repeated_after_somebody_took_over_is_refused(store_url: str) -> None:
    """It was written and its answer lost, and by the time it is repeated its lease is somebody else's."""
    store = await Interrupted.open(store_url)
    assert isinstance(store, Interrupted)
    hasty, data = Ledger(store, VAULT, lease_seconds=0.05), record()
    zombie = (await say(hasty, UPDATE_METADATA, data, inline=True)).lease
    assert zombie

    async def taken() -> None:
        async def expired() -> bool:
            return await claim(hasty, data["id"]) is not None

        await wait_until(expired)

    store.meanwhile = taken
    assert (await hasty.commit(zombie, Change("hold", {"doubt": "1"}))).verdict == "lost"
    await store.close()


async def test_a_lease_handed_back_or_parked_is_nobodys(ledger: Ledger) -> None:
    data = record()
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    await ledger.commit(lease, Change("back"))
    lease = await claim(ledger, data["id"])
    assert lease
    await ledger.commit(lease, Change("park", park="zoom-1"))
    assert await claim(ledger, data["id"]) is None
    assert (await entry_of(ledger, data["id"])).parked == "zoom-1"
    await ledger.unpark("zoom-1")
    assert await claim(ledger, data["id"])


async def park(ledger: Ledger, start: int) -> str:
    """A record that begins at `start` and waits for the connection zoom-1."""
    data = {**record(), "time": start}
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    await ledger.commit(lease, Change("park", park="zoom-1"))
    return str(data["id"])


async def due_at(ledger: Ledger, about: str) -> float:
    found = await ledger.get(about)
    assert found
    assert found[2]
    return found[2]


async def test_what_waited_for_a_connection_goes_on_soonest_first(ledger: Ledger, monkeypatch: Any) -> None:
    monkeypatch.setattr("service.parked.PACE", 0.125)
    now = int(time.time())
    later, over, soon, running = [await park(ledger, now + wait) for wait in (200_000, -400_000, 3600, -600)]
    assert await ledger.waiting(["zoom-1", "zoom-2"]) == [4, 0]
    await ledger.unpark("zoom-1")
    dues = [await due_at(ledger, each) for each in (running, soon, later, over)]
    assert dues == sorted(dues)
    assert [round((due - dues[0]) / 8) for due in dues] == [0, 1, 2, 3]
    await ledger.unpark("zoom-1")
    assert [await due_at(ledger, each) for each in (running, soon, later, over)] == dues
    assert await claim(ledger, running)
    assert (await entry_of(ledger, running)).parked is None
    assert await ledger.waiting(["zoom-1"]) == [3]


def test_many_that_waited_are_woken_in_small_commands_and_all_within_an_hour() -> None:
    turns = list(paced({3: [(f"r{n}", n + 1e9) for n in range(80_000)]}, 1e9))
    assert {shard for shard, _ in turns} == {3}
    assert max(len(turn) for _, turn in turns) == 2 * AT_ONCE
    waits = [wait for _, turn in turns for wait in turn[1::2]]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0, 3_600_000)


async def test_a_retry_is_not_due_before_its_time(ledger: Ledger) -> None:
    data = record()
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    await ledger.commit(lease, Change("retry", {"settings": "0"}, delay=60))
    claimed = (await ledger.claim([shard_of(data["id"])], 8))[0]
    assert claimed.leases == []
    assert claimed.next_in
    assert 50 < claimed.next_in <= 60
    assert (await entry_of(ledger, data["id"])).attempts == 1
    assert (await say(ledger, UPDATE_METADATA, data, inline=True)).lease is None
    moved = await say(ledger, UPDATE_METADATA, {**data, "version": 2, "time": START + 9}, inline=True)
    assert moved.lease


async def test_a_meeting_nobody_knows_of_is_kept_until_it_is_removed(ledger: Ledger) -> None:
    data = record()
    await say(ledger, "record.created", data)
    orphan = Placement("zoom-1", SPEC, Meeting("m-1", "https://x.example/m-1"))
    await ledger.orphan(data["id"], orphan)
    lease = await claim(ledger, data["id"])
    assert lease
    assert lease.entry.retired == (orphan,)


async def test_an_owner_that_died_before_anything_was_to_be_done_holds_nothing_up(hasty: Ledger) -> None:
    data = record()
    died = (await say(hasty, UPDATE_METADATA, data, inline=True)).lease
    assert died
    await wait_until(partial(_is_nobodys, hasty, data["id"]))
    await say(hasty, "record.cancelled", {**data, "version": 2, "canceled": True})
    assert await hasty.release(data["id"], "Let go.")


async def _is_nobodys(ledger: Ledger, about: str) -> bool:
    """Whether its lease has ended: the store's clock says so, and nobody takes it over by looking."""
    key = f"vm:{{s{shard_of(about)}}}:r:{about}"
    seconds, microseconds = await ledger._store.execute("TIME")
    return int(await ledger._store.execute("HGET", key, "lease")) < int(seconds) * 1000 + int(microseconds) // 1000


async def test_an_ending_told_of_a_record_that_the_store_lost_keeps_what_is_older_away(ledger: Ledger) -> None:
    data = record()
    await ledger.orphan(data["id"], Placement("zoom-1", SPEC, Meeting("m-1", "https://x.example/m-1")))
    await say(ledger, "record.cancelled", {"id": data["id"], "version": 5})
    late = await say(ledger, UPDATE_METADATA, {**data, "version": 4}, inline=True)
    assert (late.verdict, (await entry_of(ledger, data["id"])).live) == ("old", False)
    await say(ledger, "record.updated", {**data, "version": 6})
    assert (await entry_of(ledger, data["id"])).live


async def test_what_vello_was_told_is_known_again(ledger: Ledger) -> None:
    data = record()
    await say(ledger, UPDATE_METADATA, data)
    await tell(ledger, data["id"], "https://zoom.example/j/1")
    for link, foreign in (
        ("https://zoom.example/j/1/", False),
        ("https://zoom.example/j/2", True),
        (f"{PREFIX}x", False),
    ):
        data["version"] += 1
        await say(ledger, "record.updated", {**data, "metadata": {"video_link": link}})
        assert ((await entry_of(ledger, data["id"])).foreign != "") is foreign


async def test_an_answer_comes_back_by_itself_as_long_as_nothing_moves(ledger: Ledger) -> None:
    url, data = "https://x.example/j/1", record()

    async def settle() -> None:
        lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
        assert lease
        placed = Placement("zoom-1", SPEC, Meeting("m-1", url))
        change = Change("done", {"meeting": ledger.seal(data["id"], placed), "state": "ready", "settings": revision})
        await ledger.commit(lease, change)

    for hosted in (False, True):
        revision = await ledger.bump_revision()
        await settle()
        assert (await say(ledger, UPDATE_METADATA, data, inline=True)).told is None
        await tell(ledger, data["id"], url, revision, hosted=hosted)
        token = (await entry_of(ledger, data["id"])).token
        told = Told(data["office"], token if hosted else None, None if hosted else url)
        assert (await say(ledger, UPDATE_METADATA, data, inline=True)).told == told
        assert (await say(ledger, UPDATE_METADATA, data | {"version": 0})).told == told
        assert (await say(ledger, "record.updated", data)).told is None
    await ledger.nudge(data["id"], "Looked at again.")
    assert (await say(ledger, UPDATE_METADATA, data)).told is None
    await claim(ledger, data["id"])
    assert (await say(ledger, UPDATE_METADATA, data)).told is None


@pytest.mark.parametrize("change", [{"time": START + 60}, {"canceled": True}, {"office": None}, {"resource": None}])
async def test_an_answer_is_forgotten_when_the_booking_changes(ledger: Ledger, change: dict[str, Any]) -> None:
    data = record()
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    await ledger.commit(lease, Change("done", {"state": "ready", "settings": "0"}))
    await tell(ledger, data["id"], "https://x.example/j/1", hosted=True)
    assert (await say(ledger, UPDATE_METADATA, data)).told
    assert (await say(ledger, UPDATE_METADATA, data | change | {"version": data["version"] + 1})).told is None


MOVES: dict[str, Callable[[Ledger, dict[str, Any]], Awaitable[object]]] = {
    "newer word": lambda ledger, data: say(ledger, "record.updated", data | {"version": data["version"] + 1}),
    "ended": lambda ledger, data: say(ledger, "record.cancelled", data | {"canceled": True}),
    "deleted": lambda ledger, data: say(ledger, DELETED, {"id": data["id"]}),
    "settings": lambda ledger, data: ledger.bump_revision(),
    "looked at again": lambda ledger, data: ledger.nudge(data["id"], "Looked at again."),
    "erased": lambda ledger, data: ledger.erase(data["id"]),
}


@pytest.mark.parametrize("moved", MOVES)
async def test_a_repeated_question_is_answered_in_short_as_at_length(ledger: Ledger, moved: str) -> None:
    """And not at all when anything has moved, when it says something else, or when nobody has asked here before."""
    url, data = "https://x.example/j/1", record()
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    placed = Placement("zoom-1", SPEC, Meeting("m-1", url))
    sets = {"meeting": ledger.seal(data["id"], placed), "state": "ready", "settings": "0"}
    await ledger.commit(lease, Change("done", sets))
    await tell(ledger, data["id"], url)

    async def short(realm: str = "", **fields: Any) -> Accepted | None:
        asked = event(UPDATE_METADATA, data | fields).record
        assert asked
        return await ledger.repeats.answer(asked, realm)

    assert await short() is None
    at_length = await say(ledger, UPDATE_METADATA, data, inline=True)
    assert at_length.told == Told(data["office"], None, url)
    in_short = await short()
    assert in_short
    assert in_short == at_length._replace(now=in_short.now)
    others: list[dict[str, Any]] = [
        {"version": data["version"] + 1},
        {"version": 0},
        {"changed": data["changed"] + 1},
        {"time": START + 60},
        {"canceled": True},
        {"realm": "another"},
    ]
    for other in others:
        assert await short(**other) is None
        assert (await say(ledger, UPDATE_METADATA, data, inline=True)).told
    await MOVES[moved](ledger, data)
    assert await short() is None


async def test_a_join_url_is_never_stored_in_clear(store: Store) -> None:
    ledger = Ledger(store, VAULT)
    data = record()
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    placed = Placement("zoom-1", SPEC, Meeting("m-1", "https://x.example/j/1?pwd=passcode"))
    await ledger.commit(lease, Change("done", {"meeting": ledger.seal(data["id"], placed)}))
    assert (await entry_of(ledger, data["id"])).meeting == placed
    row = await store.execute("HGETALL", f"vm:{{s{shard_of(data['id'])}}}:r:{data['id']}")
    assert "passcode" not in str(row)


async def test_a_deleted_record_is_remembered_and_nothing_revives_it(ledger: Ledger) -> None:
    data = record()
    await say(ledger, DELETED, {"id": data["id"]})
    for version in (1, 99):
        assert (await say(ledger, UPDATE_METADATA, {**data, "version": version}, inline=True)).lease is None
    entry = await entry_of(ledger, data["id"])
    assert (entry.live, entry.wish, entry.token) == (False, None, None)


async def test_pages_hold_every_record_once_whatever_their_shards(ledger: Ledger) -> None:
    ids = set()
    for number in range(70):
        data = record(time=START + number // 7)
        ids.add(data["id"])
        await say(ledger, "record.created", data)
    seen: list[tuple[int, str]] = []
    after: tuple[int, str] | None = (0, "")
    while after is not None:
        page = await ledger.page(after, 9)
        seen += [(at, entry.record) for at, entry in page.entries]
        after = page.last
    assert seen == sorted(seen)
    assert {about for _, about in seen} == ids
    assert len(seen) == 70


class Counting(Store):
    """A store that counts its round trips and what they read."""

    trips = 0
    got = 0

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        answers = await super().pipeline(commands)
        self.trips += 1
        self.got += sum(len(answer) for answer in answers if isinstance(answer, list))
        return answers


@pytest.mark.parametrize("together", [False, True], ids=["one after another", "all at once"])
async def test_a_page_reads_what_it_shows_however_many_records_there_are(valkey_url: str, together: bool) -> None:
    store = await Counting.open(valkey_url)
    assert isinstance(store, Counting)
    await store.execute("FLUSHALL")
    ids = sorted(str(UUID(int=number << 64)) for number in range(4000))
    at = [START if together else START + number for number in range(len(ids))]
    await store.pipeline(
        [("ZADD", f"vm:{{s{shard_of(id_)}}}:index", start, id_) for id_, start in zip(ids, at, strict=True)]
    )
    for after in (0, 2000):
        store.trips = store.got = 0
        page = await Ledger(store, VAULT).page((at[after], ids[after]), 50)
        assert page.last == (at[after + 50], ids[after + 50])
        assert store.trips <= 8
        assert store.got < 2 * 4000 * 2 if together else store.got < 1500
    await store.close()


async def test_what_has_vanished_is_taken_off_every_list(ledger: Ledger, server_url: str) -> None:
    data = record()
    await say(ledger, UPDATE_METADATA, data)
    store = await Store.open(server_url)
    base = f"vm:{{s{shard_of(data['id'])}}}:"
    await store.execute("DEL", f"{base}r:{data['id']}")  # as at the end of its time to live
    assert await claim(ledger, data["id"]) is None
    assert await store.pipeline([("ZCARD", f"{base}due"), ("ZCARD", f"{base}index")]) == [0, 0]
    await store.close()


words = st.fixed_dictionaries(
    {
        "version": st.integers(1, 3),
        "changed": st.integers(1_700_000_000, 1_700_000_002),
        "time": st.integers(START, START + 2),
        "canceled": st.booleans(),
    }
)


@given(words=st.lists(words, min_size=1, max_size=6), order=st.randoms(use_true_random=False), ends=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_order_of_the_same_words_ends_in_the_same_state(
    ledger: Ledger, words: list[dict[str, Any]], order: Any, ends: bool
) -> None:
    """With ties of every kind: equal versions, equal times, different contents."""
    plain = record()
    outcomes = []
    for _ in range(3):
        about = {**plain, "id": record()["id"]}
        said = [("record.cancelled" if word["canceled"] else "record.updated", {**about, **word}) for word in words * 2]
        said += [(UPDATE_METADATA, {**about, **words[0]})]
        said += [(DELETED, {"id": about["id"]})] if ends else []
        order.shuffle(said)
        for kind, data in said:
            await say(ledger, kind, data)
        entry = await entry_of(ledger, about["id"])
        wish = entry.wish
        content = (wish.start, wish.duration) if wish else None
        outcomes.append((entry.rank, entry.version, entry.changed, content, bool(entry.asked) or ends, entry.state))
    assert outcomes[0] == outcomes[1] == outcomes[2]


# How long a record stays.


async def lives(ledger: Ledger, about: str) -> list[int]:
    """Seconds that an entry, its journal and its link have left."""
    token = (await entry_of(ledger, about)).token
    *_, row, lines = record_keys(about)
    keys = (row, lines, f"{base(shard_of(about))}m:{token}")
    return list(await ledger._store.pipeline([("TTL", key) for key in keys]))


async def shorten(ledger: Ledger, about: str, seconds: int) -> None:
    *_, row, lines = record_keys(about)
    await ledger._store.pipeline([("EXPIRE", key, seconds) for key in (row, lines)])


@pytest.mark.parametrize("change", [Change("retry"), Change("back"), Change("park", park="zoom-1"), Change("hold")])
async def test_a_run_that_comes_to_nothing_keeps_its_record_no_longer_and_one_that_is_done_does(
    ledger: Ledger, change: Change
) -> None:
    data = {**record(), "time": int(time.time()) - 7 * 86_400}
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    assert all(RETENTION - 60 < left <= RETENTION for left in await lives(ledger, data["id"]))
    await shorten(ledger, data["id"], 1000)
    assert (await ledger.commit(lease, change)).verdict == "ok"
    assert all(900 < left <= 1000 for left in (await lives(ledger, data["id"]))[:2])
    await ledger.unpark("zoom-1")
    lease = lease if change.mode == "hold" else await claim(ledger, data["id"])
    assert lease
    await ledger.commit(lease, Change("done", {"state": "ready"}))
    assert all(RETENTION - 60 < left <= RETENTION for left in await lives(ledger, data["id"]))


async def test_what_vanished_while_it_waited_for_a_connection_waits_no_more(ledger: Ledger) -> None:
    gone, stays = await park(ledger, START), await park(ledger, START)
    *_, row, lines = record_keys(gone)
    await ledger._store.execute("DEL", row, lines)
    due_set = record_keys(gone)[0]
    await ledger._store.execute("ZADD", due_set, 1, gone)  # an hour has passed
    assert await claim(ledger, gone) is None
    assert await ledger.waiting(["zoom-1"]) == [1]
    assert await ledger._store.execute("ZSCORE", due_set, gone) is None
    assert gone not in {each async for ids in ledger.records() for each in ids}
    assert (await entry_of(ledger, stays)).parked == "zoom-1"


async def test_what_was_deleted_stays_as_long_as_its_meeting_may_still_take_place(ledger: Ledger) -> None:
    """However long its account is dead."""
    data = {**record(), "time": int(time.time()) + 300 * 86_400}
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    placed = Placement("zoom-1", SPEC, Meeting("m-1", "https://meet.example.org/1"))
    await ledger.commit(lease, Change("done", {"state": "ready", **ledger.standing(data["id"], placed)}))
    await say(ledger, DELETED, {"id": data["id"]})
    assert (await lives(ledger, data["id"]))[0] > 300 * 86_400
    lease = await claim(ledger, data["id"])
    assert lease
    await ledger.commit(lease, Change("done", {"state": "gone"}, ("meeting",)))
    assert (await lives(ledger, data["id"]))[0] <= TOMBSTONE


async def test_a_meeting_found_of_what_was_deleted_shortens_no_life(ledger: Ledger) -> None:
    """It is removed sooner or later, however long its account is dead."""
    data = {**record(), "time": int(time.time()) + 300 * 86_400}
    lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
    assert lease
    await ledger.commit(lease, Change("done", {"state": "ready"}))
    row = record_keys(data["id"])[3]
    await say(ledger, DELETED, {"id": data["id"]})
    await ledger._store.execute("EXPIRE", row, 300 * 86_400)
    await ledger.orphan(data["id"], Placement("zoom-1", SPEC, Meeting("m-1", "https://x.example/m-1")))
    assert await ledger._store.execute("TTL", row) > TOMBSTONE


async def test_a_store_that_is_full_takes_no_commit_or_all_of_it() -> None:
    async with StoreServer() as server:
        store = await Store.open(server.url)
        ledger, data = Ledger(store, VAULT), record()
        lease = (await say(ledger, UPDATE_METADATA, data, inline=True)).lease
        assert lease
        due, *_, row, journal = record_keys(data["id"])

        async def all_of_it() -> list[Any]:
            return list(await store.pipeline([("HGETALL", row), ("LRANGE", journal, 0, -1), ("ZRANGE", due, 0, -1)]))

        before, change = await all_of_it(), Change("done", {"state": "ready"}, journal=(("made", "A meeting."),))
        await store.execute("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreUnavailable, match="out of memory"):
            await ledger.commit(lease, change)
        assert await all_of_it() == before
        await store.execute("CONFIG", "SET", "maxmemory", "0")
        assert (await ledger.commit(lease, change)).verdict == "ok"
        assert await all_of_it() != before
        await store.close()


async def test_what_the_journal_says_last_is_not_said_again(ledger: Ledger) -> None:
    data = record()
    await say(ledger, UPDATE_METADATA, data)
    for text in ("Look again.", "Look again.", "It was moved by hand.", "Look again."):
        await ledger.nudge(data["id"], text)
    found = await ledger.get(data["id"])
    assert found
    assert [line.text for line in found[1]][-3:] == ["Look again.", "It was moved by hand.", "Look again."]
