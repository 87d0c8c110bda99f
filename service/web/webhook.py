"""`POST /webhooks/vello`: verify, parse, accept, and for `record.update_metadata` answer with the link.

Plain ASGI, outside every framework's per-request machinery: this is the hot path.
"""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service.choices import Choice
from service.companies import OWN, Companies, Company
from service.config import WEBHOOK_PATH
from service.deliveries import Deliveries
from service.entry import Entry, foreign_link
from service.found import Found
from service.ledger import Ledger
from service.links import Link, hosted_url, link_for
from service.observer import Observer, Seen
from service.runs import Runs, Tell
from service.settings import Settings
from service.store import StoreUnavailable
from service.turns import Turns
from service.vello import (
    CONNECTION_TEST,
    SIGNATURE_HEADER,
    UPDATE_METADATA,
    InvalidEvent,
    Record,
    SignatureInvalid,
    parse,
    verify,
)
from service.verbs import NOTHING, Accepted, Telling, Told, telling
from service.web.errors import Problem, problem, unavailable, unexpected
from service.web.limits import read_body

_MARGIN = 0.15  # seconds of the deadline kept for writing the answer
_LOOK_AGAIN = 0.1  # seconds between two looks at a record that another process works on
_WRONG_SIGNATURE = (
    "The Vello-Signature header is missing or wrong: check that the webhook token and the endpoint URL here are the "
    "ones entered in Vello."
)
_WRONG_OFFICE = (
    "The record's office belongs to another company than this URL: another company's event named it before. If it "
    "changed hands, an admin of all companies can give it to this one in the settings."
)
_HEADER = SIGNATURE_HEADER.encode()


class Answer:
    """A 200 with a JSON object, ready to be sent."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._body = orjson.dumps(content)
        length = str(len(self._body)).encode()
        self._headers = [(b"content-type", b"application/json"), (b"content-length", length)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


_NOTHING: Final = Answer({})
_NO_LINK: Final = Answer({"metadata": {}})


class Webhook:
    """Takes Vello's events."""

    def __init__(
        self,
        ledger: Ledger,
        runs: Runs,
        settings: Settings,
        companies: Companies,
        public_url: str,
        deadline: float,
        observer: Observer,
        found: Found,
        deliveries: Deliveries,
    ) -> None:
        self._ledger = ledger
        self._found = found
        self._runs = runs
        self._settings = settings
        self._companies = companies
        self._public_url = public_url
        self._hosted_prefix = f"{public_url}/m/"
        self._deadline = deadline
        self._observer = observer
        self._deliveries = deliveries
        self._turns = Turns(finishing=Turns())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one event."""
        began = perf_counter()
        with self._observer.event(scope["headers"]) as seen:
            try:
                response = await self._answered(scope, receive, seen)
            finally:
                seen.took = perf_counter() - began
            if response:  # before anything is written down of it: Vello waits
                await response(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, seen: Seen) -> ASGIApp | None:
        """The answer; every error has the one shape. None when nobody listens any more."""
        try:
            return await self._answer(scope, await read_body(scope, receive), seen)
        except InvalidEvent as error:
            seen.refused(error.code)
            return problem(400, error.code, error.message)
        except Problem as error:
            seen.refused(error.code)
            return problem(error.status_code, error.code, error.detail, error.headers)
        except SignatureInvalid:
            seen.refused("invalid_signature")
            return problem(401, "invalid_signature", _WRONG_SIGNATURE)
        except StoreUnavailable as error:
            seen.outcome = "unavailable"
            return unavailable(error)
        except ClientDisconnect:
            seen.outcome = "disconnected"
            return None
        except Exception as error:  # whatever it is, Vello is told in the one shape and the log says what
            return unexpected(error)

    async def _answer(self, scope: Scope, body: bytes, seen: Seen) -> ASGIApp:
        path = scope["path"]
        if scope["method"] != "POST":
            raise Problem(405, "method_not_allowed", "Events are sent with POST.", {"Allow": "POST"})
        if path == WEBHOOK_PATH:
            return await self._take(self._companies.own, OWN, scope, body, seen)
        realm = path.removeprefix(f"{WEBHOOK_PATH}/").lower()
        company = await self._companies.get(realm)
        if company is None:
            raise Problem(404, "unknown_company", "No company with this id has been added in settings.")
        return await self._take(company, realm, scope, body, seen)

    async def _take(self, company: Company, realm: str, scope: Scope, body: bytes, seen: Seen) -> ASGIApp:
        due = asyncio.get_running_loop().time() + self._deadline - _MARGIN
        seen.realm = realm
        verify(body, _signature(scope), company.tokens, company.endpoint_urls)
        event = parse(body)
        record, seen.type, seen.event = event.record, event.type, event
        if record is None:
            seen.outcome = "no_record"
            if event.type == CONNECTION_TEST:
                await self._companies.reached(realm)
            return _NOTHING
        if realm != OWN and record.company not in (None, realm):
            raise InvalidEvent("wrong_company", "The record belongs to another company than this URL.")
        if not await self._settings.choices.saw(record.office, realm):
            raise InvalidEvent("wrong_company", _WRONG_OFFICE)
        seen.record, inline = record.id, event.type == UPDATE_METADATA
        known = await self._found.known(record, realm)
        accepted = await self._ledger.repeats.answer(record, realm) if inline and known is NOTHING else None
        if accepted:
            return await self._said(record, accepted, realm, due, seen, inline=inline)
        seen.note, seen.foreign = self._deliveries.note(event, realm), foreign_link(record, self._hosted_prefix)
        turn = await self._turns.take() if inline else None
        try:
            foreseen = self._runs.foresee(record, realm, seen.foreign) if inline and known is NOTHING else None
            accepted = await self._ledger.accept(
                event,
                realm,
                self._hosted_prefix,
                inline=inline,
                known=known,
                note=seen.note,
                foreign=seen.foreign,
                foreseen=foreseen,
            )
            if turn and accepted.lease:
                accepted.lease.turn = turn
            elif turn:
                turn.end()
            return await self._said(record, accepted, realm, due, seen, inline=inline)
        finally:
            if turn:
                turn.leave()

    async def _said(
        self, record: Record, accepted: Accepted, realm: str, due: float, seen: Seen, *, inline: bool
    ) -> ASGIApp:
        seen.noted = accepted.verdict if accepted.noted else ""
        if accepted.verdict == "foreign":
            raise InvalidEvent("wrong_company", "The record belongs to another company than this URL.")
        await self._settings.refresh(accepted.revision)
        answer: ASGIApp = _NOTHING
        if accepted.told:
            answer = self._again(accepted.told, realm, seen)
        elif accepted.entry is None:  # the record was erased: not even its id is left, here or in the log
            seen.record, seen.erased, answer = None, True, _NO_LINK if inline else _NOTHING
        elif inline:
            answer = await self._link(record, accepted, due, seen)
        elif accepted.entry.meeting:
            seen.connection = accepted.entry.meeting.connection
        seen.outcome = accepted.verdict
        return answer

    def _again(self, told: Told, realm: str, seen: Seen) -> Answer:
        choice = self._settings.choices.of(told.office, realm)
        return self._metadata(told.direct or hosted_url(self._public_url, told.token or ""), choice, seen)

    async def _link(self, record: Record, accepted: Accepted, due: float, seen: Seen) -> Answer:
        told: tuple[Link, Telling] | None = None

        def tell(entry: Entry) -> Telling | None:
            nonlocal told
            link = self._link_of(entry)
            told = (link, self._telling(entry, link)) if link else None
            return told and told[1]

        entry = await self._settled(record.id, accepted, due, tell)
        choice = self._settings.choice_of(entry)
        if told and told[1].answer and told[1].answer == entry.answer:  # the ledger kept what the run told it
            return self._metadata(told[0].url, choice, seen)
        link = self._link_of(entry)
        if link is None:
            return _NO_LINK
        await self._ledger.told(entry, self._telling(entry, link))
        return self._metadata(link.url, choice, seen)

    def _telling(self, entry: Entry, link: Link) -> Telling:
        return telling(entry, link.url, self._settings.revision, hosted=link.hosted)

    def _link_of(self, entry: Entry) -> Link | None:
        choice = self._settings.choice_of(entry)
        chosen, standing = self._settings.promises(entry, choice)
        return link_for(entry, choice, chosen, self._public_url, standing)

    def _metadata(self, url: str, choice: Choice | None, seen: Seen) -> Answer:
        seen.connection = choice.connection if choice else None
        tag = {"tag": choice.tag} if choice and choice.tag else {}
        return Answer({"metadata": {"video_link": url} | tag})

    async def _settled(self, record: str, accepted: Accepted, due: float, tell: Tell) -> Entry:
        """The entry once nothing is left to do for it, or as it is at the deadline; the work itself goes on."""
        clock = asyncio.get_running_loop().time
        entry = accepted.entry
        assert entry is not None  # noqa: S101 - _take() looked
        tasks = [self._runs.start(accepted.lease, accepted.revision, tell)] if accepted.lease else []
        while (tasks or (entry.unsettled and entry.leased_until >= accepted.now)) and clock() < due:
            tasks = tasks or self._runs.running(record)
            left = None
            if tasks:
                left = await _left_by(tasks[0], due - clock())
            else:
                await asyncio.sleep(min(_LOOK_AGAIN, max(0.0, due - clock())))
            tasks = []
            if left is None:
                found = await self._ledger.get(record)
                left = found[0] if found else entry
            entry = left
        return entry


async def _left_by(run: asyncio.Task[Entry | None], seconds: float) -> Entry | None:
    """The entry as a run leaves it; None when it does not in time, or does not know. As asyncio.wait, for one task."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def end(*_: object) -> None:
        if not over.done():
            over.set_result(None)

    late = loop.call_later(seconds, end)
    run.add_done_callback(end)
    try:
        await over
    finally:
        late.cancel()
        run.remove_done_callback(end)
    return run.result() if run.done() and not run.cancelled() else None


def _signature(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == _HEADER:
            return str(value, "latin-1")
    return None
