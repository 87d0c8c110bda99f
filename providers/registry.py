"""The one list of providers: those in this package and those that other packages bring along.

Another package brings one by an entry point of the group below that loads to a `ProviderInfo`.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from providers import google_meet, http_provider, jitsi, memory, zoom
from providers.base import ProviderInfo

GROUP = "vello_meetings.providers"
BUILT_IN = (google_meet.PROVIDER, http_provider.PROVIDER, jitsi.PROVIDER, memory.PROVIDER, zoom.PROVIDER)


class RegistryError(Exception):
    """A package's entry point is no usable provider; the text names the package and the entry point."""


def load() -> Mapping[str, ProviderInfo]:
    """All providers by name.

    Raises: RegistryError if an entry point does not load, is no `ProviderInfo`, or its name is taken.
    """
    providers = {info.name: info for info in BUILT_IN}
    for point in entry_points(group=GROUP):
        info = _load(point)
        if info.name in providers:
            raise RegistryError(f"{_origin(point)} brings a second provider named {info.name!r}.")
        providers[info.name] = info
    return MappingProxyType(providers)


def _load(point: EntryPoint) -> ProviderInfo:
    try:
        info = point.load()
    except Exception as error:  # whatever a foreign package does at import
        raise RegistryError(f"{_origin(point)} does not load: {type(error).__name__}: {error}") from error
    if not isinstance(info, ProviderInfo):
        raise RegistryError(f"{_origin(point)} is {type(info).__name__}, not ProviderInfo.")
    return info


def _origin(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "an unknown package"
    return f"Entry point {point.name!r} ({point.value}) of {package}"
