"""The one shape in which every error is answered: `{"error": {"code", "message"}}`; people with browsers get a page."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import structlog
from fastapi import Header
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from service.store import StoreUnavailable

_log = structlog.get_logger(__name__)
_AWAY = "The store cannot be reached: this was not done, or only in part. Send it again and see what came of it."
_FAULT = "Something went wrong here; the operator's log says what."
_PLAIN = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
}


class Problem(HTTPException):
    """An error for whoever called: a status, a code for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, dict(headers) if headers else None)
        self.code = code


class ErrorResponse(JSONResponse):
    """An error in the one shape; it keeps what it says for who makes a page of it."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__({"error": {"code": code, "message": message}}, status, headers)
        self.code, self.message = code, message


def problem(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> ErrorResponse:
    """An error as a response."""
    return ErrorResponse(status, code, message, headers)


PageOf = Callable[[Request, int, str, str], Awaitable[Response]]
"""Makes the page of an error: of its status, its code and its sentence."""
_FOR_PROGRAMS = ("/api/", "/webhooks/", "/m/", "/static/")


def for_people(request: Request) -> bool:
    """Whether whoever asks is a person with a browser at a page of the settings."""
    inside = request.scope["path"].startswith(_FOR_PROGRAMS)
    return not inside and "text/html" in request.headers.get("accept", "").lower()


def answer_errors(app: Starlette, public_url: str = "", page_of: PageOf | None = None) -> None:
    """Make every error of `app` leave in the one shape, with the address where more stands about it.

    A person sees a page instead.
    """

    async def told(request: Request, answer: ErrorResponse) -> Response:
        answer.headers["Link"] = f'<{public_url}/errors#{answer.code}>; rel="help"'
        if page_of is None or not for_people(request):
            return answer
        page = await page_of(request, answer.status_code, answer.code, answer.message)
        for name in ("Allow", "Retry-After"):
            if name in answer.headers:
                page.headers[name] = answer.headers[name]
        return page

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
        if isinstance(error, Problem):
            return await told(request, problem(error.status_code, error.code, error.detail, error.headers))
        code, message = _PLAIN.get(error.status_code, ("refused", f"{error.detail}."))
        headers = error.headers if error.status_code != 405 else {"Allow": ", ".join(allowed(request))}
        return await told(request, problem(error.status_code, code, message, headers))

    def allowed(request: Request) -> list[str]:
        """Every method of an address; Starlette names only those of the first route that has it."""
        found = [route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE]
        path = getattr(found[0], "path", None)  # a later one may be wider: it has other addresses in mind
        same = [route for route in found if getattr(route, "path", None) == path]
        return sorted({method for route in same for method in getattr(route, "methods", None) or ()})

    async def unread(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return await told(request, problem(400, "invalid_json", "The body is not valid JSON."))
        return await told(request, problem(422, "invalid", sentence(first["loc"][1:] or first["loc"], first["msg"])))

    async def away(request: Request, error: Exception) -> Response:
        return await told(request, unavailable(error))

    async def broken(request: Request, error: Exception) -> Response:
        return await told(request, unexpected(error))

    app.add_exception_handler(HTTPException, known)
    app.add_exception_handler(RequestValidationError, unread)
    app.add_exception_handler(StoreUnavailable, away)
    app.add_exception_handler(Exception, broken)


def unavailable(error: Exception) -> ErrorResponse:
    """What callers are told while the store is away."""
    _log.error("store_unavailable", reason=str(error))
    return problem(503, "store_unavailable", _AWAY, {"Retry-After": "5"})


def unexpected(error: Exception) -> ErrorResponse:
    """What callers are told of a fault of ours."""
    _log.error("unexpected_error", exc_info=error)
    return problem(500, "internal_error", _FAULT)


def sentence(where: tuple[int | str, ...], what: str) -> str:
    """A validation error in words: which field, and what is wrong with it."""
    name = ".".join(str(part) for part in where)
    said = what.removeprefix("Value error, ").rstrip(".")
    return f"`{name}`: {said}." if name else f"{said}."


BY_API = "API"
"""Who changed something, where it was a program with the token."""

IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="The ETag that was read; another by now is a 412.")
]


def version_in(if_match: str | None) -> str | None:
    """The version in an If-Match header, None where any will do."""
    return None if if_match in (None, "*") else if_match.removeprefix("W/").strip('"')


def meanwhile() -> Problem:
    """Two admins changed the same thing."""
    text = "Somebody else changed this in the meantime; look at it again before you save."
    return Problem(412, "changed_meanwhile", text)


def invalid(error: ValidationError, *within: str) -> Problem:
    """What is wrong with fields, the first of it, within the field they are in."""
    first = error.errors(include_input=False, include_url=False)[0]
    return Problem(422, "invalid", sentence((*within, *first["loc"]), first["msg"]))
