"""The fake Zoom's REST API: users and meetings (§2), errors and limits (§3).

It is stricter than Zoom where Zoom is said to ignore something: an unknown field or parameter is an error that is
answered and recorded, so that junk is never sent.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from functools import cache
from json import JSONDecodeError, loads
from secrets import choice, randbelow, token_urlsafe
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fakes.zoom_state import (
    CATEGORY,
    CLASSIC,
    GRANULAR,
    MEETING_LIFETIME,
    PAGE_LIFETIME,
    PER_DAY,
    PER_SECOND,
    Access,
    Meeting,
    Refused,
    State,
    Strict,
    User,
)

USER_LIMIT = (
    "You have exceeded the daily rate limit (100) of Meeting Create/Update API requests permitted for this "
    "particular user. You may resume these requests at GMT 00:00:00."
)
SECOND_LIMIT = "You have reached the maximum per-second rate limit for this API. Try again later."
DAY_LIMIT = "You have reached the maximum daily rate limit for this API. Refer to the response header for details."
AGENDA_SHOWN = 250
"""Characters of an agenda that a list shows (§2)."""

_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("no such time zone")
    return name


def _moment(value: str) -> str:
    if not _LOCAL.fullmatch(value.removesuffix("Z")):
        raise ValueError("yyyy-MM-ddTHH:mm:ssZ was expected")
    datetime.fromisoformat(value)
    return value


class Settings(Strict):
    """A meeting's settings as a request may hold them (§2)."""

    host_video: bool | None = None
    participant_video: bool | None = None
    join_before_host: bool | None = None
    jbh_time: Literal[0, 5, 10, 15] | None = None
    waiting_room: bool | None = None
    mute_upon_entry: bool | None = None
    watermark: bool | None = None
    use_pmi: bool | None = None
    approval_type: Literal[0, 1, 2] | None = None
    registration_type: Literal[1, 2, 3] | None = None
    audio: Literal["both", "telephony", "voip", "thirdParty"] | None = None
    auto_recording: Literal["local", "cloud", "none"] | None = None
    alternative_hosts: str | None = None
    alternative_hosts_email_notification: bool | None = None
    close_registration: bool | None = None
    registrants_email_notification: bool | None = None
    email_notification: bool | None = None
    meeting_authentication: bool | None = None
    private_meeting: bool | None = None
    push_change_to_calendar: bool | None = None
    encryption_type: Literal["enhanced_encryption", "e2ee"] | None = None


DEFAULTS = {
    "host_video": False,
    "participant_video": False,
    "join_before_host": False,
    "jbh_time": 0,
    "waiting_room": True,
    "mute_upon_entry": False,
    "watermark": False,
    "use_pmi": False,
    "approval_type": 2,
    "registration_type": 1,
    "audio": "both",
    "auto_recording": "none",
    "alternative_hosts": "",
    "alternative_hosts_email_notification": True,
    "close_registration": False,
    "registrants_email_notification": True,
    "email_notification": True,
    "meeting_authentication": False,
    "private_meeting": False,
    "push_change_to_calendar": False,
    "encryption_type": "enhanced_encryption",
}


class Fields(Strict):
    """What can change in a meeting (§2, create and PATCH: every field is optional)."""

    topic: str | None = Field(default=None, max_length=200)
    type: Literal[1, 2, 3, 8, 10] | None = None
    start_time: Annotated[str, AfterValidator(_moment)] | None = None
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    duration: int | None = Field(default=None, ge=1, le=1440)
    agenda: str | None = Field(default=None, max_length=2000)
    password: str | None = Field(default=None, max_length=10, pattern=r"^[A-Za-z0-9@_*!-]*$")
    settings: Settings | None = None


class NewMeeting(Fields):
    """What a create may hold beside it."""

    default_password: bool = True
    pre_schedule: bool | None = None


async def serve(state: State, request: Request, verb: str) -> Response:
    """One call of the API: authorised, counted, then done."""
    access = _authorized(state, request)
    _count(state, access, verb)
    _check_scopes(access, state.apps[access.grant.client_id].kind, verb)
    return await _VERBS[verb](state, request, access)


def _authorized(state: State, request: Request) -> Access:
    if "access_token" in request.query_params:
        message = "Invalid access token, this access token is not supported as query parameter string."
        raise Refused(401, 124, message)
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    access = state.accesses.get(token)
    if kind.lower() != "bearer" or access is None or not access.live:
        raise Refused(401, 124, "Invalid access token.")
    if access.expires <= state.now():
        raise Refused(401, 124, "Access token is expired.")
    if not state.apps[access.grant.client_id].enabled:
        raise Refused(401, 124, "Invalid access token, the app is disabled.")
    return access


def _count(state: State, access: Access, verb: str) -> None:
    """§3, per account: so many calls a second and a day of each category."""
    category, now, plan = CATEGORY.get(verb, "Light"), state.now(), state.limits.plan
    if plan is None:
        return
    account = access.grant.account_id
    second, day = f"{account} {category} {int(now)}", f"{account} {category} {_day(now)}"
    most = PER_SECOND[plan][category]
    headers = {
        "x-ratelimit-category": category,
        "x-ratelimit-type": "QPS",
        "x-ratelimit-limit": str(most),
        "x-ratelimit-remaining": str(max(0, most - state.counts[second] - 1)),
        "x-ratelimit-reset": str(int(now) + 1),
    }
    if state.counts[second] >= most:
        raise Refused(429, 429, SECOND_LIMIT, headers=headers)
    in_a_day = state.limits.daily.get(category, PER_DAY.get(plan, {}).get(category))
    if in_a_day is not None and state.counts[day] >= in_a_day:
        headers |= {"x-ratelimit-type": "Daily-limit", "x-ratelimit-limit": str(in_a_day), "x-ratelimit-remaining": "0"}
        headers["retry-after"] = f"{_day(now + 86_400)}T00:00:00Z"
        raise Refused(429, 429, DAY_LIMIT, headers=headers)
    state.counts[second] += 1
    state.counts[day] += 1


def _check_scopes(access: Access, kind: str, verb: str) -> None:
    """§3, 400/4711. Scopes of user-managed and admin-managed apps do not mix (§1)."""
    suffix = "" if kind == "user" else ":admin"
    if verb == "users" and kind == "user":
        suffix = ":admin"
    any_of = [f"{GRANULAR[verb]}{suffix}", f"{CLASSIC[verb]}{suffix}"]
    if not set(any_of) & set(access.grant.scopes):
        names = f"{GRANULAR[verb]}, {GRANULAR[verb]}:admin"
        raise Refused(400, 4711, f"Invalid access token, does not contain scopes:[{names}].")


def _named_user(state: State, request: Request, access: Access) -> User:
    """§1: user-managed apps may only say `me`, Server-to-Server ones may not."""
    name, kind = request.path_params["user"], state.apps[access.grant.client_id].kind
    if name == "me" and access.grant.user_id is not None:
        return state.users[access.grant.user_id]
    if kind == "user":
        state.junk.append(f"a user-managed app asked for {name}")
        raise Refused(400, 4711, "Invalid access token, does not contain scopes:[user:read:user:admin].")
    if name == "me":
        state.junk.append("a Server-to-Server app said me")
        raise Refused(404, 1001, "User does not exist: me.")
    user = state.user(name)
    if user is None:
        raise Refused(404, 1001, f"User does not exist: {name}.")
    if user.account_id != access.grant.account_id:
        raise Refused(400, 1010, "User does not belong to this account.")
    return user


def _named_meeting(state: State, request: Request, access: Access) -> Meeting:
    name = request.path_params["meeting"]
    if not name.isdigit():
        state.junk.append(f"meeting id {name}")
        raise Refused(400, 300, "Invalid meeting id.")
    meeting = state.meetings.get(int(name))
    if meeting is None or meeting.start + MEETING_LIFETIME < state.now():
        raise Refused(404, 3001, f"Meeting does not exist: {name}.")
    host = state.users[meeting.host_id]
    own = access.grant.user_id == host.id or state.apps[access.grant.client_id].kind != "user"
    if not own or host.account_id != access.grant.account_id:
        raise Refused(400, 3003, "You are not the meeting host.")
    return meeting


async def _create(state: State, request: Request, access: Access) -> Response:
    user = _named_user(state, request, access)
    _query(state, request, set())
    new = await _body(state, request, NewMeeting)
    if user.refuses:
        raise Refused(400, 3000, f"You cannot schedule a meeting for {user.email}.")
    if not user.may_host:
        raise Refused(400, 3161, "Your user account is not allowed meeting hosting and scheduling capabilities.")
    _passcode(state, user, new)
    _settings(state, user, {}, new.settings or Settings())
    _count_change(state, user)
    meeting = schedule(state, user, new)
    if meeting.settings["alternative_hosts"] and meeting.settings["alternative_hosts_email_notification"]:
        state.mails.append("to alternative hosts: a meeting was made")
    return JSONResponse(shown(state, meeting), 201)


def schedule(state: State, user: User, new: NewMeeting) -> Meeting:
    """Make a meeting as a create and the web portal do."""
    settings = _settings(state, user, {}, new.settings or Settings())
    now = int(state.now())
    wanted = _seconds(new.start_time, new.timezone or user.timezone) if new.start_time else now
    meeting = Meeting(
        # Eleven digits: more than 32 bits hold (§5.8).
        id=user.pmi if settings["use_pmi"] else 10**10 + randbelow(9 * 10**10),
        uuid=f"/{token_urlsafe(15)}==",
        host_id=user.id,
        topic=new.topic or "Zoom Meeting",
        type=new.type or 2,
        start=max(wanted, now),  # §5.3: a start in the past is now
        duration=new.duration or 60,
        timezone=new.timezone or user.timezone,
        agenda=new.agenda or "",
        password=_passcode(state, user, new),
        settings=settings,
        created=now,
    )
    _protect(user, meeting)
    state.meetings[meeting.id] = meeting
    return meeting


async def _update(state: State, request: Request, access: Access) -> Response:
    meeting = _named_meeting(state, request, access)
    _query(state, request, set())
    changes = await _body(state, request, Fields)
    user, now = state.users[meeting.host_id], state.now()
    recent = [at for at in meeting.updates if at > now - 86_400]
    if len(recent) >= state.limits.per_meeting:
        raise Refused(429, 429, "You have exceeded the daily rate limit of updates of this meeting.")
    given = changes.settings or Settings()
    settings = _settings(state, user, meeting.settings, given)
    _count_change(state, user)
    meeting.updates = [*recent, now]
    apply(state, meeting, changes, settings)
    return Response(status_code=204)


def apply(state: State, meeting: Meeting, changes: Fields, settings: dict[str, Any] | None = None) -> None:
    """Change a meeting as PATCH and the web portal do."""
    user = state.users[meeting.host_id]
    zone = changes.timezone or meeting.timezone
    meeting.type = changes.type or meeting.type
    if changes.start_time is not None and (start := _seconds(changes.start_time, zone)) > state.now():
        meeting.start = start  # §5.3: one in the past is ignored, and the answer is 204 all the same
    meeting.topic = meeting.topic if changes.topic is None else changes.topic
    meeting.duration = changes.duration or meeting.duration
    meeting.agenda = meeting.agenda if changes.agenda is None else changes.agenda
    meeting.password = meeting.password if changes.password is None else changes.password
    meeting.timezone = zone
    meeting.settings = settings or _settings(state, user, meeting.settings, changes.settings or Settings())
    _protect(user, meeting)
    if meeting.settings["alternative_hosts"] and meeting.settings["alternative_hosts_email_notification"]:
        state.mails.append("to alternative hosts: a meeting was changed")


async def _delete(state: State, request: Request, access: Access) -> Response:
    meeting = _named_meeting(state, request, access)
    query = _query(state, request, {"schedule_for_reminder", "cancel_meeting_reminder"})
    if set(query.values()) - {"true", "false"}:
        raise Refused(400, 300, "Invalid field.", [{"field": next(iter(query)), "message": "true or false"}])
    if meeting.live:
        raise Refused(400, 3002, "Sorry, you cannot delete this meeting since it's in progress.")
    if meeting.ended:
        raise Refused(400, 3007, "Sorry, you cannot delete this meeting since it has ended.")
    # Nothing says what the default is, so that the strict reading is: a mail.
    state.mails += [
        f"{name}: a meeting was removed" for name in ("schedule_for_reminder",) if query.get(name) != "false"
    ]
    if query.get("cancel_meeting_reminder") == "true":
        state.mails.append("cancel_meeting_reminder: a meeting was removed")
    state.trash[meeting.id] = state.meetings.pop(meeting.id)
    return Response(status_code=204)


async def _get(state: State, request: Request, access: Access) -> Response:
    _query(state, request, {"occurrence_id", "show_previous_occurrences"})
    return JSONResponse(shown(state, _named_meeting(state, request, access)))


async def _list(state: State, request: Request, access: Access) -> Response:
    user = _named_user(state, request, access)
    known = {"type", "page_size", "next_page_token", "from", "to", "timezone"}
    query = _query(state, request, known)
    kind = query.get("type", "scheduled")
    if kind not in ("scheduled", "live", "upcoming", "upcoming_meetings", "previous_meetings"):
        raise Refused(400, 300, "Invalid field.", [{"field": "type", "message": "unknown"}])
    size = query.get("page_size", "30")
    if not size.isdigit() or not 1 <= int(size) <= 300:
        raise Refused(400, 300, "Invalid field.", [{"field": "page_size", "message": "1 to 300"}])
    asked = f"{user.id} {kind} {query.get('from')} {query.get('to')} {query.get('timezone')}"
    if page := query.get("next_page_token"):
        expires, of, ids = state.pages.get(page, (0.0, "", []))
        if expires <= state.now() or of != asked:
            raise Refused(400, 300, "The next page token is invalid or expired.")
    else:
        ids = [meeting.id for meeting in _listed(state, user, kind, query)]
    shown_now, rest, following = ids[: int(size)], ids[int(size) :], ""
    if rest:
        following = token_urlsafe(24)
        state.pages[following] = (state.now() + PAGE_LIFETIME, asked, rest)
    items = [_item(state, state.meetings[id_]) for id_ in shown_now if id_ in state.meetings]
    return JSONResponse(
        {"page_size": int(size), "total_records": len(ids), "next_page_token": following, "meetings": items}
    )


def _listed(state: State, user: User, kind: str, query: Mapping[str, str]) -> list[Meeting]:
    now = state.now()
    try:
        zone = ZoneInfo(_zone(query.get("timezone", user.timezone)))
        first = datetime.combine(datetime.fromisoformat(query["from"]), time(), zone) if "from" in query else None
        last = datetime.combine(datetime.fromisoformat(query["to"]), time(), zone) if "to" in query else None
    except ValueError as error:
        raise Refused(400, 300, "Invalid field.", [{"field": "from", "message": str(error)}]) from None
    found = []
    for meeting in sorted(state.meetings.values(), key=lambda each: (each.start, each.id)):
        ends = meeting.start + meeting.duration * 60
        wanted = {
            "scheduled": True,
            "live": meeting.live,
            "upcoming": meeting.live or ends > now,
            "upcoming_meetings": meeting.live or ends > now,
            "previous_meetings": ends <= now,
        }[kind]
        inside = (first is None or meeting.start >= first.timestamp()) and (
            last is None or meeting.start < (last + timedelta(days=1)).timestamp()
        )
        unexpired = meeting.start + MEETING_LIFETIME >= now
        if meeting.host_id == user.id and meeting.type != 1 and wanted and inside and unexpired:
            found.append(meeting)
    return found


async def _user(state: State, request: Request, access: Access) -> Response:
    _query(state, request, set())
    user = _named_user(state, request, access)
    return JSONResponse(_person(state, user) | {"use_pmi": user.use_pmi, "pmi": user.pmi, "timezone": user.timezone})


async def _users(state: State, request: Request, access: Access) -> Response:
    query = _query(state, request, {"page_size", "next_page_token", "status"})
    if query.get("status", "active") not in ("active", "inactive", "pending"):
        raise Refused(300, 300, "Invalid status.")
    wanted = query.get("status", "active") == "active"  # the fake's users all are
    users = [user for user in state.users.values() if wanted and user.account_id == access.grant.account_id]
    size = int(query.get("page_size", "30"))
    people = [_person(state, user) for user in users[:size]]
    return JSONResponse({"page_size": size, "total_records": len(users), "next_page_token": "", "users": people})


async def _user_settings(state: State, request: Request, access: Access) -> Response:
    _query(state, request, set())
    user = _named_user(state, request, access)
    return JSONResponse(
        {
            "schedule_meeting": {
                "use_pmi_for_scheduled_meetings": user.use_pmi,
                "require_password_for_scheduling_new_meetings": user.require_passcode,
                "join_before_host": user.locked.get("join_before_host", False),
            },
            "in_meeting": {"waiting_room": user.locked.get("waiting_room", DEFAULTS["waiting_room"])},
        }
    )


def _person(state: State, user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "account_id": user.account_id,
        "email": user.email,
        "first_name": user.email.partition("@")[0].capitalize(),
        "last_name": "Example",
        "type": user.type,
        "status": "active",
    }


def shown(state: State, meeting: Meeting) -> dict[str, Any]:
    """A meeting as create and GET answer it."""
    host = state.users[meeting.host_id]
    return {
        "uuid": meeting.uuid,
        "id": meeting.id,
        "host_id": host.id,
        "host_email": host.email,
        "topic": meeting.topic,
        "type": meeting.type,
        "status": "started" if meeting.live else "waiting",
        **({} if meeting.type == 3 else {"start_time": stamp(meeting.start)}),
        "duration": meeting.duration,
        "timezone": meeting.timezone,
        "agenda": meeting.agenda,
        "created_at": stamp(meeting.created),
        "start_url": state.start_url(meeting),
        "join_url": state.join_url(meeting),
        "password": meeting.password,
        **({"pstn_password": _digits(meeting.password)} if meeting.password else {}),
        "settings": {**meeting.settings, **(NUMBERS if _dials_in(host, meeting) else {})},
        "creation_source": "open_api",
        "pre_schedule": False,
    } | ({"pmi": str(host.pmi)} if meeting.settings["use_pmi"] else {})


NUMBERS: dict[str, Any] = {
    "global_dial_in_countries": ["FI", "SE"],
    "global_dial_in_numbers": [
        {"city": "Helsinki", "country": "FI", "country_name": "Finland", "number": "+358 9 4245 1488", "type": "toll"},
        {"country": "SE", "country_name": "Sweden", "number": "+46 850 520 017", "type": "toll"},
    ],
}


def _dials_in(host: User, meeting: Meeting) -> bool:
    return host.dials_in and meeting.settings["audio"] in ("both", "telephony")


def _digits(passcode: str) -> str:
    """What callers enter in the passcode's place (pstn_password)."""
    return str(int.from_bytes(passcode.encode()) % 1_000_000).zfill(6)


def _item(state: State, meeting: Meeting) -> dict[str, Any]:
    """A meeting as a list shows it (§2, list; SPEC25 there: `pmi` only where it was used to schedule the meeting)."""
    whole = shown(state, meeting)
    names = ("id", "uuid", "host_id", "topic", "type", "start_time", "duration", "timezone", "created_at", "join_url")
    shown_here = {name: whole[name] for name in (*names, "pmi") if name in whole}
    return shown_here | {"agenda": meeting.agenda[:AGENDA_SHOWN]}


def _passcode(state: State, user: User, new: NewMeeting) -> str:
    """§2, password and default_password."""
    if new.password:
        if user.numeric_passcodes and not new.password.isdigit():
            message = "The passcode does not meet the account's requirements."
            raise Refused(400, 300, "Validation Failed.", [{"field": "password", "message": message}])
        return new.password
    if new.default_password and user.require_passcode:
        return "".join(choice("0123456789") for _ in range(6))
    return ""


def _settings(state: State, user: User, now: Mapping[str, Any], given: Settings) -> dict[str, Any]:
    asked = given.model_dump(exclude_none=True)
    for name in filter(None, re.split(r"[;,]", asked.get("alternative_hosts", ""))):
        other = state.user(name)
        if other is None or other.type == 1 or other.account_id != user.account_id:
            errors = [{"field": "settings.alternative_hosts", "message": f"{name} cannot be an alternative host."}]
            raise Refused(400, 300, "Validation Failed.", errors)
    base = {**DEFAULTS, "use_pmi": user.use_pmi, **now}
    return base | asked | user.locked


def _protect(user: User, meeting: Meeting) -> None:
    if user.must_protect and not meeting.password:
        meeting.settings["waiting_room"] = True  # a passcode or a waiting room (§2, account policy)
    if meeting.settings["waiting_room"]:
        meeting.settings["join_before_host"] = False  # §5.5


def _count_change(state: State, user: User) -> None:
    """§3, per user: 100 creates and updates a day, and a 429 without Type and Retry-After."""
    name = f"changes {user.id} {_day(state.now())}"
    if state.counts[name] >= state.limits.per_user:
        headers = {"x-ratelimit-category": "Light", "x-ratelimit-limit": "6000", "x-ratelimit-remaining": "5893"}
        raise Refused(429, 429, USER_LIMIT, headers=headers)
    state.counts[name] += 1


def _query(state: State, request: Request, known: set[str]) -> dict[str, str]:
    if unknown := set(request.query_params) - known:
        state.junk.append(f"{request.method} with the parameter {sorted(unknown)[0]}")
        raise Refused(400, 300, "Invalid field.", [{"field": sorted(unknown)[0], "message": "unknown"}])
    return dict(request.query_params)


async def _body(state: State, request: Request, model: Any) -> Any:
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        state.junk.append("a body that is not declared as JSON")
        raise Refused(400, 300, "Unsupported Content Type")
    try:
        fields = loads(await request.body())
        return model.model_validate(fields)
    except (JSONDecodeError, UnicodeDecodeError):
        state.junk.append("a body that is not JSON")
        raise Refused(400, 300, "Request Body should be a valid JSON object.") from None
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        errors = [{"field": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in problems]
        state.junk += [f"field {each['field']}" for each in errors]
        raise Refused(400, 300, "Validation Failed.", errors) from None


def _seconds(value: str, zone: str) -> int:
    moment = datetime.fromisoformat(value)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).timestamp())


def stamp(seconds: int) -> str:
    """A time as Zoom writes it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


_VERBS = {
    "create": _create,
    "update": _update,
    "delete": _delete,
    "get": _get,
    "list": _list,
    "user": _user,
    "users": _users,
    "settings": _user_settings,
}
