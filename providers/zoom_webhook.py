"""What Zoom's webhooks say, and whether Zoom says it. Pure: bytes in, a small event out.

The vendor's laws:

- The signature is an HMAC over the raw bytes of the body and a timestamp. Events come late, twice and in any order,
  and fire for our own calls too: they say where to look, never what is so.
- An address is proven once when it is entered and every 72 hours: the answer is a second HMAC.
- Whoever does not answer 200 or 204 within three seconds is asked three more times, the last time after an hour.
- A deauthorisation says of its own when it was; nothing says that a repetition keeps the event's time.
- A meeting's id is a number in some events and a string in others.

Sources: developers.zoom.us, "Using webhooks", "Validate your webhook endpoint", "Deauthorization".
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from json import loads
from typing import Any, Literal

from providers.base import Notice, NoticeRefused

MAX_AGE = 300
"""Seconds an event's timestamp may differ from our clock."""

Kind = Literal["validation", "updated", "deleted", "deauthorized", "other"]
_KINDS: Mapping[str, Kind] = {
    "endpoint.url_validation": "validation",
    "meeting.updated": "updated",
    "meeting.deleted": "deleted",
    "app_deauthorized": "deauthorized",
}
_MEANS: Mapping[Kind, Literal["challenge", "changed", "left"]] = {
    "validation": "challenge",
    "updated": "changed",
    "deleted": "changed",
    "deauthorized": "left",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `meeting` is the id as `Meeting.id` has it; `user` the Zoom user, of a deauthorisation who left.

    `at` is when Zoom says it happened, UTC unix seconds, `plain_token` what `validation` wants proven.
    """

    kind: Kind
    event: str
    at: float
    account: str | None = None
    user: str | None = None
    client: str | None = None
    meeting: str | None = None
    plain_token: str | None = None


def notice(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> Notice:
    """What the core does about an event.

    Raises: NoticeRefused.
    """
    verify(body, headers.get("x-zm-request-timestamp"), headers.get("x-zm-signature"), secret, now)
    event = parse(body)
    answer = validation(event, secret) if event.kind == "validation" else {}
    return Notice(_MEANS.get(event.kind, "other"), event.at, event.meeting, event.user, event.client, answer)


def verify(body: bytes, timestamp: str | None, signature: str | None, secret: str, now: float) -> None:
    """Check the raw `body` against the headers `x-zm-request-timestamp` and `x-zm-signature`, in constant time.

    Raises: NoticeRefused.
    """
    if not secret:
        raise NoticeRefused("There is no secret to check Zoom's signature with: set ZOOM_WEBHOOK_SECRET.")
    if not (timestamp and re.fullmatch(r"[0-9]{1,12}", timestamp) and signature):
        raise NoticeRefused("The signature or its timestamp is missing.")
    signed = f"v0:{timestamp}:".encode() + body
    expected = "v0=" + hmac.digest(secret.encode(), signed, hashlib.sha256).hex()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise NoticeRefused("The signature is wrong: compare ZOOM_WEBHOOK_SECRET with the app's secret token.")
    if abs(now - int(timestamp)) > MAX_AGE:
        raise NoticeRefused("The event is older or newer than five minutes: look at this machine's clock.")


def validation(event: Event, secret: str) -> dict[str, str]:
    """The answer to an event of the kind "validation"."""
    plain = event.plain_token or ""
    return {"plainToken": plain, "encryptedToken": hmac.digest(secret.encode(), plain.encode(), hashlib.sha256).hex()}


def parse(body: bytes) -> Event:
    """What an event says, of kinds that nobody asked for only their name.

    Raises: NoticeRefused if it is no event, or lacks what its kind needs.
    """
    try:
        said = loads(body)
    except (ValueError, RecursionError):
        raise NoticeRefused("The body is not JSON.") from None
    fields = _object(said)
    name, payload = _text(fields, "event"), _object(fields.get("payload"))
    if name is None:
        raise NoticeRefused("The body is no event of Zoom's.")
    thing, kind = _object(payload.get("object")), _KINDS.get(name, "other")
    event = Event(
        kind=kind,
        event=name,
        at=_moment(payload.get("deauthorization_time")) or _seconds(fields.get("event_ts")),
        account=_text(payload, "account_id"),
        user=_text(payload, "user_id") or _text(thing, "host_id"),
        client=_text(payload, "client_id"),
        meeting=_id(thing.get("id")),
        plain_token=_text(payload, "plainToken"),
    )
    if kind in ("updated", "deleted") and event.meeting is None:
        raise NoticeRefused(f"The event {kind} names no meeting.")
    if kind == "deauthorized" and event.user is None:
        raise NoticeRefused("The event deauthorized names no user.")
    if kind == "validation" and event.plain_token is None:
        raise NoticeRefused("The event validation holds no plainToken.")
    return event


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value else None


def _seconds(value: Any) -> float:
    return value / 1000 if isinstance(value, int | float) else 0.0


def _moment(value: Any) -> float:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return 0.0
    return at.timestamp() if at.tzinfo else 0.0


def _id(value: Any) -> str | None:
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,19}", str(value)):
        return None
    return str(int(value))
