"""Entries of a Google calendar that have a Google Meet room of their own.

The vendor's laws:

- An entry's id is the client's, of the characters a-v and 0-9, and good once for ever: a second insert answers 409, and
  the id of an entry that was removed, or that a person removed, is burnt. So an id names the booking, its generation,
  and its life, which counts the burnt ones.
- `conferenceData` counts only with `conferenceDataVersion=1`. It comes when it comes: `pending` is looked at again,
  `failure` needs a new request id, the same request id is never carried out twice.
- A change names only what changes. An entry's room stays with it, and is never sent back to Google: that could show one
  booking's room in another.
- Just after its insert an entry may be unknown for a moment.
- A room outlives its entry: whoever has its link may get in for months.
- Without people to act for, a service account has no Meet.

What is ours in an entry that stands: its title, start and end. All else stays as the host left it.

Sources: developers.google.com/workspace/calendar/api, "Create events", "Handle API errors"; Calendar's discovery
document.
"""

import re
import time
from asyncio import sleep
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from providers.base import (
    Entrance,
    Meeting,
    MeetingNotFound,
    MeetingSpec,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    TemporaryError,
)
from providers.google_answers import Changed, Duplicate
from providers.google_entrance import of_event
from providers.http import Answer, Http
from providers.listing import Listed, ListedPage

EVENTS = "/calendars/primary/events"
SILENT = {"sendUpdates": "none"}
WITH_ROOM: Mapping[str, str | int] = {"conferenceDataVersion": 1, **SILENT}
LIVES = 32
"""How often one booking's entry may be removed behind our back within one generation."""
REQUESTS = 3
"""How often a room is asked for before an entry is given up."""
PAUSES = (0.3, 0.6, 1.2, 2.4)
"""Seconds between looks at a room that is being made; afterwards the ledger goes on asking."""
GIVEN_UP = 600.0
"""Seconds after the last change of an entry in which its room may still come."""
UNSEEN = (0.3, 0.6)
"""Seconds between looks for an entry that must be there."""
KEY, OWNER = "vello_meeting", "vello_installation"
"""Private properties of an entry: its key and generation, and whose it is. A list can be asked for the latter."""
PAGE_SIZE = 250


class NoRoomMade(Exception):
    """Google failed to make a room, again and again or for too long."""


class StillMaking(Exception):
    """Google is not done with a room."""


class TakenBack(Exception):
    """The entry does not stand any more: nothing was made, for this reason."""

    def __init__(self, reason: TemporaryError) -> None:
        super().__init__(reason.text)
        self.reason = reason


class Calendar:
    """The own calendar of one person."""

    def __init__(self, http: Http, pauses: Sequence[float] = PAUSES) -> None:
        self._http = http
        self._pauses = pauses

    async def create(self, spec: MeetingSpec, host: str | None) -> Meeting:
        """POST it under an id of ours, or make the one that is there what is wanted; then wait for its room."""
        for life in range(LIVES):
            id_ = _id(spec, life)
            event = await self._inserted(spec, id_)
            try:
                if event is None and (event := await self._there(id_, spec.owner)):
                    event = await self._brought(event, spec)
                made = await self._made(event, host) if event else None
            except StillMaking:
                raise OutcomeUnknown("Google is still making the meeting's room.", well=True) from None
            except TakenBack as error:
                raise error.reason from None
            except ProviderError as error:  # the entry may stand, so nobody may believe that nothing happened
                well = error.well if isinstance(error, TemporaryError | OutcomeUnknown) else True
                raise OutcomeUnknown(error.text, well=well) from None
            if made:
                return made
        raise PermanentError("The booking's calendar entry was removed too often to be made again.", "admin")

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        """GET it, PATCH what of ours is not as it should be, and see to its room."""
        event = await self._brought(await self._known(meeting.id), spec)
        try:
            return _meeting(await self._with_room(event), meeting.host)
        except StillMaking:
            raise TemporaryError("Google is still making the meeting's room.", well=True) from None
        except NoRoomMade:
            raise TemporaryError("Google could not make a room for the calendar entry.", well=True) from None

    async def delete(self, meeting: Meeting) -> None:
        """DELETE it without a mail to anybody; one that is gone is a success."""
        try:
            await self._http.send("DELETE", f"{EVENTS}/{meeting.id}", params=SILENT)
        except MeetingNotFound:
            return

    async def find(self, spec: MeetingSpec, host: str | None) -> Meeting | None:
        """GET its ids, one life after the other, up to the one that stands or was never used."""
        for life in range(LIVES):
            event = await self._look(_id(spec, life), patient=life == 0)
            if event is None:
                return None
            if event.get("status") == "cancelled" or _is_anothers(event, spec.owner):
                continue
            try:
                return await self._made(event, host)
            except StillMaking:
                raise TemporaryError("Google is still making the meeting's room.", well=True) from None
            except TakenBack as error:
                raise error.reason from None
        return None

    async def upcoming(self, host: str | None, owner: str, since: int, page: str | None) -> ListedPage:
        """GET one page of the entries of one installation; what else is in the calendar is nobody's business."""
        params: dict[str, str | int] = {
            "privateExtendedProperty": f"{OWNER}={owner}",
            "timeMin": f"{datetime.fromtimestamp(since, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "maxResults": PAGE_SIZE,
        }
        try:
            answer = await self._http.send("GET", EVENTS, params={**params, "pageToken": page} if page else params)
        except MeetingNotFound:
            raise PermanentError("The host has no Google calendar.", "admin") from None
        items, following = answer.object().get("items"), answer.object().get("nextPageToken")
        if not isinstance(items, list):
            raise answer.unusable("holds no list of entries")
        found = (_listed(each, host, owner) for each in items if isinstance(each, dict))
        return ListedPage(tuple(each for each in found if each), str(following) if following else None)

    async def probe(self) -> None:
        """GET one entry at most."""
        await self._http.send("GET", EVENTS, params={"maxResults": 1})

    async def _inserted(self, spec: MeetingSpec, id_: str) -> Mapping[str, Any] | None:
        """POST it; None when the id was used before."""
        try:
            answer = await self._http.send("POST", EVENTS, json=_new(spec, id_), params=WITH_ROOM)
        except Duplicate:
            return None
        except MeetingNotFound:
            raise PermanentError("The host has no Google calendar.", "admin") from None
        return _event(answer)

    async def _there(self, id_: str, owner: str) -> Mapping[str, Any] | None:
        """The entry that has this id, None if the id is burnt, or another installation took it for the same booking."""
        event = await self._look(id_, patient=True)
        gone = event is None or event.get("status") == "cancelled" or _is_anothers(event, owner)
        return None if gone else event

    async def _made(self, event: Mapping[str, Any], host: str | None) -> Meeting:
        """A new entry with its room. Raises StillMaking, TakenBack, ProviderError."""
        try:
            return _meeting(await self._with_room(event), host)
        except NoRoomMade:
            await self.delete(Meeting(event["id"], ""))
            text = "Google could not make a room for the calendar entry."
        except MeetingNotFound:
            text = "Somebody removed the calendar entry while its room was made."
        raise TakenBack(TemporaryError(text, well=True))

    async def _with_room(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """The entry once its room is there. Raises StillMaking, NoRoomMade, MeetingNotFound, other ProviderErrors."""
        pauses, asked = iter(self._pauses), 0
        while not _link(event):
            if _state(event) in ("pending", "success"):
                pause = next(pauses, None)
                if pause is None:
                    raise NoRoomMade if _is_old(event) else StillMaking
                await sleep(pause)
                event = await self._known(event["id"])
                continue
            if asked == REQUESTS - 1:
                raise NoRoomMade
            asked += 1
            wanted = _request(f"{event['id']}-{_number(event) + 1}")
            answer = await self._http.send("PATCH", f"{EVENTS}/{event['id']}", json=wanted, params=WITH_ROOM, safe=True)
            event = _event(answer)
        return event

    async def _brought(self, event: Mapping[str, Any], spec: MeetingSpec) -> Mapping[str, Any]:
        """PATCH what of ours is not as it should be, unless somebody else changes the entry meanwhile."""
        for last in (False, True):
            changes = _changes(event, spec)
            if not changes:
                return event
            headers = {"if-match": str(event["etag"])} if event.get("etag") else None
            path = f"{EVENTS}/{event['id']}"
            try:
                answer = await self._http.send(
                    "PATCH", path, json=changes, params=WITH_ROOM, headers=headers, safe=True
                )
            except Changed:
                if last:
                    raise
                event = await self._known(event["id"])
            else:
                return _event(answer)
        return event

    async def _known(self, id_: str) -> Mapping[str, Any]:
        """An entry that must be there. Raises MeetingNotFound if it is gone."""
        event = await self._look(id_, patient=True)
        if event is None or event.get("status") == "cancelled":
            raise MeetingNotFound("The calendar entry was removed.")
        return event

    async def _look(self, id_: str, *, patient: bool) -> Mapping[str, Any] | None:
        """An entry, None if Google knows none; `patient` because Google may not know it yet."""
        for pause in (*(UNSEEN if patient else ()), None):
            try:
                return _event(await self._http.send("GET", f"{EVENTS}/{id_}"))
            except MeetingNotFound:
                if pause is not None:
                    await sleep(pause)
        return None


def code_of(join_url: str) -> str:
    """A room's code, which its link ends with."""
    return join_url.partition("?")[0].rstrip("/").rpartition("/")[2]


def _id(spec: MeetingSpec, life: int) -> str:
    return f"vello{spec.key}{spec.generation:x}" + (f"v{life:x}" if life else "")


def _new(spec: MeetingSpec, id_: str) -> dict[str, Any]:
    return {
        **_fields(spec),
        **_request(f"{id_}-0"),
        "id": id_,
        "visibility": "private",
        "guestsCanInviteOthers": False,
        "reminders": {"useDefault": False},
        "extendedProperties": {"private": _marked(spec)},
    }


def _marked(spec: MeetingSpec) -> dict[str, str]:
    return {KEY: f"{spec.key}.{spec.generation}"} | ({OWNER: spec.owner} if spec.owner else {})


def _private(event: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = event.get("extendedProperties")
    private = properties.get("private") if isinstance(properties, dict) else None
    return private if isinstance(private, dict) else {}


def _is_anothers(event: Mapping[str, Any], owner: str) -> bool:
    """Whether another installation made an entry: it follows another life of the booking, such as a trial's."""
    return bool(owner) and _private(event).get(OWNER, owner) != owner


def _listed(event: Mapping[str, Any], host: str | None, owner: str) -> Listed | None:
    name = re.fullmatch(r"([0-9a-f]{32})\.(\d{1,9})", str(_private(event).get(KEY)))
    if name is None or not isinstance(event.get("id"), str):
        return None
    start, end, made = _moment(event.get("start")), _moment(event.get("end")), event.get("created")
    once = start is not None and end is not None and not event.get("recurrence")
    return Listed(
        _meeting(event, host),
        key=name[1],
        generation=int(name[2]),
        owner=owner,
        start=int(start) if once and start is not None else None,
        duration=int(end - start) if once and start is not None and end is not None else 0,
        title=str(event.get("summary", "")),
        made_at=_moment({"dateTime": made}) or 0.0,
        whole=_link(event) is not None,
    )


def _request(id_: str) -> dict[str, Any]:
    key = {"type": "hangoutsMeet"}
    return {"conferenceData": {"createRequest": {"requestId": id_, "conferenceSolutionKey": key}}}


def _fields(spec: MeetingSpec) -> dict[str, Any]:
    end = max(spec.end, spec.start + 60)  # an entry without length is refused
    return {"summary": spec.title, "start": _edge(spec.start, spec), "end": _edge(end, spec)}


def _edge(at: int, spec: MeetingSpec) -> dict[str, str]:
    return {"dateTime": f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}", "timeZone": spec.time_zone}


def _changes(event: Mapping[str, Any], spec: MeetingSpec) -> dict[str, Any]:
    """What of ours an entry has otherwise: its title, or both its edges."""
    wanted = _fields(spec)
    changes = {"summary": wanted["summary"]} if event.get("summary") != wanted["summary"] else {}
    edges = {name: wanted[name] for name in ("start", "end")}
    if any(_moment(event.get(name)) != _moment(edge) for name, edge in edges.items()):
        changes |= edges
    return changes


def _moment(edge: Any) -> float | None:
    try:
        at = datetime.fromisoformat(str(edge["dateTime"]))
    except (KeyError, TypeError, ValueError):
        return None  # a day, which is none of ours
    return at.timestamp() if at.tzinfo else None


def _event(answer: Answer) -> Mapping[str, Any]:
    event = answer.object()
    if not isinstance(event.get("id"), str):
        raise answer.unusable("names no event")
    return event


def _conference(event: Mapping[str, Any]) -> Mapping[str, Any]:
    conference = event.get("conferenceData")
    return conference if isinstance(conference, dict) else {}


def _created(event: Mapping[str, Any]) -> Mapping[str, Any]:
    request = _conference(event).get("createRequest")
    return request if isinstance(request, dict) else {}


def _state(event: Mapping[str, Any]) -> Any:
    status = _created(event).get("status")
    return status.get("statusCode") if isinstance(status, dict) else None


def _is_old(event: Mapping[str, Any]) -> bool:
    changed = _moment({"dateTime": event.get("updated")})
    return changed is not None and time.time() - changed > GIVEN_UP


def _number(event: Mapping[str, Any]) -> int:
    found = re.fullmatch(r"[a-v0-9]+-(\d{1,4})", str(_created(event).get("requestId")))
    return int(found[1]) if found else 0


def _link(event: Mapping[str, Any]) -> str | None:
    entries = [each for each in _conference(event).get("entryPoints") or [] if isinstance(each, dict)]
    ways = [each.get("uri") for each in entries if each.get("entryPointType") == "video"]
    link = next(iter(ways), None) or event.get("hangoutLink")
    return link if isinstance(link, str) and re.match(r"https?://[^/]", link) else None


def _meeting(event: Mapping[str, Any], host: str | None) -> Meeting:
    entrance = Entrance(dial_in=of_event(_conference(event).get("entryPoints")))
    return Meeting(event["id"], _link(event) or "", host, entrance=entrance)
