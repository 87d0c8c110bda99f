"""Who meets an outage: Vello, a customer behind a link, and an admin in a browser; each says what it was shown."""

import html
import http.client
import http.cookiejar
import json
import re
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from service.outages.zoom import Zoom
from service.throwaway import Throwaway
from service.trigger import NotSent, Sent, call, event, sample_record, send

SOON: Final = 600
"""Seconds until a booking begins: near enough for its page to lead into the meeting."""
_TIMEOUT: Final = 30.0
_STEP: Final = 0.2
_UNREAD: Final = (
    *("Start:", "Connections", "The office", "Add to your calendar", "You can open this page", "To the start"),
    *("It opens in", "If you are asked for a passcode"),
)
"""How sentences begin that tell nothing of an outage."""


class OutOfStep(Exception):
    """The rehearsal itself cannot go on: something was not there that every outage needs."""


def eventually(so: Callable[[], bool], seconds: float) -> bool:
    """Whether something came true within so many seconds."""
    until = time.monotonic() + seconds
    while not so():
        if time.monotonic() > until:
            return False
        time.sleep(_STEP)
    return True


class _Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at, not followed."""

    def redirect_request(self, *args: Any) -> None:
        """Follow none."""


class Browser:
    """One person's browser, in English."""

    def __init__(self, base: str) -> None:
        self._base = base
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar, _Stay())

    def get(self, path: str) -> tuple[int, str, str]:
        """A page: its status, where it leads, its text."""
        return self._sent(path, None)

    def post(self, path: str, **form: str) -> tuple[int, str, str]:
        """A form."""
        return self._sent(path, urlencode(form).encode())

    def _sent(self, path: str, body: bytes | None) -> tuple[int, str, str]:
        headers = {"Accept-Language": "en", "Sec-Fetch-Site": "same-origin"}
        url = path if path.startswith("http") else f"{self._base}{path}"
        try:
            request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own, on loopback
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                return answer.status, answer.headers.get("location", ""), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get("location", ""), error.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise OutOfStep(f"{path} was not answered: {error}") from None


class House:
    """The service that is rehearsed with, and everybody around it."""

    def __init__(self, service: Throwaway, zoom: Zoom) -> None:
        self.zoom = zoom
        self.service = service
        self.bookings: list[Booking] = []
        """Every booking that Vello told of."""
        self.admin = Browser(service.base)
        self.admin.post("/login", admin_token=service.admin_token, next="/")

    def office(self, account: str, **choice: Any) -> "Office":
        """An office that chose the Zoom account of this name, which is connected first."""
        connection = self.connect(account)
        office = Office(self, str(uuid.uuid4()), account, connection)
        office.choose(connection, **choice)
        return office

    def connect(self, account: str) -> str:
        """An admin connects an account in the browser; answers the connection's id."""
        asked = self.admin.get("/connect/zoom/start")[1]
        back = self.admin.get(self.zoom.agree(asked, account))[1]
        found = re.search(r"connected=(\w+)", back)
        if not found:
            raise OutOfStep(f"{account} could not be connected")
        return found[1]

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """A call to the API."""
        headers = {"Authorization": f"Bearer {self.service.admin_token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        url = f"{self.service.base}/api/v1{path}"
        answer = call(urllib.request.Request(url, data, headers, method=method))  # noqa: S310 - our own
        if answer.status >= 400:
            raise OutOfStep(f"{method} {path} answered {answer.status} {answer.body}")
        return answer.json()

    def say(self, type_: str, record: dict[str, Any]) -> Sent:
        """What Vello says, and what it is answered."""
        return send(f"{self.service.base}/webhooks/vello", self.service.webhook_token, event(type_, record))

    def settings(self, connection: str) -> str:
        """What the connection's page tells an admin."""
        status, _, page = self.admin.get(f"/connections/{connection}")
        return _read(page, 2) if status == 200 else f"({status}) {_read(page, 2)}"


class Office:
    """An office with an account of its own, and its bookings."""

    def __init__(self, house: House, id_: str, account: str, connection: str) -> None:
        self.house = house
        self.id = id_
        self.account = account
        self.connection = connection
        self.bookings: list[Booking] = []

    def choose(self, connection: str, **choice: Any) -> None:
        """Another connection from now on."""
        self.house.api("PUT", f"/offices/{self.id}", {"connection": connection, "name": "The office", **choice})

    def books(self) -> "Booking":
        """A customer books; Vello asks for the link at once."""
        booking = Booking(self)
        self.bookings.append(booking)
        booking.ask()
        return booking

    def settings(self) -> str:
        """What its connection's page tells an admin."""
        return self.house.settings(self.connection)

    def settled(self, seconds: float) -> bool:
        """Whether within so many seconds every booking of it is as it should be."""
        return eventually(lambda: all(booking.ready() for booking in self.bookings), seconds)


class Booking:
    """One booking: what Vello was told of it, and what its customer sees."""

    def __init__(self, office: Office) -> None:
        self._house = office.house
        fresh = {"office": office.id, "language": "en"}
        self.record: dict[str, Any] = {**sample_record(), **fresh}
        self.record["time"] = int(time.time()) + SOON
        self.links: list[str] = []
        self._house.bookings.append(self)
        self.slowest = 0.0

    @property
    def link(self) -> str:
        """What Vello holds."""
        if not self.links:
            raise OutOfStep("Vello was given no link")
        return self.links[-1]

    @property
    def told(self) -> str:
        """What Vello holds, for people."""
        return "the booking's page at this service" if self._hosted else "Zoom's own link"

    @property
    def _hosted(self) -> bool:
        return self.link.startswith(self._house.service.base)

    def ask(self) -> None:
        """Vello asks for the link."""
        answer = self.say("record.update_metadata")
        link = answer.json()["metadata"].get("video_link") if answer.status == 200 else None
        if link:
            self.links.append(link)
            self.record["metadata"] = {"video_link": link}

    def moves(self, seconds: int) -> Sent:
        """The customer moves it."""
        self.record["time"] += seconds
        return self._newer("record.updated")

    def cancels(self) -> Sent:
        """The customer cancels it."""
        self.record["canceled"] = True
        return self._newer("record.cancelled")

    def _newer(self, type_: str) -> Sent:
        self.record["version"] += 1
        return self.say(type_)

    def say(self, type_: str) -> Sent:
        """Vello says something of it."""
        began = time.monotonic()
        try:
            return self._house.say(type_, self.record)
        except NotSent as error:
            return Sent(0, str(error))
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)

    def shown(self) -> dict[str, Any]:
        """The booking as the API shows it."""
        return dict(self._house.api("GET", f"/records/{self.record['id']}"))

    def ready(self) -> bool:
        """It has its meeting, or none is wanted any more."""
        return self.shown()["state"] in ("ready", "gone")

    def page(self) -> str:
        """What the customer reads behind a hosted link."""
        if not self._hosted:
            return "(the link leads to Zoom itself)"
        return _read(Browser(self._house.service.base).get(self.link)[2], 8)

    def leads_in(self) -> bool:
        """Whether the link that the customer has leads into the meeting."""
        person, way = Browser(self._house.service.base), self.link
        if self._hosted:
            way = person.get(f"{self.link}/join")[1]
        return way.startswith(self._house.zoom.url) and person.get(way)[0] == 200


def _read(page: str, most: int) -> str:
    """A page's heading and its next sentences, as a person reads them, with the code of what is wrong."""
    main = page.partition("<main")[2] or page
    texts = re.findall(r"<(h1|p)\b[^>]*>(.*?)</\1>", re.sub(r'<a class="about".*?</a>', "", main), re.DOTALL)
    said = [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split()) for _, text in texts]
    wanted = [text for text in said if text and not text.startswith(_UNREAD)][:most]
    code = re.search(r'/errors#(\w+)"', main)
    return f"“{' | '.join(wanted)}”{f' ({code[1]})' if code else ''}"
