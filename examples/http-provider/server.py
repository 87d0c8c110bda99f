"""A whole provider for vello-meetings in one file of the standard library; it checks the signature of every call.

    VELLO_SECRET=whsec_... python3 server.py --port 9010

Its rooms are pages of its own and live in memory, so they are gone when it stops. Put your video system where
`self.rooms` is, and keep what it knows in a database.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CAPABILITIES = ["keeps_link", "enforces_teardown", "opens_in_browser"]
TOLERANCE = 300  # seconds a call may be old, or our clock wrong
MAX_BODY = 64 * 1024


class Refused(Exception):
    """The call is answered with a status and an error."""

    def __init__(self, status, code, message, who_can_fix="developer"):
        super().__init__(message)
        self.status = status
        self.error = {"code": code, "message": message, "who_can_fix": who_can_fix}


class Rooms(ThreadingHTTPServer):
    """The server and all it knows: rooms by id, and the id that each booking's key and generation were given."""

    daemon_threads = True

    def __init__(self, address, secret, url=None):
        super().__init__(address, Handler)
        self.url = url or f"http://127.0.0.1:{self.server_port}"
        self.key = base64.b64decode(secret.removeprefix("whsec_"))
        self.rooms, self.names, self.lock = {}, {}, threading.Lock()

    def verify(self, headers, body):
        """Refuse a call that was not signed with our secret, or not just now."""
        id_, sent, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
        digest = hmac.digest(self.key, f"{id_}.{sent}.".encode() + body, hashlib.sha256)
        ours = b"v1," + base64.b64encode(digest)
        if not any(hmac.compare_digest(ours, each.encode()) for each in signatures.split()):
            raise Refused(401, "bad_signature", "The signature is not ours.", "admin")
        if not sent.isdecimal() or abs(time.time() - int(sent)) > TOLERANCE:
            raise Refused(401, "bad_timestamp", "The call is too old, or a clock is wrong.", "operator")

    def perform(self, type_, data):
        """What a call asks, and the answer."""
        with self.lock:
            match type_:
                case "provider.probe":
                    return {"name": "Example rooms", "capabilities": CAPABILITIES, "max_duration": None}
                case "meeting.create":
                    return {"meeting": self.create(data)}
                case "meeting.find":
                    return {"meeting": self.rooms.get(self.names.get((data["key"], data["generation"])))}
                case "meeting.update":
                    if data["id"] not in self.rooms:
                        raise Refused(404, "meeting_not_found", "There is no such meeting.")
                    self.rooms[data["id"]] |= {"title": data["title"], "start": data["start"], "host": data["host"]}
                    return {"meeting": self.rooms[data["id"]]}
                case "meeting.delete":
                    self.rooms.pop(data["id"], None)
                    return {"meeting": None}
        raise Refused(400, "unknown_type", "This server does not know this type of call.")

    def create(self, data):
        """The room of this key and generation, a new one only if it has none."""
        name = data["key"], data["generation"]
        if self.names.get(name) not in self.rooms:
            id_ = self.names[name] = secrets.token_urlsafe(16)
            room = {"id": id_, "join_url": f"{self.url}/rooms/{id_}", "host": data["host"]}
            self.rooms[id_] = room | {"title": data["title"], "start": data["start"]}
        return self.rooms[self.names[name]]


class Handler(BaseHTTPRequestHandler):
    """Takes signed calls, and shows rooms to people."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """One signed call."""
        length = self.headers.get("content-length", "")
        try:
            if not length.isdecimal() or int(length) > MAX_BODY:
                self.close_connection = True
                raise Refused(413, "too_large", "The body has no length, or is too long.")
            body = self.rfile.read(int(length))
            self.server.verify(self.headers, body)
            call = json.loads(body)
            self.answer(200, self.server.perform(call["type"], call["data"]))
        except Refused as refused:
            self.answer(refused.status, {"error": refused.error})
        except (ValueError, LookupError, TypeError):
            self.answer(
                400, {"error": {"code": "invalid", "message": "The body is no call.", "who_can_fix": "developer"}}
            )

    def do_GET(self):
        """One room, for people."""
        there = self.path.removeprefix("/rooms/") in self.server.rooms
        self.answer(200 if there else 404, {"room": "You are in." if there else "There is no such meeting."})

    def answer(self, status, value):
        """Send a value as JSON."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        """Log nothing: paths hold links."""


def main():
    """Serve until stopped; the first line printed is the address to enter as `url`."""
    parser = argparse.ArgumentParser(description="An example of a provider.")
    parser.add_argument("--port", type=int, default=9010, help="0 takes a free one")
    parser.add_argument("--url", help="where people reach it, if not on this machine")
    arguments = parser.parse_args()
    server = Rooms(("127.0.0.1", arguments.port), os.environ["VELLO_SECRET"], arguments.url)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
