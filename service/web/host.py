"""The link by which a host starts a meeting: asked for at the click, kept and logged nowhere."""

import time

from providers.base import ClickLinks, HostLinks, MeetingNotFound, ProviderError, TemporaryError
from service.connections import UnknownConnection
from service.entry import Entry
from service.links import window
from service.settings import Settings
from service.web.errors import Problem


async def way_in(entry: Entry, settings: Settings, now: int) -> str:
    """The host's link of a record's meeting, made or fetched at `now`.

    Raises: UnknownConnection where there is no meeting or nobody to ask, ProviderError, StoreUnavailable.
    """
    placed = entry.meeting
    if placed is None or placed.meeting is None:
        raise UnknownConnection("none")
    until = window(entry, settings.choice_of(entry))[1]
    provider = settings.connections.provider(placed.connection)
    if isinstance(provider, HostLinks):
        return await provider.host_url(placed.meeting)
    if isinstance(provider, ClickLinks):
        return await provider.click_url(placed.meeting, placed.spec, "host", now, until)
    return provider.join_url(placed.meeting, placed.spec, "host", now, until)


async def host_url(entry: Entry, settings: Settings) -> str:
    """The same for an admin.

    Raises: Problem, StoreUnavailable.
    """
    if entry.meeting is None:
        raise Problem(409, "no_meeting", "The booking has no meeting now; its `state` and `reason` say why.")
    try:
        return await way_in(entry, settings, int(time.time()))
    except UnknownConnection:
        raise Problem(409, "no_adapter", "The meeting's connection or its adapter is no longer here.") from None
    except MeetingNotFound:
        text = "Somebody removed the meeting at the provider; `POST …/reconcile` makes a new one."
        raise Problem(409, "no_meeting", text) from None
    except TemporaryError as error:
        raise Problem(503, "unavailable", error.text, {"Retry-After": "5"}) from None
    except ProviderError as error:
        raise Problem(409, "no_host_link", error.text) from None
