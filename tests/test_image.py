"""The image, as .ci/image built it from the Dockerfile: what is in it, and how its containers live and end."""

import asyncio
import json
import os
import re
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.store import Store
from service.vello import sign
from tests.events import body, record
from tests.ports import free_port
from tests.processes import TOKEN, Service
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.tools import absent, need
from tests.upgrade import STORED, put
from tests.waiting import outage, wait_until

ROOT = Path(__file__).parent.parent
HARDENED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]  # noqa: S108
"""What the chart asks of a cluster, as Docker says it."""
BAR = 120_000_000
"""Bytes that the image may add to its base."""
PACE = 0.02
"""Seconds between two events."""

pytestmark = pytest.mark.timeout(600)


def docker(*arguments: str) -> str:
    """What Docker answers."""
    command = [need("/usr/bin/docker"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def image() -> str:
    """The image's name."""
    name = os.environ.get("IMAGE")
    if not name:
        absent("an image (. .ci/image builds one)")
    return name


@pytest.fixture
async def reachable_store() -> AsyncIterator[str]:
    """A real Redis on a port, empty."""
    port = free_port()
    async with StoreServer(need("redis-server"), port=port):
        yield f"redis://127.0.0.1:{port}"


class Container(Service):
    """The service as a container; a signal to it is a signal to what runs inside."""

    def __init__(self, image: str, **environment: str) -> None:
        super().__init__(log=None, **environment)
        self.name = f"vello-meetings-{uuid.uuid4().hex[:8]}"
        self._image = image

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        variables = [f"--env={name}={value}" for name, value in self.environment.items() if name != "PATH"]
        run = [need("/usr/bin/docker"), "--host", os.environ["DOCKER_HOST"], "run", "--rm", "--name", self.name]
        run += ["--network", "host", *HARDENED, *variables]
        return super()._spawn([*run, self._image, "serve", "--host", "127.0.0.1", "--port", str(self.port)])

    def kill(self) -> None:
        """End it without warning; a second time does nothing."""
        if self.process and self.process.poll() is None:
            with suppress(AssertionError):  # it may end by itself meanwhile
                docker("rm", "--force", self.name)
        super().kill()


class Balancer:
    """A port before several services: each connection goes to the next one of them."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.url = ""
        self._turn = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Balancer":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        try:
            up, down = await asyncio.open_connection("127.0.0.1", self.ports[self._turn % len(self.ports)])
            await asyncio.gather(_pass_on(reader, down), _pass_on(up, writer))
        except ConnectionError:  # the sender sees a closed connection, and counts it
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def test_it_adds_little_to_its_base(image: str) -> None:
    base, whole = (int(docker("image", "inspect", "--format", "{{.Size}}", each)) for each in (_base(), image))
    print(f"The image adds {(whole - base) / 1e6:.0f} MB to its base.")  # noqa: T201 (CI shows the figure)
    assert whole - base < BAR


def test_it_holds_what_the_lock_says_and_nothing_that_builds(image: str) -> None:
    """Every package keeps its metadata, which is what an inventory of the image reads."""
    script = (
        "import importlib.metadata as m, json, sys;"
        "print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in m.distributions("
        "path=[p for p in sys.path if p.startswith('/opt')])}))"
    )
    held = json.loads(docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", script))
    locked = dict(re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert held.pop("vello-meetings")
    assert {name: locked.get(name.replace(".", "-")) or locked.get(name) for name in held} == held
    assert not {"pip", "setuptools", "wheel", "hatchling"} & held.keys()


def test_it_speaks_every_language_of_the_pages(image: str) -> None:
    """Of the languages' data it holds only what those need."""
    script = (
        "from service.web import words;"
        "[(words.speak(each), print(each, words.when(1900000000, 'Europe/Helsinki'))) for each in words.GUESTS]"
    )
    said = docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", script)
    assert len(set(said.splitlines())) == 7


def test_nothing_secret_and_no_root_is_in_it(image: str) -> None:
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", image))
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["vello-meetings"]
    assert not [each for each in config["Env"] if re.search("TOKEN|SECRET|PASSWORD|KEYS", each)]
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert not re.search(r"TOKEN|PASSWORD|index-url|trusted-host", history)


async def test_it_is_healthy_on_its_own_with_a_read_only_root_and_no_network(image: str) -> None:
    """With nothing set it makes its secrets and runs its own store below /data."""
    name = f"vello-meetings-{uuid.uuid4().hex[:8]}"
    docker("run", "--detach", "--name", name, "--network", "none", *HARDENED, "--tmpfs", "/data:uid=10001", image)

    async def healthy() -> bool:
        told = await asyncio.to_thread(docker, "inspect", "--format", "{{.State.Health.Status}}", name)
        return told == "healthy"

    try:
        await wait_until(healthy, 60)
        await asyncio.to_thread(docker, "stop", "--time", "30", name)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name) == "0"
    finally:
        docker("rm", "--force", name)


async def test_sigterm_lets_the_answer_in_the_making_out(
    image: str, reachable_store: str, meeting_server: MemoryServer
) -> None:
    async with Container(image, REDIS_URL=reachable_store) as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(delay=2.0, only="create")
        asked = asyncio.create_task(service.say("record.update_metadata", record()))
        await wait_until(lambda: _began(meeting_server), 10)
        code = await service.stop()
        answer = await asked
    assert answer.status_code == 200
    assert "/m/" in answer.json()["metadata"]["video_link"]
    assert code == 0


async def test_a_rolling_upgrade_under_load_loses_no_request_and_no_event(
    image: str, reachable_store: str, meeting_server: MemoryServer
) -> None:
    """As the chart rolls: a new one is ready before an old one stops, which first answers on for the preStop delay.

    The store is one that the last version left.
    """
    left = json.loads(max(STORED.glob("*.json")).read_text())
    store = await Store.open(reachable_store)
    await put(store, left["keys"])
    await store.close()
    delay = yaml.safe_load((ROOT / "helm/vello-meetings/values.yaml").read_text())["preStopSeconds"]
    async with AsyncExitStack() as stack:
        balancer = await stack.enter_async_context(Balancer())
        given = {"REDIS_URL": reachable_store, "PUBLIC_URL": balancer.url}
        old = [await stack.enter_async_context(Container(image, **given)) for _ in range(2)]
        await old[0].connect(meeting_server.url)
        balancer.ports = [each.port for each in old]
        done = asyncio.Event()
        load = asyncio.create_task(_load(balancer.url, done))
        for each in old:
            successor = await stack.enter_async_context(Container(image, **given))
            balancer.ports.append(successor.port)
            await outage(delay / 2)  # until then the cluster still sends requests to the one that stops
            balancer.ports.remove(each.port)
            await outage(delay / 2)
            assert await each.stop() == 0
        done.set()
        answers = await load
        print(f"{len(answers)} requests during the roll.")  # noqa: T201 (CI shows the figure)
        assert [answer for answer in answers.values() if answer != 200] == []
        assert len(answers) > 100
        for record_id in answers:
            assert (await successor.settled(record_id))["state"] == "ready"
        page = httpx.URL(left["held"]["hosted"]["link"]).path
        assert (await successor.request("GET", page)).status_code == 200
    assert len(await meeting_server.meetings()) == len(answers)


async def _load(url: str, done: asyncio.Event) -> dict[str, Any]:
    """Ask for a link at a steady pace until `done`; answers each record's status, or the error's name."""
    answers: dict[str, Any] = {}
    endpoint = f"{url}/webhooks/vello"
    limits = httpx.Limits(max_keepalive_connections=0)

    async def ask(client: httpx.AsyncClient) -> None:
        booking = record()
        raw = body("record.update_metadata", booking)
        try:
            answer = await client.post(endpoint, content=raw, headers={"Vello-Signature": sign(TOKEN, endpoint, raw)})
            answers[booking["id"]] = answer.status_code
        except httpx.HTTPError as error:
            answers[booking["id"]] = type(error).__name__

    async with httpx.AsyncClient(trust_env=False, timeout=30, limits=limits) as client, asyncio.TaskGroup() as group:
        while not done.is_set():
            group.create_task(ask(client))
            await outage(PACE)
    return answers


async def _began(server: MemoryServer) -> bool:
    return bool(await server.calls("create"))


def _base() -> str:
    return os.environ["IMAGE_BASE"]
