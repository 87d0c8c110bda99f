"""What the benchmarks share: servers as processes, wrk, and figures that the kernel and the store keep themselves."""

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from redis.asyncio import Redis

from service.vello import sign
from tests.events import body, record
from tests.ports import free_port
from tests.processes import TOKEN, Service
from tests.waiting import wait_until


class Server:
    """`python -m MODULE …` on a free port, which stands for `{port}` among its arguments."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        words = (word.format(port=self.port) for word in arguments)
        self._command = [sys.executable, "-m", module, *words]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process
        return self._process.pid

    async def __aenter__(self) -> Self:
        self._process = await asyncio.to_thread(subprocess.Popen, self._command)
        await wait_until(self._listens, 10)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    async def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests a second and latencies in milliseconds."""

    rate: float
    p50: float
    p99: float
    requests: int


OFFICES = [str(uuid.uuid4()) for _ in range(20)]


def booking() -> dict[str, Any]:
    """A new booking in one of a few offices."""
    return record(office=random.choice(OFFICES))


async def choose(service: Service, vendor_url: str, link: str = "direct") -> None:
    """Every office uses this provider."""
    made = await service.admin("POST", "/connections", json={"provider": "memory", "url": vendor_url})
    choice = {"connection": made.json()["id"], "link": link}
    assert (await service.admin("PUT", "/offices/default", json=choice)).status_code == 200


def events(path: Path, endpoint: str, kind: str, records: Iterable[dict[str, Any]]) -> Path:
    """A wrk script that posts one signed event for each record, round and round."""
    rows = path.with_suffix(".txt")
    with rows.open("w") as file:
        for data in records:
            raw = json.dumps(json.loads(body(kind, data)), separators=(",", ":"))
            file.write(f"{sign(TOKEN, endpoint, raw.encode())} {raw}\n")
    path.write_text(
        f'local events, at = {{}}, 0\nfor line in io.lines("{rows}") do\n'
        "  events[#events + 1] = {string.sub(line, 1, 128), string.sub(line, 130)}\nend\n"
        "function request()\n  at = at % #events + 1\n"
        '  return wrk.format("POST", nil, {["Content-Type"] = "application/json", '
        '["Vello-Signature"] = events[at][1]}, events[at][2])\nend\n'
    )
    return path


async def wrk(url: str, script: Path, connections: int, seconds: int) -> Load:
    """Load `url`; ends the run when one answer was no success."""
    binary = shutil.which("wrk")
    if binary is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s", "-s", str(script)]
    process = await asyncio.create_subprocess_exec(binary, *options, url, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    text = out.decode()
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    count = re.search(r"(\d+) requests in", text)
    shares = {share: _milliseconds(value, unit) for share, value, unit in _LATENCY.findall(text)}
    if not rate or not count or "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"{url} did not answer every request with success:\n{text}")
    return Load(float(rate[1]), shares["50"], shares["99"], int(count[1]))


async def send_each(port: int, endpoint: str, kind: str, records: Sequence[dict[str, Any]], connections: int) -> None:
    """Post one signed event for each record, each once, over kept-alive connections."""
    waiting = iter(records)

    async def sender() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for data in waiting:
            raw = body(kind, data)
            head = (
                f"POST {urlsplit(endpoint).path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(raw)}\r\n"
                f"vello-signature: {sign(TOKEN, endpoint, raw)}\r\n\r\n"
            )
            writer.write(head.encode() + raw)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            await reader.readexactly(int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        writer.close()

    await asyncio.gather(*[sender() for _ in range(connections)])


_LATENCY = re.compile(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s)\s*$", re.MULTILINE)


def _milliseconds(value: str, unit: str) -> float:
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


async def calls_of(store_url: str) -> int:
    """How many scripts the store has run."""
    async with Redis.from_url(store_url, decode_responses=True) as client:
        stats = await client.info("commandstats")
    return sum(int(row["calls"]) for name, row in stats.items() if name in ("cmdstat_evalsha", "cmdstat_eval"))


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_megabytes(pid: int) -> float:
    """Memory that a process holds, in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024 / 1e6
