"""What vendors allow each host in a while, counted by all processes together before they ask.

A call that certainly came to nothing gives back what it drew. The vendor counts too, and its word is believed. Of a
while shorter than a day nobody knows when the vendor begins it, so no stretch of that length may hold too many.

Key: `vm:budget:<account>`, what each host of an account has drawn; gone a minute after 00:00 UTC, or after the last
call counts no more.
"""

import contextlib
import hashlib
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Literal

from providers.base import DAY, Budget
from service.connections import Connections, UnknownConnection
from service.entry import Placement
from service.gate import Held
from service.plan import Action, Verdict
from service.store import Script, Store
from service.vault import Damaged, UnknownKey

_SPREAD: Final = 60.0  # seconds over which a new day's calls are spread
_LONGEST: Final = 600.0  # seconds that the queue of a short while is long, at most
_VERBS: Final[Mapping[Verdict, Literal["create", "update"]]] = {
    Verdict.CREATE: "create",
    Verdict.REPLACE: "create",
    Verdict.UPDATE: "update",
}
_SCRIPT = Script(resources.files("service").joinpath("budget.lua").read_text())


@dataclass(frozen=True, slots=True)
class Purse:
    """What one host of an account is allowed in a while, and the verb that draws from it."""

    account: str
    host: str
    budget: Budget
    verb: str


def purse_of(connections: Connections, placement: Placement, verdict: Verdict) -> Purse | None:
    """What a verdict's call draws from: a create and an update count on the meeting's host, a removal never waits."""
    verb = _VERBS.get(verdict)
    capabilities = connections.promises(placement)
    if verb is None or capabilities is None or capabilities.budget is None:
        return None
    if verb not in capabilities.budget.verbs:
        return None
    return Purse(*connections.host_of(placement.connection, placement.spec.host), capabilities.budget, verb)


class Spent(Held):
    """Nothing is left for this host at present; another one may be served."""


class Budgets:
    """All hosts' budgets. All verbs raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def draw(self, purse: Purse) -> None:
        """Draw one call. Raises Spent until there is one when none is left; the last ones are for creates alone."""
        budget, create = purse.budget, purse.verb == "create"
        granted, wait = await self._ask(purse, "draw", budget.per_host - (0 if create else budget.reserve))
        if not granted:
            what = "new and changed meetings" if "update" in budget.verbs else "new meetings"
            if budget.seconds < DAY:
                every = "a minute" if budget.seconds == 60 else f"in {budget.seconds} seconds"
                text = f"The provider allows a host {budget.per_host} {what} {every}, and this one waits its turn"
                raise Held(text, wait)
            kept = "today's are used up" if create else f"the last {budget.reserve} of today are kept for new ones"
            raise Spent(f"The provider allows a host {budget.per_host} {what} a day, and {kept}", wait)

    async def give_back(self, purse: Purse) -> None:
        """The call came to nothing."""
        await self._ask(purse, "give")

    async def spent(self, purse: Purse) -> None:
        """The vendor says that nothing is left."""
        await self._ask(purse, "spend", purse.budget.per_host)

    async def able(self, connections: Connections, action: Action) -> tuple[str, ...]:
        """Those of a new meeting's hosts who may get one more now, in one round trip."""
        wanted = action.wanted
        capabilities = connections.promises(wanted) if wanted else None
        budget = capabilities.budget if capabilities else None
        if wanted is None or budget is None or "create" not in budget.verbs or not action.hosts:
            return action.hosts
        named = [connections.host_of(wanted.connection, host) for host in action.hosts]
        left = (await self.left([(named[0][0], budget)]))[0]
        return tuple(
            host for host, (_, name) in zip(action.hosts, named, strict=True) if left.get(name, budget.per_host) > 0
        )

    async def left(self, accounts: Sequence[tuple[str, Budget]]) -> list[dict[str, int]]:
        """What is left now of each account's hosts that drew, in one round trip."""
        asked = [(_keys(account), ("look", "", "", 0, _short(budget), 0)) for account, budget in accounts]
        answers = await self._store.pipeline_call(_SCRIPT, asked) if asked else []
        return [_left(answer[2], budget) for answer, (_, budget) in zip(answers, accounts, strict=True)]

    async def part_left(self, connections: Connections) -> dict[str, float]:
        """Which part, from 0 to 1, is left of each connection's scarcest host; only those whose vendor counts."""
        counted: dict[str, tuple[str, Budget]] = {}
        for row in connections.all():
            with contextlib.suppress(UnknownConnection, UnknownKey, Damaged):  # settings say so
                if account := connections.budget(row.id):
                    counted[row.id] = account
        left = await self.left([*counted.values()])
        return {
            connection: min(hosts.values(), default=budget.per_host) / budget.per_host
            for (connection, (_, budget)), hosts in zip(counted.items(), left, strict=True)
        }

    async def _ask(self, purse: Purse, verb: str, most: int = 0) -> tuple[bool, float]:
        short = _short(purse.budget)
        rest = (verb, secrets.token_hex(8), purse.host, most, short, int(_LONGEST * 1000))
        granted, wait, *_ = await self._store.call(_SCRIPT, _keys(purse.account), rest)
        if short and wait >= _LONGEST * 1000:  # without a turn of its own it comes at any time, and finds room or not
            return bool(granted), _LONGEST * random.uniform(0.25, 1.0)  # noqa: S311 - no secret
        if short:  # the queue spreads them
            return bool(granted), wait / 1000 + random.uniform(0.0, 1.0)  # noqa: S311 - no secret
        return bool(granted), wait / 1000 + random.uniform(0.0, _SPREAD)  # noqa: S311 (jitter is no secret)


def _short(budget: Budget) -> int:
    """The length of a while that slides, in milliseconds; 0 for a day, which has its own beginning."""
    return budget.seconds * 1000 if budget.seconds < DAY else 0


def _left(flat: Any, budget: Budget) -> dict[str, int]:
    row = dict(zip(flat[0::2], flat[1::2], strict=True))
    drawn = {name.removeprefix("h:"): int(count) for name, count in row.items() if name.startswith("h:")}
    return {host: max(0, budget.per_host - count) for host, count in sorted(drawn.items())}


def _keys(account: str) -> tuple[str]:
    return (f"vm:budget:{hashlib.sha256(account.encode()).hexdigest()[:16]}",)
