"""Vello's protocol: what is accepted, what is refused, and that nothing else ever happens."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.vello import InvalidEvent, Rank, SignatureInvalid, parse, sign, verify
from tests.events import DOCUMENTED, DOCUMENTED_ID, body, record

TOKEN, URL = "webhook-token", "https://meet.example.org/webhooks/vello"


def test_the_signature_is_sha512_of_token_url_and_raw_body() -> None:
    expected = hashlib.sha512(TOKEN.encode() + URL.encode() + DOCUMENTED).hexdigest()
    assert sign(TOKEN, URL, DOCUMENTED) == expected
    verify(DOCUMENTED, expected, [TOKEN], [URL])


@given(st.integers(0, len(DOCUMENTED) - 1), st.integers(1, 255))
def test_one_flipped_byte_of_the_body_is_refused(at: int, flip: int) -> None:
    changed = bytearray(DOCUMENTED)
    changed[at] ^= flip
    with pytest.raises(SignatureInvalid):
        verify(bytes(changed), sign(TOKEN, URL, DOCUMENTED), [TOKEN], [URL])


@given(st.integers(0, 127))
def test_one_changed_digit_of_the_signature_is_refused(at: int) -> None:
    right = sign(TOKEN, URL, DOCUMENTED)
    wrong = right[:at] + ("0" if right[at] != "0" else "1") + right[at + 1 :]
    with pytest.raises(SignatureInvalid):
        verify(DOCUMENTED, wrong, [TOKEN], [URL])


@pytest.mark.parametrize("signature", [None, "", "0" * 128, "ä" * 128, sign(TOKEN, URL, DOCUMENTED).upper()])
def test_no_signature_or_a_strange_one_is_refused(signature: str | None) -> None:
    with pytest.raises(SignatureInvalid):
        verify(DOCUMENTED, signature, [TOKEN], [URL])


def test_any_of_several_tokens_and_urls_signs() -> None:
    tokens, urls = ["new", "old"], ["https://a.example/w", "https://b.example/w"]
    for token in tokens:
        for url in urls:
            verify(DOCUMENTED, sign(token, url, DOCUMENTED), tokens, urls)
    with pytest.raises(SignatureInvalid):
        verify(DOCUMENTED, sign("new", "https://c.example/w", DOCUMENTED), tokens, urls)


def test_without_any_token_nothing_is_signed() -> None:
    with pytest.raises(SignatureInvalid):
        verify(DOCUMENTED, sign("", URL, DOCUMENTED), [], [URL])


def test_the_documented_example_is_understood_to_the_letter() -> None:
    event = parse(DOCUMENTED)
    assert event.record is not None
    assert (event.type, event.record.id) == ("record.update_metadata", DOCUMENTED_ID)
    assert (event.record.start, event.record.duration, event.record.version) == (1578952635, 1800, 1)
    assert (event.record.rank, event.record.language) == (Rank.LIVE, "fi")


def test_both_documented_shapes_of_data_mean_the_same() -> None:
    data = record()
    assert parse(body("record.created", data)).record == parse(body("record.created", {"object": data})).record


@pytest.mark.parametrize(("kind", "rank"), [("record.cancelled", Rank.CANCELLED), ("record.deleted", Rank.DELETED)])
def test_an_ending_may_carry_only_the_id(kind: str, rank: Rank) -> None:
    for data in ({"id": DOCUMENTED_ID}, {"object": {"id": DOCUMENTED_ID.upper()}}):
        found = parse(body(kind, data)).record
        assert found is not None
        assert (found.id, found.rank, found.partial) == (DOCUMENTED_ID, rank, True)


def test_unknown_event_types_and_unknown_fields_are_no_error() -> None:
    assert parse(body("connection.test", {})).record is None
    assert parse(body("invoice.paid", {"id": 7})).record is None
    assert parse(body("record.created", record(brand_new={"deep": [1]}))).record is not None


@pytest.mark.parametrize("field", ["office", "resource", "service", "customer", "company", "version", "changed"])
def test_what_a_record_may_lack_may_be_null_or_missing(field: str) -> None:
    data = record(**{field: None})
    assert parse(body("record.updated", data)).record is not None
    del data[field]
    assert parse(body("record.updated", data)).record is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", "639e9909"),
        ("id", 7),
        ("id", "639e9909-db32-4b5b-8159-42e1cabd7f24\n"),
        ("office", "not-a-uuid"),
        ("office", ""),
        ("resource", ["x"]),
        ("time", "1578952635"),
        ("time", None),
        ("time", -1),
        ("time", 1.5),
        ("time", True),
        ("time", 1_578_952_635_000),
        ("duration", -1800),
        ("duration", 10**9),
        ("duration", 10**300),
        ("duration", "30"),
        ("duration", None),
        ("version", -1),
        ("version", "2"),
        ("version", 2**60),
        ("changed", "now"),
        ("canceled", "false"),
        ("archived", 0),
        ("metadata", "link"),
        ("metadata", {"video_link": 7}),
        ("metadata", {"video_link": "https://x\u0000"}),
        ("language", 7),
        ("record_number", "a\nb"),
        ("record_number", "a\u0000b"),
        ("record_number", "\ud800"),
        ("unheard_of", "a\u0000b"),
    ],
)
def test_nonsense_in_a_record_is_refused_with_a_sentence(field: str, value: Any) -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse(body("record.updated", record(**{field: value})))
    assert caught.value.message.endswith(".")
    assert caught.value.code in ("invalid_record", "invalid_event")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 250_000,
        b'{"a":' * 50_000,
        b'{"id":"1","type":"record.created","type":"record.deleted","data":{}}',
        b'{"id":"1","type":"record.created","data":{"time":1,"time":2}}',
        b'{"id":"1","type":"record.created","data":{"time":NaN}}',
        b'{"id":"1","type":"record.created","data":{"time":' + b"9" * 10_000 + b"}}",
        b"null",
        b"[]",
        b'"record.created"',
        b"{}",
        b'{"id":"1","data":{}}',
        b'{"type":"record.created","data":{}}',
        b'{"id":7,"type":"record.created","data":{}}',
        b'{"id":"1","type":"","data":{}}',
        b'{"id":"1","type":"record.created"}',
        b'{"id":"1","type":"record.created","data":[]}',
        b'{"id":"1\\ud800","type":"record.created","data":{}}',
    ],
)
def test_what_is_no_event_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEvent):
        parse(raw)


@pytest.mark.parametrize("depth", [33, 300, 900, 5_000])
def test_however_deep_a_body_is_nested_it_is_refused_not_a_fault(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    with pytest.raises(InvalidEvent, match="too deeply"):
        parse(f'{{"id": "1", "type": "record.updated", "data": {nested}}}'.encode())


def test_a_backslash_that_only_looks_like_a_nul_is_text() -> None:
    assert parse(body("record.created", record(details={"note": "\\u0000"}))).record is not None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_made_up_json_is_refused_with_a_sentence(value: Any) -> None:
    for data in (value, {"id": "1", "type": "record.updated", "data": value}):
        with pytest.raises(InvalidEvent) as refused:
            parse(json.dumps(data).encode())
        assert refused.value.message.endswith(".")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_not_a_fault(raw: bytes) -> None:
    with pytest.raises(InvalidEvent):
        parse(raw)


_texts = st.text(st.sampled_from('ab"\\é\x7f'), max_size=6)


@given(_texts, _texts, _texts, st.booleans())
def test_a_field_that_comes_twice_is_refused_whatever_stands_around_it(
    name: str, first: str, second: str, escaped: bool
) -> None:
    key, one, two = (json.dumps(text, ensure_ascii=escaped) for text in (name, first, second))
    event = body("record.created", record(details={name: first}, properties=[second])).decode()
    assert parse(event.encode()).record is not None
    for twice in (f"{{{key}: {one}, {key}: {two}}}", f"{{{key}: {one}, {key}: [1, {{}}]}}"):
        doubled = event.replace('"metadata": {}', f'"metadata": {{}}, "more": {twice}')
        assert doubled != event
        with pytest.raises(InvalidEvent) as refused:
            parse(doubled.encode())
        assert "twice" in refused.value.message
