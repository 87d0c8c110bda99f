"""`/api/v1/errands`: what was set going and takes a while; the API and the pages call the same."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path

from service.errands import Errand, Errands, TooManyErrands
from service.web.errors import BY_API, Problem
from service.web.schema import ErrandPage, ErrandRead

ErrandId = Annotated[str, Path(max_length=64)]


class ErrandsApi:
    """The API's operations on errands."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    async def list_errands(self) -> ErrandPage:
        """Replays, erasures and offices' bookings looked at again, the newest first."""
        return ErrandPage(errands=[told_of(each) for each in await self._errands.all()])

    async def get_errand(self, errand: ErrandId) -> ErrandRead:
        """How far one is."""
        return told_of(await self.known(errand))

    async def stop_errand(self, errand: ErrandId) -> ErrandRead:
        """Have one end where it is; what it did stays done."""
        await self.known(errand)
        await self.stop(errand, BY_API)
        return told_of(await self.known(errand))

    async def stop(self, errand: str, who: str) -> None:
        """The same for `who`. Raises Problem."""
        if not await self._errands.stop_one(errand, who):
            raise Problem(409, "ended", "It has ended already.")

    async def known(self, errand: str) -> Errand:
        """One errand. Raises Problem when there is none, or none any more."""
        found = await self._errands.get(errand)
        if found is None:
            raise Problem(404, "unknown_errand", "There is nothing under way with this id, or it was long ago.")
        return found


async def begun(errands: Errands, kind: str, what: Mapping[str, Any], who: str) -> ErrandRead:
    """Set one going. Raises Problem when as many are under way as may be."""
    try:
        return told_of(await errands.begin(kind, what, who))
    except TooManyErrands:
        raise Problem(
            409, "too_many_errands", "As many replays and erasures are under way as may be; wait until one has ended."
        ) from None


def told_of(errand: Errand) -> ErrandRead:
    """An errand as it may be shown."""
    fields = ("id", "kind", "who", "at", "ended_at", "state", "counts")
    return ErrandRead.model_validate({name: getattr(errand, name) for name in fields})
