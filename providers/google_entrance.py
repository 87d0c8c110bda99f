"""Telephone numbers of a Google Meet room, as Meet's spaces and Calendar's entries list them.

The vendor's laws:

- A number has a PIN of its own, of digits only; a caller enters it, then #. Only Workspace accounts have numbers.
- Meet names them `phoneAccess`: `phoneNumber`, in E.164 form, `pin`, `regionCode`. Calendar names them entry points of
  the type `phone`: `uri`, which is `tel:` and the number, `pin`, `regionCode`.

Sources: the discovery documents of Meet v2 (`PhoneAccess`) and Calendar v3 (`EntryPoint`).
"""

from collections.abc import Mapping
from typing import Any

from providers.base import DialIn


def of_space(numbers: Any) -> tuple[DialIn, ...]:
    """What a space's `phoneAccess` says; whatever is odd is left out."""
    return _dial_in(numbers, "phoneNumber")


def of_event(entry_points: Any) -> tuple[DialIn, ...]:
    """What an entry's `entryPoints` say."""
    listed = entry_points if isinstance(entry_points, list) else []
    return _dial_in([each for each in listed if _is_phone(each)], "uri")


def _is_phone(entry_point: Any) -> bool:
    return isinstance(entry_point, Mapping) and entry_point.get("entryPointType") == "phone"


def _dial_in(numbers: Any, name: str) -> tuple[DialIn, ...]:
    found = []
    for each in numbers if isinstance(numbers, list) else []:
        if not isinstance(each, Mapping):
            continue
        number, pin, region = each.get(name), each.get("pin"), each.get("regionCode")
        if isinstance(number, str) and isinstance(pin, str) and pin:
            found.append(DialIn(number.removeprefix("tel:"), (pin,), region if isinstance(region, str) else None))
    return tuple(found)
