"""The pages behind a booking's two links in a browser: whoever reads them on a phone, and however they read."""

import time
from pathlib import Path

import pytest

from tests.browsing import listening, pictured, served, violations
from tests.events import record
from tests.fakes.own_system import OwnSystem
from tests.providers.test_http_provider import SECRET
from tests.test_meeting_script import reading
from tests.test_settings_browser import At


@pytest.mark.timeout(300)
async def test_a_host_starts_and_a_guest_joins_from_pages_that_everybody_can_read(
    store_url: str, tmp_path: Path
) -> None:
    promised = ["keeps_link", "host_links", "opens_in_app", "guests_wait"]
    async with (
        OwnSystem(SECRET, promised) as system,
        listening() as (listener, public),
        served(listener, public, store_url),
        reading(tmp_path, "Europe/Helsinki") as (page, complaints),
    ):
        at, data = At(public), record(time=int(time.time()) + 600)
        numbers = [{"number": "+358 9 555 0100", "codes": ["1234567890", "123456"], "region": "FI"}]
        system.entrance = {"passcode": "aB3-cD4_eF", "dial_in": numbers * 2}
        fields = {"provider": "http_provider", "url": system.url, "secret": SECRET, "capabilities": promised}
        made = (await at.api("POST", "/connections", fields)).json()
        await at.api("PUT", "/offices/default", {"connection": made["id"], "link": "hosted", "name": "Helsinki"})
        guests = (await at.vello("record.update_metadata", data)).json()["metadata"]["video_link"]
        hosts = (await at.api("GET", f"/records/{data['id']}")).json()["host_link"]
        for link, name, button in ((guests, "guest", "Join the meeting"), (hosts, "host", "Start the meeting")):
            await page.set_viewport_size({"width": 320, "height": 700})
            await page.goto(link)
            assert await violations(page) == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320
            await pictured(page, f"link-{name}")
            assert complaints == []
            await page.get_by_role("link", name=button).click()
            await page.wait_for_url(f"{system.url.removesuffix('/calls')}/rooms/**")
            assert ("?host=" in page.url) is (name == "host")
            assert await page.evaluate("document.referrer") == ""
    assert system.refused == []
