"""The sweep: what stands at a provider held against the ledger, both ways, and how a lost store comes back."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from providers.base import Meeting, MeetingNotFound, MeetingSpec
from providers.http import Http
from providers.listing import ListedPage
from providers.memory import PROVIDER, Memory, MemorySettings
from service.app import Role
from service.config import Config
from service.entry import Placement
from service.ledger import Ledger
from service.nightly import DAY, HOUR, Nightly, due
from service.plan import key_of
from service.rounds import Rounds
from service.shards import shard_of
from service.store import Store
from service.sweep import Sweep, SweepElsewhere
from service.swept import Kind, SweepReport, Swept
from service.verbs import Page
from tests.events import record
from tests.processes import KEYS
from tests.running import ADMIN, ENDPOINT, PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_cli import command
from tests.waiting import wait_until

TOMORROW = int(time.time()) // 60 * 60 + DAY
OURS = Config.load(environ={"SECRET_KEYS": "k1:" + "A" * 43 + "=", "VELLO_WEBHOOK_TOKEN": "t", "ADMIN_TOKEN": ADMIN})
OWNER = OURS.installation
HOUR_OLD = 3600.0


@pytest.fixture
async def service(store_url: str, meeting_server: MemoryServer) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        yield service


@pytest.fixture
async def vendor(meeting_server: MemoryServer) -> AsyncIterator[Memory]:
    """Somebody at the provider, behind the service's back."""
    http = Http()
    yield Memory(MemorySettings(url=meeting_server.url), http)
    await http.close()


def booking(**fields: Any) -> dict[str, Any]:
    """A record of tomorrow that Vello made long ago."""
    return record(**{"time": TOMORROW, "created": 1_500_000_000, **fields})


def spec(data: dict[str, Any], **fields: Any) -> MeetingSpec:
    """What a service with this store's settings wants for a booking."""
    plain = MeetingSpec(key_of(data["id"]), 0, "Appointment", data["time"], data["duration"], owner=OWNER)
    return replace(plain, **fields)


async def swept(service: Running, **how: Any) -> list[tuple[Kind, str | None]]:
    """What a sweep finds."""
    done = await service.app.app.state.sweep.run(**how)
    assert done.report.left == {}
    return [(each.kind, each.record) for each in done.findings]


async def looked(service: Running, **how: Any) -> list[tuple[Kind, str | None]]:
    """What a dry run finds."""
    done = await service.app.app.state.sweep.look(**how)
    return [(each.kind, each.record) for each in done.findings]


async def stand(server: MemoryServer) -> dict[str, int]:
    """The meetings there are, with their start."""
    return {meeting["id"]: meeting["start"] for meeting in await server.meetings()}


async def wiped(store: Store) -> None:
    """The store is lost."""
    await store.execute("FLUSHALL")


async def test_where_all_is_well_a_sweep_finds_nothing_and_calls_nothing_but_the_list(
    service: Running, meeting_server: MemoryServer
) -> None:
    for _ in range(3):
        await service.link(booking())
    before = len(await meeting_server.calls())
    assert await swept(service) == []
    assert [call["verb"] for call in (await meeting_server.calls())[before:]] == ["list"]


async def test_a_meeting_that_somebody_removed_is_made_again(
    service: Running, meeting_server: MemoryServer, vendor: Memory
) -> None:
    data = booking()
    await service.link(data)
    ((id_, _),) = (await stand(meeting_server)).items()
    await meeting_server.request("DELETE", f"/meetings/{id_}")
    assert await swept(service) == [(Kind.REPAIR, data["id"])]
    assert (await service.settled(data["id"]))["state"] == "ready"
    assert list((await stand(meeting_server)).values()) == [TOMORROW]
    assert await swept(service) == []


async def test_a_wrong_time_is_set_right_and_another_title_is_told_and_left(
    service: Running, meeting_server: MemoryServer
) -> None:
    moved, renamed = booking(), booking()
    for data in (moved, renamed):
        await service.link(data)
    ids = {meeting["key"]: meeting["id"] for meeting in await meeting_server.meetings()}
    change = {"start": TOMORROW + 7200}
    await meeting_server.request("PATCH", f"/meetings/{ids[key_of(moved['id'])]}", json=change)
    await meeting_server.request("PATCH", f"/meetings/{ids[key_of(renamed['id'])]}", json={"title": "Our own words"})
    assert sorted(await swept(service)) == sorted([(Kind.REPAIR, moved["id"]), (Kind.REPORT, renamed["id"])])
    await service.settled(moved["id"])
    shown = {meeting["key"]: meeting for meeting in await meeting_server.meetings()}
    assert shown[key_of(moved["id"])]["start"] == TOMORROW
    assert shown[key_of(renamed["id"])]["title"] == "Our own words"
    journal = (await service.record(moved["id"]))["journal"]
    assert any("somebody moved the meeting at the provider" in line["text"] for line in journal)


async def test_a_meeting_of_a_cancelled_booking_is_removed_unless_it_is_new_or_goes_on(
    service: Running, meeting_server: MemoryServer, vendor: Memory
) -> None:
    data = booking()
    await service.link(data)
    await service.say("record.cancelled", {**data, "canceled": True, "version": 2})
    await service.settled(data["id"])
    left = await vendor.create(spec(data, generation=7))
    assert await swept(service) == []
    await meeting_server.faults(older=HOUR_OLD)
    on = await vendor.create(spec(data, generation=8, start=int(time.time()) - 60))
    found = await swept(service)
    assert found == [(Kind.REMOVE, data["id"]), (Kind.REPORT, data["id"])]

    async def gone() -> bool:
        return set(await stand(meeting_server)) == {on.id}

    assert left.id
    await wait_until(gone)


async def test_a_second_meeting_of_a_booking_is_removed_and_its_own_stays(
    service: Running, meeting_server: MemoryServer, vendor: Memory
) -> None:
    data = booking()
    link = await service.link(data)
    await vendor.create(spec(data, generation=7))
    await meeting_server.faults(older=HOUR_OLD)
    assert await swept(service) == [(Kind.REMOVE, data["id"])]
    await service.settled(data["id"])
    assert [meeting["join_url"] for meeting in await meeting_server.meetings()] == [link]


async def test_a_booking_that_was_let_go_of_keeps_its_meeting(service: Running, meeting_server: MemoryServer) -> None:
    data = booking()
    await service.link(data)
    assert (await service.admin("POST", f"/records/{data['id']}/release")).status_code == 202
    await service.settled(data["id"])
    await meeting_server.faults(older=HOUR_OLD)
    assert await swept(service) == []
    assert len(await stand(meeting_server)) == 1


async def test_what_was_given_up_is_tried_again(service: Running, meeting_server: MemoryServer) -> None:
    data = booking()
    await meeting_server.faults(only="create", fail=[{"status": 400, "times": 3}])
    await service.link(data)
    assert (await service.settled(data["id"], 20))["state"] == "failed"
    assert await swept(service) == [(Kind.AGAIN, data["id"])]
    assert (await service.settled(data["id"]))["state"] == "ready"


async def test_another_installations_meetings_are_neither_removed_nor_taken_on(
    service: Running, meeting_server: MemoryServer, vendor: Memory
) -> None:
    """Staging and production on one account, and another company's installation."""
    theirs, same = booking(), booking()
    await service.link(same)
    await vendor.create(spec(theirs, owner="ffffffff"))
    await vendor.create(spec(same, generation=5, owner="ffffffff"))
    await meeting_server.faults(older=HOUR_OLD)
    found = await swept(service, remove_unknown=True)
    assert sorted(found, key=str) == sorted([(Kind.REPORT, None), (Kind.REPORT, same["id"])], key=str)
    assert len(await stand(meeting_server)) == 3


async def test_two_installations_on_one_account_leave_each_other_alone(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url, REDIS_PREFIX="a:", PUBLIC_URL=PUBLIC) as one:
        two_at = "http://127.0.0.2:8080"
        async with running(store_url, REDIS_PREFIX="b:", PUBLIC_URL=two_at, VELLO_ENDPOINT_URL=ENDPOINT) as two:
            for each in (one, two):
                await each.connect(meeting_server.url)
                await each.link(booking())
            await meeting_server.faults(older=HOUR_OLD)
            for each in (one, two):
                assert await swept(each, remove_unknown=True) == [(Kind.REPORT, None)]
    assert len(await stand(meeting_server)) == 2


async def test_a_dry_run_says_what_it_would_do_and_changes_nothing(
    service: Running, store: Store, meeting_server: MemoryServer, vendor: Memory
) -> None:
    double, gone, unknown = booking(), booking(), booking()
    for data in (double, gone):
        await service.link(data)
    missing = next(each["id"] for each in await meeting_server.meetings() if each["key"] == key_of(gone["id"]))
    await meeting_server.request("DELETE", f"/meetings/{missing}")
    await vendor.create(spec(double, generation=7))
    await vendor.create(spec(unknown))
    await meeting_server.faults(older=HOUR_OLD)
    before, entries = await stand(meeting_server), [await service.record(data["id"]) for data in (double, gone)]
    found = await looked(service, remove_unknown=True)
    wanted = [(Kind.REMOVE, double["id"]), (Kind.REMOVE, None), (Kind.REPAIR, gone["id"])]
    assert sorted(found, key=str) == sorted(wanted, key=str)
    assert await stand(meeting_server) == before
    assert [await service.record(data["id"]) for data in (double, gone)] == entries
    assert await store.execute("KEYS", "vm:found:*") == []
    assert await Swept(store).last() is None


async def test_a_booking_that_moves_while_a_sweep_lists_is_left_to_its_own_run(
    service: Running, meeting_server: MemoryServer
) -> None:
    """What the first of two connections to one account showed is older than what the ledger says by then."""
    data = booking()
    await service.link(data)
    await service.connect(meeting_server.url)
    await meeting_server.faults(delay=1.0, only="list")
    sweeping = asyncio.create_task(swept(service))

    async def listing() -> bool:
        return len(await meeting_server.calls("list")) == 2

    await wait_until(listing)
    await service.say("record.updated", {**data, "time": TOMORROW + 3600, "version": 2})
    await service.settled(data["id"])
    assert await sweeping == []
    assert list((await stand(meeting_server)).values()) == [TOMORROW + 3600]


async def test_one_process_sweeps_at_a_time(service: Running, store: Store) -> None:
    async with Swept(store).lock() as lock:
        assert lock
        with pytest.raises(SweepElsewhere):
            await service.app.app.state.sweep.run()
        assert await looked(service) == []
    assert await swept(service) == []


async def test_a_sweep_keeps_its_lock_however_long_it_reads_the_bookings(
    service: Running, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await service.link(booking())
    monkeypatch.setattr("service.sweep._BATCH", 1)
    page, left = Ledger.page, list[int]()

    async def slowly(ledger: Ledger, after: tuple[int, str], limit: int) -> Page:
        left.append(int(await store.execute("TTL", "vm:sweep:lock")))
        await store.execute("EXPIRE", "vm:sweep:lock", 100)  # so much of its time went by
        return await page(ledger, after, limit)

    monkeypatch.setattr(Ledger, "page", slowly)
    assert await swept(service) == []
    assert len(left) == 4
    assert min(left) > 100


async def test_what_cannot_be_read_is_said_and_nothing_follows_from_it(
    service: Running, meeting_server: MemoryServer
) -> None:
    await service.link(booking())
    ((id_, _),) = (await stand(meeting_server)).items()
    await meeting_server.request("DELETE", f"/meetings/{id_}")
    await meeting_server.faults(only="list", fail=[{"status": 429, "retry_after": 3600}])
    done = await service.app.app.state.sweep.run()
    assert ["wants fewer calls" in why for why in done.report.left.values()] == [True]
    assert done.findings == []
    assert await service.app.app.state.nightly.unseen() == [*done.report.left]
    assert [kind for kind, _ in await swept(service)] == [Kind.REPAIR]
    assert await service.app.app.state.nightly.unseen() == []


class Faulty(Memory):
    """An adapter with a mistake."""

    async def upcoming(self, host: str | None, owner: str, since: int, page: str | None) -> ListedPage:
        raise KeyError(owner)


async def test_an_adapters_mistake_keeps_no_other_connection_from_being_swept(
    store_url: str, meeting_server: MemoryServer, vendor: Memory
) -> None:
    faulty = replace(PROVIDER, name="faulty", connect=Faulty)
    async with running(store_url, providers={"memory": PROVIDER, "faulty": faulty}) as service:
        wrong = await service.connect(meeting_server.url, provider="faulty", name="A")
        right = await service.connect(meeting_server.url, name="B")
        await vendor.create(spec(booking()))
        done = await service.app.app.state.sweep.run()
        assert done.report.left == {wrong: "This service made a mistake; its log says which."}
        assert await service.app.app.state.nightly.unseen() == [wrong]
        assert [each.connection for each in done.findings if each.kind is Kind.NOTE] == [right]


class Hosted(Memory):
    """An adapter with two hosts; the first, Anna, has nothing that could be listed."""

    capabilities = replace(Memory.capabilities, needs_host=True)

    async def people(self) -> list[str]:
        return ["anna", "ben"]

    async def upcoming(self, host: str | None, owner: str, since: int, page: str | None) -> ListedPage:
        if host == "anna":
            raise MeetingNotFound("Nothing is there.")
        return await super().upcoming(None, owner, since, page)


async def test_a_host_whose_list_is_not_there_keeps_no_other_host_from_being_swept(
    store_url: str, meeting_server: MemoryServer, vendor: Memory
) -> None:
    hosted = replace(PROVIDER, name="hosted", connect=Hosted)
    async with running(store_url, providers={"hosted": hosted}) as service:
        connection = await service.connect(meeting_server.url, provider="hosted")
        await vendor.create(spec(booking()))
        done = await service.app.app.state.sweep.run()
        assert done.report.left == {connection: "Nothing is there."}
        assert [each.kind for each in done.findings] == [Kind.NOTE]


async def test_the_command_prints_what_it_would_do_and_why(
    service: Running, store_url: str, meeting_server: MemoryServer, vendor: Memory
) -> None:
    data = booking()
    await service.link(data)
    left = await vendor.create(spec(data, generation=7))
    await meeting_server.faults(older=HOUR_OLD)
    given = {"REDIS_URL": store_url, "SECRET_KEYS": KEYS, "ADMIN_TOKEN": ADMIN, "PUBLIC_URL": PUBLIC}
    connection = (await service.app.app.state.sweep.connections())[0]
    told = await asyncio.to_thread(lambda: command("sweep", "--dry-run", **given))
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [
        f"would remove: {connection}, meeting {left.id}, booking {data['id']}: the booking has another meeting",
        "2 meetings of ours were seen. would remove: 1.",
    ]
    done = await asyncio.to_thread(lambda: command("sweep", "--json", "--connection", connection, **given))
    assert json.loads(done.stdout)["counts"] == {"remove": 1}
    await service.settled(data["id"])
    assert len(await stand(meeting_server)) == 1
    wrong = await asyncio.to_thread(lambda: command("sweep", "--connection", "nobody", **given))
    assert (wrong.returncode, wrong.stderr.strip()) == (2, "No connection has the id 'nobody'.")


# A store that was lost.


async def test_a_lost_store_takes_on_its_meetings_with_vellos_next_events(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    """Asked again, moved, cancelled and deleted: each goes on as if nothing had been, and nothing is made or left."""
    again, moved, cancelled, deleted, silent = [booking() for _ in range(5)]
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        links = {data["id"]: await service.link(data) for data in (again, moved, cancelled, deleted, silent)}
    await wiped(store)
    made = len(await meeting_server.calls("create"))
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        assert await swept(service) == [(Kind.NOTE, None)] * 5
        assert await service.link({**again, "version": 2}) == links[again["id"]]
        await service.say("record.updated", {**moved, "time": TOMORROW + 3600, "version": 2})
        await service.say("record.cancelled", {**cancelled, "canceled": True, "version": 2})
        await service.say("record.deleted", {"id": deleted["id"]})
        for data in (again, moved, cancelled, deleted):
            await service.settled(data["id"])
        starts = {meeting["join_url"]: meeting["start"] for meeting in await meeting_server.meetings()}
        kept = {again["id"]: TOMORROW, moved["id"]: TOMORROW + 3600, silent["id"]: TOMORROW}
        assert starts == {links[id_]: start for id_, start in kept.items()}
        assert len(await meeting_server.calls("create")) == made
        assert await service.link({**moved, "time": TOMORROW + 3600, "version": 3}) == links[moved["id"]]
        assert await swept(service) == [(Kind.NOTE, None)]


async def test_an_event_that_comes_before_the_sweep_makes_no_second_meeting(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    """A vendor without idempotency is asked for the meeting of a booking that is older than the store."""
    data = booking()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        link = await service.link(data)
    await wiped(store)
    await meeting_server.faults(forgetful=True)
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        assert await service.link({**data, "version": 2}) == link
        assert await swept(service) == []
    assert len(await stand(meeting_server)) == 1


async def test_a_young_booking_is_not_looked_for(service: Running, meeting_server: MemoryServer) -> None:
    await service.link(booking(created=int(time.time()) + 60))
    await service.link(record(time=TOMORROW))
    assert await meeting_server.calls("find") == []


async def test_a_page_that_vello_has_opens_again_with_the_next_event(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    """The hosted link is in a customer's mail: it leads to the same meeting as before."""
    data = booking()
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        link = str(await service.link(data))
        leads = (await service.client.get(f"{link}/join")).headers["location"]
    await wiped(store)
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await swept(service)
        assert (await service.client.get(link)).status_code == 404
        await service.say("record.updated", {**data, "version": 2, "metadata": {"video_link": link}})
        await service.settled(data["id"])
        assert (await service.client.get(f"{link}/join")).headers["location"] == leads
        assert await service.link({**data, "version": 2, "metadata": {"video_link": link}}) == link


async def test_a_page_opens_for_the_booking_that_it_was_made_for_only(
    store_url: str, meeting_server: MemoryServer
) -> None:
    """Vello may copy a booking with its metadata."""
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        data = booking()
        link = str(await service.link(data))
        while True:  # until the copy is kept in the same shard as the booking
            copy = booking(metadata={"video_link": link})
            if shard_of(copy["id"]) == shard_of(data["id"]):
                break
        for other in (copy, booking(metadata={"video_link": link})):
            theirs = str(await service.link(other))
            assert theirs.startswith(f"{PUBLIC}/m/")
            assert theirs != link
        assert len({meeting["id"] for meeting in await meeting_server.meetings()}) == 3


async def test_a_meeting_whose_own_link_vello_has_is_known_again(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    """Its event came before the sweep, and the link looked like somebody else's."""
    data = booking()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        link = await service.link(data)
    await wiped(store)
    said = {**data, "version": 2, "metadata": {"video_link": link}}
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        assert await service.link(said) is None
        assert (await service.record(data["id"]))["state"] == "none"
        assert await swept(service) == [(Kind.ADOPT, data["id"])]
        assert (await service.settled(data["id"]))["state"] == "ready"
        assert await service.link({**said, "version": 3}) == link
        assert await swept(service) == []
    assert len(await stand(meeting_server)) == 1


async def test_a_booking_with_somebody_elses_link_takes_no_meeting_on(
    service: Running, meeting_server: MemoryServer, vendor: Memory
) -> None:
    data = booking(metadata={"video_link": "https://rooms.example.org/anna"})
    await vendor.create(spec(data))
    assert await swept(service) == [(Kind.NOTE, None)]
    assert await service.link(data) is None
    assert (await service.record(data["id"]))["meeting_id"] is None
    await meeting_server.faults(older=HOUR_OLD)
    assert await swept(service) == [(Kind.NOTE, data["id"])]
    assert len(await stand(meeting_server)) == 1


async def test_before_an_office_has_chosen_no_meeting_of_a_lost_store_is_removed(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    data = booking()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        link = await service.link(data)
    await wiped(store)
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        (await service.admin("PUT", "/offices/default", json={"connection": None})).raise_for_status()
        await service.say("record.updated", {**data, "version": 2})
        await meeting_server.faults(older=HOUR_OLD)
        assert await swept(service) == [(Kind.NOTE, data["id"])]
        (await service.admin("PUT", "/offices/default", json={"connection": connection})).raise_for_status()
        assert await service.link({**data, "version": 3}) == link
    assert len(await stand(meeting_server)) == 1


async def test_unknown_meetings_are_removed_only_when_an_admin_says_so(
    service: Running, meeting_server: MemoryServer, vendor: Memory
) -> None:
    mine, old = booking(), booking()
    await vendor.create(spec(mine))
    nameless = await vendor.create(spec(old, owner=""))
    await meeting_server.faults(older=HOUR_OLD)
    assert await swept(service) == [(Kind.NOTE, None)] * 2
    assert len(await stand(meeting_server)) == 2
    found = await swept(service, remove_unknown=True)
    assert sorted(found) == sorted([(Kind.REMOVE, None), (Kind.NOTE, None)])
    assert list(await stand(meeting_server)) == [nameless.id]


async def test_a_meeting_of_an_erased_booking_is_removed(
    service: Running, meeting_server: MemoryServer, vendor: Memory
) -> None:
    """Such as one that a backup of the provider, or a slow process, brought back."""
    data = booking()
    await service.link(data)
    await service.app.app.state.erasure.record(data["id"])
    await vendor.create(spec(data, generation=4))
    await meeting_server.faults(older=HOUR_OLD)
    assert await swept(service) == [(Kind.REMOVE, None)]
    assert await stand(meeting_server) == {}


async def test_after_an_old_backup_the_meeting_made_last_is_taken_on(
    store: Store, store_url: str, meeting_server: MemoryServer, vendor: Memory
) -> None:
    """The backup's own meeting was replaced since, and is gone."""
    data = booking()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await service.link(data)
        (first,) = await stand(meeting_server)
        await meeting_server.request("DELETE", f"/meetings/{first}")
        newer = await vendor.create(spec(data, generation=1))
        assert await swept(service) == [(Kind.ADOPT, data["id"])]
        entry = await service.settled(data["id"])
        assert (entry["state"], entry["meeting_id"]) == ("ready", newer.id)
        assert await service.link({**data, "version": 2}) == newer.join_url
        assert await swept(service) == []
    assert list(await stand(meeting_server)) == [newer.id]


async def test_a_note_is_forgotten_when_its_meeting_is_gone_at_the_next_sweep(
    service: Running, meeting_server: MemoryServer, vendor: Memory
) -> None:
    data = booking()
    gone = await vendor.create(spec(data, generation=2))
    assert await swept(service) == [(Kind.NOTE, None)]
    await vendor.delete(gone)
    await vendor.create(spec(booking()))
    assert await swept(service) == [(Kind.NOTE, None)]
    link = await service.link(data)
    assert link != gone.join_url
    assert (await service.settled(data["id"]))["state"] == "ready"


def test_what_is_sealed_of_a_meeting_has_the_fields_it_always_had_and_its_owner_stands_beside() -> None:
    """Processes of the version before read it too."""
    here = Placement("c1", spec(booking()), Meeting("m1", "https://meet.example.org/m1"))
    other = here._replace(meeting=Meeting("m2", "https://meet.example.org/m2"))
    assert len(here.dump()[1]) == 8
    stored = Placement.load(json.loads(json.dumps(here.dump())))
    assert stored.spec.owner == ""
    assert stored.owned(here.marked).spec.owner == OWNER
    assert stored.owned(other.marked).spec.owner == ""


# When a sweep is due.

NIGHT = 1_800_000_000 // DAY * DAY + 2 * HOUR


@pytest.mark.parametrize(
    ("began", "ended", "now", "wanted"),
    [
        (NIGHT - 22 * HOUR, NIGHT - 21 * HOUR, NIGHT - 1, False),
        (NIGHT - 22 * HOUR, NIGHT - 21 * HOUR, NIGHT + 599, False),
        (NIGHT - 22 * HOUR, NIGHT - 21 * HOUR, NIGHT + 600, True),
        (NIGHT + 1, NIGHT + 60, NIGHT + 700, False),
        (NIGHT - 30 * DAY, NIGHT - 30 * DAY, NIGHT + 12 * HOUR, True),
        (NIGHT + 1, None, NIGHT + 1800, False),
        (NIGHT + 1, None, NIGHT + 2 * HOUR, True),
    ],
    ids=["before", "not-yet", "its-time", "done", "after-a-rest", "goes-on", "was-interrupted"],
)
def test_a_sweep_is_due_once_a_night(began: int, ended: int | None, now: int, wanted: bool) -> None:
    assert due(SweepReport(began, ended), now, 2, 600.0) is wanted


async def test_a_new_connection_is_swept_soon_and_then_every_night(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    nightly, now = service.app.app.state.nightly, time.time()
    await nightly.round(now)
    assert len(await meeting_server.calls("list")) == 1
    await nightly.round(now + 120)
    assert len(await meeting_server.calls("list")) == 1
    await nightly.round(now + DAY + HOUR)
    assert len(await meeting_server.calls("list")) == 2


async def test_of_a_report_what_a_later_version_wrote_besides_is_left_out(store: Store) -> None:
    await store.execute("HSET", "vm:sweep", "last", '{"began": 7, "later": 1}')
    assert await Swept(store).last() == SweepReport(7)


async def test_a_connection_that_cannot_be_read_puts_off_no_night(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    """It is tried again every hour, and what that comes to is not the night's sweep."""
    reports, day = Swept(store), (time.time() // DAY + 1) * DAY
    nightly = Nightly(service.app.app.state.sweep, reports, 2)
    await meeting_server.faults(only="list", fail=[{"status": 429, "retry_after": 3600}])
    await nightly.round()
    hourly = await reports.last()
    assert hourly is not None
    assert hourly.left != {}
    tonight = int(day + 2 * HOUR)
    await reports.report(replace(hourly, began=tonight + 1, ended=tonight + 2))
    assert await reports.whole() is None
    await nightly.round(tonight + HOUR + 60)
    assert await reports.whole() is not None


async def test_a_store_put_back_from_a_backup_shows_and_is_swept_anew(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    nightly = service.app.app.state.nightly
    await nightly.round()
    assert await nightly.unseen() == []
    await store.execute("HINCRBY", "vm:sweep", "seen", -5)  # as it was when the backup was made
    await store.execute("HINCRBY", "vm:sweep", "since", -5)
    await store.execute("HINCRBY", "vm:sweep", f"at:{(await service.app.app.state.sweep.connections())[0]}", -5)
    await Swept(store).beat()
    assert await nightly.unseen() == []  # another process cannot tell
    await store.execute("HINCRBY", "vm:sweep", "seen", -300)
    await nightly.round()
    assert len(await meeting_server.calls("list")) == 2


@pytest.mark.parametrize("role", ["web", "worker"])
async def test_every_process_beats_however_long_it_sweeps(
    store: Store, store_url: str, meeting_server: MemoryServer, monkeypatch: pytest.MonkeyPatch, role: Role
) -> None:
    """Else the store would seem to have been put back from a backup."""
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
    sweeping = asyncio.Event()

    async def for_ever(_sweep: Sweep, _only: str | None = None) -> None:
        sweeping.set()
        await asyncio.Event().wait()

    async def beaten() -> bool:
        return int(await store.execute("HGET", "vm:sweep", "seen")) > 1

    monkeypatch.setattr(Sweep, "run", for_ever)
    monkeypatch.setattr(Rounds.__init__, "__defaults__", (0.05,))
    async with running(store_url, role=role):
        if role == "worker":
            await asyncio.wait_for(sweeping.wait(), 20)
        await store.execute("HSET", "vm:sweep", "seen", 1)
        await wait_until(beaten)


async def test_what_a_sweep_came_to_is_in_the_figures_and_in_the_settings(
    service: Running, meeting_server: MemoryServer
) -> None:
    await service.link(booking())
    await swept(service)
    figures = (await service.client.get("/metrics")).text
    assert "vello_meetings_sweep_meetings 1.0" in figures
    assert 'vello_meetings_sweep_findings{kind="repair"} 0.0' in figures
    await service.client.post(f"{PUBLIC}/login", data={"admin_token": ADMIN}, headers={"Sec-Fetch-Site": "same-origin"})
    assert "1 meeting was seen." in (await service.client.get(f"{PUBLIC}/connections")).text
