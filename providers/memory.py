"""The reference provider: the meeting server in `memory_server`, for trying things out and as an example.

The vendor's laws:

- `(key, generation)` names one meeting for good. Creating it again answers the one there is, with status 200
  for 201; after it was deleted, with 409 and code "burnt".
- A meeting's link never changes while it lives, and opens nothing once it is deleted.
- An answer that is no success is JSON `{"code", "message"}`; without a code it is not the server that speaks.

Source: `providers/memory_server.py`.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, field_validator

from providers.base import (
    Capabilities,
    Meeting,
    MeetingNotFound,
    MeetingSpec,
    Options,
    PermanentError,
    ProviderError,
    ProviderInfo,
    ProviderSettings,
    Role,
    Trouble,
)
from providers.http import Answer, Http
from providers.listing import Listed, ListedPage

MAX_TITLE = 200
"""Longest title, in characters."""


class MemorySettings(ProviderSettings):
    """Where a reference server is and the token it wants."""

    url: str = Field(description="Address of the server, such as http://127.0.0.1:9009.")
    token: SecretStr | None = Field(default=None, description="What the server was started with as --token.")

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("url must be an http or https address without a user name.")
        if "?" in value or "#" in value:
            raise ValueError("url must hold no query or fragment.")
        return value.rstrip("/")

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else ""
        if not (text.isascii() and text.isprintable()):
            raise ValueError("token may hold only printable ASCII characters.")
        return value if text else None

    @property
    def method(self) -> str:
        """Always "token"."""
        return "token"

    @property
    def account(self) -> str:
        """The server's address."""
        return self.url

    def warnings(self) -> list[str]:
        """That nobody should meet here in earnest."""
        return ["The reference server forgets everything when it stops: use it for trials only."]


class Memory:
    """One reference server."""

    capabilities = Capabilities(
        keeps_link=True,
        enforces_teardown=True,
        enforces_window=False,
        mints_link=False,
        idempotent_create=True,
        needs_host=False,
        max_duration=31 * 86_400,
        opens_in="browser",
        guests_wait=False,
        guests_log_in=False,
    )

    def __init__(self, settings: MemorySettings, http: Http) -> None:
        self._http = http.at(settings.url, headers=_authorization(settings), explain=_explain)

    async def create(self, spec: MeetingSpec) -> Meeting:
        """POST it; not declared safe, so that callers see what a lost answer is like elsewhere."""
        key = {"key": spec.key, "generation": spec.generation, "owner": spec.owner}
        return _meeting(await self._http.send("POST", "/meetings", json={**key, **_fields(spec)}))

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        """PATCH all fields: the same values twice do what they do once."""
        return _meeting(await self._http.send("PATCH", _path(meeting), json=_fields(spec), safe=True))

    async def delete(self, meeting: Meeting) -> None:
        """DELETE it; gone already is a success."""
        try:
            await self._http.send("DELETE", _path(meeting))
        except MeetingNotFound:
            return

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        """GET the meetings with this key and generation; there is one at most."""
        answer = await self._http.send("GET", "/meetings", params={"key": spec.key, "generation": spec.generation})
        found = answer.object().get("meetings")
        if not isinstance(found, list):
            raise answer.unusable("holds no list of meetings")
        return _read(answer, found[0]) if found else None

    async def upcoming(self, host: str | None, owner: str, since: int, page: str | None) -> ListedPage:
        """GET one page of all meetings; on one account, whoever hosts them."""
        params: dict[str, str | int] = {"since": since} | ({"page": page} if page else {})
        answer = await self._http.send("GET", "/meetings", params=params)
        rows, following = answer.object().get("meetings"), answer.object().get("following")
        if not isinstance(rows, list):
            raise answer.unusable("holds no list of meetings")
        return ListedPage(tuple(_listed(answer, each) for each in rows), str(following) if following else None)

    async def probe(self) -> str:
        """GET what the server says of itself."""
        count = (await self._http.send("GET", "/")).object().get("meetings")
        return f"The reference server holds {count} meetings."

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        """The meeting's link: everybody has the same."""
        return meeting.join_url


def _authorization(settings: MemorySettings) -> Mapping[str, str]:
    return {"authorization": f"Bearer {settings.token.get_secret_value()}"} if settings.token else {}


def _fields(spec: MeetingSpec) -> dict[str, Any]:
    return {
        "title": spec.title[:MAX_TITLE],
        "start": spec.start,
        "duration": spec.duration,
        "time_zone": spec.time_zone,
        "host": spec.host,
    }


def _path(meeting: Meeting) -> str:
    return f"/meetings/{quote(meeting.id, safe='')}"


def _meeting(answer: Answer) -> Meeting:
    return _read(answer, answer.object())


def _read(answer: Answer, value: Any) -> Meeting:
    fields = value if isinstance(value, dict) else {}
    id_, join_url, host = fields.get("id"), fields.get("join_url"), fields.get("host")
    if not (id_ and isinstance(id_, str) and join_url and isinstance(join_url, str)):
        raise answer.unusable("is no meeting")
    return Meeting(id=id_, join_url=join_url, host=host if isinstance(host, str) else None)


def _listed(answer: Answer, fields: Any) -> Listed:
    meeting = _read(answer, fields)
    try:
        return Listed(
            meeting,
            key=str(fields["key"]),
            generation=int(fields["generation"]),
            owner=str(fields["owner"]),
            start=int(fields["start"]),
            duration=int(fields["duration"]),
            title=str(fields["title"]),
            made_at=float(fields["made_at"]),
        )
    except (KeyError, TypeError, ValueError):
        raise answer.unusable("is no meeting") from None


def _explain(answer: Answer) -> ProviderError | None:
    if answer.status not in (400, 404, 409):
        return None
    match answer.status, answer.object().get("code"):
        case 400, "invalid":
            return PermanentError("The reference server does not accept these fields.", "developer")
        case 404, "gone":
            return MeetingNotFound("The reference server has no such meeting.")
        case 409, "burnt":
            return PermanentError("This meeting was removed for good; it needs a new generation.", "developer")
    return None


TROUBLES = (
    Trouble(
        "memory_refuses_call",
        "developer",
        (
            "The reference server does not accept these fields.",
            "This meeting was removed for good; it needs a new generation.",
        ),
        "Tell the maker of this service what stands there.",
    ),
    Trouble(
        "memory_meeting_gone",
        "admin",
        ("The reference server has no such meeting.",),
        "Nothing is to be done: the reference server forgets everything when it stops, and a new meeting is made.",
    ),
)

PROVIDER = ProviderInfo(
    name="memory",
    title="Reference server",
    settings=MemorySettings,
    options=Options,
    connect=Memory,
    asks=(),
    troubles=TROUBLES,
)
