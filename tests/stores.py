"""Stores for tests: real servers that can be killed, and one that says whatever it is told."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from service.embedded import find_binary
from tests.waiting import wait_until


class StoreServer:
    """A real server on a unix socket in a directory of its own; `kill` and `start` lose nothing written."""

    def __init__(self, binary: str | None = None) -> None:
        self._binary = binary or find_binary()
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="vm-"))
        self.socket = self._directory / "socket"
        self.url = f"unix://{self.socket}"

    async def start(self, *options: str) -> None:
        """Start it and come back when it answers."""
        command = [self._binary, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._directory)]
        command += ["--save", "", "--appendonly", "yes", *options]
        self._spawn(command)
        await wait_until(lambda: answers(self.socket))

    def _spawn(self, command: list[str]) -> None:  # at once: a start that is cancelled leaves nothing behind
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it with kill -9."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let it hang: it keeps its connections and answers nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

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


class ScriptedServer:
    """Answers the commands it is told about with the bytes it is told, and any other command with OK."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        self._answers = answers
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._directory = Path(tempfile.mkdtemp(prefix="vm-"))
        self.url = f"unix://{self._directory}/socket"
        self.asked: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._connected, self._directory / "socket")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        await asyncio.gather(*self._tasks)
        shutil.rmtree(self._directory)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        while head := await reader.readline():
            words = []
            for _ in range(int(head[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2].decode())
            self.asked.append(words[0])
            writer.write(self._answers.get(words[0], b"+OK\r\n"))
            await writer.drain()
        writer.close()


def info(**fields: str) -> bytes:
    """What INFO answers, on the wire."""
    text = "".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode()
    return b"$%d\r\n%s\r\n" % (len(text), text)


async def answers(socket: Path) -> bool:
    """Tell whether a server on `socket` answers a PING."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    writer.write(b"PING\r\n")
    try:
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()
