"""`/connect/{provider}`: an admin clicks, agrees at the vendor and comes back to a connected account.

Key: `vm:connect:<hash of state>`, ten minutes: the browser's session and the code verifier; used once.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from providers.base import PermanentError, ProviderError, TemporaryError
from service.changes import Changes
from service.connections import Connection, UnknownConnection
from service.endpoint import Authorization, Client, InvalidGrant, Vendor, lacks
from service.ledger import Ledger
from service.oauth import Broker, Granted
from service.settings import Settings
from service.store import Script, Store
from service.vault import Damaged, UnknownKey, Vault
from service.web.session import Session
from service.web.settings import Frame, Visit
from service.web.words import _, said

STATE_SECONDS: Final = 600
"""Seconds a person has at the vendor."""

_TAKE = Script(
    "local held = redis.call('GET', KEYS[1]) "
    "if held and held ~= 'used' then redis.call('SET', KEYS[1], 'used', 'KEEPTTL') end "
    "return held"
)
_log = structlog.get_logger(__name__)


class Page(Exception):
    """A page that ends a request early: what happened, who can fix it and how."""

    def __init__(self, status: int, heading: str, *texts: str) -> None:
        super().__init__(heading)
        self.status, self.heading, self.texts = status, heading, texts


class Connect:
    """Leads an admin's browser to a vendor and back."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        ledger: Ledger,
        settings: Settings,
        broker: Broker,
        changes: Changes,
        frame: Frame,
    ) -> None:
        self._store = store
        self._vault = vault
        self._ledger = ledger
        self._settings = settings
        self._broker = broker
        self._changes = changes
        self._frame = frame

    def routes(self) -> list[Route]:
        """The page, the click and the way back."""
        return [
            self._frame.get("/connect/{provider}", self._paged(self._show)),
            self._frame.get("/connect/{provider}/start", self._paged(self._start)),
            self._frame.get("/connect/{provider}/callback", self._paged(self._return), stranger=self._stranger),
        ]

    def _paged(
        self, handle: Callable[[Visit, Vendor, Client], Awaitable[Response]]
    ) -> Callable[[Visit], Awaitable[Response]]:
        async def handler(visit: Visit) -> Response:
            name = visit.part("provider")
            vendor = self._broker.vendors.get(name)
            if vendor is None:
                text = _("No provider of this name is connected in a browser. Please check the address.")
                return _page(visit, 404, _("There is nothing to connect here"), text)
            title = vendor.info.title
            if vendor.client is None:
                names = (f"{vendor.prefix}_CLIENT_ID", f"{vendor.prefix}_CLIENT_SECRET")
                text = _(
                    "The operator of this service makes an app in %(title)s's console, then sets %(client_id)s and "
                    "%(client_secret)s.",
                    title=title,
                    client_id=names[0],
                    client_secret=names[1],
                )
                uri = _("The app's redirect URI is %(uri)s", uri=self._broker.redirect_uri(name))
                return _page(visit, 404, _("%(title)s is not set up yet", title=title), text, uri)
            try:
                return await handle(visit, vendor, vendor.client)
            except Page as page:
                again = (f"/connect/{name}", _("Start again"))
                return _page(visit, page.status, page.heading, *page.texts, actions=[again])

        return handler

    async def _show(self, visit: Visit, vendor: Vendor, _client: Client) -> Response:
        title, name = vendor.info.title, vendor.info.name
        if connected := visit.asked("connected"):
            return await self._connected(visit, connected, vendor)
        texts = (
            _(
                "You go to %(title)s, log in with the account that meetings are to be made with, agree, and come back "
                "here.",
                title=title,
            ),
            _("To connect an account again, do the same with that account: its offices and bookings stay as they are."),
        )
        again = self._again(visit, visit.asked("again"))
        owners = {} if again else await self._frame.owners(visit)
        features = {key: said(vendor.oauth.features[key]) for key in await self._offered(vendor, again)}
        actions = []
        for feature, text in (features or {"": _("Continue to %(title)s", title=title)}).items():
            for company, owner in (owners or {"": ""}).items():
                asked = {"feature": feature, "again": again.id if again else "", "company": company}
                query = urlencode({key: value for key, value in asked.items() if value})
                whose = _("%(what)s, for %(company)s", what=text, company=owner) if owner else text
                actions.append((f"/connect/{name}/start{'?' if query else ''}{query}", whose))
        return _page(visit, 200, _("Connect %(title)s", title=title), *texts, actions=actions)

    async def _offered(self, vendor: Vendor, again: Connection | None) -> list[str]:
        """What an account can be connected for, first what the connection was good for that is connected again."""
        best = None
        if again and again.grant:
            best = (await self._broker.allowed(again.grant))[again.grant].best(vendor.oauth)
        return sorted(vendor.oauth.features, key=lambda name: name != best)

    async def _start(self, visit: Visit, vendor: Vendor, client: Client) -> Response:
        # A link, not a form: Chromium holds a form's redirects to form-action. So a page elsewhere could lead here.
        if visit.request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return visit.go(f"/connect/{vendor.info.name}")
        feature = _feature(visit, vendor)
        begun = self._broker.authorization(vendor, client, feature)
        again = self._again(visit, visit.asked("again"))
        company = again.company if again else visit.company(visit.asked("company"))
        await self._remember(begun, visit.session, vendor, feature, again.id if again else None, company)
        return visit.leave(begun.url)

    async def _stranger(self, request: Request) -> Response:
        text = _("Your login here has ended, or you began in another browser. Nothing was connected.")
        again = (f"/connect/{request.path_params['provider']}", _("Start again"))
        return await self._frame.notice(request, 403, _("Please log in and start again"), text, action=again)

    async def _return(self, visit: Visit, vendor: Vendor, client: Client) -> Response:
        title, query = vendor.info.title, visit.request.query_params
        verifier, feature, again, company = await self._begun(visit, vendor)
        if "error" in query:
            raise _declined(title, query["error"])
        if not query.get("code"):
            text = _("Nothing was connected. Please start again.")
            raise Page(400, _("%(title)s sent no code", title=title), text)
        try:
            granted = await self._broker.exchange(vendor, client, query["code"], verifier, feature)
        except InvalidGrant:
            text = _(
                "%(title)s does not accept the code it sent: it is too old or was used. Please start again.",
                title=title,
            )
            raise Page(410, _("This took too long"), text) from None
        except ProviderError as error:
            _log.warning("account_not_connected", provider=vendor.info.name, reason=error.text)
            raise _failed(title, error) from None
        row = await self._adopt(vendor, granted, feature, company, visit.session.person.name)
        other = f"&wanted={again}" if again and again != row.id else ""
        for_what = f"&feature={feature}" if feature else ""
        return visit.go(f"/connect/{vendor.info.name}?connected={row.id}{for_what}{other}")

    def _again(self, visit: Visit, connection: str) -> Connection | None:
        """The connection that is to be connected again."""
        try:
            row = self._settings.connections.get(connection)
        except UnknownConnection:
            return None
        return row if visit.owns(row.company) else None

    async def _remember(
        self,
        begun: Authorization,
        session: Session,
        vendor: Vendor,
        feature: str | None,
        again: str | None,
        company: str | None,
    ) -> None:
        key = _key(begun.state)
        held = {
            "session": session.id,
            "provider": vendor.info.name,
            "feature": feature,
            "again": again,
            "company": company,
            "verifier": self._vault.seal(begun.code_verifier, key),
        }
        await self._store.execute("SET", key, json.dumps(held), "EX", STATE_SECONDS)

    async def _begun(self, visit: Visit, vendor: Vendor) -> tuple[str, str | None, str | None, str | None]:
        """The code verifier of a request that this browser began, once; its feature, what it connects again, whose.

        Raises: Page.
        """
        state = visit.request.query_params.get("state", "")
        if not state:
            text = _("Only %(title)s sends people here, at the end of connecting an account.", title=vendor.info.title)
            raise Page(400, _("Nothing to do here"), text)
        held = await self._store.call(_TAKE, (_key(state),), ())
        if held is None:
            text = _("You have %(minutes)s minutes to agree. Nothing was connected.", minutes=STATE_SECONDS // 60)
            raise Page(410, _("This took too long"), text)
        if held == "used":
            text = _("It works once. If it was you who used it, the account may be connected already.")
            raise Page(409, _("This address was used already"), text)
        begun = json.loads(held)
        if begun["session"] != visit.session.id or begun["provider"] != vendor.info.name:
            text = _("It was begun in another browser or for another provider. Nothing was connected.")
            raise Page(403, _("This is somebody else's request"), text)
        try:
            verifier = self._vault.open(begun["verifier"], _key(state))
        except (UnknownKey, Damaged):
            raise Page(410, _("This took too long"), _("The service's keys were changed meanwhile.")) from None
        return verifier, begun["feature"], begun["again"], begun.get("company", visit.company(""))

    async def _adopt(
        self, vendor: Vendor, granted: Granted, feature: str | None, company: str | None, who: str
    ) -> Connection:
        """Give the grant to its connection, a new one if the account has none, and wake what waited for it."""
        connections = self._settings.connections
        await self._settings.load()
        before = await self._before(vendor, granted, company)
        if before and before.grant and before.grant != granted.grant:
            await self._broker.inherit(granted.grant, before.grant)
        lacking = (await self._broker.allowed(granted.grant))[granted.grant].missing(vendor.oauth, feature)
        row = await connections.adopt(vendor.info.name, granted.grant, granted.account, before, company)
        fields = {"account": (before.account if before else None, row.account)}
        await self._changes.note(who, "connection", row.id, "set" if before else "added", fields)
        await self._ledger.bump_revision()
        await self._settings.load()
        if before and before.grant and before.grant != granted.grant and not connections.holding(before.grant):
            await self._broker.drop(before.grant)
        for each in connections.holding(granted.grant):
            if lacking:
                await connections.mark(each.id, "failing", lacks(vendor, lacking))
            else:
                await connections.mark(each.id, "ready")
            await self._ledger.unpark(each.id)
        _log.info("account_connected", provider=vendor.info.name, connection=row.id, again=before is not None)
        return row

    async def _before(self, vendor: Vendor, granted: Granted, company: str | None) -> Connection | None:
        """The company's connection of the same account, whichever client it was connected with."""
        for row in self._settings.connections.all():
            if row.provider != vendor.info.name or not row.grant or row.company != company:
                continue
            if row.grant == granted.grant or await self._broker.account(row.grant) == granted.account.id:
                return row
        return None

    async def _connected(self, visit: Visit, connection: str, vendor: Vendor) -> Response:
        try:
            row = self._settings.connections.get(connection)
            source = self._broker.source(row, self._settings.connections.settings_of(row))
        except UnknownConnection:
            source = None
        title = vendor.info.title
        if source is None or row.provider != vendor.info.name or not visit.owns(row.company):
            text = _("Somebody removed it. You can connect the account again.")
            raise Page(404, _("This connection is gone"), text)
        allowed = (await self._broker.allowed(source.grant))[source.grant]
        lacking = allowed.missing(vendor.oauth, _feature(visit, vendor))
        texts = [
            _("%(account)s is connected. Choose it for your offices now.", account=row.account),
            said(lacks(vendor, lacking)) if lacking else _("Bookings that waited for this account are taken up now."),
        ]
        wanted = self._again(visit, visit.asked("wanted"))
        if wanted:
            other = _(
                "This is another account than %(account)s, which is not connected again yet. Start again for that one.",
                account=wanted.account,
            )
            texts.insert(0, other)
        points = [
            _("To %(need)s, tick one of: %(scopes)s", need=_(scope.need), scopes=", ".join(scope.any_of))
            for scope in lacking
        ]
        action = ("/offices/default", _("Choose it for all offices"))
        if row.company is not None:
            action = ("/offices", _("Choose it for your offices"))
        return _page(visit, 200, _("%(title)s is connected", title=title), *texts, points=points, actions=[action])


def _page(
    visit: Visit,
    status: int,
    heading: str,
    *texts: str,
    points: Sequence[str] = (),
    actions: Sequence[tuple[str, str]] = (),
) -> Response:
    headers = {"Retry-After": "60"} if status == 503 else {}
    values = {"heading": heading, "texts": texts, "points": points, "actions": actions}
    return visit.show("connect.html", status, headers=headers, **values)


def _feature(visit: Visit, vendor: Vendor) -> str | None:
    """What an account is connected for; the usual thing unless the address names another."""
    asked = visit.asked("feature")
    return asked if asked in vendor.oauth.features else next(iter(vendor.oauth.features), None)


def _declined(title: str, code: str) -> Page:
    if code == "access_denied":
        text = _(
            "Nobody agreed at %(title)s, or an administrator there must allow the app first. Nothing was connected.",
            title=title,
        )
        return Page(403, _("Access was denied"), text)
    word = code if re.fullmatch(r"[a-z_]{1,40}", code) else _("an unknown error")
    text = _(
        "%(title)s answered %(said)s. The operator of this service compares the app in %(title)s's console with the "
        "settings here.",
        title=title,
        said=word,
    )
    return Page(502, _("%(title)s refuses the request", title=title), text)


def _failed(title: str, error: ProviderError) -> Page:
    text = _(error.text)
    if isinstance(error, TemporaryError):
        heading = _("%(title)s cannot be asked at the moment", title=title)
        return Page(503, heading, text, _("Nothing was connected. Try again soon."))
    who = {
        "admin": _("An admin can mend that. Nothing was connected."),
        "operator": _("The operator of this service can mend that. Nothing was connected."),
        "developer": _("The maker of this service can mend that. Nothing was connected."),
    }[error.who_can_fix if isinstance(error, PermanentError) else "operator"]
    return Page(502, _("%(title)s did not give access", title=title), text, who)


def _key(state: str) -> str:
    return f"vm:connect:{hashlib.sha256(state.encode()).hexdigest()[:32]}"
