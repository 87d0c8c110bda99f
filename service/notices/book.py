"""What people were told by one channel, and what they should be told next. Pure; the caller passes the time.

A matter is told when it has lasted as long as `PATIENCE` says, and again 1, 3, 7 and 14 days later while it lasts.
Bookings that join it later are told too. A connection that works again is worth a word if its trouble was told. What
is to be told goes into one summary with all else that is open; between two lies `QUIET`, and a day has `A_DAY` at most.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import TypeAdapter, ValidationError

from service.matters import BAD_HEALTH, PATIENCE, Matter, Silence
from service.notices.summary import ChannelName, Line, Summary, Why
from service.survey import Outlook

DAY: Final = 86_400
REMINDERS: Final = (1 * DAY, 3 * DAY, 7 * DAY, 14 * DAY)
"""Seconds after a matter was told the first time at which it is told again."""
QUIET: Final = 900
"""Seconds between two notices."""
A_DAY: Final = 8
"""Notices in 24 hours, at most."""
LINES: Final = 20
"""Matters in one notice; of more the number is said."""
JOIN: Final = 6 * 3600
"""Seconds between two notices because of bookings that came to a matter people know of."""
LINGERS: Final = 6 * 3600
"""Seconds for which a matter that is gone is remembered: what comes and goes is told once."""
LONGEST_PAUSE: Final = 3600
"""Seconds between two tries of a notice that does not arrive; the first comes after a minute, each later doubles it."""
STALE: Final = 6 * 3600
"""Seconds after which one that did not arrive is written anew from how things are then."""

_ITEMS = 2000  # digests of bookings that are remembered for a matter
_RANKS = ("new", "reminder", "open")


@dataclass(frozen=True, slots=True)
class Known:
    """One matter: since when it lasts, when it was told first and last, and how often. Times in unix seconds.

    `items` are the bookings that were told, `joined` is since when there are others, `gone` since when it is over.
    """

    since: int
    told: int | None = None
    last: int = 0
    step: int = 0
    items: tuple[str, ...] = ()
    joined: int | None = None
    gone: int | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A notice that is to be brought, by `owner` alone until `held`; `next` is when it is tried again."""

    summary: Summary
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tries: int = 0
    next: int = 0
    owner: str = ""
    held: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    """All of it. `sent` are the times of the day's notices, or of tries that may have been some; `last` is that of the
    last one that arrived at all (0: none).

    `silence` is there while notices do not arrive.
    """

    known: Mapping[str, Known] = field(default_factory=dict)
    sent: tuple[int, ...] = ()
    last: int = 0
    pending: Pending | None = None
    silence: Silence | None = None

    def dump(self) -> str:
        """As it is stored."""
        return _BOOK.dump_json(self, exclude_defaults=True).decode()

    @classmethod
    def load(cls, text: str | None) -> "Book":
        """The inverse of `dump`; an empty book where there is none, or one of a version that this one cannot read."""
        try:
            return _BOOK.validate_json(text) if text else cls()
        except ValidationError:  # told once more is better than never again
            return cls()


_BOOK = TypeAdapter(Book)


def noted(book: Book, found: Sequence[Matter], outlook: Outlook, now: int) -> Book:
    """The book with what there is now; `found` are the matters that concern this channel."""
    known = {each.key: _lasting(book.known.get(each.key), each, now) for each in found}
    broken = {each.about for each in outlook.matters}
    for key, before in book.known.items():
        if key in known or before.told is None:
            continue
        code, _, about = key.partition(":")
        if code in BAD_HEALTH:
            if about in outlook.working:
                known[key] = replace(before, gone=before.gone or now)
            elif about in broken:  # another trouble has taken its place
                known[key] = replace(before, gone=None)
        elif now - (before.gone or now) <= LINGERS:
            known[key] = replace(before, gone=before.gone or now)
    return replace(book, known=known, sent=tuple(at for at in book.sent if now - at < DAY))


def _lasting(before: Known | None, matter: Matter, now: int) -> Known:
    if before is None:
        return Known(min(matter.since, now))
    fresh = before.told is not None and not {*matter.items[:_ITEMS]} <= {*before.items}
    return replace(before, gone=None, joined=(before.joined or now) if fresh else None)


def due(book: Book, found: Sequence[Matter], outlook: Outlook, now: int, id_: str) -> Pending | None:
    """The notice that is to be sent now, None if there is none; `book` is as `noted` made it."""
    told = [(each, _why(each, book.known[each.key], now)) for each in found]
    over = dict.fromkeys(key.partition(":")[2] for key, each in book.known.items() if _is_over(key, each))
    if not over and all(why in (None, "open") for _, why in told):
        return None
    if book.sent and (now - book.sent[-1] < QUIET or len(book.sent) >= A_DAY):
        return None
    dated = [Line(replace(each, since=book.known[each.key].since), why) for each, why in told if why]
    lines = sorted(dated, key=lambda line: _RANKS.index(line.why))
    summary = Summary(
        id_,
        now,
        tuple(replace(line, matter=replace(line.matter, items=())) for line in lines[:LINES]),
        tuple((about, outlook.working[about]) for about in over if about in outlook.working),
        more=len(lines[LINES:]),
        last=len(book.sent) + 1 == A_DAY,
    )
    return Pending(summary, {line.matter.key: line.matter.items[:_ITEMS] for line in lines})


def _is_over(key: str, each: Known) -> bool:
    return each.gone is not None and each.told is not None and key.partition(":")[0] in BAD_HEALTH


def _why(matter: Matter, known: Known, now: int) -> Why | None:
    """Why a matter is to be told now; None: it has not lasted long enough."""
    patience = PATIENCE[matter.code]
    if known.told is None:
        return "new" if now - known.since >= patience else None
    if known.joined is not None and now - known.joined >= patience and now - known.last >= JOIN:
        return "new"
    return "reminder" if _step(known.told, now) > known.step else "open"


def _step(told: int, now: int) -> int:
    """How often a matter should have been told by now."""
    return 1 + sum(now - told >= each for each in REMINDERS)


def arrived(book: Book, pending: Pending, now: int) -> Book:
    """The book once a notice has arrived."""
    known = dict(book.known)
    for key, items in pending.items.items():
        before = known.get(key)
        if before is None and key.partition(":")[0] not in BAD_HEALTH:
            continue
        before = before or Known(pending.summary.at)  # it is over by now, which has to be told as well
        told = pending.summary.at if before.told is None else before.told
        known[key] = replace(before, told=told, last=now, step=_step(told, now), items=items, joined=None)
    for about, _ in pending.summary.over:
        for key in [key for key, each in known.items() if key.endswith(f":{about}") and key not in pending.items]:
            if _is_over(key, known[key]):
                del known[key]
            elif key.partition(":")[0] in BAD_HEALTH:  # it broke again, and people have just read that it works
                known[key] = Known(known[key].since)
    return replace(book, known=known, sent=(*book.sent, now)[-A_DAY:], last=now, pending=None, silence=None)


def failed(book: Book, text: str, now: int, wait: float | None, *, maybe: bool = False) -> Book:
    """The book once a try to bring its pending notice came to nothing; `wait`: seconds the other side asked for.

    One that may have arrived all the same (`maybe`) counts as one of the day's: people are not to be flooded by it.
    """
    pending, sent = book.pending, book.sent
    if pending is None:
        return book
    pause = max(min(60 * 2**pending.tries, LONGEST_PAUSE), min(int(wait or 0), STALE))
    if maybe:
        sent = (*sent, now)[-A_DAY:]
        pause = max(pause, QUIET, sent[0] + DAY - now if len(sent) == A_DAY else 0)
    pending = replace(pending, tries=pending.tries + 1, next=now + pause, owner="", held=0)
    silence = Silence(book.silence.since if book.silence else now, text)
    return replace(book, sent=sent, pending=pending, silence=silence)


def fit(book: Book, now: int) -> Book:
    """The book without a notice that could not be brought and says nothing that holds, or that has waited too long.

    Another one is written from how things are. `book` is as `noted` made it.
    """
    pending = book.pending
    if pending is None or pending.held > now:
        return book
    maybe_sent = not pending.tries  # whoever was to send it fell silent
    holds = maybe_sent or bool(pending.summary.over) or any(key in book.known for key in pending.items)
    return book if holds and now - pending.summary.at <= STALE else replace(book, pending=None)


def concerning(channel: ChannelName, matters: Iterable[Matter]) -> list[Matter]:
    """The matters a channel tells: of its own trouble it cannot."""
    return [each for each in matters if each.code != f"notices.{channel}"]
