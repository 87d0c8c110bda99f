"""`/connect/{provider}`: an admin logs in, clicks, agrees at the vendor and comes back to a connected account.

Key: `vm:connect:<hash of state>`, ten minutes: the browser's session and the code verifier; used once.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import parse_qs, urlsplit

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from providers.base import PermanentError, ProviderError, Scope, TemporaryError
from service.connections import Connection, UnknownConnection
from service.endpoint import Authorization, Client, InvalidGrant, Vendor, lacks, missing
from service.ledger import Ledger
from service.oauth import Broker, Granted
from service.settings import Settings
from service.store import Script, Store, StoreUnavailable
from service.vault import Damaged, UnknownKey, Vault
from service.web.join import HEADERS
from service.web.session import WAIT, Login

STATE_SECONDS: Final = 600
"""Seconds a person has at the vendor."""

_TAKE = Script(
    "local held = redis.call('GET', KEYS[1]) "
    "if held and held ~= 'used' then redis.call('SET', KEYS[1], 'used', 'KEEPTTL') end "
    "return held"
)
_WHO = {"operator": "The operator of this service", "admin": "An admin", "developer": "The maker of this service"}

_log = structlog.get_logger(__name__)


class Page(Exception):
    """A page that ends a request early: what happened, who can fix it and how."""

    def __init__(self, status: int, heading: str, *texts: str, again: bool = True, login: bool = False) -> None:
        super().__init__(heading)
        self.status, self.heading, self.texts, self.again, self.login = status, heading, texts, again, login


class Connect:
    """Leads an admin's browser to a vendor and back."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        ledger: Ledger,
        settings: Settings,
        broker: Broker,
        login: Login,
        public_url: str,
    ) -> None:
        self._store = store
        self._vault = vault
        self._ledger = ledger
        self._settings = settings
        self._broker = broker
        self._logins = login
        self._public_url = public_url
        self._root = urlsplit(public_url).path
        pages = Environment(
            loader=PackageLoader("service.web"), autoescape=select_autoescape(), undefined=StrictUndefined
        )
        self._template = pages.get_template("connect.html")

    def routes(self) -> list[Route]:
        """The page, its login, the click and the way back."""
        return [
            Route("/connect/{provider}", self._paged(self._show), methods=["GET"]),
            Route("/connect/{provider}", self._paged(self._login), methods=["POST"]),
            Route("/connect/{provider}/start", self._paged(self._start), methods=["GET"]),
            Route("/connect/{provider}/callback", self._paged(self._return), methods=["GET"]),
        ]

    def _paged(
        self, handle: Callable[[Request, Vendor, Client], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            name = request.path_params["provider"]
            vendor = self._broker.vendors.get(name)
            if vendor is None:
                text = "No provider of this name is connected in a browser. Please check the address."
                return self._page("", 404, "There is nothing to connect here", text)
            title = vendor.info.title
            if vendor.client is None:
                variables = f"{vendor.prefix}_CLIENT_ID and {vendor.prefix}_CLIENT_SECRET"
                text = f"The operator of this service makes an app in {title}'s console, then sets {variables}."
                uri = f"The app's redirect URI is {self._broker.redirect_uri(name)}"
                return self._page(name, 404, f"{title} is not set up yet", text, uri)
            try:
                return await handle(request, vendor, vendor.client)
            except Page as page:
                again = [(f"{self._public_url}/connect/{name}", "Start again")] if page.again else []
                return self._page(name, page.status, page.heading, *page.texts, actions=again, login=page.login)
            except StoreUnavailable as error:
                _log.error("store_unavailable", reason=str(error))
                text = "This service cannot reach its store at the moment. Please try again in a minute."
                return self._page(name, 503, "One moment, please", text)

        return endpoint

    async def _show(self, request: Request, vendor: Vendor, _: Client) -> Response:
        title, name = vendor.info.title, vendor.info.name
        if await self._logins.sessions.of(request) is None:
            text = "Log in with the ADMIN_TOKEN of this installation."
            return self._page(name, 200, f"Connect {title}", text, login=True)
        if "connected" in request.query_params:
            return await self._connected(request.query_params["connected"], vendor, _feature(request, vendor))
        texts = (
            f"You go to {title}, log in with the account that meetings are to be made with, agree, and come back here.",
            "To connect an account again, do the same with that account: its offices and bookings stay as they are.",
        )
        start = f"{self._root}/connect/{name}/start"
        actions = [(f"{start}?feature={feature}", said) for feature, said in vendor.oauth.features.items()]
        return self._page(name, 200, f"Connect {title}", *texts, actions=actions or [(start, f"Continue to {title}")])

    async def _login(self, request: Request, vendor: Vendor, _: Client) -> Response:
        if not self._logins.sessions.ours(request):
            raise Page(403, "This form came from elsewhere", "Nothing was done. Open the page again and log in there.")
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        right = await self._logins.opens(request, fields.get("admin_token", [""])[0])
        if right is None:
            text = f"Too many wrong tokens came from your address. Try again in {WAIT // 60} minutes."
            raise Page(429, "Please wait", text, again=False)
        if not right:
            text = "That is not the ADMIN_TOKEN of this installation. Its operator knows it."
            raise Page(403, "The token is wrong", text, login=True)
        response = RedirectResponse(f"{self._root}/connect/{vendor.info.name}", 303, HEADERS)
        await self._logins.sessions.begin(response)
        return response

    async def _start(self, request: Request, vendor: Vendor, client: Client) -> Response:
        session = await self._logins.sessions.of(request)
        # A link, not a form: Chromium holds a form's redirects to form-action. So a page elsewhere could lead here.
        if session is None or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return RedirectResponse(f"{self._root}/connect/{vendor.info.name}", 303, HEADERS)
        feature = _feature(request, vendor)
        begun = self._broker.authorization(vendor, client, feature)
        await self._remember(begun, session, vendor, feature)
        return RedirectResponse(begun.url, 303, HEADERS)

    async def _return(self, request: Request, vendor: Vendor, client: Client) -> Response:
        title, query = vendor.info.title, request.query_params
        verifier, feature = await self._begun(request, vendor)
        if "error" in query:
            raise _declined(title, query["error"])
        if not query.get("code"):
            raise Page(400, f"{title} sent no code", "Nothing was connected. Please start again.")
        try:
            granted = await self._broker.exchange(vendor, client, query["code"], verifier, feature)
        except InvalidGrant:
            text = f"{title} does not accept the code it sent: it is too old or was used. Please start again."
            raise Page(410, "This took too long", text) from None
        except ProviderError as error:
            _log.warning("account_not_connected", provider=vendor.info.name, reason=error.text)
            raise _failed(title, error) from None
        row = await self._adopt(vendor, granted)
        shown = f"{self._root}/connect/{vendor.info.name}?connected={row.id}"
        return RedirectResponse(f"{shown}&feature={feature}" if feature else shown, 303, HEADERS)

    async def _remember(self, begun: Authorization, session: str, vendor: Vendor, feature: str | None) -> None:
        key = _key(begun.state)
        held = {
            "session": session,
            "provider": vendor.info.name,
            "feature": feature,
            "verifier": self._vault.seal(begun.code_verifier, key),
        }
        await self._store.execute("SET", key, json.dumps(held), "EX", STATE_SECONDS)

    async def _begun(self, request: Request, vendor: Vendor) -> tuple[str, str | None]:
        """The code verifier and the feature of a request that this browser began, once. Raises Page."""
        state = request.query_params.get("state", "")
        if not state:
            text = f"Only {vendor.info.title} sends people here, at the end of connecting an account."
            raise Page(400, "Nothing to do here", text)
        session = await self._logins.sessions.of(request)
        if session is None:
            text = "Your login here has ended, or you began in another browser. Nothing was connected."
            raise Page(403, "Please log in and start again", text)
        held = await self._store.call(_TAKE, (_key(state),), ())
        if held is None:
            minutes = STATE_SECONDS // 60
            raise Page(410, "This took too long", f"You have {minutes} minutes to agree. Nothing was connected.")
        if held == "used":
            text = "It works once. If it was you who used it, the account may be connected already."
            raise Page(409, "This address was used already", text)
        begun = json.loads(held)
        if begun["session"] != session or begun["provider"] != vendor.info.name:
            text = "It was begun in another browser or for another provider. Nothing was connected."
            raise Page(403, "This is somebody else's request", text)
        try:
            return self._vault.open(begun["verifier"], _key(state)), begun["feature"]
        except (UnknownKey, Damaged):
            raise Page(410, "This took too long", "The service's keys were changed meanwhile.") from None

    async def _adopt(self, vendor: Vendor, granted: Granted) -> Connection:
        """Give the grant to its connection, a new one if the account has none, and wake what waited for it."""
        connections = self._settings.connections
        await self._settings.load()
        before = await self._before(vendor, granted)
        row = await connections.adopt(vendor.info.name, granted.grant, granted.account, before)
        await self._ledger.bump_revision()
        await self._settings.load()
        if before and before.grant and before.grant != granted.grant and not connections.holding(before.grant):
            await self._broker.drop(before.grant)
        for each in connections.holding(granted.grant):
            if granted.missing:
                await connections.mark(each.id, "failing", lacks(vendor, granted.missing))
            else:
                await connections.mark(each.id, "ready")
            await self._ledger.unpark(each.id)
        _log.info("account_connected", provider=vendor.info.name, connection=row.id, again=before is not None)
        return row

    async def _before(self, vendor: Vendor, granted: Granted) -> Connection | None:
        """The connection of the same account, whichever client it was connected with."""
        for row in self._settings.connections.all():
            if row.provider != vendor.info.name or not row.grant:
                continue
            if row.grant == granted.grant or await self._broker.account(row.grant) == granted.account.id:
                return row
        return None

    async def _connected(self, connection: str, vendor: Vendor, feature: str | None) -> Response:
        await self._settings.load()
        try:
            row = self._settings.connections.get(connection)
            source = self._broker.source(row, self._settings.connections.settings_of(row))
        except UnknownConnection:
            source = None
        title, name = vendor.info.title, vendor.info.name
        if source is None or row.provider != name:
            raise Page(404, "This connection is gone", "Somebody removed it. You can connect the account again.")
        granted = (await self._broker.scopes([source]))[source.grant]
        lacking = missing(vendor.oauth, granted, feature) if granted else ()
        texts = [f"{row.account} is connected. Its id is {row.id}: choose it for offices in the settings."]
        if lacking:
            texts.append(lacks(vendor, lacking))
        else:
            texts.append("Bookings that waited for this account are taken up now.")
        return self._page(name, 200, f"{title} is connected", *texts, points=[_tick(scope) for scope in lacking])

    def _page(
        self,
        provider: str,
        status: int,
        heading: str,
        *texts: str,
        points: list[str] | None = None,
        actions: Sequence[tuple[str, str]] = (),
        login: bool = False,
    ) -> Response:
        body = self._template.render(
            root=self._root,
            provider=provider,
            heading=heading,
            texts=texts,
            points=points or [],
            actions=actions,
            login=login,
        )
        headers = {**HEADERS, "Retry-After": "60"} if status in (429, 503) else HEADERS
        return Response(body, status, headers, media_type="text/html")


def _feature(request: Request, vendor: Vendor) -> str | None:
    """What an account is connected for; the usual thing unless the address names another."""
    asked = request.query_params.get("feature", "")
    return asked if asked in vendor.oauth.features else next(iter(vendor.oauth.features), None)


def _declined(title: str, code: str) -> Page:
    if code == "access_denied":
        text = f"Nobody agreed at {title}, or an administrator there must allow the app first. Nothing was connected."
        return Page(403, "Access was denied", text)
    said = code if re.fullmatch(r"[a-z_]{1,40}", code) else "an unknown error"
    text = f"{title} answered {said}. The operator of this service compares the app in {title}'s console with the"
    return Page(502, f"{title} refuses the request", f"{text} settings here.")


def _failed(title: str, error: ProviderError) -> Page:
    if isinstance(error, TemporaryError):
        return Page(503, f"{title} cannot be asked at the moment", error.text, "Nothing was connected. Try again soon.")
    who = _WHO[error.who_can_fix] if isinstance(error, PermanentError) else _WHO["operator"]
    return Page(502, f"{title} did not give access", error.text, f"{who} can mend that. Nothing was connected.")


def _tick(scope: Scope) -> str:
    return f"To {scope.need}, tick one of: {', '.join(scope.any_of)}"


def _key(state: str) -> str:
    return f"vm:connect:{hashlib.sha256(state.encode()).hexdigest()[:32]}"
