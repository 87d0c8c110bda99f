"""A Zoom on loopback: `python -m tests.fakes.zoom --port 9019`, for tests and for trying things out by hand.

    GET  /oauth/authorize                 a consent page for a browser; POST is its click
    POST /oauth/token, /oauth/revoke      codes, refreshes with rotation, Server-to-Server tokens
    GET  /v2/users, /v2/users/{user}, /v2/users/{user}/settings
    POST, GET /v2/users/{user}/meetings
    GET, PATCH, DELETE /v2/meetings/{id}
    GET  /j/{id}?pwd=, /s/{id}?zak=       the meeting itself, pages for people

With the service: `ZOOM_OAUTH_URL=http://127.0.0.1:9019/oauth ZOOM_API_URL=http://127.0.0.1:9019/v2` and the apps
`user-app`/`user-secret`, `admin-app`/`admin-secret`, `s2s-app`/`s2s-secret` (account `account-1`); its users are
anna@example.org and ben@example.org.

What tests steer and see, without any token:

    GET  /fake/state                      everything: users, meetings, tokens, calls, junk, mails, deliveries
    POST /fake/reset                      begin anew
    PUT  /fake/faults                     what goes wrong from now on, see `Faults`
    PUT  /fake/limits                     see `Limits`
    POST /fake/clock  {advance}           Zoom's clock goes forward by so many seconds
    PUT  /fake/users  {email, ...}        change a user, or make one
    PUT  /fake/apps   {client_id, ...}    change an app, or make one
    POST /fake/grant  {client_id, user}   what the token endpoint would answer after a consent
    POST /fake/expire {client_id}         its access tokens are over
    POST /fake/revoke {client_id, user}   the user removes the app; `webhook` tells it
    POST /fake/meetings/{id}              what a person changes in Zoom's own pages; `live` starts and ends it
    DELETE /fake/meetings/{id}            what a person removes there
    GET, PUT /fake/meetings               what it holds, to be given to another one
    POST /fake/fill {user, count, start}  so many meetings of other people's making
    POST /fake/webhooks {client_id, ...}  sends any event, signed; answers what the app said

An app with a `webhook_url` gets meeting.created, .updated and .deleted for everything, its own calls included (§4).
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from html import escape
from typing import Any, Literal

import httpx
import uvicorn
from pydantic import Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.fakes import zoom_oauth
from tests.fakes.zoom_api import Fields, NewMeeting, apply, schedule, serve, shown, stamp
from tests.fakes.zoom_state import App, Failure, Faults, Grant, Limits, Meeting, Refused, State, Strict, User
from tests.ports import NO_TLS
from tests.waiting import outage

ROUTES = (
    ("POST", "/oauth/token", "token"),
    ("POST", "/oauth/revoke", "revoke"),
    ("GET", "/v2/users", "users"),
    ("GET", "/v2/users/{user}", "user"),
    ("GET", "/v2/users/{user}/settings", "settings"),
    ("POST", "/v2/users/{user}/meetings", "create"),
    ("GET", "/v2/users/{user}/meetings", "list"),
    ("GET", "/v2/meetings/{meeting}", "get"),
    ("PATCH", "/v2/meetings/{meeting}", "update"),
    ("DELETE", "/v2/meetings/{meeting}", "delete"),
)
DEFAULT_FAILURES = {
    400: (300, "Validation Failed."),
    401: (124, "Invalid access token."),
    403: (403, "Shared access was not granted."),
    404: (3001, "Meeting does not exist."),
    429: (429, "You have reached the maximum per-second rate limit for this API. Try again later."),
}
"""What a failure says that a test did not word itself (§3)."""

_OAUTH: dict[str, Callable[[State, Request], Awaitable[Response]]] = {
    "token": zoom_oauth.token,
    "revoke": zoom_oauth.revoke,
}
_EVENT = {"create": "meeting.created", "update": "meeting.updated", "delete": "meeting.deleted"}


class Forward(Strict):
    """How far the clock goes forward, in seconds."""

    advance: float = Field(ge=0)


class Who(Strict):
    """A user's grant to an app; `webhook` tells the app (§4, app_deauthorized)."""

    client_id: str
    user: str | None = None
    webhook: bool = False


class Portal(Fields):
    """What a person does to a meeting in Zoom's own pages."""

    live: bool | None = None
    ended: bool | None = None


class Fill(Strict):
    """Meetings that somebody else made, all at one time."""

    user: str
    count: int = Field(ge=1)
    start: int


class Event(Strict):
    """An event to send: with a wrong `signature` or another age if a test wants that."""

    client_id: str
    event: str
    payload: dict[str, Any]
    age: int = 0
    signature: Literal["right", "wrong", "missing"] = "right"


class BrokenOff(Response):
    """An answer that ends before its end: the caller cannot know what happened."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Promise a body and stop."""
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


def application(state: State) -> Starlette:
    """Zoom as an ASGI application over `state`."""
    control = _Control(state)

    def call(verb: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await _perform(state, request, verb, control)

        return endpoint

    def with_state(do: Callable[[State, Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await do(state, request)

        return endpoint

    return Starlette(
        routes=[
            *(Route(path, call(verb), methods=[method]) for method, path, verb in ROUTES),
            Route("/oauth/authorize", with_state(zoom_oauth.authorize), methods=["GET"]),
            Route("/oauth/authorize", with_state(zoom_oauth.decide), methods=["POST"]),
            Route("/j/{id}", with_state(_join), methods=["GET"]),
            Route("/s/{id}", with_state(_start), methods=["GET"]),
            *control.routes(),
        ]
    )


async def _perform(state: State, request: Request, verb: str, control: "_Control") -> Response:
    seen: dict[str, Any] = {"method": request.method, "verb": verb, "path": request.url.path, "outcome": "refused"}
    seen["query"] = dict(request.query_params)
    state.calls.append(seen)
    body = await request.body()  # who hangs up while it waits has asked all the same
    seen["body"] = json.loads(body) if body and verb not in _OAUTH and _is_json(body) else None
    faults = state.faults
    concerned = faults.only in (None, verb)
    try:
        if concerned:
            await outage(faults.delay)
            if faults.fail:
                return _failed(faults, seen)
        answer = await (_OAUTH[verb](state, request) if verb in _OAUTH else serve(state, request, verb))
    except Refused as refused:
        seen["status"] = refused.status
        return JSONResponse(refused.body, refused.status, headers=refused.headers)
    seen["status"] = answer.status_code
    if answer.status_code < 400:
        seen["outcome"] = "done"
        control.announce(verb, request, answer)
    if concerned and faults.lose_answers:
        faults.lose_answers -= 1
        seen["outcome"] = "lost"
        return BrokenOff()
    return answer


def _failed(faults: Faults, seen: dict[str, Any]) -> Response:
    failure: Failure = faults.fail[0]
    failure.times -= 1
    if not failure.times:
        faults.fail.pop(0)
    seen["status"] = failure.status
    headers = dict(failure.headers)
    if failure.retry_after is not None:
        headers["retry-after"] = str(failure.retry_after)
    code, message = DEFAULT_FAILURES.get(failure.status, (failure.status, "Internal server error."))
    if failure.html:
        return HTMLResponse("<html>Something went wrong.</html>", failure.status, headers)
    body: dict[str, Any] = {"code": failure.code or code, "message": failure.message or message}
    if failure.errors:
        body["errors"] = failure.errors
    return JSONResponse(body, failure.status, headers)


class _Control:
    """What tests steer and see, and the webhooks that Zoom sends."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._sending: set[asyncio.Task[Any]] = set()

    def routes(self) -> list[Route]:
        """Everything below /fake."""
        table: tuple[tuple[str, str, Callable[[Request], Awaitable[Any]]], ...] = (
            ("GET", "/fake/state", self._show),
            ("POST", "/fake/reset", self._reset),
            ("PUT", "/fake/faults", self._faults),
            ("PUT", "/fake/limits", self._limits),
            ("POST", "/fake/clock", self._clock),
            ("PUT", "/fake/users", self._user),
            ("PUT", "/fake/apps", self._app),
            ("POST", "/fake/grant", self._grant),
            ("POST", "/fake/expire", self._expire),
            ("POST", "/fake/revoke", self._revoke),
            ("POST", "/fake/meetings/{id:int}", self._change),
            ("DELETE", "/fake/meetings/{id:int}", self._remove),
            ("GET", "/fake/meetings", self._kept),
            ("PUT", "/fake/meetings", self._restore),
            ("POST", "/fake/fill", self._fill),
            ("POST", "/fake/webhooks", self._event),
        )
        return [Route(path, self._guarded(do), methods=[method]) for method, path, do in table]

    def _guarded(self, do: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return JSONResponse(await do(request))
            except (ValidationError, KeyError, ValueError) as error:
                return JSONResponse({"code": 0, "message": repr(error)}, 400)

        return endpoint

    async def _show(self, request: Request) -> Any:
        state = self._state
        return {
            "now": state.now(),
            "apps": [app.model_dump(exclude={"client_secret"}) for app in state.apps.values()],
            "users": [user.model_dump() for user in state.users.values()],
            "meetings": [shown(state, meeting) for meeting in state.meetings.values()],
            "trash": [shown(state, meeting) for meeting in state.trash.values()],
            "access_tokens": [asdict(token) for token in state.accesses.values()],
            "refresh_tokens": [asdict(token) for token in state.refreshes.values()],
            "calls": state.calls,
            "junk": state.junk,
            "mails": state.mails,
            "deliveries": state.deliveries,
        }

    async def _reset(self, request: Request) -> Any:
        self._state.reset()

    async def _faults(self, request: Request) -> Any:
        self._state.faults = Faults.model_validate_json(await request.body())

    async def _limits(self, request: Request) -> Any:
        self._state.limits = Limits.model_validate_json(await request.body())

    async def _clock(self, request: Request) -> Any:
        self._state.offset += Forward.model_validate_json(await request.body()).advance
        return {"now": self._state.now()}

    async def _user(self, request: Request) -> Any:
        fields = await request.json()
        known = self._state.user(fields["email"])
        base = known.model_dump() if known else {"id": f"Zoom-{fields['email']}"}
        user = User.model_validate({**base, **fields})
        self._state.users[user.id] = user
        return user.model_dump()

    async def _app(self, request: Request) -> Any:
        fields = await request.json()
        known = self._state.apps.get(fields["client_id"])
        app = App.model_validate({**(known.model_dump() if known else {}), **fields})
        self._state.apps[app.client_id] = app

    async def _grant(self, request: Request) -> Any:
        who = Who.model_validate_json(await request.body())
        app = self._state.apps[who.client_id]
        if who.user is None:
            return self._state.issue(Grant(app.client_id, None, app.account_id, list(app.scopes)))
        user = self._state.user(who.user)
        if user is None:
            raise ValueError("no such user")
        self._state.end_grants(app.client_id, user.id)
        return self._state.issue(Grant(app.client_id, user.id, user.account_id, list(app.scopes)))

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
        self._state.end_grants(who.client_id, user.id)
        if who.webhook:
            payload = {"account_id": user.account_id, "user_id": user.id, "client_id": who.client_id}
            payload |= {"deauthorization_time": stamp(int(self._state.now())), "signature": "0"}
            return await self._send(self._state.apps[who.client_id], "app_deauthorized", payload)
        return None

    async def _change(self, request: Request) -> Any:
        meeting = self._state.meetings[request.path_params["id"]]
        wanted = Portal.model_validate_json(await request.body())
        fields = wanted.model_dump(exclude_none=True, exclude={"live", "ended"})
        meeting.live = meeting.live if wanted.live is None else wanted.live
        meeting.ended = meeting.ended if wanted.ended is None else wanted.ended
        apply(self._state, meeting, Fields.model_validate(fields))
        self._tell("meeting.updated", shown(self._state, meeting))

    async def _remove(self, request: Request) -> Any:
        meeting = self._state.meetings.pop(request.path_params["id"])
        self._state.trash[meeting.id] = meeting
        self._tell("meeting.deleted", shown(self._state, meeting))

    async def _kept(self, request: Request) -> Any:
        return [asdict(meeting) for meeting in self._state.meetings.values()]

    async def _restore(self, request: Request) -> Any:
        self._state.meetings = {row["id"]: Meeting(**row) for row in await request.json()}

    async def _fill(self, request: Request) -> Any:
        fill = Fill.model_validate_json(await request.body())
        user = self._state.user(fill.user)
        if user is None:
            raise ValueError("no such user")
        for _ in range(fill.count):
            new = NewMeeting(topic="Somebody else's", start_time=stamp(fill.start))
            schedule(self._state, user, new)

    async def _event(self, request: Request) -> Any:
        event = Event.model_validate_json(await request.body())
        app = self._state.apps[event.client_id]
        return await self._send(app, event.event, event.payload, age=event.age, signature=event.signature)

    def announce(self, verb: str, request: Request, answer: Response) -> None:
        """§4: events fire for our own calls too."""
        if verb not in _EVENT:
            return
        id_ = json.loads(bytes(answer.body))["id"] if verb == "create" else int(request.path_params["meeting"])
        meeting = self._state.meetings.get(id_) or self._state.trash[id_]
        self._tell(_EVENT[verb], shown(self._state, meeting))

    def _tell(self, event: str, meeting: dict[str, Any]) -> None:
        host = self._state.users[meeting["host_id"]]
        thing = {name: meeting[name] for name in ("id", "uuid", "host_id", "topic", "type", "duration")}
        payload = {"account_id": host.account_id, "operator": host.email, "operator_id": host.id, "object": thing}
        payload |= {"operation": "all"} if event == "meeting.deleted" else {}
        for app in self._state.apps.values():
            if app.webhook_url and app.account_id == host.account_id:
                task = asyncio.create_task(self._send(app, event, payload))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _send(
        self, app: App, event: str, payload: dict[str, Any], *, age: int = 0, signature: str = "right"
    ) -> dict[str, Any]:
        """§4: signed over the raw bytes; whoever does not answer within three seconds has not got it."""
        now = self._state.now()
        body = json.dumps({"event": event, "event_ts": int(now * 1000), "payload": payload})
        stamp = str(int(now) - age)
        secret = app.webhook_secret if signature == "right" else "another secret"
        digest = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {"content-type": "application/json", "x-zm-request-timestamp": stamp}
        headers |= {} if signature == "missing" else {"x-zm-signature": f"v0={digest}"}
        delivery: dict[str, Any] = {"event": event, "status": 0, "body": None}
        self._state.deliveries.append(delivery)
        try:
            async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=3.0) as client:
                answer = await client.post(app.webhook_url or "", content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            delivery["body"] = type(error).__name__
            return delivery
        delivery |= {"status": answer.status_code, "body": answer.text}
        return delivery


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


async def _join(state: State, request: Request) -> Response:
    id_ = request.path_params["id"]
    meeting = state.meetings.get(int(id_)) if id_.isdigit() else None
    if meeting is None:
        return _page(f"Invalid meeting ID: {id_}.", 404)
    right = state.join_url(meeting).partition("?pwd=")[2]
    if not hmac.compare_digest(right, request.query_params.get("pwd", "")):
        return _page("Enter the meeting passcode.", 403)
    if meeting.settings["waiting_room"]:
        return _page(f"“{meeting.topic}”: the host will let you in soon.")
    return _page(f"You are in the meeting “{meeting.topic}”.")


async def _start(state: State, request: Request) -> Response:
    id_ = request.path_params["id"]
    meeting = state.meetings.get(int(id_)) if id_.isdigit() else None
    if meeting is None or not request.query_params.get("zak", "").startswith("zak-"):
        return _page("This link is not good any more.", 404)
    return _page(f"You are the host of “{meeting.topic}”.")


def _page(sentence: str, status: int = 200) -> Response:
    html = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Zoom</title><p>{escape(sentence)}</p>'
    return HTMLResponse(html, status)


def main() -> None:
    """Listen on one address until stopped; the first line printed is the server's URL."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.zoom", description="A Zoom for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9019, help="0 takes a free one")
    arguments = parser.parse_args()
    listener = socket.create_server((arguments.host, arguments.port))
    url = f"http://{arguments.host}:{listener.getsockname()[1]}"
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    config = uvicorn.Config(application(State(url)), access_log=False, log_level="critical")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
