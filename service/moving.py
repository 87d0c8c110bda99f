"""Moves meetings that stand on a connection their office no longer chooses, when an admin asks for it."""

import time
from typing import Final

from service.entry import Entry
from service.ledger import Ledger
from service.settings import Settings

MOST: Final = 5_000
"""Bookings one request moves; the others move at their next event, or with the next request."""
_LOOKS: Final = 1_000  # pages one request reads
_PAGE: Final = 200
_DAY: Final = 86_400


async def moved(ledger: Ledger, settings: Settings, office: str) -> int:
    """Have looked at again what stands elsewhere for a booking of `office` that has not ended; answers how many."""
    count, after, now = 0, (int(time.time()) - _DAY, ""), time.time()
    for _ in range(_LOOKS):
        page = await ledger.page(after, _PAGE)
        for _, entry in page.entries:
            if _stands_elsewhere(entry, settings, office, now):
                await ledger.nudge(entry.record, "An admin asked to move the meeting to the connection chosen now.")
                count += 1
        if page.last is None or count >= MOST:
            break
        after = page.last
    return count


def _stands_elsewhere(entry: Entry, settings: Settings, office: str, now: float) -> bool:
    wish, placed = entry.wish, entry.meeting
    if wish is None or placed is None or (wish.start or 0) + (wish.duration or 0) < now:
        return False
    chosen, asked = settings.choice_of(entry), settings.choices.own(office)
    return chosen is not None and chosen == asked and placed.connection != chosen.connection
