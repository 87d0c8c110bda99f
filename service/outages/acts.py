"""The outages: each is played against a running service and told as it went."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from service.embedded import socket_path
from service.gate import LONGEST_OPENING
from service.outages.people import Booking, House, Office, OutOfStep, eventually
from service.outages.story import Story
from service.outages.zoom import starts_at
from service.outcome import LONGEST_WAIT
from service.reconcile import SETTLING

DEADLINE: Final = 2.0
"""Seconds in which Vello is answered here, as ANSWER_DEADLINE is set."""
_LATE: Final = 8.0  # seconds beyond it that a busy machine may take
_REFUSED: Final = 15.0  # seconds after which Vello is told that the store is away
_OUTAGE: Final = 6.0  # seconds that an outage goes on after it was noticed
_WATCHED: Final = 3.0  # seconds in which it is counted how often Zoom is asked
_CURED: Final = SETTLING + 25.0  # seconds after which all must be well again
_HOUR: Final = 3600


def silence(house: House) -> Story:
    """Zoom answers nobody for an hour."""
    story = Story(
        "Zoom does not answer for an hour",
        "Played in seconds: every call of the account is cut off, and the answer to one create is lost after Zoom has "
        "carried it out. In a real hour the same happens with longer pauses: the account is tried at most "
        f"{LONGEST_OPENING:.0f} seconds after the last try, a single booking at most {LONGEST_WAIT / 60:.0f} minutes.",
    )
    office = house.office("anna@example.org")
    before, zoom = office.books(), house.zoom
    story.tell("Vello", f"asked for a link and was told {before.told}.")
    zoom.loses.add(office.account)
    lost = office.books()
    zoom.down.add(office.account)
    story.tell("Zoom", "made one more meeting, lost the answer, and answers nobody from now on.")
    during = [office.books() for _ in range(3)]
    story.tell("Vello", f"asked for {len(during) + 1} links and was told {during[-1].told} each time.")
    story.tell("Customer", f"opened one of them and read {during[-1].page()}.")
    moved = before.moves(_HOUR)
    story.tell("Vello", f"said that the first booking moves by an hour, and was answered {moved.status}.")
    noticed = eventually(lambda: "left alone" in office.settings(), 15)
    story.tell("Admin", f"read in the settings {office.settings()}.")
    story.promise("The settings said within 15 seconds that the account does not answer.", noticed)
    time.sleep(_OUTAGE)
    zoom.down.discard(office.account)
    story.tell("Zoom", f"answers again, after {zoom.refused[office.account]} calls that it cut off.")
    well = office.settled(_CURED)
    story.promise("Every booking got its meeting by itself after the outage.", well, _states(office))
    story.tell("Admin", f"read in the settings {office.settings()}.")
    before.ask()
    right = eventually(
        lambda: [starts_at(each) for each in zoom.of(office.account)].count(before.record["time"]) == 1, 15
    )
    story.promise("The meeting moved with its booking, and its link stayed.", right and len(set(before.links)) == 1)
    _links_hold(story, [before, lost, *during])
    _one_each(story, office)
    return story


def revoked(house: House) -> Story:
    """The account's owner takes the access back."""
    story = Story(
        "The account's access is revoked",
        "Played as it is: Zoom refuses the access token and the refresh token from one moment to the next.",
    )
    office, zoom = house.office("ben@example.org"), house.zoom
    before = office.books()
    story.tell("Vello", f"asked for a link and was told {before.told}.")
    zoom.revoke(office.account)
    story.tell("Zoom", "takes the access of this service no more: its owner removed the app.")
    during = [office.books() for _ in range(2)]
    story.tell("Vello", f"asked for {len(during)} links and was told {during[-1].told} each time.")
    story.tell("Customer", f"opened one of them and read {during[-1].page()}.")
    noticed = eventually(lambda: "Connect it again" in office.settings(), 10)
    story.tell("Admin", f"read in the settings {office.settings()}.")
    story.promise("The settings said what happened, and that a person must connect the account again.", noticed)
    waiting = house.api("GET", f"/connections/{office.connection}")["waiting"]
    story.tell("Admin", f"saw that {waiting} bookings wait for the account.")
    again = house.connect(office.account)
    story.promise("Connected again, it is the same connection, not a second one.", again == office.connection)
    story.tell("Admin", "connected the account again in the browser.")
    well = office.settled(20)
    story.promise("What waited went on by itself.", well, _states(office))
    story.tell("Admin", f"read in the settings {office.settings()}.")
    _links_hold(story, [before, *during])
    _one_each(story, office)
    return story


def spent(house: House) -> Story:
    """The host's calls of the day are used up."""
    story = Story(
        "The day's calls of a host are used up",
        "Zoom refuses creates and changes of this host, as it does after 100 of them in a day. Midnight is not played: "
        "the cure here is another account. Without one, what waits goes on after 00:00 UTC.",
    )
    office, other, zoom = house.office("cleo@example.org"), house.office("dora@example.org"), house.zoom
    before = [office.books() for _ in range(2)]
    story.tell("Vello", f"asked for {len(before)} links and was told {before[0].told} each time.")
    zoom.spent.add(office.account)
    during = [office.books() for _ in range(2)]
    story.tell("Vello", f"asked for {len(during)} more and was told {during[-1].told} each time.")
    story.tell("Customer", f"opened one of them and read {during[-1].page()}.")
    shown = during[-1].shown()
    reason = shown["reason"] or ""
    story.tell("Admin", f"read at the booking “{reason}” ({shown['reason_code']}).")
    story.promise(
        "The booking says that a limit of the day is reached, and that it ends at 00:00 UTC.", "day" in reason
    )
    asked = zoom.refused[office.account]
    time.sleep(_WATCHED)
    more = zoom.refused[office.account] - asked
    story.promise("Zoom is not asked again and again meanwhile.", more <= 1, f"It was asked {more} more times.")
    before[1].cancels()
    gone = eventually(lambda: len(zoom.of(office.account)) == 1, 10)
    story.promise("A cancelled booking's meeting was removed at once: removals do not wait.", gone)
    office.choose(other.connection)
    story.tell("Admin", "chose another account for the office.")
    for booking in during:
        booking.ask()
    well = office.settled(20)
    story.promise("What Vello asked for again got its meeting with the other account.", well, _states(office))
    _links_hold(story, [before[0], *during])
    kept, made = len(zoom.of(office.account)), len(zoom.of(other.account))
    story.promise("Every booking has exactly one meeting.", (kept, made) == (1, 2), f"There are {kept} and {made}.")
    return story


def store(house: House) -> Story:
    """The store hangs, is killed, and is started again."""
    story = Story(
        "The store hangs, then dies",
        "Played with the embedded store: it is stopped where it stands, then killed with kill -9. A failover of "
        "Sentinel or Cluster looks the same from here, with another server in its place.",
    )
    office, zoom = house.office("emil@example.org", link="hosted"), house.zoom
    before, late = office.books(), Booking(office)
    story.promise("The booking was ready before the store failed.", office.settled(20))
    story.tell("Customer", f"opened the link and read {before.page()}.")
    process = _store_process(house.service.data_dir)
    os.kill(process, signal.SIGSTOP)
    try:
        story.tell("Store", "hangs.")
        refused = late.say("record.update_metadata")
        code = re.search(r'"code":\s*"(\w+)"', refused.body)
        story.tell("Vello", f"asked for another link and was answered {refused.status} ({code[1] if code else '?'}).")
        soon = refused.status == 503 and late.slowest <= _REFUSED
        story.promise(f"Vello was told within {_REFUSED:g} seconds to send it again.", soon, f"{refused.status}.")
        story.tell("Customer", f"opened the link of before and read {before.page()}.")
        story.tell("Admin", f"read in the settings {office.settings()}.")
    finally:
        os.kill(process, signal.SIGKILL)  # what is stopped would outlive all of us
    story.tell("Store", "is killed; whoever runs it starts it again, here the service itself.")

    def sent_again() -> bool:
        late.ask()
        return bool(late.links)

    back = eventually(sent_again, 20)
    office.bookings.append(late)
    story.promise("Vello's event was taken when it was sent again, without a restart of the service.", back)
    if back:
        story.tell("Vello", f"was told {late.told}.")
    moved = before.moves(_HOUR)
    story.promise("What was stored before is known.", moved.status == 200 and office.settled(20), _states(office))
    at = eventually(lambda: before.record["time"] in [starts_at(each) for each in zoom.of(office.account)], 10)
    story.promise("The meeting moved with its booking.", at)
    before.ask()
    _links_hold(story, office.bookings, prompt=False)
    _one_each(story, office)
    return story


ACTS: Final[Mapping[str, Callable[[House], Story]]] = {
    "silence": silence,
    "revoked": revoked,
    "spent": spent,
    "store": store,
}
"""Every outage by the name it is chosen by; `store` is everybody's, so it is played when the others are over."""


def _links_hold(story: Story, bookings: list[Booking], *, prompt: bool = True) -> None:
    for booking in bookings:
        booking.ask()
    if prompt:
        slowest = max(booking.slowest for booking in bookings)
        text = f"Vello never waited longer than {DEADLINE + _LATE:g} seconds for an answer."
        story.promise(text, slowest <= DEADLINE + _LATE, f"It waited {slowest:.1f} seconds.")
    changed = sum(len(set(booking.links)) != 1 for booking in bookings)
    story.promise("No link that Vello was given changed.", not changed, f"{changed} did.")
    shut = sum(not booking.leads_in() for booking in bookings)
    story.promise("Every customer's link leads into the meeting.", not shut, f"{shut} do not.")


def _one_each(story: Story, office: Office) -> None:
    meetings = len(office.house.zoom.of(office.account))
    text = "Every booking has exactly one meeting at Zoom."
    story.promise(text, meetings == len(office.bookings), f"There are {meetings} for {len(office.bookings)}.")


def _states(office: Office) -> str:
    return f"They are {', '.join(booking.shown()['state'] for booking in office.bookings)}."


def _store_process(data_dir: Path) -> int:
    """The embedded store's process, as it says itself."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(socket_path(data_dir / "valkey")))
        connection.sendall(b"INFO server\r\n")
        said = b""
        while (found := re.search(rb"process_id:(\d+)\r", said)) is None:
            more = connection.recv(65_536)
            if not more or len(said) > 65_536:
                raise OutOfStep("The store does not say which process it is.")
            said += more
    return int(found[1])
