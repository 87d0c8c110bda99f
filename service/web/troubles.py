"""`/errors`: everything that can go wrong, by its code, for whoever followed “What is this?”."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from providers.troubles import Trouble
from service.errors import Catalogue, dotted, numbered
from service.web.pages import Pages
from service.web.settings import Frame, Visit
from service.web.words import _, language, said


class Troubles:
    """One page, also for people who cannot log in: it knows nothing of this installation but its providers."""

    def __init__(self, frame: Frame, pages: Pages, catalogue: Catalogue) -> None:
        self._frame = frame
        self._pages = pages
        self._catalogue = catalogue
        self._rendered: dict[tuple[str, str], bytes] = {}

    def routes(self) -> list[Route]:
        """The page."""
        return [self._frame.get("/errors", self._show, stranger=self._shown)]

    async def _show(self, visit: Visit) -> Response:
        return visit.show("errors.html", **self._content())

    async def _shown(self, request: Request) -> Response:
        """To all strangers who read one language it is the same, and to render it takes longer than most answers."""
        which = language(), request.method
        if which not in self._rendered:
            self._rendered[which] = bytes(self._pages.show(request, "errors.html", **self._content()).body)
        return Response(self._rendered[which], headers=self._pages.headers, media_type="text/html")

    def _content(self) -> dict[str, Any]:
        names = {
            "Requests": _("Requests"),
            "Bookings and connections": _("Bookings and connections"),
            "Settings": _("Settings"),
            "Customers": _("Customers' pages"),
            "Hosts": _("Hosts' pages"),
            "Notices": _("Notices to admins"),
            "Every provider": _("Every provider"),
            "Operation": _("Start and operation"),
        }
        mended = {
            "customer": _("Who booked can put it right."),
            "admin": _("An admin can put it right."),
            "provider": _("It is the provider's; it goes on by itself."),
            "vello": _("Whoever sends the request puts it right; as a rule that is Vello."),
            "operator": _("The operator of this service can put it right."),
            "developer": _("The maker of this service can put it right."),
        }
        areas = [(names.get(area) or said(area), troubles) for area, troubles in self._catalogue.areas.items()]
        return {"areas": areas, "mended": mended, "sentences": _sentences}


def _sentences(trouble: Trouble) -> list[str]:
    return [dotted(_(numbered(each))) for each in trouble.says]
