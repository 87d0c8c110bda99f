"""Login and logout: with ADMIN_TOKEN, or by the word of an OpenID provider; and the language switch.

Between the click and the way back from the provider, what must be remembered is in a sealed cookie. Another one names
the browser that sent a form without a session: only there it is shown again, for its sender alone knows what is in it.
"""

import hmac
import json
import re
import secrets
import time
from typing import Final

import structlog
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from providers.base import ProviderError, TemporaryError
from service.oidc import NotAllowed, Oidc
from service.store import StoreUnavailable
from service.vault import Damaged, UnknownKey, Vault
from service.web import words
from service.web.kept import LIFE, Kept
from service.web.pages import LANGUAGE_COOKIE, Pages
from service.web.session import WAIT, Attempts, Person, Session, Sessions
from service.web.words import _

HOLDER: Final = "ADMIN_TOKEN"
"""The name of whoever logs in with the token."""
AWAY_SECONDS: Final = 600
"""Seconds a person has at the OpenID provider."""

_INSIDE = re.compile(r"/(?!/)[A-Za-z0-9/_.~?=&%+-]{0,500}")
_PURPOSE = "login"

_log = structlog.get_logger(__name__)


class Login:
    """Lets admins in and out."""

    def __init__(
        self, sessions: Sessions, attempts: Attempts, kept: Kept, vault: Vault, pages: Pages, oidc: Oidc | None
    ) -> None:
        self.sessions = sessions
        self._attempts = attempts
        self._kept = kept
        self._vault = vault
        self._pages = pages
        self._oidc = oidc
        self._cookie = sessions.cookie_name("vello_meetings_login")
        self._browser = sessions.cookie_name("vello_meetings_browser")

    def routes(self) -> list[Route]:
        """In, out, and the language."""
        return [
            Route("/login", self._show, methods=["GET"]),
            Route("/login", self._enter, methods=["POST"]),
            Route("/login/oidc", self._leave, methods=["GET"]),
            Route("/login/oidc/callback", self._return, methods=["GET"]),
            Route("/login/kept/{name}", self._give_back, methods=["GET"]),
            Route("/logout", self._out, methods=["POST"]),
            Route("/language", self._language, methods=["POST"]),
        ]

    async def ask(self, request: Request, form: FormData | None = None, *, logged_in: bool = False) -> Response:
        """The answer to a request without a living session: log in, and go on where it was; nothing typed is lost."""
        if "hx-request" in request.headers:  # a form that is being filled in stays as it is until it is sent
            if form is not None:
                return Response(None, 204, self._pages.headers)
            return Response(None, 200, {**self._pages.headers, "HX-Redirect": f"{self._pages.root}/login"})
        if form is None:
            query = f"?{request.url.query}" if request.url.query else ""
            there = inside(request.url.path + query)
            return self._pages.go("/login" if there == "/" else f"/login?next={_quoted(there)}")
        fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        browser = request.cookies.get(self._browser) or secrets.token_urlsafe(24)
        name = await self._kept.put(browser, request.url.path, fields)
        if name is None:
            text = _("Your login has ended. What you typed is still in your browser: go back, and copy it.")
            return self._page(request, "/", 401, text)
        there = f"/login/kept/{name}"
        text = _("Your login has ended. Log in again; nothing you typed is lost.")
        response = self._pages.go(there) if logged_in else self._page(request, there, 401, text)
        self._remember(response, self._browser, browser, LIFE)
        return response

    async def _show(self, request: Request) -> Response:
        await self._pages.speak(request)
        there = inside(request.query_params.get("next", "/"))
        try:
            if await self.sessions.of(request) is not None:
                return self._pages.go(there)
        except StoreUnavailable as error:
            return self._away(request, error)
        return self._page(request, there)

    async def _enter(self, request: Request) -> Response:
        await self._pages.speak(request)
        if not self.sessions.ours(request):
            return self.foreign(request)
        form = await request.form(max_fields=20, max_files=0)
        there = inside(str(form.get("next", "/")))
        try:
            right = await self._attempts.opens(request, str(form.get("admin_token", "")))
            if right is None:
                text = _("Too many wrong tokens came from your address. Try again in %(minutes)s minutes.")
                return self._page(request, there, 429, text % {"minutes": WAIT // 60})
            if not right:
                _log.warning("login_refused", with_="token")
                text = _("That is not the ADMIN_TOKEN of this installation. Its operator knows it.")
                return self._page(request, there, 403, text)
            return await self._welcome(request, Person(HOLDER), there)
        except StoreUnavailable as error:
            return self._away(request, error)

    async def _welcome(self, request: Request, person: Person, there: str) -> Response:
        response = self._pages.go(there)
        await self.sessions.begin(request, response, person)
        _log.info("login", by="token" if person.name == HOLDER else "oidc")
        return response

    async def _leave(self, request: Request) -> Response:
        """A link, not a form: Chromium holds a form's redirects to form-action."""
        await self._pages.speak(request)
        there = inside(request.query_params.get("next", "/"))
        if self._oidc is None:
            return self._pages.go("/login")
        try:
            begun = await self._oidc.begin()
        except ProviderError as error:
            return self._refused(request, error, there)
        kept = json.dumps([begun.state, begun.nonce, begun.code_verifier, there, int(time.time())])
        response = self._pages.go("/")
        response.headers["location"] = begun.url
        self._remember(response, self._cookie, self._vault.seal(kept, _PURPOSE), AWAY_SECONDS)
        return response

    async def _return(self, request: Request) -> Response:
        await self._pages.speak(request)
        query = request.query_params
        remembered = self._remembered(request)
        if self._oidc is None or remembered is None:
            text = _("This took too long, or it was begun in another browser. Please log in again.")
            return self._page(request, "/", 403, text)
        state, nonce, verifier, there = remembered
        if not hmac.compare_digest(state.encode(), query.get("state", "").encode()):
            return self._page(request, there, 403, _("This is somebody else's login. Please log in again."))
        if not query.get("code"):
            return self._page(request, there, 403, _("The login provider let nobody in. Please try again."))
        try:
            identity = await self._oidc.finish(query["code"], verifier, nonce)
            response = await self._welcome(request, Person(identity.name, identity.companies), there)
        except NotAllowed as error:
            _log.warning("login_refused", with_="oidc")
            text = _("%(who)s may not use these settings. The operator adds such people to OIDC_ALLOWED.")
            response = self._page(request, there, 403, text % {"who": error})
        except ProviderError as error:
            response = self._refused(request, error, there)
        except StoreUnavailable as error:
            return self._away(request, error)
        response.delete_cookie(self._cookie, path="/", secure=self.sessions.secure, httponly=True, samesite="lax")
        return response

    def _remembered(self, request: Request) -> tuple[str, str, str, str] | None:
        try:
            kept = json.loads(self._vault.open(request.cookies.get(self._cookie, ""), _PURPOSE))
        except (UnknownKey, Damaged):
            return None
        state, nonce, verifier, there, at = kept
        return (state, nonce, verifier, there) if at + AWAY_SECONDS > time.time() else None

    async def _give_back(self, request: Request) -> Response:
        """What was typed, one click from where it was to go."""
        await self._pages.speak(request)
        try:
            session = await self.sessions.of(request)
            if session is None:
                return await self.ask(request)
            form = await self._kept.get(request.cookies.get(self._browser, ""), request.path_params["name"])
        except StoreUnavailable as error:
            return self._away(request, error)
        if form is None:
            text = _("What you typed was kept for a quarter of an hour, which is over. Please type it again.")
            return self._notice(request, _("This is gone"), text, 404, session)
        return self._pages.show(request, "kept.html", session=session, form=form)

    async def _out(self, request: Request) -> Response:
        await self._pages.speak(request)
        if not self.sessions.ours(request):
            return self.foreign(request)
        form = await request.form(max_fields=20, max_files=0)
        response = self._pages.go("/login")
        try:
            await self.sessions.end(request, response, everywhere="everywhere" in form)
        except StoreUnavailable as error:
            return self._away(request, error)
        return response

    async def _language(self, request: Request) -> Response:
        await self._pages.speak(request)
        if not self.sessions.ours(request):
            return self.foreign(request)
        form = await request.form(max_fields=20, max_files=0)
        response = self._pages.go(inside(str(form.get("next", "/"))))
        chosen = str(form.get("language", ""))
        if chosen in words.LANGUAGES:
            self._remember(response, LANGUAGE_COOKIE, chosen, 31536000)
        return response

    def _remember(self, response: Response, cookie: str, value: str, seconds: int) -> None:
        response.set_cookie(
            cookie, value, max_age=seconds, path="/", secure=self.sessions.secure, httponly=True, samesite="lax"
        )

    def foreign(self, request: Request) -> Response:
        """The answer to a form that another site sent."""
        text = _("This form came from elsewhere. Nothing was done. Open the page again and send it from there.")
        return self._notice(request, _("Nothing was done"), text, 403, None)

    def _notice(self, request: Request, heading: str, text: str, status: int, session: Session | None) -> Response:
        return self._pages.show(
            request, "notice.html", status, session=session, heading=heading, texts=[text], action=None
        )

    def _away(self, request: Request, error: StoreUnavailable) -> Response:
        _log.error("store_unavailable", reason=str(error))
        text = _("This service cannot reach its store at the moment. Please try again in a minute.")
        response = self._notice(request, _("One moment, please"), text, 503, None)
        response.headers["Retry-After"] = "60"
        return response

    def _refused(self, request: Request, error: ProviderError, there: str) -> Response:
        _log.warning("login_provider_failed", reason=error.text)
        return self._page(request, there, 503 if isinstance(error, TemporaryError) else 502, _(error.text))

    def _page(self, request: Request, there: str, status: int = 200, problem: str | None = None) -> Response:
        oidc = f"{self._pages.root}/login/oidc?next={_quoted(there)}" if self._oidc else None
        response = self._pages.show(request, "login.html", status, there=there, problem=problem, oidc=oidc)
        if status in (429, 503):
            response.headers["Retry-After"] = str(WAIT if status == 429 else 60)
        return response


def inside(path: str) -> str:
    """A path of ours, or the first page: nobody is led elsewhere."""
    return path if _INSIDE.fullmatch(path) else "/"


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3F").replace("&", "%26").replace("=", "%3D").replace("+", "%2B")
