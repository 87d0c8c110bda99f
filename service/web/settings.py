"""The frame of all settings pages: a session, a form that is ours, fresh settings, and errors as pages."""

import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.companies import Companies
from service.matters import Matter
from service.settings import Settings
from service.store import StoreUnavailable
from service.web import words
from service.web.banner import Banner
from service.web.errors import Problem
from service.web.login import Login
from service.web.pages import Pages
from service.web.session import Session
from service.web.words import _, said

_AWAY = "This service cannot reach its store at the moment. Please try again in a minute."
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of an admin: who it is, and what was sent."""

    request: Request
    session: Session
    pages: Pages = field(repr=False)
    form: FormData = field(default_factory=FormData, repr=False)
    matters: Sequence[Matter] = ()

    @property
    def all_companies(self) -> bool:
        """Whether this admin may see everything here."""
        return self.session.person.companies is None

    def company(self, named: str) -> str | None:
        """The company for which this admin makes something, of several the one that was `named`; None: for all."""
        companies = self.session.person.companies
        if companies is None:
            return None
        return named if named in companies else next(iter(companies), "")

    def demand_all(self) -> None:
        """Raises Problem for an admin of some companies only."""
        if not self.all_companies:
            raise Problem(403, "not_allowed", "Only an admin of all companies can do this.")

    def sees(self, realm: str | None) -> bool:
        """Whether this admin may see what is a company's; the installation's own is called `own`."""
        companies = self.session.person.companies
        return companies is None or (realm or "own") in companies

    def owns(self, company: str | None) -> bool:
        """Whether this admin may see a connection: one that is for all is for admins of everything."""
        companies = self.session.person.companies
        return companies is None or (company is not None and company in companies)

    def stood(self, version: str, status: int) -> tuple[str, str]:
        """The version a form is about and when it was read: as it was sent, unless it was refused for being old (412).

        Else who looks once more at what a change would do, or mends a mistake, would overwrite what came meanwhile.
        """
        if self.text("version") and status != 412:
            return self.text("version"), self.text("read_at")
        return version, str(int(time.time()))

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page for this admin."""
        return self.pages.show(self.request, template, status, session=self.session, matters=self.matters, **values)

    def go(self, path: str) -> Response:
        """On to another page of ours."""
        return self.pages.go(path)

    def leave(self, url: str) -> Response:
        """Away, to an address that one of our parts made."""
        return RedirectResponse(url, 303, self.pages.headers)

    def text(self, name: str) -> str:
        """A field of the form without white space around it, '' when it was not sent."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def asked(self, name: str) -> str:
        """A parameter of the address, '' without one."""
        return self.request.query_params.get(name, "").strip()

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])


Handler = Callable[[Visit], Awaitable[Response]]
_Endpoint = Callable[[Request], Awaitable[Response]]


class Frame:
    """Makes routes of handlers that see nobody but admins."""

    def __init__(self, pages: Pages, login: Login, settings: Settings, companies: Companies, banner: Banner) -> None:
        self._banner = banner
        self._pages = pages
        self._login = login
        self._settings = settings
        self._companies = companies

    def get(self, path: str, handler: Handler, *, stranger: _Endpoint | None = None) -> Route:
        """A page; without a session `stranger` answers, else one is asked to log in."""

        async def endpoint(request: Request) -> Response:
            session = await self._login.sessions.of(request)
            if session is None:
                return await (stranger or self._login.ask)(request)
            return await handler(await self._visit(request, session, FormData()))

        return Route(path, self._answering(endpoint), methods=["GET"])

    def post(self, path: str, handler: Handler) -> Route:
        """What a form does."""

        async def endpoint(request: Request) -> Response:
            if not self._login.sessions.ours(request):
                return self._login.foreign(request)
            session = await self._login.sessions.of(request)
            async with request.form(max_fields=1000, max_files=10, max_part_size=64 * 1024) as form:
                token = str(form.get("form_token", ""))
                # A form of an earlier session is as good as one without: its sender sees it again before it acts.
                if session is None or not hmac.compare_digest(token.encode(), session.form_token.encode()):
                    return await self._login.ask(request, form, logged_in=session is not None)
                return await handler(await self._visit(request, session, form))

        return Route(path, self._answering(endpoint), methods=["POST"])

    async def _visit(self, request: Request, session: Session, form: FormData) -> Visit:
        await self._settings.load()
        matters = await self._banner.matters(session.person.companies)
        return Visit(request, session, self._pages, form, matters)

    async def owners(self, visit: Visit) -> dict[str, str]:
        """The companies of which an admin must name one before something is made, with names; nothing of one or all."""
        mine = visit.session.person.companies or ()
        if len(mine) < 2:
            return {}
        names = await self.companies()
        return {each: names.get(each, each) for each in mine}

    async def companies(self) -> dict[str, str]:
        """The names of all companies by their ids; the installation's own is called `own`."""
        return {"own": _("This installation"), **{each.id: each.name for each in await self._companies.all()}}

    def _answering(self, endpoint: _Endpoint) -> _Endpoint:
        async def answered(request: Request) -> Response:
            await self._pages.speak(request)
            try:
                return await endpoint(request)
            except Problem as problem:
                return await self.error(request, problem.status_code, problem.code, problem.detail)
            except StoreUnavailable as error:
                _log.error("store_unavailable", reason=str(error))
                return await self.error(request, 503, "store_unavailable", _AWAY)

        return answered

    async def error(self, request: Request, status: int, code: str, text: str) -> Response:
        """The page of an error, with the way back."""
        await self._pages.speak(request)
        match status:
            case 404:
                hint = _("It was removed, or the address is not complete.")
                return await self.notice(request, status, _("There is nothing here"), said(text), hint)
            case 405:
                hint = _("Only a button of a page leads here. Go back to that page and press it again.")
                return await self.notice(request, status, _("There is nothing to see here"), hint)
            case 500:
                here = _("What you saved before is still there. Go back and try once more.")
                when = words.when(int(time.time()))
                hint = _("If it happens again, tell the operator of this service that it was at %(when)s.", when=when)
                return await self.notice(request, status, _("Something went wrong here"), here, hint)
            case 503:
                return await self.notice(request, status, _("One moment, please"), said(text))
        return await self.notice(request, status, _("That did not work"), said(text), code=code)

    def go(self, path: str) -> Response:
        """On to another page of ours."""
        return self._pages.go(path)

    async def notice(
        self,
        request: Request,
        status: int,
        heading: str,
        *texts: str,
        action: tuple[str, str] | None = None,
        code: str | None = None,
    ) -> Response:
        """A page that says one thing, where to go on, and where more stands about the `code` of what is wrong."""
        session: Session | None = None
        with suppress(StoreUnavailable):  # then the page does without a menu
            session = await self._login.sessions.of(request) if status != 503 else None
        headers = {"Retry-After": "60"} if status == 503 else None
        return self._pages.show(
            request,
            "notice.html",
            status,
            session=session,
            headers=headers,
            heading=heading,
            texts=texts,
            action=action,
            code=code,
        )
