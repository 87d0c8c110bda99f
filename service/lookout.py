"""Lists what stands at the providers with our marker: page by page, through each connection's gate and room."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import structlog

from providers.base import (
    Directory,
    MeetingNotFound,
    MeetingProvider,
    NoRoom,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    TemporaryError,
)
from providers.listing import ListedPage, Listing
from service.calls import Calls, Permit
from service.connections import Connection, UnknownConnection
from service.gate import Held
from service.settings import Settings
from service.sightings import Sighting
from service.store import StoreUnavailable
from service.vault import Damaged, UnknownKey

PAGES: Final = 100
"""Pages of one host's meetings that are read."""
TRIES: Final = 3
"""How often a page is asked for that a provider puts off."""
PATIENCE: Final = 30.0
"""Seconds for which a page that was put off is waited for, at most."""
BREATH: Final = 0.1
"""Seconds between two pages, of one host or of two, so that the list leaves room for what customers wait for."""

_MISTAKE = "This service made a mistake; its log says which."
_Answer = TypeVar("_Answer")
_log = structlog.get_logger(__name__)

Beat = Callable[[], Awaitable[None]]
"""Says that the work goes on; it may raise what ends it."""


class Listable(NamedTuple):
    """A connection whose meetings can be listed."""

    row: Connection
    provider: MeetingProvider


@dataclass(slots=True)
class Seen:
    """What the lists showed, by the meetings' key.

    `whole` are the hosts whose meetings were read to their end, as connection and host; `left` says for a connection
    why some of its were not. `broken` are connections of which further hosts were not asked.
    """

    by_key: dict[str, list[Sighting]] = field(default_factory=dict)
    whole: set[tuple[str, str | None]] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    meetings: int = 0

    def add(self, sighting: Sighting) -> None:
        """One more meeting; a host who goes by several names has it once."""
        known = self.by_key.setdefault(sighting.listed.key, [])
        name = (sighting.connection, sighting.listed.meeting.id)
        if all((each.connection, each.listed.meeting.id) != name for each in known):
            known.append(sighting)
            self.meetings += 1


class Lookout:
    """Looks at all meetings of connections."""

    def __init__(self, settings: Settings, calls: Calls, owner: str) -> None:
        self._settings = settings
        self._calls = calls
        self._owner = owner

    def listable(self, only: str | None = None) -> list[Listable]:
        """The connections whose meetings can be listed, or the one of them that is named."""
        found = []
        for row in self._settings.connections.all():
            if only not in (None, row.id):
                continue
            try:
                provider = self._settings.connections.provider(row.id)
            except (UnknownConnection, UnknownKey, Damaged):
                continue  # settings say so already
            if isinstance(provider, Listing):
                found.append(Listable(row, provider))
        return found

    async def look(self, which: Sequence[Listable], hosts: Mapping[str, Sequence[str]], beat: Beat) -> Seen:
        """List the meetings of connections; `hosts` are those that are known of each, the chosen ones first.

        Raises: StoreUnavailable, and what `beat` raises.
        """
        seen, since = Seen(), int(time.time())
        for each in which:
            names = await self._names(each, hosts.get(each.row.id, ()))
            for host in names:
                try:
                    whole = await self._host(each, host, since, seen, beat)
                except (ProviderError, Held) as error:
                    seen.left.setdefault(each.row.id, _text(error))
                    if not _is_the_hosts(error):
                        seen.broken.add(each.row.id)
                        break
                else:
                    if whole:
                        seen.whole.add((each.row.id, host))
                await asyncio.sleep(BREATH)
        return seen

    def host_of(self, connection: str, host: str | None) -> str | None:
        """By which host a connection's list is asked for a meeting of `host`."""
        capabilities = self._settings.connections.capabilities(connection)
        return host if capabilities and capabilities.needs_host else None

    async def _names(self, each: Listable, hosts: Sequence[str]) -> list[str | None]:
        """Who is asked for: those that are chosen, those who have meetings, those the account knows, and nobody."""
        if not each.provider.capabilities.needs_host:
            return [None]
        names = dict.fromkeys(hosts)
        if isinstance(each.provider, Directory):
            with contextlib.suppress(ProviderError, Held):  # the first list says what is wrong
                names |= dict.fromkeys(await self._asked(each, each.provider.people))
        return [*names, None]

    async def _host(self, each: Listable, host: str | None, since: int, seen: Seen, beat: Beat) -> bool:
        """Read one host's meetings; False when the list may not show all of them."""
        page: str | None = None

        def ask() -> Awaitable[ListedPage]:
            assert isinstance(each.provider, Listing)  # noqa: S101 - listable() looked
            return each.provider.upcoming(host, self._owner, since, page)

        for _ in range(PAGES):
            await beat()
            part = await self._asked(each, ask)
            for listed in part.meetings:
                seen.add(Sighting(each.row.id, host, listed))
            if not part.complete:
                return False
            page = part.following
            if page is None:
                return True
            await asyncio.sleep(BREATH)
        raise TemporaryError("The host has more meetings than a sweep reads.", well=True)

    async def _asked(self, each: Listable, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """One page's answer; what is put off for a moment is asked again."""
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                async with self._calls.permit(each.row.id, None, inline=False) as permit:
                    permit.begun()
                    try:
                        answer = await self._calls.probe(each.row.id, each.row.provider, ask(), "list")
                    except ProviderError as error:
                        await self._judge(permit, error)
                        raise
                    except StoreUnavailable:
                        raise
                    except Exception as error:  # of an adapter: the others are listed all the same
                        _log.exception("list_failed", connection=each.row.id, error=type(error).__name__)
                        raise PermanentError(_MISTAKE, "developer") from None
                    await self._calls.well(permit)
                    return answer
            except Held as error:
                wait = error.wait
                if last:
                    raise
            except TemporaryError as error:
                wait = error.retry_after or 1.0
                if last or wait > PATIENCE:
                    raise
            await asyncio.sleep(min(wait, PATIENCE))
        raise AssertionError("a loop of tries ends with an answer or an error")

    async def _judge(self, permit: Permit, error: ProviderError) -> None:
        """What an error says of the provider; a list that is refused says nothing of its connection's health."""
        if isinstance(error, NoRoom):
            return
        if isinstance(error, TemporaryError | OutcomeUnknown) and not error.well:
            await self._calls.unwell(permit)
        else:
            await self._calls.well(permit)


def _is_the_hosts(error: Exception) -> bool:
    """Whether other hosts may be read; a mistake of ours would come again."""
    if isinstance(error, PermanentError):
        return error.who_can_fix != "developer"
    return isinstance(error, MeetingNotFound)


def _text(error: Exception) -> str:
    return error.text if isinstance(error, ProviderError) else f"{error}."
