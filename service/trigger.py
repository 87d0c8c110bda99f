"""Signs an event as Vello does and sends it: for trying a service out, and for the demo."""

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from service.vello import sign

TIMEOUT = 70.0
"""Seconds to wait for an answer: longer than the longest ANSWER_DEADLINE."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer: its status and its body as text."""

    status: int
    body: str

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)


class NotSent(Exception):
    """Nobody answered at the address."""


def sample_record(about: str | None = None) -> dict[str, Any]:
    """Vello's documented record, tomorrow at this time, with fresh ids; those around `about` are always the same."""
    now = int(time.time())
    start = now + 86_400
    fresh = ("id", "company", "office", "resource", "service", "allocation", "user", "customer")
    seed = about or str(uuid.uuid4())
    return {
        **{name: str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed}/{name}")) for name in fresh},
        "object": "record",
        "record_number": uuid.uuid4().hex[:15],
        "quantity": 1,
        "group": None,
        "properties": None,
        "language": "fi",
        "time": start,
        "duration": 1800,
        "allocated_time_start": start,
        "allocated_time_end": start + 1800,
        "payment_paid": False,
        "confirmation_status": "confirmed",
        "details": {},
        "metadata": {},
        "ip": "",
        "created_by": None,
        "tos": now,
        "canceled": False,
        "archived": False,
        "created": now,
        "changed": now,
        "version": 1,
    }


def changed(record: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """`record` with `key=value` settings; a value is JSON if it reads as such, a dotted key goes into objects.

    A record whose id was chosen but not its version goes without a version, so it counts as the newest word.

    Raises: ValueError for a record that is no object, or an assignment without `=`.
    """
    if not isinstance(record, dict):
        raise ValueError("a JSON object was expected")
    result: dict[str, Any] = json.loads(json.dumps(record))
    named = set()
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise ValueError(f"{assignment!r} is not of the form key=value")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        *within, name = path.split(".")
        place = result
        for part in within:
            inner = place.get(part)
            place[part] = place = inner if isinstance(inner, dict) else {}
        place[name] = value
        named.add(path)
    if "id" in named and "version" not in named:
        result.pop("version", None)
    return result


def event(event_type: str, record: Mapping[str, Any] | None) -> dict[str, Any]:
    """An event about `record` in Vello's documented shape."""
    return {"id": str(uuid.uuid4()), "type": event_type, "data": record or {}}


def send(url: str, token: str, message: Mapping[str, Any], *, signed_url: str | None = None) -> Sent:
    """Sign `message` for `signed_url` (default: `url`) and POST it to `url`. Raises NotSent."""
    body = json.dumps(message).encode()
    headers = {"Content-Type": "application/json", "Vello-Signature": sign(token, signed_url or url, body)}
    try:
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - the address is the operator's own
    except ValueError as error:
        raise NotSent(f"Nothing was sent to {url}: {error}") from None
    return call(request)


def call(request: urllib.request.Request) -> Sent:
    """Send a request; an error status is an answer like any other. Raises NotSent."""
    try:
        with _opener(request).open(request, timeout=TIMEOUT) as answer:
            return Sent(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Sent(error.code, error.read().decode(errors="replace"))
    except (OSError, ValueError, HTTPException) as error:
        raise NotSent(f"No answer from {request.full_url}: {error}") from None


def _opener(request: urllib.request.Request) -> urllib.request.OpenerDirector:
    """The environment's proxies are for other machines: to this one they know no way."""
    host = urlsplit(request.full_url).hostname or ""
    here = host == "localhost" or host == "::1" or host.startswith("127.")
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))
