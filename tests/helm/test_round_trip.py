"""What `helm test` runs, against a real service."""

import asyncio
import os
import subprocess
import sys

from tests.helm.reference import CHART
from tests.processes import Service


async def test_the_releases_test_passes_only_with_the_right_token(store_url: str) -> None:
    async with Service(REDIS_URL=store_url) as service:
        good = await _ran(service, service.environment)
        bad = await _ran(service, {**service.environment, "VELLO_WEBHOOK_TOKEN": "another"})
    assert good.returncode == 0, good.stderr
    assert "connection.test 200 {}" in good.stdout
    assert bad.returncode != 0
    assert "401" in bad.stderr


async def _ran(service: Service, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", (CHART / "files" / "round_trip.py").read_text()]
    given = {**os.environ, **environment, "SERVICE": service.base, "NO_PROXY": "127.0.0.1"}
    return await asyncio.to_thread(
        subprocess.run, command, env=given, capture_output=True, text=True, check=False, timeout=60
    )
