"""`POST /webhooks/vello`: verify, parse, accept, and for `record.update_metadata` answer with the link.

Plain Starlette, outside FastAPI's per-request machinery: this is the hot path.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.companies import OWN, Companies, Company
from service.entry import Entry
from service.ledger import Accepted, Ledger
from service.links import Link, link_for, vello_was_told
from service.reconcile import Reconciler, Settings
from service.vello import (
    SIGNATURE_HEADER,
    UPDATE_METADATA,
    Event,
    InvalidEvent,
    Record,
    SignatureInvalid,
    parse,
    verify,
)
from service.web.errors import problem

CONNECTION_TEST = "connection.test"
_MARGIN = 0.15  # seconds of the deadline kept for writing the answer
_LOOK_AGAIN = 0.1  # seconds between two looks at a record that another process works on

_log = structlog.get_logger(__name__)


class Webhook:
    """Takes Vello's events."""

    def __init__(
        self,
        ledger: Ledger,
        reconciler: Reconciler,
        settings: Settings,
        companies: Companies,
        public_url: str,
        deadline: float,
    ) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._settings = settings
        self._companies = companies
        self._public_url = public_url
        self._hosted_prefix = f"{public_url}/m/"
        self._deadline = deadline

    def routes(self) -> list[Route]:
        """The two webhook URLs."""
        return [
            Route("/webhooks/vello", self._guarded(self._own), methods=["POST"]),
            Route("/webhooks/vello/{company}", self._guarded(self._other), methods=["POST"]),
        ]

    def _guarded(self, handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return await handle(request)
            except InvalidEvent as error:
                _log.warning("event_refused", code=error.code, reason=error.message)
                return problem(400, error.code, error.message)
            except SignatureInvalid:
                _log.warning("event_refused", code="invalid_signature")
                return problem(
                    401,
                    "invalid_signature",
                    "The Vello-Signature header is missing or wrong: check that the webhook token and the endpoint "
                    "URL here are the ones entered in Vello.",
                )
            except ClientDisconnect:
                return Response(status_code=400)

        return endpoint

    async def _own(self, request: Request) -> Response:
        body = await request.body()
        return await self._take(self._companies.own, OWN, request, body)

    async def _other(self, request: Request) -> Response:
        body = await request.body()
        realm = request.path_params["company"].lower()
        company = await self._companies.get(realm)
        if company is None:
            return problem(404, "unknown_company", "No company with this id has been added in settings.")
        return await self._take(company, realm, request, body)

    async def _take(self, company: Company, realm: str, request: Request, body: bytes) -> Response:
        due = asyncio.get_running_loop().time() + self._deadline - _MARGIN
        verify(body, request.headers.get(SIGNATURE_HEADER), company.tokens, company.endpoint_urls)
        event = parse(body)
        record = event.record
        if record is None:
            if event.type == CONNECTION_TEST:
                await self._companies.reached(realm)
            _log.info("event", type=event.type, outcome="no_record")
            return JSONResponse({})
        if realm != OWN and record.company not in (None, realm):
            raise InvalidEvent("wrong_company", "The record belongs to another company than this URL.")
        inline = event.type == UPDATE_METADATA
        accepted = await self._ledger.accept(event, realm, self._hosted_prefix, inline=inline)
        _log.info("event", type=event.type, record=record.id, outcome=accepted.verdict)
        if accepted.entry is None:
            raise InvalidEvent("wrong_company", "The record belongs to another company than this URL.")
        await self._settings.refresh(accepted.revision)
        await self._settings.choices.saw(record.office)
        if not inline:
            return JSONResponse({})
        return JSONResponse({"metadata": await self._metadata(event, record, accepted, due)})

    async def _metadata(self, event: Event, record: Record, accepted: Accepted, due: float) -> dict[str, str]:
        entry = await self._settled(record.id, accepted, due)
        choice = self._settings.choices.of(entry.wish.office if entry.wish else record.office)
        capabilities = self._settings.connections.capabilities(choice.connection if choice else None)
        link = link_for(entry, choice, capabilities, self._public_url)
        if link is None or choice is None:
            return {}
        await self._tell(entry, link)
        return {"video_link": link.url} | ({"tag": choice.tag} if choice.tag else {})

    async def _tell(self, entry: Entry, link: Link) -> None:
        if not vello_was_told(entry, link) or (link.hosted and not entry.hosted):
            await self._ledger.told(entry.record, link.url, hosted=link.hosted)

    async def _settled(self, record: str, accepted: Accepted, due: float) -> Entry:
        """The entry once nothing is left to do for it, or as it is at the deadline; the work itself goes on."""
        clock = asyncio.get_running_loop().time
        entry = accepted.entry
        assert entry is not None  # noqa: S101 - _take() looked
        tasks = [self._reconciler.start(accepted.lease, accepted.revision, inline=True)] if accepted.lease else []
        while (tasks or (entry.unsettled and entry.leased_until >= accepted.now)) and clock() < due:
            tasks = tasks or self._reconciler.running(record)
            if tasks:
                await asyncio.wait(tasks, timeout=due - clock())
            else:
                await asyncio.sleep(min(_LOOK_AGAIN, max(0.0, due - clock())))
            tasks = []
            found = await self._ledger.get(record)
            entry = found[0] if found else entry
        return entry
