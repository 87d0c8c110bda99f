"""The OpenAPI document against the running service, as a program that never saw either tries them."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.processes import ADMIN, Service
from tests.stores import StoreServer

CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.mark.timeout(600)
async def test_a_stranger_who_reads_the_document_finds_nothing_wrong(tmp_path: Path) -> None:
    """Schemathesis: examples, edges, random calls and chains of them; answers, codes, headers, methods, the token."""
    command = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(CONFIG), "run"]
    command += ["--no-color", "--max-examples", "20", "--continue-on-failure", "--request-timeout", "30", "--seed", "1"]
    async with StoreServer() as store, Service(REDIS_URL=store.url) as service:
        url = f"{service.base}/api/v1/openapi.json"
        run = await asyncio.create_subprocess_exec(
            *command,
            url,
            "-H",
            f"Authorization: Bearer {ADMIN}",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await run.communicate()
    assert run.returncode == 0, said.decode()[-8000:]
