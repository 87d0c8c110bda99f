"""`/api/v1/companies`: further companies whose events are taken; the API and the pages call the same."""

import secrets
from dataclasses import replace
from typing import Final

from fastapi import Response

from service.changes import Changes
from service.companies import Companies, Company
from service.web.errors import BY_API, Problem
from service.web.schema import CompanyNew, CompanyPage, CompanyRead

MOST_TOKENS: Final = 10
"""Tokens a company may have at a time."""


class CompaniesApi:
    """The API's operations on companies."""

    def __init__(self, companies: Companies, changes: Changes, public_url: str) -> None:
        self._companies = companies
        self._changes = changes
        self._public_url = public_url

    async def list_companies(self) -> CompanyPage:
        """Companies added in settings; the installation's own comes from the environment."""
        reached = await self._companies.reached_at()
        rows = await self._companies.all()
        return CompanyPage(companies=[_company(row, reached.get(row.id)) for row in rows])

    async def add_company(self, new: CompanyNew) -> CompanyRead:
        """Take events of another company at its own webhook URL."""
        return await self.add(new, BY_API)

    async def delete_company(self, company: str) -> Response:
        """Refuse a company's events from now on."""
        await self.remove(company, BY_API)
        return Response(status_code=204)

    async def add_token(self, company: str) -> CompanyRead:
        """Make another token, which is shown in this answer only; those before it are valid as well."""
        return await self.renew(company, BY_API)

    async def drop_tokens(self, company: str) -> CompanyRead:
        """Refuse from now on what is signed with any but the newest token."""
        return await self.settle(company, BY_API)

    async def add(self, new: CompanyNew, who: str) -> CompanyRead:
        """Take events of another company at its own webhook URL."""
        url = new.endpoint_url or f"{self._public_url}/webhooks/vello/{new.id}"
        company = Company(new.id, new.name, (url,), tuple(new.tokens or [secrets.token_urlsafe(32)]))
        if not await self._companies.add(company):
            raise Problem(409, "exists", "A company with this id is there already; delete it first.")
        await self._changes.note(who, "company", company.id, "added", {"name": (None, company.name)})
        return _company(company, None).model_copy(update={"tokens": list(company.tokens)})

    async def remove(self, company: str, who: str) -> None:
        """Refuse a company's events from now on."""
        if not await self._companies.remove(company.lower()):
            raise _unknown()
        await self._changes.note(who, "company", company.lower(), "removed")

    async def renew(self, company: str, who: str) -> CompanyRead:
        """Make another token; the newest comes first, and a company has ten at most."""
        token = secrets.token_urlsafe(32)
        changed = await self._companies.change(
            company.lower(), lambda row: replace(row, tokens=(token, *row.tokens)[:MOST_TOKENS])
        )
        if changed is None:
            raise _unknown()
        await self._changes.note(who, "company", changed.id, "set", {"tokens": ("…", "…")})
        return _company(changed, None).model_copy(update={"tokens": [token]})

    async def settle(self, company: str, who: str) -> CompanyRead:
        """Forget all tokens but the newest."""
        changed = await self._companies.change(company.lower(), lambda row: replace(row, tokens=row.tokens[:1]))
        if changed is None:
            raise _unknown()
        await self._changes.note(who, "company", changed.id, "set", {"tokens": ("…", "…")})
        return _company(changed, None)


def _unknown() -> Problem:
    return Problem(404, "unknown_company", "No company with this id has been added.")


def _company(row: Company, reached: int | None) -> CompanyRead:
    return CompanyRead(
        id=row.id, name=row.name, endpoint_url=row.endpoint_urls[0], reached_at=reached, valid_tokens=len(row.tokens)
    )
