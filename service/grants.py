"""Grants: what vendors gave us for an account, and the lock under which one process at a time renews it.

Keys: `vm:grant:<id>`, one hash a grant; its tokens are in an envelope. A grant lives 400 days after its last renewal,
a token that a connection gets by itself as long as it is good.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from typing import Any, Final

from providers.base import Delegation, Fixer, OAuth, ProviderSettings, Scope
from service.endpoint import Client, Tokens, Vendor, missing, wanted
from service.store import Script, Store
from service.vault import Vault

KEPT: Final = 400 * 86_400
"""Seconds a grant is kept after its last renewal; idle ones are renewed weekly."""

_SCRIPT = Script(resources.files("service").joinpath("grants.lua").read_text())


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a renewal did not work: a sentence for people, and who can fix it, None if it may pass by itself.

    `well`: the vendor answered.
    """

    text: str
    who_can_fix: Fixer | None
    well: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant as it was at one moment of the store's clock; times are seconds from then.

    `version` counts renewals, 0 before the first. `tries` counts requests with these tokens whose outcome nobody knows,
    the running one included: it is written before a request is sent. `dead` says why the vendor no longer accepts it,
    `trouble` why it is not asked before `held_for` seconds have passed.
    """

    id: str
    provider: str
    client_id: str
    account: str
    scopes: tuple[str, ...]
    version: int
    good_for: float
    life: float
    idle_for: float
    connected_at: int
    tries: int
    held_for: float
    trouble: Trouble | None
    dead: str | None
    fence: int
    """Proof that the caller holds the lock, 0 if it does not."""
    envelope: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a grant allows, as far as its vendor said so, and all that an account's ever did."""

    scopes: tuple[str, ...]
    had: tuple[str, ...]

    def missing(self, oauth: OAuth, feature: str | None = None) -> tuple[Scope, ...]:
        """What is needed beyond that; nothing where the vendor does not say."""
        return missing(oauth, self.scopes, feature, self.had) if self.scopes else ()

    def best(self, oauth: OAuth) -> str | None:
        """The feature that takes most of all that was ever allowed."""
        able = [name for name in oauth.features if not missing(oauth, self.had or self.scopes, name)]
        return max(able, key=lambda name: len(wanted(oauth, name)), default=None)


def grant_id(*names: str) -> str:
    """The id of the grant for one account at one vendor with one client."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:32]


def own_id(provider: str, connection: str, envelope: str) -> str:
    """The id of what a connection gets with its own settings: with others, what the old ones got is used no more."""
    return grant_id(provider, connection, envelope)


def grant_key(grant: str) -> str:
    """Where a grant is stored."""
    return f"vm:grant:{grant}"


def token_purpose(provider: str, grant: str) -> str:
    """What an envelope with tokens is bound to."""
    return f"token:{provider}:{grant}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a connection's tokens come from: the grant of an account, or the connection's `own` settings.

    `client` is None where nobody set one, and where a request of one's own needs none. A `delegation` names for whom.
    """

    vendor: Vendor
    grant: str
    client: Client | None
    own: ProviderSettings | None = field(default=None, repr=False)
    delegation: Delegation | None = None

    def on_behalf_of(self, delegation: Delegation) -> "Source":
        """Where the tokens for one person of the account come from: each has one of its own."""
        if self.own is None:
            return self
        return replace(
            self, grant=grant_id(self.grant, delegation.subject.lower(), *delegation.scopes), delegation=delegation
        )

    @property
    def once(self) -> bool:
        """What it asks with is good for one request."""
        return self.own is None and self.vendor.oauth.rotates


class Grants:
    """All grants. Every verb is one round trip and safe to repeat; all raise `StoreUnavailable`."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def look(self, grant: str) -> Grant:
        """A grant as it is now; one that is not there has version 0."""
        return _grant(grant, await self._call(grant, "look"))

    async def lock(self, grant: str, owner: str, version: int, seconds: float) -> Grant:
        """The grant as it is now, locked to the caller if its `fence` is not 0.

        Nobody gets the lock while another holds it, once the version moved, or when the grant is dead or held.
        """
        return _grant(grant, await self._call(grant, "lock", owner, version, int(seconds * 1000)))

    async def put(
        self, grant: str, tokens: Tokens, provider: str, client_id: str, account: str, nonce: str = ""
    ) -> bool:
        """Keep what a person has just granted, whatever was there before; whoever says it again names it so."""
        fields = {"client_id": client_id, "account": account, "connected": str(int(time.time())), "scopes": ""}
        return await self._save(grant, "", tokens, provider, KEPT, fields, nonce)

    async def renewed(self, grant: str, version: int, tokens: Tokens, provider: str, *, kept: float = KEPT) -> bool:
        """Keep what a renewal of `version` brought; False when the grant is another one by now, or gone."""
        return await self._save(grant, version, tokens, provider, kept, {})

    async def bury(self, grant: str, version: int, text: str) -> bool:
        """Remember that the vendor no longer accepts `version`; False when the grant is another one by now."""
        return bool(await self._call(grant, "bury", version, text))

    async def release(self, grant: str, fence: int, *, known: bool, hold: float, trouble: Trouble) -> None:
        """Give the lock back without new tokens; `known`: nothing happened at the vendor. Nobody asks for `hold` s."""
        text = json.dumps(asdict(trouble))
        await self._call(grant, "release", fence, int(known), int(hold * 1000), text)

    async def remove(self, grant: str) -> None:
        """Forget a grant; a renewal that is under way does not bring it back."""
        await self._store.execute("DEL", grant_key(grant))

    async def leave(self, grant: str, at: float) -> bool:
        """Forget a grant that its account took back `at` (UTC unix seconds); False when it was connected since."""
        return bool(await self._call(grant, "leave", f"{at:.3f}"))

    async def allowed(self, grants: Sequence[str]) -> dict[str, Allowed]:
        """What each grant allows."""
        asked = [("HMGET", grant_key(grant), "scopes", "had") for grant in grants]
        rows = await self._store.pipeline(asked) if grants else []
        return {
            grant: Allowed(*(tuple((text or "").split()) for text in row))
            for grant, row in zip(grants, rows, strict=True)
        }

    async def inherit(self, grant: str, former: str) -> None:
        """Expect of a grant what a `former` one of the same account allowed, which another client got."""
        both = await self.allowed([grant, former])
        had = dict.fromkeys([*both[grant].had, *both[former].had, *both[former].scopes])
        if had:
            await self._store.execute("HSET", grant_key(grant), "had", " ".join(had))

    def open(self, grant: Grant, provider: str) -> tuple[str, str | None]:
        """The access token and the refresh token, in clear: for one call. Raises UnknownKey, Damaged."""
        held = json.loads(self._vault.open(grant.envelope, token_purpose(provider, grant.id)))
        return held["access_token"], held["refresh_token"]

    async def _save(
        self,
        grant: str,
        version: int | str,
        tokens: Tokens,
        provider: str,
        kept: float,
        fields: Mapping[str, str],
        nonce: str = "",
    ) -> bool:
        held = {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
        envelope = self._vault.seal(json.dumps(held), token_purpose(provider, grant))
        named = {"provider": provider, **fields}
        if tokens.scopes is not None:
            named["scopes"] = " ".join(tokens.scopes)
        pairs = [text for pair in named.items() for text in pair]
        name, life = nonce or secrets.token_hex(8), int(tokens.life * 1000)
        return bool(await self._call(grant, "save", version, name, envelope, life, max(1, int(kept)), *pairs))

    async def _call(self, grant: str, verb: str, *rest: str | int) -> Any:
        return await self._store.call(_SCRIPT, (grant_key(grant),), (verb, *rest))


def _grant(grant: str, answer: Any) -> Grant:
    now, fence, flat = answer
    row = dict(flat) if isinstance(flat, dict) else dict(zip(flat[0::2], flat[1::2], strict=True))
    trouble = row.get("trouble")

    def until(name: str) -> float:
        return max(0.0, float(int(row.get(name, 0)) - now) / 1000)

    return Grant(
        id=grant,
        provider=row.get("provider", ""),
        client_id=row.get("client_id", ""),
        account=row.get("account", ""),
        scopes=tuple(row.get("scopes", "").split()),
        version=int(row.get("version", 0)),
        good_for=until("expires"),
        life=int(row.get("life", 0)) / 1000,
        idle_for=(now - int(row.get("refreshed", now))) / 1000,
        connected_at=int(row.get("connected", 0)),
        tries=int(row.get("tries", 0)),
        held_for=until("held"),
        trouble=Trouble(**json.loads(trouble)) if trouble else None,
        dead=row.get("dead"),
        fence=fence,
        envelope=row.get("token", ""),
    )
