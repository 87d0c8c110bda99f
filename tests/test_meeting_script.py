"""What the customer's page says with a script: the reader's own time, how long until then; and what it never does."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route

from service.web.assets import Asset
from tests.browsing import browsers, listening, served, violations
from tests.events import record
from tests.running import Running, running
from tests.servers import MemoryServer
from tests.test_join import TOKENS
from tests.test_settings_browser import At

HELSINKI, TALLINN, NEW_YORK = "Europe/Helsinki", "Europe/Tallinn", "America/New_York"
SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const each of list.getEntries()) sum += each.value; })
    .observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => done(sum)));
})"""


@pytest.fixture
async def at(store_url: str) -> AsyncIterator[At]:
    async with listening() as (listener, public), served(listener, public, store_url):
        yield At(public)


async def booked(at: At, fields: dict[str, Any], **data: Any) -> str:
    """A booking of an office in Helsinki; answers its page's address."""
    made = await at.api("POST", "/connections", fields)
    choice = {"connection": made.json()["id"], "link": "hosted", "time_zone": HELSINKI}
    assert (await at.api("PUT", "/offices/default", choice)).status_code == 200
    told = await at.vello("record.update_metadata", record(**data))
    return str(told.json()["metadata"]["video_link"])


@asynccontextmanager
async def reading(profile: Path, zone: str, **how: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page of somebody in a zone, on a narrow phone, and what the browser complained of."""
    complaints: list[str] = []
    async with browsers(profile, zone=zone, **how) as chromium:
        page = await chromium.new_page()
        await page.set_viewport_size({"width": 320, "height": 700})
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page, complaints


async def slowly(route: Route) -> None:
    """A network on which the script comes so late that the page could have been shown before."""
    await route.request.frame.page.wait_for_timeout(400)
    await route.continue_()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("language", "zone", "says", "counts"),
    [
        ("en", NEW_YORK, r"That is .*(EDT|EST|GMT-\d).* in your time zone\.", r"It begins in 3 hours\."),
        ("fi", NEW_YORK, r"Omalla aikavyöhykkeelläsi se on .*\.", r"Se alkaa 3 tunnin päästä\."),
        ("en", TALLINN, "", r"It begins in 3 hours\."),
    ],
    ids=["en", "fi", "same clocks"],
)
async def test_the_readers_own_time_stands_beside_the_offices_where_clocks_differ(
    at: At, meeting_server: MemoryServer, tmp_path: Path, language: str, zone: str, says: str, counts: str
) -> None:
    fields = {"provider": "memory", "url": meeting_server.url}
    link = await booked(at, fields, time=int(time.time()) + 3 * 3600, language=language)
    async with reading(tmp_path, zone) as (page, complaints):
        await page.route("**/static/meeting.*.js", slowly)
        await page.goto(link)
        own = await page.locator("own-time").inner_text()
        assert re.fullmatch(rf"{says}\s?{counts}" if says else counts, own), own
        assert await page.evaluate(SHIFTS) == 0
        assert complaints == []
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.timeout(300)
async def test_the_time_until_then_counts_down_and_on_by_the_servers_clock(
    at: At, meeting_server: MemoryServer, tmp_path: Path
) -> None:
    now = int(time.time())
    link = await booked(at, {"provider": "memory", "url": meeting_server.url}, time=now + 1500)
    async with reading(tmp_path, HELSINKI) as (page, _):
        await page.clock.install(time=now - 7 * 86_400)  # a phone whose clock is a week late
        await page.goto(link)
        timer = page.get_by_role("timer")
        assert re.fullmatch(r"It begins in 2[45] minutes\.", await timer.inner_text())
        await page.clock.fast_forward(20 * 60_000)
        assert re.fullmatch(r"It begins in [45] minutes\.", await timer.inner_text())
        await page.clock.fast_forward(15 * 60_000)
        assert re.fullmatch(r"It began (9|10) minutes ago\.", await timer.inner_text())


@pytest.mark.timeout(300)
async def test_a_page_that_was_opened_early_opens_by_itself_when_it_is_time(at: At, tmp_path: Path) -> None:
    now = int(time.time())
    link = await booked(at, dict(TOKENS), time=now + 2 * 3600)
    async with reading(tmp_path, NEW_YORK) as (page, complaints):
        await page.clock.install(time=now)
        await page.goto(link)
        assert await page.locator("own-time").count() == 2  # when it begins, and when it opens
        async with page.expect_navigation(url=link):
            await page.clock.fast_forward(2 * 3600_000)
        assert "not time yet" in await page.content()  # the service's clock counts
        assert complaints == []


@pytest.mark.timeout(300)
async def test_without_a_script_the_page_says_all_that_it_must(
    at: At, meeting_server: MemoryServer, tmp_path: Path
) -> None:
    link = await booked(at, {"provider": "memory", "url": meeting_server.url}, time=int(time.time()))
    async with reading(tmp_path, NEW_YORK, javascript=False) as (page, complaints):
        await page.goto(link)
        assert (
            await page.locator("own-time").bounding_box() is None or await page.locator("own-time").inner_text() == ""
        )
        assert await page.get_by_role("link", name="Join the meeting").is_visible()
        assert complaints == []


async def test_the_script_is_kept_by_browsers_for_good_under_a_name_of_its_content(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        shown = await page_of(service)
        (path,) = re.findall(r'<script src="([^"]+)">', shown)
        assert path == Asset("meeting.js").path
        script = await service.client.get(path)
        assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.headers["x-content-type-options"] == "nosniff"
        other = path.replace(path.split(".")[1], "0" * 16)
        assert (await service.client.get(other)).status_code == 404


async def page_of(service: Running) -> str:
    """A customer's page."""
    link = await service.link(record())
    assert link
    return (await service.client.get(link)).text


async def test_a_page_without_a_time_loads_no_script(store_url: str) -> None:
    async with running(store_url) as service:
        answer = await service.client.get("/m/nothing")
        assert "<script" not in answer.text
        assert "script-src" not in answer.headers["content-security-policy"]
