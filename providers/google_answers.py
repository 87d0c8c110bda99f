"""What Google means by an answer that is no success: by its status and its reason together.

Calendar names reasons in `errors`, Meet a google.rpc status and, in `details`, at times a reason. A 403 alone says
nothing: it may be a limit, a scope, an API that is off, or a right. Google's own words are never shown.

Sources: developers.google.com/workspace, "Calendar API: Handle API errors", "Meet API: Usage limits"; the discovery
documents of Calendar v3 and Meet v2.
"""

from collections.abc import Mapping
from typing import Any

from providers.base import (
    MeetingNotFound,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from providers.http import Answer

HOURS = 3 * 3600.0
"""Seconds to wait when Google thinks that an account is abused; it says "a few hours"."""

_OVER_A_LIMIT = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "dailyLimitExceeded"})
_NOT_SWITCHED_ON = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})
_SCOPE_MISSING = frozenset({"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"})
_NOT_THERE = "might not exist"
"""With this Meet says 403 of a space that is gone, as of one that is somebody else's."""


class Duplicate(PermanentError):
    """An event with this id is there, or was."""


class Changed(TemporaryError):
    """The event is no longer what was read."""


class TooMany(TemporaryError):
    """The person or the project made more calls than Google allows in a minute."""


class NotAllowed(PermanentError):
    """Google does not do this for this account, or not in this way."""


class ScopeMissing(PermanentError):
    """The grant does not allow this call."""


def explain(answer: Answer) -> ProviderError | None:
    """The error an answer stands for; None leaves it to `Http`'s own table."""
    status = answer.status
    if not 400 <= status < 500 or status in (408, 425):
        return None
    error = answer.object().get("error")  # a page instead of JSON comes from something in between: temporary
    if not isinstance(error, dict):
        return None
    reasons, message = _reasons(error), str(error.get("message", ""))
    match status:
        case 400:
            return _invalid(reasons, message)
        case 401:
            text = "Google does not take our access any more: connect the account again, or look at the delegation."
            return ReconnectRequired(text)
        case 403:
            return _forbidden(answer, reasons, message)
        case 404 | 410:
            return MeetingNotFound("Google has no such meeting any more.")
        case 409 if "duplicate" in reasons:
            return Duplicate("Google Calendar has had an entry with this id.", "developer")
        case 409:
            return TemporaryError("Google Calendar is busy with this entry.", answer.retry_after)
        case 412:
            return Changed("Somebody changed the calendar entry at the same time.")
        case 429:
            return TooMany("Google wants fewer calls in a minute.", answer.retry_after)
    return None


def _reasons(error: Mapping[str, Any]) -> set[str]:
    """Every name an answer gives to what is wrong."""
    listed = [each for name in ("errors", "details") for each in _list(error.get(name)) if isinstance(each, dict)]
    return {str(error.get("status")), *(str(each.get("reason")) for each in listed)}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _invalid(reasons: set[str], message: str) -> ProviderError:
    if "conference type" in message.lower():
        text = (
            "The calendar cannot have Google Meet: Meet is off for this person or the Workspace, or a service account "
            "acts for nobody."
        )
        return PermanentError(text, "admin")
    if reasons & {"INVALID_ARGUMENT", "FAILED_PRECONDITION"}:
        return NotAllowed("Google does not accept this for the host's account.", "admin")
    return PermanentError("Google does not accept what we sent.", "developer")


def _forbidden(answer: Answer, reasons: set[str], message: str) -> ProviderError:
    if reasons & _OVER_A_LIMIT:
        return TooMany("Google wants fewer calls in a minute.", answer.retry_after)
    if "quotaExceeded" in reasons:
        text = "Google Calendar thinks that this account makes too many entries, and takes none for some hours."
        return TemporaryError(text, answer.retry_after or HOURS)
    if reasons & _NOT_SWITCHED_ON:
        text = "The Google Meet or Calendar API is off in the Google Cloud project: switch it on there."
        return PermanentError(text, "operator")
    if reasons & _SCOPE_MISSING:
        text = "The account does not allow this service to do that: connect it again and leave every box ticked."
        return ScopeMissing(text, "admin")
    if _NOT_THERE in message:
        return MeetingNotFound("Google has no such meeting any more, or it is another account's.")
    return NotAllowed("Google does not allow this to the connected account.", "admin")
