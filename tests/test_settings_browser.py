"""Admins with browsers: from the first run to the first link, an office's choice, two at once, a session that ends."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import FilePayload, Page, expect

from service.vello import sign
from tests.browsing import ELSEWHERE, Scheme, browser, browsers, listening, log_in, pictured, served, violations
from tests.events import body, record
from tests.fakes.jitsi import FakeJitsi
from tests.fakes.zoom_server import ZoomServer
from tests.ports import NO_TLS
from tests.processes import ADMIN, TOKEN
from tests.servers import MemoryServer
from tests.test_picture import logo, saved
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(240)


class At:
    """A service that people open, and Vello's side of it."""

    def __init__(self, public: str) -> None:
        self.public = public

    async def vello(self, kind: str, data: object) -> httpx.Response:
        """What Vello says, signed."""
        url, raw = f"{self.public}/webhooks/vello", body(kind, data)
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=20) as client:
            answer = await client.post(url, content=raw, headers={"Vello-Signature": sign(TOKEN, url, raw)})
        assert answer.status_code == 200, answer.text
        return answer

    async def api(self, method: str, path: str, json: object = None) -> httpx.Response:
        """A call to the API."""
        headers = {"Authorization": f"Bearer {ADMIN}"}
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=20, headers=headers) as client:
            return await client.request(method, f"{self.public}/api/v1{path}", json=json)

    async def connect(self, url: str, name: str) -> str:
        """A connection to the reference meeting server."""
        made = await self.api("POST", "/connections", {"provider": "memory", "url": url, "name": name})
        return str(made.json()["id"])


@pytest.fixture
async def at(store_url: str) -> AsyncIterator[At]:
    async with listening() as (listener, public), served(listener, public, store_url):
        yield At(public)


async def test_forms_work_over_plain_http_under_any_name(store_url: str, tmp_path: Path) -> None:
    """There browsers send no Sec-Fetch-Site, and Origin is `null` where a page forbids the referrer."""
    async with listening() as (listener, local):
        public = local.replace("localhost", ELSEWHERE)
        async with served(listener, public, store_url), browser(tmp_path) as (page, _):
            await log_in(page, public)
            await page.get_by_role("button", name="Suomi").click()
            await expect(page.locator("html")).to_have_attribute("lang", "fi")


async def sound(page: Page, name: str) -> None:
    """A page without a fault that axe finds, and no wider than the smallest screen; a picture is taken of it."""
    await page.set_viewport_size({"width": 1280, "height": 900})
    assert await violations(page) == []
    await page.set_viewport_size({"width": 320, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    assert await violations(page) == []
    await pictured(page, name)
    await page.set_viewport_size({"width": 1280, "height": 900})


async def test_from_the_first_run_to_the_first_link(at: At, tmp_path: Path, meeting_server: MemoryServer) -> None:
    async with browser(tmp_path) as (page, complaints):
        await log_in(page, at.public)
        await expect(page.get_by_label("URL")).to_have_value(f"{at.public}/webhooks/vello")
        await page.get_by_role("button", name="Show").click()
        await expect(page.get_by_label("Token")).to_have_value(TOKEN)
        await at.vello("connection.test", {})
        await expect(page.get_by_text("Vello reached us")).to_be_visible()
        await expect(page.get_by_label("Token")).to_have_count(0)
        await at.connect(meeting_server.url, "Our server")
        await page.reload()
        await page.get_by_role("link", name="Choose", exact=True).click()
        await page.get_by_label("Who makes the meetings").select_option(label="Our server (" + meeting_server.url + ")")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status").first).to_contain_text("Saved")
        await page.get_by_role("link", name="Start", exact=True).click()
        await page.get_by_role("button", name="Make a test booking").click()
        link = await page.get_by_label("Link", exact=True).input_value()
        assert link.startswith(meeting_server.url)
        await expect(page.get_by_text("Everything is set up")).to_be_visible()
        await page.get_by_role("button", name="Remove the test booking").click()
        await expect(page.get_by_role("button", name="Make a test booking")).to_be_visible()

        async def gone() -> bool:
            return await meeting_server.meetings() == []

        await wait_until(gone, 10)
        assert complaints == []


async def test_a_provider_is_chosen_for_one_office_and_weighed_before(
    at: At, tmp_path: Path, meeting_server: MemoryServer
) -> None:
    first = await at.connect(meeting_server.url, "First")
    await at.connect(meeting_server.url, "Second")
    await at.api("PUT", "/offices/default", {"connection": first})
    data = record()
    await at.vello("record.update_metadata", data)
    async with browser(tmp_path) as (page, complaints):
        await log_in(page, at.public, "/offices")
        await page.get_by_role("link", name=f"Office {data['office'][:8]}").click()
        await page.get_by_label("Name", exact=True).fill("Helsinki")
        await page.get_by_label("Who makes the meetings").select_option(label=f"Second ({meeting_server.url})")
        impact = page.locator("#impact")
        await expect(impact).to_contain_text("1 upcoming booking: it stays as it is.")
        await page.get_by_label("Meetings that stand with another connection").check()
        await expect(impact).to_contain_text("1 gets another meeting in place of the one it has")
        await expect(impact).to_contain_text("1 customer holds a link that will no longer work")
        await page.get_by_label("Title", exact=True).fill("{office} {record_number}")
        await page.get_by_label("Tag").click()
        await expect(impact).to_contain_text("Helsinki 2027-0042")
        await page.get_by_label("Opens before").fill("-5")
        await page.get_by_label("Do it to upcoming bookings now").check()
        await page.get_by_role("button", name="Save").click()
        assert await page.evaluate("document.querySelector('input:invalid').name") == "options.opens_before"
        await page.get_by_label("Opens before").fill("20")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status").first).to_contain_text("Saved")
        await expect(page.locator("#errands")).to_contain_text("1 booking looked at again")
        await page.goto(f"{at.public}/offices/{data['office']}")
        await expect(page.get_by_text("ADMIN_TOKEN:")).to_be_visible()
        await page.goto(f"{at.public}/bookings/{data['id']}")
        await expect(page.get_by_text("the office's own choice")).to_be_visible()
        await expect(page.locator("#booking")).to_contain_text("Second")
        assert complaints == []


async def test_a_server_is_asked_about_its_settings_while_they_are_typed_then_connected_renamed_and_mended(
    at: At, tmp_path: Path
) -> None:
    async with FakeJitsi(auth="token") as jitsi, browser(tmp_path) as (page, complaints):
        await log_in(page, at.public, "/connections")
        card = page.get_by_role("listitem").filter(has_text="Jitsi Meet")
        await card.get_by_role("link", name="Fill in the form").click()
        await page.get_by_label("Url").fill("meet")
        await page.get_by_label("App id").fill("clinic")
        await page.get_by_label("Secret").fill("short")
        await page.get_by_role("button", name="Connect", exact=True).click()
        await expect(page.get_by_label("Url")).to_have_attribute("aria-invalid", "true")
        await expect(page.get_by_label("Url")).to_have_value("meet")
        await expect(page.get_by_label("Secret")).to_have_value("")
        assert await violations(page) == []
        check = page.locator("#check")
        await expect(check).to_contain_text("As soon as the form is complete")
        await page.get_by_label("Url").fill(jitsi.url)
        await page.get_by_label("Secret").fill("t" * 40)
        await page.get_by_label("Secret").blur()
        await expect(check).to_contain_text("does not take the secret or key")
        assert await violations(page) == []
        await page.get_by_label("Secret").fill("s" * 40)
        await page.get_by_label("Secret").blur()
        await expect(check).to_contain_text("It takes tokens with this app_id")
        await page.get_by_role("button", name="Connect", exact=True).click()
        await expect(page.get_by_role("status").first).to_contain_text("It is connected")
        assert await violations(page) == []
        await page.get_by_label("Name", exact=True).fill("Our rooms")
        await page.get_by_role("button", name="Rename").click()
        await expect(page.get_by_role("heading", name="Our rooms")).to_be_visible()
        await page.get_by_text("Enter other settings or secrets").click()
        await page.get_by_label("App id").fill("hospital")
        await page.get_by_label("App id").blur()
        await expect(check).to_contain_text("does not take the app_id")
        jitsi.app_id = "hospital"
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status").first).to_contain_text("Saved")
        await expect(page.get_by_text("App id: … → …")).to_be_visible()
        assert "s" * 40 not in await page.content()
    assert [
        line
        for line in complaints
        if "422" not in line and not line.startswith(("htmx:afterRequest", "htmx:sendAbort"))
    ] == []


async def test_a_server_that_does_not_answer_is_connected_when_somebody_wants_that(at: At, tmp_path: Path) -> None:
    async with browser(tmp_path) as (page, _):
        await log_in(page, at.public, "/connections/new/jitsi")
        await page.get_by_label("Url").fill("http://127.0.0.1:9")
        await page.get_by_label("Url").blur()
        await expect(page.locator("#check")).to_contain_text("127.0.0.1 cannot be reached")
        await page.get_by_label("Save it all the same").check()
        assert await violations(page) == []
        await page.get_by_role("button", name="Connect", exact=True).click()
        await expect(page.get_by_role("status").first).to_contain_text("It is connected")


async def test_a_connections_test_is_watched_step_by_step_while_it_goes_on(
    at: At, tmp_path: Path, meeting_server: MemoryServer
) -> None:
    connection = await at.connect(meeting_server.url, "Ours")
    async with browser(tmp_path) as (page, complaints):
        await log_in(page, at.public, f"/connections/{connection}")
        await meeting_server.faults(hold=True, only="update")
        await page.get_by_role("button", name="Test it").click()
        steps = page.locator("#rehearsal li")
        await expect(steps).to_contain_text(["Done", "Done", "In work Move it", "To come Find", "To come Remove"])
        await page.reload()  # another admin would see the same
        await expect(steps).to_contain_text(["Done", "Done", "In work", "To come", "To come"])
        assert await violations(page) == []
        await meeting_server.faults()
        await expect(page.get_by_text("It works", exact=True)).to_be_visible()
        await expect(steps.get_by_text("Done")).to_have_count(5)
        assert await violations(page) == []
        await meeting_server.faults(fail=[{"status": 400, "times": 9}], only="create")
        await page.get_by_role("button", name="Test it").click()
        await expect(page.get_by_text("It does not work", exact=True)).to_be_visible()
        await expect(page.locator("#state")).to_contain_text("Does not work")
        assert complaints == []


async def test_a_connection_is_taken_out_of_use_and_its_meetings_move(
    at: At, tmp_path: Path, meeting_server: MemoryServer
) -> None:
    old, new = [await at.connect(meeting_server.url, name) for name in ("Old", "New")]
    await at.api("PUT", "/offices/default", {"connection": old})
    bookings = [record() for _ in range(5)]
    for data in bookings:
        await at.vello("record.update_metadata", data)
    async with browser(tmp_path) as (page, complaints):
        await log_in(page, at.public, f"/connections/{old}")
        await page.get_by_role("link", name="See what that would do").click()
        await expect(page.get_by_text("What is to become of 5 upcoming meetings")).to_be_visible()
        assert await violations(page) == []
        await meeting_server.faults(delay=0.3)
        await page.get_by_role("button", name="Take it out of use").click()
        await expect(page.get_by_text("The connection was removed.")).to_be_visible(timeout=30_000)
        assert complaints == []
    rows = [(await at.api("GET", f"/records/{data['id']}")).json() for data in bookings]
    assert {(row["state"], row["connection"]) for row in rows} == {("ready", new)}
    assert len(await meeting_server.meetings()) == 5
    assert (await at.api("GET", f"/connections/{old}")).status_code == 404


async def test_two_admins_at_once_do_not_overwrite_each_other(
    at: At, tmp_path: Path, meeting_server: MemoryServer
) -> None:
    await at.api("PUT", "/offices/default", {"name": "before"})
    async with browsers(tmp_path) as chromium:
        anna = await chromium.new_page()
        await log_in(anna, at.public, "/offices/default")
        bert = await chromium.new_page()
        await bert.goto(f"{at.public}/offices/default")
        await anna.get_by_label("Name", exact=True).fill("Anna's")
        await anna.get_by_role("button", name="Save").click()
        await expect(anna.get_by_role("status").first).to_contain_text("Saved")
        await bert.get_by_label("Tag").fill("bert")
        await bert.get_by_role("button", name="Only show what it will do").click()
        await bert.get_by_role("button", name="Save").click()
        await expect(bert.get_by_role("alert")).to_contain_text("Somebody else changed this in the meantime")
        await expect(bert.get_by_label("What was changed meanwhile")).to_contain_text("Name: before → Anna's")
        await expect(bert.get_by_label("Tag")).to_have_value("bert")
        assert await violations(bert) == []
        stored = (await at.api("GET", "/offices/default")).json()
        assert (stored["name"], stored["tag"]) == ("Anna's", None)
        await bert.get_by_label("Name", exact=True).fill("Anna's")
        await bert.get_by_role("button", name="Save").click()
        await expect(bert.get_by_role("status").first).to_contain_text("Saved")
        stored = (await at.api("GET", "/offices/default")).json()
        assert (stored["name"], stored["tag"]) == ("Anna's", "bert")


async def test_zoom_is_connected_on_its_own_consent_page_and_makes_a_meeting(
    store_url: str, tmp_path: Path, zoom: ZoomServer
) -> None:
    async with listening() as (listener, public):
        given: dict[str, Any] = {"ZOOM_CLIENT_ID": "user-app", "ZOOM_CLIENT_SECRET": "user-secret"}
        given |= {"ZOOM_OAUTH_URL": zoom.oauth_url, "ZOOM_API_URL": zoom.api_url}
        async with served(listener, public, store_url, **given), browser(tmp_path) as (page, complaints):
            at = At(public)
            await log_in(page, public, "/connections")
            await page.get_by_role("link", name="Connect Zoom").click()
            await page.get_by_role("link", name="Continue to Zoom").click()
            await page.get_by_role("button", name="Allow").click()
            await expect(page.get_by_role("heading", name="Zoom is connected")).to_be_visible()
            assert await violations(page) == []
            await page.get_by_role("link", name="Choose it for all offices").click()
            await page.get_by_label("Who makes the meetings").select_option(index=1)
            await expect(page.get_by_label("Waiting room")).to_be_visible()
            await expect(page.locator("#impact")).to_contain_text("A meeting's title will read")
            await page.get_by_label("Waiting room").select_option(label="Yes")
            await page.get_by_label("Join before host").select_option(label="Yes")
            await page.get_by_role("button", name="Save").click()
            await expect(page.get_by_role("alert")).to_be_visible()
            await page.get_by_label("Join before host").select_option(label="No")
            await page.get_by_role("button", name="Save").click()
            await expect(page.get_by_role("status").first).to_contain_text("Saved")
            assert await violations(page) == []
            answer = (await at.vello("record.update_metadata", record())).json()
            assert answer["metadata"]["video_link"].startswith("http")
            assert [each["settings"]["waiting_room"] for each in await zoom.meetings()] == [True]
            app = {"account_id": "account-1", "client_id": "s2s-app", "client_secret": "s2s-secret"}
            own = (await at.api("POST", "/connections", {"provider": "zoom", **app})).json()["id"]
            await page.goto(f"{public}/offices/default")
            await page.get_by_label("Who makes the meetings").select_option(own)
            await expect(page.locator("#people option").first).to_be_attached()  # whom the account could have host
            await expect(page.locator("#impact")).to_contain_text("A meeting's title will read")
            assert [line for line in complaints if "Content Security Policy" in line] == []


async def test_all_of_it_works_without_javascript(at: At, tmp_path: Path, meeting_server: MemoryServer) -> None:
    """Only what one waits for needs a reload then."""
    await at.connect(meeting_server.url, "Ours")
    async with browsers(tmp_path, javascript=False) as chromium:
        page = await chromium.new_page()
        await log_in(page, at.public, "/offices/default")
        await page.get_by_label("Who makes the meetings").select_option(index=1)
        await page.get_by_role("button", name="Only show what it will do").click()
        await expect(page.locator("#impact")).to_contain_text("0 upcoming bookings: all stay as they are.")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status").first).to_contain_text("Saved")
        await page.get_by_role("link", name="Start", exact=True).click()
        await page.get_by_role("button", name="Make a test booking").click()
        await expect(page.get_by_role("button", name="Remove the test booking")).to_be_visible()
        await page.wait_for_load_state()
        await page.reload()
        await expect(page.get_by_label("Link", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Suomi").click()
        await expect(page.get_by_role("button", name="Poista testivaraus")).to_be_visible()


async def test_it_is_used_with_the_keyboard_alone(at: At, tmp_path: Path) -> None:
    async with browser(tmp_path) as (page, _):
        await page.goto(f"{at.public}/offices/default")
        await page.keyboard.type(ADMIN)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{at.public}/offices/default")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="To the content")).to_be_focused()
        await page.keyboard.press("Enter")
        for _step in range(5):  # the way back, who makes the meetings, moving, connecting first, the name
            await page.keyboard.press("Tab")
        await page.keyboard.type("Typed")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status").first).to_contain_text("Saved")
    assert (await at.api("GET", "/offices/default")).json()["name"] == "Typed"


async def test_a_session_that_ends_in_the_middle_of_a_form_loses_nothing(at: At, tmp_path: Path) -> None:
    async with browser(tmp_path) as (page, _):
        await log_in(page, at.public, "/offices/default")
        await page.get_by_label("Tag").fill("kept")
        await page.context.clear_cookies()
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("nothing you typed is lost")
        await page.get_by_label("Admin token").fill(ADMIN)
        await page.get_by_role("button", name="Log in", exact=True).click()
        await page.get_by_role("button", name="Send it now").click()
        await expect(page.get_by_role("status").first).to_contain_text("Saved")
        assert (await at.api("GET", "/offices/default")).json()["tag"] == "kept"


async def test_a_logo_and_a_colour_are_seen_before_they_are_saved(at: At, tmp_path: Path) -> None:
    await at.api("PUT", "/offices/default", {"name": "Helsinki"})
    async with browser(tmp_path) as (page, complaints):
        await log_in(page, at.public, "/offices/default")
        await page.get_by_role("link", name="Logo and colour").click()
        file: FilePayload = {"name": "logo.png", "mimeType": "image/png", "buffer": saved(logo())}
        await page.get_by_label("Logo").set_input_files(file)
        await page.get_by_label("Colour").fill("#fc0")
        await page.get_by_role("button", name="Only show").click()
        picture = page.get_by_role("img", name="Logo")
        await expect(picture).to_be_visible()
        assert await picture.evaluate("image => image.naturalWidth") > 0
        button = page.get_by_text("Join the meeting")
        await expect(button).to_have_css("background-color", "rgb(255, 204, 0)")
        await expect(button).to_have_css("color", "rgb(0, 0, 0)")
        await sound(page, "office-look")
        assert (await at.api("GET", "/offices/default")).json()["logo"] is None
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status").first).to_contain_text("Saved")
        chosen = (await at.api("GET", "/offices/default")).json()
        assert (chosen["colour"], chosen["name"]) == ("#ffcc00", "Helsinki")
        assert chosen["logo"]
        assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_for_everybody(
    at: At, tmp_path: Path, meeting_server: MemoryServer, scheme: Scheme
) -> None:
    """No fault that axe-core finds, at any width from 320 pixels, in both colour schemes."""
    async with browser(tmp_path, scheme) as (page, _):
        await page.goto(f"{at.public}/login")
        await sound(page, f"login-{scheme}")
        await log_in(page, at.public)
        await sound(page, f"start-{scheme}")
        connection = await at.connect(meeting_server.url, "Our server")
        await at.api("PUT", "/offices/default", {"connection": connection})
        data, broken = record(), record(office=None)
        await at.vello("record.update_metadata", data)
        await meeting_server.faults(fail=[{"status": 400, "times": 1}])
        await at.vello("record.update_metadata", broken)
        await at.vello("connection.test", {})
        log = (await at.api("GET", f"/deliveries?record={data['id']}")).json()["deliveries"]
        assert (await at.api("POST", "/replays", {"since": 0})).status_code == 202
        for name, path in {
            "start-done": "/",
            "offices": "/offices",
            "office": f"/offices/{data['office']}",
            "connections": "/connections",
            "connection": f"/connections/{connection}",
            "connection-new": "/connections/new/jitsi",
            "connection-leave": f"/connections/{connection}/leave",
            "companies": "/companies",
            "notices": "/notices",
            "bookings": "/bookings",
            "booking": f"/bookings/{data['id']}",
            "booking-failed": f"/bookings/{broken['id']}",
            "errors": "/errors",
            "deliveries": f"/deliveries?record={data['id']}",
            "delivery": f"/deliveries/{log[-1]['id']}",
            "call": f"/deliveries/{next(line['id'] for line in log if line['kind'] == 'call')}",
            "privacy": "/privacy",
            "errands": "/errands",
            "nothing": "/bookings/nothing",
        }.items():
            await page.goto(f"{at.public}{path}")
            await sound(page, f"{name}-{scheme}")
        await meeting_server.faults(fail=[{"status": 401, "times": 9}], only="create")
        await at.vello("record.update_metadata", record())
        for name, path in {"needs": "/offices", "notices-needs": "/notices"}.items():
            await page.goto(f"{at.public}{path}")
            await expect(page.get_by_role("link", name="no longer lets this service in")).to_be_visible()
            await sound(page, f"{name}-{scheme}")


async def test_events_are_looked_through_and_replayed(at: At, tmp_path: Path, meeting_server: MemoryServer) -> None:
    connection = await at.connect(meeting_server.url, "Our server")
    await at.api("PUT", "/offices/default", {"connection": connection})
    data = record()
    await at.vello("record.update_metadata", data)
    async with browser(tmp_path) as (page, complaints):
        await log_in(page, at.public, f"/bookings/{data['id']}")
        await page.get_by_role("link", name="Its events and calls").click()
        await expect(page.get_by_label("Record")).to_have_value(data["id"])
        await page.get_by_label("What", exact=True).select_option(label="Events")
        await page.get_by_role("button", name="Search").click()
        await page.get_by_role("button", name="What would happen").click()
        await expect(page.get_by_role("status")).to_contain_text("1 event would be replayed.")
        await sound(page, "outlook")
        await page.get_by_role("button", name="Replay them").click()
        await expect(page.locator("#errands")).to_contain_text("1 event replayed")
        await expect(page.locator("#errands")).to_contain_text("Done")
        await page.get_by_role("link", name="Privacy").click()
        await page.get_by_label("Id", exact=True).fill("Aino")
        await page.get_by_role("button", name="Erase it").click()
        await expect(page.get_by_text("Write the id as Vello shows it")).to_be_visible()
        await sound(page, "privacy-wrong")
        assert [each for each in complaints if "422" not in each] == []
