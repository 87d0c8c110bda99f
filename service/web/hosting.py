"""`/h/{token}` and `/h/{token}/start`: the host's page of a booking, and the click that starts its meeting as host.

Its token is another than the guests', and nobody but admins is told it. The page itself fetches nothing from the
provider, so a program that looks at links it was sent starts no meeting.
"""

from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from providers.base import (
    MeetingNotFound,
    OutcomeUnknown,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from service.connections import UnknownConnection
from service.links import Moment, moment, window
from service.settings import Settings
from service.store import StoreUnavailable
from service.web.assets import Asset
from service.web.host import way_in
from service.web.join import HEADERS, STATUS, WAITING
from service.web.lookup import REFRESH, Found, Lookup, Missing

Trouble = Literal["failed", "busy", "reconnect", "refused"]
"""Why a host cannot start: there is no meeting; later; after somebody connects the account; after somebody mends it."""

_log = structlog.get_logger(__name__)


class Hosting:
    """Shows hosts where their meeting stands, and starts it."""

    def __init__(self, lookup: Lookup, settings: Settings, public_url: str) -> None:
        self._lookup = lookup
        self._settings = settings
        self._root = urlsplit(public_url).path  # behind a proxy that serves us below a path
        self._again = Asset("again.js").path

    def routes(self) -> list[Route]:
        """The page and the click."""
        return [
            Route("/h/{token}/start", self._start, methods=["GET"]),
            Route("/h/{token:path}", self._show, methods=["GET"]),  # whatever was copied with it: people get a page
        ]

    async def _show(self, request: Request) -> Response:
        found = await self._lookup.find(request)
        return self._missing(found) if isinstance(found, Missing) else self._answer(found)

    async def _start(self, request: Request) -> Response:
        found = await self._lookup.find(request)
        if isinstance(found, Missing):
            return self._missing(found)
        if self._at(found) is not Moment.OPEN:
            return self._answer(found)
        try:
            return RedirectResponse(await way_in(found.entry, self._settings, found.now), 303, HEADERS)
        except StoreUnavailable:  # where the account's access is
            return self._missing(Missing.UNAVAILABLE)
        except MeetingNotFound:
            made_anew = await self._lookup.made_anew(found.entry)  # the guests' link leads nowhere either
            return self._answer(found, Moment.PENDING) if made_anew else self._missing(Missing.UNAVAILABLE)
        except (TemporaryError, OutcomeUnknown) as error:
            return self._troubled(found, "busy", error)
        except ReconnectRequired as error:
            return self._troubled(found, "reconnect", error)
        except (UnknownConnection, ProviderError) as error:
            return self._troubled(found, "refused", error)

    def _at(self, found: Found) -> Moment:
        return moment(found.entry, *self._lookup.promise(found.entry), found.now)

    def _troubled(self, found: Found, trouble: Trouble, error: Exception) -> Response:
        _log.warning("host_refused", record=found.entry.record, trouble=trouble, error=type(error).__name__)
        return self._answer(found, Moment.TROUBLE, trouble)

    def _missing(self, missing: Missing) -> Response:
        refresh = REFRESH if missing is Missing.UNAVAILABLE else None
        base = WAITING if refresh else HEADERS
        headers = {**base, "Retry-After": str(missing.wait)} if missing.wait else base
        body = self._lookup.render(
            at=str(missing), root=self._root, refresh=refresh, again=self._again, start=None, fresh=True
        )
        return Response(body, missing.status, headers, media_type="text/html")

    def _answer(self, found: Found, at: Moment | None = None, trouble: Trouble = "failed") -> Response:
        entry, wish = found.entry, found.entry.wish
        at = at or self._at(found)
        choice, capabilities = self._lookup.promise(entry)
        if at is Moment.TROUBLE and capabilities is None:
            trouble = "refused"
        zone = ZoneInfo(choice.time_zone if choice else "UTC")
        start = datetime.fromtimestamp(wish.start, zone) if wish and wish.start is not None else None
        moved = entry.before is not None and wish is not None and entry.before != wish.start
        waits = at in (Moment.PENDING, Moment.LATE) or (at is Moment.TROUBLE and trouble in ("busy", "failed"))
        body = self._lookup.render(
            at=str(at),
            root=self._root,
            token=found.token,
            office=choice.name if choice else None,
            start=start,
            before=datetime.fromtimestamp(entry.before, zone) if moved and entry.before is not None else None,
            opens=datetime.fromtimestamp(window(entry, choice)[0], zone) if start else None,
            trouble=trouble,
            fresh=found.fresh,
            refresh=REFRESH if waits else None,
            again=self._again,
        )
        return Response(body, STATUS.get(at, 200), WAITING if waits else HEADERS, media_type="text/html")
