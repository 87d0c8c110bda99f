"""Proves that a connection works by making, moving, finding and removing a real meeting."""

import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from providers.base import Meeting, MeetingProvider, MeetingSpec, ProviderError


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried: whether it went well, and a sentence for people.

    `warnings` are what the vendor made otherwise than it was asked.
    """

    step: str
    ok: bool
    text: str
    milliseconds: int
    warnings: tuple[str, ...] = ()


async def rehearse(
    provider: MeetingProvider, host: str | None = None, options: Mapping[str, Any] | None = None
) -> list[Step]:
    """Probe the account, then create, move, find and delete a meeting tomorrow; stops at the first failure.

    A meeting that was made is always removed again; if that fails, the last step says so.
    """
    steps: list[Step] = []
    start = int(time.time()) // 60 * 60 + 86_400
    spec = MeetingSpec(secrets.token_hex(16), 0, "Connection test", start, 900, host=host, options=options or {})
    meeting: list[Meeting] = []

    async def take(name: str, act: Callable[[], Awaitable[Any]], text: str) -> bool:
        began = time.monotonic()
        try:
            answer = await act()
        except ProviderError as error:
            steps.append(Step(name, False, error.text, int((time.monotonic() - began) * 1000)))
            return False
        if isinstance(answer, Meeting):
            meeting[:] = [answer]
        said = answer if isinstance(answer, str) else text
        ok = not (name == "find" and answer is None)
        steps.append(
            Step(
                name,
                ok,
                said if ok else "It was made but not found again.",
                int((time.monotonic() - began) * 1000),
                answer.warnings if isinstance(answer, Meeting) else (),
            )
        )
        return ok

    good = await take("probe", provider.probe, "The account answers.")
    good = good and await take("create", lambda: provider.create(spec), "A meeting was made.")
    if not meeting and steps[-1].step == "create":  # its answer may be lost, and a meeting there all the same
        with contextlib.suppress(ProviderError):
            meeting += [found] if (found := await provider.find(spec)) else []
    if meeting:
        moved = replace(spec, start=start + 3600)
        good = good and await take("move", lambda: provider.update(meeting[0], moved), "It was moved.")
    if meeting and provider.capabilities.finds:
        good = good and await take("find", lambda: provider.find(moved), "It was found again.")
    if meeting:
        await take("delete", lambda: provider.delete(meeting[0]), "It was removed.")
    return steps
