"""How guests get into a Zoom meeting, as its answer says.

The vendor's laws:

- `password` is what the app asks for when the link lost its own copy; `pstn_password` is its digits for telephones.
- `settings.global_dial_in_numbers` are those of the countries that the host's account chose, with `country` and
  `number`; the list is absent or empty where the plan or `audio` allows no telephone. A caller enters the meeting's id,
  then the digits.
- Guests wait where there is a waiting room, and where nobody gets in before the host.

Sources: Zoom's OpenAPI documents of the Meetings API; support.zoom.com, "Joining a meeting by phone".
"""

from collections.abc import Mapping
from typing import Any

from providers.base import DialIn, Entrance

NO_TELEPHONE = ("voip", "thirdParty")
"""Values of `audio` with which nobody can dial in."""
FORCED = {
    ("waiting_room", True): "it has a waiting room, and nobody gets in before the host lets them",
    ("join_before_host", False): "nobody gets in before the host",
    ("meeting_authentication", True): "only people with a Zoom login get in",
}
"""What it means for guests when an account's own settings win."""


def entrance_of(id_: str, fields: Mapping[str, Any]) -> Entrance:
    """What a meeting's answer says; whatever is missing or odd is left out."""
    found = fields.get("settings")
    settings = found if isinstance(found, Mapping) else {}
    waiting, early = settings.get("waiting_room"), settings.get("join_before_host")
    return Entrance(
        passcode=_text(fields.get("password")),
        dial_in=tuple(_dial_in(id_, fields, settings)),
        guests_wait=None if waiting is None and early is None else bool(waiting) or early is False,
        guests_log_in=settings.get("meeting_authentication"),
    )


def _dial_in(id_: str, fields: Mapping[str, Any], settings: Mapping[str, Any]) -> list[DialIn]:
    numbers = settings.get("global_dial_in_numbers")
    if settings.get("audio") in NO_TELEPHONE or not isinstance(numbers, list):
        return []
    digits = _text(fields.get("pstn_password"))
    codes = (id_, digits) if digits else (id_,)
    found = [each for each in numbers if isinstance(each, Mapping)]
    named = ((_text(each.get("number")), _text(each.get("country"))) for each in found)
    return [DialIn(number, codes, country) for number, country in named if number]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
