"""`/brand/…`: offices' logos and colours, named by what they are, so that everybody may keep them for ever."""

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.choices import LOGO, Choice
from service.colour import ink_on
from service.logos import Logos
from service.store import StoreUnavailable
from service.web.errors import problem, unavailable

KEPT: Final = 64
"""Logos that a process holds in memory: 768 KB at most."""

_LASTING = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_NAME = re.compile(LOGO)
_SHEET = re.compile(r"([0-9a-f]{6})-([0-9a-f]{6})")
_UNKNOWN = (404, "not_found", "There is nothing at this address.", {"Cache-Control": "no-store"})


@dataclass(frozen=True, slots=True)
class Look:
    """How an office's pages look: names below `/brand/`, None for what it did not choose; the size is in CSS pixels."""

    sheet: str | None = None
    logo: str | None = None
    width: int = 0
    height: int = 0


def look_of(choice: Choice | None) -> Look:
    """What an office chose."""
    sheet = f"{choice.colour[1:]}-{ink_on(choice.colour)[1:]}.css" if choice and choice.colour else None
    size = _NAME.fullmatch(choice.logo) if choice and choice.logo else None
    if size is None:
        return Look(sheet)
    width, height = (max(1, int(each) // 2) for each in (size[1], size[2]))
    return Look(sheet, f"{size[0]}.png", width, height)


class Brand:
    """Serves them."""

    def __init__(self, logos: Logos) -> None:
        self._logos = logos
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def routes(self) -> list[Route]:
        """A logo, and a style sheet of two colours."""
        return [
            Route("/brand/{name}.png", self._logo, methods=["GET"]),
            Route("/brand/{name}.css", self._sheet, methods=["GET"]),
        ]

    async def _logo(self, request: Request) -> Response:
        name = request.path_params["name"]
        png = self._kept.get(name)
        if png is None and _NAME.fullmatch(name):
            try:
                png = await self._logos.png(name)
            except StoreUnavailable as error:
                return unavailable(error)
        if png is None:
            return problem(*_UNKNOWN)
        self._kept[name] = png
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return Response(png, 200, _LASTING, media_type="image/png")

    async def _sheet(self, request: Request) -> Response:
        found = _SHEET.fullmatch(request.path_params["name"])
        if found is None or ink_on(f"#{found[1]}") != f"#{found[2]}":  # nothing but what a page of ours would name
            return problem(*_UNKNOWN)
        return Response(f":root{{--brand:#{found[1]};--on-brand:#{found[2]}}}", 200, _LASTING, media_type="text/css")
