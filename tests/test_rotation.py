"""Another key: everything is sealed anew while services run, and then the old one can go."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.commands import rotate_keys
from service.config import Config, ConfigError
from service.deliveries import Deliveries
from service.endpoint import Tokens
from service.grants import Grants, grant_key
from service.rotation import Rotation
from service.store import Store
from service.tombs import Tombs
from service.vault import UnknownKey, Vault
from tests.events import START, record
from tests.processes import Service
from tests.running import Running, running
from tests.servers import MemoryServer
from tests.test_cli import command

OLD, NEW = "old:" + "A" * 43 + "=", "new:" + "B" * 43 + "="
OLD_VAULT, NEW_VAULT = Vault([("old", bytes(32))]), Vault([("new", b"\x04\x10A" * 10 + b"\x04\x10")])
GRANT = "f" * 32


@pytest.fixture
async def service(store_url: str, meeting_server: MemoryServer) -> AsyncIterator[Running]:
    """A service that seals with the old key, with one of everything that is sealed."""
    async with running(store_url, SECRET_KEYS=OLD) as service:
        await service.connect(meeting_server.url, token="secret-of-the-server")
        await service.admin("POST", "/companies", json={"id": record()["id"], "name": "North"})
        yield service


def config(store_url: str, *keys: str) -> Config:
    """The environment of who rotates."""
    return Config.load(environ={"REDIS_URL": store_url, "SECRET_KEYS": ",".join(keys), "ADMIN_TOKEN": "x" * 20})


async def envelopes(store: Store) -> list[str]:
    """Every envelope in the store."""
    found: list[str] = []
    for key in await store.execute("KEYS", "vm:*"):
        if key.endswith("log"):
            found += [
                each[-1] for line in await store.execute("ZRANGE", key, 0, -1) if (each := json.loads(line))[1] == "e"
            ]
        if await store.execute("TYPE", key) == "hash":
            for value in (await store.execute("HGETALL", key)).values():
                fields = json.loads(value) if value.startswith("{") else {"itself": value}
                found += [one for one in fields.values() if isinstance(one, str) and one.startswith("v1.")]
    return found


async def test_everything_is_sealed_anew_and_the_old_key_is_forgotten(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    bookings = [record() for _ in range(12)]
    async with running(store_url, SECRET_KEYS=OLD) as service:
        await service.connect(meeting_server.url, token="secret-of-the-server")
        await service.admin("POST", "/companies", json={"id": record()["id"], "name": "North"})
        for data in bookings:
            await service.link(data)
        host = (await service.record(bookings[0]["id"]))["host_link"]
        said = len((await service.admin("GET", "/deliveries", kind="event")).json()["deliveries"])
    row = json.loads((await store.execute("HVALS", "vm:connections"))[0])
    await store.execute("HSET", "vm:connections", row["id"], json.dumps({**row, "grant": GRANT}))
    await Grants(store, OLD_VAULT).put(GRANT, Tokens("a", "r", 60, ("x",)), "memory", "client", "anna")
    assert {envelope.split(".")[1] for envelope in await envelopes(store)} == {"old"}
    done = await rotate_keys(config(store_url, NEW, OLD))
    assert dict(done.sealed) == {
        "connections": 1,
        "companies": 1,
        "grants": 1,
        "tombs": 1,
        "records": 13,
        "errands": 0,
        "deliveries": said,
    }
    assert (done.unreadable, done.retired) == ({}, ("old",))
    assert {envelope.split(".")[1] for envelope in await envelopes(store)} == {"new"}
    async with running(store_url, SECRET_KEYS=NEW) as later:
        for data in bookings:
            await later.say("record.updated", {**data, "version": 2, "time": START + 60})
            assert (await later.settled(data["id"]))["state"] == "ready"
        assert len((await later.admin("GET", "/companies")).json()["companies"]) == 1
        assert (await later.record(bookings[0]["id"]))["host_link"] == host
    assert {meeting["start"] for meeting in await meeting_server.meetings()} == {START + 60}


async def test_a_second_rotation_finds_nothing(service: Running, store_url: str) -> None:
    await service.link(record())
    await service.admin("GET", "/deliveries")  # written by now
    await rotate_keys(config(store_url, NEW, OLD))
    again = await rotate_keys(config(store_url, NEW, OLD))
    assert (sum(again.sealed.values()), again.retired) == (0, ())


async def test_what_is_written_meanwhile_is_not_overwritten(store: Store) -> None:
    """Tokens are renewed three hundred times while everything is sealed anew again and again: the newest stay."""
    row = {"id": "c", "provider": "memory", "envelope": OLD_VAULT.seal("{}", "connection:c"), "grant": GRANT}
    await store.execute("HSET", "vm:connections", "c", json.dumps(row))
    grants = Grants(store, OLD_VAULT)
    both = Vault([("new", bytes(32)), ("old", bytes(32))])
    await grants.put(GRANT, Tokens("0", "r", 60, None), "memory", "client", "anna")

    async def renew() -> None:
        for version in range(1, 301):
            stored = await Grants(store, both).look(GRANT)
            assert Grants(store, both).open(stored, "memory")[0] == str(version - 1)
            assert await grants.renewed(GRANT, version, Tokens(str(version), "r", 60, None), "memory")

    renewing = asyncio.create_task(renew())
    while not renewing.done():
        await Rotation(store, both, "new", Deliveries(store, both, Tombs())).run()
    await renewing
    done = await Rotation(store, both, "new", Deliveries(store, both, Tombs())).run()
    assert done.unreadable == {}
    newest = await Grants(store, both).look(GRANT)
    assert Grants(store, both).open(newest, "memory") == ("300", "r")
    assert not both.needs_rotation(await store.execute("HGET", grant_key(GRANT), "token"))


async def test_a_key_that_is_still_needed_stays_known(service: Running, store: Store, store_url: str) -> None:
    lost = Vault([("lost", b"l" * 32)])
    await store.execute("HSET", "vm:companies", "x", json.dumps({"tokens": lost.seal("[]", "company:x")}))
    done = await rotate_keys(config(store_url, NEW, OLD))
    assert done.retired == ()
    assert ["'lost'" in why for why in done.unreadable] == [True]
    assert await store.execute("HEXISTS", "vm:keys", "old")


async def test_without_the_key_that_sealed_it_nothing_is_touched(
    service: Running, store: Store, store_url: str
) -> None:
    before = await envelopes(store)
    with pytest.raises(ConfigError, match="'old'"):
        await rotate_keys(config(store_url, NEW))
    assert await envelopes(store) == before
    with pytest.raises(UnknownKey):
        NEW_VAULT.open(before[0], "any")


async def test_the_command_says_what_it_did(tmp_path: Any, meeting_server: MemoryServer) -> None:
    """Beside a running service on the embedded store; the next start needs only the new key."""
    data_dir, data = str(tmp_path / "data"), record()
    async with Service(DATA_DIR=data_dir, SECRET_KEYS=f"{NEW},{OLD}") as service:
        await service.connect(meeting_server.url)
        await service.say("record.update_metadata", data)
    async with Service(DATA_DIR=data_dir, SECRET_KEYS=f"{OLD},{NEW}") as service:
        done = await asyncio.to_thread(command, "keys", "rotate", DATA_DIR=data_dir, SECRET_KEYS=f"{OLD},{NEW}")
        assert done.returncode == 0, done.stderr
        assert "connections 1, companies 0, grants 0, records 1" in done.stdout
        assert "take it out of SECRET_KEYS" in done.stdout
        assert await service.stop() == 0
    async with Service(DATA_DIR=data_dir, SECRET_KEYS=OLD) as service:
        assert (await service.settled(data["id"]))["state"] == "ready"
