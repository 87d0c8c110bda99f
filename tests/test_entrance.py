"""What guests are told of the way in, where it comes from, and where it is kept and shown."""

import json
import time
from dataclasses import asdict, replace
from typing import Any

import pytest

from providers.base import DialIn, Entrance, Meeting
from providers.google_account import ROOMS
from providers.google_entrance import of_event, of_space
from providers.zoom_entrance import entrance_of
from service.commands import erase, rotate_keys
from service.entry import Placement
from service.plan import spec_of
from service.rows import Rows
from service.store import Store
from service.vault import Vault
from service.web import words
from service.web.entrance import way_of
from tests.entries import CHOICE, WISH, asked, capabilities, ready
from tests.events import record
from tests.fakes.google_server import GoogleServer
from tests.fakes.zoom_server import ZoomServer
from tests.processes import KEYS
from tests.running import Running, running
from tests.servers import MemoryServer
from tests.test_erasure import config
from tests.test_google_bookings import choose, connected, served
from tests.test_join import TOKENS, assert_private
from tests.test_login import log_in
from tests.test_zoom_bookings import own_app

NUMBERS = (DialIn("+46 850 520 017", ("1", "2"), "SE"), DialIn("+358 9 4245 1488", ("3",), "FI"))
VAULT = Vault([("k1", bytes(32))])
ENTRANCE = Entrance("Pa55*code", NUMBERS, guests_wait=True, guests_log_in=False)


def entered(entrance: Entrance | None) -> Placement:
    """A meeting that stands, with an entrance."""
    spec = spec_of(asked(), WISH, CHOICE, generation=0)
    return Placement("zoom-1", spec, Meeting("m-1", "https://zoom.example/j/1?pwd=x", entrance=entrance), "office")


def kept(placed: Placement) -> Any:
    """What is kept of an entrance, as it comes back from the store."""
    return json.loads(json.dumps(placed.dump_entrance()))


def test_an_entrance_comes_back_as_it_was_kept() -> None:
    placed = entered(ENTRANCE)
    again = Placement.load(json.loads(json.dumps(placed.dump()))).entered(kept(placed))
    assert again.meeting
    assert again.meeting.entrance == ENTRANCE
    more = [*kept(placed), "of a later version"]
    later = entered(None).entered(more)
    assert later.meeting
    assert later.meeting.entrance == ENTRANCE


@pytest.mark.parametrize("owner", ["", "an installation"])
@pytest.mark.parametrize("entrance", [None, Entrance(), ENTRANCE], ids=["none", "empty", "all"])
def test_who_sealed_a_meeting_knows_it_as_any_other_process_reads_it(owner: str, entrance: Entrance | None) -> None:
    """Whoever seals it does not read it anew."""
    plain = entered(entrance)
    assert plain.meeting
    meeting = replace(plain.meeting, warnings=("not quite",))
    placed = plain._replace(spec=replace(plain.spec, owner=owner, options={"lobby": True}), meeting=meeting)
    here, elsewhere = Rows(VAULT), Rows(VAULT)
    row = {"rank": "0", **here.standing("a record", placed)}
    seen = [each.entry("a record", row) for each in (here, elsewhere)]
    assert [asdict(each.meeting.meeting) for each in seen if each and each.meeting and each.meeting.meeting] == [
        asdict(meeting)
    ] * 2
    assert [each.meeting for each in seen if each] == [placed, placed]


@pytest.mark.parametrize("changes", [{"id": "m-2"}, {"join_url": "https://zoom.example/j/1?pwd=y"}], ids=["id", "link"])
def test_an_entrance_that_an_older_process_left_behind_is_not_shown(changes: dict[str, Any]) -> None:
    """It makes another meeting, or learns of another passcode, and knows of no entrance that it should remove."""
    placed = entered(None)
    assert placed.meeting
    other = placed._replace(meeting=replace(placed.meeting, **changes))
    assert other.entered(kept(entered(ENTRANCE))) == other
    meeting = other.entered(kept(entered(ENTRANCE))).meeting
    assert meeting
    assert meeting.entrance is None


def test_a_placement_is_kept_as_the_versions_before_read_it() -> None:
    """They take four fields of a placement and four of a meeting, and fail with any other number."""
    data = entered(ENTRANCE).dump()
    assert (len(data), len(data[2])) == (4, 4)
    connection, _, meeting, *rest = json.loads(json.dumps(data))
    old = Placement(connection, entered(None).spec, Meeting(*meeting), *rest)
    assert old.name == entered(None).name


def test_no_repr_shows_an_entrance() -> None:
    shown = repr(entered(ENTRANCE)) + repr(ENTRANCE) + repr(NUMBERS)
    assert not [text for text in ("Pa55", "850", "4245", "pwd") if text in shown]


@pytest.mark.parametrize(
    ("flags", "entrance", "app", "says"),
    [
        ({}, None, "Acme", ""),
        (
            {"opens_in": "browser", "guests_log_in": False},
            None,
            None,
            "It opens in your browser. No account is needed.",
        ),
        ({"opens_in": "app_or_browser"}, None, None, "It opens in an app or in your browser."),
        (
            {"opens_in": "app_or_browser", "guests_log_in": True, "guests_wait": False},
            None,
            "Acme",
            "It opens in the app Acme or in your browser. You must be logged in to Acme.",
        ),
        ({"guests_wait": False}, Entrance(guests_wait=True), None, "You may have to wait until the host lets you in."),
        (
            {"guests_wait": True, "guests_log_in": True},
            Entrance(guests_wait=False, guests_log_in=False),
            None,
            "No acc",
        ),
        ({"guests_log_in": True}, None, None, "You must be logged in there."),
    ],
    ids=["nothing", "browser", "app", "account", "waits", "vendor", "unnamed"],
)
def test_guests_are_told_what_is_known_and_nothing_else(
    flags: dict[str, Any], entrance: Entrance | None, app: str | None, says: str
) -> None:
    words.speak("en")
    entry = ready(meeting=entered(entrance))
    told = " ".join(way_of(entry, capabilities(**flags), app, "UTC").expect)
    assert told.startswith(says)
    assert bool(told) is bool(says)


@pytest.mark.parametrize(
    ("zone", "language", "first"),
    [("Europe/Helsinki", "sv", "FI"), ("Europe/Stockholm", "fi", "SE"), ("UTC", "fi", "FI"), ("UTC", "en", "SE")],
)
def test_the_nearest_telephone_number_comes_first(zone: str, language: str, first: str) -> None:
    words.speak(language)
    try:
        way = way_of(ready(meeting=entered(ENTRANCE)), capabilities(), None, zone)
    finally:
        words.speak("en")
    assert way.dial_in[0].region == first


def test_whatever_is_odd_in_a_vendors_answer_is_left_out() -> None:
    for odd in (None, 1, "x", [], [1, "x", None, {}, {"number": 1}], {"number": "+1"}):
        assert entrance_of("1", {"password": odd, "settings": {"global_dial_in_numbers": odd}}).dial_in == ()
        assert (of_space(odd), of_event(odd)) == ((), ())
    assert entrance_of("1", {"password": 1, "settings": 1}) == Entrance()
    assert of_event([{"entryPointType": "video", "uri": "https://x", "pin": "1"}, {"entryPointType": "phone"}]) == ()


@pytest.mark.parametrize(
    ("settings", "waits", "logs_in"),
    [
        ({"waiting_room": True, "join_before_host": False}, True, None),
        ({"waiting_room": False, "join_before_host": False}, True, None),
        ({"waiting_room": False, "join_before_host": True, "meeting_authentication": True}, False, True),
        ({}, None, None),
    ],
    ids=["room", "host", "open", "silent"],
)
def test_who_waits_for_a_zoom_host_is_told_from_what_zoom_answered(
    settings: dict[str, bool], waits: bool | None, logs_in: bool | None
) -> None:
    entrance = entrance_of("1", {"settings": settings})
    assert (entrance.guests_wait, entrance.guests_log_in) == (waits, logs_in)


async def page(service: Running, data: dict[str, Any], path: str = "") -> str:
    """The customer's page of a booking."""
    link = await service.link(data)
    assert link
    answer = await service.client.get(link + path)
    if not path:
        assert_private(answer)
    return answer.text


@pytest.fixture
def zoomed(zoom: ZoomServer) -> dict[str, Any]:
    """What a service must know of the fake Zoom."""
    return {"ZOOM_OAUTH_URL": zoom.oauth_url, "ZOOM_API_URL": zoom.api_url}


async def test_zooms_passcode_and_numbers_are_on_the_page_and_nowhere_else(
    store_url: str, store: Store, zoom: ZoomServer, zoomed: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(store_url, **zoomed) as service:
        await own_app(service, link="hosted", time_zone="Europe/Stockholm")
        data = record(time=int(time.time()))
        shown = await page(service, data)
        (meeting,) = await zoom.meetings()
        digits = str(int.from_bytes(meeting["password"].encode()) % 1_000_000).zfill(6)
        assert f">{meeting['password']}</code>" in shown
        assert f'>{meeting["id"]}#</code> <code class="typed">{digits}#</code>' in shown
        assert 'href="tel:+46850520017"' in shown
        assert shown.index("+46") < shown.index("+358")
        assert "It opens in the app Zoom or in your browser. No account is needed." in shown
        seen = [await page(service, data, ".ics"), (await service.admin("GET", "/records")).text]
        seen.append((await service.admin("GET", f"/records/{data['id']}")).text)
        for key in await store.execute("KEYS", "vm:{s*}:r:*"):
            seen.append(str(await store.execute("HGETALL", key)))
        seen.append("".join(capfd.readouterr()))
        secrets = (meeting["password"], f"{digits}#", f'"{digits}"', "4245")
        assert [secret for text in seen for secret in secrets if secret in text] == []
        link = await service.link(data)
        await service.say("record.cancelled", {**data, "version": 2, "canceled": True})
        assert meeting["password"] not in (await service.client.get(str(link))).text


@pytest.mark.parametrize(
    ("options", "says", "not_said"),
    [
        ({"waiting_room": True}, "until the host lets you in", "logged in to Zoom"),
        ({"join_before_host": False}, "until the host lets you in", "logged in to Zoom"),
        ({"meeting_authentication": True}, "You must be logged in to Zoom.", "No account is needed"),
    ],
    ids=["waiting_room", "join_before_host", "meeting_authentication"],
)
async def test_what_an_office_chose_for_zoom_is_what_its_guests_are_told(
    store_url: str, zoomed: dict[str, Any], options: dict[str, Any], says: str, not_said: str
) -> None:
    async with running(store_url, **zoomed) as service:
        await own_app(service, link="hosted", options=options)
        shown = await page(service, record())
        assert says in shown
        assert not_said not in shown


async def test_what_the_zoom_account_forces_is_what_guests_are_told(
    store_url: str, zoom: ZoomServer, zoomed: dict[str, Any]
) -> None:
    await zoom.user(locked={"waiting_room": True})
    async with running(store_url, **zoomed) as service:
        await own_app(service, link="hosted")
        assert "until the host lets you in" in await page(service, record())


@pytest.mark.parametrize(
    ("mode", "access", "opens_rooms", "waits"),
    [
        ("space", "OPEN", True, False),
        ("space", "TRUSTED", True, True),
        ("space", "RESTRICTED", True, True),
        ("calendar", "OPEN", True, False),
        ("calendar", "TRUSTED", True, True),
        ("calendar", "OPEN", False, True),
    ],
)
async def test_googles_numbers_and_who_must_ask_to_be_let_in_are_on_the_page(
    store_url: str, google: GoogleServer, mode: str, access: str, opens_rooms: bool, waits: bool
) -> None:
    async with served(store_url, google) as service:
        account = await connected(service, feature=mode, unticked=() if opens_rooms else (ROOMS,))
        await choose(service, account, link="hosted", options={"access": access})
        shown = await page(service, record())
        assert "It opens in the app Google Meet or in your browser. No account is needed." in shown
        assert ("until the host lets you in" in shown) is waits
        assert ">123456789#</code>" in shown
        assert 'href="tel:+358' in shown


async def test_before_a_window_that_is_enforced_guests_are_told_what_to_expect_and_nothing_that_opens_it(
    store_url: str,
) -> None:
    async with running(store_url) as service:
        await service.connect(**TOKENS)
        shown = await page(service, record(time=int(time.time()) + 86_400))
        assert "not time yet" in shown
        assert "It opens in the app Jitsi Meet or in your browser. No account is needed." in shown
        assert not [word for word in ("tel:", "<code", "let you in", "/join") if word in shown]


@pytest.mark.parametrize(
    ("away", "says", "contact"),
    [
        (86_400, "It is early: the way in may work already", False),
        (0, "Your video meeting", False),
        (-86_400, "The time of this meeting has passed", True),
    ],
    ids=["early", "now", "late"],
)
async def test_where_no_window_is_enforced_the_page_says_what_happens_outside_of_it(
    store_url: str, store: Store, meeting_server: MemoryServer, away: int, says: str, contact: bool
) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url, link="hosted")
        choice = {"connection": connection, "link": "hosted", "contact": "Call 09 123"}
        assert (await service.admin("PUT", "/offices/default", json=choice)).status_code == 200
        data = record(time=int(time.time()) + away)
        link = await service.link(data)
        assert link
        (row,) = await store.execute("KEYS", f"vm:{{s*}}:r:{data['id']}")
        await store.execute("HSET", row, "asked", data["time"])  # as when Vello had asked in time
        shown = (await service.client.get(link)).text
        assert says in shown
        assert ("Call 09 123" in shown) is contact
        assert (await service.client.get(f"{link}/join")).status_code == 303
        others = {"It is early", "The time of this meeting has passed"} - {says[:11], says}
        assert not [text for text in others if text in shown]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (TOKENS, "With this account nobody gets in before."),
        ({"url": "https://meet.example.org", "provider": "jitsi"}, "cannot hold to it"),
        ({"url": "http://127.0.0.1:1", "provider": "memory"}, "cannot hold to it"),
    ],
    ids=["tokens", "plain", "memory"],
)
async def test_the_offices_form_says_whether_the_window_is_enforced(
    store_url: str, fields: dict[str, str], says: str
) -> None:
    async with running(store_url) as service:
        await service.connect(**fields)
        await log_in(service)
        form = (await service.client.get("/offices/default")).text
        hint = form[form.index('id="options.opens_before-hint"') :].partition("</p>")[0]
        assert says in hint


async def test_the_offices_form_says_that_zoom_has_rules_of_its_own(store_url: str, zoomed: dict[str, Any]) -> None:
    async with running(store_url, **zoomed) as service:
        await own_app(service)
        await log_in(service)
        assert "by its own rules" in (await service.client.get("/offices/default")).text


async def test_another_meeting_has_another_entrance_and_an_erased_one_has_none(
    store_url: str, store: Store, zoom: ZoomServer, zoomed: dict[str, Any]
) -> None:
    async with running(store_url, **zoomed) as service:
        await own_app(service, link="hosted")
        data = record()
        await page(service, data)
        (first,) = await zoom.meetings()
        assert (await service.admin("POST", f"/records/{data['id']}/recreate")).status_code == 202
        await service.settled(data["id"])
        (second,) = await zoom.meetings()
        shown = await page(service, data)
        assert second["password"] in shown
        assert first["password"] not in shown
        (row,) = await store.execute("KEYS", f"vm:{{s*}}:r:{data['id']}")
        assert (await store.execute("HGET", row, "entrance")).startswith("v1.")
        assert (await service.admin("POST", f"/records/{data['id']}/release")).status_code == 202
        assert await store.execute("HGET", row, "entrance") is None
        await erase(config(store_url), record=data["id"])
        assert await store.execute("HGETALL", row) == {}


async def test_an_entrance_is_sealed_anew_with_everything_else(
    store_url: str, store: Store, zoomed: dict[str, Any], zoom: ZoomServer
) -> None:
    data, new = record(), "new:" + "B" * 43 + "="
    async with running(store_url, **zoomed, SECRET_KEYS=KEYS) as service:
        await own_app(service, link="hosted")
        await page(service, data)
    done = await rotate_keys(config(store_url, f"{new},{KEYS}"))
    assert done.unreadable == {}
    (meeting,) = await zoom.meetings()
    async with running(store_url, **zoomed, SECRET_KEYS=new) as service:
        assert meeting["password"] in await page(service, data)
