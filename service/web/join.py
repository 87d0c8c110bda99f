"""`/m/{token}`, `/m/{token}.ics` and `/m/{token}/join`: a booking's page, its calendar file, and the click."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from providers.base import ClickLinks, MeetingNotFound, ProviderError
from service.choices import Choice
from service.connections import UnknownConnection
from service.entry import Entry
from service.links import Moment, hosted_url, moment, window
from service.settings import Settings
from service.store import StoreUnavailable
from service.vello import Rank
from service.web.assets import Asset
from service.web.brand import look_of
from service.web.calendar import Appointment, withdrawn
from service.web.entrance import Way, way_of
from service.web.lookup import REFRESH, Lookup, Missing
from service.web.words import _

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
"""What every page is sent with: nobody caches it, frames it, indexes it or learns its address."""
_SCRIPTED = {**HEADERS, "Content-Security-Policy": f"{HEADERS['Content-Security-Policy']}; script-src 'self'"}

STATUS: Mapping[Moment, int] = {Moment.CANCELLED: 410, Moment.OVER: 410, Moment.NONE: 404}
"""Where the page is an error to programs; 200 elsewhere."""
_TELLS = (Moment.LATE, Moment.TROUBLE)
_LOOKS_AGAIN = (Moment.PENDING, Moment.LATE, Moment.TROUBLE, Missing.UNAVAILABLE)

WAITING: Mapping[str, str] = {
    **HEADERS,
    "Content-Security-Policy": f"{_SCRIPTED['Content-Security-Policy']}; connect-src 'self'",
}
"""A page that looks for news."""


class Join:
    """Shows where a booking's meeting stands and sends people into it."""

    def __init__(self, lookup: Lookup, settings: Settings, public_url: str) -> None:
        self._lookup = lookup
        self._settings = settings
        self._public_url = public_url
        self._root = urlsplit(public_url).path  # behind a proxy that serves us below a path
        self._script, self._again = Asset("meeting.js"), Asset("again.js")

    def routes(self) -> list[Route]:
        """The page, its script, the calendar file and the click."""
        return [
            self._script.route(),
            self._again.route(),
            Route("/m/{token}.ics", self._calendar, methods=["GET"]),
            Route("/m/{token}/join", self._join, methods=["GET"]),
            Route("/m/{token:path}", self._show, methods=["GET"]),  # whatever was copied with it: people get a page
        ]

    async def _show(self, request: Request) -> Response:
        return await self._open(request, click=False)

    async def _join(self, request: Request) -> Response:
        return await self._open(request, click=True)

    async def _open(self, request: Request, *, click: bool) -> Response:
        found = await self._lookup.find(request)
        if isinstance(found, Missing):
            return self._answer(found, found.status)
        token, entry, now = found.token, found.entry, found.now
        choice, capabilities = self._lookup.promise(entry)
        at = moment(entry, choice, capabilities, now)
        if click and at is Moment.OPEN:
            try:
                return RedirectResponse(await self._way_in(entry, choice, now), 303, HEADERS)
            except StoreUnavailable:  # where the account's access is
                return self._answer(Missing.UNAVAILABLE, Missing.UNAVAILABLE.status)
            except MeetingNotFound:
                if not await self._lookup.made_anew(entry):
                    return self._answer(Missing.UNAVAILABLE, Missing.UNAVAILABLE.status)
                at = Moment.PENDING
            except (UnknownConnection, ProviderError):
                at = Moment.TROUBLE
        appointment = self._appointment(token, entry, choice, now)
        return self._answer(at, STATUS.get(at, 200), token, appointment, entry, choice, found.fresh)

    async def _calendar(self, request: Request) -> Response:
        found = await self._lookup.find(request)
        if isinstance(found, Missing):
            return self._answer(found, found.status)
        token, entry, now = found.token, found.entry, found.now
        choice, capabilities = self._lookup.promise(entry)
        at, appointment = moment(entry, choice, capabilities, now), self._appointment(token, entry, choice, now)
        if entry.rank is Rank.DELETED:
            file = withdrawn(token, _("Your video meeting"), entry.generation, now)
        elif appointment is None or at is Moment.NONE:
            return self._answer(at, STATUS.get(at, 200), token, appointment, entry, choice, found.fresh)
        else:
            file = appointment.file()
        headers = {**HEADERS, "Content-Disposition": 'attachment; filename="meeting.ics"'}
        return Response(file, 200, headers, media_type="text/calendar")

    def _appointment(self, token: str, entry: Entry, choice: Choice | None, now: int) -> Appointment | None:
        """What a calendar is told, None while there is no time to tell."""
        wish = entry.wish
        if wish is None or wish.start is None:
            return None
        url = hosted_url(self._public_url, token)
        title, always = _("Your video meeting"), _("You can open this page again at any time. It is always right.")
        return Appointment(
            token=token,
            url=url,
            title=f"{title}: {choice.name}" if choice and choice.name else title,
            text=f"{_('Join the meeting')}: {url}\n{always}",
            start=wish.start,
            duration=wish.duration or 0,
            sequence=entry.generation,
            cancelled=not entry.live,
            now=now,
        )

    async def _way_in(self, entry: Entry, choice: Choice | None, now: int) -> str:
        """The URL of the meeting itself, made at this click where the provider mints links."""
        placed = entry.meeting
        if placed is None or placed.meeting is None:
            raise UnknownConnection("none")
        provider = self._settings.connections.provider(placed.connection)
        until = window(entry, choice)[1]
        if isinstance(provider, ClickLinks):
            return await provider.click_url(placed.meeting, placed.spec, "guest", now, until)
        return provider.join_url(placed.meeting, placed.spec, "guest", now, until)

    def _way(self, entry: Entry, at: str) -> Way | None:
        """What is said of the way in where the page leads in or will; what else opens it, only where it leads in."""
        choice, capabilities = self._lookup.promise(entry)
        if at not in (Moment.OPEN, Moment.EARLY) or entry.meeting is None or capabilities is None:
            return None
        app = self._settings.connections.app(entry.meeting.connection)
        way = way_of(entry, capabilities, app, choice.time_zone if choice else "UTC")
        return way if at is Moment.OPEN else replace(way, passcode=None, dial_in=())

    def _answer(
        self,
        at: str,
        status: int,
        token: str = "",
        appointment: Appointment | None = None,
        entry: Entry | None = None,
        choice: Choice | None = None,
        fresh: bool = True,
    ) -> Response:
        zone = ZoneInfo(choice.time_zone if choice else "UTC")
        start = datetime.fromtimestamp(appointment.start, zone) if appointment else None
        opens = datetime.fromtimestamp(window(entry, choice)[0], zone) if entry and start else None
        way = self._way(entry, at) if entry else None
        told = entry.noticed if entry and at in _TELLS else 0
        moved = entry.before if entry and appointment and entry.before != appointment.start else None
        waits = at in _LOOKS_AGAIN
        body = self._lookup.render(
            at=str(at),
            root=self._root,
            token=token,
            appointment=appointment,
            office=choice.name if choice else None,
            contact=choice.contact if choice else None,
            look=look_of(choice),
            start=start,
            before=datetime.fromtimestamp(moved, zone) if moved is not None else None,
            opens=opens,
            noticed=datetime.fromtimestamp(told, zone) if told else None,
            today=datetime.fromtimestamp(appointment.now, zone).date() if appointment else None,
            way=way,
            beside=_beside(entry, choice, at, appointment),
            script=self._script.path,
            again=self._again.path,
            fresh=fresh,
            refresh=REFRESH if waits else None,
        )
        wait = at.wait if isinstance(at, Missing) else None
        base = WAITING if waits else _SCRIPTED if start else HEADERS
        headers = {**base, "Retry-After": str(wait)} if wait else base
        return Response(body, status, headers, media_type="text/html")


def _beside(
    entry: Entry | None, choice: Choice | None, at: str, appointment: Appointment | None
) -> Literal["before", "after"] | None:
    """Whether the page leads in outside of the window, which its provider does not enforce."""
    if entry is None or appointment is None or at is not Moment.OPEN:
        return None
    opens, closes = window(entry, choice)
    return "before" if appointment.now < opens else "after" if appointment.now >= closes else None
