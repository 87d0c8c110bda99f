"""A booking as a calendar knows it: the file behind `/m/{token}.ics` (RFC 5545), and links that fill in one entry."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

_OCTETS = 75  # RFC 5545, 3.1: a line is no longer, its end not counted
_ESCAPES = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n", "\r": None})
_GOOGLE = "https://calendar.google.com/calendar/render"
_OUTLOOK = "https://outlook.live.com/calendar/0/deeplink/compose"


@dataclass(frozen=True, slots=True)
class Appointment:
    """What a calendar is told; it carries nothing but the office's name and the booking's own link.

    Times are unix seconds. `sequence` rises whenever something changes, so that calendars take the newer file.
    """

    token: str
    url: str
    title: str
    text: str
    start: int
    duration: int
    sequence: int
    cancelled: bool
    now: int

    @property
    def uid(self) -> str:
        """The same for the life of the booking; it does not give the link away."""
        return _uid(self.token)

    def file(self) -> str:
        """The calendar file."""
        lines = [
            f"UID:{self.uid}",
            f"SEQUENCE:{self.sequence}",
            f"DTSTAMP:{_utc(self.now)}",
            f"DTSTART:{_utc(self.start)}",
            f"DTEND:{_utc(self.start + self.duration)}",
            f"SUMMARY:{self.title.translate(_ESCAPES)}",
            f"STATUS:{'CANCELLED' if self.cancelled else 'CONFIRMED'}",
        ]
        if not self.cancelled:
            lines += [
                f"DESCRIPTION:{self.text.translate(_ESCAPES)}",
                f"LOCATION:{self.url.translate(_ESCAPES)}",
                f"URL:{self.url}",
            ]
        return _file("PUBLISH", lines)

    @property
    def google(self) -> str:
        """A page of Google's that offers the entry."""
        dates = f"{_utc(self.start)}/{_utc(self.start + self.duration)}"
        fields = {"text": self.title, "dates": dates, "details": self.text, "location": self.url}
        return f"{_GOOGLE}?{urlencode({'action': 'TEMPLATE', **fields})}"

    @property
    def outlook(self) -> str:
        """A page of Outlook's that offers the entry."""
        times = {"startdt": _iso(self.start), "enddt": _iso(self.start + self.duration)}
        fields = {"subject": self.title, **times, "body": self.text, "location": self.url}
        return f"{_OUTLOOK}?{urlencode({'path': '/calendar/action/compose', 'rru': 'addevent', **fields})}"


def withdrawn(token: str, title: str, sequence: int, now: int) -> str:
    """The calendar file of a booking that was deleted, whose time nobody knows any more (RFC 5546, 3.2.5).

    A calendar that fetches the file again would keep what it has if it got an error: so it is told to take it off.
    Only CANCEL may be without a DTSTART.
    """
    lines = [
        f"UID:{_uid(token)}",
        f"SEQUENCE:{sequence}",
        f"DTSTAMP:{_utc(now)}",
        f"SUMMARY:{title.translate(_ESCAPES)}",
        "STATUS:CANCELLED",
    ]
    return _file("CANCEL", lines)


def _file(method: str, event: list[str]) -> str:
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//vello-meetings//EN", f"METHOD:{method}", "BEGIN:VEVENT"]
    lines = [*head, *event, "END:VEVENT", "END:VCALENDAR"]
    return "".join(f"{part}\r\n" for line in lines for part in _folded(line))


def _uid(token: str) -> str:
    return f"{hashlib.sha256(f'calendar:{token}'.encode()).hexdigest()[:32]}@vello-meetings"


def _utc(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _folded(line: str) -> Iterator[str]:
    """A line in pieces that are short enough, none of which ends within a character."""
    piece, octets = "", 0
    for character in line:
        size = len(character.encode())
        if octets + size > _OCTETS:
            yield piece
            piece, octets = " ", 1
        piece, octets = piece + character, octets + size
    yield piece
