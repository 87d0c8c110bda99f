"""Stores for tests: real servers that can be killed, and one that says whatever it is told."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.embedded import find_binary
from tests.ports import free_port
from tests.waiting import closed, wait_until


class StoreServer:
    """A real server in a directory of its own, on a unix socket and, if it has one, a port; always with these options.

    `kill` and `start` lose nothing written.
    """

    def __init__(self, binary: str | None = None, *options: str, port: int = 0) -> None:
        self._binary = binary or find_binary()
        self._always = options
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="vm-"))
        self.port = port
        self.socket = self._directory / "socket"
        self.url = f"unix://{self.socket}"

    async def start(self, *options: str) -> None:
        """Start it and come back when it answers."""
        command = [self._binary, "--port", str(self.port), "--unixsocket", str(self.socket)]
        command += [
            "--dir",
            str(self._directory),
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "no",
            *self._always,
            *options,
        ]
        self._spawn(command)
        await wait_until(lambda: answers(self.socket), 20)

    async def say(self, *command: Any) -> Any:
        """What it answers to one command, over its socket."""
        async with Redis(unix_socket_path=str(self.socket), decode_responses=True) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]

    def _spawn(self, command: list[str]) -> None:  # at once: a start that is cancelled leaves nothing behind
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it with kill -9."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let it hang: it keeps its connections and answers nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it hung."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self._remove()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        self.kill()
        shutil.rmtree(self._directory)


SAFE = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "5", "--repl-diskless-sync-delay", "0")
"""Options of a master that acknowledges nothing that its replica may not have."""


class Watched:
    """A master, its replica, and three sentinels that make the one take the other's place.

    Nothing acknowledged is lost: a master without its replica takes no writes.
    """

    SERVICE, PASSWORD = "vello", "sentinels"

    def __init__(
        self, binary: str | None = None, sentinel: str | None = None, login: tuple[str, Sequence[str]] | None = None
    ) -> None:
        """With `login`, a user and its rights, the servers know that one too, and the sentinels ask for a password."""
        self._sentinel = sentinel or find_binary()
        self._login = login
        self.servers = [StoreServer(binary, *SAFE, port=free_port()) for _ in range(2)]
        self._ports = [free_port() for _ in range(3)]
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self._directory = Path(tempfile.mkdtemp(prefix="vm-"))
        places = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        self.url = f"redis+sentinel://{places}/{self.SERVICE}"

    async def master(self) -> StoreServer | None:
        """The server the first sentinel names, if it is one."""
        place = await self._ask(self._ports[0], "GET-MASTER-ADDR-BY-NAME")
        return next((server for server in self.servers if place and server.port == int(place[1])), None)

    async def _ask(self, port: int, question: str) -> Any:
        password = self.PASSWORD if self._login else None
        async with Redis(port=port, password=password, decode_responses=True) as sentinel:
            return await sentinel.execute_command("SENTINEL", question, self.SERVICE)  # type: ignore[no-untyped-call]

    async def kill_master(self) -> StoreServer:
        """End the master at an instant at which its replica knows all it has acknowledged."""
        master = await self.master()
        assert master
        await _kill_known(master)
        return master

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_exit(self)
            master, replica = self.servers
            await asyncio.gather(master.start(), replica.start("--replicaof", f"127.0.0.1 {master.port}"))
            for port in self._ports:
                self._watch(port, master.port)
            await wait_until(self._in_order, 30)
            if self._login:
                for server in self.servers:
                    await server.say("ACL", "SETUSER", self._login[0], "on", *self._login[1])
            stack.pop_all()
        return self

    def _watch(self, port: int, master: int) -> None:
        config = self._directory / f"{port}.conf"
        lines = [f"port {port}", f"dir {self._directory}", f"sentinel monitor {self.SERVICE} 127.0.0.1 {master} 2"]
        options = {"down-after-milliseconds": 3000, "failover-timeout": 3000, "parallel-syncs": 1}
        lines += [f"sentinel {name} {self.SERVICE} {value}" for name, value in options.items()]
        if self._login:
            lines += [f"requirepass {self.PASSWORD}", f"sentinel sentinel-pass {self.PASSWORD}"]
        config.write_text("\n".join(lines))
        command = [self._sentinel, str(config), "--sentinel"]
        self._sentinels.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    async def _in_order(self) -> bool:
        """Whether the sentinels know each other and the replica, and the replica all that the master knows."""
        try:
            for port in self._ports:
                state = await self._ask(port, "MASTER")
                if (int(state["num-slaves"]), int(state["num-other-sentinels"])) != (1, 2):
                    return False
            return bool(await self.servers[0].say("SET", "vm:in-order", 1, "EX", 1))
        except (RedisError, OSError):
            return False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait()
        shutil.rmtree(self._directory)
        for server in self.servers:
            await server.__aexit__(None, None, None)


class ClusterServers:
    """A cluster of three masters; without one of them it takes nothing, unless each has a replica.

    With replicas nothing acknowledged is lost: a master without its replica takes no writes.
    """

    SLOTS = 16384

    def __init__(self, binary: str | None = None, *options: str, replicas: bool = False) -> None:
        always = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000", *options)
        if replicas:
            always += (*SAFE, "--cluster-replica-validity-factor", "0")
        servers = [StoreServer(binary, *always, port=free_port()) for _ in range(6 if replicas else 3)]
        self.nodes, self.replicas = servers[:3], servers[3:]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    async def kill_master(self) -> StoreServer:
        """End a master at an instant at which its replica knows all it has acknowledged."""
        await _kill_known(self.nodes[1])
        return self.nodes[1]

    async def promoted(self) -> bool:
        """Whether the replica of the master that `kill_master` ends is a master itself."""
        return bool((await self.replicas[1].say("ROLE"))[0] == "master")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_exit(self)
            await asyncio.gather(*(node.start() for node in self._all))
            share = -(-self.SLOTS // len(self.nodes))
            for number, node in enumerate(self.nodes):
                await node.say("CLUSTER", "ADDSLOTS", *range(number * share, min(self.SLOTS, (number + 1) * share)))
                await node.say("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for node in self._all[1:]:
                await node.say("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
            await wait_until(self.whole, 30)
            for replica, master in zip(self.replicas, self.nodes, strict=False):
                await replica.say("CLUSTER", "REPLICATE", await master.say("CLUSTER", "MYID"))
            await wait_until(self._in_order, 30)
            stack.pop_all()
        return self

    @property
    def _all(self) -> list[StoreServer]:
        return [*self.nodes, *self.replicas]

    async def _in_order(self) -> bool:
        """Whether every replica has all that its master has."""
        roles = [await node.say("ROLE") for node in self.nodes] if self.replicas else []
        return all(role[2] for role in roles) and await self.whole()

    async def whole(self) -> bool:
        """Whether every node knows all others and serves."""
        states = [await node.say("CLUSTER", "INFO") for node in self._all]
        known = f"cluster_known_nodes:{len(self._all)}\r"
        return all("cluster_state:ok" in state and known in state for state in states)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self._all:
            await node.__aexit__(None, None, None)


async def _kill_known(master: StoreServer) -> None:
    """Kill a master that takes no more writes and whose replica says that it has all it took.

    WAIT would not do: it waits for what its own connection wrote.
    """
    await master.say("CLIENT", "PAUSE", "20000", "WRITE")

    async def known() -> bool:
        said = await master.say("INFO", "replication")
        return any(int(each["offset"]) >= said["master_repl_offset"] for each in _replicas(said))

    await wait_until(known, 15)
    master.kill()


def _replicas(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for name, each in said.items() if name.startswith("slave") and isinstance(each, dict)]


class ScriptedServer:
    """Answers the commands it is told about with the bytes it is told, and any other command with OK."""

    def __init__(self, answers: Mapping[str, bytes], *, tcp: bool = False) -> None:
        self.answers = dict(answers)
        self.port = 0
        self._tcp = tcp
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._directory = Path(tempfile.mkdtemp(prefix="vm-"))
        self.url = f"unix://{self._directory}/socket"
        self.asked: list[str] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        if self._tcp:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
        else:
            self._server = await asyncio.start_unix_server(self._connected, self._directory / "socket")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        await closed(self._server)
        await asyncio.gather(*self._tasks)
        shutil.rmtree(self._directory)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):  # a client may hang up at any byte
            while head := await reader.readline():
                words = []
                for _ in range(int(head[1:])):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2].decode())
                self.asked.append(words[0])
                writer.write(self.answers.get(words[0], b"+OK\r\n"))
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def info(**fields: str) -> bytes:
    """What INFO answers, on the wire."""
    text = "".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode()
    return b"$%d\r\n%s\r\n" % (len(text), text)


async def answers(path: Path) -> bool:
    """Tell whether a server on the socket `path` answers a PING."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.write(b"PING\r\n")
    try:
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
