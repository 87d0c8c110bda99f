"""A vendor's OAuth endpoints: what is asked of them and how their answers read (RFC 6749, 7009, 7636).

Authlib writes the messages, `providers.http` sends them.
"""

import secrets
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json import loads
from typing import Any, Final

from authlib.common.urls import url_encode
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7009 import prepare_revoke_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from providers.base import OAuth, OutcomeUnknown, PermanentError, ProviderError, ProviderInfo, Scope, TemporaryError
from providers.http import Answer, Http

LIFE: Final = 3600.0
"""Seconds an access token is good for when its vendor does not say."""

_ANY = range(100, 600)
_NOT_US = frozenset({"invalid_client", "unauthorized_client"})


class InvalidGrant(Exception):
    """The vendor does not accept this code, refresh token or assertion (any more)."""


@dataclass(frozen=True, slots=True)
class Client:
    """What a vendor knows this installation by."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Vendor:
    """A provider whose accounts are connected by OAuth; `client` is None until an operator gives one.

    `prefix` is what the names of its environment variables begin with.
    """

    info: ProviderInfo
    oauth: OAuth
    client: Client | None
    http: Http
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a vendor gave out: good for `life` seconds; `refresh_token` is None where there is none.

    `scopes` are what they allow, None when the vendor did not say.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    life: float
    scopes: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization request: the URL to send a browser to, and what must be remembered until it comes back."""

    url: str
    state: str
    code_verifier: str = field(repr=False)


def wanted(oauth: OAuth, feature: str | None) -> tuple[Scope, ...]:
    """The scopes an account is asked for that is connected for `feature`, for the usual one if None."""
    feature = feature or next(iter(oauth.features), None)
    return tuple(scope for scope in oauth.scopes if not scope.features or feature in scope.features)


def missing(
    oauth: OAuth, granted: Iterable[str], feature: str | None = None, had: Iterable[str] = ()
) -> tuple[Scope, ...]:
    """The scopes that an adapter needs and an account did not grant; without `feature`, for what it does best.

    What an account `had` granted once is needed still: meetings were made with it.
    """
    have, once = set(granted), set(had)

    def lacking(name: str | None) -> tuple[Scope, ...]:
        return tuple(scope for scope in wanted(oauth, name) if not scope.optional and have.isdisjoint(scope.any_of))

    names = [feature] if feature else [*oauth.features]
    least = min((lacking(name) for name in names), key=len, default=lacking(None))
    needed = (scope for scope in oauth.scopes if not scope.optional and not once.isdisjoint(scope.any_of))
    return tuple(dict.fromkeys([*least, *(scope for scope in needed if have.isdisjoint(scope.any_of))]))


def lacks(vendor: Vendor, scopes: Iterable[Scope]) -> str:
    """What an account at a vendor does not allow, and what to tick for it."""
    needs = "; ".join(f"{scope.need} ({' or '.join(scope.any_of)})" for scope in scopes)
    cure = "connect again and leave every box ticked" if vendor.oauth.sends_scopes else "connect again"
    console = f"Add the scopes in {vendor.info.title}'s console if they are not there"
    return f"The account does not allow this service to: {needs}. {console}, then {cure}."


def authorization(vendor: Vendor, client: Client, redirect_uri: str, feature: str | None = None) -> Authorization:
    """A new authorization request."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    asked = dict.fromkeys(scope.any_of[0] for scope in wanted(vendor.oauth, feature))
    url = prepare_grant_uri(
        vendor.oauth.authorization_endpoint,
        client.client_id,
        "code",
        redirect_uri=redirect_uri,
        scope=list(asked) if vendor.oauth.sends_scopes else None,
        state=state,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method="S256",
        **vendor.oauth.parameters,
    )
    return Authorization(url, state, verifier)


async def exchanged(
    vendor: Vendor, client: Client, code: str, code_verifier: str, redirect_uri: str
) -> tuple[Tokens, dict[str, Any]]:
    """What a code brought, and the answer's other fields; `claims` are those of an ID token, if one came.

    Raises: InvalidGrant, OutcomeUnknown, TemporaryError, PermanentError.
    """
    body = prepare_token_request(
        "authorization_code", redirect_uri=redirect_uri, code=code, code_verifier=code_verifier
    )
    answer = await _post(vendor, client, vendor.oauth.token_endpoint, body)
    tokens, fields = _read(vendor, answer), answer.object()
    if vendor.oauth.without_refresh_token and tokens.refresh_token is None:
        raise PermanentError(vendor.oauth.without_refresh_token, "admin")
    told = {name: value for name, value in fields.items() if not name.endswith("_token")}
    return tokens, {**told, "claims": _claims(answer, fields["id_token"])} if "id_token" in fields else told


async def refreshed(vendor: Vendor, client: Client, refresh_token: str) -> Tokens:
    """What a refresh token brought; a vendor that does not rotate leaves it as it was.

    Raises: InvalidGrant, OutcomeUnknown, TemporaryError, PermanentError.
    """
    body = prepare_token_request("refresh_token", refresh_token=refresh_token)
    tokens = _read(vendor, await _post(vendor, client, vendor.oauth.token_endpoint, body))
    return Tokens(tokens.access_token, tokens.refresh_token or refresh_token, tokens.life, tokens.scopes)


async def requested(vendor: Vendor, client: Client | None, body: Mapping[str, str]) -> Tokens:
    """What a connection's own token request brought; without a client the body alone says who asks.

    Raises: OutcomeUnknown, TemporaryError, PermanentError.
    """
    answer = await _post(vendor, client, vendor.oauth.token_endpoint, url_encode(body.items()))
    try:
        return _read(vendor, answer)
    except (InvalidGrant, PermanentError):
        text = f"{vendor.info.title} gives no access with these settings: compare them with the app there."
        raise PermanentError(_meant(vendor, answer) or text, "admin") from None


async def revoked(vendor: Vendor, client: Client, tokens: Iterable[str]) -> list[int]:
    """Revoke each of `tokens`; answers the statuses. Raises: ProviderError."""
    endpoint, statuses = vendor.oauth.revocation_endpoint, []
    for token in tokens if endpoint else ():
        body, _ = prepare_revoke_token_request(token)
        who = client if vendor.oauth.revokes_as_client else None
        statuses.append((await _post(vendor, who, endpoint or "", body)).status)
    return statuses


async def _post(vendor: Vendor, client: Client | None, url: str, body: str) -> Answer:
    """POST a form as `client`, if there is one; answers whatever came back."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if client:
        signer = ClientAuth(client.client_id, client.client_secret, vendor.oauth.client_authentication)
        url, headers, body = signer.prepare("POST", url, headers, body)
    return await vendor.http.at("").send("POST", url, headers=headers, content=body, accept=_ANY)


def _read(vendor: Vendor, answer: Answer) -> Tokens:
    """The tokens in an answer of the token endpoint.

    Raises: InvalidGrant, OutcomeUnknown, TemporaryError, PermanentError.
    """
    if answer.status != 200:
        raise _refusal(vendor, answer)
    fields = answer.object()
    access_token, refresh_token = fields.get("access_token"), fields.get("refresh_token")
    life, scope = fields.get("expires_in", LIFE), fields.get("scope")
    if not (access_token and isinstance(access_token, str)) or not isinstance(refresh_token, str | None):
        raise answer.unusable("holds no token")
    if str(fields.get("token_type", "bearer")).lower() != "bearer":
        raise answer.unusable("holds a token of an unknown type")
    seconds = float(life) if isinstance(life, int | float) and life > 0 else LIFE
    return Tokens(
        access_token, refresh_token or None, seconds, tuple(scope.split()) if isinstance(scope, str) else None
    )


def _refusal(vendor: Vendor, answer: Answer) -> Exception:
    title, status = vendor.info.title, answer.status
    if status in (425, 429):
        text = f"{title}'s token endpoint wants fewer calls (status {status})."
        return TemporaryError(text, answer.retry_after, well=True)
    if status in (500, 503):  # it says itself that nothing came of the request; a gateway's 502 or 504 does not know
        return TemporaryError(f"{title}'s token endpoint does not work now (status {status}).", answer.retry_after)
    if status >= 500 or status == 408:
        return OutcomeUnknown(f"{title}'s token endpoint has a problem of its own (status {status}).")
    if status < 400:
        return PermanentError(
            f"{title}'s token endpoint is elsewhere (status {status}): check its address.", "operator"
        )
    try:
        code = answer.object().get("error")
    except ProviderError as error:
        return error if status != 401 else _not_us(title)
    if code == "invalid_grant":
        return InvalidGrant()
    if code in _NOT_US or status == 401:
        return _not_us(title)
    if meant := _meant(vendor, answer):
        return PermanentError(meant, "admin")
    return PermanentError(f"{title}'s token endpoint refuses our request (status {status}).", "operator")


def _not_us(title: str) -> PermanentError:
    return PermanentError(f"{title} refuses the client id or secret: check them in its console and here.", "operator")


def _meant(vendor: Vendor, answer: Answer) -> str | None:
    """What the vendor's own words mean for an admin, as far as its adapter knows."""
    try:
        said = answer.object()
    except ProviderError:
        return None
    explain = vendor.oauth.why_refused
    return explain(str(said.get("error", "")), str(said.get("error_description", ""))) if explain else None


def _claims(answer: Answer, id_token: Any) -> Mapping[str, Any]:
    """What an ID token says. It came from the token endpoint itself, so nobody else can have written it
    (OpenID Connect Core 3.1.3.7)."""
    try:
        payload = str(id_token).split(".")[1]
        claims = loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        raise answer.unusable("holds an ID token that cannot be read") from None
    return claims if isinstance(claims, dict) else {}
