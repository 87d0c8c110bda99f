"""The one shape in which every error is answered: `{"error": {"code", "message"}}`."""

from collections.abc import Mapping
from typing import Annotated

import structlog
from fastapi import FastAPI, Header
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match

from service.store import StoreUnavailable

_log = structlog.get_logger(__name__)
_PLAIN = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
}


class Problem(HTTPException):
    """An error for whoever called: a status, a code for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, dict(headers) if headers else None)
        self.code = code


def problem(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as a response."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def answer_errors(app: FastAPI, public_url: str = "") -> None:
    """Make every error of `app` leave in the one shape, with the address where more stands about it."""

    def helped(response: JSONResponse, code: str) -> JSONResponse:
        response.headers["Link"] = f'<{public_url}/errors#{code}>; rel="help"'
        return response

    async def known(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
        if isinstance(error, Problem):
            return helped(problem(error.status_code, error.code, error.detail, error.headers), error.code)
        code, message = _PLAIN.get(error.status_code, ("refused", f"{error.detail}."))
        headers = error.headers if error.status_code != 405 else {"Allow": ", ".join(allowed(request))}
        return helped(problem(error.status_code, code, message, headers), code)

    def allowed(request: Request) -> list[str]:
        """Every method of an address; Starlette names only those of the first route that has it."""
        found = [route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE]
        return sorted({method for route in found for method in getattr(route, "methods", None) or ()})

    async def unread(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return helped(problem(400, "invalid_json", "The body is not valid JSON."), "invalid_json")
        text = sentence(first["loc"][1:] or first["loc"], first["msg"])
        return helped(problem(422, "invalid", text), "invalid")

    async def away(_: Request, error: Exception) -> JSONResponse:
        return helped(unavailable(error), "store_unavailable")

    async def broken(_: Request, error: Exception) -> JSONResponse:
        return helped(unexpected(error), "internal_error")

    app.add_exception_handler(HTTPException, known)
    app.add_exception_handler(RequestValidationError, unread)
    app.add_exception_handler(StoreUnavailable, away)
    app.add_exception_handler(Exception, broken)


def unavailable(error: Exception) -> JSONResponse:
    """What callers are told while the store is away."""
    _log.error("store_unavailable", reason=str(error))
    message = "The store cannot be reached; nothing was changed. Please send this again."
    return problem(503, "store_unavailable", message, {"Retry-After": "5"})


def unexpected(error: Exception) -> JSONResponse:
    """What callers are told of a fault of ours."""
    _log.error("unexpected_error", exc_info=error)
    return problem(500, "internal_error", "Something went wrong here; the operator's log says what.")


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
