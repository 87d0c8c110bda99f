"""Jitsi's settings: which fit together, and what an admin is told."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from providers.jitsi import JitsiSettings
from tests.providers.test_jitsi import APP_ID, HS256, JAAS, PLAIN, RS256, RSA_KEY, SECRET

SMALL_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it must be refused
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    protection: KeySerializationEncryption | None = None,
) -> str:
    """The key as an admin pastes it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection or NoEncryption()).decode()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Meet.Example.org/", "https://meet.example.org"),
        (" https://meet.example.org:443 ", "https://meet.example.org"),
        ("https://meet.example.org:8443/", "https://meet.example.org:8443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_an_address_is_kept_in_one_form(given: str, kept: str) -> None:
    assert JitsiSettings(url=given).url == kept


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://meet.example.org", "must begin with https"),
        ("http://10.0.0.1", "must begin with https"),
        ("http://localhost.example.org", "must begin with https"),
        ("meet.example.org", "must begin with https"),
        ("https://", "needs a host"),
        ("https://mööte.example.org", "needs a host"),
        ("https://meet.example.org:port", "is not the address"),
        ("https://me:pw@meet.example.org", "no user name"),
        ("https://meet.example.org/?jwt=x", "query or fragment"),
        ("https://meet.example.org/#x", "query or fragment"),
        ("https://meet.example.org/clinic", "tenant"),
    ],
)
def test_another_address_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        JitsiSettings(url=url)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({**PLAIN, "secret": SECRET}, "needs the server's app_id"),
        ({**PLAIN, "app_id": "vello"}, "An app_id needs a secret"),
        ({**PLAIN, "subject": "x"}, "A subject needs"),
        ({**PLAIN, "key_id": "x"}, "A key_id needs"),
        ({**RS256, "key_id": ""}, "A private_key needs a key_id"),
        ({**RS256, "secret": SECRET}, "not both"),
        ({**HS256, "secret": PUBLIC_PEM}, "holds a public key"),
        ({**HS256, "url": "https://meet.jit.si"}, "meet.jit.si takes no tokens"),
        ({"url": "https://8x8.vc"}, "needs app_id, key_id and private_key"),
        ({**JAAS, "private_key": None, "secret": SECRET}, "takes a private_key, not a secret"),
        ({**JAAS, "app_id": "vello"}, "vpaas-magic-cookie"),
        ({**JAAS, "key_id": "vpaas-magic-cookie-ff/1"}, "another AppID"),
        ({**JAAS, "tenant": "clinic"}, "leave them out"),
        ({**JAAS, "audience": "x"}, "leave it out"),
        ({**PLAIN, "tenant": "a/b"}, "tenant may hold only"),
        ({**PLAIN, "room_prefix": "Dr. Who"}, "room_prefix may hold only"),
        ({**PLAIN, "room_key": "short"}, "at least 32"),
        ({**RS256, "private_key": "nonsense"}, "no private key in PEM"),
        ({**RS256, "private_key": PUBLIC_PEM}, "no private key in PEM"),
        ({**RS256, "private_key": pem(RSA_KEY, BestAvailableEncryption(b"x"))}, "passphrase"),
        ({**RS256, "private_key": pem(ec.generate_private_key(ec.SECP256R1()))}, "must be an RSA key"),
        ({**RS256, "private_key": pem(SMALL_KEY)}, "at least 2048 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused_without_showing_secrets(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        JitsiSettings.model_validate(fields)
    assert SECRET not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "method", "account"),
    [
        (PLAIN, "plain", "https://meet.example.org"),
        ({**HS256, "tenant": "Clinic"}, "token", "https://meet.example.org/clinic"),
        (RS256, "token", "https://meet.example.org"),
        (JAAS, "jaas", f"https://8x8.vc/{APP_ID}"),
    ],
)
def test_method_and_account_are_named(fields: dict[str, Any], method: str, account: str) -> None:
    settings = JitsiSettings.model_validate(fields)
    assert (settings.method, settings.account) == (method, account)


def test_empty_fields_of_a_form_count_as_absent() -> None:
    settings = JitsiSettings.model_validate(
        {**PLAIN, "app_id": "", "secret": " ", "audience": "", "room_prefix": "", "tenant": None}
    )
    assert (settings.method, settings.audience, settings.room_prefix) == ("plain", "jitsi", "meeting")


def test_a_key_with_escaped_line_ends_is_read() -> None:
    escaped = pem(RSA_KEY).replace("\n", "\\n")
    assert JitsiSettings.model_validate({**RS256, "private_key": escaped}).method == "token"


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"url": "https://meet.jit.si"}, ["meet.jit.si", "even after a cancellation"]),
        (PLAIN, ["even after a cancellation"]),
        ({**HS256, "secret": "short"}, ["shorter than 32 bytes"]),
        (HS256, []),
        (RS256, []),
        (JAAS, []),
    ],
)
def test_an_admin_is_told_what_is_weak(fields: dict[str, Any], warned: list[str]) -> None:
    warnings = JitsiSettings.model_validate(fields).warnings()
    assert len(warnings) == len(warned)
    assert all(part in sentence for part, sentence in zip(warned, warnings, strict=True))
