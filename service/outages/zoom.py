"""A small Zoom on loopback that can fail: it knows what the Zoom adapter asks of it, and no more.

It stands in for zoom.us and api.zoom.us. Answers have Zoom's shapes, its limits are lower, and each account can be
unreachable, revoked or out of its day's calls by itself, so that several outages are played at once.

Sources: developers.zoom.us, "Using OAuth 2.0", "Meetings API", "Rate limits", as the adapter has them.
"""

import base64
import json
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

CLIENT_ID: Final = "rehearsal-app"
SCOPES: Final = (
    "meeting:write:meeting meeting:update:meeting meeting:delete:meeting meeting:read:meeting "
    "meeting:read:list_meetings user:read:user"
)
_LIFE = 3599
_SPENT = (
    "You have exceeded the daily rate limit (100) of Meeting Create/Update API requests permitted for this "
    "particular user. You may resume these requests at GMT 00:00:00."
)


@dataclass
class Zoom:
    """All that it knows. `down`: accounts whose calls are cut off; `spent`: those with nothing left of their day."""

    url: str = ""
    client_secret: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    down: set[str] = field(default_factory=set)
    loses: set[str] = field(default_factory=set)
    """Accounts whose next create is carried out and not answered."""
    spent: set[str] = field(default_factory=set)
    meetings: dict[int, dict[str, Any]] = field(default_factory=dict)
    made: Counter[str] = field(default_factory=Counter)
    """Meetings made by account, those that were removed again too."""
    refused: Counter[str] = field(default_factory=Counter)
    """Calls that were cut off or refused, by account."""
    _codes: dict[str, str] = field(default_factory=dict, repr=False)
    _tokens: dict[str, str] = field(default_factory=dict, repr=False)
    _refreshes: dict[str, str] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def of(self, account: str) -> list[dict[str, Any]]:
        """The meetings of an account that stand now."""
        with self._lock:
            return [meeting for meeting in self.meetings.values() if meeting["host_email"] == account]

    def agree(self, url: str, account: str) -> str:
        """A person agrees on the page at `url`; answers where the browser is sent."""
        query = dict(parse_qsl(urlsplit(url).query))
        code = secrets.token_urlsafe(16)
        with self._lock:
            self._codes[code] = account
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def revoke(self, account: str) -> None:
        """The person takes the app's access back."""
        with self._lock:
            for known in (self._tokens, self._refreshes):
                for token in [token for token, whose in known.items() if whose == account]:
                    del known[token]

    def token(self, form: dict[str, str]) -> tuple[int, Any]:
        """The token endpoint: a code or a refresh token for a new pair."""
        with self._lock:
            given = {"authorization_code": ("code", self._codes), "refresh_token": ("refresh_token", self._refreshes)}
            name, known = given.get(form.get("grant_type", ""), ("", {}))
            account = known.pop(form.get(name, ""), None)
            if account is None:
                return 400, {"reason": "Invalid Token!", "error": "invalid_grant"}
            access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
            self._tokens[access] = self._refreshes[refresh] = account
        answer = {"access_token": access, "refresh_token": refresh, "token_type": "bearer", "expires_in": _LIFE}
        return 200, {**answer, "scope": SCOPES, "api_url": self.url}

    def whose(self, authorization: str) -> str | None:
        """The account that an access token is for."""
        with self._lock:
            return self._tokens.get(authorization.removeprefix("Bearer "))

    def call(self, method: str, parts: list[str], account: str, body: dict[str, Any]) -> tuple[int, Any]:
        """One call of the API: its status and body."""
        match method, parts:
            case "GET", ["users", "me"]:
                return 200, {"id": f"id-{account}", "email": account, "type": 2, "account_id": "rehearsal"}
            case "POST", ["users", "me", "meetings"]:
                return self._create(account, body)
            case "GET", ["users", "me", "meetings"]:
                return 200, {"meetings": self.of(account), "next_page_token": ""}
            case _, ["meetings", number] if number.isdigit():
                return self._meeting(method, int(number), account, body)
        return 404, {"code": 404, "message": "There is nothing here."}

    def _create(self, account: str, body: dict[str, Any]) -> tuple[int, Any]:
        if account in self.spent:
            return 429, {"code": 429, "message": _SPENT}
        with self._lock:
            number = 80_000_000_000 + secrets.randbelow(10**9)
            join_url = f"{self.url}/j/{number}?pwd={secrets.token_hex(8)}"
            settings = dict(body.get("settings", {}))
            given = {name: body.get(name) for name in ("topic", "type", "start_time", "duration", "timezone", "agenda")}
            fixed = {"id": number, "host_email": account, "join_url": join_url, "settings": settings}
            self.meetings[number] = {**given, **fixed, "password": body.get("password", "")}
            self.made[account] += 1
            return 201, self.meetings[number]

    def _meeting(self, method: str, number: int, account: str, body: dict[str, Any]) -> tuple[int, Any]:
        with self._lock:
            meeting = self.meetings.get(number)
            if meeting is None or meeting["host_email"] != account:
                return 404, {"code": 3001, "message": "Meeting does not exist."}
            if method == "DELETE":
                del self.meetings[number]
                return 204, None
            if method == "PATCH":
                if account in self.spent:
                    return 429, {"code": 429, "message": _SPENT}
                meeting["settings"] |= body.pop("settings", {})
                meeting |= body
                return 204, None
            return 200, meeting


def starts_at(meeting: dict[str, Any]) -> int:
    """When a meeting starts, UTC unix seconds."""
    return int(datetime.fromisoformat(meeting["start_time"]).astimezone(UTC).timestamp())


class _Handler(BaseHTTPRequestHandler):
    """HTTP around `Zoom.call`; the server has the `zoom`."""

    protocol_version = "HTTP/1.1"
    zoom: Zoom

    def do_GET(self) -> None:
        """Meetings, who an account is, and the meeting itself for people."""
        self._serve()

    def do_POST(self) -> None:
        """Tokens, new meetings."""
        self._serve()

    def do_PATCH(self) -> None:
        """Changes of meetings."""
        self._serve()

    def do_DELETE(self) -> None:
        """Removals of meetings."""
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        raw, url = self.rfile.read(length), urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if parts[0] == "oauth":
            self._answer(*self._oauth(parts[-1], raw))
        elif parts[0] == "j" and parts[-1].isdigit():
            meeting = self.zoom.meetings.get(int(parts[-1]))
            right = meeting is not None and parse_qs(url.query).get("pwd", [""])[0] in meeting["join_url"]
            self._answer(200 if right else 404, {"in": right})
        else:
            self._api(parts[1:], json.loads(raw) if raw else {})

    def _oauth(self, what: str, raw: bytes) -> tuple[int, Any]:
        if what == "revoke":
            return 200, {"status": "success"}
        expected = base64.b64encode(f"{CLIENT_ID}:{self.zoom.client_secret}".encode()).decode()
        if not secrets.compare_digest(self.headers.get("authorization", ""), f"Basic {expected}"):
            return 401, {"reason": "Invalid client_id or client_secret", "error": "invalid_client"}
        return self.zoom.token(dict(parse_qsl(raw.decode())))

    def _api(self, parts: list[str], body: dict[str, Any]) -> None:
        zoom, account = self.zoom, self.zoom.whose(self.headers.get("authorization", ""))
        if account is None:
            self._answer(401, {"code": 124, "message": "Invalid access token."})
            return
        if account in zoom.down:
            zoom.refused[account] += 1
            self._hang_up()
            return
        status, answer = zoom.call(self.command, parts, account, body)
        if status == 201 and account in zoom.loses:
            zoom.loses.discard(account)
            zoom.refused[account] += 1
            self._hang_up()
            return
        zoom.refused[account] += status == 429
        self._answer(status, answer)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, answer: Any) -> None:
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def listening(zoom: Zoom) -> Iterator[Zoom]:
    """`zoom` on a free loopback port, until left."""
    handler = type("Handler", (_Handler,), {"zoom": zoom})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        zoom.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="zoom", daemon=True)
        thread.start()
        try:
            yield zoom
        finally:
            server.shutdown()
            thread.join()
