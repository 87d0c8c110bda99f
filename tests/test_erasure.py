"""Erased means erased: at the provider, in the store to its last byte, and for good."""

import asyncio
import json
import uuid
from typing import Any

import pytest

from service.commands import erase, export, rotate_keys
from service.config import Config
from service.entry import Placement
from service.ledger import Ledger
from service.plan import spec_of
from service.store import Store
from service.tombs import Tombs
from service.vault import Vault
from tests.entries import CHOICE, asked, placed
from tests.entries import WISH as MADE_UP
from tests.events import START, record
from tests.processes import KEYS, Service
from tests.running import ADMIN, Running, running
from tests.servers import MemoryServer
from tests.test_cli import command
from tests.waiting import wait_until

DOWN = [{"status": 503}] * 50


def config(store_url: str, keys: str = KEYS) -> Config:
    """The environment of who runs a command."""
    return Config.load(environ={"REDIS_URL": store_url, "SECRET_KEYS": keys, "ADMIN_TOKEN": ADMIN})


async def contents(store: Store) -> str:
    """Every key's name and all that is in it."""
    reads = {"hash": ("HGETALL",), "list": ("LRANGE", 0, -1), "zset": ("ZRANGE", 0, -1), "string": ("GET",)}
    reads["set"] = ("SMEMBERS",)
    found = []
    for key in await store.execute("KEYS", "*"):
        kind = await store.execute("TYPE", key)
        if kind == "none":  # gone meanwhile
            continue
        name, *rest = reads[kind]
        found.append(f"{key} {await store.execute(name, key, *rest)}")
    return "\n".join(found)


async def booked(service: Running, data: dict[str, Any]) -> list[str]:
    """A booking with a meeting; answers what names it."""
    link = await service.link(data)
    entry = await service.settled(data["id"])
    assert link
    return [data["id"], data["customer"], entry["join_url"], link.rpartition("/")[2]]


async def traces(store: Store, names: list[str]) -> list[str]:
    """Which of `names` are in the store."""
    stored = await contents(store)
    return [name for name in names if name in stored]


async def test_an_erased_record_leaves_no_trace(store: Store, store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        data, other = record(), record()
        names, kept = await booked(service, data), await booked(service, other)
        assert len(await traces(store, names)) == 3  # the join URL is in an envelope
        done = await erase(config(store_url), record=data["id"])
        assert done
        assert (done.gone, done.left) == (1, {})
        assert await traces(store, names) == []
        assert len(await traces(store, kept)) == 3
        assert (await service.client.get(f"/m/{names[3]}")).status_code == 404
        assert len(await meeting_server.meetings()) == 1


@pytest.mark.parametrize(
    "kind", ["record.created", "record.updated", "record.update_metadata", "record.cancelled", "record.deleted"]
)
async def test_no_late_event_revives_it(
    store: Store, store_url: str, meeting_server: MemoryServer, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        data = record()
        names = await booked(service, data)
        await erase(config(store_url), record=data["id"].upper())
        capfd.readouterr()
        answer = await service.say(kind, {**data, "version": 7})
        assert answer == ({"metadata": {}} if kind == "record.update_metadata" else {})
        assert await traces(store, names) == []
        assert data["id"] not in "".join(capfd.readouterr())
    assert await meeting_server.meetings() == []


async def test_a_booking_without_a_meeting_is_erased_at_once(store: Store, store_url: str) -> None:
    async with running(store_url) as service:
        data = record()
        await service.say("record.created", data)
        done = await erase(config(store_url), record=data["id"])
        assert done
        assert done.gone == 1
        assert await traces(store, [data["id"], data["customer"]]) == []
        assert (await erase(config(store_url), record=data["id"])) == done
    assert await erase(config(store_url), record=str(uuid.uuid4())) is None


async def test_all_of_a_customer_and_nobody_elses(store: Store, store_url: str, meeting_server: MemoryServer) -> None:
    customer = str(uuid.uuid4())
    mine, others = [record(customer=customer, time=START + 60 * at) for at in range(5)], [record() for _ in range(3)]
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        names = [name for data in mine for name in await booked(service, data)]
        for data in others:
            await booked(service, data)
        done = await erase(config(store_url), customer=customer.upper())
        assert done
        assert (done.gone, done.left) == (5, {})
        assert await traces(store, names) == []
        for data in others:
            assert (await service.record(data["id"]))["state"] == "ready"
    assert len(await meeting_server.meetings()) == 3


async def test_while_the_provider_is_down_it_is_said_and_done_later(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record()
        names = await booked(service, data)
        await meeting_server.faults(fail=DOWN)
        done = await erase(config(store_url), record=data["id"])
        assert done
        assert done.gone == 0
        assert list(done.left) == [data["id"]]
        assert await traces(store, names[1:]) == []
        assert await service.link({**data, "version": 9}) is None
        await meeting_server.faults()

        async def gone() -> bool:
            return await traces(store, names) == []

        await wait_until(gone, 60)
    assert await meeting_server.meetings() == []


async def test_what_a_late_process_made_is_removed_and_forgotten(store: Store, store_url: str) -> None:
    """A run that lost its lease hands over its meeting when nothing of the record is left."""
    vault = Vault([("k1", bytes(32))])
    async with running(store_url) as service:
        data = record()
        await service.say("record.created", data)
        await erase(config(store_url), record=data["id"])
        late = Ledger(store, vault, tombs=await Tombs.load(store, vault))
        entry = asked(record=data["id"])
        await late.orphan(data["id"], made(entry))

        async def gone() -> bool:
            return await traces(store, [data["id"]]) == []

        await wait_until(gone, 20)


def made(entry: Any) -> Placement:
    """A meeting on a connection that is no longer there."""
    return placed(spec_of(entry, MADE_UP, CHOICE, generation=0))


async def test_the_tomb_tells_nothing_without_the_keys_and_outlives_them(store: Store, store_url: str) -> None:
    """Another key of the store changes nothing: the same record has the same tomb."""
    new = "new:" + "B" * 43 + "="
    async with running(store_url) as service:
        data = record()
        await service.say("record.created", data)
        await erase(config(store_url), record=data["id"])
    tombs = await store.execute("KEYS", "vm:*:t:*")
    assert len(tombs) == 1
    assert await store.execute("TTL", tombs[0]) > 89 * 86_400
    await rotate_keys(config(store_url, f"{new},{KEYS}"))
    async with running(store_url, SECRET_KEYS=new) as service:
        await service.say("record.updated", {**data, "version": 3})
    assert await traces(store, [data["id"]]) == []


async def test_an_export_tells_all_but_secrets(store_url: str, meeting_server: MemoryServer) -> None:
    customer = str(uuid.uuid4())
    mine, other = record(customer=customer), record()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        join_url = (await booked(service, mine))[2]
        await booked(service, other)
        told = await export(config(store_url), customer)
    [shown] = json.loads(json.dumps(told))["records"]
    assert told["customer"] == customer
    assert {name: shown[name] for name in ("id", "customer", "office", "service", "resource", "start")} == {
        **{name: mine[name] for name in ("id", "customer", "office", "service", "resource")},
        "start": mine["time"],
    }
    assert (shown["state"], shown["provider"], shown["join_url"]) == ("ready", "memory", join_url)
    assert {line["what"] for line in shown["journal"]} >= {"event", "ready", "told"}


async def test_the_commands_work_beside_a_service_and_without_one(tmp_path: Any, meeting_server: MemoryServer) -> None:
    environment = {"DATA_DIR": str(tmp_path / "data"), "SECRET_KEYS": KEYS}
    one, two = record(), record()
    async with Service(DATA_DIR=environment["DATA_DIR"]) as service:
        await service.connect(meeting_server.url)
        for data in (one, two):
            await service.say("record.update_metadata", data)
        for whose in (("--customer", one["customer"]), ("--record", one["id"])):
            shown = await asyncio.to_thread(command, "export", *whose, **environment)
            assert shown.returncode == 0, shown.stderr
            assert [each["id"] for each in json.loads(shown.stdout)["records"]] == [one["id"]]
        done = await asyncio.to_thread(command, "erase", "--record", one["id"], **environment)
        assert (done.returncode, done.stdout) == (0, "Erased with their meetings: 1.\n"), done.stderr
        assert (await service.admin("GET", f"/records/{one['id']}")).status_code == 404
        assert await service.stop() == 0
    done = await asyncio.to_thread(command, "erase", "--customer", two["customer"], **environment)
    assert (done.returncode, done.stdout) == (0, "Erased with their meetings: 1.\n"), done.stderr
    assert await meeting_server.meetings() == []


def test_what_is_no_id_is_refused() -> None:
    done = command("erase", "--record", "Aino")
    assert done.returncode == 2
    assert "'Aino' is no UUID" in done.stderr
