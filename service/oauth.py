"""Accounts connected by OAuth, with every provider alike: exchange, one renewal at a time, revoke.

Laws of a renewal, since most vendors give each refresh token out once:

- One process renews a grant at a time; everybody else waits for it and reads what it wrote.
- What the vendor answered is stored before anybody uses it, and a renewal is never stopped half-way.
- A refresh token is marked as sent before it leaves. If nobody knows what became of it, because the answer was lost or
  the process died, it is never sent again: a vendor that sees one twice may end all that came of it. Only where the
  vendor refused without touching it (429, 500, 503, a wrong client), or where nothing left this process, it is.
- A vendor that does not rotate refresh tokens is simply asked again.
- Only a refusal of the tokens that are still stored, or such a loss, makes a grant dead. Its access token is used until
  it ends or is refused.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import structlog

from providers.base import (
    Account,
    Authorizer,
    Delegation,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ProviderSettings,
    ReconnectRequired,
    TemporaryError,
    for_everybody,
)
from service.connections import Connection
from service.endpoint import (
    Authorization,
    Client,
    InvalidGrant,
    Tokens,
    Vendor,
    authorization,
    exchanged,
    refreshed,
    requested,
    revoked,
)
from service.grants import KEPT, Allowed, Grant, Grants, Source, Trouble, grant_id, own_id
from service.observer import Observer
from service.store import StoreUnavailable
from service.vault import Damaged, UnknownKey

PATIENCE: Final = 20.0
"""Seconds a caller waits for a renewal that another process makes."""
LOCK_SECONDS: Final = 30.0
"""Seconds after which a process that died in a renewal is given up: longer than a call may take."""
EARLY: Final = 60.0
"""Seconds before its end at which a token is renewed, a tenth of its life if that is less."""
IDLE: Final = 6.5 * 86_400
"""Seconds after which an unused grant is renewed, half a day more or less, so that none is forgotten by its vendor."""

_PERSIST = 120.0  # seconds in which new tokens are brought into a store that cannot be reached
_PAUSE = 0.5
_MARGIN = 5.0  # seconds for which a token must still be good to be used at all
_ROUNDS = 3

_Answer = TypeVar("_Answer")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Granted:
    """What came of a code: whose account it is, and the grant."""

    grant: str
    account: Account


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The authorizer of one connection."""

    broker: "Broker"
    source: Source

    async def token(self, refused: str | None = None) -> str:
        return await self.broker.token(self.source, refused)

    def on_behalf_of(self, delegation: Delegation) -> Authorizer:
        return replace(self, source=self.source.on_behalf_of(delegation))


@dataclass(frozen=True, slots=True)
class _Fresh:
    """The authorizer of an account that is just being connected."""

    title: str
    access_token: str = field(repr=False)

    async def token(self, refused: str | None = None) -> str:
        if refused:
            raise PermanentError(f"{self.title} refuses the access it has just given.", "operator")
        return self.access_token

    def on_behalf_of(self, delegation: Delegation) -> Authorizer:
        return self


class Broker:
    """Speaks OAuth with all vendors, and gives each connection its access tokens."""

    def __init__(
        self,
        grants: Grants,
        vendors: Mapping[str, Vendor],
        public_url: str,
        observer: Observer | None = None,
        *,
        lock_seconds: float = LOCK_SECONDS,
        patience: float = PATIENCE,
    ) -> None:
        self.vendors = vendors
        self._grants = grants
        self._public_url = public_url
        self._observer = observer or Observer()
        self._lock_seconds = lock_seconds
        self._patience = patience
        self._renewals: dict[tuple[str, int], asyncio.Task[None]] = {}

    def redirect_uri(self, provider: str) -> str:
        """Where a vendor sends browsers back to; it must be entered there exactly so."""
        return f"{self._public_url}/connect/{provider}/callback"

    def authorization(self, vendor: Vendor, client: Client, feature: str | None = None) -> Authorization:
        """A new authorization request."""
        return authorization(vendor, client, self.redirect_uri(vendor.info.name), feature)

    async def exchange(
        self, vendor: Vendor, client: Client, code: str, code_verifier: str, feature: str | None = None
    ) -> Granted:
        """Turn a code into a grant that is stored, and find out whose account it is.

        Raises: InvalidGrant for a code that is used up or too old, TemporaryError, PermanentError.
        """
        redirect_uri = self.redirect_uri(vendor.info.name)
        try:
            tokens, told = await exchanged(vendor, client, code, code_verifier, redirect_uri)
        except OutcomeUnknown as error:
            raise TemporaryError(error.text) from None
        http = vendor.http.at(vendor.http.base_url, authorizer=_Fresh(vendor.info.title, tokens.access_token))
        account = await vendor.oauth.identify(http, {**told, "feature": feature} if feature else told)
        name, nonce = vendor.info.name, secrets.token_hex(8)
        grant = grant_id(name, client.client_id, account.id)
        await self._kept(lambda: self._grants.put(grant, tokens, name, client.client_id, account.id, nonce))
        return Granted(grant, account)

    def source(self, row: Connection, settings: ProviderSettings) -> Source | None:
        """Where a connection's tokens come from, None if its provider knows no OAuth."""
        vendor = self.vendors.get(row.provider)
        if vendor is None:
            return None
        if settings.token_request() is None:
            return Source(vendor, row.grant or "", vendor.client)
        given = settings.reveal()
        client = Client(given["client_id"], given["client_secret"]) if "client_secret" in given else None
        return Source(vendor, own_id(row.provider, row.id, row.envelope), client, settings)

    def authorizer(self, source: Source) -> Authorizer:
        """What gives an HTTP client the tokens of a connection."""
        return _Tokens(self, source)

    async def token(self, source: Source, refused: str | None = None) -> str:
        """An access token that is good now and is not `refused`.

        Raises: TemporaryError, ReconnectRequired, PermanentError, StoreUnavailable.
        """
        for _ in range(_ROUNDS):
            grant = await self._usable(source)
            held = self._held(grant, source) if grant.envelope else refused
            good = grant.good_for if held != refused else 0.0
            if held and good > (_MARGIN if grant.dead else _early(grant)):
                return held
            if grant.dead:
                raise ReconnectRequired(grant.dead)
            try:
                await self._renew(source, grant.version)
            except TemporaryError:
                if held and good > _MARGIN:  # it was only early
                    return held
                raise
        raise TemporaryError(f"{source.vendor.info.title} gives out tokens that are of no use when they arrive.")

    async def renew(self, source: Source, version: int) -> None:
        """Renew a grant that is still at `version`, although its token may be good. Raises what `token` raises."""
        await self._usable(source)
        await self._renew(source, version)
        if dead := (await self._usable(source)).dead:
            raise ReconnectRequired(dead)

    async def look(self, source: Source) -> Grant:
        """What a connection's tokens come from, as it is now."""
        return await self._grants.look(source.grant)

    async def account(self, grant: str) -> str:
        """The vendor's own id of a grant's account, '' if the grant is gone."""
        return (await self._grants.look(grant)).account

    async def drop(self, grant: str) -> None:
        """Forget a grant that is of no use any more."""
        await self._grants.remove(grant)

    async def left(self, grant: str, at: float) -> bool:
        """Forget a grant that its account took back `at`; False when it was connected since."""
        return await self._grants.leave(grant, at)

    async def inherit(self, grant: str, former: str) -> None:
        """Expect of a grant what a `former` one of the same account allowed."""
        await self._grants.inherit(grant, former)

    async def allowed(self, *grants: str) -> dict[str, Allowed]:
        """What each grant allows, by its id."""
        return await self._grants.allowed(grants)

    async def forget(self, source: Source) -> None:
        """Revoke a grant at its vendor and forget it here; a vendor that cannot be reached does not hinder that."""
        if source.client and source.own is None:
            try:
                access_token = await self.token(source)
                _, refresh_token = self._opened(await self._grants.look(source.grant), source)
                both = [token for token in (refresh_token, access_token) if token]  # vendors differ in which one counts
                outcome = f"answered {await revoked(source.vendor, source.client, both)}"
            except ProviderError as error:
                outcome = error.text
            _log.info("grant_revoked", provider=source.vendor.info.name, outcome=outcome)
        await self._grants.remove(source.grant)

    async def drain(self, seconds: float) -> None:
        """Wait for renewals that are under way: one that is stopped half-way would cost its grant."""
        if self._renewals:
            await asyncio.wait(list(self._renewals.values()), timeout=seconds)

    async def _usable(self, source: Source) -> Grant:
        """The grant as it is now, which may be dead, unless it is none of this client's."""
        grant, title = await self._grants.look(source.grant), source.vendor.info.title
        if source.own is not None:
            return grant
        if source.client is None:
            raise PermanentError(f"{title} is not set up: its client id and secret are missing.", "operator")
        if not grant.version:
            raise ReconnectRequired(f"No {title} account is connected here any more. {self.cure(source.vendor)}")
        if grant.client_id != source.client.client_id:
            raise ReconnectRequired(
                f"This account was connected with another app of {title}. {self.cure(source.vendor)}"
            )
        return grant

    async def _renew(self, source: Source, version: int) -> None:
        """Come back when `version` is no longer the newest; all callers of one process wait for one task."""
        name = (source.grant, version)
        task = self._renewals.get(name)
        if task is None:
            task = asyncio.create_task(self._renewed(source, version), name=f"renew {source.grant}")
            self._renewals[name] = task
            task.add_done_callback(lambda done: (self._renewals.pop(name, None), done.cancelled() or done.exception()))
        await asyncio.shield(task)

    async def _renewed(self, source: Source, version: int) -> None:
        for_everybody()  # others wait for this task too, and the lock has a fence of its own
        loop = asyncio.get_running_loop()
        owner, end = secrets.token_hex(8), loop.time() + self._patience
        while True:
            # The lock marks the token as sent: whoever did not hear that he has it must come back for it.
            grant = await self._kept(lambda: self._grants.lock(source.grant, owner, version, self._lock_seconds))
            if grant.version != version or grant.dead:
                return
            if grant.fence:
                await self._ask(source, grant)
                return
            if grant.held_for and grant.trouble:
                raise _error(grant.trouble, grant.held_for)
            if loop.time() > end:
                text = f"{source.vendor.info.title}'s access token is being renewed by a process that does not answer."
                raise TemporaryError(text, 5.0)
            await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311 (jitter is no secret)

    async def _ask(self, source: Source, grant: Grant) -> None:
        """Ask the vendor for new tokens, with the lock held, and store what came of it."""
        vendor, outcome = source.vendor, "ok"
        try:
            tokens = await self._asked(source, grant)
        except InvalidGrant:
            outcome = "invalid_grant"
            await self._bury(source, grant, lost=False)
        except OutcomeUnknown as error:
            outcome = "unknown"
            if source.once:
                await self._bury(source, grant, lost=True)
                return
            raise await self._put_off(grant, TemporaryError(error.text), known=False) from None
        except ProviderError as error:
            outcome = type(error).__name__
            raise await self._put_off(grant, error, known=True) from None
        else:
            kept, name = KEPT if source.own is None else tokens.life, vendor.info.name
            if not await self._kept(lambda: self._grants.renewed(grant.id, grant.version, tokens, name, kept=kept)):
                outcome = "late"
        finally:
            self._observer.refresh(vendor.info.name, outcome)

    async def _asked(self, source: Source, grant: Grant) -> Tokens:
        vendor, client = source.vendor, source.client
        if source.own is not None:
            return await requested(vendor, client, source.own.token_request(source.delegation) or {})
        if client is None:
            text = f"{vendor.info.title} is not set up: its client id and secret are missing."
            raise PermanentError(text, "operator")
        if source.once and grant.tries > 1:  # before anything can fail, which would say that nothing was sent
            raise OutcomeUnknown("A process that asked before died before it knew the answer.")
        _, refresh_token = self._opened(grant, source)
        if refresh_token is None:
            raise InvalidGrant
        return await refreshed(vendor, client, refresh_token)

    async def _put_off(self, grant: Grant, error: ProviderError, *, known: bool) -> ProviderError:
        """Let nobody ask again for a while; answers the error to raise."""
        who = error.who_can_fix if isinstance(error, PermanentError) else None
        wanted = error.retry_after if isinstance(error, TemporaryError) else None
        hold = wanted or min(60.0, 2.0 ** min(grant.tries, 6))
        trouble = Trouble(error.text, who, well=isinstance(error, TemporaryError) and error.well)
        await self._kept(lambda: self._grants.release(grant.id, grant.fence, known=known, hold=hold, trouble=trouble))
        return _error(trouble, hold)

    async def _bury(self, source: Source, grant: Grant, *, lost: bool) -> None:
        text = self._farewell(source, grant, lost=lost)
        await self._kept(lambda: self._grants.bury(grant.id, grant.version, text))

    async def _kept(self, write: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Bring what cannot be asked for again into the store, however long that is away."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _PERSIST
        while True:
            last = loop.time() > end  # asked before: a freeze takes all the time, and the store may be there
            try:
                return await write()
            except StoreUnavailable:
                if last:
                    raise
                await asyncio.sleep(_PAUSE)

    def cure(self, vendor: Vendor) -> str:
        """What to do about an account that is dead."""
        page = f"{self._public_url}/connect/{vendor.info.name}"
        return f"An admin connects it again at {page}; bookings that wait then go on by themselves."

    def _farewell(self, source: Source, grant: Grant, *, lost: bool) -> str:
        title, oauth = source.vendor.info.title, source.vendor.oauth
        why = (
            f"{title} no longer accepts this account's access: it was revoked, ran out or was replaced by a newer one."
        )
        if oauth.why_dead:
            why = oauth.why_dead(time.time() - grant.connected_at, grant.idle_for) or why
        elif lost:
            why = (
                "The answer to a renewal of this account's access was lost in a crash or an outage, "
                f"and {title} gives each one out only once."
            )
        return f"{why} {self.cure(source.vendor)}"

    def _held(self, grant: Grant, source: Source) -> str | None:
        """The access token that is stored; what a connection can ask for itself is worth no key that is gone."""
        try:
            return self._opened(grant, source)[0]
        except PermanentError:
            if source.own is None:
                raise
            return None

    def _opened(self, grant: Grant, source: Source) -> tuple[str, str | None]:
        try:
            return self._grants.open(grant, source.vendor.info.name)
        except (UnknownKey, Damaged) as error:
            raise PermanentError(str(error), "operator") from None


def idle(grant: Grant) -> bool:
    """Whether a living grant was not renewed for about a week; each has its own moment."""
    spread = int(grant.id[:4], 16) / 0xFFFF - 0.5
    return bool(grant.version) and not grant.dead and grant.idle_for > IDLE + spread * 86_400


def _early(grant: Grant) -> float:
    return min(EARLY, grant.life / 10)


def _error(trouble: Trouble, wait: float) -> ProviderError:
    if trouble.who_can_fix is None:
        return TemporaryError(trouble.text, wait, well=trouble.well)
    return PermanentError(trouble.text, trouble.who_can_fix)
