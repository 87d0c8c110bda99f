"""How a variable's text becomes its value; what cannot be one is refused with a sentence."""

import base64
import binascii
import ipaddress
import re
import ssl
from collections.abc import Callable
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr

from providers.signing import key_of
from service.store_address import StoreAddress
from service.vault import KEY_BYTES, KEY_ID


def web_address(value: str) -> str:
    """Check an http or https address and take its trailing slash away."""
    try:
        parts = urlsplit(value)
        usable = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or not value.isascii() or not value.isprintable() or re.search(r"[\s\\<>\"]", value):
        raise ValueError("is no web address; write it like https://meetings.example.com")
    if "?" in value or "#" in value or "@" in parts.netloc:
        raise ValueError("must hold no '?', '#' or '@'; write it like https://meetings.example.com")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def issuer(value: str) -> str:
    web_address(value)
    return value  # kept as written: the provider compares the very characters


def allowed(value: str) -> tuple[str, ...]:
    people = _listed(value)
    for each in people:
        if "@" not in each and not each.startswith("group:"):
            raise ValueError(
                f"holds '{each}', which lets nobody in; write anna@example.org, @example.org or group:admins"
            )
    return people


def endpoint_urls(value: str) -> tuple[str, ...]:
    urls = _listed(value)
    for url in urls:
        web_address(url.partition("?")[0])
    return urls  # kept as written: Vello signs the very characters that were entered there


def networks(value: str) -> tuple[str, ...]:
    """Check addresses and networks of proxies."""
    named = _listed(value)
    for each in named:
        try:
            network = ipaddress.ip_network(each)
        except ValueError:
            raise ValueError(
                f"holds '{each}', which is no address and no network; write 10.0.0.7 or 10.0.0.0/16"
            ) from None
        if not network.prefixlen:
            raise ValueError(f"holds '{each}', which is everybody; name the networks of your own proxies")
    return named


def redis_url(value: str) -> str:
    StoreAddress.parse(value)
    return value


def redis_prefix(value: str) -> str:
    if not re.fullmatch(r"([\w.-]+:)+", value, re.ASCII) or len(value) > 64:
        raise ValueError("is no prefix; write up to 64 letters, digits, '_', '.', '-' and ':', ending with ':'")
    return value


def keys(value: str) -> tuple[tuple[str, bytes], ...]:
    keys: dict[str, bytes] = {}
    for item in _listed(value):
        key_id, colon, text = item.partition(":")
        if not colon or not KEY_ID.fullmatch(key_id):
            raise ValueError(
                "holds an entry that is not id:key; an id has 1 to 32 letters, digits, - and _, "
                "and a key comes from `openssl rand -base64 32`"
            )
        if key_id in keys:
            raise ValueError(f"holds the id '{key_id}' twice; give every key its own id")
        keys[key_id] = _key(key_id, text)
    return tuple(keys.items())


def _key(key_id: str, text: str) -> bytes:
    plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(
            f"holds a key '{key_id}' that is not 32 bytes in base64; make one with `openssl rand -base64 32`"
        )
    return key


def _listed(value: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in value.split(",") if item.strip())
    if not items:
        raise ValueError("holds nothing but commas; give at least one value")
    return items


def tokens(value: str) -> tuple[SecretStr, ...]:
    return tuple(SecretStr(item) for item in _listed(value))


def printable(value: str) -> str:
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise ValueError("may hold only printable ASCII characters and no spaces; copy it again")
    return value


def phrase(value: str) -> str:
    """Check a password: spaces are its own business."""
    if not value.isprintable():
        raise ValueError("may hold only printable characters; copy it again")
    return value


def host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}|\[?[0-9A-Fa-f:.]+\]?", value):
        raise ValueError("is no name or address of a machine; write it like mail.example.org, the port on its own")
    return value.strip("[]")


def port(value: str) -> int:
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 65_536):
        raise ValueError("is no port; write it like 587")
    return int(value)


def email(value: str) -> str:
    if not re.fullmatch(r"[^@\s,;:<>\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,253}", value, re.ASCII) or not value.isascii():
        raise ValueError(f"holds '{value}', which is no e-mail address; write it like it@example.org")
    return value


def emails(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(email(each) for each in _listed(value)))


def authority(value: str) -> str:
    """Check certificates in PEM."""
    try:
        ssl.create_default_context(cadata=value)
    except (ssl.SSLError, ValueError):
        raise ValueError("holds no certificate in PEM; give the authority's certificate") from None
    return value


def webhook_url(value: str) -> str:
    """Check an address that may carry a secret in its query: it is never shown."""
    try:
        parts = urlsplit(value)
        usable = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("is no web address; write it like https://hooks.example.org/vello")
    if parts.fragment or "@" in parts.netloc:
        raise ValueError("must hold no '#' and no user name; write it like https://hooks.example.org/vello")
    if parts.scheme != "https" and not here(parts.hostname or ""):
        raise ValueError("sends notices in clear; use https")
    return value


def webhook_secret(value: str) -> str:
    try:
        key_of(value)
    except ValueError:
        raise ValueError(
            "is no secret of Standard Webhooks; make one with `echo whsec_$(openssl rand -base64 32)`"
        ) from None
    return value


def here(host: str) -> bool:
    """Whether a host is this machine and nothing that is sent there leaves it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def seconds(least: float, most: float) -> Callable[[str], float]:
    def check(value: str) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1
        if not least <= seconds <= most:
            raise ValueError(f"is no number of seconds from {least:g} to {most:g}; write it like {most / 4:g}")
        return seconds

    return check


def whole(least: int, most: int, what: str) -> Callable[[str], int]:
    def check(value: str) -> int:
        number = int(value) if re.fullmatch(r"[0-9]{1,12}", value) else -1
        if not least <= number <= most:
            raise ValueError(f"is no whole number of {what} from {least} to {most}")
        return number

    return check


def hour(value: str) -> int | None:
    """An hour of the day; None for never."""
    if value.lower() == "never":
        return None
    if not value.isdecimal() or int(value[:4]) > 23:
        raise ValueError("is no hour of the day from 0 to 23 (UTC), and not 'never'")
    return int(value)


def one_of(words: Any) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value.lower() not in get_args(words):
            raise ValueError(f"must be one of {', '.join(get_args(words))}")
        return value.lower()

    return check
