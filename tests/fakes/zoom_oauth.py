"""The fake Zoom's OAuth (§1): consent, tokens with rotation, revocation.

Wire names are RFC 6749's. What Zoom's facts leave open is answered as the RFC says and marked as such.
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

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from tests.fakes.zoom_state import CODE_LIFETIME, App, Code, Grant, State

_QUERY = {"response_type", "client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method"}


class _Denied(Exception):
    """The token endpoint says no: RFC 6749's `error`, Zoom's `reason`."""

    def __init__(self, error: str, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.error, self.reason, self.status = error, reason, status


async def authorize(state: State, request: Request) -> Response:
    """The page on which a person allows or denies; a wrong request is a page that says why and leads nowhere."""
    query = request.query_params
    problem = _authorization_problem(state, query)
    if problem:
        state.junk.append(f"authorize: {problem}")
        return HTMLResponse(_page("Invalid request", f"<p>{escape(problem)}</p>"), status_code=400)
    app = state.apps[query["client_id"]]
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in query.items()
    )
    choices = "".join(
        f'<option value="{escape(user.id)}">{escape(user.email)}</option>' for user in state.users.values()
    )
    scopes = "".join(f"<li>{escape(scope)}</li>" for scope in app.scopes)
    form = (
        f'<form method="post" action="{state.url}/oauth/authorize">{hidden}'
        f'<p><label>You are <select name="user">{choices}</select></label></p>'
        f"<p>{escape(app.client_id)} wants to:</p><ul>{scopes}</ul>"
        '<p><button name="decision" value="allow">Allow</button> '
        '<button name="decision" value="deny">Decline</button></p></form>'
    )
    return HTMLResponse(_page("Zoom: authorise an app", form))


async def decide(state: State, request: Request) -> Response:
    """The click: back to the app with a code or, as RFC 6749 says, with an error."""
    form = dict(parse_qsl((await request.body()).decode()))
    decision, name = form.pop("decision", ""), form.pop("user", "")
    user = state.user(name)
    problem = _authorization_problem(state, form)
    if problem or user is None or decision not in ("allow", "deny"):
        return HTMLResponse(_page("Invalid request", f"<p>{escape(problem or 'Choose.')}</p>"), status_code=400)
    if user.needs_approval:
        text = "<p>Your account's admin must approve this app before you can add it.</p>"
        return HTMLResponse(_page("Approval needed", text), status_code=403)
    back = {"state": form["state"]} if "state" in form else {}
    if decision == "deny":
        return _redirect(form["redirect_uri"], {"error": "access_denied", **back})
    app = state.apps[form["client_id"]]
    grant = Grant(app.client_id, user.id, user.account_id, list(app.scopes))
    code = token_urlsafe(24)
    state.codes[code] = Code(
        grant=grant,
        redirect_uri=form["redirect_uri"],
        challenge=form.get("code_challenge"),
        method=form.get("code_challenge_method", "plain"),
        expires=state.now() + CODE_LIFETIME,
    )
    return _redirect(form["redirect_uri"], {"code": code, **back})


async def token(state: State, request: Request) -> Response:
    """The token endpoint: Basic authentication, a form in the body and nothing in the query."""
    try:
        if request.query_params:
            state.junk.append("token: parameters in the query")
            raise _Denied("invalid_request", "Parameters belong in the body.")
        app = _client(state, request)
        form = await _form(request)
        match form.get("grant_type"):
            case "authorization_code":
                answer = _exchange(state, app, form)
            case "refresh_token":
                answer = _refresh(state, app, form)
            case "account_credentials":
                answer = _own(state, app, form)
            case _:
                state.junk.append("token: grant type")
                raise _Denied("unsupported_grant_type", "unsupported grant type")  # 4705
    except _Denied as denied:
        body = {"reason": denied.reason, "error": denied.error}
        return JSONResponse(body, denied.status, headers={"cache-control": "no-store"})
    return JSONResponse(answer, headers={"cache-control": "no-store"})


async def revoke(state: State, request: Request) -> Response:
    """An access token ends its whole grant; the token is in the body (§1)."""
    try:
        app = _client(state, request)
        form = await _form(request)
    except _Denied as denied:
        return JSONResponse({"reason": denied.reason, "error": denied.error}, denied.status)
    access = state.accesses.get(form.get("token", ""))
    if request.query_params or set(form) != {"token"}:
        state.junk.append("revoke: parameters")
        return JSONResponse({"reason": "Invalid request", "error": "invalid_request"}, 400)
    if access is None or access.grant.client_id != app.client_id:
        return JSONResponse({"reason": "Invalid Token!", "error": "invalid_grant"}, 400)
    access.grant.live = False
    state.end_tokens(access.grant)
    return JSONResponse({"status": "success"})


def _authorization_problem(state: State, query: Mapping[str, str]) -> str | None:
    app = state.apps.get(query.get("client_id", ""))
    redirect_uri = query.get("redirect_uri", "")
    if unknown := set(query) - _QUERY:
        # `scope` is one of them: an app's scopes are fixed where it was made.
        return f"Unknown parameter {sorted(unknown)[0]} (4700)."
    if app is None or not app.enabled or app.kind == "server_to_server":
        return "Invalid client_id (4702)."
    if query.get("response_type") != "code":
        return "response_type must be code."
    allowed = redirect_uri in app.redirect_uris if app.redirect_uris else _is_loopback(redirect_uri)
    if not allowed:
        return "Invalid redirect (4709)."
    if query.get("code_challenge_method", "S256") not in ("plain", "S256"):
        return "code_challenge_method must be plain or S256."
    if "code_challenge_method" in query and not query.get("code_challenge"):
        return "code_challenge is missing."
    return None


def _client(state: State, request: Request) -> App:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        state.junk.append("token: no Basic authentication")
        raise _Denied("invalid_client", "Missing client id or secret", 401)  # 4706
    try:
        client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _Denied("invalid_client", "Invalid client_id or client_secret", 401) from None
    app = state.apps.get(client_id)
    if app is None or not hmac.compare_digest(app.client_secret.encode(), secret.encode()):
        raise _Denied("invalid_client", "Invalid client_id or client_secret", 401)  # 4702, 4704
    if not app.enabled:
        raise _Denied("invalid_client", "The app is disabled", 400)  # 4717
    return app


async def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise _Denied("invalid_request", "The body must be a form.")
    pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise _Denied("invalid_request", "A parameter is given twice.")
    return dict(pairs)


def _exchange(state: State, app: App, form: Mapping[str, str]) -> dict[str, Any]:
    _only(state, form, {"grant_type", "code", "redirect_uri", "code_verifier"})
    code = state.codes.get(form.get("code", ""))
    if code is None or code.used or code.grant.client_id != app.client_id:
        raise _Denied("invalid_grant", "Invalid authorization code")  # 4734
    if code.expires < state.now():
        raise _Denied("invalid_grant", "The authorization code has expired")  # 4733
    code.used = True
    if form.get("redirect_uri") != code.redirect_uri:
        raise _Denied("invalid_request", "Redirect URI mismatch")  # 4709
    if not _verifies(code, form.get("code_verifier", "")):
        raise _Denied("invalid_grant", "Invalid code verifier")
    assert code.grant.user_id is not None
    # §1, 4741: with several authorisations only the last one is good.
    state.end_grants(app.client_id, code.grant.user_id)
    return state.issue(code.grant)


def _verifies(code: Code, verifier: str) -> bool:
    if code.challenge is None:
        return not verifier
    digest = hashlib.sha256(verifier.encode()).digest()
    hashed = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return hmac.compare_digest(hashed if code.method == "S256" else verifier, code.challenge)


def _refresh(state: State, app: App, form: Mapping[str, str]) -> dict[str, Any]:
    _only(state, form, {"grant_type", "refresh_token"})
    refresh = state.refreshes.get(form.get("refresh_token", ""))
    if refresh is not None:
        refresh.uses += 1
    if refresh is None or not refresh.live or refresh.grant.client_id != app.client_id:
        raise _Denied("invalid_grant", "Invalid Token!")
    return state.issue(refresh.grant)


def _own(state: State, app: App, form: Mapping[str, str]) -> dict[str, Any]:
    _only(state, form, {"grant_type", "account_id"})
    if app.kind != "server_to_server":
        raise _Denied("unsupported_grant_type", "unsupported grant type")
    if form.get("account_id") != app.account_id:
        raise _Denied("invalid_request", "Bad request: invalid account_id")
    return state.issue(Grant(app.client_id, None, app.account_id, list(app.scopes)))


def _only(state: State, form: Mapping[str, str], known: set[str]) -> None:
    if unknown := set(form) - known:
        state.junk.append(f"token: {sorted(unknown)[0]}")
        raise _Denied("invalid_request", f"Unknown parameter {sorted(unknown)[0]}")


def _redirect(uri: str, more: Mapping[str, str]) -> Response:
    return RedirectResponse(f"{uri}{'&' if urlsplit(uri).query else '?'}{urlencode(more)}", 302)


def _is_loopback(uri: str) -> bool:
    return urlsplit(uri).hostname in ("127.0.0.1", "localhost", "::1")


def _page(title: str, body: str) -> str:
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>{body}'
