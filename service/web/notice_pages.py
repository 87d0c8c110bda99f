"""`/notices`: what needs a person, by which ways people are told of it, and whether those work."""

from collections.abc import Sequence

from starlette.responses import Response
from starlette.routing import Route

from service.notices.sender import Sender, Told
from service.web.settings import Frame, Visit
from service.web.words import _


class NoticePages:
    """The page, and the form that sends a test notice."""

    def __init__(self, frame: Frame, sender: Sender) -> None:
        self._frame = frame
        self._sender = sender

    def routes(self) -> list[Route]:
        """The page and what its form does."""
        return [self._frame.get("/notices", self._show), self._frame.post("/notices", self._test)]

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def _test(self, visit: Visit) -> Response:
        visit.demand_all()
        return await self._page(visit, await self._sender.test())

    async def _page(self, visit: Visit, told: Sequence[Told] = ()) -> Response:
        channels = await self._sender.standing() if visit.all_companies else []
        names = {"mail": _("Mail"), "webhook": _("Webhook")}
        return visit.show("notices.html", channels=channels, told=told, names=names)
