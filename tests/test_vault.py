"""The vault: what is sealed opens with its key, for its purpose, unchanged, and in no other way."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.vault import Damaged, UnknownKey, Vault

OLD, NEW = ("old", b"o" * 32), ("new", b"n" * 32)
PURPOSE = "connection:7"
SECRET = "refresh-token-of-somebody"

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts, texts)
def test_what_is_sealed_opens_again(plaintext: str, purpose: str) -> None:
    vault = Vault([NEW, OLD])
    assert vault.open(vault.seal(plaintext, purpose), purpose) == plaintext


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    """Of the text's own bits and of the bytes behind its base64; a flip in the key id names a key nobody has."""
    vault = Vault([NEW, OLD])
    envelope = vault.seal(SECRET, PURPOSE)
    at = data.draw(st.integers(0, len(envelope) - 1))
    flipped = chr(ord(envelope[at]) ^ 1 << data.draw(st.integers(0, 6)))
    with pytest.raises((Damaged, UnknownKey)):
        vault.open(envelope[:at] + flipped + envelope[at + 1 :], PURPOSE)


@given(st.data())
def test_any_flipped_bit_of_nonce_ciphertext_and_tag_is_refused(data: st.DataObject) -> None:
    vault = Vault([NEW])
    version, key_id, text = vault.seal(SECRET, PURPOSE).split(".")
    body = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = base64.urlsafe_b64encode(body).decode().rstrip("=")
    with pytest.raises(Damaged):
        vault.open(f"{version}.{key_id}.{changed}", PURPOSE)


@given(texts.filter(lambda purpose: purpose != PURPOSE))
def test_another_purpose_is_refused(purpose: str) -> None:
    vault = Vault([NEW])
    with pytest.raises(Damaged):
        vault.open(vault.seal(SECRET, PURPOSE), purpose)


@given(st.text() | st.from_regex(r"v1\.new\.[A-Za-z0-9_-]*", fullmatch=True))
def test_anything_that_was_never_sealed_is_refused(envelope: str) -> None:
    with pytest.raises((Damaged, UnknownKey)):
        Vault([NEW]).open(envelope, PURPOSE)


def test_an_envelope_cannot_be_passed_off_as_another_keys() -> None:
    """Two ids for the same bytes still make two keys, since the id is authenticated."""
    vault = Vault([("a", b"k" * 32), ("b", b"k" * 32)])
    with pytest.raises(Damaged):
        vault.open(vault.seal(SECRET, PURPOSE).replace("v1.a.", "v1.b."), PURPOSE)


def test_the_same_secret_never_looks_the_same_twice() -> None:
    vault = Vault([NEW])
    assert len({vault.seal(SECRET, PURPOSE) for _ in range(100)}) == 100


def test_after_a_rotation_old_envelopes_open_and_ask_to_be_sealed_anew() -> None:
    envelope = Vault([OLD]).seal(SECRET, PURPOSE)
    rotated = Vault([NEW, OLD])
    assert rotated.open(envelope, PURPOSE) == SECRET
    assert rotated.needs_rotation(envelope)
    assert not rotated.needs_rotation(rotated.seal(SECRET, PURPOSE))


def test_a_key_that_was_taken_away_is_named() -> None:
    envelope = Vault([OLD]).seal(SECRET, PURPOSE)
    with pytest.raises(UnknownKey, match="'old'; put that key back into SECRET_KEYS") as caught:
        Vault([NEW]).open(envelope, PURPOSE)
    assert caught.value.key_id == "old"


@pytest.mark.parametrize(
    "keys", [[], [("", b"k" * 32)], [("a.b", b"k" * 32)], [("a", b"k" * 31)], [("a", b"k" * 32), ("a", b"l" * 32)]]
)
def test_keys_that_cannot_be_used_are_refused(keys: list[tuple[str, bytes]]) -> None:
    with pytest.raises(ValueError, match=r"key"):
        Vault(keys)


def test_nothing_secret_shows() -> None:
    vault = Vault([NEW])
    envelope = vault.seal(SECRET, PURPOSE)
    with pytest.raises(Damaged) as caught:
        vault.open(envelope, "other")
    shown = f"{vault!r} {vars(vault)} {envelope} {caught.value!r} {caught.value.__cause__}"
    assert SECRET not in shown
    assert "n" * 32 not in shown
