"""A Google on loopback: `python -m tests.fakes.google --port 9020`, for tests and for trying things out by hand.

Google's paths are as they are, all on one address: what stands on accounts.google.com, oauth2.googleapis.com,
www.googleapis.com, openidconnect.googleapis.com, meet.googleapis.com and meet.google.com is below the fake's URL.

    GET  /o/oauth2/v2/auth                consent pages for a browser, with scopes to untick; POST is the click
    POST /token, /revoke                  codes, refreshes, a service account's assertions
    GET  /oauth2/v3/certs, /v1/userinfo, /oauth2/v2/userinfo, /.well-known/openid-configuration
    POST /v2/spaces, /v2/spaces/{id}:endActiveConference; GET, PATCH /v2/spaces/{id}
    POST, GET /calendar/v3/calendars/{calendar}/events; GET, PATCH, DELETE /calendar/v3/calendars/{calendar}/events/{id}
    GET  /{abc-mnop-xyz}                  a room's door: 200 in, 403 must knock, 404 no such room

Apps: `user-app`/`user-secret` (External, in production), `testing-app`/`testing-secret` (External, in Testing),
`internal-app`/`internal-secret` (Internal to example.org). People: anna@example.org and ben@example.org of one
Workspace, carla@example.com of none. A service account `robot@project-1.iam.gserviceaccount.com`, to which example.org
delegated two scopes.

What tests steer and see, without any token:

    GET  /fake/state                      everything: people, spaces, events, tokens, calls, junk, mails
    POST /fake/reset                      begin anew
    PUT  /fake/faults                     what goes wrong from now on, see `Faults`
    PUT  /fake/limits, /fake/readings     see `Limits` and `Readings`
    POST /fake/clock  {advance}           Google's clock goes forward by so many seconds
    PUT  /fake/users  {email, ...}        change a person, or make one; see `User`
    PUT  /fake/apps   {client_id, ...}    change an app, or make one; see `App`
    PUT  /fake/service-accounts {client_email, ...}   the same, `delegated` too; see `ServiceAccount`
    GET  /fake/keys/{client_email}        the service account's key file
    POST /fake/grant  {client_id, user, scopes}   what the token endpoint would answer after a consent
    POST /fake/expire {client_id}         its access tokens are over
    POST /fake/revoke {client_id, user}   the person removes the app at myaccount.google.com/permissions
    POST /fake/events/{id}                what a person changes in Calendar's own pages
    DELETE /fake/events/{id}              what a person deletes there; `?purge=true` empties the bin too
    POST /fake/spaces/{id} {live, accessType}   people come and go; the host changes who may come in
    DELETE /fake/spaces/{id}              it is gone, as Google may decide
"""

import argparse
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Literal

import uvicorn
from pydantic import Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.fakes import google_oauth
from tests.fakes.google_api import (
    CALENDAR_REASONS,
    USUAL,
    Call,
    Endpoint,
    Verbs,
    calendar_error,
    endpoints,
    meet_error,
)
from tests.fakes.google_calendar import CALENDAR_VERBS, cancel, merge, touch
from tests.fakes.google_meet import MEET_VERBS, door, shown
from tests.fakes.google_state import (
    AUTH,
    LONG_NAMES,
    App,
    Event,
    Failure,
    Faults,
    Grant,
    Limits,
    Readings,
    Refused,
    ServiceAccount,
    State,
    Strict,
    User,
    private_pem,
    public_pem,
)
from tests.waiting import outage

ROUTES = (
    ("POST", "/token", "token"),
    ("POST", "/revoke", "revoke"),
    ("GET", "/v1/userinfo", "userinfo"),
    ("GET", "/oauth2/v3/userinfo", "userinfo"),
    ("GET", "/oauth2/v2/userinfo", "userinfo.get"),
    ("GET", "/oauth2/v3/certs", "certs"),
    ("POST", "/v2/spaces", "spaces.create"),
    ("POST", "/v2/spaces/{space}:endActiveConference", "spaces.endActiveConference"),
    ("GET", "/v2/spaces/{space}", "spaces.get"),
    ("PATCH", "/v2/spaces/{space}", "spaces.patch"),
    ("GET", "/v2/conferenceRecords", "conferenceRecords.list"),
    ("POST", "/calendar/v3/calendars/{calendar}/events", "events.insert"),
    ("GET", "/calendar/v3/calendars/{calendar}/events", "events.list"),
    ("GET", "/calendar/v3/calendars/{calendar}/events/{event}", "events.get"),
    ("PATCH", "/calendar/v3/calendars/{calendar}/events/{event}", "events.patch"),
    ("DELETE", "/calendar/v3/calendars/{calendar}/events/{event}", "events.delete"),
)


def _about(call: Call) -> Response:
    """Userinfo of oauth2 v2: its fields are not OpenID Connect's."""
    if call.user is None:
        raise meet_error(403, "The caller does not have permission")
    about: dict[str, Any] = {"id": call.user.id, "picture": f"{call.state.url}/icon.png"}
    if LONG_NAMES["email"] in call.access.grant.scopes:
        about |= {"email": call.user.email, "verified_email": True}
        about |= {"hd": call.user.domain} if call.user.domain else {}
    return JSONResponse(about)


_ABOUT: Verbs = {"userinfo.get": ("oauth2", _about)}
VERBS: dict[str, Endpoint] = {
    "token": google_oauth.token,
    "revoke": google_oauth.revoke,
    "userinfo": google_oauth.userinfo,
    "certs": google_oauth.certs,
    **endpoints(_ABOUT),
    **endpoints(MEET_VERBS),
    **endpoints(CALENDAR_VERBS),
}


class Forward(Strict):
    """How far the clock goes forward, in seconds; back if it is less than 0."""

    advance: float = Field(ge=-86_400)


class Who(Strict):
    """A person's grant to an app, or a service account's for a person; `scopes` by their short names or whole."""

    client_id: str
    user: str | None = None
    scopes: list[str] = Field(default_factory=list)


class Room(Strict):
    """What happens to a space without this project."""

    live: bool | None = None
    accessType: Literal["OPEN", "TRUSTED", "RESTRICTED"] | None = None


class BrokenOff(Response):
    """An answer that ends before its end: the caller cannot know what happened."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Promise a body and stop."""
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


def application(state: State) -> Starlette:
    """Google as an ASGI application over `state`."""

    def call(verb: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await _perform(state, request, verb)

        return endpoint

    def with_state(do: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await do(state, request)

        return endpoint

    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(
        routes=[
            *(Route(path, call(verb), methods=[method]) for method, path, verb in ROUTES),
            Route("/o/oauth2/v2/auth", with_state(google_oauth.authorize), methods=["GET"]),
            Route("/o/oauth2/v2/auth", with_state(google_oauth.decide), methods=["POST"]),
            Route("/.well-known/openid-configuration", with_state(google_oauth.configuration), methods=["GET"]),
            *_Control(state).routes(),
            Route("/{code}", with_state(door), methods=["GET"]),
            Route("/{path:path}", with_state(_nowhere), methods=every),
        ]
    )


async def _nowhere(state: State, request: Request) -> Response:
    state.junk.append(f"{request.method} {request.url.path}")
    return HTMLResponse("<title>Error 404 (Not Found)!!1</title>", 404)


async def _perform(state: State, request: Request, verb: str) -> Response:
    seen: dict[str, Any] = {"method": request.method, "verb": verb, "path": request.url.path, "outcome": "refused"}
    seen["query"] = dict(request.query_params)
    state.calls.append(seen)
    body = await request.body()  # who hangs up while it waits has asked all the same
    seen["body"] = json.loads(body) if body and _is_json(body) else None
    faults = state.faults
    concerned = faults.only in (None, verb)
    failure: Failure | None = None
    try:
        if concerned:
            await outage(faults.delay)
            if faults.drop:
                faults.drop -= 1
                seen["outcome"] = "dropped"
                return BrokenOff()
            failure = _next(faults)
        if failure and not failure.committed:
            return _failed(failure, verb, seen)
        answer = await VERBS[verb](state, request)
    except Refused as refused:
        seen["status"] = refused.status
        return JSONResponse(refused.body, refused.status, headers=refused.headers)
    seen["status"] = answer.status_code
    if answer.status_code < 400:
        seen["outcome"] = "done"
    if concerned:
        await outage(faults.answer_delay)
    if failure:
        return _failed(failure, verb, seen)
    if concerned and faults.lose_answers:
        faults.lose_answers -= 1
        seen["outcome"] = "lost"
        return BrokenOff()
    return answer


def _next(faults: Faults) -> Failure | None:
    if not faults.fail:
        return None
    failure = faults.fail[0]
    failure.times -= 1
    if not failure.times:
        faults.fail.pop(0)
    return failure


def _failed(failure: Failure, verb: str, seen: dict[str, Any]) -> Response:
    """What Google says with this status in this API, unless the test words it."""
    seen["status"] = failure.status
    headers = dict(failure.headers)
    if failure.retry_after is not None:
        headers["retry-after"] = str(failure.retry_after)
    if failure.html:
        return HTMLResponse("<html>Something went wrong.</html>", failure.status, headers)
    return JSONResponse(_failure_body(failure, verb), failure.status, headers=headers)


def _failure_body(failure: Failure, verb: str) -> dict[str, Any]:
    status, reason, message = failure.status, failure.reason, failure.message
    if verb.startswith("events."):
        reason = reason or USUAL.get(status, "backendError")
        return calendar_error(status, reason, message or CALENDAR_REASONS.get(reason)).body
    if verb.startswith("spaces."):
        return meet_error(status, message or "The service is currently unavailable.", reason).body
    usual = {400: "invalid_grant", 401: "invalid_client", 403: "access_denied"}.get(status, "internal_failure")
    return {"error": reason or usual, "error_description": message or "Backend Error"}


class _Control:
    """What tests steer and see."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Everything below /fake."""
        table: tuple[tuple[str, str, Callable[[Request], Awaitable[Any]]], ...] = (
            ("GET", "/fake/state", self._show),
            ("POST", "/fake/reset", self._reset),
            ("PUT", "/fake/faults", self._faults),
            ("PUT", "/fake/limits", self._limits),
            ("PUT", "/fake/readings", self._readings),
            ("POST", "/fake/clock", self._clock),
            ("PUT", "/fake/users", self._user),
            ("PUT", "/fake/apps", self._app),
            ("PUT", "/fake/service-accounts", self._service_account),
            ("GET", "/fake/keys/{email}", self._key),
            ("POST", "/fake/grant", self._grant),
            ("POST", "/fake/expire", self._expire),
            ("POST", "/fake/revoke", self._revoke),
            ("POST", "/fake/events/{id}", self._change),
            ("DELETE", "/fake/events/{id}", self._remove),
            ("POST", "/fake/spaces/{id}", self._room),
            ("DELETE", "/fake/spaces/{id}", self._vanish),
        )
        return [Route(path, self._guarded(do), methods=[method]) for method, path, do in table]

    def _guarded(self, do: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return JSONResponse(await do(request))
            except (ValidationError, KeyError, ValueError) as error:
                return JSONResponse({"error": repr(error)}, 400)

        return endpoint

    async def _show(self, request: Request) -> Any:
        state = self._state
        spaces = [
            {**shown(state, space), "owner": state.users[space.owner_id].email, "origin": space.origin}
            for space in state.spaces.values()
        ]
        return {
            "now": state.now(),
            "apps": [app.model_dump(exclude={"client_secret"}) for app in state.apps.values()],
            "service_accounts": [each.model_dump() for each in state.service_accounts.values()],
            "users": [user.model_dump() for user in state.users.values()],
            "spaces": spaces,
            "events": [
                {**event.body, "calendar": event.calendar} for event in state.events.values() if not event.purged
            ],
            "access_tokens": [asdict(token) for token in state.accesses.values()],
            "refresh_tokens": [asdict(token) for token in state.refreshes.values()],
            "calls": state.calls,
            "junk": state.junk,
            "mails": state.mails,
        }

    async def _reset(self, request: Request) -> Any:
        self._state.reset()

    async def _faults(self, request: Request) -> Any:
        self._state.faults = Faults.model_validate_json(await request.body())

    async def _limits(self, request: Request) -> Any:
        self._state.limits = Limits.model_validate_json(await request.body())

    async def _readings(self, request: Request) -> Any:
        self._state.readings = Readings.model_validate_json(await request.body())

    async def _clock(self, request: Request) -> Any:
        self._state.offset += Forward.model_validate_json(await request.body()).advance
        return {"now": self._state.now()}

    async def _user(self, request: Request) -> Any:
        fields = await request.json()
        known = self._state.user(fields["email"])
        user = User.model_validate({**(known.model_dump() if known else {}), **fields})
        self._state.users[user.id] = user
        return user.model_dump()

    async def _app(self, request: Request) -> Any:
        fields = await request.json()
        known = self._state.apps.get(fields["client_id"])
        app = App.model_validate({**(known.model_dump() if known else {}), **fields})
        self._state.apps[app.client_id] = app

    async def _service_account(self, request: Request) -> Any:
        fields = await request.json()
        known = self._state.service_accounts.get(fields["client_email"])
        base = known.model_dump() if known else {"public_key": public_pem("robot")}
        delegated = {d: [self._whole(s) for s in names] for d, names in fields.get("delegated", {}).items()}
        fields |= {"delegated": delegated} if "delegated" in fields else {}
        account = ServiceAccount.model_validate({**base, **fields})
        self._state.service_accounts[account.client_email] = account

    async def _key(self, request: Request) -> Any:
        account = self._state.service_accounts[request.path_params["email"]]
        return {
            "type": "service_account",
            "project_id": account.project,
            "private_key_id": account.private_key_id,
            "private_key": private_pem("robot"),
            "client_email": account.client_email,
            "client_id": account.client_id,
            "auth_uri": f"{self._state.url}/o/oauth2/v2/auth",
            "token_uri": f"{self._state.url}/token",
            "universe_domain": "googleapis.com",
        }

    def _whole(self, scope: str) -> str:
        long = LONG_NAMES.get(scope, scope)
        return long if long == "openid" or long.startswith(AUTH) else f"{AUTH}{long}"

    async def _grant(self, request: Request) -> Any:
        who, state = Who.model_validate_json(await request.body()), self._state
        user = state.user(who.user) if who.user else None
        owner = state.service_accounts.get(who.client_id) or state.apps[who.client_id]
        if who.user and user is None:
            raise ValueError("no such user")
        scopes, offline = [self._whole(scope) for scope in who.scopes], isinstance(owner, App)
        if user and offline:
            state.consents.setdefault((owner.project, user.id), set()).update(scopes)
            state.comers.setdefault(owner.project, set()).add(user.id)
        return state.issue(Grant(who.client_id, owner.project, user.id if user else None, scopes, offline))

    async def _expire(self, request: Request) -> Any:
        who = Who.model_validate_json(await request.body())
        for access in self._state.accesses.values():
            if access.grant.client_id == who.client_id:
                access.expires = self._state.now() - 1

    async def _revoke(self, request: Request) -> Any:
        who = Who.model_validate_json(await request.body())
        user = self._state.user(who.user or "")
        if user is None:
            raise ValueError("no such user")
        return self._state.revoke(self._state.apps[who.client_id].project, user.id)

    def _event(self, request: Request) -> Event:
        return next(event for (_, id_), event in self._state.events.items() if id_ == request.path_params["id"])

    async def _change(self, request: Request) -> Any:
        event = self._event(request)
        event.body = merge(event.body, await request.json())
        touch(self._state, event)

    async def _remove(self, request: Request) -> Any:
        event = self._event(request)
        cancel(self._state, event)
        event.purged = request.query_params.get("purge") == "true"

    async def _room(self, request: Request) -> Any:
        space = self._state.spaces[request.path_params["id"]]
        wanted = Room.model_validate_json(await request.body())
        if wanted.live is not None:
            space.conference = self._state.uuid() if wanted.live else None
            space.used = self._state.now()
        if wanted.accessType:
            space.config["accessType"] = wanted.accessType

    async def _vanish(self, request: Request) -> Any:
        del self._state.spaces[request.path_params["id"]]


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def main() -> None:
    """Listen on one address until stopped; the first line printed is the server's URL."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.google", description="A Google for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9020, help="0 takes a free one")
    arguments = parser.parse_args()
    listener = socket.create_server((arguments.host, arguments.port))
    url = f"http://{arguments.host}:{listener.getsockname()[1]}"
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    config = uvicorn.Config(application(State(url)), access_log=False, log_level="critical")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
