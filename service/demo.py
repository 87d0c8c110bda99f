"""`vello-meetings demo`: one booking's whole life against a real service on a throw-away embedded store."""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from service.throwaway import NotStarted, throwaway
from service.trigger import NotSent, Sent, call, event, sample_record, send

_SETTLE = 10.0  # seconds a change may take to be carried out
_STEP = 0.05
_JITSI = "https://meet.jit.si"


class DemoFailed(Exception):
    """An answer was not what it must be."""


class Demo:
    """The running service and what is said to it."""

    def __init__(self, base: str, webhook_token: str, admin_token: str) -> None:
        self._base = base
        self._webhook_token = webhook_token
        self._admin_token = admin_token

    def run(self) -> None:
        """Walk one booking through its life. Raises DemoFailed, NotSent."""
        record = sample_record()
        self._say("Vello tests the connection", "connection.test", None, {})
        first = self._say("A customer books; Vello asks for the link", "record.update_metadata", record)
        link = first.get("metadata", {}).get("video_link")
        if not isinstance(link, str) or not link.startswith("https://"):
            raise DemoFailed(f"a video_link was expected, not {first}")
        self._wait("The meeting is ready", record["id"], lambda now: now["state"] == "ready")
        record |= {"time": record["time"] + 3600, "version": 2, "metadata": {"video_link": link}}
        self._say("The booking moves by an hour", "record.updated", record, {})
        self._wait("The meeting has moved", record["id"], lambda now: now["start"] == record["time"])
        again = {"metadata": {"video_link": link}}
        self._say("Vello asks again: the same link", "record.update_metadata", record, again)
        record |= {"canceled": True, "version": 3}
        self._say("The customer cancels", "record.cancelled", record, {})
        self._wait("The meeting is gone", record["id"], lambda now: now["state"] == "gone")
        self._say("No link any more", "record.update_metadata", record, {"metadata": {}})
        self._say("Vello deletes the booking", "record.deleted", {"id": record["id"]}, {})
        self._wait("Nothing is left", record["id"], lambda now: now["meeting_id"] is None)

    def _say(
        self, what: str, event_type: str, record: Mapping[str, Any] | None, expected: Any = None
    ) -> dict[str, Any]:
        message = event(event_type, record)
        answer = send(f"{self._base}/webhooks/vello", self._webhook_token, message)
        shown = (
            {name: record[name] for name in ("id", "time", "canceled", "version") if name in record} if record else {}
        )
        print(f"\n{what}\n  -> POST /webhooks/vello  {event_type}  {json.dumps(shown)}")
        print(f"  <- {answer.status}  {answer.body}")
        if answer.status != 200 or (expected is not None and answer.json() != expected):
            raise DemoFailed(f"{event_type}: {json.dumps(expected)} was expected")
        return dict(answer.json())

    def _wait(self, what: str, record: str, right: Callable[[dict[str, Any]], bool]) -> None:
        until, now = time.monotonic() + _SETTLE, {}
        while time.monotonic() < until:
            now = dict(self._record(record).json())
            if now["state"] != "pending" and right(now):
                print(f"  == {what}: state {now['state']}, starts {now['start']}")
                return
            time.sleep(_STEP)
        raise DemoFailed(f"{what}: not within {_SETTLE:.0f} seconds, but {now}")

    def _record(self, record: str) -> Sent:
        headers = {"Authorization": f"Bearer {self._admin_token}"}
        return call(urllib.request.Request(f"{self._base}/api/v1/records/{record}", headers=headers))  # noqa: S310 - our own


def demo() -> int:
    """Start a service, walk the booking through it, stop it; 0 only if every answer was right."""
    print("Starting a service with an embedded store that is thrown away afterwards.")
    try:
        with throwaway(JITSI_URL=os.environ.get("JITSI_URL", _JITSI)) as service:
            print(f"It is at {service.base}.")
            Demo(service.base, service.webhook_token, service.admin_token).run()
    except (DemoFailed, NotStarted, NotSent) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    print("\nEvery answer was right.")
    return 0
