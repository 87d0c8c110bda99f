"""The fake Google's Meet REST v2 (§3) and the doors of its rooms."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from tests.fakes.google_api import Call, Verbs, meet_error, wrong
from tests.fakes.google_discovery import Problem, document
from tests.fakes.google_state import Refused, Space, State, User

CODE = re.compile(r"[a-z]{3}-?[a-z]{4}-?[a-z]{3}", re.IGNORECASE)
DENIED = "Permission denied on resource MeetingSpace (or it might not exist)"
"""GAM-team/GAM#1822."""


def _create(call: Call) -> Response:
    """Synchronous and never idempotent: a second call is a second room (§3)."""
    config = _config(call, call.body)
    if call.user is None:
        raise meet_error(403, "The caller does not have permission")  # a robot has no Meet of its own (§1, unverified)
    _check_open(call, call.user, config)
    return JSONResponse(shown(call.state, call.state.new_space(call.user, call.owner.project, config)))


def _get(call: Call) -> Response:
    space = _named(call, by_code=True)
    _check_sight(call, space)
    return JSONResponse(shown(call.state, space))


def _patch(call: Call) -> Response:
    """Without a mask, what is given is changed; with one, what it names, and what it names and is missing is reset."""
    space = _named(call)
    _check_owner(call, space, "meetings.space.settings")
    given, paths = _config(call, call.body), _mask(call)
    owner = call.state.users[space.owner_id]
    if paths is None:
        changes: dict[str, Any] = given
    else:
        changes = {name: given.get(name) for name in paths}
    _check_open(call, owner, changes)
    defaults = {"accessType": owner.default_access, "entryPointAccess": "ALL"}
    for name, value in changes.items():
        space.config.pop(name, None)
        if (value := value or defaults.get(name)) is not None:
            space.config[name] = value
    return JSONResponse(shown(call.state, space))


def _end(call: Call) -> Response:
    """Ends the conference "if there's one" (MEET), in spaces made through the API alone (§2, does the room die)."""
    space = _named(call)
    _check_owner(call, space)
    space.conference = None
    return JSONResponse({})


def _records(call: Call) -> Response:
    """The conferences that took place (MEET); here none ever did."""
    return JSONResponse({})


MEET_VERBS: Verbs = {
    "conferenceRecords.list": ("meet", _records),
    "spaces.create": ("meet", _create),
    "spaces.get": ("meet", _get),
    "spaces.patch": ("meet", _patch),
    "spaces.endActiveConference": ("meet", _end),
}


def shown(state: State, space: Space) -> dict[str, Any]:
    """A space as Meet shows it; people without Workspace have no telephone (§2, link)."""
    conference = {"conferenceRecord": f"conferenceRecords/{space.conference}"}
    phone = {"phoneNumber": "+358 9 4245 1234", "pin": "123456789", "regionCode": "FI", "languageCode": "fi"}
    return {
        "name": f"spaces/{space.id}",
        "meetingUri": uri(state, space),
        "meetingCode": space.code,
        "config": dict(space.config),
        **({"activeConference": conference} if space.conference else {}),
        **({"phoneAccess": [phone]} if state.users[space.owner_id].domain else {}),
    }


def uri(state: State, space: Space) -> str:
    """The link; the real one stands on meet.google.com."""
    return f"{state.url}/{space.code}"


async def door(state: State, request: Request) -> Response:
    """What somebody who is not signed in meets: in (200), must knock (403), or no such room (404)."""
    space = state.space_of(request.path_params["code"])
    if space is None:
        return _page("Check your meeting code. Make sure you entered the correct one.", 404)
    space.used = state.now()
    if space.config["accessType"] == "OPEN":
        return _page("You are in the meeting.")
    return _page("Ask to join: somebody in the meeting must let you in.", 403)


def _page(sentence: str, status: int = 200) -> Response:
    html = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Meet</title><p>{sentence}</p>'
    return HTMLResponse(html, status)


def _config(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """The only thing of a space that anybody may write (MEET); UNSPECIFIED is the default and never comes back."""
    if extra := set(body) - {"config"}:
        raise wrong(call.state, "meet", [Problem(name, "read-only", f"{name} is read-only") for name in sorted(extra)])
    config: dict[str, Any] = body.get("config") or {}
    return {name: value for name, value in config.items() if not str(value).endswith("_UNSPECIFIED")}


def _mask(call: Call) -> list[str] | None:
    """Names below `config`; None: no mask. A path nobody knows is refused."""
    paths = [path for path in call.query.get("updateMask", "").split(",") if path]
    known = list(document("meet")["schemas"]["SpaceConfig"]["properties"])
    if not paths:
        return None
    if paths == ["*"] or "config" in paths:
        return known
    if unknown := [path for path in paths if path not in {f"config.{name}" for name in known}]:
        raise wrong(call.state, "meet", [Problem("updateMask", "value", f"Invalid path {unknown[0]}")])
    return [path.removeprefix("config.") for path in paths]


def _check_open(call: Call, owner: User, config: dict[str, Any]) -> None:
    if config.get("accessType") == "OPEN" and not owner.may_open:
        status = call.state.readings.no_open
        raise meet_error(status, "Access type OPEN is not allowed by the administrator of this organization.")


def _named(call: Call, *, by_code: bool = False) -> Space:
    """By id; a code is an alias for reading only (MEET, name), in any case of letters."""
    name = call.path["space"]
    space = call.state.spaces.get(name)
    if space is None and CODE.fullmatch(name):
        if not by_code:
            raise wrong(call.state, "meet", [Problem("name", "value", "a space's id was expected, not its code")])
        space = call.state.space_of(name)
    if space is None:
        raise _unseen(call)
    return space


def _unseen(call: Call) -> Refused:
    if call.state.readings.no_space == 403:
        return meet_error(403, DENIED)
    return meet_error(404, "Requested entity was not found.")


def _check_sight(call: Call, space: Space) -> None:
    made_here = space.origin == call.owner.project
    owned = call.user is not None and call.user.id == space.owner_id
    if call.has("meetings.space.readonly") or (made_here and call.has("meetings.space.created")):
        return
    if not (owned and call.has("meetings.space.settings")):
        raise meet_error(403, DENIED)


def _check_owner(call: Call, space: Space, *else_scopes: str) -> None:
    """Only the owner may, and with `space.created` only in what this app made (§3)."""
    owned = call.user is not None and call.user.id == space.owner_id
    made_here = space.origin == call.owner.project and call.has("meetings.space.created")
    if not owned or not (made_here or call.has(*else_scopes)):
        raise meet_error(403, DENIED)
