"""A meeting server people can use and tests can make fail: `python -m providers.memory_server --port 9009`.

    POST   /meetings  {key, generation, owner, title, start, duration, time_zone, host}: 201, or 200 if it exists
    PATCH  /meetings/{id}                any of title, start, duration, time_zone, host
    DELETE /meetings/{id}                204, 404 if it is gone
    GET    /meetings?key=&generation=    {"meetings": [...]}, without a query all of them
    GET    /meetings?since=&page=        those not over then, 100 a page: {"meetings": [...], "following": page or null}
    GET    /                             {"meetings": how many}
    GET    /join/{id}                    the meeting itself, a page for people
    PUT    /faults                       what goes wrong from now on, see `Faults`
    GET    /calls                        {"calls": [{method, verb, key, generation, outcome}]}
    POST   /reset                        forget meetings, faults and calls

Errors are `{"code", "message"}`. With `--token` all but `/join` want it as a bearer token. Everything is held
in memory and gone when the server stops.
"""

import argparse
import asyncio
import hmac
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from html import escape
from json import JSONDecodeError, loads
from secrets import token_urlsafe
from time import time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import uvicorn
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Verb = Literal["create", "update", "delete", "find", "list", "probe"]

MAX_TIME = 7_258_118_400
"""Latest start, unix seconds: the year 2200, early enough to refuse milliseconds."""
MAX_DURATION = 31 * 86_400
MAX_TITLE = 200
PAGE_SIZE = 100


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError("no such time zone") from None
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class MeetingFields(_Strict):
    """What can change in a meeting."""

    title: str = Field(min_length=1, max_length=MAX_TITLE)
    start: int = Field(ge=0, le=MAX_TIME)
    duration: int = Field(gt=0, le=MAX_DURATION)
    time_zone: Annotated[str, AfterValidator(_known_zone)]
    host: str | None = Field(min_length=1, max_length=200)


class NewMeeting(MeetingFields):
    """What a meeting is made of."""

    key: str = Field(pattern=r"^[0-9a-f]{32}$")
    generation: int = Field(ge=0)
    owner: str = Field(default="", pattern=r"^([0-9a-f]{8})?$")


class Failure(_Strict):
    """The next `times` calls are refused with `status`, before anything happens."""

    status: int = Field(ge=400, le=599)
    times: int = Field(default=1, ge=1)
    retry_after: str | int | None = None


class Faults(_Strict):
    """What goes wrong: every call waits, `fail` are refused one after the other, then answers get lost.

    On `hold` calls wait until other faults are set. A call whose answer is lost has happened. `only` spares all calls
    but those of one verb. A `forgetful` server makes another meeting at every create, as vendors without idempotency
    do; one whose list is `older` by some seconds says that everything was made that much sooner.
    """

    delay: float = Field(default=0.0, ge=0, le=600)
    hold: bool = False
    lose_answers: int = Field(default=0, ge=0)
    fail: list[Failure] = Field(default_factory=list)
    only: Verb | None = None
    forgetful: bool = False
    older: float = Field(default=0.0, ge=0)


@dataclass
class Call:
    """One call as `/calls` shows it."""

    method: str
    verb: Verb
    key: str | None = None
    generation: int | None = None
    outcome: str = "refused"


@dataclass
class State:
    """All the server knows. A deleted meeting stays under its key as None, so that it is never made again."""

    url: str
    token: str | None = None
    meetings: dict[str, dict[str, Any]] = field(default_factory=dict)
    ids: dict[tuple[str, int], str | None] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    faults: Faults = field(default_factory=Faults)
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[Call] = field(default_factory=list)

    def reset(self) -> None:
        """Forget everything but the address and the token."""
        for known in (self.meetings, self.ids, self.deleted, self.calls):
            known.clear()
        self.afflict(Faults())

    def afflict(self, faults: Faults) -> None:
        """Put `faults` in the place of those before."""
        self.replaced.set()
        self.faults, self.replaced = faults, asyncio.Event()


class Refused(Exception):
    """The call is answered with this status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers: dict[str, str] = {}


class BrokenOff(Response):
    """An answer that ends before its end: the caller cannot know what happened."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Promise a body and stop."""
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


Do = Callable[[State, Request, Call], Awaitable[Response]]


def application(state: State) -> Starlette:
    """The server as an ASGI application over `state`."""

    def verb(name: Verb, do: Do) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await _perform(state, request, Call(request.method, name), do)

        return endpoint

    find, listing = verb("find", _find), verb("list", _list)

    async def find_or_list(request: Request) -> Response:
        if request.query_params:
            return await (listing if "since" in request.query_params else find)(request)
        return JSONResponse({"meetings": list(state.meetings.values())})

    async def faults(request: Request) -> Response:
        state.afflict(Faults.model_validate(await _json(request)))
        return JSONResponse(state.faults.model_dump())

    async def calls(request: Request) -> Response:
        return JSONResponse({"calls": [asdict(call) for call in state.calls]})

    async def reset(request: Request) -> Response:
        state.reset()
        return Response(status_code=204)

    async def join(request: Request) -> Response:
        return _page(state, request.path_params["id"])

    def guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
        async def guard(request: Request) -> Response:
            try:
                _authorize(state, request)
                return await endpoint(request)
            except ValidationError as error:
                return _error(Refused(400, "invalid", _sentence(error)))
            except Refused as refused:
                return _error(refused)

        return guard

    return Starlette(
        routes=[
            Route("/", guarded(verb("probe", _probe)), methods=["GET"]),
            Route("/meetings", guarded(verb("create", _create)), methods=["POST"]),
            Route("/meetings", guarded(find_or_list), methods=["GET"]),
            Route("/meetings/{id}", guarded(verb("update", _update)), methods=["PATCH"]),
            Route("/meetings/{id}", guarded(verb("delete", _delete)), methods=["DELETE"]),
            Route("/join/{id}", join, methods=["GET"]),
            Route("/faults", guarded(faults), methods=["PUT"]),
            Route("/calls", guarded(calls), methods=["GET"]),
            Route("/reset", guarded(reset), methods=["POST"]),
        ]
    )


async def _perform(state: State, request: Request, call: Call, do: Do) -> Response:
    state.calls.append(call)
    faults = state.faults
    concerned = faults.only in (None, call.verb)
    if concerned:
        await request.body()  # who hangs up while it waits has asked all the same
        await asyncio.sleep(faults.delay)
        if faults.hold:
            await state.replaced.wait()
        if faults.fail:
            raise _next_failure(faults, call)
    answer = await do(state, request, call)
    if concerned and faults.lose_answers:
        faults.lose_answers -= 1
        call.outcome = "lost"
        return BrokenOff()
    return answer


def _next_failure(faults: Faults, call: Call) -> Refused:
    failure = faults.fail[0]
    failure.times -= 1
    if not failure.times:
        faults.fail.pop(0)
    call.outcome = f"failed {failure.status}"
    refused = Refused(failure.status, "fault", "Somebody asked for this failure.")
    if failure.retry_after is not None:
        refused.headers["retry-after"] = str(failure.retry_after)
    return refused


async def _create(state: State, request: Request, call: Call) -> Response:
    new = NewMeeting.model_validate(await _json(request))
    call.key, call.generation = name = new.key, new.generation
    known = state.ids.get(name)
    if known and not state.faults.forgetful:
        call.outcome = "existed"
        return JSONResponse(state.meetings[known])
    if name in state.ids and not state.faults.forgetful:
        call.outcome = "burnt"
        raise Refused(409, "burnt", "This meeting was deleted; make one of another generation.")
    id_ = token_urlsafe(16)
    state.ids[name] = id_
    made = {"id": id_, "join_url": f"{state.url}/join/{id_}", "made_at": time()}
    state.meetings[id_] = {**made, **new.model_dump()}
    call.outcome = "created"
    return JSONResponse(state.meetings[id_], status_code=201)


async def _update(state: State, request: Request, call: Call) -> Response:
    meeting = _existing(state, request, call)
    changes = await _json(request)
    if not isinstance(changes, dict):
        raise Refused(400, "invalid", "The body must be a JSON object.")
    fields = {name: meeting[name] for name in MeetingFields.model_fields}
    meeting.update(MeetingFields.model_validate({**fields, **changes}).model_dump())
    call.outcome = "updated"
    return JSONResponse(meeting)


async def _delete(state: State, request: Request, call: Call) -> Response:
    meeting = _existing(state, request, call)
    del state.meetings[meeting["id"]]
    state.deleted.add(meeting["id"])
    state.ids[meeting["key"], meeting["generation"]] = None
    call.outcome = "deleted"
    return Response(status_code=204)


async def _find(state: State, request: Request, call: Call) -> Response:
    key, generation = request.query_params.get("key", ""), request.query_params.get("generation", "")
    if not (generation.isascii() and generation.isdigit()) or len(generation) > 9:
        raise Refused(400, "invalid", "generation must be a number.")
    call.key, call.generation = key, int(generation)
    name = (key, int(generation))
    found = [each for each in state.meetings.values() if (each["key"], each["generation"]) == name]
    call.outcome = "found" if found else "nothing"
    return JSONResponse({"meetings": found[-1:]})


async def _list(state: State, request: Request, call: Call) -> Response:
    try:
        since, page = int(request.query_params["since"]), float(request.query_params.get("page", "0"))
    except ValueError:
        raise Refused(400, "invalid", "since and page must be numbers.") from None
    rows = (each for each in state.meetings.values() if each["made_at"] > page)
    found = [each for each in rows if each["start"] + each["duration"] > since]
    now, following = found[:PAGE_SIZE], None
    if found[PAGE_SIZE:]:
        following = str(now[-1]["made_at"])
    call.outcome = "listed"
    shown = [{**each, "made_at": each["made_at"] - state.faults.older} for each in now]
    return JSONResponse({"meetings": shown, "following": following})


async def _probe(state: State, request: Request, call: Call) -> Response:
    call.outcome = "answered"
    return JSONResponse({"meetings": len(state.meetings)})


def _existing(state: State, request: Request, call: Call) -> dict[str, Any]:
    meeting = state.meetings.get(request.path_params["id"])
    if meeting is None:
        call.outcome = "gone"
        raise Refused(404, "gone", "There is no such meeting.")
    call.key, call.generation = meeting["key"], meeting["generation"]
    return meeting


def _authorize(state: State, request: Request) -> None:
    given = request.headers.get("authorization", "").encode()
    if state.token is not None and not hmac.compare_digest(given, f"Bearer {state.token}".encode()):
        raise Refused(401, "unauthorized", "The bearer token is missing or wrong.")


async def _json(request: Request) -> Any:
    try:
        return loads(await request.body())
    except (JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, "invalid", "The body is not JSON.") from None


def _sentence(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    )


def _error(refused: Refused) -> Response:
    body = {"code": refused.code, "message": refused.message}
    return JSONResponse(body, status_code=refused.status, headers=refused.headers)


def _page(state: State, id_: str) -> Response:
    meeting = state.meetings.get(id_)
    if meeting:
        return HTMLResponse(_html(f"You are in the meeting “{escape(meeting['title'])}”."))
    if id_ in state.deleted:
        return HTMLResponse(_html("This meeting was removed."), status_code=410)
    return HTMLResponse(_html("There is no such meeting."), status_code=404)


def _html(sentence: str) -> str:
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Meeting</title><p>{sentence}</p>'


def main() -> None:
    """Listen on one address until stopped; the first line printed is the server's URL."""
    parser = argparse.ArgumentParser(prog="python -m providers.memory_server", description="A meeting server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9009, help="0 takes a free one")
    parser.add_argument("--token", help="the bearer token callers must send")
    arguments = parser.parse_args()
    listener = socket.create_server((arguments.host, arguments.port))
    url = f"http://{arguments.host}:{listener.getsockname()[1]}"
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    config = uvicorn.Config(application(State(url, arguments.token)), access_log=False, log_level="critical")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
