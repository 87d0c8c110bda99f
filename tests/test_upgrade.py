"""What an earlier version left in the store, this one goes on with."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.store import Store
from tests.fakes.zoom_server import ZoomServer
from tests.running import Running, running
from tests.upgrade import STORED, environment, put

ROOT = Path(__file__).parent.parent
VERSIONS = sorted(STORED.glob("*.json"))


@pytest.fixture(params=VERSIONS, ids=lambda path: path.stem)
def left(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a version left: keys, meetings at Zoom, and what Vello holds."""
    return dict(json.loads(request.param.read_text()))


@pytest.fixture
async def service(left: dict[str, Any], store: Store, store_url: str, zoom: ZoomServer) -> AsyncIterator[Running]:
    """A service of today over it."""
    await put(store, left["keys"])
    await zoom.control("PUT", "meetings", left["meetings"])
    async with running(store_url, **environment(zoom)) as service:
        yield service


def newer(data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A booking after its next change."""
    return {**data, "version": data["version"] + 1, "changed": data["changed"] + 1, **fields}


async def test_every_link_vello_holds_still_stands(left: dict[str, Any], service: Running) -> None:
    for name in ("ready", "hosted", "room", "moved", "waiting"):
        held = left["held"][name]
        assert await service.link(held["data"]) == held["link"], name
        if "/m/" in held["link"]:
            page = await service.client.get(held["link"])
            assert page.status_code == 200, name


async def test_its_meetings_follow_and_none_is_doubled(
    left: dict[str, Any], service: Running, zoom: ZoomServer
) -> None:
    held = left["held"]
    before = {meeting["id"] for meeting in await zoom.meetings()}
    await service.settled(held["waiting"]["data"]["id"])
    (made,) = {meeting["id"] for meeting in await zoom.meetings()} - before
    for name in ("ready", "hosted", "moved", "waiting"):
        data = held[name]["data"]
        await service.say("record.updated", newer(data, time=data["time"] + 600))
        assert (await service.settled(data["id"]))["state"] == "ready"
    assert {meeting["id"] for meeting in await zoom.meetings()} == {*before, made}
    for name in ("ready", "hosted", "room", "moved", "waiting", "created"):
        data = newer(newer(held[name]["data"]), canceled=True)
        await service.say("record.cancelled", data)
        await service.settled(data["id"])
    assert await zoom.meetings() == []


async def test_what_ended_stays_ended(left: dict[str, Any], service: Running) -> None:
    held = left["held"]
    assert await service.link(held["cancelled"]["data"]) is None
    assert await service.link(newer(held["deleted"]["data"], canceled=False)) is None
    assert await service.link(newer(held["erased"]["data"])) is None
    back = newer(held["cancelled"]["data"], canceled=False)
    assert await service.link(back) not in (None, held["cancelled"]["link"])


async def test_its_settings_are_as_they_were(left: dict[str, Any], service: Running) -> None:
    for office, choice in left["offices"].items():
        now = (await service.admin("GET", f"/offices/{office}")).json()
        assert {name: now[name] for name in choice} == choice
    connections = (await service.admin("GET", "/connections")).json()["connections"]
    assert {row["provider"]: row["state"] for row in connections} == {"zoom": "ready", "jitsi": "ready"}
    second = left["held"]["company"]
    raw = json.dumps({"id": "a", "type": "connection.test", "data": {}}).encode()
    assert (await service.post(raw, url=second["url"], token=second["token"])).status_code == 200


async def test_what_a_later_version_wrote_besides_is_left_out(
    left: dict[str, Any], store: Store, store_url: str, zoom: ZoomServer
) -> None:
    """Old and new processes run side by side while a service is upgraded, and an upgrade may be put back."""
    await put(store, left["keys"])
    for key in ("vm:offices", "vm:connections"):
        for name, row in (await store.execute("HGETALL", key)).items():
            await store.execute("HSET", key, name, json.dumps({**json.loads(row), "later": [1]}))
    async with running(store_url, **environment(zoom)) as service:
        assert await service.link(left["held"]["ready"]["data"]) == left["held"]["ready"]["link"]
        await test_its_settings_are_as_they_were(left, service)


def test_the_store_of_every_released_version_is_kept() -> None:
    """`python -m tests.upgrade VERSION` writes it at the commit that is released."""
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert {path.stem for path in VERSIONS} >= set(released)
