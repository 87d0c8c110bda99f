"""What a process keeps for a moment: bookings' pages for when the store is away, and who guesses links."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from service.entry import Entry

LIFE: Final = 300.0
"""Seconds for which a page is shown from memory while the store is away."""
PAGES: Final = 1000
"""Pages kept at most."""
GUESSES: Final = 60
"""Unknown links one address may ask for in `LIFE` seconds."""
_ADDRESSES: Final = 10_000

Clock = Callable[[], float]


class Recent:
    """The bookings whose pages were looked at lately, by their link tokens."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Entry, int]] = OrderedDict()

    def keep(self, token: str, entry: Entry, now: int) -> None:
        """Remember a booking as it is at `now`, the store's time."""
        self._kept[token] = (self._clock(), entry, now)
        self._kept.move_to_end(token)
        oldest = next(iter(self._kept.values()))[0]
        if len(self._kept) > PAGES or self._clock() - oldest > LIFE:
            self._kept.popitem(last=False)

    def forget(self, token: str) -> None:
        """The link leads nowhere any more."""
        self._kept.pop(token, None)

    def find(self, token: str) -> tuple[Entry, int] | None:
        """The booking as it was a moment ago, and what the store's time must be by now."""
        kept = self._kept.get(token)
        if kept is None or self._clock() - kept[0] > LIFE:
            return None
        return kept[1], kept[2] + int(self._clock() - kept[0])


class Guesses:
    """Counts unknown links by the address that asks for them, in this process.

    Tokens have 128 random bits, so nobody succeeds anyway. A link that is known opens all the same: behind a proxy
    customers may share an address with a guesser.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def too_many(self, address: str) -> bool:
        """Whether this address has asked for so many that it has to wait."""
        since, count = self._counts.get(address, (0.0, 0))
        return count >= GUESSES and self._clock() - since <= LIFE

    def add(self, address: str) -> None:
        """One more."""
        since, count = self._counts.get(address, (self._clock(), 0))
        if self._clock() - since > LIFE:
            since, count = self._clock(), 0
        self._counts[address] = (since, count + 1)
        self._counts.move_to_end(address)
        if len(self._counts) > _ADDRESSES:
            self._counts.popitem(last=False)
