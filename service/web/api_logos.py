"""`/api/v1/logos`: pictures that offices may choose as their logo."""

from typing import Any, Final

from fastapi import Request

from service.logos import Logos
from service.picture import Unusable
from service.settings import Settings
from service.web.errors import Problem
from service.web.schema import Logo

_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {each: {"schema": {"type": "string", "format": "binary"}} for each in _TYPES},
    }
}
"""What the body of an upload is, for the OpenAPI document."""


class LogosApi:
    """The API's operation on logos."""

    def __init__(self, logos: Logos, settings: Settings) -> None:
        self._logos = logos
        self._settings = settings

    async def add_logo(self, request: Request) -> Logo:
        """Keep a picture, drawn anew and small; an office has it once its choice names it."""
        return Logo(logo=await self.add(await request.body()))

    async def add(self, file: bytes) -> str:
        """Keep the picture in a file; answers its name."""
        try:
            return await self._logos.add(file, self._settings.choices.logos())
        except Unusable as error:
            raise Problem(422, "invalid_logo", str(error)) from None
