"""`/connections/new/{provider}`: the form that makes a connection, and what its server says before it is stored."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response
from starlette.routing import Route

from providers.base import ProviderInfo, Remark
from service.vendors import inspects
from service.web.api_connections import ConnectionsApi
from service.web.errors import Problem
from service.web.forms import Field, errors_of, fields_of, read, sent_of
from service.web.schema import ConnectionNew
from service.web.settings import Frame, Visit
from service.web.words import _, said

_PREFIX = "settings."
_LONGEST_FILE = 64 * 1024


class ConnectionForms:
    """Forms made from what an adapter declares; where it can ask its server, that is asked while one types."""

    def __init__(self, frame: Frame, connections: ConnectionsApi) -> None:
        self._frame = frame
        self._connections = connections

    def routes(self) -> list[Route]:
        """The page, what its form does, and what it says meanwhile."""
        return [
            self._frame.get("/connections/new/{provider}", self._new),
            self._frame.post("/connections/new/{provider}", self._add),
            self._frame.post("/connections/new/{provider}/check", self._check),
        ]

    def offered(self) -> list[ProviderInfo]:
        """Providers that are connected with a form."""
        return [info for info in self._connections.providers.values() if _is_offered(info)]

    async def _new(self, visit: Visit) -> Response:
        return await self._form(visit, self._known(visit), {}, {})

    async def _add(self, visit: Visit) -> Response:
        info = self._known(visit)
        fields, sent = await typed_fields(visit, info)
        try:
            remarks = await self._connections.look(info.name, info.settings.model_validate(fields))
            if not may_store(visit, remarks):
                return await self._form(visit, info, sent, {}, 422, remarks)
            new = ConnectionNew.model_validate(
                {**fields, "provider": info.name, "name": visit.text("name") or None, "method": None}
            )
            row = await self._connections.add(new, visit.session.person.name, visit.company(visit.text("company")))
        except ValidationError as error:
            return await self._form(visit, info, sent, errors_of(error), 422)
        except Problem as problem:
            return await self._form(visit, info, sent, {"": said(problem.detail)}, problem.status_code)
        return visit.go(f"/connections/{row.id}?done=added")

    async def _check(self, visit: Visit) -> Response:
        info = self._known(visit)
        fields, _sent = await typed_fields(visit, info)
        try:
            settings = info.settings.model_validate(fields)
        except ValidationError:
            return show_check(visit, None)
        return show_check(visit, await self._connections.look(info.name, settings))

    async def _form(
        self,
        visit: Visit,
        info: ProviderInfo,
        sent: Mapping[str, str],
        errors: Mapping[str, str],
        status: int = 200,
        remarks: Sequence[Remark] | None = None,
    ) -> Response:
        main, more = fields_shown(info, sent, errors)
        return visit.show(
            "connection_new.html",
            status,
            info=info,
            name=visit.text("name"),
            owners=await self._frame.owners(visit),
            company=visit.text("company"),
            fields=main,
            more=more,
            checks=inspects(info),
            remarks=remarks,
            anyway=bool(visit.text("anyway")),
            trouble=trouble_of(errors, remarks),
        )

    def _known(self, visit: Visit) -> ProviderInfo:
        info = self._connections.providers.get(visit.part("provider"))
        if info is None or not _is_offered(info):
            raise Problem(404, "not_found", "There is nothing at this address.")
        return info


def show_check(visit: Visit, remarks: Sequence[Remark] | None) -> Response:
    """The part of a form that says what the server said; None while the form is not complete."""
    return visit.show("connection_check.html", remarks=remarks, anyway=bool(visit.text("anyway")))


def may_store(visit: Visit, remarks: Sequence[Remark]) -> bool:
    """Whether settings may be stored: not what the server refuses, and unseen only what somebody wants all the same."""
    kinds = {remark.kind for remark in remarks}
    return "wrong" not in kinds and ("away" not in kinds or bool(visit.text("anyway")))


def trouble_of(errors: Mapping[str, str], remarks: Sequence[Remark] | None) -> str | None:
    """What stands above a form that was not taken."""
    if errors:
        return errors.get("") or _("Something in the form is not right yet.")
    if remarks:
        return _("Nothing was saved yet: see below what the server says. Secrets must be typed again.")
    return None


async def typed_fields(visit: Visit, info: ProviderInfo) -> tuple[dict[str, Any], dict[str, str]]:
    """What was typed or uploaded as an adapter's settings, and what of it may be shown again."""
    sent = {name: value for name, value in visit.form.multi_items() if isinstance(value, str)}
    for name, value in visit.form.multi_items():
        if isinstance(value, UploadFile) and (value.size or 0) > 0:
            raw = await value.read(_LONGEST_FILE)
            sent[name.removesuffix(".file")] = raw.decode("utf-8", "replace")
    asked = [*(info.settings.model_fields if info.asks is None else info.asks), *info.asks_more]
    fields = read(info.settings, _PREFIX, sent, asked)
    return fields, sent_of(info.settings, _PREFIX, sent)


def fields_shown(
    info: ProviderInfo, sent: Mapping[str, str], errors: Mapping[str, str]
) -> tuple[list[Field], list[Field]]:
    """The fields that people fill in, and those that few need."""
    main = fields_of(info.settings, _PREFIX, sent, errors, info.asks)
    return main, fields_of(info.settings, _PREFIX, sent, errors, info.asks_more)


def _is_offered(info: ProviderInfo) -> bool:
    return info.asks is None or bool(info.asks)
