"""The fake Google's Calendar v3 (§2): events, whose ids are chosen and burnt, and their asynchronous conferences."""

import re
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from starlette.responses import JSONResponse, Response

from tests.fakes.google_api import Call, Verbs, calendar_error
from tests.fakes.google_meet import uri
from tests.fakes.google_state import Event, State

ID = re.compile(r"[a-v0-9]{5,1024}")
KEY_LENGTH, VALUE_LENGTH, PROPERTIES = 44, 1024, 300
"""Limits of extended properties (§2, orphan search, unverified)."""
ROBOTS_ALONE = "Service accounts cannot invite attendees without Domain-Wide Delegation of Authority."


def _insert(call: Call) -> Response:
    """§2: start and end are required, an id is good once and for ever, a conference comes when it comes."""
    calendar, owner_id = _calendar(call)
    body, wanted = _split(call)
    _check_times(body)
    _check_properties(body)
    _check_attendees(call, body)
    id_ = body.setdefault("id", call.state.uuid()[:26])
    if not ID.fullmatch(id_):
        raise calendar_error(400, "invalid", "Invalid resource id value.")
    if (calendar, id_) in call.state.events:
        raise calendar_error(409, "duplicate")
    event = Event(calendar, owner_id, _first(call, owner_id, body))
    _check_request(call, wanted)
    call.state.events[calendar, id_] = event
    if call.user:
        event.unseen = call.user.unseen_reads
    _apply_request(call, event, wanted)
    _mail(call, event, "invited")
    return _answer(call, event)


def _get(call: Call) -> Response:
    """§2: a deleted event is found, `cancelled`; If-None-Match of what is known answers 304."""
    event = _named(call)
    if event.unseen:
        event.unseen -= 1
        raise calendar_error(404, "notFound")
    if call.request.headers.get("if-none-match") == event.body["etag"]:
        return Response(status_code=304, headers={"etag": event.body["etag"]})
    return _answer(call, event)


def _patch(call: Call) -> Response:
    """§2: what is given is merged and the rest stays, the link too; null takes away, and would take the link away."""
    event = _named(call)
    _check_match(call, event)
    changes, wanted = _split(call)
    reading = call.state.readings.patched_when_deleted
    if event.body["status"] == "cancelled" and reading in ("forbidden", "gone"):
        raise calendar_error(403, "forbidden") if reading == "forbidden" else calendar_error(410, "deleted")
    if changes.get("id", event.body["id"]) != event.body["id"]:
        raise calendar_error(400, "invalid", "Invalid resource id value.")
    merged = merge(event.body, changes)
    _check_times(merged)
    _check_properties(merged)
    _check_attendees(call, merged)
    _check_request(call, wanted)
    if event.body["status"] == "cancelled" and reading == "lives":
        merged["status"] = "confirmed"
    moved = any(merged[edge] != event.body[edge] for edge in ("start", "end"))
    merged["sequence"] = event.body["sequence"] + moved
    event.body = merged
    touch(call.state, event)
    _apply_request(call, event, wanted)
    _mail(call, event, "told of a change")
    return _answer(call, event)


def _delete(call: Call) -> Response:
    """204; a second time 410. The event stays as `cancelled`, its id is burnt, its room stays as it was (§2)."""
    event = _named(call)
    _check_match(call, event)
    if event.body["status"] == "cancelled":
        raise calendar_error(410, "deleted")
    cancel(call.state, event)
    _mail(call, event, "told of the end")
    return Response(status_code=204)


def _list(call: Call) -> Response:
    calendar, _ = _calendar(call)
    query, state = call.query, call.state
    if query.get("orderBy") == "startTime" and query.get("singleEvents") != "true":
        raise calendar_error(400, "badRequest", "The requested ordering is not available for the particular query.")
    if "syncToken" in query:
        raise calendar_error(410, "fullSyncRequired", "Sync token is no longer valid, a full sync is required.")
    asked = str(sorted((name, value) for name, value in call.request.query_params.multi_items() if name != "pageToken"))
    if page := query.get("pageToken"):
        of, ids = state.pages.get(page, ("", []))
        if of != asked:
            raise calendar_error(400, "invalid")
    else:
        ids = [event.body["id"] for event in _found(call, calendar)]
    size = min(int(query.get("maxResults", "250")), 2500)
    now, rest = ids[:size], ids[size:]
    items = [_shown(call, state.events[calendar, id_]) for id_ in now]
    answer: dict[str, Any] = {"kind": "calendar#events", "etag": '"0"', "summary": calendar, "items": items}
    answer["updated"] = state.stamp()
    answer |= {"timeZone": call.user.time_zone if call.user else "UTC", "accessRole": "owner", "defaultReminders": []}
    if rest:
        following = answer["nextPageToken"] = token_urlsafe(24)
        state.pages[following] = (asked, rest)
    return JSONResponse(answer)


CALENDAR_VERBS: Verbs = {
    "events.insert": ("calendar", _insert),
    "events.get": ("calendar", _get),
    "events.patch": ("calendar", _patch),
    "events.delete": ("calendar", _delete),
    "events.list": ("calendar", _list),
}


def cancel(state: State, event: Event) -> None:
    """Delete it, as the API and a person do."""
    event.body["status"] = "cancelled"
    touch(state, event)


def touch(state: State, event: Event) -> None:
    """It has changed."""
    event.body |= {"etag": state.etag(), "updated": state.stamp()}


def merge(old: Any, new: Any) -> Any:
    """RFC 7396, which Google's PATCH is in effect: objects are merged, lists replaced, null removes."""
    if not isinstance(new, dict):
        return deepcopy(new)
    merged = deepcopy(old) if isinstance(old, dict) else {}
    for name, value in new.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def settle(state: State, event: Event) -> None:
    """The conference of a pending request is there, or is not going to be (§2, asynchronous)."""
    conference = event.body["conferenceData"]
    request = conference["createRequest"]
    if event.failing:
        request["status"] = {"statusCode": "failure"}
    else:
        space = state.new_space(state.users[event.owner_id], None, {})
        event.space_id = space.id
        request["status"] = {"statusCode": "success"}
        link = uri(state, space)
        entries = [{"entryPointType": "video", "uri": link, "label": link.partition("://")[2]}]
        if state.users[event.owner_id].domain:
            phone = {"entryPointType": "phone", "uri": "tel:+358-9-4245-1234", "label": "+358 9 4245 1234"}
            entries += [{**phone, "pin": "123456789", "regionCode": "FI"}]
        solution = {"key": {"type": "hangoutsMeet"}, "name": "Google Meet", "iconUri": f"{state.url}/icon.png"}
        conference |= {"conferenceId": space.code, "conferenceSolution": solution, "entryPoints": entries}
        event.body["hangoutLink"] = link
    touch(state, event)


def _calendar(call: Call) -> tuple[str, str]:
    """The calendar's id and whose it is; `primary` is the caller's. Others' calendars are not shared here."""
    name = call.path["calendar"]
    if call.user is None:
        robot = call.access.grant.client_id
        if name in ("primary", robot):
            return robot, robot
    else:
        mine = {call.user.email, *call.user.calendars}
        name = call.user.email if name == "primary" else name
        made_here = name != call.user.email
        if name in mine and (made_here or call.has("calendar", "calendar.events", "calendar.events.owned")):
            return name, call.user.id
        if name in mine:
            raise calendar_error(403, "forbidden")
    raise calendar_error(404, "notFound")


def _named(call: Call) -> Event:
    calendar, _ = _calendar(call)
    event = call.state.events.get((calendar, call.path["event"]))
    if event is None or event.purged:
        raise calendar_error(404, "notFound")
    return event


def _split(call: Call) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The event without conference data, and the request for a conference, which counts in version 1 only (§2)."""
    body = deepcopy(call.body)
    conference = body.pop("conferenceData", None)
    if call.query.get("conferenceDataVersion") != "1":
        if "conferenceData" in call.body:
            call.state.junk.append("conferenceData without conferenceDataVersion=1")
        return body, None
    if "conferenceData" in call.body and conference is None:
        call.state.junk.append("conferenceData of null")
        return {**body, "conferenceData": None, "hangoutLink": None}, None
    if conference is not None and set(conference) != {"createRequest"}:
        call.state.junk.append("conference data of another event")  # §2: it can expose meetings
        raise calendar_error(400, "invalid", "Invalid conference data.")
    return body, conference["createRequest"] if conference else None


def _check_request(call: Call, request: Mapping[str, Any] | None) -> None:
    if request is None:
        return
    if not request.get("requestId"):
        raise calendar_error(400, "required", "Missing conference create request id.")
    kind = (request.get("conferenceSolutionKey") or {}).get("type")
    if kind != "hangoutsMeet" or call.user is None or kind not in call.user.solutions:
        raise calendar_error(400, "invalid", "Invalid conference type value.")


def _apply_request(call: Call, event: Event, request: Mapping[str, Any] | None) -> None:
    """A request id that was used before is ignored (CAL, requestId), in another event of this calendar too."""
    if request is None or call.user is None:
        return
    key, known = (event.calendar, request["requestId"]), call.state.request_ids
    if key in known:
        if known[key] != event.body["id"]:
            call.state.junk.append("a request id of another event")
        return
    known[key] = event.body["id"]
    event.body.pop("hangoutLink", None)
    event.body["conferenceData"] = {"createRequest": {**request, "status": {"statusCode": "pending"}}}
    event.failing = call.user.failing_conferences > 0
    call.user.failing_conferences = max(0, call.user.failing_conferences - 1)
    event.pending = call.user.pending_reads
    if not event.pending:
        settle(call.state, event)


def _first(call: Call, owner_id: str, body: dict[str, Any]) -> dict[str, Any]:
    state = call.state
    owner = state.users.get(owner_id)
    person = {"email": owner.email if owner else owner_id, "self": True}
    return {
        "kind": "calendar#event",
        "status": "confirmed",
        "eventType": "default",
        "sequence": 0,
        "reminders": {"useDefault": True},
        **{name: value for name, value in body.items() if value is not None},
        "etag": state.etag(),
        "htmlLink": f"{state.url}/calendar/event?eid={token_urlsafe(16)}",
        "created": state.stamp(),
        "updated": state.stamp(),
        "creator": person,
        "organizer": person,
        "iCalUID": f"{body['id']}@google.com",
    }


def _shown(call: Call, event: Event) -> dict[str, Any]:
    """Every answer about a pending conference brings its decision nearer."""
    whole = deepcopy(event.body)
    if event.pending:
        event.pending -= 1
        if not event.pending:
            settle(call.state, event)
    return whole


def _answer(call: Call, event: Event) -> Response:
    whole = _shown(call, event)
    return JSONResponse(whole, headers={"etag": whole["etag"]})


def _check_match(call: Call, event: Event) -> None:
    if call.request.headers.get("if-match", event.body["etag"]) not in (event.body["etag"], "*"):
        raise calendar_error(412, "conditionNotMet")


def _check_times(body: Mapping[str, Any]) -> None:
    for edge in ("start", "end"):
        if not body.get(edge):
            raise calendar_error(400, "required", f"Missing {edge} time.")
    if ("date" in body["start"]) != ("date" in body["end"]):
        raise calendar_error(400, "invalid", "Start and end times must either both be date or both be dateTime.")
    if moment(body["start"]) >= moment(body["end"]):
        place = {"locationType": "parameter", "location": "timeMax"}
        raise calendar_error(400, "timeRangeEmpty", **place)


def moment(edge: Mapping[str, Any]) -> datetime:
    """A start or an end: a day, or a time with an offset or a zone (CAL, EventDateTime)."""
    zone = edge.get("timeZone")
    if zone is not None and zone not in available_timezones():
        raise calendar_error(400, "invalid", f"Invalid time zone definition for {zone}.")
    if ("date" in edge) == ("dateTime" in edge):
        raise calendar_error(400, "invalid", "Invalid start time." if edge else "Missing time.")
    if "date" in edge:
        return datetime.fromisoformat(edge["date"]).replace(tzinfo=UTC)
    at = datetime.fromisoformat(edge["dateTime"].upper())
    if at.tzinfo is None:
        if zone is None:
            raise calendar_error(400, "required", "Missing time zone definition for start time.")
        at = at.replace(tzinfo=ZoneInfo(zone))
    return at


def _check_properties(body: Mapping[str, Any]) -> None:
    for kind in ("private", "shared"):
        properties = (body.get("extendedProperties") or {}).get(kind) or {}
        long = any(len(key) > KEY_LENGTH or len(value or "") > VALUE_LENGTH for key, value in properties.items())
        if long or len(properties) > PROPERTIES:
            raise calendar_error(400, "invalid", "Invalid extended property.")


def _check_attendees(call: Call, body: Mapping[str, Any]) -> None:
    if body.get("attendees") and call.user is None:
        raise calendar_error(403, "forbiddenForServiceAccounts", ROBOTS_ALONE)
    if any("@" not in (each.get("email") or "") for each in body.get("attendees") or []):
        raise calendar_error(400, "required", "Missing attendee email.")


def _mail(call: Call, event: Event, what: str) -> None:
    """sendUpdates: none unless told otherwise (§2)."""
    if call.query.get("sendUpdates", "none") != "none" or call.query.get("sendNotifications") == "true":
        call.state.mails += [f"{each['email']} is {what}" for each in event.body.get("attendees", [])]


def _found(call: Call, calendar: str) -> list[Event]:
    """CAL, list: deleted events only with showDeleted, all constraints at once, timeMax above the start."""
    query = call.query
    properties = [each.partition("=") for each in call.request.query_params.getlist("privateExtendedProperty")]
    if len(properties) > 1:
        call.state.junk.append("several privateExtendedProperty")  # §2: all of them, or any of them
    low, high = (_bound(query.get(name)) for name in ("timeMin", "timeMax"))
    found = []
    for event in call.state.events.values():
        body = event.body
        private = (body.get("extendedProperties") or {}).get("private") or {}
        gone = event.purged or (body["status"] == "cancelled" and query.get("showDeleted") != "true")
        if event.calendar != calendar or gone or event.unseen:
            continue
        if any(private.get(name) != value for name, _, value in properties):
            continue
        words = f"{body.get('summary', '')} {body.get('description', '')} {body.get('location', '')}".lower()
        if query.get("q", "").lower() not in words or query.get("iCalUID", body["iCalUID"]) != body["iCalUID"]:
            continue
        if (low and moment(body["end"]) <= low) or (high and moment(body["start"]) >= high):
            continue
        found.append(event)
    order = {"startTime": lambda each: moment(each.body["start"]), "updated": lambda each: each.body["updated"]}
    return sorted(found, key=order[query["orderBy"]]) if "orderBy" in query else found


def _bound(text: str | None) -> datetime | None:
    at = datetime.fromisoformat(text.upper()) if text else None
    if at is not None and at.tzinfo is None:
        raise calendar_error(400, "badRequest", "Bad Request")  # CAL: an offset is mandatory
    return at
