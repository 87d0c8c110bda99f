"""Looking at an office's upcoming bookings again after its choice changed: all of them, in the background."""

from collections.abc import Mapping
from typing import Any, Final

from service.choices import DEFAULT
from service.entry import Entry
from service.errands import Errand, Step
from service.ledger import Ledger
from service.settings import Settings

KIND: Final = "again"

_PAGE: Final = 200
_PAUSE: Final = 0.05  # seconds between two pages: whatever else the store is for goes on


def serves(settings: Settings, office: str, realm: str | None, entry: Entry) -> bool:
    """Whether an office's choice serves a booking; `realm` is whose the office is, None while nobody knows."""
    mine = entry.wish.office if entry.wish else None
    if office == DEFAULT:
        own = settings.choices.own(mine) if mine else None
        return own is None or settings.choice_of(entry) is not own
    return mine == office and realm in (None, entry.realm)


class Again:
    """Carries such an errand out."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings

    async def step(self, errand: Errand, what: Mapping[str, Any]) -> Step:
        """Go on with one page of all that was to come when the errand began."""
        counts, office = {"looked": 0, "asked": 0, **errand.counts}, what["office"]
        await self._settings.load()
        realm = (await self._settings.choices.realms()).get(office)
        start, last = what.get("after") or (errand.at, "")
        page = await self._ledger.page((start, last), _PAGE)
        counts["looked"] += len(page.entries)
        for _, entry in page.entries:
            if serves(self._settings, office, realm, entry):
                text = f"{errand.who} changed the office's settings."
                counts["asked"] += await self._ledger.nudge(entry.record, text)
        if page.last is None:
            return Step(None, counts)
        return Step("look", counts, _PAUSE, {**what, "after": page.last})
