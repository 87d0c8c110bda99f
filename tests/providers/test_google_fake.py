"""The fake Google's Meet and Calendar: rooms, burnt ids, conferences that take their time, limits, faults."""

import json
from importlib.resources import files
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator

from tests.fakes.google_server import GoogleServer
from tests.waiting import wait_until

ANNA, BEN, CARLA = "anna@example.org", "ben@example.org", "carla@example.com"
ROBOT = "robot@project-1.iam.gserviceaccount.com"
CREATED, SETTINGS, READONLY = "meetings.space.created", "meetings.space.settings", "meetings.space.readonly"
OWNED = "calendar.events.owned"
EVENTS = "/calendar/v3/calendars/primary/events"
CONFERENCE = {"conferenceDataVersion": "1"}
EVENT: dict[str, Any] = {
    "id": "vello0123456789abcdef0",
    "summary": "A meeting",
    "start": {"dateTime": "2090-01-10T09:00:00Z"},
    "end": {"dateTime": "2090-01-10T10:00:00Z"},
    "extendedProperties": {"private": {"vello_record": "record-1"}},
    "conferenceData": {"createRequest": {"requestId": "r-1", "conferenceSolutionKey": {"type": "hangoutsMeet"}}},
    "reminders": {"useDefault": False},
    "visibility": "private",
}
MOVED = {"start": {"dateTime": "2090-01-11T09:00:00Z"}, "end": {"dateTime": "2090-01-11T10:00:00Z"}}


class Caller:
    """Somebody with a token."""

    def __init__(self, google: GoogleServer, token: str) -> None:
        self.google, self.token = google, token

    async def __call__(self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> Any:
        all_headers = {"authorization": f"Bearer {self.token}", **(headers or {})}
        answer = await self.google.request(method, path, headers=all_headers, **more)
        return answer

    async def space(self, access: str | None = "OPEN") -> dict[str, Any]:
        body = {"config": {"accessType": access}} if access else {}
        answer = await self("POST", "/v2/spaces", json=body)
        assert answer.status_code == 200, answer.text
        space: dict[str, Any] = answer.json()
        return space

    async def event(self, **changes: Any) -> httpx.Response:
        body = {name: value for name, value in {**EVENT, **changes}.items() if value is not None}
        answer: httpx.Response = await self("POST", EVENTS, params=CONFERENCE, json=body)
        return answer


async def caller(google: GoogleServer, *scopes: str, **who: Any) -> Caller:
    return Caller(google, await google.token(*(scopes or (CREATED, OWNED)), **who))


async def made(google: GoogleServer) -> bool:
    """Whether there is an event."""
    return bool(await google.events())


def reason(answer: httpx.Response) -> str:
    """The reason, wherever this API has it."""
    error = answer.json()["error"]
    return str(error["errors"][0]["reason"] if "errors" in error else error["status"])


def code(event: dict[str, Any]) -> str:
    return str(event["conferenceData"]["createRequest"]["status"]["statusCode"])


class TestSpaces:
    """Meet REST v2."""

    async def test_every_creation_is_another_room_at_once(self, google: GoogleServer) -> None:
        anna = await caller(google)
        one, two = await anna.space(), await anna.space()
        assert one["name"] != two["name"]
        assert one["meetingUri"] == f"{google.url}/{one['meetingCode']}"
        assert (await google.request("GET", one["meetingUri"])).status_code == 200
        assert (await google.state())["junk"] == []

    async def test_closing_a_room_makes_guests_knock_and_leaves_who_is_inside(self, google: GoogleServer) -> None:
        anna = await caller(google)
        space = await anna.space()
        await google.control("POST", f"spaces/{space['name'][7:]}", {"live": True})
        path, mask = f"/v2/{space['name']}", {"updateMask": "config.accessType"}
        closed = (await anna("PATCH", path, params=mask, json={"config": {"accessType": "RESTRICTED"}})).json()
        assert closed["activeConference"]["conferenceRecord"].startswith("conferenceRecords/")
        assert (await google.request("GET", space["meetingUri"])).status_code == 403
        for _ in range(2):
            assert (await anna("POST", f"{path}:endActiveConference", json={})).json() == {}
        assert "activeConference" not in (await anna("GET", path)).json()

    async def test_the_default_is_the_persons_and_an_admin_may_forbid_open(self, google: GoogleServer) -> None:
        await google.user(may_open=False, default_access="RESTRICTED")
        anna = await caller(google)
        assert (await anna.space(None))["config"]["accessType"] == "RESTRICTED"
        body = {"config": {"accessType": "OPEN"}}
        assert (await anna("POST", "/v2/spaces", json=body)).status_code == 403
        await google.readings(no_open=400)
        assert (await anna("POST", "/v2/spaces", json=body)).status_code == 400

    async def test_a_mask_changes_what_it_names_and_resets_what_is_missing(self, google: GoogleServer) -> None:
        anna = await caller(google)
        path, body = f"/v2/{(await anna.space())['name']}", {"config": {"accessType": "RESTRICTED"}}
        answer = await anna("PATCH", path, params={"updateMask": "config.entryPointAccess"}, json=body)
        assert answer.json()["config"]["accessType"] == "OPEN"
        assert (await anna("PATCH", path, json=body)).json()["config"]["accessType"] == "RESTRICTED"
        reset = await anna("PATCH", path, params={"updateMask": "config.accessType"}, json={"config": {}})
        assert reset.json()["config"]["accessType"] == "TRUSTED"
        assert (await anna("PATCH", path, params={"updateMask": "accessType"}, json=body)).status_code == 400

    async def test_a_code_reads_in_any_case_and_changes_nothing(self, google: GoogleServer) -> None:
        anna = await caller(google)
        space = await anna.space()
        found = await anna("GET", f"/v2/spaces/{space['meetingCode'].upper()}")
        assert found.json()["name"] == space["name"]
        assert (await anna("PATCH", f"/v2/spaces/{space['meetingCode']}", json={"config": {}})).status_code == 400
        assert (await anna("GET", f"/v2/{space['name'].swapcase().replace('SPACES', 'spaces')}")).status_code == 404

    async def test_a_code_dies_a_year_after_its_last_use_and_the_room_does_not(self, google: GoogleServer) -> None:
        anna = await caller(google)
        space = await anna.space()
        await google.forward(366 * 86_400)
        assert (await google.request("GET", space["meetingUri"])).status_code == 404
        assert (await (await caller(google))("GET", f"/v2/{space['name']}")).status_code == 200

    async def test_other_people_and_other_apps_may_not(self, google: GoogleServer) -> None:
        path = f"/v2/{(await (await caller(google)).space())['name']}"
        ben, elsewhere = await caller(google, user=BEN), await caller(google, client_id="internal-app")
        assert (await ben("GET", path)).status_code == 200
        for stranger in (ben, elsewhere):
            assert (await stranger("PATCH", path, json={"config": {}})).status_code == 403
            assert (await stranger("POST", f"{path}:endActiveConference", json={})).status_code == 403
        assert (await elsewhere("GET", path)).status_code == 403
        settings = await caller(google, SETTINGS, client_id="internal-app")
        assert (await settings("PATCH", path, json={"config": {"accessType": "RESTRICTED"}})).status_code == 200

    @pytest.mark.parametrize("status", [403, 404])
    async def test_a_room_that_is_gone_is_told_in_either_way(self, google: GoogleServer, status: int) -> None:
        await google.readings(no_space=status)
        anna = await caller(google)
        space = await anna.space()
        await google.control("DELETE", space["name"])
        assert (await anna("GET", f"/v2/{space['name']}")).status_code == status
        assert (await google.request("GET", space["meetingUri"])).status_code == 404

    @pytest.mark.parametrize(
        "body",
        [
            {"surprise": 1},
            {"config": {"surprise": 1}},
            {"config": {"accessType": "open"}},
            {"config": "OPEN"},
            {"name": "spaces/mine"},
            {"meetingCode": "aaa-bbbb-ccc"},
            [],
        ],
        ids=str,
    )
    async def test_what_its_document_does_not_know_is_refused(self, google: GoogleServer, body: Any) -> None:
        answer = await (await caller(google))("POST", "/v2/spaces", json=body, params={"prettyPrint": "false"})
        assert (answer.status_code, reason(answer)) == (400, "INVALID_ARGUMENT")
        assert await google.spaces() == []

    async def test_a_person_makes_ten_rooms_a_minute(self, google: GoogleServer) -> None:
        anna, ben = await caller(google), await caller(google, user=BEN)
        for _ in range(10):
            await anna.space()
        over = await anna("POST", "/v2/spaces", json={})
        assert (over.status_code, reason(over)) == (429, "RESOURCE_EXHAUSTED")
        assert over.json()["error"]["details"][0]["reason"] == "RATE_LIMIT_EXCEEDED"
        await ben.space()
        await google.forward(61)
        await anna.space()

    async def test_a_project_makes_no_more_than_its_limit(self, google: GoogleServer) -> None:
        await google.limits(creations_per_user=None, creations_per_project=3)
        anna, ben = await caller(google), await caller(google, user=BEN)
        for one in (anna, ben, anna):
            await one.space()
        assert (await ben("POST", "/v2/spaces", json={})).status_code == 429


class TestEvents:
    """Calendar v3."""

    async def test_an_id_is_good_once(self, google: GoogleServer) -> None:
        anna = await caller(google)
        made = await anna.event()
        again = await anna.event(summary="Another")
        assert (again.status_code, reason(again)) == (409, "duplicate")
        assert again.json()["error"]["message"] == "The requested identifier already exists."
        assert (await anna("GET", f"{EVENTS}/{EVENT['id']}")).json()["summary"] == "A meeting"
        assert made.json()["iCalUID"] == f"{EVENT['id']}@google.com"
        assert (await (await caller(google, user=BEN)).event()).status_code == 200  # unique in one calendar
        assert (await google.state())["junk"] == []

    @pytest.mark.parametrize("purge", [False, True])
    async def test_a_deleted_events_id_is_burnt(self, google: GoogleServer, purge: bool) -> None:
        anna, path = await caller(google), f"{EVENTS}/{EVENT['id']}"
        link = (await anna.event()).json()["hangoutLink"]
        assert (await anna("DELETE", path, params={"sendUpdates": "none"})).status_code == 204
        gone = await anna("DELETE", path)
        assert (gone.status_code, reason(gone)) == (410, "deleted")
        assert (await anna("GET", path)).json()["status"] == "cancelled"
        await google.control("DELETE", f"events/{EVENT['id']}{'?purge=true' if purge else ''}")
        assert (await anna("GET", path)).status_code == (404 if purge else 200)
        assert (await anna.event()).status_code == 409
        assert await google.events() == []
        assert (await google.request("GET", link)).status_code == 403  # the room is still there, behind a knock

    @pytest.mark.parametrize(
        ("reading", "status", "then"),
        [("stays", 200, "cancelled"), ("lives", 200, "confirmed"), ("forbidden", 403, ""), ("gone", 410, "")],
    )
    async def test_a_deleted_event_is_moved_in_four_readings(
        self, google: GoogleServer, reading: str, status: int, then: str
    ) -> None:
        await google.readings(patched_when_deleted=reading)
        anna = await caller(google)
        await anna.event()
        await google.control("DELETE", f"events/{EVENT['id']}")
        answer = await anna("PATCH", f"{EVENTS}/{EVENT['id']}", json=MOVED)
        assert (answer.status_code, answer.json().get("status", "")) == (status, then)

    async def test_a_moved_event_keeps_its_link(self, google: GoogleServer) -> None:
        anna = await caller(google)
        before = (await anna.event()).json()
        after = (await anna("PATCH", f"{EVENTS}/{EVENT['id']}", params=CONFERENCE, json=MOVED)).json()
        assert (after["hangoutLink"], after["conferenceData"]) == (before["hangoutLink"], before["conferenceData"])
        assert (after["start"], after["sequence"]) == (MOVED["start"], 1)
        assert after["etag"] != before["etag"]

    async def test_conference_data_of_null_takes_the_link_away(self, google: GoogleServer) -> None:
        anna = await caller(google)
        await anna.event()
        body = {"conferenceData": None}
        kept = (await anna("PATCH", f"{EVENTS}/{EVENT['id']}", json=body)).json()
        assert "hangoutLink" in kept
        gone = (await anna("PATCH", f"{EVENTS}/{EVENT['id']}", params=CONFERENCE, json=body)).json()
        assert not {"hangoutLink", "conferenceData"} & set(gone)
        assert len((await google.state())["junk"]) == 2

    async def test_without_version_one_there_is_no_conference_and_no_word_of_it(self, google: GoogleServer) -> None:
        answer = await (await caller(google))("POST", EVENTS, json=EVENT)
        assert answer.status_code == 200
        assert "conferenceData" not in answer.json()
        assert (await google.state())["junk"] != []

    async def test_an_etag_guards_and_spares(self, google: GoogleServer) -> None:
        anna, path = await caller(google), f"{EVENTS}/{EVENT['id']}"
        etag = (await anna.event()).json()["etag"]
        assert (await anna("GET", path, headers={"if-none-match": etag})).status_code == 304
        assert (await anna("PATCH", path, headers={"if-match": etag}, json=MOVED)).status_code == 200
        late = await anna("PATCH", path, headers={"if-match": etag}, json=MOVED)
        assert (late.status_code, reason(late)) == (412, "conditionNotMet")
        assert (await anna("DELETE", path, headers={"if-match": etag})).status_code == 412

    async def test_events_are_found_by_a_private_property(self, google: GoogleServer) -> None:
        anna = await caller(google)
        await anna.event()
        await anna.event(id="other", extendedProperties=None, conferenceData=None)
        query = {"privateExtendedProperty": "vello_record=record-1", "singleEvents": "true", "fields": "items(id)"}
        assert (await anna("GET", EVENTS, params=query)).json() == {"items": [{"id": EVENT["id"]}]}
        await anna("DELETE", f"{EVENTS}/{EVENT['id']}")
        assert (await anna("GET", EVENTS, params=query)).json() == {"items": []}
        (found,) = (await anna("GET", EVENTS, params={**query, "showDeleted": "true"})).json()["items"]
        assert found["id"] == EVENT["id"]

    async def test_a_list_has_pages_bounds_and_an_order(self, google: GoogleServer) -> None:
        anna = await caller(google)
        for day in (3, 1, 2):
            times = {
                edge: {"dateTime": f"2090-01-0{day}T{hour}:00:00+02:00"} for edge, hour in (("start", 10), ("end", 11))
            }
            await anna.event(id=f"event{day}", conferenceData=None, **times)
        query = {"orderBy": "startTime", "singleEvents": "true", "maxResults": "2", "timeMax": "2090-01-03T08:00:00Z"}
        page = (await anna("GET", EVENTS, params=query)).json()
        assert [item["id"] for item in page["items"]] == ["event1", "event2"]
        assert "nextPageToken" not in page
        query = {"maxResults": "2", "timeMin": "2090-01-01T09:00:00Z"}
        first = (await anna("GET", EVENTS, params={**query, "maxResults": "1"})).json()
        more = {**query, "maxResults": "1", "pageToken": first["nextPageToken"]}
        assert [item["id"] for item in (await anna("GET", EVENTS, params=more)).json()["items"]] == ["event2"]
        assert (await anna("GET", EVENTS, params={**more, "q": "x"})).status_code == 400

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"id": "Vello-1"}, "invalid"),
            ({"id": "vell"}, "invalid"),
            ({"id": "xyz01"}, "invalid"),
            ({"id": "a" * 1025}, "invalid"),
            ({"end": None}, "required"),
            ({"end": EVENT["start"]}, "timeRangeEmpty"),
            ({"start": {"dateTime": "2090-01-10T09:00:00"}}, "required"),
            ({"start": {"dateTime": "2090-01-10T09:00:00", "timeZone": "Mars/Olympus"}}, "invalid"),
            ({"start": {"dateTime": "2090-01-10 09:00"}}, "invalid"),
            ({"start": {"date": "2090-01-10"}}, "invalid"),
            ({"surprise": 1}, "invalid"),
            ({"visibility": "secret"}, "invalid"),
            ({"hangoutLink": "https://meet.google.com/aaa-bbbb-ccc"}, "invalid"),
            ({"conferenceData": {"createRequest": {"requestID": "r"}}}, "invalid"),
            ({"conferenceData": {"createRequest": {"conferenceSolutionKey": {"type": "hangoutsMeet"}}}}, "required"),
            ({"conferenceData": {"conferenceId": "aaa-bbbb-ccc"}}, "invalid"),
            ({"extendedProperties": {"private": {"k" * 45: "v"}}}, "invalid"),
            ({"extendedProperties": {"private": {"k": "v" * 1025}}}, "invalid"),
            ({"extendedProperties": {"private": {"k": 1}}}, "invalid"),
            ({"attendees": [{"displayName": "Nobody"}]}, "required"),
        ],
        ids=str,
    )
    async def test_a_wrong_event_is_refused(self, google: GoogleServer, changes: dict[str, Any], why: str) -> None:
        answer = await (await caller(google)).event(**changes)
        assert (answer.status_code, reason(answer)) == (400, why)
        assert await google.events() == []

    @pytest.mark.parametrize(
        "query",
        [{"conferenceDataVersion": "2"}, {"sendUpdates": "maybe"}, {"junk": "1"}, {"updateMask": "start"}],
        ids=str,
    )
    async def test_a_wrong_parameter_is_refused(self, google: GoogleServer, query: dict[str, str]) -> None:
        assert (await (await caller(google))("POST", EVENTS, params=query, json=EVENT)).status_code == 400

    async def test_a_calendar_of_nobodys_is_not_found(self, google: GoogleServer) -> None:
        anna = await caller(google)
        for calendar in (BEN, "no-calendar"):
            answer = await anna("GET", f"/calendar/v3/calendars/{calendar}/events")
            assert (answer.status_code, reason(answer)) == (404, "notFound")
        assert (await anna("GET", f"/calendar/v3/calendars/{ANNA}/events")).status_code == 200

    @pytest.mark.parametrize(("updates", "mails"), [(None, 0), ("none", 0), ("all", 1)])
    async def test_guests_get_mail_only_if_told(self, google: GoogleServer, updates: str | None, mails: int) -> None:
        anna, body = await caller(google), {**EVENT, "attendees": [{"email": CARLA}], "conferenceData": None}
        await anna("POST", EVENTS, params={"sendUpdates": updates} if updates else {}, json=body)
        assert len((await google.state())["mails"]) == mails


class TestConferences:
    """Made in their own time, and not always."""

    async def test_a_conference_is_pending_for_a_while(self, google: GoogleServer) -> None:
        await google.user(pending_reads=2)
        anna = await caller(google)
        first = (await anna.event()).json()
        second, third = [(await anna("GET", f"{EVENTS}/{EVENT['id']}")).json() for _ in range(2)]
        assert (code(first), code(second), code(third)) == ("pending", "pending", "success")
        assert not {"entryPoints", "conferenceId"} & set(first["conferenceData"])
        assert "hangoutLink" not in first
        video = next(each for each in third["conferenceData"]["entryPoints"] if each["entryPointType"] == "video")
        assert video["uri"] == third["hangoutLink"]

    async def test_a_failed_conference_needs_another_request_id(self, google: GoogleServer) -> None:
        await google.user(failing_conferences=1)
        anna = await caller(google)
        failed = (await anna.event()).json()
        assert code(failed) == "failure"
        assert not {"entryPoints", "conferenceSolution"} & set(failed["conferenceData"])
        path, answers = f"{EVENTS}/{EVENT['id']}", []
        for id_ in ("r-1", "r-2"):
            request = {"requestId": id_, "conferenceSolutionKey": {"type": "hangoutsMeet"}}
            body = {"conferenceData": {"createRequest": request}}
            answers.append((await anna("PATCH", path, params=CONFERENCE, json=body)).json())
        assert [code(answer) for answer in answers] == ["failure", "success"]

    async def test_the_same_request_id_never_makes_a_second_room(self, google: GoogleServer) -> None:
        anna = await caller(google)
        before = (await anna.event()).json()
        body = {"conferenceData": EVENT["conferenceData"]}
        after = (await anna("PATCH", f"{EVENTS}/{EVENT['id']}", params=CONFERENCE, json=body)).json()
        assert after["hangoutLink"] == before["hangoutLink"]
        other = await anna.event(id="another1")
        assert "conferenceData" not in other.json()
        assert len(await google.spaces()) == 1
        assert (await google.state())["junk"] == ["a request id of another event"]

    async def test_a_calendar_may_not_allow_meet(self, google: GoogleServer) -> None:
        await google.user(solutions=[])
        answer = await (await caller(google)).event()
        assert (answer.status_code, reason(answer)) == (400, "invalid")
        assert answer.json()["error"]["message"] == "Invalid conference type value."
        assert await google.events() == []

    async def test_a_robot_of_its_own_can_make_events_but_no_rooms(self, google: GoogleServer) -> None:
        robot = await caller(google, OWNED, client_id=ROBOT, user=None)
        assert (await robot.event()).json()["error"]["message"] == "Invalid conference type value."
        assert (await robot.event(conferenceData=None)).status_code == 200
        answer = await robot.event(id="other", conferenceData=None, attendees=[{"email": CARLA}])
        assert (answer.status_code, reason(answer)) == (403, "forbiddenForServiceAccounts")

    async def test_a_new_event_may_not_be_seen_at_once(self, google: GoogleServer) -> None:
        await google.user(unseen_reads=2)
        anna = await caller(google)
        await anna.event()
        assert (await anna("GET", EVENTS)).json()["items"] == []
        statuses = [(await anna("GET", f"{EVENTS}/{EVENT['id']}")).status_code for _ in range(3)]
        assert statuses == [404, 404, 200]

    async def test_a_calendars_room_is_opened_with_the_scope_for_it_alone(self, google: GoogleServer) -> None:
        event = (await (await caller(google)).event()).json()
        alias, body = f"/v2/spaces/{event['conferenceData']['conferenceId']}", {"config": {"accessType": "OPEN"}}
        assert (await (await caller(google))("GET", alias)).status_code == 403
        settings = await caller(google, SETTINGS)
        path = f"/v2/{(await settings('GET', alias)).json()['name']}"
        assert (await settings("PATCH", path, json=body)).status_code == 200
        assert (await google.request("GET", event["hangoutLink"])).status_code == 200
        both = await caller(google, SETTINGS, CREATED)
        assert (await both("POST", f"{path}:endActiveConference", json={})).status_code == 403


class TestRefusals:
    """Who may not, what is too much, and what goes wrong."""

    async def test_a_token_that_is_over_is_told_in_both_forms(self, google: GoogleServer) -> None:
        anna = await caller(google)
        await google.control("POST", "expire", {"client_id": "user-app"})
        events, spaces = await anna("GET", EVENTS), await anna("POST", "/v2/spaces", json={})
        assert (events.status_code, reason(events)) == (401, "authError")
        assert (spaces.status_code, reason(spaces)) == (401, "UNAUTHENTICATED")
        assert "invalid_token" in events.headers["www-authenticate"]

    async def test_refusals_of_403_are_told_apart(self, google: GoogleServer) -> None:
        poor = await caller(google, "email")
        events, spaces = await poor("GET", EVENTS), await poor("POST", "/v2/spaces", json={})
        assert (events.status_code, reason(events)) == (403, "insufficientPermissions")
        for answer in (events, spaces):
            assert answer.json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
        await google.control("PUT", "apps", {"client_id": "user-app", "apis": ["oauth2"]})
        anna = await caller(google)
        events, spaces = await anna("GET", EVENTS), await anna("POST", "/v2/spaces", json={})
        assert (events.status_code, reason(events)) == (403, "accessNotConfigured")
        for answer in (events, spaces):
            assert answer.json()["error"]["details"][0]["reason"] == "SERVICE_DISABLED"

    @pytest.mark.parametrize(("status", "why"), [(403, "userRateLimitExceeded"), (429, "rateLimitExceeded")])
    async def test_calendars_limit_has_two_statuses(self, google: GoogleServer, status: int, why: str) -> None:
        await google.limits(calendar_per_user=1)
        await google.readings(over_limit=status)
        anna = await caller(google)
        await anna("GET", EVENTS)
        over = await anna("GET", EVENTS)
        assert (over.status_code, reason(over)) == (status, why)

    @pytest.mark.parametrize(
        ("status", "why"),
        [(403, "quotaExceeded"), (403, "rateLimitExceeded"), (404, None), (409, "conflict"), (429, None), (503, None)],
    )
    async def test_a_scripted_failure_speaks_as_its_api_does(
        self, google: GoogleServer, status: int, why: str | None
    ) -> None:
        anna = await caller(google)
        await google.faults(fail=[{"status": status, "reason": why, "times": 2, "retry_after": 3}])
        events, spaces = await anna.event(), await anna("POST", "/v2/spaces", json={})
        usual = {404: "notFound", 429: "rateLimitExceeded"}.get(status, "backendError")
        assert (events.status_code, reason(events)) == (status, why or usual)
        assert (spaces.status_code, spaces.headers["retry-after"]) == (status, "3")
        assert set(spaces.json()["error"]) == {"code", "message", "status"}
        assert (await google.events(), await google.spaces()) == ([], [])

    async def test_a_server_may_fail_after_all_was_done(self, google: GoogleServer) -> None:
        anna = await caller(google)
        await google.faults(fail=[{"status": 500, "committed": True}])
        assert (await anna.event()).status_code == 500
        assert (await anna.event()).status_code == 409

    async def test_lost_answers_have_happened_and_dropped_calls_have_not(self, google: GoogleServer) -> None:
        anna = await caller(google)
        await google.faults(only="spaces.create", drop=1, lose_answers=1)
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                await anna.space()
        assert [call["outcome"] for call in await google.calls("spaces.create")] == ["dropped", "lost"]
        assert len(await google.spaces()) == 1

    async def test_an_answer_may_come_too_late(self, google: GoogleServer) -> None:
        anna = await caller(google)
        await google.faults(only="events.insert", answer_delay=30)
        headers = {"authorization": f"Bearer {anna.token}"}
        async with httpx.AsyncClient(
            base_url=google.url, trust_env=False, timeout=httpx.Timeout(30, read=0.5), headers=headers
        ) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(EVENTS, params=CONFERENCE, json=EVENT)
        await wait_until(lambda: made(google))

    async def test_an_account_that_is_gone_has_no_tokens(self, google: GoogleServer) -> None:
        anna = await caller(google)
        await google.user(exists=False)
        assert (await anna("GET", EVENTS)).status_code == 401

    async def test_a_path_nobody_knows_is_junk(self, google: GoogleServer) -> None:
        anna = await caller(google)
        assert (await anna("DELETE", f"/v2/{(await anna.space())['name']}")).status_code in (404, 405)
        assert (await anna("PUT", f"{EVENTS}/x", json=EVENT)).status_code in (404, 405)
        assert len((await google.state())["junk"]) == 2


def schema(api: str, name: str) -> dict[str, Any]:
    """A discovery document's schema in the words of JSON Schema, closed to what it does not name."""

    def rewritten(value: Any) -> Any:
        if isinstance(value, list):
            return [rewritten(each) for each in value]
        if not isinstance(value, dict):
            return value
        inner = {key: rewritten(each) for key, each in value.items() if key in ("properties", "items", "enum", "type")}
        if "$ref" in value:
            return {"$ref": f"#/$defs/{value['$ref']}"}
        if "properties" in value and isinstance(value["properties"], dict):
            inner["properties"] = {key: rewritten(each) for key, each in value["properties"].items()}
            inner["additionalProperties"] = rewritten(value.get("additionalProperties", False))
        return inner

    text = (files("googleapiclient.discovery_cache.documents") / f"{api}.json").read_text("utf-8")
    return {
        "$ref": f"#/$defs/{name}",
        "$defs": {key: rewritten(each) for key, each in json.loads(text)["schemas"].items()},
    }


class TestDocuments:
    """The fake's own answers, held to Google's documents by a validator that is not its own."""

    async def test_answers_are_as_the_discovery_documents_say(self, google: GoogleServer) -> None:
        await google.user(pending_reads=1)
        anna = await caller(google, CREATED, OWNED, "email")
        space = await anna.space()
        await google.control("POST", f"spaces/{space['name'][7:]}", {"live": True})
        pending, path = (await anna.event()).json(), f"{EVENTS}/{EVENT['id']}"
        answers = [
            ("meet.v2", "Space", (await anna("GET", f"/v2/{space['name']}")).json()),
            ("calendar.v3", "Event", pending),
            ("calendar.v3", "Event", (await anna("GET", path)).json()),
            ("calendar.v3", "Event", (await anna("PATCH", path, json=MOVED)).json()),
            ("calendar.v3", "Events", (await anna("GET", EVENTS)).json()),
            ("oauth2.v2", "Userinfo", (await anna("GET", "/oauth2/v2/userinfo")).json()),
        ]
        for api, name, answer in answers:
            OAS31Validator(schema(api, name)).validate(answer)

    async def test_that_validator_sees_a_stranger(self) -> None:
        validator = OAS31Validator(schema("meet.v2", "Space"))
        assert validator.is_valid({"config": {"accessType": "OPEN"}})
        assert not validator.is_valid({"config": {"access": "OPEN"}})
        assert not validator.is_valid({"config": {"accessType": "open"}})
