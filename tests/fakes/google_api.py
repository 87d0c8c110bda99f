"""What the fake Google's APIs share: who calls, whether they may, what their refusals look like, what a call may say.

It is stricter than Google where Google is said to ignore something: an unknown field or parameter, or one that only
Google writes, is an error that is answered and recorded as junk, so that junk is never sent. The errors are those of
developers.google.com/workspace/calendar/api/guides/errors and, for Meet, google.rpc's (§2 and §3, errors); the words
for a missing scope and for an API that is off are quoted from googleapis' issues.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fakes.google_discovery import Api, Problem, check, check_query, method
from tests.fakes.google_state import AUTH, Access, App, Refused, ServiceAccount, State, User

SERVICES: Mapping[Api, str] = {
    "calendar": "calendar-json.googleapis.com",
    "meet": "meet.googleapis.com",
    "oauth2": "oauth2.googleapis.com",
}
NAMES: Mapping[Api, str] = {"calendar": "Google Calendar API", "meet": "Google Meet API", "oauth2": "Google OAuth2 API"}
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""google.rpc's names of HTTP's statuses."""
CALENDAR_REASONS = {
    "invalid": "Invalid Value",
    "badRequest": "Bad Request",
    "authError": "Invalid Credentials",
    "insufficientPermissions": "Insufficient Permission",
    "forbidden": "Forbidden",
    "forbiddenForNonOrganizer": "Shared properties can only be changed by the organizer of the event.",
    "accessNotConfigured": "Access Not Configured.",
    "rateLimitExceeded": "Rate Limit Exceeded",
    "userRateLimitExceeded": "User Rate Limit Exceeded",
    "quotaExceeded": "Calendar usage limits exceeded.",
    "notFound": "Not Found",
    "duplicate": "The requested identifier already exists.",
    "conflict": "Conflict",
    "deleted": "Resource has been deleted",
    "conditionNotMet": "Precondition Failed",
    "backendError": "Backend Error",
    "timeRangeEmpty": "The specified time range is empty.",
}
"""Calendar's reasons and what it says with them (§2, errors)."""
USUAL = {
    400: "invalid",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    410: "deleted",
    412: "conditionNotMet",
    429: "rateLimitExceeded",
}
"""The reason a status has that a test did not word itself; backendError for the rest."""
DOMAINS = {
    **dict.fromkeys(
        ("rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "accessNotConfigured"), "usageLimits"
    ),
    **dict.fromkeys(("timeRangeEmpty", "forbiddenForNonOrganizer", "forbiddenForServiceAccounts"), "calendar"),
}
_PLACES = {
    "authError": {"locationType": "header", "location": "Authorization"},
    "conditionNotMet": {"locationType": "header", "location": "If-Match"},
}
UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that may go ahead. `user` is None where a service account calls for itself."""

    state: State
    request: Request
    access: Access
    user: User | None
    owner: App | ServiceAccount
    query: dict[str, str]
    body: dict[str, Any]

    @property
    def path(self) -> dict[str, str]:
        """The named parts of the path."""
        return self.request.path_params

    def has(self, *names: str) -> bool:
        """Whether one of these scopes was granted."""
        return bool({f"{AUTH}{name}" for name in names} & set(self.access.grant.scopes))


Handler = Callable[[Call], Response]


def calendar_error(status: int, reason: str, message: str | None = None, **place: str) -> Refused:
    """Calendar's: the reason decides, never the status alone (§2, errors)."""
    text = message or CALENDAR_REASONS.get(reason, reason)
    item = {
        "domain": DOMAINS.get(reason, "global"),
        "reason": reason,
        "message": text,
        **_PLACES.get(reason, {}),
        **place,
    }
    return Refused(status, {"error": {"errors": [item], "code": status, "message": text}})


def meet_error(status: int, message: str, reason: str | None = None, **more: Any) -> Refused:
    """Meet's: google.rpc's status and details (§3)."""
    error: dict[str, Any] = {"code": status, "message": message, "status": reason or STATUSES.get(status, "UNKNOWN")}
    return Refused(status, {"error": error | more})


def error_info(api: Api, reason: str, **metadata: str) -> dict[str, Any]:
    """A detail that names the reason."""
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": SERVICES[api], **metadata},
    }


def refusal(api: Api, status: int, message: str, reason: str, detail: dict[str, Any]) -> Refused:
    """What Google's front says, before the API itself is asked: Calendar's form has both halves."""
    refused = meet_error(status, message, details=[detail])
    if api == "calendar":
        refused.body["error"]["errors"] = calendar_error(status, reason).body["error"]["errors"]
    return refused


async def serve(state: State, request: Request, api: Api, name: str, do: Handler) -> Response:
    """One call: authorised, allowed, within the limits, well-formed, then done; its answer is held to its schema."""
    access = _authorized(state, request, api)
    owner = _owner(state, access)
    _check_allowed(owner, access, api, name)
    user = state.users[access.grant.user_id] if access.grant.user_id else None
    _count(state, owner, access, api, name)
    _check_query(state, request, api, name)
    body = await _body(state, request, api, name)
    answer = do(Call(state, request, access, user, owner, dict(request.query_params), body))
    if answer.status_code == 200:
        problems = check(api, method(api, name)["response"]["$ref"], json.loads(bytes(answer.body)), writing=False)
        assert not problems, f"this fake answers what Google never would: {problems}"
        answer = _selected(request, answer)
    return answer


def _authorized(state: State, request: Request, api: Api) -> Access:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    access = state.accesses.get(token)
    if {"access_token", "oauth_token"} & set(request.query_params):
        state.junk.append(f"{request.method} with a token in the address")
    elif kind.lower() == "bearer" and access is not None and state.good(access):
        return access
    refused = refusal(api, 401, UNAUTHENTICATED, "authError", error_info(api, "ACCESS_TOKEN_EXPIRED"))
    refused.headers["www-authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    raise refused


def _owner(state: State, access: Access) -> App | ServiceAccount:
    client_id = access.grant.client_id
    return state.service_accounts.get(client_id) or state.apps[client_id]


def _check_allowed(owner: App | ServiceAccount, access: Access, api: Api, name: str) -> None:
    if api not in owner.apis:
        text = (
            f"{NAMES[api]} has not been used in project {owner.project} before or it is disabled. Enable it by "
            f"visiting https://console.developers.google.com/apis/api/{SERVICES[api]}/overview then retry."
        )
        detail = error_info(api, "SERVICE_DISABLED", consumer=f"projects/{owner.project}")
        raise refusal(api, 403, text, "accessNotConfigured", detail)
    if not set(method(api, name)["scopes"]) & set(access.grant.scopes):
        text = "Request had insufficient authentication scopes."
        detail = error_info(api, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", method=method(api, name)["id"])
        raise refusal(api, 403, text, "insufficientPermissions", detail)


def _count(state: State, owner: App | ServiceAccount, access: Access, api: Api, name: str) -> None:
    """The quotas of sixty seconds, by user and project and by project (§2 and §3, quotas)."""
    limits, who = state.limits, f"{owner.project} {access.grant.user_id or access.grant.client_id}"
    if api == "calendar":
        if not state.within(f"calendar {who}", limits.calendar_per_user):
            raise calendar_error(state.readings.over_limit, _over_reason(state, "userRateLimitExceeded"))
        if not state.within(f"calendar {owner.project}", limits.calendar_per_project):
            raise calendar_error(state.readings.over_limit, "rateLimitExceeded")
    if api == "meet":
        kind = "meet_reads" if name == "spaces.get" else "meet_writes"
        _within(state, kind, who, owner.project)
        if name == "spaces.create":
            _within(state, "creations", who, owner.project)


def _over_reason(state: State, reason: str) -> str:
    return reason if state.readings.over_limit == 403 else "rateLimitExceeded"


def _within(state: State, kind: str, who: str, project: str) -> None:
    for place, name in (("user", who), ("project", project)):
        most = getattr(state.limits, f"{kind}_per_{place}")
        if not state.within(f"{kind} {name}", most):
            text = (
                f"Quota exceeded for quota metric '{kind}' and limit '{kind} per minute per {place}' of service "
                f"'meet.googleapis.com' for consumer 'projects/{project}'."
            )
            detail = error_info("meet", "RATE_LIMIT_EXCEEDED", quota_limit_value=str(most))
            raise meet_error(429, text, details=[detail])


def _check_query(state: State, request: Request, api: Api, name: str) -> None:
    if problems := check_query(api, name, request.query_params.multi_items()):
        raise wrong(state, api, problems)


async def _body(state: State, request: Request, api: Api, name: str) -> dict[str, Any]:
    """The body by the schema the discovery document names; a method without one takes none."""
    raw, wanted = await request.body(), method(api, name).get("request")
    if wanted is None:
        if raw:
            raise wrong(state, api, [Problem("", "unknown", "A body where none is taken.")])
        return {}
    if not raw:
        return {}
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise wrong(state, api, [Problem("", "value", "The body is not declared as JSON.")])
    try:
        fields: Any = json.loads(raw)
    except ValueError:
        raise wrong(state, api, [Problem("", "value", "Parse error.")]) from None
    if problems := check(api, wanted["$ref"], fields, writing=True):
        raise wrong(state, api, problems)
    body: dict[str, Any] = fields
    return body


def wrong(state: State, api: Api, problems: list[Problem]) -> Refused:
    """400 for what Google's documents do not know, and a word in `junk`."""
    state.junk += [f"{api}: {each.at or each.text}" for each in problems]
    if api == "calendar":
        bad_type = any(each.at.endswith("conferenceSolutionKey.type") for each in problems)
        return calendar_error(400, "invalid", "Invalid conference type value." if bad_type else problems[0].text)
    texts = [f"Invalid JSON payload received. {each.text}" for each in problems]
    violations = [{"field": each.at, "description": text} for each, text in zip(problems, texts, strict=True)]
    detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
    return meet_error(400, "\n".join(texts), details=[detail])


def _selected(request: Request, answer: Response) -> Response:
    """`fields`: only what was asked for (CAL and MEET, parameters)."""
    if "fields" not in request.query_params:
        return answer
    selector = _selector(iter(re.findall(r"[\w*]+|[,/()]", request.query_params["fields"])))
    headers = {name: value for name, value in answer.headers.items() if name == "etag"}
    return JSONResponse(_reduced(json.loads(bytes(answer.body)), selector), headers=headers)


def _selector(words: Any) -> dict[str, Any]:
    """`a,b/c,d(e,f)` as a tree; an empty branch is all of it."""
    top: dict[str, Any] = {}
    at = top
    for word in words:
        if word == ")":
            break
        if word == ",":
            at = top
        elif word == "(":
            at.update(_selector(words))
        elif word != "/":
            at = at.setdefault(word, {})
    return top


def _reduced(value: Any, selector: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_reduced(each, selector) for each in value]
    if not selector or "*" in selector or not isinstance(value, dict):
        return value
    return {name: _reduced(inner, selector[name]) for name, inner in value.items() if name in selector}


Verbs = Mapping[str, tuple[Api, Handler]]
Endpoint = Callable[[State, Request], Awaitable[Response]]


def endpoints(verbs: Verbs) -> dict[str, Endpoint]:
    """Each verb as something a route can call."""

    def endpoint(api: Api, name: str, do: Handler) -> Endpoint:
        async def call(state: State, request: Request) -> Response:
            return await serve(state, request, api, name, do)

        return call

    return {name: endpoint(api, name, do) for name, (api, do) in verbs.items()}
