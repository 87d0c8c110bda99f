"""Zoom's lists of a user's meetings, and the marker by which ours are known in them.

The vendor's laws:

- A list shows an agenda's first 250 characters, no settings, and a recurring meeting once for each of its times.
- It names a `pmi` only where a meeting stands under its host's personal meeting id: all such share one room.
- `type=scheduled` without days shows all that have not expired, which they do 30 days after their time; `upcoming` ends
  after six months. A page has 300 at most, and its token is good for a quarter of an hour.

The marker is a word of the agenda: `ref:<key>.<generation>.<owner>`, without the owner in meetings made before it was
known. A person may write before and behind it.

Sources: those of `zoom.py`.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from providers.base import Meeting, MeetingSpec, PermanentError
from providers.http import Answer, Http
from providers.listing import Listed, ListedPage

PAGE_SIZE, MAX_PAGES = 300, 50
SCHEDULED: Final = 2
_MARKER = re.compile(r"ref:([0-9a-f]{32})\.(\d{1,9})(?:\.([0-9a-f]{8}))?")


def marker(spec: MeetingSpec) -> str:
    """What a meeting's agenda begins with."""
    return f"ref:{spec.key}.{spec.generation}" + (f".{spec.owner}" if spec.owner else "")


async def marked(http: Http, path: str, spec: MeetingSpec, days: Mapping[str, str]) -> int | None:
    """The id of the meeting made for `spec`, looked for in the list at `path`."""
    wanted, page = {marker(spec), f"ref:{spec.key}.{spec.generation}"}, ""
    for _ in range(MAX_PAGES):
        answer, rows = await _page(http, path, page, days)
        for each in rows:
            if not wanted.isdisjoint(str(each.get("agenda", "")).split()):
                return number(answer, each)
        page = str(answer.object().get("next_page_token") or "")
        if not page:
            return None
    raise PermanentError("The host has more Zoom meetings than can be searched for a booking's.", "admin")


async def listed(
    http: Http, path: str, host: str | None, since: int, page: str | None, pmi: str | None = None
) -> ListedPage:
    """One page of our meetings in the list at `path`, but for those in a personal room, such as `pmi`'s."""
    answer, rows = await _page(http, path, page or "", {})
    found = {row.meeting.id: row for each in rows if (row := _listed(answer, each, host, pmi))}
    upcoming = (row for row in found.values() if row.start is None or row.start + row.duration > since)
    return ListedPage(tuple(upcoming), str(answer.object().get("next_page_token") or "") or None)


def number(answer: Answer, fields: Mapping[str, Any]) -> int:
    """A meeting's id."""
    try:
        return int(fields["id"])  # more than 32 bits; a string in some answers
    except (KeyError, TypeError, ValueError):
        raise answer.unusable("names no meeting") from None


def is_link(value: Any) -> bool:
    """Whether it is an address that people can open."""
    return isinstance(value, str) and re.match(r"https?://[^/]", value) is not None


async def _page(http: Http, path: str, page: str, days: Mapping[str, str]) -> tuple[Answer, list[Mapping[str, Any]]]:
    params: dict[str, str | int] = {"type": "scheduled", "page_size": PAGE_SIZE, **days}
    answer = await http.send("GET", path, params={**params, "next_page_token": page} if page else params)
    meetings = answer.object().get("meetings")
    if not isinstance(meetings, list):
        raise answer.unusable("holds no list of meetings")
    return answer, [each for each in meetings if isinstance(each, dict)]


def _listed(answer: Answer, fields: Mapping[str, Any], host: str | None, pmi: str | None) -> Listed | None:
    words = (_MARKER.fullmatch(word) for word in str(fields.get("agenda", "")).split())
    name = next((word for word in words if word), None)
    if name is None or fields.get("pmi") or str(number(answer, fields)) == pmi:
        return None
    url, minutes = fields.get("join_url"), fields.get("duration")
    once = fields.get("type", SCHEDULED) == SCHEDULED
    start = moment(fields.get("start_time")) if once else None
    return Listed(
        Meeting(str(number(answer, fields)), str(url) if is_link(url) else "", host),
        key=name[1],
        generation=int(name[2]),
        owner=name[3] or "",
        start=int(start) if start is not None else None,
        duration=60 * minutes if isinstance(minutes, int) else 0,
        title=str(fields.get("topic", "")),
        made_at=moment(fields.get("created_at")) or 0.0,
        whole="pwd=" in str(url),
    )


def moment(text: Any) -> float | None:
    """A time as UTC unix seconds, None if it is none."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo else None
