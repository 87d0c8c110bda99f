"""`/privacy`: what is known of a record or a customer, given out or erased."""

from pydantic import ValidationError
from starlette.responses import Response
from starlette.routing import Route

from service.vello import is_uuid
from service.web.api_privacy import PrivacyApi
from service.web.schema import ErasureNew
from service.web.settings import Frame, Visit
from service.web.words import _


class PrivacyPages:
    """One form with two buttons."""

    def __init__(self, frame: Frame, privacy: PrivacyApi) -> None:
        self._frame = frame
        self._privacy = privacy

    def routes(self) -> list[Route]:
        """The page and what its form does."""
        return [self._frame.get("/privacy", self._show), self._frame.post("/privacy", self._act)]

    async def _show(self, visit: Visit) -> Response:
        return visit.show("privacy.html", errors={}, typed={}, whose="customer")

    async def _act(self, visit: Visit) -> Response:
        whose = "record" if visit.text("whose") == "record" else "customer"
        id_, person = visit.text("id"), visit.session.person
        errors = {}
        if not is_uuid(id_):
            errors["id"] = _("Write the id as Vello shows it, such as 1aeef479-7c49-40e2-9ab6-09fd454fa226.")
        elif visit.text("do") == "erase" and not visit.text("sure"):
            errors["sure"] = _("Tick this first: nothing brings back what is erased.")
        if errors:
            return visit.show("privacy.html", 422, errors=errors, typed={"id": id_}, whose=whose)
        if visit.text("do") == "erase":
            try:
                new = ErasureNew.model_validate({whose: id_.lower()})
            except ValidationError:
                errors["id"] = _("Write the id as Vello shows it, such as 1aeef479-7c49-40e2-9ab6-09fd454fa226.")
                return visit.show("privacy.html", 422, errors=errors, typed={"id": id_}, whose=whose)
            await self._privacy.begin(new, person.name, person.companies)
            return visit.go("/errands")
        of_one = whose == "record"
        return self._privacy.exported(id_ if of_one else None, None if of_one else id_, visit.sees)
