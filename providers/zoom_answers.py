"""What Zoom means by an answer that is no success: by its status first, by its code second, never by a code alone.

Codes come again with other meanings (300, 3000, 124), so a status and a code together name the case, and for 300 the
fields at fault. Zoom's own words are never shown: they may hold addresses.

Sources: Zoom's OpenAPI documents of the Meetings API; developers.zoom.us, "Error messages" and "Rate limits".
"""

import re
from collections.abc import Mapping

from providers.base import (
    BudgetSpent,
    Fixer,
    MeetingNotFound,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from providers.http import Answer

DAY = 86_400
A_MOMENT = 2.0
"""Seconds to wait when the limit of a second was reached."""
IN_PROGRESS = 600.0
"""Seconds after which to look again at a meeting that is going on and is to be removed."""

REFUSALS: Mapping[tuple[int, int], tuple[str, Fixer]] = {
    (400, 200): ("Zoom's plan or the user's role does not allow this: look at the host's licence and role.", "admin"),
    (400, 1010): ("The host is no user of the connected Zoom account: choose one who is.", "admin"),
    (400, 3000): ("Zoom does not let us schedule for this host: choose another or give permission in Zoom.", "admin"),
    (400, 3003): ("The meeting belongs to another Zoom user: connect the account that made it.", "admin"),
    (400, 3161): ("Zoom lets this host hold no meetings: give the user a licence in Zoom that allows it.", "admin"),
    (404, 1001): ("Zoom has no such user: choose another host.", "admin"),
}
"""What trying again does not help: what it means, and who can change it."""


class PasscodeRefused(PermanentError):
    """The account's rules do not take the passcode we made."""


class ScopeMissing(PermanentError):
    """The grant does not allow this call."""


def explain(answer: Answer, now: float) -> ProviderError | None:
    """The error an answer stands for at `now`, UTC unix seconds; None leaves it to `Http`'s own table."""
    status = answer.status
    if not 400 <= status < 500 or status in (408, 425):
        return None
    body = answer.object()  # a page instead of JSON comes from something in between: temporary
    code, message = _number(body.get("code")), str(body.get("message", ""))
    if status == 401:
        return ReconnectRequired(
            "Zoom does not take our access any more: connect the account again, or activate the app."
        )
    if status == 429:
        return _over_a_limit(answer, message, now)
    if status == 403:
        return PermanentError("Zoom has not given access to this user's meetings: share it in Zoom.", "admin")
    if (status, code) in REFUSALS:
        return PermanentError(*REFUSALS[status, code])
    match status, code:
        case 400, 4711 | 4700:
            return ScopeMissing(_scopes(message), "admin")
        case (404, 3001) | (400, 3007):
            return MeetingNotFound("Zoom has no such meeting any more.")
        case 400, 3002:
            return TemporaryError("The Zoom meeting is going on: it can be removed when it has ended.", IN_PROGRESS)
        case 400, 300:
            return _invalid(message, body.get("errors"))
    return None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _over_a_limit(answer: Answer, message: str, now: float) -> TemporaryError:
    kind, said = answer.headers.get("x-ratelimit-type", ""), message.lower()
    if kind.lower().startswith("daily") or "maximum daily" in said or ("daily" in said and "user" in said):
        text = "Zoom's limit for a day is reached, of the host or of the account; it begins anew at 00:00 UTC."
        return BudgetSpent(text, answer.retry_after or DAY - now % DAY)
    if "daily rate limit" in said:
        text = "Zoom's limit for a day is reached, of changes of this meeting; it begins anew at 00:00 UTC."
        return TemporaryError(text, answer.retry_after or DAY - now % DAY)
    return TemporaryError("Zoom wants fewer calls in a second.", answer.retry_after or A_MOMENT)


def _scopes(message: str) -> str:
    found = re.search(r"scopes:\s*\[([\w:, -]+)\]", message)
    which = f"one of {found[1]}" if found else "a scope that this needs"
    return f"The Zoom app lacks {which}: add it to the app in Zoom's App Marketplace, then connect again."


def _invalid(message: str, errors: object) -> ProviderError:
    named = (
        [str(each.get("field", "")) for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    )
    fields = [re.sub(r"[^\w.]", "", name)[:60] for name in named]
    if "password" in fields:
        return PasscodeRefused("The Zoom account's rules do not take our passcode.", "admin")
    if "page token" in message.lower():
        return TemporaryError("Zoom forgot where a list was to go on.")
    if re.search(r"meeting\b.*(does not exist|not found|expired)", message, re.IGNORECASE):
        return MeetingNotFound("Zoom has no such meeting any more.")
    if any("alternative_hosts" in name for name in fields):
        text = "Zoom does not take these `alternative_hosts`: each must be a licensed user of the same account."
        return PermanentError(text, "admin")
    which = f": {', '.join(fields)}" if fields else ""
    return PermanentError(f"Zoom does not accept what we sent{which}.", "developer")
