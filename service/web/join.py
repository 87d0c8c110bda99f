"""`/m/{token}`, `/m/{token}.ics` and `/m/{token}/join`: a booking's page, its calendar file, and the click."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from providers.base import Capabilities, ClickLinks, ProviderError
from service.choices import Choice
from service.connections import UnknownConnection
from service.entry import Entry
from service.ledger import Ledger
from service.links import Moment, hosted_url, moment, window
from service.settings import Settings
from service.store import StoreUnavailable
from service.web import words
from service.web.calendar import Appointment
from service.web.peers import peer_of
from service.web.recent import LIFE, Guesses, Recent
from service.web.words import GUESTS, _, environment

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
"""What every page is sent with: nobody caches it, frames it, indexes it or learns its address."""

_STATUS = {Moment.CANCELLED: 410, Moment.OVER: 410, Moment.NONE: 404}
_REFRESH = 5  # seconds after which a page that waits for its meeting looks again
_UNKNOWN = "unknown"
_UNAVAILABLE = "unavailable"
_TOO_MANY = "too many"


class Join:
    """Shows where a booking's meeting stands and sends people into it."""

    def __init__(self, ledger: Ledger, settings: Settings, public_url: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._public_url = public_url
        self._root = urlsplit(public_url).path  # behind a proxy that serves us below a path
        self._page = environment().get_template("meeting.html")
        self._recent = Recent()
        self._guesses = Guesses()

    def routes(self) -> list[Route]:
        """The page, the calendar file and the click."""
        return [
            Route("/m/{token}.ics", self._calendar, methods=["GET"]),
            Route("/m/{token}/join", self._join, methods=["GET"]),
            Route("/m/{token:path}", self._show, methods=["GET"]),  # whatever was copied with it: people get a page
        ]

    async def _show(self, request: Request) -> Response:
        return await self._open(request, click=False)

    async def _join(self, request: Request) -> Response:
        return await self._open(request, click=True)

    async def _open(self, request: Request, *, click: bool) -> Response:
        found = await self._found(request)
        if isinstance(found, Response):
            return found
        token, entry, now, fresh = found
        choice, capabilities = self._promise(entry)
        at = moment(entry, choice, capabilities, now)
        if click and at is Moment.OPEN:
            try:
                return RedirectResponse(await self._way_in(entry, choice, now), 303, HEADERS)
            except (UnknownConnection, ProviderError):
                at = Moment.TROUBLE
        appointment = self._appointment(token, entry, choice, now)
        return self._answer(at, _STATUS.get(at, 200), token, appointment, entry, choice, fresh)

    async def _calendar(self, request: Request) -> Response:
        found = await self._found(request)
        if isinstance(found, Response):
            return found
        token, entry, now, fresh = found
        choice, capabilities = self._promise(entry)
        at, appointment = moment(entry, choice, capabilities, now), self._appointment(token, entry, choice, now)
        if appointment is None or at is Moment.NONE:  # what was deleted has no time any more
            return self._answer(at, _STATUS.get(at, 200), token, appointment, entry, choice, fresh)
        headers = {**HEADERS, "Content-Disposition": 'attachment; filename="meeting.ics"'}
        return Response(appointment.file(), 200, headers, media_type="text/calendar")

    async def _found(self, request: Request) -> tuple[str, Entry, int, bool] | Response:
        """The booking behind a link, the store's time, and whether it is as the store knows it now; else the answer.

        While the store is away, what was looked at a moment ago is shown as it was then.
        """
        token, address = request.path_params["token"].rstrip("/"), peer_of(request)
        accepted = request.headers.get("accept-language", "")
        words.speak(words.wanted(None, accepted, GUESTS))
        fresh = True
        try:
            found = await self._ledger.resolve(token)
            if found is None:
                self._recent.forget(token)
                if self._guesses.too_many(address):
                    return self._answer(_TOO_MANY, 429)
                self._guesses.add(address)
                return self._answer(_UNKNOWN, 404)
            entry, revision, now = found  # the store's clock, so that every process opens the door at the same time
            await self._settings.refresh(revision)
            self._recent.keep(token, entry, now)
        except StoreUnavailable:
            kept = self._recent.find(token)
            if kept is None:
                return self._answer(_UNAVAILABLE, 503)
            (entry, now), fresh = kept, False
        words.speak(words.wanted(entry.wish.language if entry.wish else None, accepted, GUESTS))
        return token, entry, now, fresh

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

    def _promise(self, entry: Entry) -> tuple[Choice | None, Capabilities | None]:
        """The office's choice, and what the connection that holds the meeting can promise."""
        choice = self._settings.choice_of(entry)
        chosen, standing = self._settings.promises(entry, choice)
        return choice, standing if entry.meeting else chosen

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
        moved = entry.before if entry and appointment and entry.before != appointment.start else None
        body = self._page.render(
            at=str(at),
            root=self._root,
            token=token,
            appointment=appointment,
            office=choice.name if choice else None,
            contact=choice.contact if choice else None,
            start=start,
            before=datetime.fromtimestamp(moved, zone) if moved is not None else None,
            opens=opens,
            fresh=fresh,
            refresh=_REFRESH if at in (Moment.PENDING, Moment.TROUBLE, _UNAVAILABLE) else None,
        )
        wait = {503: _REFRESH, 429: int(LIFE)}.get(status)
        headers = {**HEADERS, "Retry-After": str(wait)} if wait else HEADERS
        return Response(body, status, headers, media_type="text/html")
