"""`POST /webhooks/vello`: verify, parse, accept, and for `record.update_metadata` answer with the link.

Plain ASGI, outside every framework's per-request machinery: this is the hot path.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service.choices import Choice
from service.companies import OWN, Companies, Company
from service.config import WEBHOOK_PATH
from service.entry import Entry
from service.ledger import Accepted, Ledger, Told
from service.links import hosted_url, link_for
from service.reconcile import Reconciler, Settings
from service.store import StoreUnavailable
from service.vello import (
    SIGNATURE_HEADER,
    UPDATE_METADATA,
    InvalidEvent,
    Record,
    SignatureInvalid,
    parse,
    verify,
)
from service.web.errors import Problem, problem, unavailable, unexpected
from service.web.limits import read_body

CONNECTION_TEST = "connection.test"
_MARGIN = 0.15  # seconds of the deadline kept for writing the answer
_LOOK_AGAIN = 0.1  # seconds between two looks at a record that another process works on

_WRONG_SIGNATURE = (
    "The Vello-Signature header is missing or wrong: check that the webhook token and the endpoint URL here are the "
    "ones entered in Vello."
)
_HEADER = SIGNATURE_HEADER.encode()

_log = structlog.get_logger(__name__)


class Answer:
    """A 200 with a JSON object, ready to be sent."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._body = json.dumps(content, separators=(",", ":")).encode()
        length = str(len(self._body)).encode()
        self._headers = [(b"content-type", b"application/json"), (b"content-length", length)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


NOTHING: Final = Answer({})
_NO_LINK: Final = Answer({"metadata": {}})


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one event; every error leaves in the one shape."""
        response: ASGIApp
        try:
            response = await self._answer(scope, await read_body(scope, receive))
        except Problem as error:
            response = problem(error.status_code, error.code, error.detail)
        except InvalidEvent as error:
            _log.warning("event_refused", code=error.code, reason=error.message)
            response = problem(400, error.code, error.message)
        except SignatureInvalid:
            _log.warning("event_refused", code="invalid_signature")
            response = problem(401, "invalid_signature", _WRONG_SIGNATURE)
        except StoreUnavailable as error:
            response = unavailable(error)
        except ClientDisconnect:
            return
        except Exception as error:  # whatever it is, Vello is told in the one shape and the log says what
            response = unexpected(error)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, body: bytes) -> ASGIApp:
        path = scope["path"]
        if scope["method"] != "POST":
            return problem(405, "method_not_allowed", "Events are sent with POST.", {"Allow": "POST"})
        if path == WEBHOOK_PATH:
            return await self._take(self._companies.own, OWN, scope, body)
        realm = path.removeprefix(f"{WEBHOOK_PATH}/").lower()
        company = await self._companies.get(realm)
        if company is None:
            return problem(404, "unknown_company", "No company with this id has been added in settings.")
        return await self._take(company, realm, scope, body)

    async def _take(self, company: Company, realm: str, scope: Scope, body: bytes) -> ASGIApp:
        due = asyncio.get_running_loop().time() + self._deadline - _MARGIN
        verify(body, _signature(scope), company.tokens, company.endpoint_urls)
        event = parse(body)
        record = event.record
        if record is None:
            if event.type == CONNECTION_TEST:
                await self._companies.reached(realm)
            _log.info("event", type=event.type, outcome="no_record")
            return NOTHING
        if realm != OWN and record.company not in (None, realm):
            raise InvalidEvent("wrong_company", "The record belongs to another company than this URL.")
        inline = event.type == UPDATE_METADATA
        accepted = await self._ledger.accept(event, realm, self._hosted_prefix, inline=inline)
        _log.info("event", type=event.type, record=record.id, outcome=accepted.verdict)
        if accepted.verdict == "foreign":
            raise InvalidEvent("wrong_company", "The record belongs to another company than this URL.")
        await self._settings.refresh(accepted.revision)
        await self._settings.choices.saw(record.office)
        if not inline:
            return NOTHING
        if accepted.told:
            return self._again(accepted.told)
        return await self._link(record, accepted, due)

    def _again(self, told: Told) -> Answer:
        url = told.direct or hosted_url(self._public_url, told.token or "")
        return _metadata(url, self._settings.choices.of(told.office))

    async def _link(self, record: Record, accepted: Accepted, due: float) -> Answer:
        entry = await self._settled(record.id, accepted, due)
        choice = self._settings.choices.of(entry.wish.office if entry.wish else record.office)
        capabilities = self._settings.connections.capabilities(choice.connection if choice else None)
        link = link_for(entry, choice, capabilities, self._public_url)
        if link is None:
            return _NO_LINK
        await self._ledger.told(entry, link.url, self._settings.revision, hosted=link.hosted)
        return _metadata(link.url, choice)

    async def _settled(self, record: str, accepted: Accepted, due: float) -> Entry:
        """The entry once nothing is left to do for it, or as it is at the deadline; the work itself goes on."""
        clock = asyncio.get_running_loop().time
        entry = accepted.entry
        assert entry is not None  # noqa: S101 - _take() looked
        tasks = [self._reconciler.start(accepted.lease, accepted.revision)] if accepted.lease else []
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


def _metadata(url: str, choice: Choice | None) -> Answer:
    tag = {"tag": choice.tag} if choice and choice.tag else {}
    return Answer({"metadata": {"video_link": url} | tag})


def _signature(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == _HEADER:
            return str(value, "latin-1")
    return None
