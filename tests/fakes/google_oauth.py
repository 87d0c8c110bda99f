"""The fake Google's OAuth (§1): consent, codes, refreshes that do not rotate, revocation, delegation, who somebody is.

Wire names are RFC 6749's and OpenID Connect's. Google's own words for a refusal are those its answers are quoted with;
a service account's are from the table of errors of developers.google.com/identity/protocols/oauth2/service-account.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from html import escape
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from jwt.algorithms import RSAAlgorithm
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from tests.fakes.google_discovery import scopes
from tests.fakes.google_state import (
    CODE_LIFETIME,
    IDLE_LIFETIME,
    LONG_NAMES,
    SIGN_IN,
    UNVERIFIED_USERS,
    Access,
    App,
    Code,
    Grant,
    Refresh,
    ServiceAccount,
    State,
    User,
    private_key,
)

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"
DEAD = "Token has been expired or revoked."
"""All that Google says of a refresh token that is over, whatever the reason (§1)."""
SHORT_LIVED = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)
NOT_DELEGATED = (
    "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the "
    "scopes requested."
)
SKEW = 300
"""Seconds a service account's clock may be wrong; Google names no number."""

_QUERY = {
    *("response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"),
    *("access_type", "prompt", "include_granted_scopes", "login_hint", "nonce", "hd"),
}


class _Denied(Exception):
    """The token endpoint says no, in RFC 6749's form."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status

    def answer(self) -> Response:
        body = {"error": self.error, "error_description": self.description}
        return JSONResponse(body, self.status, headers={"cache-control": "no-store"})


async def authorize(state: State, request: Request) -> Response:
    """The pages on which a person allows or denies; a wrong request is a page that says why and leads nowhere."""
    query = dict(request.query_params)
    if problem := _authorization_problem(state, query):
        state.junk.append(f"authorize: {problem}")
        return _blocked(problem, 400)
    app = state.apps[query["client_id"]]
    if query.get("prompt") == "none":
        return _redirect(query["redirect_uri"], {"error": "interaction_required", **_back(query)})
    hidden = "".join(f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in query.items())
    people = "".join(_option(user, query) for user in state.users.values() if user.exists)
    boxes = "".join(
        f'<li><label><input type="checkbox" name="granted" value="{escape(scope)}" checked> {escape(scope)}</label>'
        for scope in _asked(query)
        if scope not in SIGN_IN
    )
    warning = "" if app.verified or app.consent == "internal" else "<p>Google has not verified this app.</p>"
    form = (
        f'<form method="post" action="{state.url}/o/oauth2/v2/auth">{hidden}{warning}'
        f'<p><label>Choose an account <select name="user">{people}</select></label></p>'
        f"<p>Select what {escape(app.client_id)} can access:</p><ul>{boxes}</ul>"
        '<p><button name="decision" value="allow">Continue</button> '
        '<button name="decision" value="deny">Cancel</button></p></form>'
    )
    return HTMLResponse(_page("Sign in with Google", form))


async def decide(state: State, request: Request) -> Response:
    """The click: back to the app with a code for what was left ticked, or with `access_denied`."""
    pairs = parse_qsl((await request.body()).decode())
    ticked = [value for name, value in pairs if name == "granted"]
    form = {name: value for name, value in pairs if name != "granted"}
    decision, user = form.pop("decision", ""), state.user(form.pop("user", ""))
    problem = _authorization_problem(state, form)
    if problem or user is None or decision not in ("allow", "deny"):
        return _blocked(problem or "Choose.", 400)
    app = state.apps[form["client_id"]]
    if closed := _closed(state, app, user):
        return _blocked(closed, 403)
    asked = _asked(form)
    granted = [scope for scope in asked if scope in SIGN_IN or scope in ticked]
    if decision == "deny" or not granted:
        return _redirect(form["redirect_uri"], {"error": "access_denied", **_back(form)})
    code = token_urlsafe(24)
    state.codes[code] = Code(
        grant=_consent(state, app, user, granted, form),
        redirect_uri=form["redirect_uri"],
        challenge=form.get("code_challenge"),
        method=form.get("code_challenge_method", "plain"),
        expires=state.now() + CODE_LIFETIME,
    )
    return _redirect(form["redirect_uri"], {"code": code, "scope": " ".join(granted), **_back(form)})


def _consent(state: State, app: App, user: User, granted: list[str], form: Mapping[str, str]) -> Grant:
    """§1: a refresh token comes with the first authorisation only, or with prompt=consent; never without offline."""
    before = state.consents.get((app.project, user.id), set())
    offline = form.get("access_type") == "offline" and ("consent" in form.get("prompt", "").split() or not before)
    if form.get("include_granted_scopes") == "true":
        granted = [*granted, *sorted(before - set(granted))]
    state.consents[app.project, user.id] = before | set(granted)
    state.comers.setdefault(app.project, set()).add(user.id)
    return Grant(app.client_id, app.project, user.id, granted, offline, form.get("nonce"))


def _closed(state: State, app: App, user: User) -> str | None:
    """Whom the consent screen does not let in (§1: Internal, Testing, the hundred users of an unverified app)."""
    comers = state.comers.get(app.project, set())
    if app.consent == "internal" and user.domain != app.domain:
        return f"Error 403: org_internal. {app.client_id} is restricted to users within its organization."
    if app.consent == "testing" and app.test_users is not None and user.email not in app.test_users:
        return "Error 403: access_denied. The app is being tested, and can only be accessed by its testers."
    if app.consent == "production" and not app.verified and user.id not in comers and len(comers) >= UNVERIFIED_USERS:
        return "Error 403: access_denied. Sign in with Google temporarily disabled for this app."
    return None


async def token(state: State, request: Request) -> Response:
    """The token endpoint: a form in the body, the client's secret in it or in a Basic header (§1)."""
    try:
        if request.query_params:
            state.junk.append("token: parameters in the query")
            raise _Denied("invalid_request", "Parameters belong in the body.")
        form = await _form(request)
        match form.get("grant_type"):
            case "authorization_code":
                answer = _exchange(state, _client(state, request, form), form)
            case "refresh_token":
                answer = _refresh(state, _client(state, request, form), form)
            case kind if kind == JWT_BEARER:
                answer = _delegated(state, form)
            case kind:
                state.junk.append("token: grant type")
                raise _Denied("unsupported_grant_type", f"Invalid grant_type: {kind}")
    except _Denied as denied:
        return denied.answer()
    return JSONResponse(answer, headers={"cache-control": "no-store"})


async def revoke(state: State, request: Request) -> Response:
    """Either token ends the whole grant of that person to that project (§1)."""
    try:
        form = await _form(request)
    except _Denied as denied:
        return denied.answer()
    if request.query_params or set(form) != {"token"}:
        state.junk.append("revoke: parameters")
        return _Denied("invalid_request", "Bad Request").answer()
    held = state.accesses.get(form["token"]) or state.refreshes.get(form["token"])
    if held is None or not (state.good(held) if isinstance(held, Access) else _lives(state, held)):
        return _Denied("invalid_token", "Token expired or revoked").answer()
    if held.grant.client_id in state.service_accounts:
        held.live = False
    elif held.grant.user_id is not None:
        state.revoke(held.grant.project, held.grant.user_id)
    return JSONResponse({})


async def certs(state: State, request: Request) -> Response:
    """The keys id_tokens are signed with."""
    jwk = RSAAlgorithm.to_jwk(private_key("google").public_key(), as_dict=True)
    return JSONResponse({"keys": [{**jwk, "kid": "google-1", "use": "sig", "alg": "RS256"}]})


async def configuration(state: State, request: Request) -> Response:
    """OpenID Connect's discovery, with this fake's addresses and Google's issuer."""
    return JSONResponse(
        {
            "issuer": "https://accounts.google.com",
            "authorization_endpoint": f"{state.url}/o/oauth2/v2/auth",
            "token_endpoint": f"{state.url}/token",
            "revocation_endpoint": f"{state.url}/revoke",
            "userinfo_endpoint": f"{state.url}/v1/userinfo",
            "jwks_uri": f"{state.url}/oauth2/v3/certs",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }
    )


async def userinfo(state: State, request: Request) -> Response:
    """OpenID Connect's own: `sub`, and the address if its scope was granted."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    access = state.accesses.get(value)
    good = kind.lower() == "bearer" and access is not None and state.good(access)
    if access is None or not good or access.grant.user_id is None or not set(access.grant.scopes) & SIGN_IN:
        body = {"error": "invalid_request", "error_description": "Invalid Credentials"}
        return JSONResponse(body, 401, headers={"www-authenticate": 'Bearer error="invalid_request"'})
    user = state.users[access.grant.user_id]
    about: dict[str, Any] = {"sub": user.id}
    if LONG_NAMES["email"] in access.grant.scopes:
        about |= {"email": user.email, "email_verified": True} | ({"hd": user.domain} if user.domain else {})
    if LONG_NAMES["profile"] in access.grant.scopes:
        about |= {"name": user.email.partition("@")[0].capitalize()}
    return JSONResponse(about)


def _authorization_problem(state: State, query: Mapping[str, str]) -> str | None:
    app = state.apps.get(query.get("client_id", ""))
    redirect_uri, asked = query.get("redirect_uri", ""), query.get("scope", "").split()
    if unknown := set(query) - _QUERY:
        return f"Error 400: invalid_request. Unknown parameter {sorted(unknown)[0]}."
    if app is None:
        return "Error 401: invalid_client. The OAuth client was not found."
    if not app.enabled:
        return "Error 401: disabled_client. The OAuth client was disabled."
    if query.get("response_type") != "code":
        return "Error 400: unsupported_response_type."
    if not (redirect_uri in app.redirect_uris if app.redirect_uris else _is_loopback(redirect_uri)):
        return "Error 400: redirect_uri_mismatch."
    if not asked:
        return "Error 400: invalid_request. Missing required parameter: scope."
    if wrong := set(asked) - scopes():
        return f"Error 400: invalid_scope. Some requested scopes were invalid: {sorted(wrong)}."
    if query.get("code_challenge_method", "plain") not in ("plain", "S256"):
        return "Error 400: invalid_request. Invalid code_challenge_method."
    if "code_challenge_method" in query and not query.get("code_challenge"):
        return "Error 400: invalid_request. Missing code_challenge."
    return _value_problem(query)


def _value_problem(query: Mapping[str, str]) -> str | None:
    allowed = {
        "access_type": {"online", "offline"},
        "include_granted_scopes": {"true", "false"},
        "prompt": {"none", "consent", "select_account", "select_account consent", "consent select_account"},
    }
    wrong = [name for name, values in allowed.items() if query.get(name, min(values)) not in values]
    return f"Error 400: invalid_request. Invalid parameter value for {wrong[0]}." if wrong else None


def _asked(query: Mapping[str, str]) -> list[str]:
    """The scopes as answers name them, each once: `email` and `profile` have long names there."""
    return list(dict.fromkeys(LONG_NAMES.get(scope, scope) for scope in query["scope"].split()))


def _client(state: State, request: Request, form: Mapping[str, str]) -> App:
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        if "client_secret" in form:
            state.junk.append("token: two ways of authentication")
            raise _Denied("invalid_request", "Client secret given twice.")
        try:
            client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise _Denied("invalid_client", "The OAuth client was not found.", 401) from None
    app = state.apps.get(client_id)
    if app is None:
        raise _Denied("invalid_client", "The OAuth client was not found.", 401)
    if not hmac.compare_digest(app.client_secret.encode(), secret.encode()):
        raise _Denied("invalid_client", "Unauthorized", 401)
    if not app.enabled:
        raise _Denied("disabled_client", "The OAuth client was disabled.", 401)
    return app


async def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise _Denied("invalid_request", "The body must be a form.")
    pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise _Denied("invalid_request", "A parameter is given twice.")
    return dict(pairs)


def _exchange(state: State, app: App, form: Mapping[str, str]) -> dict[str, Any]:
    _only(state, form, {"grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret"})
    code = state.codes.get(form.get("code", ""))
    if code is None or code.used or code.grant.client_id != app.client_id:
        raise _Denied("invalid_grant", "Bad Request")
    if code.expires < state.now():
        raise _Denied("invalid_grant", "Bad Request")
    if form.get("redirect_uri") != code.redirect_uri:
        raise _Denied("redirect_uri_mismatch", "Bad Request")
    if code.challenge is not None and "code_verifier" not in form:
        raise _Denied("invalid_grant", "Missing code verifier.")
    if not _verifies(code, form.get("code_verifier", "")):
        raise _Denied("invalid_grant", "Invalid code verifier.")
    code.used = True
    return state.issue(code.grant)


def _verifies(code: Code, verifier: str) -> bool:
    if code.challenge is None:
        return not verifier
    hashed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(hashed if code.method == "S256" else verifier, code.challenge)


def _refresh(state: State, app: App, form: Mapping[str, str]) -> dict[str, Any]:
    """§1: a new access token and never a new refresh token; the access tokens before it live on."""
    _only(state, form, {"grant_type", "refresh_token", "client_id", "client_secret"})
    refresh = state.refreshes.get(form.get("refresh_token", ""))
    if refresh is None:
        raise _Denied("invalid_grant", "Bad Request")
    refresh.uses += 1
    if refresh.grant.client_id != app.client_id:
        raise _Denied("unauthorized_client", "Unauthorized", 401)
    if not _lives(state, refresh):
        raise _Denied("invalid_grant", DEAD)
    user = state.users[refresh.grant.user_id or ""]
    if user.restricted:
        raise _Denied("admin_policy_enforced", "Access to your account data is restricted by policies.")
    refresh.used = state.now()
    grant = refresh.grant
    return state.issue(Grant(grant.client_id, grant.project, grant.user_id, grant.scopes))


def _lives(state: State, refresh: Refresh) -> bool:
    now, user = state.now(), state.users[refresh.grant.user_id or ""]
    over = refresh.expires is not None and refresh.expires <= now
    return refresh.live and not over and refresh.used + IDLE_LIFETIME > now and user.exists


def _delegated(state: State, form: Mapping[str, str]) -> dict[str, Any]:
    """§1, delegation: a signed assertion for an hour's token of a person of the domain, or of the account itself."""
    _only(state, form, {"grant_type", "assertion"})
    assertion = form.get("assertion", "")
    try:
        header = jwt.get_unverified_header(assertion)
        claimed = jwt.decode(assertion, options={"verify_signature": False, "verify_exp": False})
    except jwt.InvalidTokenError:
        raise _Denied("invalid_grant", "Bad Request") from None
    robot = state.service_accounts.get(str(claimed.get("iss")))
    if robot is None:
        raise _Denied("invalid_grant", "Invalid grant: account not found")
    if not robot.enabled:
        raise _Denied("disabled_client", "The OAuth client was disabled.", 401)
    _check_signature(robot, assertion, header)
    _check_claims(state, claimed)
    wanted = list(dict.fromkeys(LONG_NAMES.get(scope, scope) for scope in str(claimed["scope"]).split()))
    user_id = _impersonated(state, robot, claimed.get("sub"), wanted)
    return state.issue(Grant(robot.client_email, robot.project, user_id, wanted))


def _check_signature(robot: ServiceAccount, assertion: str, header: Mapping[str, Any]) -> None:
    try:
        if header.get("alg") != "RS256" or header.get("kid", robot.private_key_id) != robot.private_key_id:
            raise jwt.InvalidKeyError
        checks = {"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
        jwt.decode(assertion, robot.public_key, algorithms=["RS256"], options=checks)  # type: ignore[arg-type]
    except jwt.InvalidTokenError:
        raise _Denied("invalid_grant", "Invalid JWT Signature.") from None


def _check_claims(state: State, claimed: Mapping[str, Any]) -> None:
    now, made, over = state.now(), claimed.get("iat"), claimed.get("exp")
    if unknown := set(claimed) - {"iss", "sub", "scope", "aud", "iat", "exp"}:
        state.junk.append(f"assertion: {sorted(unknown)[0]}")
    if claimed.get("aud") not in (AUDIENCE, f"{state.url}/token"):
        raise _Denied("invalid_grant", "Invalid JWT: Failed audience check.")
    if not isinstance(made, int | float) or not isinstance(over, int | float):
        raise _Denied("invalid_grant", SHORT_LIVED)
    if made > now + SKEW or over <= now - SKEW or not 0 < over - made <= 3600:
        raise _Denied("invalid_grant", SHORT_LIVED)
    if not claimed.get("scope"):
        raise _Denied("invalid_scope", "Empty or missing scope not allowed.")
    if set(str(claimed["scope"]).split()) - scopes():
        raise _Denied("invalid_scope", "Invalid OAuth scope or ID token audience provided.")


def _impersonated(state: State, robot: ServiceAccount, sub: Any, wanted: list[str]) -> str | None:
    if sub is None:
        return None
    user = state.user(str(sub))
    if user is None or not user.exists or "@" not in str(sub):
        raise _Denied("invalid_grant", "Invalid email or User ID")
    delegated = robot.delegated.get(user.domain or "")
    if delegated is None:
        raise _Denied("unauthorized_client", "Unauthorized client or scope in request.", 401)
    if not set(wanted) <= set(delegated):
        raise _Denied("unauthorized_client", NOT_DELEGATED, 401)
    return user.id


def _only(state: State, form: Mapping[str, str], known: set[str]) -> None:
    if unknown := set(form) - known:
        state.junk.append(f"token: {sorted(unknown)[0]}")
        raise _Denied("invalid_request", f"Unknown parameter {sorted(unknown)[0]}")


def _option(user: User, query: Mapping[str, str]) -> str:
    chosen = " selected" if query.get("login_hint") in (user.email, user.id) else ""
    return f'<option value="{escape(user.id)}"{chosen}>{escape(user.email)}</option>'


def _back(query: Mapping[str, str]) -> dict[str, str]:
    return {"state": query["state"]} if "state" in query else {}


def _redirect(uri: str, more: Mapping[str, str]) -> Response:
    return RedirectResponse(f"{uri}{'&' if urlsplit(uri).query else '?'}{urlencode(more)}", 302)


def _is_loopback(uri: str) -> bool:
    return urlsplit(uri).hostname in ("127.0.0.1", "localhost", "::1")


def _blocked(text: str, status: int) -> Response:
    return HTMLResponse(_page("Access blocked", f"<p>{escape(text)}</p>"), status_code=status)


def _page(title: str, body: str) -> str:
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>{body}'
