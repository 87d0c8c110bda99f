"""Forms of connections: what a server says before anything is stored, and two admins at once."""

import re
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from providers import memory
from providers.base import Account
from service.changes import Changes
from service.connections import Connections
from service.store import Store, StoreUnavailable
from service.vault import Vault
from tests.events import record
from tests.fakes.jitsi import FakeJitsi
from tests.running import ADMIN, PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_login import OURS, form_token, log_in

AWAY = "http://127.0.0.1:9"  # nobody answers there


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        await log_in(service)
        yield service


async def send(service: Running, path: str, **fields: str) -> httpx.Response:
    """A form from a page of ours, with the session's token; `__` in names stands for a dot."""
    given = {name.replace("__", "."): value for name, value in fields.items()}
    given["form_token"] = await form_token(service)
    return await service.client.post(f"{PUBLIC}{path}", data=given, headers=OURS)


async def shown(service: Running, path: str) -> dict[str, str]:
    """The hidden fields of a page's forms: how the thing stands."""
    text = (await service.client.get(f"{PUBLIC}{path}")).text
    return dict(re.findall(r'name="(version|read_at)" value="([^"]*)"', text))


async def count(service: Running) -> int:
    return len((await service.admin("GET", "/connections")).json()["connections"])


async def jitsi_at(service: Running, url: str, **fields: str) -> str:
    made = await service.admin("POST", "/connections", json={"provider": "jitsi", "url": url, **fields})
    return str(made.json()["id"])


async def test_settings_that_the_server_refuses_are_not_stored(service: Running) -> None:
    async with FakeJitsi(auth="token") as jitsi:
        typed = {"settings__url": jitsi.url, "settings__app_id": "clinic", "name": "Rooms"}
        for anyway in ({}, {"anyway": "yes"}):
            wrong = await send(service, "/connections/new/jitsi", **typed, **anyway, secret__settings__secret="w" * 40)
            assert wrong.status_code == 422
            assert "does not take the secret or key" in wrong.text
            assert 'value="Rooms"' in wrong.text
            assert "w" * 40 not in wrong.text
        assert await count(service) == 0
        right = await send(service, "/connections/new/jitsi", **typed, secret__settings__secret="s" * 40)
        assert right.status_code == 303
    assert await count(service) == 1


async def test_a_server_that_cannot_be_reached_is_stored_only_when_somebody_says_so(service: Running) -> None:
    refused = await send(service, "/connections/new/jitsi", settings__url=AWAY)
    assert refused.status_code == 422
    assert "127.0.0.1 cannot be reached" in refused.text
    assert 'name="anyway" value="yes">' in refused.text
    assert await count(service) == 0
    assert (await send(service, "/connections/new/jitsi", settings__url=AWAY, anyway="yes")).status_code == 303
    assert await count(service) == 1


async def test_what_is_typed_is_checked_meanwhile_and_nothing_is_stored(service: Running) -> None:
    async with FakeJitsi() as jitsi:
        part = await send(service, "/connections/new/jitsi/check", settings__url=jitsi.url)
        assert "It lets people in without a token." in part.text
        assert "<html" not in part.text
        early = await send(service, "/connections/new/jitsi/check", settings__url="")
        assert "As soon as the form is complete" in early.text
        connection = await jitsi_at(service, AWAY)
        other = await send(service, f"/connections/{connection}", do="check", settings__url=jitsi.url)
        assert "It lets people in without a token." in other.text
    row = (await service.admin("GET", f"/connections/{connection}")).json()
    assert (row["account"], await count(service)) == (AWAY, 1)


async def test_programs_can_ask_the_server_too(service: Running, meeting_server: MemoryServer) -> None:
    async with FakeJitsi(auth="token") as jitsi:
        asked = {"provider": "jitsi", "url": jitsi.url}
        answer = await service.admin("POST", "/connections/check", json=asked)
    assert [remark["kind"] for remark in answer.json()["remarks"]] == ["good", "wrong"]
    nothing = {"provider": "memory", "url": meeting_server.url}
    assert (await service.admin("POST", "/connections/check", json=nothing)).json() == {"remarks": []}
    for wrong in ({"provider": "jitsi"}, {"provider": "nobody"}):
        assert (await service.admin("POST", "/connections/check", json=wrong)).status_code == 422
    assert await count(service) == 0


async def test_a_connection_that_somebody_else_mended_meanwhile_is_not_overwritten(service: Running) -> None:
    """Whether by a name, other settings or taking it out of use; what was changed is told, what was typed stays."""
    async with FakeJitsi() as jitsi:
        connection = await jitsi_at(service, AWAY, name="Rooms")
        page = f"/connections/{connection}"
        mine = await shown(service, page)
        theirs = await shown(service, page)
        assert (await send(service, page, do="rename", name="Anna's rooms", **theirs)).status_code == 303
        refused = await send(service, page, do="mend", settings__url=jitsi.url, **mine)
        assert refused.status_code == 412
        assert "Somebody else changed this in the meantime" in refused.text
        assert "Name: Rooms → Anna&#39;s rooms" in refused.text.split("What was changed meanwhile")[1]
        assert f'value="{jitsi.url}"' in refused.text
        renamed = await send(service, page, do="rename", name="Bert's", **mine)
        assert (renamed.status_code, 'value="Bert&#39;s"' in renamed.text) == (412, True)
        left = await send(service, f"{page}/leave", how="remove", **mine)
        assert left.status_code == 412
        assert "Anna&#39;s rooms" in left.text
        row = (await service.admin("GET", f"/connections/{connection}")).json()
        assert (row["name"], row["account"]) == ("Anna's rooms", AWAY)
        again = await shown(service, page)
        assert (await send(service, page, do="mend", settings__url=jitsi.url, **again)).status_code == 303
    row = (await service.admin("GET", f"/connections/{connection}")).json()
    assert (row["name"], row["account"]) == ("Anna's rooms", jitsi.url)


async def test_a_mistake_that_is_mended_overwrites_nothing_that_came_meanwhile(service: Running) -> None:
    """A form that was not taken because of a mistake is still about what its sender saw at first."""
    connection = await jitsi_at(service, AWAY, name="Rooms")
    page = f"/connections/{connection}"
    mine = await shown(service, page)
    await send(service, page, do="rename", name="Anna's", **await shown(service, page))
    mistaken = await send(service, page, do="mend", settings__url="x", **mine)
    assert mistaken.status_code == 422
    assert f'name="version" value="{mine["version"]}"' in mistaken.text
    choice = {"name": "", "connection": "", "time_zone": "UTC"}
    office = await shown(service, "/offices/default")
    await service.admin("PUT", "/offices/default", json={"name": "Anna's"})
    weighed = await send(service, "/offices/default", do="preview", **{**choice, "tag": "x"}, **office)
    assert f'name="version" value="{office["version"]}"' in weighed.text
    assert (await send(service, "/offices/default", do="save", **choice, **office)).status_code == 412
    assert (await send(service, "/offices/default", do="forget", **office)).status_code == 412


async def test_a_secret_goes_to_no_other_server_than_the_one_it_was_entered_for(service: Running) -> None:
    """Neither when settings are stored nor while they are typed; whoever knows the secret may take it along."""
    async with FakeJitsi(auth="token") as jitsi, FakeJitsi(auth="token") as other:
        connection = await jitsi_at(service, jitsi.url, app_id="clinic", secret="s" * 40)
        page = f"/connections/{connection}"
        looked = await send(service, page, do="check", settings__url=other.url)
        assert "As soon as the form is complete" in looked.text
        refused = await send(
            service, page, do="mend", settings__url=other.url, anyway="yes", **await shown(service, page)
        )
        assert (refused.status_code, other.logins) == (422, [])
        assert "The address leads to another server; enter this again." in refused.text
        renamed = await service.admin("PATCH", f"/connections/{connection}", json={"name": "x", "url": other.url})
        row = (await service.admin("GET", f"/connections/{connection}")).json()
        assert (renamed.status_code, row["account"]) == (422, jitsi.url)
        same = {"settings__url": f"{jitsi.url}/", "settings__subject": "clinic"}
        assert (await send(service, page, do="mend", **same, **await shown(service, page))).status_code == 303
        typed = {"settings__url": other.url, "secret__settings__secret": "s" * 40}
        assert (await send(service, page, do="mend", **typed, **await shown(service, page))).status_code == 303
    row = (await service.admin("GET", f"/connections/{connection}")).json()
    assert (row["account"], row["method"], "in" in other.logins) == (other.url, "token", True)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"name": "two"}),
        ("DELETE", "", None),
        ("POST", "/disconnect", {"how": "keep"}),
    ],
    ids=["rename", "delete", "disconnect"],
)
async def test_of_two_programs_that_change_a_connection_the_second_is_refused(
    service: Running, method: str, path: str, body: dict[str, str] | None
) -> None:
    url = f"{PUBLIC}/api/v1/connections/{await jitsi_at(service, AWAY)}"
    headers = {"Authorization": f"Bearer {ADMIN}"}
    tag = (await service.client.get(url, headers=headers)).headers["etag"]
    conditional = {**headers, "If-Match": tag}
    assert (await service.client.patch(url, json={"name": "one"}, headers=conditional)).status_code == 200
    answer = await service.client.request(method, f"{url}{path}", json=body, headers=conditional)
    assert (answer.status_code, answer.json()["error"]["code"]) == (412, "changed_meanwhile")
    newer = {**headers, "If-Match": (await service.client.get(url, headers=headers)).headers["etag"]}
    answer = await service.client.request(method, f"{url}{path}", json=body, headers=newer)
    assert answer.status_code in (200, 202, 204)


async def test_an_account_that_is_connected_again_keeps_the_name_it_was_given_meanwhile(store: Store) -> None:
    vault = Vault([("k1", bytes(32))])

    async def process() -> Connections:
        connections = Connections(store, vault, {"memory": memory.PROVIDER}, lambda *_: pytest.fail("not asked"))
        await connections.load()
        return connections

    account = Account("42", "anna@example.org", {"url": AWAY})
    first = await process()
    row = await first.adopt("memory", "g" * 32, account, None)
    await first.load()
    other = await process()
    assert await other.rename(row, "Anna's", other.version(row.id))
    await first.adopt("memory", "h" * 32, account, row)
    await other.load()
    assert (other.get(row.id).name, other.get(row.id).grant) == ("Anna's", "h" * 32)
    await other.remove(row.id)
    anew = await first.adopt("memory", "i" * 32, account, row)  # removed meanwhile: it is a new one
    assert anew.id != row.id


async def test_what_the_store_broke_off_is_not_said_to_have_changed_nothing(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await jitsi_at(service, AWAY, name="Before")

    async def away(*_: object) -> None:
        raise StoreUnavailable("The store is unavailable.")

    with monkeypatch.context() as broken:
        broken.setattr(Changes, "note", away)
        answer = await service.admin("PATCH", f"/connections/{connection}", json={"name": "After"})
    assert (answer.status_code, "nothing was changed" in answer.text) == (503, False)
    assert (await service.admin("GET", f"/connections/{connection}")).json()["name"] == "After"


async def test_of_two_ways_to_leave_the_first_holds_and_who_comes_second_sees_it(
    service: Running, meeting_server: MemoryServer
) -> None:
    connection, data = await service.connect(meeting_server.url), record()
    await service.link(data)
    await service.settled(data["id"])
    page = f"/connections/{connection}/leave"
    mine, theirs = await shown(service, page), await shown(service, page)
    await meeting_server.faults(fail=[{"status": 403}] * 9, only="delete")
    other = (await service.admin("POST", "/connections", json={"provider": "memory", "url": AWAY})).json()["id"]
    assert (await send(service, page, how="move", to=other, **theirs)).status_code == 303
    late = await send(service, page, how="remove", **mine)
    assert (late.status_code, "1 meeting is left." in late.text) == (412, True)
    assert (await send(service, page, how="move", to=other, **mine)).status_code == 303  # the same once more
    going = (await service.admin("GET", f"/connections/{connection}/disconnect")).json()
    assert (going["how"], going["to"]) == ("move", other)


async def test_what_an_idle_connection_got_meanwhile_is_shown_before_it_leaves(
    service: Running, meeting_server: MemoryServer
) -> None:
    made = await service.admin("POST", "/connections", json={"provider": "memory", "url": meeting_server.url})
    connection = made.json()["id"]
    page = f"/connections/{connection}/leave"
    mine = await idle(service, page)
    await service.admin("PUT", "/offices/default", json={"connection": connection})
    late = await send(service, page, **mine)
    assert (late.status_code, "Used by: " in late.text) == (412, True)
    assert (await service.admin("GET", "/offices/default")).json()["connection"] == connection
    assert (await send(service, page, how="keep", **await shown(service, page))).status_code == 303
    assert (await service.admin("GET", "/offices/default")).json()["connection"] is None


async def idle(service: Running, page: str) -> dict[str, str]:
    """What the form of a connection sends that nothing depends on."""
    text = (await service.client.get(f"{PUBLIC}{page}")).text
    return dict(re.findall(r'name="(version|read_at|how|idle)" value="([^"]*)"', text))


async def test_only_what_came_after_the_form_was_shown_is_told(service: Running) -> None:
    connection = await jitsi_at(service, AWAY, name="First")
    page = f"/connections/{connection}"
    await send(service, page, do="rename", name="Second", **await shown(service, page))
    mine = {**await shown(service, page), "read_at": str(int(time.time()) + 60)}
    await send(service, page, do="rename", name="Third", **await shown(service, page))
    refused = await send(service, page, do="rename", name="Mine", **mine)
    assert (refused.status_code, "What was changed meanwhile" in refused.text) == (412, False)
    odd = await send(service, page, do="rename", name="Mine", **{**mine, "read_at": "²9" * 9})
    assert (odd.status_code, "What was changed meanwhile" in odd.text) == (412, True)
