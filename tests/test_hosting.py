"""The host's link: who learns of it, what its page says, and what its click starts."""

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

import jwt
import pytest

from service.commands import erase
from service.entry import Placement
from service.ledger import Ledger
from service.shards import shard_of
from service.store import Store
from service.vello import UPDATE_METADATA
from service.web.recent import GUESSES
from tests.events import record
from tests.fakes.zoom_server import ZoomServer
from tests.running import PUBLIC, Running, running, scripts_of
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.test_adoption import carried_out, placed
from tests.test_erasure import config
from tests.test_join import SECRET, TOKENS, assert_private
from tests.test_ledger import VAULT, entry_of, say
from tests.test_zoom_bookings import ANNA, BEN, choose, own_app, zoomed

FOR_HOSTS = "You are the host"


@pytest.fixture
async def hosted(store_url: str, meeting_server: MemoryServer) -> AsyncIterator[Running]:
    """The reference provider behind direct links: hosts have a link all the same."""
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        yield service


async def booked(service: Running, **fields: Any) -> tuple[dict[str, Any], str]:
    """A booking and its host's link."""
    data = record(**fields)
    await service.link(data)
    link = (await service.settled(data["id"]))["host_link"]
    assert link.startswith(f"{PUBLIC}/h/")
    return data, link


async def test_the_hosts_link_starts_the_meeting(hosted: Running) -> None:
    data, link = await booked(hosted, time=int(time.time()))
    page = await hosted.client.get(link)
    assert (page.status_code, FOR_HOSTS in page.text, "your customer" in page.text) == (200, True, True)
    assert f'href="{urlsplit(link).path}/start"' in page.text
    into = await hosted.client.get(f"{link}/start")
    assert (into.status_code, into.headers["location"]) == (303, (await hosted.record(data["id"]))["join_url"])
    assert_private(page)
    assert_private(into)


async def test_a_moderators_token_is_minted_at_the_hosts_click(store_url: str) -> None:
    async with running(store_url) as service:
        await service.connect(**TOKENS)
        _, link = await booked(service, time=int(time.time()) + 300)
        into = await service.client.get(f"{link}/start")
        token = unquote(urlsplit(into.headers["location"]).fragment).removeprefix('jwt="').removesuffix('"')
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="jitsi")
        assert str(claims["context"]["user"]["moderator"]).lower() == "true"
        _, early = await booked(service, time=int(time.time()) + 86_400)
        for path in ("", "/start"):
            page = await service.client.get(early + path)
            assert (page.status_code, "not time yet" in page.text, "your customer" in page.text) == (200, True, True)
            assert_private(page)


async def test_only_admins_learn_of_the_hosts_link(hosted: Running, meeting_server: MemoryServer) -> None:
    connection = (await hosted.admin("GET", "/offices/default")).json()["connection"]
    chosen = {"connection": connection, "link": "hosted"}
    assert (await hosted.admin("PUT", "/offices/default", json=chosen)).status_code == 200
    data = record()
    told = await hosted.say("record.update_metadata", data)
    shown = await hosted.settled(data["id"])
    token, guests = shown["host_link"].rpartition("/")[2], told["metadata"]["video_link"]
    assert len(token) == 23
    assert token != guests.rpartition("/")[2]
    again = await hosted.say("record.update_metadata", data)
    listed = await hosted.admin("GET", "/records")
    seen = [str(told), str(again), listed.text, str(await meeting_server.meetings())]
    seen += [(await hosted.client.get(guests + path)).text for path in ("", ".ics", "/join")]
    assert not [text for text in seen if token in text or "/h/" in text]
    assert listed.json()["records"][0]["host_link"] is None
    assert (await hosted.record(data["id"]))["host_link"] == shown["host_link"]
    for crossed in (f"/h/{guests.rpartition('/')[2]}", f"/m/{token}"):
        assert (await hosted.client.get(crossed)).status_code == 404


async def test_the_store_holds_no_hosts_link_in_clear_and_lets_it_end_with_its_record(
    hosted: Running, store: Store
) -> None:
    data, link = await booked(hosted)
    token = link.rpartition("/")[2]
    (key,) = await store.execute("KEYS", "vm:{s*}:h:*")
    (row,) = await store.execute("KEYS", f"vm:{{s*}}:r:{data['id']}")
    fields = await store.execute("HGETALL", row)
    assert token not in f"{key} {fields}"

    async def lives() -> list[int]:
        return list(await store.pipeline([("TTL", each) for each in (row, key)]))

    entry, name = await lives()
    assert abs(entry - name) <= 1
    await hosted.say("record.updated", {**data, "version": 2, "time": data["time"] + 90 * 86_400})
    entry, name = await lives()
    assert abs(entry - name) <= 1
    await store.execute("DEL", key)  # as an older process would let it end before its record
    assert (await hosted.client.get(link)).status_code == 404
    assert (await hosted.record(data["id"]))["host_link"] == link
    assert (await hosted.client.get(link)).status_code == 200


@pytest.mark.parametrize("ending", ["record.cancelled", "record.deleted"])
async def test_an_ended_bookings_host_starts_nothing(hosted: Running, ending: str) -> None:
    data, link = await booked(hosted)
    await hosted.say(ending, {"id": data["id"], "version": 2})
    for path in ("", "/start"):
        answer = await hosted.client.get(link + path)
        assert (answer.status_code, "no longer valid" in answer.text) == (410, True)
        assert_private(answer)
    assert (await hosted.settled(data["id"]))["host_link"] is None


async def test_a_booking_that_lives_again_and_moves_keeps_its_hosts_link(hosted: Running) -> None:
    data, link = await booked(hosted, time=int(time.time()))
    first = (await hosted.client.get(f"{link}/start")).headers["location"]
    await hosted.say("record.cancelled", {**data, "version": 2, "canceled": True})
    await hosted.settled(data["id"])
    moved = {**data, "version": 3, "time": data["time"] + 600}
    await hosted.say("record.updated", moved)
    assert (await hosted.settled(data["id"]))["host_link"] == link
    second = (await hosted.client.get(f"{link}/start")).headers["location"]
    assert "time was changed" in (await hosted.client.get(link)).text
    assert first != second


async def test_another_meeting_withdraws_a_hosts_link_that_somebody_may_have(hosted: Running, store: Store) -> None:
    data, link = await booked(hosted, time=int(time.time()))
    assert (await hosted.admin("POST", f"/records/{data['id']}/recreate")).status_code == 202
    another = (await hosted.settled(data["id"]))["host_link"]
    assert another != link
    for path in ("", "/start"):
        assert (await hosted.client.get(link + path)).status_code == 404
    assert (await hosted.client.get(f"{another}/start")).status_code == 303
    assert len(await store.execute("KEYS", "vm:{s*}:h:*")) == 1


@pytest.mark.parametrize("way", ["replaced", "changed", "given up and made anew"])
async def test_a_hosts_link_ends_when_another_person_hosts_the_meeting(
    store_url: str, store: Store, zoom: ZoomServer, meeting_server: MemoryServer, way: str
) -> None:
    data = record()
    async with zoomed(store_url, zoom) as service:
        alices, bobs = data["resource"], str(uuid.uuid4())
        hosts = {alices: ANNA, bobs: BEN}
        if way == "changed":  # a provider that ties no meeting to its host
            await choose(service, await service.connect(meeting_server.url), hosts=hosts)
        else:
            await own_app(service, hosts=hosts)
        await service.link(data)
        link = (await service.settled(data["id"]))["host_link"]
        assert (await service.client.get(f"{link}/start")).status_code == 303
        await service.say("record.updated", {**data, "version": 2, "time": data["time"] + 600})
        assert (await service.settled(data["id"]))["host_link"] == link
        if way == "given up and made anew":
            await service.say("record.cancelled", {**data, "version": 3, "canceled": True})
            await service.settled(data["id"])
        await service.say("record.updated", {**data, "version": 4, "resource": bobs})
        another = (await service.settled(data["id"]))["host_link"]
        assert another != link
        assert (await service.client.get(f"{link}/start")).status_code == 404
        assert (await service.client.get(f"{another}/start")).status_code == 303
        await service.say("record.updated", {**data, "version": 5, "resource": alices})
        assert (await service.settled(data["id"]))["host_link"] not in (link, another)
        assert len(await store.execute("KEYS", "vm:{s*}:h:*")) == 1
        for host in (ANNA, BEN):
            assert host not in str(await store.execute("HGETALL", f"vm:{{s{shard_of(data['id'])}}}:r:{data['id']}"))


async def test_a_hosts_link_ends_when_a_meeting_that_stands_elsewhere_is_taken_on(store: Store) -> None:
    """As a sweep finds it, or an event."""
    ledger, data = Ledger(store, VAULT), record()
    await say(ledger, UPDATE_METADATA, data)
    await carried_out(ledger, data["id"], hosted_by("first", ANNA))
    entry = await entry_of(ledger, data["id"])
    token = await ledger.host_token(entry)
    assert token
    assert await ledger.adopt(entry, hosted_by("second", ANNA.upper()), "It stood there.", doubt=False)
    entry = await entry_of(ledger, data["id"])
    assert await ledger.host_token(entry) == token
    assert await ledger.adopt(entry, hosted_by("third", BEN), "It stood there.", doubt=False)
    assert await ledger.resolve(token, host=True) is None
    entry = await entry_of(ledger, data["id"])
    assert await ledger.host_token(entry) not in (None, token)


def hosted_by(name: str, host: str) -> Placement:
    made = placed(name)
    return made._replace(spec=replace(made.spec, host=host))


async def test_a_booking_that_was_let_go_of_has_nothing_to_start(hosted: Running) -> None:
    data, link = await booked(hosted)
    assert (await hosted.admin("POST", f"/records/{data['id']}/release")).status_code == 202
    await hosted.settled(data["id"])
    answer = await hosted.client.get(f"{link}/start")
    assert (answer.status_code, "no video meeting" in answer.text) == (404, True)


async def test_an_erased_bookings_hosts_link_was_never_there(hosted: Running, store: Store, store_url: str) -> None:
    data, link = await booked(hosted)
    await erase(config(store_url), record=data["id"])
    gone, never = await hosted.client.get(link), await hosted.client.get(f"/h/{link[-23]}{'x' * 22}")
    assert (gone.status_code, gone.text) == (404, never.text)
    assert await store.execute("KEYS", "vm:{s*}:h:*") == []
    assert_private(gone)


@pytest.mark.parametrize("token", ["", "x", "A" * 23, "%00" * 23, "é" * 23, "A" * 10_000, "a/b", "a/start/b", "%FF"])
async def test_an_unknown_hosts_link_is_404(hosted: Running, token: str) -> None:
    for path in ("", "/", "/start"):
        answer = await hosted.client.get(f"/h/{token}{path}")
        assert (answer.status_code, "do not know this link" in answer.text) == (404, True)
        assert_private(answer)


async def test_unknown_links_of_hosts_and_of_guests_are_counted_together(hosted: Running) -> None:
    _, link = await booked(hosted)
    for number in range(GUESSES):
        assert (await hosted.client.get(f"/{'hm'[number % 2]}/{number}")).status_code == 404
    for path in ("/h/one-more", "/m/one-more"):
        answer = await hosted.client.get(path)
        assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (429, True)
    assert (await hosted.client.get(link)).status_code == 200


async def test_a_hosts_page_takes_one_call_of_the_store(hosted: Running, store: Store) -> None:
    _, link = await booked(hosted)
    assert await scripts_of(store, lambda: hosted.client.get(link)) == 1


async def test_the_hosts_page_speaks_the_browsers_language_not_the_customers(hosted: Running) -> None:
    _, link = await booked(hosted, language="et")
    page = await hosted.client.get(link, headers={"Accept-Language": "sv"})
    assert '<html lang="sv">' in page.text
    assert "Starta mötet" in page.text


async def test_while_the_store_is_away_a_hosts_page_that_was_just_looked_at_still_starts(
    meeting_server: MemoryServer,
) -> None:
    async with StoreServer() as store, running(store.url) as service:
        await service.connect(meeting_server.url)
        _, link = await booked(service, time=int(time.time()))
        _, other = await booked(service, time=int(time.time()))
        await service.client.get(link)
        store.kill()
        assert "a few minutes ago" in (await service.client.get(link)).text
        assert (await service.client.get(f"{link}/start")).status_code == 303
        assert (await service.client.get(other)).status_code == 503


async def test_a_meeting_that_cannot_be_made_says_so_to_its_host(hosted: Running, meeting_server: MemoryServer) -> None:
    await meeting_server.faults(fail=[{"status": 400, "times": 99}])
    data = record()
    await hosted.link(data)
    link = (await hosted.record(data["id"]))["host_link"]
    answer = await hosted.client.get(f"{link}/start")
    assert (answer.status_code, "could not be made" in answer.text) == (200, True)
    assert 'http-equiv="refresh"' in answer.text
    await meeting_server.faults()
    assert (await hosted.admin("POST", f"/records/{data['id']}/reconcile")).status_code == 202
    await hosted.settled(data["id"])
    assert (await hosted.client.get(f"{link}/start")).status_code == 303


async def test_a_meeting_whose_connection_was_removed_says_who_can_mend_it(hosted: Running) -> None:
    _, link = await booked(hosted)
    connection = (await hosted.admin("GET", "/offices/default")).json()["connection"]
    assert (await hosted.admin("DELETE", f"/connections/{connection}", force="true")).status_code == 204
    answer = await hosted.client.get(f"{link}/start")
    assert (answer.status_code, "cannot start it as its host" in answer.text) == (200, True)
    assert "http-equiv" not in answer.text
