"""Plays the outages and prints the report; the command `vello-meetings rehearse`."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

from service.outages.acts import ACTS, DEADLINE
from service.outages.people import House, OutOfStep, eventually
from service.outages.story import Story
from service.outages.zoom import CLIENT_ID, Zoom, listening
from service.throwaway import NotStarted, throwaway
from service.trigger import NotSent

_HEAD: Final = f"""\
Rehearsing with a real service on a throw-away embedded store. Zoom is a stand-in on loopback, 127.0.0.1 in what is said
below: it knows what this service asks of Zoom, and nothing outside this machine is called. Vello is answered within
{DEADLINE:g} seconds (ANSWER_DEADLINE). Words in brackets are codes of docs/errors.md. Outages of single accounts are
played at the same time; all of it takes about a minute."""
ALONE: Final = "store"
"""The outage that is everybody's: played when the others are over."""


def rehearse(only: Sequence[str] = ()) -> int:
    """Play these outages, all without any; 0 only if every promise was kept."""
    chosen = [name for name in ACTS if not only or name in only]
    print(_HEAD, flush=True)
    zoom = Zoom()
    try:
        with listening(zoom), throwaway(**_environment(zoom)) as service:
            stories = _played(House(service, zoom), chosen)
    except (NotStarted, NotSent, OutOfStep) as error:
        print(f"\nThe rehearsal could not be played to its end: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nThe rehearsal was stopped; nothing of it is left.", file=sys.stderr)
        return 2
    broken = [(story.title, text) for story in stories for text in story.broken]
    print(f"\n{sum(story.kept for story in stories)} promises kept, {len(broken)} broken.")
    for title, text in broken:
        print(f"BROKEN  {title}: {text}")
    return 1 if broken else 0


def _environment(zoom: Zoom) -> dict[str, str]:
    return {
        "ANSWER_DEADLINE": f"{DEADLINE:g}",
        "ZOOM_CLIENT_ID": CLIENT_ID,
        "ZOOM_CLIENT_SECRET": zoom.client_secret,
        "ZOOM_OAUTH_URL": f"{zoom.url}/oauth",
        "ZOOM_API_URL": f"{zoom.url}/v2",
        "LOG_LEVEL": "critical",
    }


def _played(house: House, chosen: Sequence[str]) -> list[Story]:
    """The stories of all that was chosen, each printed as soon as it is over, and of the end."""
    stories: list[Story] = []

    def told(story: Story) -> None:
        print(story.text(), flush=True)
        stories.append(story)

    pool = ThreadPoolExecutor(len(ACTS), "outage")
    try:
        for done in as_completed([pool.submit(ACTS[name], house) for name in chosen if name != ALONE]):
            told(done.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # whoever still plays ends as soon as the service does
    if ALONE in chosen:
        told(ACTS[ALONE](house))
    told(_end(house, stories))
    return stories


def _end(house: House, stories: Sequence[Story]) -> Story:
    story = Story("Afterwards", "Every booking is cancelled.")
    for booking in house.bookings:
        if not booking.record["canceled"]:
            booking.cancels()
    gone = eventually(lambda: not house.zoom.meetings, 20)
    left = len(house.zoom.meetings)
    story.promise("No meeting is left behind that nobody wants.", gone, f"{left} are left.")
    return story
