"""`/offices/{office}/look`: an office's logo and colour on the booking's page, seen before they are saved."""

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response
from starlette.routing import Route

from service.choices import DEFAULT, Choice
from service.picture import UPLOAD
from service.web.api_logos import LogosApi
from service.web.api_offices import OfficesApi
from service.web.brand import look_of
from service.web.errors import Problem
from service.web.forms import errors_of
from service.web.offices import begun, known
from service.web.settings import Frame, Visit
from service.web.words import _, said


class Looks:
    """The form, and what it looks like."""

    def __init__(self, frame: Frame, offices: OfficesApi, logos: LogosApi) -> None:
        self._frame = frame
        self._offices = offices
        self._logos = logos

    def routes(self) -> list[Route]:
        """The page and what its form does."""
        return [
            self._frame.get("/offices/{office}/look", self._show),
            self._frame.post("/offices/{office}/look", self._save),
        ]

    async def _show(self, visit: Visit) -> Response:
        office = await known(self._offices, visit)
        return self._page(visit, office, begun(self._offices, visit, office), saved=visit.asked("saved"))

    async def _save(self, visit: Visit) -> Response:
        office = await known(self._offices, visit)
        stands, typed = begun(self._offices, visit, office), visit.text("colour")
        try:
            logo = await self._logo(visit, stands)
        except Problem as problem:
            return self._page(visit, office, stands, 422, typed=typed, errors={"logo": said(problem.detail)})
        try:
            choice = Choice.model_validate({**stands.model_dump(), "logo": logo, "colour": typed or None})
        except ValidationError as error:
            shown = stands.model_copy(update={"logo": logo})
            return self._page(visit, office, shown, 422, typed=typed, errors=errors_of(error))
        if visit.text("do") != "save":
            return self._page(visit, office, choice)
        if self._offices.own(office) is None and not visit.all_companies:
            # What serves the office is for other admins to see: a choice without it would take its meetings away.
            first = _("Choose a provider for this office first: a look of its own comes with a choice of its own.")
            return self._page(visit, office, choice, 409, typed=typed, trouble=first)
        try:
            await self._offices.choose(office, choice, visit.session.person.name, visit.text("version"))
        except Problem as problem:
            return self._page(visit, office, choice, problem.status_code, trouble=said(problem.detail))
        return visit.go(f"/offices/{office}/look?saved=1")

    async def _logo(self, visit: Visit, stands: Choice) -> str | None:
        """The logo that is to be: the file that was sent, the one that was sent before and only looked at, or none."""
        file = visit.form.get("logo")
        if isinstance(file, UploadFile) and file.size:
            return await self._logos.add(await file.read(UPLOAD + 1))
        if visit.text("without_logo"):
            return None
        return visit.text("uploaded") or None if "uploaded" in visit.form else stands.logo

    def _page(
        self,
        visit: Visit,
        office: str,
        choice: Choice,
        status: int = 200,
        *,
        typed: str | None = None,
        errors: dict[str, str] | None = None,
        trouble: str | None = None,
        saved: str = "",
    ) -> Response:
        return visit.show(
            "office_look.html",
            status,
            office=office,
            default=office == DEFAULT,
            choice=choice,
            look=look_of(choice),
            colour=typed if typed is not None else choice.colour or "",
            version=visit.stood(self._offices.version(office), status)[0],
            errors=errors or {},
            trouble=trouble,
            saved=saved,
        )
