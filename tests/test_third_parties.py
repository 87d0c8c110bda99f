"""Providers of other people: a package with a provider in it, and a system that takes signed calls."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from providers import registry
from service.web import words
from tests.events import START, record
from tests.fakes.own_system import OwnSystem, refusal
from tests.providers.test_http_provider import SECRET, USUAL
from tests.running import ADMIN, PUBLIC, Running, running
from tests.test_login import log_in
from tests.test_settings import page, send
from tests.waiting import wait_until

PLUGIN = Path(__file__).parent.parent / "examples" / "provider-plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example plugin, built as a wheel and unpacked as an installer does."""
    built, site = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=PLUGIN, check=True, capture_output=True, timeout=60)
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_the_plugins_own_tests_pass_with_the_laws_that_are_shipped(installed: Path) -> None:
    """With pytest and pytest-asyncio, as the extra `testing` says, and nothing else."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    # Run from its own folder: what it is tested with is its own settings, and its module is the one installed.
    done = subprocess.run(
        command, cwd=PLUGIN / "tests", env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_booking_is_served_by_a_provider_of_another_package(
    installed: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(installed))
    (point,) = [point for point in entry_points(group=registry.GROUP) if point.name == "daily"]
    assert point.dist
    assert point.dist.name == "vello-meetings-daily"
    providers = registry.load()
    spec = importlib.util.spec_from_file_location("daily", PLUGIN / "tests" / "daily.py")
    assert spec
    assert spec.loader
    fake = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fake)
    async with fake.DailyServer() as vendor, running(store_url, providers=providers) as service:
        await chosen(service, provider="daily", domain=fake.DOMAIN, api_key=fake.KEY, api_url=vendor.url)
        data = record()
        link = await service.link(data)
        (room,) = vendor.rooms.values()
        assert link == room["url"]
        await service.say("record.updated", {**data, "version": 2, "time": START + 3600})
        assert (await service.settled(data["id"]))["join_url"] == link
        assert vendor.rooms[room["name"]]["config"]["nbf"] == START + 3600 - 900
        await service.say("record.cancelled", {**data, "version": 3, "canceled": True})
        await service.settled(data["id"])
        assert vendor.rooms == {}


async def chosen(service: Running, link: str = "direct", **fields: Any) -> str:
    """Connect a provider and make it every office's choice."""
    made = await service.admin("POST", "/connections", json=fields)
    assert made.status_code == 201, made.text
    connection = str(made.json()["id"])
    answer = await service.admin("PUT", "/offices/default", json={"connection": connection, "link": link})
    assert answer.status_code == 200, answer.text
    return connection


@asynccontextmanager
async def served(store_url: str, *promised: str) -> AsyncIterator[tuple[Running, OwnSystem]]:
    """A service whose every office uses a system that promises this."""
    async with OwnSystem(SECRET, promised) as system, running(store_url) as service:
        await chosen(service, provider="http_provider", url=system.url, secret=SECRET, capabilities=list(promised))
        yield service, system
    assert system.refused == []


async def test_a_booking_is_served_by_somebodys_own_system(store_url: str) -> None:
    async with served(store_url, *USUAL) as (service, system):
        data = record()
        link = await service.link(data)
        (connection,) = (await service.admin("GET", "/connections")).json()["connections"]
        assert (connection["provider"], connection["method"], connection["account"]) == (
            "http_provider",
            "signed",
            system.url,
        )
        tested = (await service.admin("POST", f"/connections/{connection['id']}/test")).json()
        assert [step["ok"] for step in tested["steps"]] == [True] * 5
        assert link == (await service.record(data["id"]))["join_url"]
        await service.say("record.deleted", {**data, "version": 2})
        await service.settled(data["id"])
        assert {call.type for call in system.calls} >= {"meeting.create", "meeting.delete"}
        assert not await system.opens(str(link))


async def test_a_system_that_makes_links_at_the_click_is_asked_at_the_click(store_url: str) -> None:
    async with served(store_url, *USUAL, "mints_link") as (service, system):
        data = record()
        link = await service.link(data)
        assert link
        assert link.startswith(f"{PUBLIC}/m/")
        ways = [(await service.client.get(f"{link}/join")).headers["location"] for _ in range(2)]
        assert len(set(ways)) == 2
        assert [await system.opens(way) for way in ways] == [True, True]
        host = (await service.admin("GET", f"/records/{data['id']}/host_link")).json()["url"]
        assert "?host=" in host
        system.next = [refusal(503, "unavailable")] * 3
        waits = await service.client.get(f"{link}/join")
        assert (waits.status_code, "location" in waits.headers) == (200, False)
        assert "There is a problem with this meeting" in waits.text
        system.next = [refusal(503, "unavailable")] * 3
        refused = await service.admin("GET", f"/records/{data['id']}/host_link")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert (await service.client.get(f"{link}/join")).status_code == 303


async def test_a_guest_who_finds_the_room_gone_has_another_one_made(store_url: str) -> None:
    async with served(store_url, *USUAL, "mints_link") as (service, system):
        data = record()
        link = await service.link(data)
        system.remove_all()
        waits = await service.client.get(f"{link}/join")
        assert (waits.status_code, "location" in waits.headers) == (200, False)
        assert "There is a problem" not in waits.text

        async def leads_in() -> bool:
            way = (await service.client.get(f"{link}/join")).headers.get("location")
            return way is not None and await system.opens(way)

        await wait_until(leads_in)
        journal = (await service.record(data["id"]))["journal"]
        assert [line for line in journal if line["text"].startswith("A guest found")]


async def test_only_hosts_have_links_of_their_own_where_the_system_says_so(store_url: str) -> None:
    async with served(store_url, *USUAL, "host_links") as (service, _):
        data = record()
        link = await service.link(data)
        host = (await service.admin("GET", f"/records/{data['id']}/host_link")).json()["url"]
        assert host.startswith(f"{link}?host=")


async def test_it_is_connected_by_a_form_in_the_readers_language(store_url: str) -> None:
    async with OwnSystem(SECRET, USUAL) as system, running(store_url) as service:
        await log_in(service)
        form = await page(service, "/connections/new/http_provider", **{"Accept-Language": "fi"})
        assert "Oma järjestelmä (allekirjoitettu HTTP)" in form.text
        path = "/connections/new/http_provider"
        wrong = await send(service, path, **{"settings.url": "http://example.org", "secret.settings.secret": SECRET})
        assert wrong.status_code == 422
        assert SECRET not in wrong.text
        made = await send(
            service,
            path,
            **{
                "settings.url": system.url,
                "secret.settings.secret": SECRET,
                "settings.capabilities": "keeps_link, enforces_teardown, opens_in_browser",
            },
        )
        assert made.status_code == 303, made.text
        (connection,) = (await service.admin("GET", "/connections")).json()["connections"]
        assert (connection["provider"], connection["account"]) == ("http_provider", system.url)
        assert not [secret for secret in (SECRET, ADMIN) if secret in str(connection)]


@pytest.mark.parametrize("language", ["fi", "sv"])
def test_its_name_and_what_it_says_are_translated(language: str) -> None:
    words.speak(language)
    try:
        title = registry.load()["http_provider"].title
        assert words.said(title) != title
        refused = "rooms.example.org refuses the call: All rooms are taken."
        assert words.said(refused) != refused
        assert "All rooms are taken." in words.said(refused)
    finally:
        words.speak("en")
