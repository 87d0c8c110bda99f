"""Google's errors: status and reason together, and what the caller does next."""

import json
from typing import Any

import pytest

from providers.base import MeetingNotFound, PermanentError, ProviderError, ReconnectRequired, TemporaryError
from providers.google_account import EVENTS, SPACES
from providers.google_answers import HOURS, Changed, Duplicate, NotAllowed, ScopeMissing, TooMany, explain
from providers.http import Answer
from providers.testing import a_spec
from tests.fakes.google_server import GoogleServer
from tests.providers.googling import connected


def calendar(status: int, reason: str, message: str = "Very secret words.") -> Answer:
    """What Calendar says."""
    error = {"errors": [{"domain": "global", "reason": reason, "message": message}], "code": status, "message": message}
    return answer(status, {"error": error})


def meet(status: int, name: str, message: str = "Very secret words.", reason: str | None = None) -> Answer:
    """What Meet says."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return answer(status, {"error": {"code": status, "message": message, "status": name, "details": details}})


def answer(status: int, body: Any, **headers: str) -> Answer:
    return Answer("www.googleapis.com", status, headers, json.dumps(body).encode(), safe=True)


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (calendar(400, "invalid", "Invalid conference type value."), PermanentError, "cannot have Google Meet"),
        (calendar(400, "timeRangeEmpty"), PermanentError, "does not accept what we sent"),
        (meet(400, "INVALID_ARGUMENT"), NotAllowed, "host's account"),
        (meet(400, "FAILED_PRECONDITION"), NotAllowed, "host's account"),
        (calendar(401, "authError"), ReconnectRequired, "connect the account again"),
        (meet(401, "UNAUTHENTICATED"), ReconnectRequired, "connect the account again"),
        (calendar(403, "rateLimitExceeded"), TooMany, "fewer calls"),
        (calendar(403, "userRateLimitExceeded"), TooMany, "fewer calls"),
        (calendar(429, "rateLimitExceeded"), TooMany, "fewer calls"),
        (meet(429, "RESOURCE_EXHAUSTED"), TooMany, "fewer calls"),
        (calendar(403, "quotaExceeded"), TemporaryError, "for some hours"),
        (calendar(403, "accessNotConfigured"), PermanentError, "switch it on"),
        (meet(403, "PERMISSION_DENIED", reason="SERVICE_DISABLED"), PermanentError, "switch it on"),
        (calendar(403, "insufficientPermissions"), ScopeMissing, "every box ticked"),
        (meet(403, "PERMISSION_DENIED", reason="ACCESS_TOKEN_SCOPE_INSUFFICIENT"), ScopeMissing, "every box ticked"),
        (calendar(403, "forbidden"), NotAllowed, "does not allow"),
        (calendar(403, "forbiddenForNonOrganizer"), NotAllowed, "does not allow"),
        (meet(403, "PERMISSION_DENIED"), NotAllowed, "does not allow"),
        (meet(403, "PERMISSION_DENIED", "Permission denied (or it might not exist)"), MeetingNotFound, "no such"),
        (calendar(404, "notFound"), MeetingNotFound, "no such meeting"),
        (meet(404, "NOT_FOUND"), MeetingNotFound, "no such meeting"),
        (calendar(409, "duplicate"), Duplicate, "had an entry"),
        (calendar(409, "conflict"), TemporaryError, "busy"),
        (calendar(410, "deleted"), MeetingNotFound, "no such meeting"),
        (calendar(412, "conditionNotMet"), Changed, "same time"),
    ],
)
def test_status_and_reason_together_say_what_happened(said: Answer, kind: type[ProviderError], text: str) -> None:
    error = explain(said)
    assert type(error) is kind
    assert text in error.text
    assert error.text.endswith(".")
    assert "secret" not in error.text


@pytest.mark.parametrize("said", [calendar(500, "backendError"), meet(503, "UNAVAILABLE"), answer(408, {})])
def test_googles_own_troubles_are_left_to_the_table(said: Answer) -> None:
    assert explain(said) is None


@pytest.mark.parametrize(
    "body", [{}, {"error": "invalid"}, {"error": None}, {"error": {"errors": 7, "details": ["x"]}}]
)
def test_an_error_of_another_shape_is_no_error_of_googles(body: Any) -> None:
    error = explain(answer(429, body))
    assert error is None or isinstance(error, TooMany)


def test_a_page_instead_of_json_is_temporary_and_never_a_revoked_account() -> None:
    with pytest.raises(TemporaryError):
        explain(Answer("www.googleapis.com", 401, {}, b"<html>", safe=True))


def test_the_vendors_time_counts() -> None:
    later = answer(429, {"error": {"status": "RESOURCE_EXHAUSTED"}}, **{"retry-after": "9"})
    error = explain(later)
    assert isinstance(error, TemporaryError)
    assert error.retry_after == 9
    abused = explain(calendar(403, "quotaExceeded"))
    assert isinstance(abused, TemporaryError)
    assert abused.retry_after == HOURS


@pytest.mark.parametrize(("apis", "who"), [(["calendar"], "operator"), (["meet", "calendar"], None)])
async def test_an_api_that_is_off_is_the_operators_matter(
    google: GoogleServer, apis: list[str], who: str | None
) -> None:
    app = {"client_id": "user-app", "client_secret": "user-secret", "apis": apis}
    async with connected(google, SPACES) as provider:
        await google.control("PUT", "apps", app)
        if who is None:
            assert (await provider.create(a_spec())).join_url
            return
        with pytest.raises(PermanentError, match="switch it on") as caught:
            await provider.create(a_spec())
    assert caught.value.who_can_fix == who


@pytest.mark.parametrize("status", [403, 429])
async def test_calendars_limit_is_temporary_whatever_its_status(google: GoogleServer, status: int) -> None:
    await google.readings(over_limit=status)
    await google.limits(calendar_per_user=1)
    async with connected(google, EVENTS) as provider:
        await provider.create(a_spec())
        with pytest.raises(TemporaryError) as caught:
            await provider.create(a_spec())
    assert caught.value.well
