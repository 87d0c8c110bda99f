"""Zoom's webhooks: whether Zoom says it, and what it says."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from providers.base import NoticeRefused
from providers.zoom_webhook import Event, parse, validation, verify

SECRET, NOW = "a-secret-token", 1_900_000_000
BODY = b'{"event": "meeting.updated",  "payload": {}}'


def signed(body: bytes = BODY, timestamp: int | str = NOW, secret: str = SECRET) -> str:
    """A signature as Zoom's page describes it, made independently."""
    text = b"v0:" + str(timestamp).encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def event(name: str, **payload: Any) -> bytes:
    return json.dumps({"event": name, "event_ts": NOW * 1000, "payload": payload}).encode()


@pytest.mark.parametrize("age", [0, 300, -300])
def test_a_right_signature_is_taken_for_five_minutes(age: int) -> None:
    verify(BODY, str(NOW - age), signed(timestamp=NOW - age), SECRET, NOW)


@pytest.mark.parametrize(
    ("body", "timestamp", "signature", "secret", "said"),
    [
        (BODY, None, signed(), SECRET, "missing"),
        (BODY, str(NOW), None, SECRET, "missing"),
        (BODY, "", signed(), SECRET, "missing"),
        (BODY, "soon", signed(timestamp="soon"), SECRET, "missing"),
        (BODY, f"{NOW}\n", signed(timestamp=f"{NOW}\n"), SECRET, "missing"),
        (BODY, str(NOW), signed(secret="another"), SECRET, "wrong"),
        (BODY.replace(b"  ", b" "), str(NOW), signed(), SECRET, "wrong"),
        (BODY, str(NOW + 1), signed(), SECRET, "wrong"),
        (BODY, str(NOW), "v0=ä", SECRET, "wrong"),
        (BODY, str(NOW), signed(secret=""), "", "ZOOM_WEBHOOK_SECRET"),
        (BODY, str(NOW - 301), signed(timestamp=NOW - 301), SECRET, "five minutes"),
        (BODY, str(NOW + 301), signed(timestamp=NOW + 301), SECRET, "five minutes"),
    ],
)
def test_anything_else_is_refused_without_showing_the_secret(
    body: bytes, timestamp: str | None, signature: str | None, secret: str, said: str
) -> None:
    with pytest.raises(NoticeRefused, match=said) as caught:
        verify(body, timestamp, signature, secret, NOW)
    assert SECRET not in str(caught.value)


def test_an_address_is_proven_with_the_token_and_its_hmac() -> None:
    notice = parse(event("endpoint.url_validation", plainToken="qgg8vlvZRS6UYooatFL8Aw"))
    expected = hmac.new(SECRET.encode(), b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
    assert notice.kind == "validation"
    assert validation(notice, SECRET) == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": expected}


@pytest.mark.parametrize("id_", [98765432109, "98765432109", "098765432109"])
@pytest.mark.parametrize(("name", "kind"), [("meeting.updated", "updated"), ("meeting.deleted", "deleted")])
def test_a_meeting_is_named_the_same_whatever_the_type_of_its_id(id_: int | str, name: str, kind: str) -> None:
    notice = parse(event(name, account_id="acc", operator="anna@example.org", object={"id": id_, "host_id": "anna"}))
    assert notice == Event(kind, name, NOW, "acc", "anna", None, "98765432109")  # type: ignore[arg-type]


def test_a_person_who_removed_the_app_is_named() -> None:
    notice = parse(event("app_deauthorized", account_id="acc", user_id="anna", client_id="app", signature="x"))
    assert (notice.kind, notice.user, notice.account, notice.client) == ("deauthorized", "anna", "acc", "app")


def test_a_removal_of_the_app_is_of_the_time_it_happened_however_late_it_is_told() -> None:
    whom = {"account_id": "acc", "user_id": "anna", "client_id": "app"}
    assert parse(event("app_deauthorized", **whom)).at == NOW
    told = "2030-03-17T17:41:20.500Z"
    assert parse(event("app_deauthorized", **whom, deauthorization_time=told)).at == NOW - 319.5
    assert parse(event("app_deauthorized", **whom, deauthorization_time="today")).at == NOW


def test_events_nobody_asked_for_are_named_and_no_error() -> None:
    assert parse(event("meeting.ended", object={"id": "1"})).kind == "other"
    assert parse(b'{"event": "user.created"}') == Event("other", "user.created", 0.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"7",
        b'{"event": 7}',
        b"[" * 100_000,
        event("meeting.updated"),
        event("meeting.updated", object={"id": True}),
        event("meeting.updated", object={"id": "1/2"}),
        event("meeting.deleted", object={"id": -1}),
        event("app_deauthorized"),
        event("endpoint.url_validation", plainToken=7),
    ],
    ids=range(12),
)
def test_what_is_no_event_or_lacks_what_it_needs_is_refused(body: bytes) -> None:
    with pytest.raises(NoticeRefused):
        parse(body)
