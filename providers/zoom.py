"""Zoom: scheduled meetings of one person, or of the users of one account.

The vendor's laws:

- Zoom has no key of a client's. What a lost answer made is known again by a marker at the start of its agenda; see
  `zoom_listing.py`. A list names no settings, so what it found is read again.
- A link is the meeting's id and a hash of its passcode. Both stay when the meeting moves, so neither passcode nor
  `use_pmi` is ever sent again. Without `use_pmi` false the host's own setting may give every meeting the same id.
- A start in the past becomes now in a create and is ignored by a change, which answers 204 all the same: a changed
  meeting is read again. Guests get in only shortly before the start, so what has begun is moved to a minute soon.
- An account may force its settings on every meeting. Without a passcode it forces the waiting room, and with a waiting
  room nobody gets in before the host: so every meeting gets a passcode of ours, made to the strictest rules; if the
  account's rules refuse it, one of Zoom's. What was forced is read from the answer and told.
- Each host is allowed 100 creates and changes a day, and the refusal names no time: it is 00:00 UTC.
- `start_url` holds the host's rights. It is read at the click and kept nowhere.
- Apps of one person may only say `me`; apps of an account must name a user, and Server-to-Server ones cannot say `me`.

What is ours in a meeting that stands: its topic, time, length, time zone, and the options the office has chosen. All
else stays as the host left it, and nothing is sent when all of ours is as it should be.

Sources: Zoom's OpenAPI documents of the Meetings API; developers.zoom.us, "OAuth", "Rate limits", "Error messages".
"""

import re
import secrets
import string
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from providers.base import (
    Budget,
    Capabilities,
    Meeting,
    MeetingNotFound,
    MeetingSpec,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ProviderInfo,
    Role,
)
from providers.http import Answer, Http
from providers.listing import ListedPage
from providers.zoom_account import API_URL, BASIC, BASIC_MINUTES, OAUTH, ZoomOptions, ZoomSettings
from providers.zoom_answers import PasscodeRefused, ScopeMissing, explain
from providers.zoom_entrance import FORCED, entrance_of
from providers.zoom_listing import PAGE_SIZE, SCHEDULED, is_link, listed, marked, marker, moment, number
from providers.zoom_troubles import TROUBLES
from providers.zoom_webhook import notice

MAX_TOPIC = 200
MAX_MINUTES = 1440
HOSTS = (1, 2)  # Basic and Licensed: all other users are assigned no meetings
DAY = 86_400
ID_LIFETIME = 30 * DAY
"""Seconds after its time for which Zoom remembers a meeting."""
SAME_MINUTE = 60
"""Times that are closer than this many seconds are the same: Zoom shows and counts minutes."""
SOON = 60
"""Seconds that "as soon as can be" is away at least: Zoom's clock may be ahead of ours."""


class Zoom:
    """One connected Zoom account."""

    def __init__(self, settings: ZoomSettings, http: Http, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._http = http.at(
            settings.api_url or http.base_url or API_URL, explain=lambda answer: explain(answer, clock())
        )

    @property
    def capabilities(self) -> Capabilities:
        """A host must be named unless the connection is one person's."""
        return Capabilities(
            keeps_link=True,
            enforces_teardown=True,
            enforces_window=False,
            mints_link=False,
            idempotent_create=False,
            needs_host=self._settings.names_hosts,
            max_duration=MAX_MINUTES * 60,
            opens_early=True,
            one_at_a_time=True,
            budget=Budget(per_host=100, reserve=20),
            opens_in="app_or_browser",
            guests_wait=False,
            guests_log_in=False,
        )

    def promises(self, spec: MeetingSpec, meeting: Meeting | None) -> Capabilities:
        """The same with what the office's options mean for guests."""
        wanted = _options(spec).settings()
        waits, logs_in = not wanted["join_before_host"], wanted["meeting_authentication"]
        return replace(self.capabilities, guests_wait=waits, guests_log_in=logs_in)

    async def create(self, spec: MeetingSpec) -> Meeting:
        """POST it with a passcode of ours, or without when the account's rules refuse ours."""
        path = f"{self._of_host(spec.host)}/meetings"
        warnings = await self._foreseen(spec)
        fields = _new(spec)
        try:
            answer = await self._http.send("POST", path, json={**fields, "password": _passcode()})
        except PasscodeRefused:
            answer = await self._http.send("POST", path, json=fields)
        try:
            return self._meeting(answer, [*warnings, *_forced(answer.object(), _options(spec).settings())])
        except PermanentError:
            made = str(number(answer, answer.object()))
            if not self._is_personal(made, answer.object()):  # by that id another meeting of the host may be meant
                with suppress(ProviderError):  # it carries our marker; the refusal is told whether or not it goes
                    await self.delete(Meeting(made, ""))
            raise

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        """GET it, PATCH what of ours is not as it should be, and GET it again to see what Zoom did."""
        path = _path(meeting)
        warnings = await self._foreseen(spec)
        answer = await self._http.send("GET", path)
        start = _start(answer.object(), spec, self._clock())
        if changes := _changes(answer.object(), spec, start):
            await self._http.send("PATCH", path, json=changes)
            answer = await self._read_again(path)
        stands = answer.object()
        if not _is_once(stands):
            warnings.append(
                "The host made it a recurring meeting in Zoom: it keeps its times there, and its link works."
            )
        elif not _is_at(stands, spec.start if start is None else start):
            if start is not None:
                raise OutcomeUnknown("Zoom said that it moved the meeting and did not.")
            warnings.append("Zoom moves no meeting into the past: it stays where it was, and its link works.")
        return self._meeting(answer, [*warnings, *_forced(stands, _options(spec).chosen())])

    async def delete(self, meeting: Meeting) -> None:
        """DELETE it without a mail to anybody; one that is gone or has ended is a success."""
        silent = {"schedule_for_reminder": "false", "cancel_meeting_reminder": "false"}
        try:
            await self._http.send("DELETE", _path(meeting), params=silent)
        except MeetingNotFound:
            return

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        """Look for the marker around the day it was made for, then in all of the host's meetings: it may have moved."""
        for days in (_days(spec.start, self._clock()), {}):
            id_ = await marked(self._http, f"{self._of_host(spec.host)}/meetings", spec, days)
            if id_ is None:
                continue
            try:
                return self._meeting(await self._http.send("GET", f"/meetings/{id_}"), [])
            except MeetingNotFound:
                return None
        return None

    async def upcoming(self, host: str | None, owner: str, since: int, page: str | None) -> ListedPage:
        """GET one page of all that the host has; where hosts must be named, nobody has none."""
        if host is None and self._settings.names_hosts:
            return ListedPage(())
        path = f"{self._of_host(host)}/meetings"
        return await listed(self._http, path, host, since, page, self._settings.pmi)

    async def probe(self) -> str:
        """GET who we are. A Server-to-Server app is nobody, so it lists one user; lacking that scope is no failure."""
        if self._settings.method == "oauth":
            await self._http.send("GET", "/users/me")
            return f"Zoom answers for {self._settings.account}."
        try:
            await self._http.send("GET", "/users", params={"page_size": 1})
        except ScopeMissing:
            return "Zoom takes our credentials; it does not let us see the account's users."
        return f"Zoom answers for the account {self._settings.account}."

    async def people(self) -> Sequence[str]:
        """GET the account's first active users; one person's account has nobody else to choose."""
        if not self._settings.names_hosts:
            return ()
        try:
            answer = await self._http.send("GET", "/users", params={"status": "active", "page_size": PAGE_SIZE})
        except ScopeMissing:
            return ()
        users = answer.object().get("users")
        if not isinstance(users, list):
            raise answer.unusable("holds no list of users")
        hosts = (each for each in users if isinstance(each, dict) and each.get("type") in HOSTS)
        return sorted({str(each["email"]) for each in hosts if each.get("email")})

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        """The guests' link; hosts have `host_url`."""
        return meeting.join_url

    async def host_url(self, meeting: Meeting) -> str:
        """GET the meeting for its `start_url`, which is the host's for two hours."""
        answer = await self._http.send("GET", _path(meeting))
        start_url = answer.object().get("start_url")
        if not is_link(start_url):
            raise answer.unusable("holds no start_url")
        return str(start_url)

    def _of_host(self, host: str | None) -> str:
        if not self._settings.names_hosts:
            return "/users/me"
        if host is None:
            text = "No Zoom user is chosen as host: name one of the account, by e-mail, for the resource or the office."
            raise PermanentError(text, "admin")
        if host.strip(".") in ("", "me") or re.search(r"[\s/?#\\]", host):
            raise PermanentError(f"{host!r} is no Zoom user: name one of the account by e-mail.", "admin")
        return f"/users/{quote(host, safe='@')}"

    async def _foreseen(self, spec: MeetingSpec) -> list[str]:
        """What will not be as the booking says, known beforehand."""
        warnings, own = [], (self._settings.email or "", self._settings.user_id or "")
        if not self._settings.names_hosts and spec.host and spec.host.lower() not in map(str.lower, own):
            warnings.append("This connection is one person's, who hosts it instead of the chosen host.")
        if spec.duration > MAX_MINUTES * 60:
            warnings.append("Zoom's meetings end after 24 hours at the latest.")
        if _minutes(spec) > BASIC_MINUTES and await self._is_basic(spec):
            warnings.append(f"The host has a Basic account: Zoom ends the meeting after {BASIC_MINUTES} minutes.")
        return warnings

    async def _is_basic(self, spec: MeetingSpec) -> bool:
        try:
            user = (await self._http.send("GET", self._of_host(spec.host))).object()
        except ProviderError:
            return False  # a warning is worth no meeting; what is wrong, the call that counts will say
        return bool(user.get("type") == BASIC)

    def _meeting(self, answer: Answer, warnings: list[str]) -> Meeting:
        fields = answer.object()
        id_, join_url = str(number(answer, fields)), fields.get("join_url")
        if not is_link(join_url):
            raise answer.unusable("holds no join_url")
        if _settings(fields).get("use_pmi") or self._is_personal(id_, fields):
            text = "Zoom gave the meeting the host's personal meeting id, so that all bookings would meet in one room."
            raise PermanentError(f"{text} Turn that off in the host's settings and remove the meeting there.", "admin")
        if fields.get("password") and "pwd=" not in str(join_url):
            warnings = [*warnings, "The Zoom account leaves the passcode out of links, so guests are asked for it."]
        host = fields.get("host_email") or fields.get("host_id")
        return Meeting(id_, str(join_url), str(host) if host else None, tuple(warnings), entrance_of(id_, fields))

    def _is_personal(self, id_: str, fields: Mapping[str, Any]) -> bool:
        return id_ in (str(fields.get("pmi", "")), self._settings.pmi)

    async def _read_again(self, path: str) -> Answer:
        try:
            return await self._http.send("GET", path)
        except MeetingNotFound:
            raise
        except ProviderError as error:
            # The change was made, so the caller must not believe that nothing happened.
            raise OutcomeUnknown(f"The meeting was changed and cannot be read again: {error.text}") from None


def _options(spec: MeetingSpec) -> ZoomOptions:
    return ZoomOptions.model_validate(dict(spec.options))


def _new(spec: MeetingSpec) -> dict[str, Any]:
    """A create's fields but for the passcode."""
    silent = {"email_notification": False, "alternative_hosts_email_notification": False}
    return {
        **_fields(spec),
        "type": SCHEDULED,
        "agenda": marker(spec),
        "settings": {**_options(spec).settings(), **silent, "use_pmi": False, "approval_type": 2},
    }


def _fields(spec: MeetingSpec) -> dict[str, Any]:
    return {
        "topic": _topic(spec.title),
        "start_time": _stamp(spec.start),
        "timezone": spec.time_zone,
        "duration": _minutes(spec),
    }


def _stamp(start: int) -> str:
    return f"{datetime.fromtimestamp(start, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _minutes(spec: MeetingSpec) -> int:
    return min(max(-(-spec.duration // 60), 1), MAX_MINUTES)


def _topic(title: str) -> str:
    """As much of it as fits, however Zoom counts: in UTF-16 the 200 are fewest. No character is cut in two."""
    return title.encode("utf-16-le")[: 2 * MAX_TOPIC].decode("utf-16-le", "ignore").strip()


def _passcode() -> str:
    """Ten characters that please every rule that allows letters: all four kinds, no two alike in a row."""
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "@-_*")
    order = [0, 1, 2, 3, 0, 1, 2, 0, 1, 2]
    return "".join(secrets.choice(kinds[kind]) for kind in order)


def _start(stands: Mapping[str, Any], spec: MeetingSpec, now: float) -> int | None:
    """The start that Zoom can give a meeting, None for none: one in the past it would ignore.

    A booking that has begun and is not over begins as soon as can be, or its guests would stand outside.
    """
    if spec.start > now:
        return spec.start
    soon, at = int(-(-(now + SOON) // 60) * 60), moment(stands.get("start_time"))
    return soon if spec.end > now and at is not None and at > soon else None


def _changes(stands: Mapping[str, Any], spec: MeetingSpec, start: int | None) -> dict[str, Any]:
    """What of ours a meeting has otherwise."""
    wanted, chosen = _fields(spec), _options(spec).chosen()
    names = ("topic", "duration") if _is_once(stands) else ("topic",)
    changes = {name: wanted[name] for name in names if stands.get(name) != wanted[name]}
    if _is_once(stands) and start is not None and not _is_at(stands, start):
        changes |= {"start_time": _stamp(start), "timezone": spec.time_zone}
    if not _is_same_zone(stands.get("timezone"), spec):
        changes["timezone"] = spec.time_zone
    known = _settings(stands)
    settings = {name: value for name, value in chosen.items() if not _is_same(name, known.get(name), value)}
    if "alternative_hosts" in settings:
        settings["alternative_hosts_email_notification"] = False
    return {**changes, "settings": settings} if settings else changes


def _is_once(stands: Mapping[str, Any]) -> bool:
    """It is a scheduled meeting still; its host can make it a recurring one, which has no time of ours."""
    return bool(stands.get("type", SCHEDULED) == SCHEDULED)


def _is_at(stands: Mapping[str, Any], start: int) -> bool:
    at = moment(stands.get("start_time"))
    return at is not None and abs(at - start) < SAME_MINUTE


def _is_same_zone(name: Any, spec: MeetingSpec) -> bool:
    """Two names are the same zone when clocks there show the same at the start; Zoom may use another name."""
    try:
        shown = datetime.fromtimestamp(spec.start, ZoneInfo(str(name))).utcoffset()
    except (ValueError, OSError, KeyError):
        return False
    return shown == datetime.fromtimestamp(spec.start, ZoneInfo(spec.time_zone)).utcoffset()


def _is_same(name: str, known: Any, wanted: Any) -> bool:
    if name == "alternative_hosts":
        return set(re.split("[;,]", str(known or "").lower())) == set(wanted.lower().split(";"))
    return bool(known == wanted)


def _settings(stands: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = stands.get("settings")
    return settings if isinstance(settings, dict) else {}


def _forced(stands: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What the account's own settings made of ours; a setting the answer does not name is believed."""
    known = _settings(stands)
    other = {name: known[name] for name, value in wanted.items() if not _is_same(name, known.get(name, value), value)}
    if other.get("waiting_room"):
        other.pop("join_before_host", None)  # it follows, and one sentence is enough
    return [
        f"The Zoom account decides otherwise: {FORCED.get((name, value), f'`{name}` is {value}')}."
        for name, value in other.items()
    ]


def _days(start: int, now: float) -> dict[str, str]:
    """The UTC days in which a meeting for `start` can be: its own, or when it was made if that was in the past."""
    first, last = max(start, now - ID_LIFETIME), max(start, now)
    return {
        "from": f"{datetime.fromtimestamp(first - DAY, UTC):%Y-%m-%d}",
        "to": f"{datetime.fromtimestamp(last + DAY, UTC):%Y-%m-%d}",
        "timezone": "UTC",
    }


def _path(meeting: Meeting) -> str:
    return f"/meetings/{quote(meeting.id, safe='')}"


PROVIDER = ProviderInfo(
    name="zoom",
    title="Zoom",
    settings=ZoomSettings,
    options=ZoomOptions,
    connect=Zoom,
    asks=("account_id", "client_id", "client_secret"),
    oauth=OAUTH,
    notice=notice,
    app="Zoom",
    troubles=TROUBLES,
)
