"""The command line as a person uses it: real processes, real ports, the embedded store."""

import asyncio
import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.events import START, record
from tests.ports import free_port
from tests.processes import ADMIN, KEYS, TOKEN, Service
from tests.servers import MemoryServer
from tests.waiting import wait_until

JITSI = "https://meet.example.org"


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`vello-meetings …`, run to its end."""
    given = {"PATH": os.environ["PATH"], **environment}
    line = [sys.executable, "-P", "-m", "service", *arguments]
    return subprocess.run(line, env=given, capture_output=True, text=True, timeout=60, check=False)


def unconfigured(tmp_path: Path, *arguments: str) -> Service:
    """A service as on a machine where nobody configured anything."""
    service = Service(*arguments, log=tmp_path / "log", DATA_DIR=str(tmp_path / "data"), JITSI_URL=JITSI)
    for name in ("VELLO_WEBHOOK_TOKEN", "ADMIN_TOKEN", "SECRET_KEYS", "PUBLIC_URL"):
        del service.environment[name]
    return service


def store_processes(data: Path) -> list[int]:
    """The Valkeys that serve a data directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(data) in line and ("valkey-server" in line or "redis-server" in line):
            found.append(int(path.parent.name))
    return found


def test_the_demo_walks_a_booking_through_its_life_whatever_proxy_the_machine_has() -> None:
    done = command("demo", http_proxy="http://127.0.0.1:1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("<- 200") == 7
    assert done.stdout.rstrip().endswith("Every answer was right.")


async def test_a_first_start_needs_nothing_and_says_what_to_paste_once(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    async with unconfigured(tmp_path) as service:
        kept = data / "generated.json"
        made = json.loads(kept.read_text())
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        said = [line for line in log.read_text().splitlines() if not line.startswith("{")]
        assert len(said) == 6
        assert service.endpoint in said[1]
        assert made["VELLO_WEBHOOK_TOKEN"] in said[2]
        assert made["ADMIN_TOKEN"] in said[4]
        assert made["SECRET_KEYS"] not in log.read_text()
        environment = {"DATA_DIR": str(data), "PUBLIC_URL": service.base}
        sent = await asyncio.to_thread(command, "trigger", "record.update_metadata", **environment)
        assert sent.returncode == 0, sent.stderr
        assert re.search(r'\n200\n\{"metadata":\{"video_link":"https://meet\.example\.org/', sent.stdout)
        assert await service.stop() == 0
    log.unlink()
    async with unconfigured(tmp_path) as service:
        assert made["VELLO_WEBHOOK_TOKEN"] not in log.read_text()
        assert made["ADMIN_TOKEN"] not in log.read_text()
        headers = {"Authorization": f"Bearer {made['ADMIN_TOKEN']}"}
        records = (await service.request("GET", "/api/v1/records", headers=headers)).json()["records"]
        assert [found["state"] for found in records] == ["ready"]


async def test_trigger_sends_what_it_is_told(tmp_path: Path) -> None:
    async with Service(DATA_DIR=str(tmp_path / "data"), JITSI_URL=JITSI) as service:
        told = ("--url", service.endpoint, "--token", TOKEN)

        async def trigger(*arguments: str) -> subprocess.CompletedProcess[str]:
            return await asyncio.to_thread(command, "trigger", *arguments)

        about = "639e9909-db32-4b5b-8159-42e1cabd7f24"
        assert (await trigger("connection.test", *told)).returncode == 0
        assert (await trigger("record.update_metadata", *told, "--set", f"id={about}")).returncode == 0
        moved = await trigger("record.updated", *told, "--set", f"id={about}", "--set", "time=2000000000")
        assert moved.returncode == 0
        assert (await service.settled(about))["start"] == 2_000_000_000
        assert len((await service.admin("GET", "/offices")).json()["offices"]) == 2  # the default's and the booking's
        foreign = "metadata.video_link=https://elsewhere.example"
        assert '{"metadata":{}}' in (await trigger("record.update_metadata", *told, "--set", foreign)).stdout
        mine = tmp_path / "record.json"
        mine.write_text(json.dumps(record(time=1_999_999_999)))
        assert (await trigger("record.created", *told, "--record", str(mine))).returncode == 0
        refused = await trigger("connection.test", "--url", service.endpoint, "--token", "wrong")
        assert (refused.returncode, "401" in refused.stdout) == (1, True)
        values = ("--set", 'details.note.text="42"', "--set", "quantity=2", "--set", "details.names=[null]")
        sent = json.loads((await trigger("record.created", *told, *values)).stdout.split("\n", 1)[1].split("\n\n")[0])
        details = {"note": {"text": "42"}, "names": [None]}
        assert (sent["data"]["details"], sent["data"]["quantity"], sent["data"]["version"]) == (details, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--url", "http://127.0.0.1:1", "--token", "t"), 1, "No answer from"),
        (("--url", "nowhere", "--token", "t"), 1, "nowhere"),
        (("--url", "http://127.0.0.1:1/a b", "--token", "t"), 1, "No answer from"),
        (("--set", "time", "--token", "t"), 2, "key=value"),
        (("--record", "nothing.json", "--token", "t"), 2, "nothing.json"),
        (("--record", "list.json", "--set", "a=1", "--token", "t"), 2, "JSON object"),
        (("--record", "broken.json", "--token", "t"), 2, "The record cannot be used"),
        ((), 2, "VELLO_WEBHOOK_TOKEN"),
    ],
)
def test_what_trigger_cannot_send_it_says_in_a_sentence(
    tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "broken.json").write_bytes(b"\xff{")
    given = [str(tmp_path / one) if one in ("list.json", "broken.json") else one for one in arguments]
    done = command("trigger", "record.created", *given, DATA_DIR=str(tmp_path / "data"))
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("port", ["0", "70000", "http"])
def test_a_port_that_is_none_stops_the_start_with_a_sentence(tmp_path: Path, port: str) -> None:
    done = command("serve", "--port", port, DATA_DIR=str(tmp_path / "data"))
    assert (done.returncode, f"{port!r} is no port" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "data").exists()


async def test_a_first_start_that_finds_its_port_taken_makes_nothing_up_yet(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = await asyncio.to_thread(command, "serve", "--port", port, DATA_DIR=str(tmp_path / "data"))
    assert (done.returncode, port in done.stderr) == (2, True)
    assert not (tmp_path / "data").exists()


async def test_a_service_may_listen_on_ipv6(tmp_path: Path) -> None:
    service = unconfigured(tmp_path, "--host", "::1")
    service.base = f"http://[::1]:{service.port}"
    async with service:
        assert f"{service.base}/webhooks/vello" in (tmp_path / "log").read_text()
        environment = {"DATA_DIR": str(tmp_path / "data"), "PUBLIC_URL": service.base}
        assert (await asyncio.to_thread(command, "trigger", "connection.test", **environment)).returncode == 0


async def test_two_services_on_one_data_dir_share_one_store_and_outlive_each_other(tmp_path: Path) -> None:
    data = tmp_path / "data"
    bookings = [record() for _ in range(3)]
    async with Service(DATA_DIR=str(data), JITSI_URL=JITSI) as one, Service(DATA_DIR=str(data)) as two:
        assert len(store_processes(data)) == 1
        assert (await one.say("record.update_metadata", bookings[0])).status_code == 200
        assert (await two.settled(bookings[0]["id"]))["state"] == "ready"
        one.kill()

        async def taken() -> bool:  # Vello says it again while the store comes back
            return (await two.say("record.update_metadata", bookings[1])).status_code == 200

        await wait_until(taken)
        assert (await two.settled(bookings[0]["id"]))["state"] == "ready"
        await wait_until(lambda: len(store_processes(data)) == 1)  # the survivor may be starting it anew
        assert await two.stop() == 0
    await wait_until(lambda: not store_processes(data))


async def test_web_and_worker_share_the_work(tmp_path: Path, meeting_server: MemoryServer) -> None:
    data = record()
    data_dir = str(tmp_path / "data")
    async with (
        Service("--role", "web", DATA_DIR=data_dir) as web,
        Service("--role", "worker", DATA_DIR=data_dir) as worker,
    ):
        await web.connect(meeting_server.url)
        assert (await web.say("record.update_metadata", data)).status_code == 200
        await web.say("record.updated", {**data, "version": 2, "time": START + 3600})
        assert (await web.settled(data["id"]))["state"] == "ready"
        assert [meeting["start"] for meeting in await meeting_server.meetings()] == [START + 3600]
        await web.say("record.cancelled", {"id": data["id"]})
        assert (await web.settled(data["id"]))["state"] == "gone"
        assert await meeting_server.meetings() == []
        assert (await worker.request("POST", "/webhooks/vello")).status_code == 404
        assert (await worker.admin("GET", "/offices")).status_code == 404
        assert (await worker.request("GET", "/livez")).status_code == 200


async def test_a_stop_lets_an_answer_in_the_making_arrive(tmp_path: Path, meeting_server: MemoryServer) -> None:
    async with Service(DATA_DIR=str(tmp_path / "data")) as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(delay=1.0, only="create")
        answer = asyncio.create_task(service.say("record.update_metadata", record()))

        async def begun() -> bool:
            return len(await meeting_server.calls("create")) == 1

        await wait_until(begun)
        assert await service.stop() == 0
        assert (await answer).json()["metadata"]["video_link"]
    with pytest.raises(httpx.ConnectError):
        await service.request("GET", "/livez")


def test_a_wrong_configuration_is_one_message_that_names_everything(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {
        "PUBLIC_URL": "nowhere",
        "SECRET_KEYS": "k1:hush-hush",
        "LOG_LEVEL": "loud",
        "ANSWER_DEADLINE": "soon",
        "DATA_DIR": str(tmp_path / "data"),
    }
    done = command("serve", **wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert [name for name in wrong if name not in done.stderr] == ["DATA_DIR"]
    assert "hush-hush" not in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("url", ["https://meet.example.org/with/path", "http://meet.example.org"])
def test_a_jitsi_url_that_cannot_be_used_stops_the_start_with_a_sentence(tmp_path: Path, url: str) -> None:
    done = command("serve", "--port", str(free_port()), DATA_DIR=str(tmp_path), JITSI_URL=url)
    assert done.returncode == 2
    assert "JITSI_URL" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_port_in_use_and_foreign_keys_stop_the_start_with_a_sentence(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    async with Service(DATA_DIR=data) as service:
        taken = await asyncio.to_thread(
            command, "serve", "--port", str(service.port), DATA_DIR=data, SECRET_KEYS=KEYS, ADMIN_TOKEN=ADMIN
        )
        other = "k2:" + "B" * 43 + "="
        port = str(free_port())
        foreign = await asyncio.to_thread(command, "serve", "--port", port, DATA_DIR=data, SECRET_KEYS=other)
        assert (taken.returncode, foreign.returncode) == (2, 2)
        assert str(service.port) in taken.stderr
        assert "'k1'" in foreign.stderr
        assert "Traceback" not in taken.stderr + foreign.stderr
        assert (await service.request("GET", "/readyz")).status_code == 200
