"""`/api/v1/erasures` and `/api/v1/export`: what people may ask for; the API and the pages call the same."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import Query
from fastapi.responses import StreamingResponse

from service.delivery import UUID
from service.erasure import KIND, Erasure, Sees, TooMany, about, everything
from service.errands import Errands
from service.web.api_errands import begun
from service.web.errors import BY_API, Problem
from service.web.schema import ErasureNew, ErrandRead, Export

EXPORTED: Final[dict[int | str, dict[str, Any]]] = {200: {"model": Export}}
"""How OpenAPI tells of an export."""


class PrivacyApi:
    """The API's operations on what is known of a record or a customer."""

    def __init__(self, erasure: Erasure, errands: Errands) -> None:
        self._erasure = erasure
        self._errands = errands

    async def erase(self, new: ErasureNew) -> ErrandRead:
        """Erase a record, or all of a customer's, with their meetings, in the background."""
        return await self.begin(new, BY_API, None)

    async def begin(self, new: ErasureNew, who: str, companies: tuple[str, ...] | None) -> ErrandRead:
        """The same for `who`, of some companies or of all (None)."""
        return await begun(self._errands, KIND, about(new.record, new.customer, companies), who)

    async def export(
        self,
        record: Annotated[str | None, Query(pattern=UUID)] = None,
        customer: Annotated[str | None, Query(pattern=UUID)] = None,
    ) -> StreamingResponse:
        """All that is known of a record, or of a customer's records."""
        return self.exported(record, customer)

    def exported(self, record: str | None, customer: str | None, sees: Sees = everything) -> StreamingResponse:
        """The same, of companies that somebody `sees`; records are written as they are found. Raises Problem."""
        if (record is None) == (customer is None):
            raise Problem(422, "invalid", "Name either a `record` or a `customer`.")
        if record:
            content = _written(None, self._one(record, sees))
        else:
            content = _written((customer or "").lower(), self._erasure.told(customer or "", sees))
        headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="export.json"'}
        return StreamingResponse(content, media_type="application/json", headers=headers)

    async def _one(self, record: str, sees: Sees) -> AsyncIterator[dict[str, Any]]:
        if known := await self._erasure.known(record, sees):
            yield known


async def _written(customer: str | None, records: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """JSON with `complete` at its end: what broke off in the middle is no JSON, what had to stop says so."""
    yield f'{{"customer": {json.dumps(customer)}, "records": ['
    comma, complete = "", True
    try:
        async for each in records:
            yield comma + json.dumps(each)
            comma = ", "
    except TooMany:
        complete = False
    yield f'], "complete": {json.dumps(complete)}}}'
