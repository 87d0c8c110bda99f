"""Who an admin is, by the word of an OpenID provider: authorization code with PKCE, state and nonce.

Authlib writes the messages, joserfc reads the ID token, `providers.http` sends. OpenID Connect Core 1.0, Discovery 1.0.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from providers.base import PermanentError, ProviderError
from providers.http import Http
from service.endpoint import Client
from service.shared import Shared

ALGORITHMS: Final = ["RS256", "PS256", "ES256", "RS384", "PS384", "ES384", "RS512", "PS512", "ES512", "EdDSA"]
"""How an ID token may be signed: never with a secret that we know as well, never not at all."""
LEEWAY: Final = 60
"""Seconds by which two clocks may differ."""

_FRESH = 3600.0  # seconds for which the provider's addresses and keys are believed
_AGAIN = 30.0  # seconds before its keys are asked for again because of one that is unknown
_AWAY = "The login provider cannot be reached at the moment."
_SIGNERS = ("client_secret_basic", "client_secret_post")


class NotAllowed(Exception):
    """The provider knows this person, and nobody has let them in here; the text says who it is."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A login: the URL to send a browser to, and what must be remembered until it comes back."""

    url: str
    state: str
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is. `companies` are the ones they may see, None for all of them."""

    name: str
    companies: tuple[str, ...] | None


class Oidc:
    """One OpenID provider and whom of its people we let in.

    `allowed` holds e-mail addresses, domains as `@example.org` and groups as `group:admins`. `companies` names the
    claim that lists the companies a person may see, `*` in it means all; without a name everybody sees all of them.
    """

    def __init__(
        self,
        http: Http,
        issuer: str,
        client: Client,
        redirect_uri: str,
        allowed: Sequence[str],
        companies: str | None = None,
    ) -> None:
        self._http = http
        self._issuer = issuer
        self._client = client
        self._redirect_uri = redirect_uri
        self._allowed = {each if each.startswith("group:") else each.lower() for each in allowed}
        self._companies = companies
        self._metadata: Shared[Mapping[str, Any]] = Shared(_AWAY)
        self._keys: Shared[KeySet] = Shared(_AWAY)

    async def begin(self) -> Begun:
        """A new authorization request. Raises: ProviderError."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        metadata = await self._discovered()
        groups = [scope for scope in ("groups",) if scope in metadata.get("scopes_supported", ())]
        url = prepare_grant_uri(
            metadata["authorization_endpoint"],
            self._client.client_id,
            "code",
            redirect_uri=self._redirect_uri,
            scope=["openid", "email", *groups],
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return Begun(url, state, nonce, verifier)

    async def finish(self, code: str, code_verifier: str, nonce: str) -> Identity:
        """Who has come back with a code. Raises: NotAllowed, ProviderError."""
        metadata = await self._discovered()
        body = prepare_token_request(
            "authorization_code", redirect_uri=self._redirect_uri, code=code, code_verifier=code_verifier
        )
        endpoint = str(metadata["token_endpoint"])
        offered = metadata.get("token_endpoint_auth_methods_supported") or _SIGNERS
        signer = ClientAuth(
            self._client.client_id,
            self._client.client_secret,
            next((each for each in _SIGNERS if each in offered), _SIGNERS[0]),
        )
        form = {"content-type": "application/x-www-form-urlencoded"}
        url, headers, body = signer.prepare("POST", endpoint, form, body)
        answer = await self._http.send("POST", url, headers=headers, content=body, accept=range(100, 500))
        if answer.status != 200:
            raise PermanentError(
                f"The login provider refuses our request (status {answer.status}): compare client id, secret and "
                "redirect URI with its console.",
                "operator",
            )
        given = answer.object()
        claims = await self._claims(metadata, str(given.get("id_token") or ""), nonce)
        if "email" not in claims or not set(self._wanted()) <= set(claims):
            claims = {**await self._userinfo(metadata, given, claims["sub"]), **claims}
        return self._identity(claims)

    def _wanted(self) -> list[str]:
        groups = ["groups"] if any(each.startswith("group:") for each in self._allowed) else []
        return [*groups, *([self._companies] if self._companies else [])]

    async def _discovered(self) -> Mapping[str, Any]:
        """The provider's own description of itself: what it said before, while it does not answer."""
        return await self._metadata.get(self._describe, _FRESH, old=True)

    async def _describe(self) -> Mapping[str, Any]:
        found = (await self._http.send("GET", f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")).object()
        if str(found.get("issuer", "")).rstrip("/") != self._issuer.rstrip("/"):
            raise _operator("names another issuer than OIDC_ISSUER")
        if not all(
            isinstance(found.get(name), str) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        ):
            raise _operator("does not say where people log in")
        return found

    async def _key_set(self, metadata: Mapping[str, Any], *, anew: bool = False) -> KeySet:
        """Its keys; never old ones, for it may have withdrawn them."""

        async def fetch() -> KeySet:
            answer = await self._http.send("GET", str(metadata["jwks_uri"]))
            try:
                return KeySet.import_key_set(answer.object())  # type: ignore[arg-type] # checked there
            except (JoseError, KeyError, ValueError, TypeError):
                raise _operator("gives keys that cannot be read") from None

        return await self._keys.get(fetch, _AGAIN if anew else _FRESH)

    async def _claims(self, metadata: Mapping[str, Any], token: str, nonce: str) -> dict[str, Any]:
        """What an ID token says, once it is certain that it is for us, now, and for this login."""
        keys = await self._key_set(metadata)
        try:
            decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            try:  # the provider may have changed its keys since
                decoded = jwt.decode(token, await self._key_set(metadata, anew=True), algorithms=ALGORITHMS)
            except (JoseError, ValueError):
                raise _operator("signed a login with a key that it does not show") from None
        client_id = self._client.client_id
        rules = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": metadata["issuer"]},
            aud={"essential": True, "value": client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        claims = decoded.claims
        try:
            rules.validate(claims)
        except JoseError:
            raise _operator("sent a login that is not for this service, not for now, or not for this browser") from None
        if claims.get("azp", client_id) != client_id or (isinstance(claims["aud"], list) and len(claims["aud"]) > 1):
            raise _operator("sent a login that is for others as well")
        return dict(claims)

    async def _userinfo(self, metadata: Mapping[str, Any], given: Mapping[str, Any], subject: str) -> dict[str, Any]:
        """What the provider tells beside the token; nothing when it says so of somebody else."""
        endpoint = metadata.get("userinfo_endpoint")
        if not isinstance(endpoint, str) or not isinstance(given.get("access_token"), str):
            return {}
        headers = {"authorization": f"Bearer {given['access_token']}"}
        told = (await self._http.send("GET", endpoint, headers=headers)).object()
        return told if told.get("sub") == subject else {}

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        email = str(claims.get("email") or "").lower()
        # Some providers write it as a word, others never: whom they do not vouch for they say so of.
        if str(claims.get("email_verified", True)).lower() == "false" or not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
            email = ""
        groups = claims.get("groups")
        named = {f"group:{group}" for group in groups} if isinstance(groups, list) else set()
        domain = f"@{email.rpartition('@')[2]}" if email else ""
        if not self._allowed & ({email, domain} | named) - {""}:
            raise NotAllowed(email or str(claims["sub"])[:100])
        return Identity(email or str(claims["sub"])[:200], self._seen(claims))

    def _seen(self, claims: Mapping[str, Any]) -> tuple[str, ...] | None:
        if self._companies is None:
            return None
        listed = claims.get(self._companies)
        names = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
        return None if "*" in names else tuple(sorted(str(name).lower() for name in names))


def _operator(what: str) -> ProviderError:
    return PermanentError(f"The login provider {what}.", "operator")
