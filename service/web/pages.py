"""Pages of the settings: how they are rendered, and with which headers they leave."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from providers.troubles import Trouble
from service.errors import Catalogue
from service.matters import Matter
from service.web import words
from service.web.forms import label_of
from service.web.join import HEADERS
from service.web.session import Session

if TYPE_CHECKING:
    from jinja2 import Environment

LANGUAGE_COOKIE = "vello_meetings_language"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


class Pages:
    """Renders every page that admins see."""

    def __init__(self, public_url: str, catalogue: Catalogue) -> None:
        self.public_url = public_url
        self.catalogue = catalogue
        self.root = urlsplit(public_url).path  # behind a proxy that serves us below a path
        # With no-referrer browsers send `Origin: null` with a form, and over plain HTTP nothing else says whose it is.
        self.headers: Mapping[str, str] = {
            **HEADERS,
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "same-origin",
        }
        self._made: Environment | None = None

    @property
    def _templates(self) -> "Environment":
        if self._made is None:
            made = words.environment()
            made.globals |= {"root": self.root, "label": label_of, "plain": _plain, "names": _names}
            made.globals["trouble_of"] = self.trouble_of
            self._made = made
        return self._made

    def trouble_of(self, text: str) -> Trouble | None:
        """What a text in the language of this request tells of, None if it tells of no trouble."""
        return self.catalogue.find(text, words.language(), words._)

    async def speak(self, request: Request) -> None:
        """Answer this request in its language."""
        accepted = request.headers.get("accept-language", "")
        await words.answer_in(words.wanted(request.cookies.get(LANGUAGE_COOKIE), accepted))
        if self._made is None:
            await asyncio.to_thread(lambda: self._templates.get_template("layout.html"))

    def show(
        self,
        request: Request,
        template: str,
        status: int = 200,
        *,
        session: Session | None = None,
        headers: Mapping[str, str] | None = None,
        matters: Sequence[Matter] = (),
        **values: Any,
    ) -> Response:
        """A page, with navigation for whoever is logged in; `matters` need a person."""
        listing = request.url.path in ("/bookings", "/deliveries", "/login")
        asked = request.url.query if listing else ""  # others may hold a secret
        here = request.url.path + (f"?{asked}" if asked else "")
        body = self._templates.get_template(template).render(
            session=session,
            here=here if request.method == "GET" else "/",
            path=request.url.path,
            matters=matters,
            **values,
        )
        return Response(body, status, {**self.headers, **(headers or {})}, media_type="text/html")

    def go(self, path: str) -> Response:
        """Send the browser to another page of ours."""
        return RedirectResponse(f"{self.root}{path}", 303, self.headers)


def _plain(value: object, called: Mapping[str, str] | None = None) -> str:
    """A stored value for people; ids that are `called` something, by that."""
    known = called or {}
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{known.get(name, name)}: {_plain(each, known)}" for name, each in value.items())
    each = value if isinstance(value, list) else [value]
    return ", ".join(known.get(str(one), str(one)) for one in each)


def _names(ids: Sequence[str], known: Mapping[str, str]) -> str:
    """Things by their names, by their ids where they have none."""
    return ", ".join(known.get(each, each) for each in ids)
