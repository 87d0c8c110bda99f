"""The store: whether it answers, forgets nothing, drops nothing, has room, is quick, and shows our time."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from service.doctor.finding import Report
from service.store import Store

PINGS: Final = 50
SLOW, TOO_SLOW = 0.05, 0.25
"""Seconds that a round trip may take: one in a hundred, and every second one."""
FULL, NEARLY = 0.95, 0.8
"""Shares of its memory at which a store is as good as full, and soon is."""
ASTRAY, FAR_ASTRAY = 5.0, 60.0
"""Seconds by which two clocks may differ before it is worth a word, and before vendors refuse us."""

_MEGABYTE = 1 << 20


async def look(report: Report, store: Store, clock: Callable[[], float] = time.time) -> None:
    """All of it. Raises: StoreUnavailable."""
    servers = await store.servers()
    await store.ping()
    report.ok("store", f"{', '.join(sorted({_name(info) for info in servers}))} answers and takes writes.")
    for info in servers:
        _persistence(report, info)
        _eviction(report, info)
        _memory(report, info)
    await _latency(report, store)
    await _clock(report, store, clock)


def _name(info: Mapping[str, Any]) -> str:
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', 'of unknown version')}"


def _persistence(report: Report, info: Mapping[str, Any]) -> None:
    check = "store.persistence"
    if info.get("aof_last_write_status", "ok") != "ok":
        report.broken(check, "It cannot write to its disk.", "Make room on its disk, and look at its log.")
    elif info.get("aof_enabled") != 0:
        report.ok(check, "It writes everything down (appendonly).")
    elif info.get("connected_slaves"):
        text = "It writes nothing down and has a replica: if both end, bookings and connections are lost."
        report.warning(check, text, "Set appendonly yes.")
    else:
        text = "It may forget its last minutes, or everything, when it ends."
        report.broken(check, text, "Set appendonly yes.")


def _eviction(report: Report, info: Mapping[str, Any]) -> None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        report.ok("store.eviction", "It drops nothing when it is full (noeviction).")
    else:
        report.broken(
            "store.eviction", f"It drops bookings when it is full ({policy}).", "Set maxmemory-policy noeviction."
        )


def _memory(report: Report, info: Mapping[str, Any]) -> None:
    check, used, most = "store.memory", int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most:
        report.ok(check, f"{used / _MEGABYTE:.0f} MB are used, without a limit of its own.")
        return
    text = f"{used / _MEGABYTE:.0f} of {most / _MEGABYTE:.0f} MB are used."
    cure = "Raise maxmemory: a booking takes 2 to 3 KB. A full store takes no events."
    if used >= FULL * most:
        report.broken(check, text, cure)
    elif used >= NEARLY * most:
        report.warning(check, text, cure)
    else:
        report.ok(check, text)


async def _latency(report: Report, store: Store) -> None:
    taken = []
    for _ in range(PINGS):
        began = time.perf_counter()
        await store.execute("PING")
        taken.append(time.perf_counter() - began)
    taken.sort()
    half, nearly_all = taken[PINGS // 2], taken[PINGS * 99 // 100]
    text = f"A round trip takes {half * 1000:.1f} ms, one in a hundred {nearly_all * 1000:.1f} ms."
    cure = "Bring the store nearer, or look at what else keeps it and this machine busy."
    if half > TOO_SLOW:
        report.broken("store.latency", text, cure)
    elif nearly_all > SLOW:
        report.warning("store.latency", text, cure)
    else:
        report.ok("store.latency", text)


async def _clock(report: Report, store: Store, clock: Callable[[], float]) -> None:
    looks = []
    for _ in range(5):
        before = clock()
        seconds, microseconds = await store.execute("TIME")
        after = clock()
        looks.append((after - before, (before + after) / 2 - seconds - microseconds / 1e6))
    _, ahead = min(looks)  # the quickest answer is the nearest to the truth
    text = f"This machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the store's."
    cure = "Let both machines set their clocks by NTP."
    if abs(ahead) >= FAR_ASTRAY:
        report.broken("clock", f"{text} Vendors and browsers refuse what we sign with a wrong time.", cure)
    elif abs(ahead) >= ASTRAY:
        report.warning("clock", text, cure)
    else:
        report.ok("clock", text)
