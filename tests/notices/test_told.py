"""A booking's page says when the office was told of its trouble: once a notice has arrived, and not before."""

import json
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service.ledger import Ledger
from service.notices.book import Pending
from service.notices.concerned import Concerned
from service.notices.summary import Line, Summary
from service.shards import entry_key
from service.store import Store
from service.vault import Vault
from tests.events import START, record
from tests.hook import SECRET, receiver
from tests.mailbox import Mailbox, mailbox
from tests.notices.making import matter
from tests.notices.test_pages import mailed
from tests.running import Running, running
from tests.servers import MemoryServer
from tests.waiting import wait_until

ZONE = "Europe/Helsinki"
SEES, SEES_LATE = "The office can see this.", "It takes longer than usual, and the office can see that."
DEAD, DOWN, REFUSES = ({"status": status, "times": 99} for status in (401, 503, 400))


@pytest.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as box:
        yield box


@pytest.fixture
async def service(store: Store, store_url: str, meeting_server: MemoryServer, box: Mailbox) -> AsyncIterator[Running]:
    """A service that mails its notices; its office is in Helsinki."""
    async with running(store_url, ANSWER_DEADLINE="5", **mailed(box)) as service:
        await at_home(service, meeting_server)
        yield service


async def at_home(service: Running, server: MemoryServer) -> str:
    """The provider is connected, and the office has its time zone."""
    connection = await service.connect(server.url, name="Reception")
    choice = {"connection": connection, "link": "hosted", "time_zone": ZONE}
    assert (await service.admin("PUT", "/offices/default", json=choice)).status_code == 200
    return connection


async def booked(service: Running, server: MemoryServer, fault: dict[str, int], at: int = 0) -> tuple[Any, str]:
    """A booking that gets no meeting, of this day unless it says otherwise, and its page."""
    await server.faults(fail=[fault], only="create")
    data = record(time=at or int(time.time()) + 7200)
    link = await service.link(data)
    assert link

    async def troubled() -> bool:
        return (await service.record(data["id"]))["reason"] is not None

    await wait_until(troubled)
    return data, link


async def chosen(service: Running) -> str:
    """The office's connection."""
    return str((await service.admin("GET", "/offices/default")).json()["connection"])


async def read(service: Running, link: str, language: str = "en") -> str:
    page = await service.client.get(link, headers={"Accept-Language": language})
    assert page.status_code == 200
    return page.text


def told(text: str) -> datetime | None:
    """When the page says that the office was told."""
    said = re.search(r'The office was told (?:at|on) <time datetime="([^"]+)">[^<]+ \(EES?T\)</time>\.', text)
    return datetime.fromisoformat(said[1]) if said else None


async def look(service: Running, store: Store, *, later: int = 0) -> None:
    """One round, as if what is open had lasted `later` seconds more, and the last notice were as old."""
    if later:
        book = json.loads(await store.execute("HGET", "vm:notices", "mail"))
        known = {key: {**each, "since": each["since"] - later} for key, each in book.get("known", {}).items()}
        waits = {**book["pending"], "next": book["pending"]["next"] - later} if book.get("pending") else None
        sent = [at - later for at in book.get("sent", [])]
        aged = {**book, "known": known, "sent": sent, **({"pending": waits} if waits else {})}
        await store.execute("HSET", "vm:notices", "mail", json.dumps(aged))
    await service.app.app.state.sender.look()


async def noticed(store: Store, data: Any) -> str | None:
    mark: str | None = await store.execute("HGET", entry_key(data["id"]), "noticed")
    return mark


async def test_a_booking_that_waits_for_a_dead_account(
    service: Running, store: Store, meeting_server: MemoryServer, box: Mailbox
) -> None:
    data, link = await booked(service, meeting_server, DEAD)
    before = await read(service, link)
    assert (SEES in before, told(before)) == (True, None)
    box.data = "451 4.3.0 try again later"
    await look(service, store)
    unsaid = await read(service, link)
    assert (SEES in unsaid, told(unsaid), box.messages) == (True, None, [])
    box.data, began = "", int(time.time())
    await look(service, store, later=600)
    assert len(box.messages) == 1
    text = await read(service, link)
    at = told(text)
    assert at is not None
    assert began <= at.timestamp() <= time.time()
    assert at.utcoffset() == at.astimezone(ZoneInfo(ZONE)).utcoffset()
    assert SEES not in text
    state = re.compile(r'data-state="([^"]+)"')
    assert state.findall(text) != state.findall(before)  # by which a page that waits sees that there is news
    mark = await noticed(store, data)
    assert mark
    assert data["id"] not in mark
    await meeting_server.faults()
    await service.admin("POST", f"/connections/{await chosen(service)}/test")
    assert (await service.settled(data["id"]))["state"] == "ready"
    assert "Join the meeting" in await read(service, link)
    assert await noticed(store, data) is None


async def test_a_booking_that_comes_late(
    service: Running, store: Store, meeting_server: MemoryServer, box: Mailbox
) -> None:
    _, link = await booked(service, meeting_server, DOWN)
    await look(service, store)
    assert box.messages == []  # it may pass by itself
    assert SEES_LATE in await read(service, link)
    await look(service, store, later=400)
    assert len(box.messages) == 1
    text = await read(service, link)
    assert "It takes longer than usual. The office was told" in text
    assert (told(text) is not None, SEES_LATE in text) == (True, False)
    await meeting_server.faults()
    await wait_until(lambda: _opens(service, link), 20)


async def _opens(service: Running, link: str) -> bool:
    return "Join the meeting" in await read(service, link)


async def test_a_later_booking_that_was_given_up_until_it_moves(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    data, link = await booked(service, meeting_server, REFUSES, START)
    assert (await service.settled(data["id"], timeout=20))["state"] == "failed"
    await look(service, store)
    first = told(await read(service, link))
    assert first
    assert await service.link(data) == link  # Vello asks again, which has it tried again: people know of it still
    assert told(await read(service, link)) == first
    await service.say("record.updated", {**data, "version": 2, "time": START + 3600})
    assert told(await read(service, link)) is None


async def test_a_program_that_takes_notices_is_the_office_too(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with receiver() as program:
        given: dict[str, Any] = {"NOTICE_WEBHOOK_URL": program.url, "NOTICE_WEBHOOK_SECRET": SECRET}
        async with running(store_url, ANSWER_DEADLINE="5", **given) as service:
            await at_home(service, meeting_server)
            program.answers = [500]
            _, link = await booked(service, meeting_server, DEAD)
            await look(service, store)
            assert (SEES in await read(service, link), program.took) == (True, [])
            await service.app.app.state.sender.test()  # one that arrives has what waits follow
            assert told(await read(service, link)) is None  # it said nothing of the booking
            await look(service, store)
            assert told(await read(service, link))


async def test_of_what_came_after_the_notice_nobody_was_told(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    _, first = await booked(service, meeting_server, DEAD)
    await look(service, store)
    _, second = await booked(service, meeting_server, DEAD)
    await look(service, store)
    assert told(await read(service, first))
    text = await read(service, second)
    assert (told(text), SEES in text) == (None, True)


async def test_a_record_that_vanished_stays_so(service: Running, store: Store, meeting_server: MemoryServer) -> None:
    data, link = await booked(service, meeting_server, DEAD)
    other, _ = await booked(service, meeting_server, DEAD)
    await store.execute("DEL", entry_key(data["id"]))
    await look(service, store)
    assert await noticed(store, other)
    assert await store.execute("EXISTS", entry_key(data["id"])) == 0
    assert (await service.client.get(link)).status_code == 404


@pytest.mark.parametrize("ending", ["cancelled", "released", "erased"])
async def test_a_booking_that_nobody_waits_for_is_not_told_of(
    service: Running, store: Store, meeting_server: MemoryServer, ending: str
) -> None:
    """Nor is it known of one that comes back what people were told before."""
    data, link = await booked(service, meeting_server, DEAD)
    await look(service, store)
    assert await noticed(store, data)
    match ending:
        case "cancelled":
            await service.say("record.cancelled", {**data, "canceled": True, "version": 2})
        case "released":
            assert (await service.admin("POST", f"/records/{data['id']}/release")).is_success
        case _:
            assert await ledger(store).erase(data["id"]) == "gone"

    async def forgotten() -> bool:
        return await noticed(store, data) is None

    await wait_until(forgotten)
    await ledger(store).noticed(int(time.time()), [await chosen(service)], [data["id"]])
    assert await noticed(store, data) is None
    if ending == "cancelled":
        await service.say("record.updated", {**data, "version": 3})
        assert told(await read(service, link)) is None


def ledger(store: Store) -> Ledger:
    return Ledger(store, Vault([("k1", bytes(32))]))


async def test_what_a_notice_only_counts_was_not_told(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    data, _ = await booked(service, meeting_server, REFUSES, START)
    await service.settled(data["id"], timeout=20)
    (failed,) = [each for each in (await service.app.app.state.survey.look()).matters if each.items]
    lines = (Line(matter("connection.reconnect", "other"), "new"),)
    counted = Pending(Summary("msg_1", int(time.time()), lines, more=1), {failed.key: failed.items})
    concerned = Concerned(store, ledger(store))
    await concerned.remember(counted, int(time.time()))
    assert await noticed(store, data) is None
    named = Pending(Summary("msg_2", int(time.time()), (Line(failed, "new"),)), counted.items)
    await concerned.remember(named, 1_800_000_000)
    mark = await noticed(store, data)
    assert mark
    await concerned.remember(named, 1_900_000_000)  # as a repeat, or by the other way
    assert await noticed(store, data) == mark


@pytest.mark.parametrize(
    ("language", "today", "yesterday"),
    [
        ("en", "told at <", "told on <"),
        ("fi", "Toimipisteelle ilmoitettiin tästä kello <", "Toimipisteelle ilmoitettiin tästä <"),
        ("sv", "Kontoret underrättades om detta klockan <", "Kontoret underrättades om detta <"),
        ("nb", "Kontoret fikk beskjed om dette klokken <", "Kontoret fikk beskjed om dette <"),
        ("da", "Kontoret fik besked om det klokken <", "Kontoret fik besked om det <"),
        ("et", "Kontorile teatati sellest kell <", "Kontorile teatati sellest: <"),
        ("de", "wurde um <", "wurde am <"),
    ],
)
async def test_it_is_said_in_the_readers_language_with_its_day_unless_that_is_today(
    service: Running, store: Store, meeting_server: MemoryServer, language: str, today: str, yesterday: str
) -> None:
    data, link = await booked(service, meeting_server, DEAD)
    wish = await store.execute("HGET", entry_key(data["id"]), "digest")
    now = datetime.now(ZoneInfo(ZONE))
    for at, words, day in ((now, today, False), (now - timedelta(days=1), yesterday, True)):
        await store.execute("HSET", entry_key(data["id"]), "noticed", f"{int(at.timestamp())}:{wish}")
        text = await read(service, link, language)
        assert f'{words}time datetime="{at.replace(microsecond=0).isoformat()}">' in text
        assert (f"{at.year}, " in text.partition(words)[2].partition("</time>")[0]) is day
