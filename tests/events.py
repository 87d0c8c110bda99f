"""Events as Vello sends them, for tests."""

import json
import uuid
from typing import Any

from service.vello import Event, parse

DOCUMENTED = b"""{
  "id": "[UUID]",
  "type": "record.update_metadata",
  "data": {
    "id": "639e9909-db32-4b5b-8159-42e1cabd7f24",
    "object": "record",
    "company": "90d491a1-50f9-42da-8c3a-9b0683f4a10d",
    "office": "1aeef479-7c49-40e2-9ab6-09fd454fa226",
    "resource": "f58c2d1e-b77f-439f-b7e5-d43c3265c65a",
    "service": "74df9d2b-4ba3-45ef-a2be-30f87cf52e81",
    "allocation": "685f7d57-cb01-4ca7-8f4e-882bf2d7ad84",
    "user": "fbb70166-608d-49b9-b207-ab5c4197df4b",
    "customer": "686ff2eb-36dd-450d-a03b-de859af80240",
    "record_number": "b264c6ff-a8fc-4",
    "quantity": 1,
    "group": null,
    "properties": null,
    "language": "fi",
    "time": 1578952635,
    "duration": 1800,
    "allocated_time_start": 1578952635,
    "allocated_time_end": 1578954435,
    "payment_paid": false,
    "confirmation_status": "confirmed",
    "details": {},
    "metadata": {},
    "ip": "",
    "created_by": null,
    "tos": 1578952635,
    "canceled": false,
    "archived": false,
    "created": 1578952635,
    "changed": 1578952635,
    "version": 1
  }
}
"""
"""Vello's documented example, to the letter."""

DOCUMENTED_ID = "639e9909-db32-4b5b-8159-42e1cabd7f24"
START = 1_900_000_000
"""A time far ahead."""


def record(**fields: Any) -> dict[str, Any]:
    """A record with fresh ids, far ahead, unless `fields` say otherwise."""
    fresh = {name: str(uuid.uuid4()) for name in ("id", "company", "office", "resource", "service", "customer")}
    plain = {"time": START, "duration": 1800, "canceled": False, "archived": False, "metadata": {}}
    return {**fresh, **plain, "changed": 1_800_000_000, "version": 1, **fields}


def body(event_type: str, data: Any) -> bytes:
    """An event as raw bytes."""
    return json.dumps({"id": str(uuid.uuid4()), "type": event_type, "data": data}).encode()


def event(event_type: str, data: Any) -> Event:
    """An event as the service understands it."""
    return parse(body(event_type, data))
