"""What is told when: the time is passed, so fourteen days take no time."""

from dataclasses import replace
from itertools import pairwise

import pytest

from service.matters import Matter, Silence
from service.notices.book import (
    A_DAY,
    JOIN,
    LINES,
    LINGERS,
    QUIET,
    REMINDERS,
    STALE,
    Book,
    Pending,
    arrived,
    concerning,
    due,
    failed,
    fit,
    noted,
)
from service.notices.summary import Summary
from service.survey import Outlook
from tests.notices.making import DAY, HOUR, NOW, matter, outlook

MINUTE = 60


class Reader:
    """Somebody who gets every notice at once, and the book of it."""

    def __init__(self) -> None:
        self.book = Book()
        self.got: list[Summary] = []

    def at(self, now: int, look: Outlook) -> Summary | None:
        """A round; the notice it brought."""
        self.book = Book.load(noted(self.book, look.matters, look, now).dump())
        pending = due(self.book, look.matters, look, now, f"msg_{now}")
        if pending is None:
            return None
        self.book = Book.load(arrived(self.book, pending, now).dump())
        self.got.append(pending.summary)
        return pending.summary

    def through(self, begin: int, end: int, look: Outlook, step: int = 10 * MINUTE) -> list[int]:
        """When notices came while everything stayed as it was, in seconds after NOW."""
        before = len(self.got)
        for now in range(begin, end, step):
            self.at(now, look)
        return [each.at - NOW for each in self.got[before:]]


def test_a_dead_account_is_told_at_once_then_after_1_3_7_and_14_days_and_never_again() -> None:
    assert Reader().through(NOW, NOW + 60 * DAY, outlook(matter())) == [0, *REMINDERS]
    assert [each // DAY for each in REMINDERS] == [1, 3, 7, 14]


def test_it_stops_when_the_account_works_again_and_says_so_once() -> None:
    reader, dead, well = Reader(), outlook(matter()), outlook(working=("c1",))
    assert reader.through(NOW, NOW + 2 * DAY, dead) == [0, DAY]
    assert reader.through(NOW + 2 * DAY, NOW + 30 * DAY, well) == [2 * DAY]
    assert (reader.got[-1].lines, reader.got[-1].over) == ((), (("c1", "Name of c1"),))
    assert reader.book.known == {}
    assert reader.through(NOW + 30 * DAY, NOW + 32 * DAY, dead) == [30 * DAY, 31 * DAY]  # another time, all of it again


def test_a_connection_that_was_taken_out_of_use_is_no_longer_spoken_of() -> None:
    reader = Reader()
    reader.at(NOW, outlook(matter()))
    assert reader.through(NOW + HOUR, NOW + DAY, outlook()) == []


def test_a_trouble_that_turned_into_another_one_does_not_work_again() -> None:
    reader = Reader()
    reader.at(NOW, outlook(matter()))
    refused = outlook(matter("connection.refused"))
    assert reader.through(NOW + HOUR, NOW + 2 * HOUR, refused) == [HOUR]
    assert reader.got[-1].over == ()
    assert reader.through(NOW + 2 * HOUR, NOW + 5 * HOUR, outlook(working=("c1",))) == [2 * HOUR]


def test_an_outage_gets_half_an_hour_and_a_dead_account_none() -> None:
    down = outlook(matter("connection.outage"))
    assert Reader().through(NOW, NOW + 2 * HOUR, down, MINUTE) == [30 * MINUTE]
    reader = Reader()
    assert reader.through(NOW, NOW + 29 * MINUTE, down, MINUTE) == []
    assert reader.through(NOW + 29 * MINUTE, NOW + HOUR, outlook(working=("c1",)), MINUTE) == []
    assert (
        reader.through(NOW + HOUR, NOW + 89 * MINUTE, outlook(matter("connection.outage", "c1", NOW + HOUR)), MINUTE)
        == []
    )


def test_several_matters_are_one_summary_with_the_known_ones_behind() -> None:
    reader = Reader()
    both = outlook(matter(), matter("connection.reconnect", "c2"))
    first = reader.at(NOW, both)
    assert first
    assert [(line.matter.about, line.why) for line in first.lines] == [("c1", "new"), ("c2", "new")]
    third = outlook(*both.matters, matter("clock", "", NOW))
    second = reader.at(NOW + HOUR, third)
    assert second
    assert [(line.matter.about, line.why) for line in second.lines] == [("", "new"), ("c1", "open"), ("c2", "open")]
    assert second.lines[0].matter.since == NOW


def test_no_two_notices_come_within_the_quiet_time_and_nothing_is_lost_by_it() -> None:
    reader = Reader()
    seen: list[Matter] = []
    for at in range(0, 6 * HOUR, MINUTE):
        if at % (5 * MINUTE) == 0 and len(seen) < 12:
            seen.append(matter("connection.reconnect", f"c{len(seen)}", NOW + at))
        reader.at(NOW + at, outlook(*seen))
    assert all(b.at - a.at >= QUIET for a, b in pairwise(reader.got))
    told = {line.matter.about for each in reader.got for line in each.lines if line.why == "new"}
    assert len(told) == 12
    assert len(reader.got) == 5


def test_a_day_has_a_last_notice_that_says_so_and_the_rest_is_told_the_next_day() -> None:
    reader = Reader()
    for at in range(0, 30 * HOUR, 20 * MINUTE):
        news = [matter("connection.reconnect", f"c{n}", NOW) for n in range(min(at // HOUR + 1, 20))]
        reader.at(NOW + at, outlook(*news))
    first_day = [each for each in reader.got if each.at < NOW + DAY]
    assert len(first_day) == A_DAY
    assert [each.last for each in first_day] == [False] * (A_DAY - 1) + [True]
    told = {line.matter.about for each in reader.got for line in each.lines if line.why == "new"}
    assert len(told) == 20


def test_of_very_many_matters_the_number_is_said_and_all_count_as_told() -> None:
    reader = Reader()
    many = outlook(*(matter("connection.reconnect", f"c{n}") for n in range(LINES + 7)))
    first = reader.at(NOW, many)
    assert first
    assert (len(first.lines), first.more) == (LINES, 7)
    assert reader.through(NOW + HOUR, NOW + 20 * HOUR, many) == []


def bookings(*items: str, since: int = NOW) -> Outlook:
    return outlook(matter("bookings.missing", "", since, *items))


def test_bookings_without_a_meeting_are_told_once_they_last_and_others_that_join_them_later() -> None:
    reader = Reader()
    assert reader.through(NOW, NOW + 3 * HOUR, bookings("a"), MINUTE) == [5 * MINUTE]
    joined = reader.through(NOW + 3 * HOUR, NOW + 12 * HOUR, bookings("a", "b"), MINUTE)
    assert joined == [5 * MINUTE + JOIN]
    assert reader.through(NOW + 12 * HOUR, NOW + 20 * HOUR, bookings("b"), MINUTE) == []
    assert reader.got[0].lines[0].matter.items == ()  # no notice holds them


def test_bookings_that_come_and_go_are_told_once() -> None:
    reader = Reader()
    reader.through(NOW, NOW + HOUR, bookings("a"), MINUTE)
    assert len(reader.got) == 1
    for at in range(1, 10):
        reader.through(NOW + at * HOUR, NOW + at * HOUR + 30 * MINUTE, outlook(), MINUTE)
        reader.through(NOW + at * HOUR + 30 * MINUTE, NOW + (at + 1) * HOUR, bookings("a"), MINUTE)
    assert len(reader.got) == 1
    reader.through(NOW + 10 * HOUR, NOW + 10 * HOUR + LINGERS + HOUR, outlook(), MINUTE)
    assert reader.book.known == {}


def test_one_that_broke_again_while_its_recovery_was_on_the_way_is_told_anew() -> None:
    reader, dead = Reader(), outlook(matter())
    reader.at(NOW, dead)
    well = outlook(working=("c1",))
    book = noted(reader.book, (), well, NOW + HOUR)
    pending = due(book, (), well, NOW + HOUR, "msg_well")
    assert pending
    book = noted(book, dead.matters, dead, NOW + HOUR + 60)
    reader.book = arrived(book, pending, NOW + HOUR + 120)
    assert reader.through(NOW + HOUR + 180, NOW + 3 * HOUR, dead, MINUTE) == [HOUR + 120 + QUIET]


def test_one_that_does_not_arrive_is_tried_after_1_2_4_minutes_up_to_an_hour_as_the_same_notice() -> None:
    book = Book(
        pending=due(noted(Book(), (matter(),), outlook(matter()), NOW), (matter(),), outlook(matter()), NOW, "m")
    )
    pauses, now = [], NOW
    for _ in range(8):
        book = failed(book, "421 busy", now, None)
        assert book.pending
        assert (book.pending.summary.id, book.pending.owner, book.pending.held) == ("m", "", 0)
        pauses.append(book.pending.next - now)
        now = book.pending.next
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert book.silence == Silence(NOW, "421 busy")
    assert failed(book, "429", now, 5000).pending.next == now + 5000  # type: ignore[union-attr] # it has one
    later = arrived(book, book.pending, now)  # type: ignore[arg-type] # as above
    assert (later.silence, later.pending, later.sent) == (None, None, (now,))


def test_one_that_never_arrived_is_written_anew_and_so_lost_never() -> None:
    look = outlook(matter())
    book = noted(Book(), look.matters, look, NOW)
    book = replace(book, pending=due(book, look.matters, look, NOW, "first"))
    book = failed(book, "421 busy", NOW, None)
    assert fit(book, NOW + STALE).pending
    gone = noted(book, (), outlook(working=("c1",)), NOW + 60)
    assert fit(gone, NOW + 60).pending is None  # nothing it says holds any more
    anew = fit(book, NOW + STALE + 1)
    assert (anew.pending, anew.silence) == (None, book.silence)
    again = due(anew, look.matters, look, NOW + STALE + 1, "second")
    assert again
    assert [line.why for line in again.summary.lines] == ["new"]
    held = replace(book, pending=replace(book.pending or Pending(Summary("x", 0)), held=NOW + STALE + 60))
    assert fit(held, NOW + STALE + 1).pending  # somebody sends it right now


def test_one_whose_sender_died_comes_again_as_it_is_and_after_6_hours_as_things_are_then() -> None:
    look = outlook(matter())
    book = noted(Book(), look.matters, look, NOW)
    begun = due(book, look.matters, look, NOW, "first")
    assert begun
    book = replace(book, pending=replace(begun, owner="dead", held=NOW + 120))
    assert fit(noted(book, (), outlook(), NOW + HOUR), NOW + HOUR).pending  # it may have been sent
    assert fit(book, NOW + STALE + 1).pending is None


@pytest.mark.parametrize(("channel", "left"), [("mail", ["webhook"]), ("webhook", ["mail"])])
def test_no_channel_tells_of_its_own_trouble(channel: str, left: list[str]) -> None:
    both: list[Matter] = [matter("notices.mail", "mail"), matter("notices.webhook", "webhook")]
    assert [each.about for each in concerning(channel, both)] == left  # type: ignore[arg-type] # both are names


def test_one_that_may_have_arrived_late_is_followed_by_what_has_become_of_it() -> None:
    reader, dead, well = Reader(), outlook(matter()), outlook(working=("c1",))
    book = noted(Book(), dead.matters, dead, NOW)
    pending = due(book, dead.matters, dead, NOW, "m")
    assert pending
    reader.book = arrived(noted(book, (), well, NOW + 60), pending, NOW + 90)
    assert reader.through(NOW + 120, NOW + DAY, well, MINUTE) == [90 + QUIET + 30]
    assert reader.got[0].over == (("c1", "Name of c1"),)


@pytest.mark.parametrize("text", ["{", '{"known": 1}', '{"pending": {"summary": {"id": "m"}}}', ""])
def test_a_book_that_cannot_be_read_is_begun_anew(text: str) -> None:
    assert Book.load(text) == Book()
