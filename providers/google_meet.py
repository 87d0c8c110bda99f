"""Google Meet: rooms of their own, or entries in a calendar that have one.

The two kinds, as an office's option `mode` says:

- `space`: a room that is made in one call and never moves, since it knows no time. Nothing is in the host's calendar.
- `calendar`: an entry in the host's calendar that moves with its booking, and a room that comes a moment later. Guests
  ask to be let in, unless the account allows this service to open such rooms.

A meeting keeps its kind for its life, whatever its office chooses afterwards: its id says which it is.

A connection is one person's, who hosts everything, or a service account that acts for the host of each booking.

Sources: those of `google_space.py`, `google_calendar.py` and `google_account.py`.
"""

from collections.abc import Sequence
from dataclasses import replace

from providers.base import (
    Budget,
    Capabilities,
    Delegation,
    Entrance,
    Meeting,
    MeetingSpec,
    PermanentError,
    ProviderError,
    ProviderInfo,
    Role,
)
from providers.google_account import EVENTS, OAUTH, ROOMS, SPACES, GoogleOptions, GoogleSettings, Mode
from providers.google_answers import explain
from providers.google_calendar import PAUSES, Calendar, code_of
from providers.google_space import CREATES_A_MINUTE, MINUTE, OPEN, Spaces
from providers.google_troubles import TROUBLES
from providers.http import Http
from providers.listing import ListedPage

MEET_URL = "https://meet.googleapis.com/v2"
CALENDAR_URL = "https://www.googleapis.com/calendar/v3"


class GoogleMeet:
    """One connected Google account, or a service account."""

    def __init__(self, settings: GoogleSettings, http: Http, pauses: Sequence[float] = PAUSES) -> None:
        self._settings = settings
        self._pauses = pauses
        self._meet = http.at(http.address("meet", MEET_URL), explain=explain)
        self._calendar = http.at(http.address("calendar", CALENDAR_URL), explain=explain)

    @property
    def capabilities(self) -> Capabilities:
        """Those of the kind that offices get which choose none."""
        return self._promised(self._settings.makes)

    def promises(self, spec: MeetingSpec, meeting: Meeting | None) -> Capabilities:
        """Those of the meeting's kind, and whether the office's access has guests ask to be let in."""
        promised = self._promised(_kind(meeting) if meeting else self._mode(spec))
        return promised if _options(spec).access == OPEN else replace(promised, guests_wait=True)

    async def create(self, spec: MeetingSpec) -> Meeting:
        """Make the kind that the office chose."""
        host, access = self._host(spec.host), _options(spec).access
        if self._mode(spec) == "space":
            made = await self._spaces(host).create(access, host)
        else:
            made = await self._opened(await self._entries(host).create(spec, host), access)
        return self._told(made, spec)

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        """Change what the meeting's kind has of the booking."""
        host, access = self._host(meeting.host), _options(spec).access
        if _kind(meeting) == "space":
            after = await self._spaces(host).update(meeting, access)
        else:
            after = await self._opened(await self._entries(host).update(meeting, spec), access)
        return self._told(after, spec)

    async def delete(self, meeting: Meeting) -> None:
        """Close a room of its own; remove a calendar entry, and close its room where that is allowed."""
        host = self._host(meeting.host)
        if _kind(meeting) == "space":
            await self._spaces(host).close(meeting.id)
            return
        await self._entries(host).delete(meeting)
        if self._settings.opens_rooms:
            await self._spaces(host, ROOMS).shut(code_of(meeting.join_url))

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        """Look for the calendar entry; a room that nobody was told of cannot be found."""
        if self._mode(spec) == "space":
            return None
        host = self._host(spec.host)
        return await self._entries(host).find(spec, host)

    async def upcoming(self, host: str | None, owner: str, since: int, page: str | None) -> ListedPage:
        """List calendar entries; rooms of their own cannot be listed, and hold nothing that could be out of step."""
        robot = self._settings.method == "service_account"
        if not self._settings.may(EVENTS) or (robot and self._settings.makes == "space"):
            return ListedPage((), complete=False)  # nobody knows whether entries may be read
        whose = self._host(host)
        return await self._entries(whose).upcoming(whose, owner, since, page)

    async def probe(self) -> str:
        """Ask the cheapest question of the API that is used."""
        host = self._host(None)
        if self._settings.makes == "space":
            await self._spaces(host).probe()
        else:
            await self._entries(host).probe()
        return f"Google answers for {host or self._settings.account}."

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        """The room's link; the host is host by being logged in to Google."""
        return meeting.join_url

    def _promised(self, mode: Mode) -> Capabilities:
        space = mode == "space"
        return Capabilities(
            keeps_link=True,
            enforces_teardown=space or self._settings.opens_rooms,
            enforces_window=False,
            mints_link=False,
            idempotent_create=not space,
            needs_host=self._settings.method == "service_account",
            budget=Budget(CREATES_A_MINUTE, seconds=MINUTE, verbs=("create",)) if space else None,
            burns_keys=not space,
            finds=not space,
            opens_in="app_or_browser",
            guests_wait=not (space or self._settings.opens_rooms),
            guests_log_in=False,  # who has no account asks to be let in
        )

    def _mode(self, spec: MeetingSpec) -> Mode:
        return _options(spec).mode or self._settings.makes

    def _host(self, named: str | None) -> str | None:
        """Whose meeting it is: the one person's, or of whom the service account acts for."""
        if self._settings.method != "service_account":
            return self._settings.email
        return named or self._settings.subject

    def _spaces(self, host: str | None, scope: str = SPACES) -> Spaces:
        return Spaces(self._client(self._meet, host, scope))

    def _entries(self, host: str | None) -> Calendar:
        return Calendar(self._client(self._calendar, host, EVENTS), self._pauses)

    def _client(self, http: Http, host: str | None, scope: str) -> Http:
        if not self._settings.may(scope):
            what = "rooms" if scope == SPACES else "calendar entries"
            text = f"The account was not connected for {what}: connect it again for them, and leave every box ticked."
            raise PermanentError(text, "admin")
        if self._settings.method != "service_account":
            return http
        if host is None or "@" not in host:
            raise PermanentError("A host must be a person of the Workspace, by e-mail.", "admin")
        return http.on_behalf_of(Delegation(host, (scope,)))

    async def _opened(self, meeting: Meeting, access: str) -> Meeting:
        """Let guests into a calendar entry's room, where that is allowed; the meeting stands in any case."""
        if not self._settings.opens_rooms:
            return meeting
        try:
            warnings = await self._spaces(meeting.host, ROOMS).admit(code_of(meeting.join_url), access)
        except ProviderError as error:
            warnings = (f"It could not be said who gets into the room, so guests ask to be let in: {error.text}",)
        entrance = replace(meeting.entrance or Entrance(), guests_wait=access != OPEN or bool(warnings))
        return replace(meeting, warnings=warnings, entrance=entrance)

    def _told(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        """The meeting with a word for who expects another host."""
        own = (self._settings.email or "", self._settings.user_id or "")
        if self._settings.method == "service_account" or not spec.host or spec.host.lower() in map(str.lower, own):
            return meeting
        text = "This connection is one person's, who hosts it instead of the chosen host."
        return replace(meeting, warnings=(text, *meeting.warnings))


def _options(spec: MeetingSpec) -> GoogleOptions:
    return GoogleOptions.model_validate(dict(spec.options))


def _kind(meeting: Meeting) -> Mode:
    return "space" if meeting.id.startswith("spaces/") else "calendar"


PROVIDER = ProviderInfo(
    name="google_meet",
    title="Google Meet",
    settings=GoogleSettings,
    options=GoogleOptions,
    connect=GoogleMeet,
    asks=("key", "subject"),
    asks_more=("mode",),
    oauth=OAUTH,
    app="Google Meet",
    troubles=TROUBLES,
)
