"""The booking behind a link, for the pages that need no login: one call of the store, and an answer without it."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from providers.base import Capabilities
from service.choices import Choice
from service.entry import Entry
from service.ledger import Ledger
from service.settings import Settings
from service.store import StoreUnavailable
from service.web import words
from service.web.peers import peer_of
from service.web.recent import LIFE, Guesses, Recent
from service.web.words import GUESTS

if TYPE_CHECKING:
    from jinja2 import Template

REFRESH: Final = 5
"""Seconds after which a page that waits for something looks again."""

_FOUND_BY_HOST = "The host found that somebody removed the meeting at the provider; it is looked at again."
_FOUND_BY_GUEST = "A guest found that somebody removed the meeting at the provider; it is looked at again."


class Missing(StrEnum):
    """Why a link shows no booking."""

    UNKNOWN = "unknown"
    UNAVAILABLE = "unavailable"
    TOO_MANY = "too many"

    @property
    def status(self) -> int:
        """What it is in HTTP."""
        return {Missing.UNKNOWN: 404, Missing.UNAVAILABLE: 503, Missing.TOO_MANY: 429}[self]

    @property
    def wait(self) -> int | None:
        """Seconds after which it is worth trying again, None where it is not."""
        return {Missing.UNKNOWN: None, Missing.UNAVAILABLE: REFRESH, Missing.TOO_MANY: int(LIFE)}[self]


@dataclass(frozen=True, slots=True)
class Found:
    """A booking at `now`, the store's time; not `fresh` when it is remembered because the store is away."""

    token: str = field(repr=False)
    entry: Entry
    now: int
    fresh: bool


class Lookup:
    """Finds bookings by guests' links, or by those of their hosts."""

    def __init__(self, ledger: Ledger, settings: Settings, guesses: Guesses, *, host: bool = False) -> None:
        self._ledger = ledger
        self._settings = settings
        self._guesses = guesses
        self._host = host
        self._recent = Recent()
        self._page: Template | None = None

    def render(self, **values: object) -> str:
        """The page with these values, once somebody has asked for a booking."""
        assert self._page is not None  # noqa: S101 - find() read it
        return self._page.render(**values)

    async def find(self, request: Request) -> Found | Missing:
        """The booking behind a link, with its settings as they are now.

        From here on the request is answered in its language: a guest's is the booking's, a host's the browser's.
        """
        token, address = request.path_params["token"].rstrip("/"), peer_of(request)
        accepted = request.headers.get("accept-language", "")
        await words.answer_in(words.wanted(None, accepted, GUESTS))
        if self._page is None:
            name = "host.html" if self._host else "meeting.html"
            self._page = await asyncio.to_thread(lambda: words.environment().get_template(name))
        fresh = True
        try:
            found = await self._ledger.resolve(token, host=self._host)
            if found is None:
                self._recent.forget(token)
                if self._guesses.too_many(address):
                    return Missing.TOO_MANY
                self._guesses.add(address)
                return Missing.UNKNOWN
            entry, revision, now = found  # the store's clock, so that every process opens the door at the same time
            await self._settings.refresh(revision)
            self._recent.keep(token, entry, now)
        except StoreUnavailable:
            kept = self._recent.find(token)
            if kept is None:
                return Missing.UNAVAILABLE
            (entry, now), fresh = kept, False
        if not self._host:
            await words.answer_in(words.wanted(entry.wish.language if entry.wish else None, accepted, GUESTS))
        return Found(token, entry, now, fresh)

    async def made_anew(self, entry: Entry) -> bool:
        """Have the record of a meeting that is gone looked at again, which makes another one; False without a store."""
        try:
            await self._ledger.nudge(entry.record, _FOUND_BY_HOST if self._host else _FOUND_BY_GUEST, doubt=True)
        except StoreUnavailable:
            return False
        return True

    def promise(self, entry: Entry) -> tuple[Choice | None, Capabilities | None]:
        """The office's choice, and what the connection that holds the meeting can promise."""
        choice = self._settings.choice_of(entry)
        chosen, standing = self._settings.promises(entry, choice)
        return choice, standing if entry.meeting else chosen
