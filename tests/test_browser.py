"""A stranger with a browser and a link."""

import asyncio
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.events import record
from tests.processes import Service
from tests.servers import MemoryServer
from tests.tools import need

_QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)


async def browsed(url: str, profile: Path) -> str:
    """What Chromium shows at `url`, after all redirects."""
    line = [need("chromium"), *_QUIET.split(), f"--user-data-dir={profile}", "--dump-dom", url]
    environment = {"PATH": os.environ["PATH"], "HOME": str(profile)}
    done = await asyncio.to_thread(subprocess.run, line, env=environment, capture_output=True, text=True, timeout=60)
    return done.stdout


@pytest.mark.timeout(300)
async def test_a_stranger_opens_the_link_and_stands_in_the_meeting(
    tmp_path: Path, meeting_server: MemoryServer
) -> None:
    need("chromium")
    async with Service(DATA_DIR=str(tmp_path / "data")) as service:
        await service.connect(meeting_server.url)
        link = (await service.say("record.update_metadata", record())).json()["metadata"]["video_link"]
        page = await browsed(link, tmp_path / "browser")
        assert "<title>Your video meeting</title>" in page
        button = re.search(r'<a class="join" href="([^"]+)">Join the meeting</a>', page)
        assert button
        room = await browsed(urljoin(link, button[1]), tmp_path / "browser")
        assert "You are in the meeting" in room
