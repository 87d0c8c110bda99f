"""What the benchmarks share: wrk, and the store's own count of commands."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

from redis.asyncio import Redis


async def wrk(url: str, script: Path, connections: int, seconds: int) -> float:
    """Requests a second that `url` answered with success; stops the run when one was not."""
    binary = shutil.which("wrk")
    if binary is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    process = await asyncio.create_subprocess_exec(
        binary, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    text = out.decode()
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not found or "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"{url} did not answer every request with success:\n{text}")
    return float(found[1])


async def commands_of(store_url: str) -> int:
    """How many EVALSHA calls the store has carried out."""
    async with Redis.from_url(store_url, decode_responses=True) as client:
        stats = await client.info("commandstats")
    return sum(int(row["calls"]) for name, row in stats.items() if name in ("cmdstat_evalsha", "cmdstat_eval"))


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
