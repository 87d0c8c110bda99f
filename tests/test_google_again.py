"""Google accounts that are connected again: what bookings were made with stays, or its lack is told."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from providers.google_account import AUTH, EVENTS, SPACES
from service.store import Store
from tests.events import START, record
from tests.fakes.google_server import GoogleServer
from tests.running import PUBLIC, Running
from tests.test_google_bookings import (
    ANNA,
    CONNECT,
    agreed,
    choose,
    connected,
    open_rooms,
    robot,
    served,
    shown,
)
from tests.test_login import OURS, form_token, log_in
from tests.test_settings import become
from tests.waiting import wait_until

ENTRIES = [f"{AUTH}{EVENTS}"]


@pytest.fixture
async def service(store_url: str, google: GoogleServer) -> AsyncIterator[Running]:
    async with served(store_url, google) as service:
        yield service


async def again(service: Running, connection: str, feature: str) -> str:
    """Connect it again for a feature; answers the page after it."""
    page = await agreed(service, f"feature={feature}&again={connection}")
    assert page.url.params["connected"] == connection
    return page.text


async def lacks(service: Running, connection: str) -> list[str]:
    """What a connection's account does not allow, as the API says."""
    return list((await shown(service, connection))["missing_scopes"])


async def taken_back(google: GoogleServer) -> None:
    """The person removes the app at Google, so that nothing is granted there any more."""
    await google.control("POST", "revoke", {"client_id": "user-app", "user": ANNA})


async def starts(google: GoogleServer) -> set[float]:
    return {datetime.fromisoformat(one["start"]["dateTime"]).timestamp() for one in await google.events()}


async def test_connected_again_for_rooms_it_still_moves_and_makes_calendar_entries(
    service: Running, google: GoogleServer
) -> None:
    id_ = await connected(service, feature="calendar")
    await choose(service, id_)
    data = record()
    await service.link(data)
    assert "does not allow" not in await again(service, id_, "space")
    assert ((await shown(service, id_))["state"], await lacks(service, id_)) == ("ready", [])
    await service.link({**data, "time": START + 3600, "version": 2})
    await wait_until(lambda: _is(google, {START + 3600}))
    await service.link(record())
    assert len(await google.events()) == 2


async def _is(google: GoogleServer, wanted: set[float]) -> bool:
    return await starts(google) == wanted


async def test_what_it_had_and_has_no_more_is_told_until_it_is_granted_again(
    service: Running, google: GoogleServer
) -> None:
    id_ = await connected(service, feature="calendar")
    await choose(service, id_)
    await service.link(record())
    await taken_back(google)
    assert "does not allow this service to: make calendar entries" in await again(service, id_, "space")
    row = await shown(service, id_)
    assert (row["state"], "make calendar entries" in row["reason"]) == ("failing", True)
    assert await lacks(service, id_) == ENTRIES
    assert await service.link(record()) in await open_rooms(google)  # rooms it may make, and makes them meanwhile
    assert await lacks(service, id_) == ENTRIES
    assert "does not allow" in await again(service, id_, "space")
    assert "does not allow" not in await again(service, id_, "calendar")
    assert ((await shown(service, id_))["state"], await lacks(service, id_)) == ("ready", [])
    await service.link(record())
    assert len(await google.events()) == 2


async def test_what_another_app_was_allowed_is_missed_of_the_new_one(store_url: str, google: GoogleServer) -> None:
    async with served(store_url, google) as service:
        id_ = await connected(service, feature="both")
    async with served(store_url, google, "testing") as service:
        assert await connected(service, feature="space") == id_
        assert ((await shown(service, id_))["state"], await lacks(service, id_)) == ("failing", ENTRIES)
        await again(service, id_, "both")
        assert ((await shown(service, id_))["state"], await lacks(service, id_)) == ("ready", [])


async def test_a_company_takes_nothing_from_another_one_with_the_same_account(
    service: Running, google: GoogleServer, store: Store
) -> None:
    rows = []
    await become(service, store, *(companies := [str(uuid.uuid4()), str(uuid.uuid4())]))
    for company, feature in zip(companies, ("space", "calendar"), strict=True):
        page = await agreed(service, f"feature={feature}&company={company}")
        rows.append(str(page.url.params["connected"]))
    assert len(set(rows)) == 2
    for id_ in rows:
        assert ((await shown(service, id_))["state"], await lacks(service, id_)) == ("ready", [])
    for id_, entries in zip(rows, (0, 1), strict=True):
        assert (await service.admin("POST", f"/connections/{id_}/test")).json()["ok"]
        assert len(await google.calls("events.insert")) == entries
    await taken_back(google)
    await again(service, rows[0], "space")
    assert [(await shown(service, id_))["state"] for id_ in rows] == ["failing", "failing"]


@pytest.mark.parametrize("feature", ["space", "calendar", "both"])
async def test_what_it_is_connected_for_is_the_first_button_of_connecting_it_again(
    service: Running, feature: str
) -> None:
    id_ = await connected(service, feature=feature)
    page = (await service.client.get(f"{CONNECT}?again={id_}")).text
    buttons = [name for name in ("space", "calendar", "both") if f"start?feature={name}&amp;again={id_}" in page]
    assert len(buttons) == 3
    assert min(buttons, key=lambda name: page.index(f"start?feature={name}&amp;")) == feature
    assert page.index(f'class="button" href="/connect/google_meet/start?feature={feature}&amp;') > 0


async def test_a_new_key_gets_a_token_of_its_own_for_every_host(service: Running, google: GoogleServer) -> None:
    await google.delegate(SPACES, EVENTS)
    id_ = await robot(service, google)
    await service.link(record())
    before = len(await google.calls("token"))
    await service.link(record())
    assert len(await google.calls("token")) == before
    version = (await service.admin("GET", f"/connections/{id_}")).headers["etag"].strip('"')
    form: dict[str, Any] = {"do": "mend", "key": json.dumps(await google.key()), "subject": ANNA, "version": version}
    await log_in(service)
    form["form_token"] = await form_token(service)
    answer = await service.client.post(f"{PUBLIC}/connections/{id_}", data=form, headers=OURS)
    assert answer.status_code == 303, answer.text
    await service.link(record())
    assert len(await google.calls("token")) == before + 1


async def test_a_new_key_in_the_file_is_used_at_the_next_start(
    store_url: str, google: GoogleServer, tmp_path: Path
) -> None:
    """The token of the old one would be good for an hour."""
    file = tmp_path / "key.json"
    given = {"GOOGLE_SERVICE_ACCOUNT_KEY_FILE": str(file), "GOOGLE_SERVICE_ACCOUNT_SUBJECT": ANNA}
    key, asked = await google.key(), []
    for id_ in (key["client_id"], key["client_id"], "2"):
        file.write_text(json.dumps({**key, "client_id": id_}))
        async with served(store_url, google, **given) as service:
            await choose(service, "google")
            assert await service.link(record()) in await open_rooms(google)
        asked.append(len(await google.calls("token")))
    assert asked == [1, 1, 2]
