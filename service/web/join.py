"""`/m/{token}` and `/m/{token}/join`: the booking's page, and the click that leads into the meeting."""

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
from service.links import Moment, moment, window
from service.settings import Settings
from service.store import StoreUnavailable
from service.web import words
from service.web.words import environment

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


class Join:
    """Shows where a booking's meeting stands and sends people into it."""

    def __init__(self, ledger: Ledger, settings: Settings, public_url: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._root = urlsplit(public_url).path  # behind a proxy that serves us below a path
        self._page = environment().get_template("meeting.html")

    def routes(self) -> list[Route]:
        """The page and the click."""
        return [
            Route("/m/{token}/join", self._join, methods=["GET"]),
            Route("/m/{token:path}", self._show, methods=["GET"]),  # whatever was copied with it: people get a page
        ]

    async def _show(self, request: Request) -> Response:
        return await self._open(request, click=False)

    async def _join(self, request: Request) -> Response:
        return await self._open(request, click=True)

    async def _open(self, request: Request, *, click: bool) -> Response:
        token = request.path_params["token"].rstrip("/")
        accepted = request.headers.get("accept-language", "")
        words.speak(words.wanted(None, accepted))
        try:
            found = await self._ledger.resolve(token)
            if found is None:
                return self._answer(_UNKNOWN, 404)
            entry, revision, now = found  # the store's clock, so that every process opens the door at the same time
            await self._settings.refresh(revision)
        except StoreUnavailable:
            return self._answer(_UNAVAILABLE, 503)
        choice, capabilities = self._promise(entry)
        at = moment(entry, choice, capabilities, now)
        if click and at is Moment.OPEN:
            try:
                return RedirectResponse(await self._way_in(entry, choice, now), 303, HEADERS)
            except (UnknownConnection, ProviderError):
                at = Moment.TROUBLE
        return self._answer(at, _STATUS.get(at, 200), token, entry, choice)

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
        choice = self._settings.choices.of(entry.wish.office if entry.wish else None)
        chosen, standing = self._settings.promises(entry, choice)
        return choice, standing if entry.meeting else chosen

    def _answer(
        self,
        at: str,
        status: int,
        token: str = "",
        entry: Entry | None = None,
        choice: Choice | None = None,
    ) -> Response:
        wish = entry.wish if entry else None
        zone = ZoneInfo(choice.time_zone if choice else "UTC")
        start = datetime.fromtimestamp(wish.start, zone) if wish and wish.start is not None else None
        opens = datetime.fromtimestamp(window(entry, choice)[0], zone) if entry and start else None
        body = self._page.render(
            at=str(at),
            root=self._root,
            token=token,
            office=choice.name if choice else None,
            start=start,
            opens=opens,
            refresh=_REFRESH if at in (Moment.PENDING, Moment.TROUBLE, _UNAVAILABLE) else None,
        )
        headers = {**HEADERS, "Retry-After": str(_REFRESH)} if status == 503 else HEADERS
        return Response(body, status, headers, media_type="text/html")
