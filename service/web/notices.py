"""`POST /webhooks/{provider}`: what a vendor tells us of its own accord, such as that a person removed a meeting there.

A notice says where to look, never what is so: a record is looked at again and its meeting set right.
"""

import time
from collections.abc import Mapping

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from providers.base import Meeting, MeetingSpec, Notice, NoticeRefused
from service.endpoint import Vendor
from service.entry import Placement
from service.grants import grant_id
from service.ledger import Ledger
from service.meetings import Meetings
from service.oauth import Broker
from service.settings import Settings
from service.web.errors import problem

_NOWHERE = MeetingSpec("", 0, "", 0, 0)
_log = structlog.get_logger(__name__)


class Notices:
    """Takes vendors' webhooks; `secrets` are what they sign with."""

    def __init__(
        self, ledger: Ledger, meetings: Meetings, settings: Settings, broker: Broker, secrets: Mapping[str, str]
    ) -> None:
        self._ledger = ledger
        self._meetings = meetings
        self._settings = settings
        self._broker = broker
        self._secrets = secrets

    def routes(self) -> list[Route]:
        """The one URL for each vendor."""
        return [Route("/webhooks/{provider}", self._take, methods=["POST"])]

    async def _take(self, request: Request) -> Response:
        vendor = self._broker.vendors.get(request.path_params["provider"])
        if vendor is None or vendor.info.notice is None:
            return problem(404, "not_found", "There is nothing at this address.")
        secret = self._secrets.get(vendor.info.name, "")
        if not secret:
            variable = f"{vendor.info.name.upper()}_WEBHOOK_SECRET"
            return problem(404, "not_found", f"{vendor.info.title}'s events are not taken here: set {variable}.")
        try:
            notice = vendor.info.notice(request.headers, await request.body(), secret, time.time())
        except NoticeRefused as refused:
            _log.warning("notice_refused", provider=vendor.info.name, reason=str(refused))
            return problem(401, "invalid_signature", str(refused))
        except ClientDisconnect:
            return Response(status_code=400)
        _log.info("notice", provider=vendor.info.name, kind=notice.kind)
        if notice.kind == "changed" and notice.meeting:
            await self._changed(vendor, notice.meeting, notice.at)
        elif notice.kind == "left":
            await self._left(vendor, notice)
        return JSONResponse(dict(notice.answer))

    async def _changed(self, vendor: Vendor, meeting: str, at: float) -> None:
        """Look at the record whose meeting somebody changed; our own doing and others' meetings are nothing to us."""
        await self._settings.load()
        rows = [row for row in self._settings.connections.all() if row.provider == vendor.info.name]
        names = {Placement(row.id, _NOWHERE, Meeting(meeting, "")).name for row in rows}
        record = await self._meetings.record(sorted(names), at)
        found = await self._ledger.get(record) if record else None
        standing = found[0].meeting if found else None
        if record and standing and standing.name in names:
            text = f"Somebody changed or removed the meeting in {vendor.info.title}; it is checked."
            await self._ledger.nudge(record, text, doubt=True)

    async def _left(self, vendor: Vendor, notice: Notice) -> None:
        """Forget the grant that an account took back; its bookings wait until it is connected again.

        Such a notice comes late and more than once: of a grant that was made since it says nothing.
        """
        grant = grant_id(vendor.info.name, notice.client or "", notice.account or "")
        if not await self._broker.left(grant, notice.at):
            _log.info("notice_outdated", provider=vendor.info.name, kind=notice.kind)
            return
        await self._settings.load()
        for row in self._settings.connections.holding(grant):
            if await self._broker.account(grant):
                return  # connected again meanwhile
            text = f"The account removed this service in {vendor.info.title}. {self._broker.cure(vendor)}"
            await self._settings.connections.mark(row.id, "reconnect", text)
