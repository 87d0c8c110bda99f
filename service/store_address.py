"""The address of a store: which servers it names, how they are found, and how to log in to them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

Host = tuple[str, int]
"""A server's name or number, and its port."""

EXAMPLES: Final = (
    "redis://localhost:6379/0, rediss://store.example.com:6380/0, unix:///run/valkey.sock, "
    "redis+sentinel://h1:26379,h2:26379/service/0 or redis+cluster://h1:6379,h2:6379"
)
_LOGIN = frozenset({"username", "password"})
_TLS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"})
_SENTINEL_LOGIN = frozenset({"sentinel_username", "sentinel_password"})
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


class Mode(Enum):
    """How the servers of a store are found."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class _Scheme:
    mode: Mode
    port: int
    options: frozenset[str]


_END_OF_AUTHORITY: Final = re.compile("[/?#]")
_SCHEMES: Final = {
    "redis": _Scheme(Mode.SINGLE, 6379, _LOGIN | {"db"}),
    "rediss": _Scheme(Mode.SINGLE, 6379, _LOGIN | _TLS | {"db"}),
    "unix": _Scheme(Mode.SINGLE, 0, _LOGIN | {"db"}),
    "redis+sentinel": _Scheme(Mode.SENTINEL, 26379, _LOGIN | _TLS | _SENTINEL_LOGIN | {"db", "ssl"}),
    "redis+cluster": _Scheme(Mode.CLUSTER, 6379, _LOGIN | _TLS | {"ssl"}),
}


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """What a store's URL says, checked; its repr holds no secret."""

    mode: Mode
    hosts: tuple[Host, ...]
    """The server, the sentinels, or the nodes of the cluster to begin with; none for a unix socket."""
    socket: str
    service: str
    """The name under which the sentinels know the servers."""
    login: Mapping[str, Any] = field(repr=False)
    """`username`, `password` and `db`, as far as they are given."""
    sentinel_login: Mapping[str, Any] = field(repr=False)
    tls: Mapping[str, Any] | None
    """`ssl_…` options, which may be none; None without TLS."""

    @classmethod
    def parse(cls, url: str) -> "StoreAddress":
        """Read a URL. Raises ValueError; its text says what is wrong and quotes no secret."""
        try:
            before, slashes, rest = url.partition("://")
            authority = _END_OF_AUTHORITY.split(rest, maxsplit=1)[0]
            # urlsplit takes one host only: of several it refuses those in brackets.
            parts = urlsplit(f"{before}{slashes}{authority and '-'}{rest[len(authority) :]}")
            scheme = _SCHEMES[parts.scheme]
            userinfo, _, places = authority.rpartition("@")
            hosts = tuple(_host(place, scheme.port) for place in places.split(",")) if places else ()
            unix = parts.scheme == "unix"
            if unix == bool(hosts) or (unix and not parts.path.strip("/")) or parts.fragment:
                raise ValueError
            if scheme.mode is Mode.SINGLE and len(hosts) > 1:
                raise ValueError
        except (KeyError, ValueError):
            raise ValueError(f"is no store address; write it like {EXAMPLES}") from None
        options = _options(parts, scheme)
        service, database = _service(parts) if scheme.mode is Mode.SENTINEL else ("", parts.path.strip("/"))
        name, _, password = userinfo.partition(":")
        said = {"username": unquote(name), "password": unquote(password)}
        said = {"db": "" if unix else database} | options | {part: word for part, word in said.items() if word}
        return cls(
            scheme.mode,
            hosts,
            unquote(parts.path) if unix else "",
            service,
            _login(said, scheme.mode),
            {name.removeprefix("sentinel_"): options[name] for name in _SENTINEL_LOGIN & options.keys()},
            _tls(options, parts.scheme == "rediss"),
        )


def _host(place: str, port: int) -> Host:
    parts = urlsplit(f"//{place}")
    if not parts.hostname or parts.port == 0 or parts.path:
        raise ValueError
    return parts.hostname, parts.port or port


def _options(parts: SplitResult, scheme: _Scheme) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme == "redis" and options.keys() & (_TLS | {"ssl"}):
        raise ValueError("has TLS options, but redis:// goes without TLS; write rediss://")
    if unknown := options.keys() - scheme.options:
        listed, known = ", ".join(sorted(unknown)), ", ".join(sorted(scheme.options))
        raise ValueError(f"has unknown options after '?': {listed}; known are {known}")
    return options


def _service(parts: SplitResult) -> tuple[str, str]:
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError(
            "does not name the service the sentinels watch; write it like redis+sentinel://h1:26379,h2:26379/service/0"
        )
    return unquote(service), database


def _login(said: Mapping[str, str], mode: Mode) -> dict[str, Any]:
    login: dict[str, Any] = {name: said[name] for name in ("username", "password") if said.get(name)}
    if database := said.get("db"):
        if not (database.isascii() and database.isdigit()):
            raise ValueError("names a database that is no number; write it like redis://localhost:6379/0")
        if mode is Mode.CLUSTER and int(database):
            raise ValueError("names a database, but a cluster has only the one; leave it out")
        login["db"] = int(database)
    return login


def _tls(options: Mapping[str, str], always: bool) -> dict[str, Any] | None:
    tls: dict[str, Any] = {name: options[name] for name in _TLS & options.keys()}
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = _flag("ssl_check_hostname", options["ssl_check_hostname"])
    if always or ("ssl" in options and _flag("ssl", options["ssl"])):
        return tls
    if tls:
        raise ValueError("has TLS options without TLS; add ssl=true")
    return None


def _flag(name: str, word: str) -> bool:
    if word.lower() not in _YES + _NO:
        raise ValueError(f"has an option {name} that is neither true nor false")
    return word.lower() in _YES
