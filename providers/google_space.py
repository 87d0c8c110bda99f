"""Google Meet's own rooms (spaces), made through the Meet API.

The vendor's laws:

- A space has no time, no title and no key of a client's; it cannot be listed or removed. So a meeting that moves stays
  as it is, what a lost answer made is found by nobody, and a meeting that is removed is closed: nobody but its owner
  gets in, and whoever is in is sent out.
- Only its name, `spaces/…`, is good for ever; its code expires a year after its last use.
- An account may forbid rooms that everybody may enter. Then it gets the account's own kind, which is told.
- Each person is allowed ten new spaces a minute.

Sources: developers.google.com/workspace/meet/api/guides, "Meeting spaces", "Usage limits"; Meet's discovery document.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from providers.base import BudgetSpent, Entrance, Meeting, MeetingNotFound
from providers.google_answers import NotAllowed, TooMany
from providers.google_entrance import of_space
from providers.http import Answer, Http

MINUTE = 60
CREATES_A_MINUTE = 10
"""What Google allows one person."""
OPEN = "OPEN"
"""Everybody who has the link gets in without asking."""
CLOSED = "RESTRICTED"
"""Only people who were invited get in, and nobody is."""
FORCED = {
    "TRUSTED": "guests without an account of the Workspace must ask to be let in",
    "RESTRICTED": "only people who were invited get in without asking",
}
"""What it means for guests when an account's own rules win."""


class Spaces:
    """The spaces of one person."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def create(self, access: str, host: str | None) -> Meeting:
        """POST one, or one of the account's own kind where this access is not allowed."""
        try:
            try:
                answer = await self._http.send("POST", "/spaces", json=_config(access))
            except NotAllowed:
                answer = await self._http.send("POST", "/spaces", json={})
        except TooMany as error:
            raise BudgetSpent(error.text, error.retry_after or MINUTE, well=True) from None
        return _meeting(answer, host, access)

    async def update(self, meeting: Meeting, access: str) -> Meeting:
        """GET it, and PATCH who gets in if that is otherwise; there is nothing else to change."""
        answer = await self._http.send("GET", f"/{_name(meeting.id)}")
        return _meeting(await self._admitting(answer, access), meeting.host, access)

    async def close(self, name: str) -> None:
        """Let nobody in any more and send everybody out; one that is gone is closed."""
        try:
            await self._admit(_name(name), CLOSED)
            await self._http.send("POST", f"/{_name(name)}:endActiveConference", json={}, safe=True)
        except MeetingNotFound:
            return
        except NotAllowed:
            # With no conference there is nothing to end, and Google does not say how it answers that.
            if _access(await self._http.send("GET", f"/{_name(name)}")) != CLOSED:
                raise

    async def shut(self, code: str) -> None:
        """Let nobody into the room of a calendar's entry that was removed; one that is gone is closed."""
        try:
            await self._admit(_named(await self._http.send("GET", f"/spaces/{quote(code, safe='')}")), CLOSED)
        except MeetingNotFound:
            return

    async def admit(self, code: str, access: str) -> tuple[str, ...]:
        """Let people into a calendar entry's room, which has a code only; answers what is not as it should be."""
        answer = await self._http.send("GET", f"/spaces/{quote(code, safe='')}")
        return _forced(await self._admitting(answer, access), access)

    async def probe(self) -> None:
        """GET the records of conferences, one at most: a question that this scope is enough for."""
        await self._http.send("GET", "/conferenceRecords", params={"pageSize": 1})

    async def _admitting(self, answer: Answer, access: str) -> Answer:
        if _access(answer) == access:
            return answer
        try:
            return await self._admit(_named(answer), access)
        except NotAllowed:
            return answer

    async def _admit(self, name: str, access: str) -> Answer:
        mask = {"updateMask": "config.accessType"}
        return await self._http.send("PATCH", f"/{name}", json=_config(access), params=mask, safe=True)


def _config(access: str) -> dict[str, Any]:
    return {"config": {"accessType": access}}


def _meeting(answer: Answer, host: str | None, access: str) -> Meeting:
    link = answer.object().get("meetingUri")
    if not isinstance(link, str) or not re.match(r"https?://[^/]", link):
        raise answer.unusable("holds no link")
    numbers = of_space(answer.object().get("phoneAccess"))
    entrance = Entrance(dial_in=numbers, guests_wait=(_access(answer) or access) != OPEN)
    return Meeting(_named(answer), link, host, _forced(answer, access), entrance)


def _named(answer: Answer) -> str:
    name = answer.object().get("name")
    if not isinstance(name, str) or not re.fullmatch(r"spaces/[^/?#]+", name):
        raise answer.unusable("names no space")
    return name


def _name(id_: str) -> str:
    return quote(id_, safe="/")


def _access(answer: Answer) -> Any:
    config = answer.object().get("config")
    return config.get("accessType") if isinstance(config, Mapping) else None


def _forced(answer: Answer, access: str) -> tuple[str, ...]:
    """What the account's own rules made of the access; an answer that names none is believed."""
    now = _access(answer)
    if now in (None, access):
        return ()
    return (f"The Google account decides otherwise: {FORCED.get(now, f'the access is {now}')}.",)
