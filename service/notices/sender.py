"""Brings notices to people: one process at a time, once for all of them, however many rounds there are at once.

What is to be told is written down before it is sent, and that it was told afterwards: a process that dies in between
leaves it to another one, so a notice may come twice, with the same id, and is never lost.

Keys: `vm:notices` (channel -> its book), gone 90 days after the last round; `vm:matters`, what needed a person at the
last round, gone after an hour; `vm:notices:round`, there while nobody else needs to look.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError

from service.clock import store_time
from service.matters import Matter, Silence
from service.metrics import Metrics
from service.notices.book import Book, Pending, arrived, concerning, due, failed, fit, noted
from service.notices.summary import Channel, ChannelName, NotTold, Summary, Writer
from service.store import Store, version_of
from service.survey import Outlook

HELD: Final = 120
"""Seconds after which a notice that somebody began to send is sent by somebody else: longer than any channel takes."""
ROUND: Final = 40
"""Seconds in which one look is enough for all processes."""

_BOOKS, _MATTERS, _ROUND = "vm:notices", "vm:matters", "vm:notices:round"
_KEPT = 90 * 86_400
_SHOWN = 3600
_TRIES = 10  # of a change that others keep overtaking
_OUTCOME: Final = {True: "told", False: "not_told"}
_LIST = TypeAdapter(list[Matter])
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a test notice on one channel: what the other side answered, or why it did not arrive."""

    channel: ChannelName
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a channel does: when its last notice arrived (unix seconds), and since when none does."""

    channel: ChannelName
    last: int | None
    silence: Silence | None
    waiting: bool


class Sender:
    """All channels of an installation; `remember` is told what arrived, and when. All verbs raise StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        survey: Callable[[Mapping[str, Silence]], Awaitable[Outlook]],
        channels: Sequence[Channel],
        write: Writer,
        metrics: Metrics,
        remember: Callable[[Pending, int], Awaitable[None]],
        clock: Callable[[Store], Awaitable[float]] = store_time,
    ) -> None:
        self.channels = tuple(channels)
        self._store = store
        self._survey = survey
        self._write = write
        self._metrics = metrics
        self._remember = remember
        self._clock = clock
        self._name = secrets.token_hex(8)

    async def round(self) -> None:
        """Look whether people should be told something, and tell them; of all processes one does."""
        if await self._store.execute("SET", _ROUND, self._name, "NX", "EX", ROUND):
            await self.look()

    async def look(self) -> None:
        """The same, whoever else does it now."""
        books = await _books(self._store)
        mine = {each.name: books.get(each.name, Book()) for each in self.channels}
        silences: dict[str, Silence] = {name: book.silence for name, book in mine.items() if book.silence}
        outlook = await self._survey(silences)
        await self._show(outlook.matters)
        await self._store.execute("EXPIRE", _BOOKS, _KEPT)
        faults = await asyncio.gather(*(self._serve(each, outlook) for each in self.channels), return_exceptions=True)
        for fault in faults:
            if fault is not None:
                raise fault

    async def seen(self) -> list[Matter]:
        """What needed a person at the last round."""
        shown = await self._store.execute("GET", _MATTERS)
        try:
            return _LIST.validate_json(shown) if shown else []
        except ValidationError:  # of another version; the next round writes it anew
            return []

    async def standing(self) -> list[Standing]:
        """How each channel does."""
        return await standing(self._store, self.channels)

    async def test(self) -> list[Told]:
        """Send a test notice by every channel, and say what was answered. One that arrives lets what waits follow."""

        async def one(channel: Channel) -> Told:
            told = await tested(channel, self._write, await self._clock(self._store))
            self._metrics.notice(channel.name, _OUTCOME[told.ok])
            if told.ok:
                await self._change(channel, lambda book: replace(book, silence=None, pending=_at_once(book.pending)))
            return told

        told = list(await asyncio.gather(*map(one, self.channels)))
        mended = {f"notices.{each.channel}" for each in told if each.ok}
        await self._show([each for each in await self.seen() if each.code not in mended])
        return told

    async def _show(self, matters: Iterable[Matter]) -> None:
        """Keep what needs a person for the pages of settings."""
        shown = _LIST.dump_json([replace(each, items=()) for each in matters]).decode()
        await self._store.execute("SET", _MATTERS, shown, "EX", _SHOWN)

    async def _serve(self, channel: Channel, outlook: Outlook) -> None:
        """Write down how things are, and bring what is to be brought, unless somebody else does."""
        found = concerning(channel.name, outlook.matters)
        now, id_ = int(await self._clock(self._store)), _new_id()

        def planned(book: Book) -> Book:
            book = fit(noted(book, found, outlook, now), now)
            pending = book.pending or due(book, found, outlook, now, id_)
            if pending and pending.held <= now and pending.next <= now:
                pending = replace(pending, owner=self._name + id_, held=now + HELD)
            return replace(book, pending=pending)

        book = await self._change(channel, planned)
        if book and book.pending and book.pending.owner == self._name + id_:
            await self._bring(channel, book.pending)

    async def _bring(self, channel: Channel, pending: Pending) -> None:
        ok, wait, maybe = True, None, False
        try:
            said = await channel.tell(pending.summary, self._write(pending.summary))
        except NotTold as error:
            ok, said, wait, maybe = False, str(error), error.retry_after, error.maybe
        now = int(await self._clock(self._store))

        def noted(book: Book) -> Book:
            if book.pending is None or book.pending.owner != pending.owner:
                return book  # it took so long that another one sends it
            return arrived(book, book.pending, now) if ok else failed(book, said, now, wait, maybe=maybe)

        await self._change(channel, noted)
        self._metrics.notice(channel.name, _OUTCOME[ok])
        write = _log.info if ok else _log.warning
        write("notice", channel=channel.name, outcome=_OUTCOME[ok], matters=len(pending.items))
        if ok:
            await self._remember(pending, now)

    async def _change(self, channel: Channel, change: Callable[[Book], Book]) -> Book | None:
        """Change a channel's book, again if somebody else did so meanwhile; None when others keep doing so."""
        for _ in range(_TRIES):
            text = await self._store.execute("HGET", _BOOKS, channel.name)
            before = Book.load(text)
            after = change(before)
            if after == before:
                return after
            if await self._store.swap(_BOOKS, channel.name, version_of(text or ""), after.dump()):
                await self._store.execute("EXPIRE", _BOOKS, _KEPT)
                return after
        return None


async def standing(store: Store, channels: Sequence[Channel]) -> list[Standing]:
    """How each channel does. Raises: StoreUnavailable."""
    books = await _books(store)
    found = []
    for channel in channels:
        book = books.get(channel.name, Book())
        found.append(Standing(channel.name, book.last or None, book.silence, book.pending is not None))
    return found


async def tested(channel: Channel, write: Writer, now: float) -> Told:
    """Send a test notice by one channel, and say what was answered."""
    summary = Summary(_new_id(), int(now), test=True)
    try:
        return Told(channel.name, True, await channel.tell(summary, write(summary)))
    except NotTold as error:
        return Told(channel.name, False, str(error))


async def _books(store: Store) -> dict[str, Book]:
    rows = await store.execute("HGETALL", _BOOKS)
    return {name: Book.load(text) for name, text in rows.items()}


def _new_id() -> str:
    return f"msg_{secrets.token_hex(16)}"


def _at_once(pending: Pending | None) -> Pending | None:
    return pending and replace(pending, next=0)
