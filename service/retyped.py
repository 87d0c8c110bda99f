"""Secrets that are to be entered again, because they would go to a server that nobody entered them for. Pure."""

import re
from collections.abc import Collection, Iterator

from pydantic import SecretStr, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from providers.base import ProviderSettings

_SERVER = re.compile(r"[a-z][a-z0-9+.-]*://[^/\\?#\s'\",)\]}]+")
_AGAIN = "The address leads to another server; enter this again."


def demand(before: ProviderSettings, after: ProviderSettings, typed: Collection[str]) -> None:
    """Raises ValidationError, once for each secret of `before` that was not `typed` and that a new server would get.

    A server is what stands before the path of any address in the settings. What an adapter makes up by itself and asks
    nobody for is no server's secret.
    """
    if {*_servers(after)} <= {*_servers(before)}:
        return
    text = PydanticCustomError("another_server", _AGAIN)
    owed = [name for name in _secrets(before) if name not in typed and getattr(after, name) == getattr(before, name)]
    if owed:
        errors = [InitErrorDetails(type=text, loc=(name,), input=None) for name in owed]
        raise ValidationError.from_exception_data(type(after).__name__, errors, hide_input=True)


def _servers(settings: ProviderSettings) -> Iterator[str]:
    for value in settings.model_dump().values():
        yield from _SERVER.findall(str(value).lower())


def _secrets(settings: ProviderSettings) -> Iterator[str]:
    for name, info in type(settings).model_fields.items():
        if isinstance(getattr(settings, name), SecretStr) and info.default_factory is None:
            yield name
