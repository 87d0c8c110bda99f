"""The calendar file of a booking, read by somebody else's parser."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar

from service.entry import Entry
from service.vello import Rank
from service.web.calendar import Appointment
from service.web.recent import LIFE, PAGES, Guesses, Recent
from tests.events import record
from tests.running import Running, running
from tests.servers import MemoryServer

TOKEN = "T" * 23


def appointment(**other: Any) -> Appointment:
    fields: dict[str, Any] = {
        "token": TOKEN,
        "url": f"https://meetings.example.org/m/{TOKEN}",
        "title": "Your video meeting",
        "text": "Join",
        "start": 1_900_000_000,
        "duration": 1800,
        "sequence": 3,
        "cancelled": False,
        "now": 1_899_000_000,
    }
    return Appointment(**{**fields, **other})


def event(text: str) -> Any:
    (found,) = Calendar.from_ical(text).walk("VEVENT")
    return found


def test_a_calendar_reads_what_the_booking_is() -> None:
    read = event(appointment().file())
    assert read.start == datetime.fromtimestamp(1_900_000_000, UTC)
    assert read.end == datetime.fromtimestamp(1_900_001_800, UTC)
    assert (read["SEQUENCE"], str(read["STATUS"]), read.errors) == (3, "CONFIRMED", [])
    assert str(read["URL"]) == str(read["LOCATION"]) == appointment().url


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))), st.text(st.sampled_from("ä,;\\\n🙂a ")))
def test_every_text_comes_back_and_no_line_is_too_long(title: str, text: str) -> None:
    file = appointment(title=title, text=text).file()
    assert all(len(line.encode()) <= 75 for line in file.split("\r\n"))
    read = event(file)
    assert (str(read["SUMMARY"]), str(read["DESCRIPTION"])) == (title, text)


def test_what_is_cancelled_says_so_and_is_known_again() -> None:
    before, after = event(appointment().file()), event(appointment(cancelled=True, sequence=4).file())
    assert (str(after["STATUS"]), after["UID"], after["SEQUENCE"]) == ("CANCELLED", before["UID"], 4)
    assert TOKEN not in str(before["UID"])
    assert "URL" not in after


def test_the_links_of_calendars_hold_the_time_and_the_link() -> None:
    google, outlook = (parse_qs(urlsplit(link).query) for link in (appointment().google, appointment().outlook))
    assert google["dates"] == ["20300317T174640Z/20300317T181640Z"]
    assert (outlook["startdt"], outlook["enddt"]) == (["2030-03-17T17:46:40Z"], ["2030-03-17T18:16:40Z"])
    assert google["location"] == outlook["location"] == [appointment().url]


async def test_a_booking_keeps_its_uid_and_every_change_raises_the_sequence(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        data = record(time=1_900_000_000, record_number="2027-0042")
        link = await service.link(data)
        seen = [await file(service, f"{link}.ics", data)]
        await service.say("record.updated", {**data, "version": 2, "time": 1_900_003_600})
        seen.append(await file(service, f"{link}.ics", data))
        await service.say("record.cancelled", {**data, "version": 3, "time": 1_900_003_600, "canceled": True})
        seen.append(await file(service, f"{link}.ics", data))
        await service.say("record.deleted", {"id": data["id"]})
        gone = await file(service, f"{link}.ics", data, "CANCEL")
        page = (await service.client.get(str(link))).text
        unknown = await service.client.get("/m/unknown.ics")
    assert len({str(each["UID"]) for each in [*seen, gone]}) == 1
    sequences = [each["SEQUENCE"] for each in [*seen, gone]]
    assert sequences == sorted(set(sequences))
    assert [each.start.timestamp() for each in seen] == [1_900_000_000, 1_900_003_600, 1_900_003_600]
    assert [str(each["STATUS"]) for each in seen] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    assert (str(gone["STATUS"]), "DTSTART" in gone, "URL" in gone) == ("CANCELLED", False, False)
    assert f"{urlsplit(str(link)).path}.ics" in page
    assert unknown.status_code == 404


async def file(service: Running, link: str, data: dict[str, Any], method: str = "PUBLISH") -> Any:
    answer = await service.client.get(link)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/calendar; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    for name in ("id", "company", "office", "customer", "record_number"):
        assert data[name] not in answer.text
    assert str(Calendar.from_ical(answer.text)["METHOD"]) == method
    return event(answer.text)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_kept_of_pages_is_bounded_in_time_and_number() -> None:
    clock = Clock()
    recent = Recent(clock)
    for number in range(PAGES + 5):
        recent.keep(str(number), Entry(str(number), Rank.LIVE), 1000)
    assert recent.find("4") is None
    clock.now = LIFE - 1
    found = recent.find(str(PAGES))
    assert found
    assert found[1] == 1000 + int(LIFE) - 1
    recent.forget(str(PAGES))
    clock.now = LIFE + 1
    assert recent.find(str(PAGES)) is None
    assert recent.find(str(PAGES + 1)) is None


@pytest.mark.parametrize("addresses", [1, 3])
def test_guesses_are_counted_by_address_and_for_a_while(addresses: int) -> None:
    clock = Clock()
    guesses = Guesses(clock)
    for _ in range(60):
        for address in range(addresses):
            assert not guesses.too_many(str(address))
            guesses.add(str(address))
    assert guesses.too_many("0")
    assert not guesses.too_many("another")
    clock.now = LIFE + 1
    assert not guesses.too_many("0")
