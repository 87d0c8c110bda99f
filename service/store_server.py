"""What a server must be: of the kind its address says, new enough, and better set up not to forget."""

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from service.store_address import Mode, StoreAddress

MIN_REDIS: Final = (6, 2)
MIN_VALKEY: Final = (7, 2)
_KINDS: Final = {
    "standalone": "redis://, rediss:// or unix://",
    "sentinel": "redis+sentinel://h1,h2/service",
    "cluster": "redis+cluster://h1,h2",
}


class StoreRefused(Exception):
    """The store is one this service cannot work with; the message is one sentence."""


def check_files(address: StoreAddress) -> None:
    """Refuse TLS files that cannot be read: a server would only be said not to answer."""
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        path = (address.tls or {}).get(name)
        if path is not None and not os.access(path, os.R_OK):
            raise StoreRefused(f"REDIS_URL's {name} names a file that cannot be read; check its path and its rights.")


def check_server(info: Mapping[str, Any], mode: Mode) -> None:
    """Refuse a server of another kind or too old. Raises StoreRefused."""
    found = str(info.get("server_mode") or info.get("redis_mode") or "standalone")  # Valkey's word, Redis's word
    wanted = "cluster" if mode is Mode.CLUSTER else "standalone"
    if found != wanted:
        raise StoreRefused(
            f"The store runs in {found} mode; write its address as {_KINDS.get(found, _KINDS['standalone'])}."
        )
    name, version, least = "Redis", str(info.get("redis_version", "")), MIN_REDIS
    if "valkey_version" in info:
        name, version, least = "Valkey", str(info["valkey_version"]), MIN_VALKEY
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < least:
        raise StoreRefused(
            f"The store is {name} {version or 'of unknown version'}; use Redis 6.2, Valkey 7.2 or newer."
        )


def warnings(info: Mapping[str, Any]) -> list[str]:
    """What a server may forget, and how to have it remember."""
    found = []
    if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
        found.append(f"The store drops bookings when it is full ({policy}): set maxmemory-policy noeviction.")
    if info.get("aof_enabled") == 0:
        found.append("The store may forget its last minutes, or all, when it ends: set appendonly yes.")
    return found
