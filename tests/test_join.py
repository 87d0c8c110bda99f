"""What a customer sees behind a hosted link, and what the click does."""

import re
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from providers.base import Meeting, MeetingSpec, Role
from providers.memory import PROVIDER, Memory
from service.store import Store, StoreUnavailable
from service.web.recent import GUESSES
from tests.events import START, record
from tests.running import PUBLIC, Running, running, scripts_of
from tests.servers import MemoryServer
from tests.stores import StoreServer

SECRET = "a-secret-of-at-least-32-bytes-here!"
HOST = "meet.example.org"
TOKENS = {"url": f"https://{HOST}", "provider": "jitsi", "app_id": "our-app", "secret": SECRET}


@pytest.fixture
async def gated(store_url: str) -> AsyncIterator[Running]:
    """A Jitsi that checks tokens: every link is hosted."""
    async with running(store_url) as service:
        await service.connect(**TOKENS)
        yield service


@pytest.fixture
async def hosted(store_url: str, meeting_server: MemoryServer) -> AsyncIterator[Running]:
    """The reference provider behind hosted links."""
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        yield service


async def linked(service: Running, data: dict[str, Any]) -> str:
    link = await service.link(data)
    assert link
    assert link.startswith(f"{PUBLIC}/m/")
    return link


class Storing(Memory):
    """An adapter whose links are made at the click with an access that is in the store, which is away."""

    capabilities = replace(Memory.capabilities, mints_link=True)

    async def click_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        raise StoreUnavailable("The store is unavailable.")


async def test_a_click_while_the_store_is_away_gets_a_page_that_looks_again(
    store_url: str, meeting_server: MemoryServer
) -> None:
    providers = {"memory": replace(PROVIDER, connect=Storing)}
    async with running(store_url, providers=providers) as service:
        await service.connect(meeting_server.url, link="hosted")
        answer = await service.client.get(f"{await linked(service, record())}/join")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert answer.headers["retry-after"] == "5"


async def test_the_page_leads_into_the_meeting(hosted: Running) -> None:
    data = record()
    link = await linked(hosted, data)
    page = await hosted.client.get(link)
    assert page.status_code == 200
    assert f'href="{urlsplit(link).path}/join"' in page.text
    into = await hosted.client.get(f"{link}/join")
    assert (into.status_code, into.headers["location"]) == (303, (await hosted.record(data["id"]))["join_url"])


def assert_private(answer: httpx.Response) -> None:
    """Kept by nobody, framed by nobody, found by nobody; no script but ours, no cookie, no word to the next site."""
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "noindex" in answer.headers["x-robots-tag"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "set-cookie" not in answer.headers
    if answer.status_code != 303:
        assert answer.headers["content-type"].startswith("text/html")
        scripts = re.findall(r"<script[^>]*>", answer.text)
        assert all(
            re.fullmatch(r'<script src="(/[^/"]+)?/static/(meeting|again)\.[0-9a-f]{16}\.js"( defer)?>', each)
            for each in scripts
        )
        allowed = "script-src 'self'" in answer.headers["content-security-policy"]
        assert allowed is bool(scripts) or answer.request.method == "HEAD"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "style=" not in answer.text
        elsewhere = re.findall(r'(?:href|src)="(?!/|tel:)([^"]*)"([^>]*)', answer.text)
        for address, how in elsewhere:  # where somebody may click; nothing is loaded from there
            assert address.startswith(("https://calendar.google.com/", "https://outlook.live.com/"))
            assert 'rel="noreferrer"' in how


async def test_the_page_gives_nothing_away_and_is_kept_by_nobody(hosted: Running) -> None:
    data = record(record_number="b264c6ff-a8fc-4", details={"name": "Aino Virtanen"}, user=str(uuid.uuid4()))
    link = await linked(hosted, data)
    shown = await hosted.record(data["id"])
    for path in ("", "/", "/join"):
        for method in ("GET", "HEAD"):
            answer = await hosted.client.request(method, link + path)
            assert_private(answer)
            for secret in (shown["join_url"], shown["meeting_id"], shown["connection"], "Aino", "b264c6ff"):
                assert secret not in answer.text
            for name in ("id", "company", "office", "resource", "service", "customer", "user"):
                assert data[name] not in answer.text
    assert (await hosted.client.post(link)).status_code == 405


async def test_in_every_state_the_page_is_private_and_the_click_leads_nowhere(
    gated: Running, store: Store, meeting_server: MemoryServer
) -> None:
    early, over, cancelled, moved = record(), record(time=1_600_000_000), record(), record()
    links = {what: await linked(gated, data) for what, data in (("early", early), ("over", over), ("end", cancelled))}
    row = (await store.execute("KEYS", f"vm:{{s*}}:r:{over['id']}"))[0]
    await store.execute("HSET", row, "asked", 1_600_000_000)
    await gated.say("record.cancelled", {"id": cancelled["id"]})
    await gated.connect(meeting_server.url, link="hosted")
    await meeting_server.faults(fail=[{"status": 503, "times": 999}])
    links["pending"] = await linked(gated, moved)
    links["unknown"] = f"{PUBLIC}/m/nothing"
    says = {
        "early": (200, "not time yet"),
        "over": (410, "is over"),
        "end": (410, "no longer valid"),
        "pending": (200, "being prepared"),
        "unknown": (404, "do not know this link"),
    }
    for what, (status, text) in says.items():
        for path in ("", "/join"):
            answer = await gated.client.get(links[what] + path)
            assert (what, answer.status_code, text in answer.text) == (what, status, True)
            assert_private(answer)
            assert "/join" not in answer.text
            assert ("http-equiv" in answer.text) is (what == "pending")


async def test_a_meeting_whose_connection_was_removed_is_not_promised(
    hosted: Running, meeting_server: MemoryServer
) -> None:
    data = record()
    link = await linked(hosted, data)
    connection = (await hosted.admin("GET", "/offices/default")).json()["connection"]
    assert (await hosted.admin("DELETE", f"/connections/{connection}", force="true")).status_code == 204
    for path in ("", "/join"):
        answer = await hosted.client.get(link + path)
        assert (answer.status_code, "There is a problem" in answer.text) == (200, True)
        assert_private(answer)
    await hosted.connect(meeting_server.url, link="hosted")
    assert await linked(hosted, data) == link
    assert (await hosted.client.get(f"{link}/join")).status_code == 303


@pytest.mark.parametrize("ending", ["record.cancelled", "record.deleted"])
async def test_an_ended_bookings_link_is_410(hosted: Running, ending: str) -> None:
    data = record()
    link = await linked(hosted, data)
    await hosted.say(ending, {"id": data["id"]})
    for path in ("", "/join"):
        answer = await hosted.client.get(link + path)
        assert answer.status_code == 410
        assert "no longer valid" in answer.text


@pytest.mark.parametrize(
    "token",
    ["", "x", "A" * 23, "%00" * 23, "é" * 23, "{s1}:r:" + "a" * 16, "A" * 10_000, "a/b", "a/join/b", "%2F" * 23, "%FF"],
)
async def test_an_unknown_link_is_404(hosted: Running, token: str) -> None:
    for path in ("", "/", "/join"):
        answer = await hosted.client.get(f"/m/{token}{path}")
        assert answer.status_code == 404
        assert "do not know this link" in answer.text
        assert_private(answer)


async def test_a_slash_at_the_end_of_a_link_does_no_harm(hosted: Running) -> None:
    link = await linked(hosted, record())
    page = await hosted.client.get(f"{link}/", headers={"Host": "elsewhere.example"})
    assert (page.status_code, "Join the meeting" in page.text) == (200, True)
    assert "elsewhere" not in page.text


async def test_an_offices_name_is_text_whatever_it_holds(hosted: Running, meeting_server: MemoryServer) -> None:
    name = "<script>alert(1)</script>"
    connection = (await hosted.admin("GET", "/offices/default")).json()["connection"]
    choice = {"name": name, "connection": connection, "link": "hosted", "time_zone": "Europe/Helsinki"}
    assert (await hosted.admin("PUT", "/offices/default", json=choice)).status_code == 200
    page = await hosted.client.get(await linked(hosted, record()))
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "EET" in page.text


async def test_below_a_path_every_address_on_the_page_keeps_it(store_url: str, meeting_server: MemoryServer) -> None:
    public = "https://clinic.example.org/video"
    endpoint = f"{PUBLIC}/webhooks/vello"
    async with running(store_url, PUBLIC_URL=public, VELLO_ENDPOINT_URL=endpoint) as service:
        await service.connect(meeting_server.url, link="hosted")
        link = await service.link(record())
        assert link
        assert link.startswith(f"{public}/m/")
        page = await service.client.get(link.removeprefix(public))
        addresses = re.findall(r'href="(/[^"]+)"', page.text)
        assert len(addresses) == 4
        assert all(address.startswith("/video/") for address in addresses)


async def test_a_booking_without_a_video_meeting_any_more_says_so(hosted: Running) -> None:
    link = await linked(hosted, record())
    assert (await hosted.admin("PUT", "/offices/default", json={"connection": None})).status_code == 200
    page = await hosted.client.get(link)
    assert (page.status_code, "no video meeting" in page.text) == (404, True)


async def test_while_the_store_is_down_the_page_asks_for_a_moment(meeting_server: MemoryServer) -> None:
    async with StoreServer() as store, running(store.url) as service:
        await service.connect(meeting_server.url, link="hosted")
        link = await linked(service, record())
        store.kill()
        page = await service.client.get(link)
        assert (page.status_code, "One moment" in page.text) == (503, True)
        await store.start()
        assert (await service.client.get(link)).status_code == 200


async def test_while_the_store_is_down_a_page_that_was_just_looked_at_still_leads_in(
    meeting_server: MemoryServer,
) -> None:
    async with StoreServer() as store, running(store.url) as service:
        await service.connect(meeting_server.url, link="hosted")
        link, other = await linked(service, record()), await linked(service, record())
        before = await service.client.get(link)
        store.kill()
        page = await service.client.get(link)
        assert (page.status_code, "a few minutes ago" in page.text, "a few minutes ago" in before.text) == (
            200,
            True,
            False,
        )
        assert_private(page)
        assert (await service.client.get(f"{link}/join")).status_code == 303
        assert (await service.client.get(other)).status_code == 503


async def test_a_page_takes_one_call_of_the_store(hosted: Running, store: Store) -> None:
    link = await linked(hosted, record())
    await hosted.client.get(link)
    assert await scripts_of(store, lambda: hosted.client.get(link)) == 1


async def test_a_moved_bookings_page_says_that_its_time_was_changed(hosted: Running) -> None:
    data = record(time=1_900_000_000)
    link = await linked(hosted, data)
    assert "time was changed" not in (await hosted.client.get(link)).text
    await hosted.say("record.updated", {**data, "version": 2, "time": 1_900_003_600})
    page = await hosted.client.get(link)
    assert "time was changed" in page.text
    assert 'datetime="2030-03-17T18:46:40+00:00"' in page.text
    assert '<del><time datetime="2030-03-17T17:46:40+00:00"' in page.text
    await hosted.say("record.updated", {**data, "version": 3, "time": 1_900_003_600, "duration": 60})
    assert "time was changed" in (await hosted.client.get(link)).text


async def test_who_asks_for_many_unknown_links_has_to_wait(hosted: Running) -> None:
    link = await linked(hosted, record())
    for number in range(GUESSES):
        assert (await hosted.client.get(f"/m/{number}")).status_code == 404
    answer = await hosted.client.get("/m/one-more")
    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (429, True)
    assert_private(answer)
    assert (await hosted.client.get(link)).status_code == 200


@pytest.mark.parametrize("language", ["et", "nb"])
async def test_the_bookings_own_language_comes_before_the_browsers(hosted: Running, language: str) -> None:
    link = await linked(hosted, record(language=language))
    page = await hosted.client.get(link, headers={"Accept-Language": "de"})
    assert f'<html lang="{language}">' in page.text


async def test_the_offices_contact_is_shown_when_something_is_wrong(
    hosted: Running, meeting_server: MemoryServer
) -> None:
    choice = (await hosted.admin("GET", "/offices/default")).json()
    given = {name: choice[name] for name in ("connection", "link")} | {"contact": "Call 09 123 <4567>"}
    assert (await hosted.admin("PUT", "/offices/default", json=given)).status_code == 200
    data = record()
    link = await linked(hosted, data)
    assert "09 123" not in (await hosted.client.get(link)).text
    await hosted.say("record.cancelled", {"id": data["id"]})
    assert "Call 09 123 &lt;4567&gt;" in (await hosted.client.get(link)).text


async def test_a_page_is_small(hosted: Running) -> None:
    page = await hosted.client.get(await linked(hosted, record(language="de")))
    parts = re.findall(r'<link rel="(?:stylesheet|icon)" href="([^"]+)"|<script[^>]*src="([^"]+)"', page.text)
    size = len(page.content) + sum([len((await hosted.client.get(one or other)).content) for one, other in parts])
    assert (len(parts), size < 30_000) == (3, True)


async def minted(service: Running, link: str) -> tuple[str, str]:
    """Room and token of the click."""
    into = await service.client.get(f"{link}/join")
    assert into.status_code == 303
    url = urlsplit(into.headers["location"])
    assert url.hostname in (HOST, "8x8.vc")
    token = unquote(url.fragment).removeprefix('jwt="').removesuffix('"')
    return url.path.rpartition("/")[2], token


async def test_a_token_is_made_at_the_click_and_verifies_elsewhere(gated: Running) -> None:
    start = int(time.time()) + 300
    data = record(time=start)
    link = await linked(gated, data)
    room, token = await minted(gated, link)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="jitsi", issuer="our-app")
    assert jwt.get_unverified_header(token)["typ"] == "JWT"
    assert (claims["aud"], claims["sub"], claims["room"]) == ("jitsi", HOST, room)
    assert claims["nbf"] <= time.time() - 10
    assert claims["exp"] == start + 1800 + 7200
    assert str(claims["context"]["user"]["moderator"]).lower() == "false"
    assert "name" not in claims["context"]["user"]
    assert token not in link
    _, another = await minted(gated, link)
    assert jwt.decode(another, options={"verify_signature": False})["context"]["user"] != claims["context"]["user"]


async def test_a_moved_booking_keeps_its_link_and_gets_another_window(gated: Running) -> None:
    now = int(time.time())
    data = record(time=now)
    link = await linked(gated, data)
    room, _ = await minted(gated, link)
    await gated.say("record.updated", {**data, "version": 2, "time": now + 600, "duration": 3600})
    assert await linked(gated, {**data, "version": 2, "time": now + 600, "duration": 3600}) == link
    same, token = await minted(gated, link)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="jitsi")
    assert (same, claims["exp"]) == (room, now + 600 + 3600 + 7200)


async def test_for_an_old_server_the_token_goes_into_the_query(store_url: str) -> None:
    async with running(store_url) as service:
        await service.connect(**TOKENS, token_in="query")
        into = await service.client.get(f"{await linked(service, record(time=int(time.time())))}/join")
    url = urlsplit(into.headers["location"])
    assert url.fragment == ""
    assert jwt.decode(url.query.removeprefix("jwt="), SECRET, algorithms=["HS256"], audience="jitsi")


async def test_a_token_of_a_key_pair_names_its_key(store_url: str) -> None:
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    jaas = {"url": "https://8x8.vc", "app_id": "vpaas-magic-cookie-1a2b3c", "key_id": "4f4910", "private_key": pem}
    async with running(store_url) as service:
        await service.connect(provider="jitsi", **jaas)
        room, token = await minted(service, await linked(service, record(time=int(time.time()))))
    claims = jwt.decode(token, private.public_key(), algorithms=["RS256"], audience="jitsi", issuer="chat")
    assert jwt.get_unverified_header(token)["kid"] == "vpaas-magic-cookie-1a2b3c/4f4910"
    assert (claims["sub"], claims["room"]) == ("vpaas-magic-cookie-1a2b3c", room)


async def test_before_its_time_the_gate_is_closed_and_the_booking_may_move_it_open(gated: Running) -> None:
    now = int(time.time())
    data = record(time=now + 3600)
    link = await linked(gated, data)
    early = await gated.client.get(f"{link}/join")
    assert (early.status_code, "not time yet" in early.text) == (200, True)
    connection = (await gated.admin("GET", "/offices/default")).json()["connection"]
    choice = {"connection": connection, "options": {"opens_before": 90}}
    assert (await gated.admin("PUT", "/offices/default", json=choice)).status_code == 200
    assert (await gated.client.get(f"{link}/join")).status_code == 303
    await gated.say("record.updated", {**data, "version": 2, "time": now + 86_400})
    await gated.settled(data["id"])
    assert (await gated.client.get(f"{link}/join")).status_code == 200
    await gated.say("record.cancelled", {"id": data["id"], "version": 3})
    assert (await gated.client.get(f"{link}/join")).status_code == 410


async def test_a_booking_entered_after_its_time_can_still_be_joined(gated: Running) -> None:
    link = await linked(gated, record(time=START - 900_000_000))
    _, token = await minted(gated, link)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="jitsi")
    assert 0 < claims["exp"] - time.time() <= 7201


async def test_a_cancelled_bookings_room_is_not_used_again(gated: Running) -> None:
    data = record(time=int(time.time()))
    link = await linked(gated, data)
    before, _ = await minted(gated, link)
    await gated.say("record.cancelled", {**data, "version": 2, "canceled": True})
    await gated.settled(data["id"])
    await gated.say("record.updated", {**data, "version": 3})
    await gated.settled(data["id"])
    after, _ = await minted(gated, link)
    assert before != after


async def test_the_page_speaks_the_guests_language(hosted: Running) -> None:
    link = await linked(hosted, record())
    page = await hosted.client.get(link, headers={"Accept-Language": "fi-FI,fi;q=0.9,en;q=0.5"})
    assert '<html lang="fi">' in page.text
    assert "Liity tapaamiseen" in page.text
