"""Customers with browsers: every state of a booking's page, on a phone and a large screen, by day and by night."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, Response

from service.entry import Reason, reason_text
from service.store import Store
from service.vello import sign
from service.web.recent import GUESSES
from tests.browsing import browser, listening, pictured, served, violations
from tests.events import START, body, record
from tests.ports import NO_TLS
from tests.processes import ADMIN, TOKEN
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.test_picture import logo, saved
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(240)

GATED = {"provider": "jitsi", "url": "https://meet.example.org", "app_id": "our-app", "secret": "s" * 40}
OFFICE = {"name": "Helsingin toimipiste", "time_zone": "Europe/Helsinki", "link": "hosted", "contact": "09 123 4567"}
BUDGET = 30_000
"""Bytes of a page with all that it loads."""


class Clinic:
    """A service with bookings in every state; `links` are what their customers have."""

    def __init__(self, public: str, store: Store, memory: MemoryServer) -> None:
        self.public, self.store, self.memory = public, store, memory
        self.links: dict[str, str] = {}
        self.records: dict[str, str] = {}
        self._api = httpx.AsyncClient(base_url=public, trust_env=False, verify=NO_TLS, timeout=30)

    async def close(self) -> None:
        await self._api.aclose()

    async def admin(self, method: str, path: str, **more: Any) -> Any:
        answer = await self._api.request(method, f"/api/v1{path}", headers={"Authorization": f"Bearer {ADMIN}"}, **more)
        assert answer.is_success, answer.text
        return answer.json()

    async def vello(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        url, raw = f"{self.public}/webhooks/vello", body(kind, data)
        answer = await self._api.post(url, content=raw, headers={"Vello-Signature": sign(TOKEN, url, raw)})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def book(self, state: str, **fields: Any) -> dict[str, Any]:
        """A booking, remembered by the state it is to be in."""
        data = record(**fields)
        self.records[state] = data["id"]
        self.links[state] = str((await self.vello("record.update_metadata", data))["metadata"]["video_link"])
        return data

    async def alter(self, data: dict[str, Any], *gone: str, **fields: str) -> None:
        """What a booking's entry says, in the store: a state that would last but a moment stays."""
        (row,) = await self.store.execute("KEYS", f"vm:{{s*}}:r:{data['id']}")
        if gone:
            await self.store.execute("HDEL", row, *gone)
        for name, value in fields.items():
            await self.store.execute("HSET", row, name, value)

    async def open(self) -> None:
        """Bookings in all states."""
        made = await self.admin("POST", "/connections", json={"provider": "memory", "url": self.memory.url})
        gated = await self.admin("POST", "/connections", json=GATED)
        picture = await self._api.post(
            "/api/v1/logos", content=saved(logo()), headers={"Authorization": f"Bearer {ADMIN}"}
        )
        plain = {**OFFICE, "connection": made["id"]}
        await self.store.execute("HSET", "vm:sweep", f"at:{made['id']}", 9_000_000_000)  # none brings meetings back
        doors, brands, without = (record()["office"] for _ in range(3))
        looks = {"logo": picture.json()["logo"], "colour": "#ffcc00"}
        await self.admin("PUT", "/offices/default", json=plain)
        await self.admin("PUT", f"/offices/{doors}", json={**OFFICE, "connection": gated["id"]})
        await self.admin("PUT", f"/offices/{brands}", json={**plain, **looks})
        await self.admin("PUT", f"/offices/{without}", json=plain)
        await self.book("early", office=doors)
        await self.alter(await self.book("over", office=doors, time=1_600_000_000), asked="1600000000")
        await self.book("open")
        await self.book("branded", office=brands)
        await self.alter(await self.book("preparing"), "meeting", state="pending")
        reasons = {"late": Reason("temporary", "It is down.", "operator")}
        reasons["trouble"] = Reason("reconnect", "It refuses us.", "admin")
        for state, reason in reasons.items():
            await self.alter(await self.book(state), "meeting", state="pending", reason=reason_text(reason))
        moved = await self.book("moved")
        await self.vello("record.updated", {**moved, "version": 2, "time": START + 86_400})
        await self.vello("record.cancelled", {"id": (await self.book("cancelled"))["id"]})
        await self.book("without", office=without)
        await self.admin("PUT", f"/offices/{without}", json={**plain, "connection": None})
        self.links["unknown"] = f"{self.public}/m/nothing"


SAYS = {
    "early": (200, "It is not time yet"),
    "over": (410, "This meeting is over"),
    "open": (200, "Your video meeting"),
    "branded": (200, "Your video meeting"),
    "preparing": (200, "Your meeting is being prepared"),
    "late": (200, "Your meeting is being prepared"),
    "trouble": (200, "There is a problem with this meeting"),
    "moved": (200, "Your video meeting"),
    "cancelled": (410, "This booking is no longer valid"),
    "without": (404, "There is no video meeting for this booking"),
    "unknown": (404, "We do not know this link"),
}


@asynccontextmanager
async def clinic(store: StoreServer, memory: MemoryServer) -> AsyncIterator[Clinic]:
    kept = await Store.open(store.url)
    try:
        async with listening() as (listener, public), served(listener, public, store.url):
            made = Clinic(public, kept, memory)
            try:
                await made.open()
                yield made
            finally:
                await made.close()
    finally:
        await kept.close()


async def examined(page: Page, state: str) -> None:
    """No fault that axe finds and nothing sideways: small and large, by day and by night, with large letters."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for width in (1280, 375):
            await page.set_viewport_size({"width": width, "height": 800})
            assert await violations(page) == [], (state, scheme, width)
        await pictured(page, f"customer-{state}-{scheme}")
    for size in ("100%", "200%"):
        await page.set_viewport_size({"width": 320, "height": 800})
        await page.evaluate("size => document.documentElement.style.fontSize = size", size)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, (state, size)


async def shown(page: Page, link: str, sizes: dict[str, int]) -> tuple[int, str, int]:
    """A page as its customer gets it: its status, its heading, and the bytes it took; all of them are ours."""
    answers: list[Response] = []

    def heard(response: Response) -> None:
        answers.append(response)

    page.on("response", heard)
    answer = await page.goto(link)
    await page.wait_for_load_state("networkidle")
    page.remove_listener("response", heard)
    assert answer
    origin = link.partition("/m/")[0]
    assert all(each.url.startswith(origin) for each in answers)
    for each in answers:
        if each.status != 304:  # what the browser still has; its size is known
            sizes[each.url] = len(await each.body())
    return answer.status, await page.locator("h1").inner_text(), sum(sizes[each.url] for each in answers)


async def test_the_hosts_page_is_for_everybody_too(tmp_path: Path, meeting_server: MemoryServer) -> None:
    async with StoreServer() as store, clinic(store, meeting_server) as at, browser(tmp_path) as (page, complaints):
        for state in ("early", "open", "late", "moved", "cancelled"):
            link = (await at.admin("GET", f"/records/{at.records[state]}"))["host_link"]
            if link:
                await page.goto(link)
                assert "customer" in await page.inner_text("main")
                await examined(page, f"host-{state}")
        assert complaints == []


async def test_every_state_of_the_customers_page(tmp_path: Path, meeting_server: MemoryServer) -> None:
    async with StoreServer() as store, clinic(store, meeting_server) as at, browser(tmp_path) as (page, complaints):
        sizes: dict[str, int] = {}
        for state, (status, heading) in SAYS.items():
            *seen, size = await shown(page, at.links[state], sizes)
            assert seen == [status, heading], state
            assert size < BUDGET, state
            await examined(page, state)
        assert [line for line in complaints if "status of 4" not in line] == []

        for number in range(GUESSES):
            await page.request.get(f"{at.public}/m/{number}")
        assert (await shown(page, f"{at.public}/m/nothing", sizes))[:2] == (429, "Too many unknown links")
        await examined(page, "too-many")
        store.kill()
        assert (await shown(page, at.links["open"], sizes))[:2] == (200, "Your video meeting")
        assert "a few minutes ago" in await page.inner_text("main")
        await examined(page, "remembered")
        assert (await shown(page, f"{at.public}/m/{'A' * 23}", sizes))[:2] == (503, "One moment, please")
        await examined(page, "unavailable")


@pytest.mark.parametrize("clicked", [False, True], ids=["opened", "clicked"])
async def test_a_page_that_waits_changes_by_itself_once_there_is_news_and_not_before(
    tmp_path: Path, meeting_server: MemoryServer, clicked: bool
) -> None:
    """Nobody who has it read aloud is interrupted for nothing; who has clicked already is led in."""
    async with StoreServer() as store, clinic(store, meeting_server) as at, browser(tmp_path) as (page, _):
        await page.clock.install()
        await page.goto(at.links["preparing"] + ("/join" if clicked else ""))
        await page.evaluate("document.body.dataset.mine = 'kept'")

        looks: list[str] = []
        page.on("requestfinished", lambda request: looks.append(request.url))

        async def looked_twice() -> bool:
            await page.clock.run_for(1_000)
            return looks.count(at.links["preparing"]) >= 2

        async def is_open() -> bool:
            await page.clock.run_for(1_000)
            into = page.get_by_text("You are in the meeting")
            return bool(await (into if clicked else page.get_by_role("link", name="Join the meeting")).count())

        await wait_until(looked_twice, 20)
        assert await page.evaluate("document.body.dataset.mine") == "kept"
        await at.admin("POST", f"/records/{at.records['preparing']}/reconcile")
        await wait_until(is_open, 20)
