"""An office's logo and colour: uploaded, chosen, shown to customers, kept small, and nobody else's."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from service.choices import Choice
from service.logos import MOST, UNUSED, Logos
from service.picture import UPLOAD, Unusable
from service.store import Store
from tests.events import record
from tests.running import ADMIN, PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.test_login import OURS, log_in
from tests.test_picture import logo, noise, saved
from tests.test_settings import become, page, send

PNG = saved(logo())
NOBODY = "0" * 32 + "-10x10"


@pytest.fixture
async def service(store_url: str, meeting_server: MemoryServer) -> AsyncIterator[Running]:
    """An office whose customers get the booking's page."""
    async with running(store_url) as service:
        await service.connect(meeting_server.url, link="hosted")
        yield service


async def upload(service: Running, file: bytes = PNG) -> httpx.Response:
    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "image/png"}
    return await service.client.post("/api/v1/logos", content=file, headers=headers)


async def choose(service: Running, office: str = "default", **fields: Any) -> httpx.Response:
    """Change some of an office's choice."""
    now = (await service.admin("GET", "/offices/default")).json()
    kept = {name: value for name, value in now.items() if name in Choice.model_fields}
    return await service.admin("PUT", f"/offices/{office}", json={**kept, **fields})


async def form(
    service: Running, office: str = "default", *, file: bytes | None = None, **fields: str
) -> httpx.Response:
    """The page's form, with what it holds by itself."""
    shown = await page(service, f"/offices/{office}/look")
    data = {"do": "save", **hidden(shown.text), **fields}
    files = {"logo": ("logo.png", file, "image/png")} if file is not None else {"logo": ("", b"", "image/png")}
    return await service.client.post(f"{PUBLIC}/offices/{office}/look", data=data, files=files, headers=OURS)


def hidden(text: str) -> dict[str, str]:
    """What a form sends by itself."""
    found = re.findall(r'<input type="hidden" name="(form_token|version|uploaded)" value="([^"]*)"', text)
    assert found
    return dict(found)


async def shown(service: Running, data: dict[str, Any] | None = None) -> tuple[str | None, str | None]:
    """The addresses of logo and colours on a customer's page."""
    text = (await service.client.get(str(await service.link(data or record())))).text
    found = re.search(r'<img class="logo" src="([^"]+)"', text), re.search(r'href="(/brand/[^"]+\.css)"', text)
    return found[0][1] if found[0] else None, found[1][1] if found[1] else None


async def test_customers_see_the_logo_and_the_colour_that_the_office_chose(service: Running) -> None:
    assert await shown(service) == (None, None)
    name = (await upload(service)).json()["logo"]
    assert (await choose(service, logo=name, colour="#0B5")).json()["colour"] == "#00bb55"
    picture, sheet = await shown(service)
    assert (picture, sheet) == (f"/brand/{name}.png", "/brand/00bb55-000000.css")
    for address, kind in ((picture, "image/png"), (sheet, "text/css; charset=utf-8")):
        answer = await service.client.get(str(address))
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers


async def test_a_branded_page_stays_under_30_kb_and_loads_nothing_from_elsewhere(service: Running) -> None:
    name = (await upload(service, saved(noise(480, 160)))).json()["logo"]
    await choose(service, logo=name, colour="#7a0019", name="Helsinki", contact="09 123 456")
    answer = await service.client.get(str(await service.link(record(language="de"))))
    parts = re.findall(r'<link rel="stylesheet" href="([^"]+)"|<img[^>]* src="([^"]+)"', answer.text)
    loaded = [await service.client.get(one or other) for one, other in parts]
    assert len(parts) == 3
    assert all((one or other).startswith("/") for one, other in parts)
    assert len(answer.content) + sum(len(each.content) for each in loaded) < 30_000
    assert "style=" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "img-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "name", [f"{NOBODY}.png", "x.png", "x/y.png", "0b5cad-000000.css", "0b5cad.css", "0b5cad-ffffff}.css"]
)
async def test_there_is_nothing_else_below_brand(service: Running, name: str) -> None:
    """Not even a colour with an ink that no page of ours would write on it."""
    answer = await service.client.get(f"/brand/{name}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("fields", "named"), [({"logo": NOBODY}, "logo"), ({"logo": "../x"}, "logo"), ({"colour": "blue"}, "colour")]
)
async def test_a_wrong_choice_is_refused_and_nothing_is_stored(
    service: Running, fields: dict[str, Any], named: str
) -> None:
    before = (await service.admin("GET", "/offices/default")).json()
    answer = await choose(service, **fields)
    assert answer.status_code == 422
    assert f"`{named}`" in answer.json()["error"]["message"]
    assert (await service.admin("GET", "/offices/default")).json() == before


async def test_a_file_that_is_no_logo_is_refused_with_a_sentence(service: Running, store: Store) -> None:
    svg, large = await upload(service, b"<svg/>"), await upload(service, bytes(UPLOAD + 100_000))
    assert (svg.status_code, svg.json()["error"]["code"]) == (422, "invalid_logo")
    assert "save the picture as a PNG" in svg.json()["error"]["message"]
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
    assert await store.execute("EXISTS", "vm:logos") == 0
    assert (await service.client.post("/api/v1/logos", content=PNG)).status_code == 401


async def test_in_the_settings_a_logo_and_a_colour_are_seen_before_they_are_saved(service: Running) -> None:
    await log_in(service)
    looked = await form(service, file=PNG, colour="#fa0", do="preview")
    assert looked.status_code == 200
    assert "/brand/ffaa00-000000.css" in looked.text
    assert re.search(r'<img src="/brand/[0-9a-f]{32}-\d+x\d+\.png"', looked.text)
    assert await shown(service) == (None, None)
    uploaded = re.search(r'name="uploaded" value="([^"]+)"', looked.text)
    assert uploaded
    assert (await form(service, uploaded=uploaded[1], colour="#fa0")).status_code == 303
    assert await shown(service) == (f"/brand/{uploaded[1]}.png", "/brand/ffaa00-000000.css")
    assert "logo" in (await page(service, "/offices/default")).text
    assert (await form(service, without_logo="yes", uploaded=uploaded[1], colour="")).status_code == 303
    assert await shown(service) == (None, None)


@pytest.mark.parametrize(
    ("file", "colour", "says"),
    [(b"<svg/>", "", "save the picture as a PNG"), (None, "blue", "such as #0b5cad"), (b"GIF", "#fff", "no picture")],
    ids=["svg", "colour", "broken"],
)
async def test_in_the_settings_what_is_wrong_is_said_where_it_is(
    service: Running, file: bytes | None, colour: str, says: str
) -> None:
    await log_in(service)
    answer = await form(service, file=file, colour=colour)
    assert (answer.status_code, says in answer.text) == (422, True)
    assert "aria-invalid" in answer.text
    if colour:
        assert f'value="{colour}"' in answer.text


async def test_a_picture_that_is_too_large_gets_a_page(service: Running) -> None:
    await log_in(service)
    answer = await form(service, file=bytes(UPLOAD + 100_000))
    assert (answer.status_code, "larger than 1 MB" in answer.text) == (413, True)
    assert answer.headers["content-type"].startswith("text/html")


async def test_of_two_admins_the_second_sees_what_the_first_did(service: Running) -> None:
    await log_in(service)
    before = re.search(r'name="version" value="([^"]*)"', (await page(service, "/offices/default/look")).text)
    assert before
    assert (await form(service, colour="#111111")).status_code == 303
    late = await form(service, colour="#222222", version=before[1])
    assert (late.status_code, "Somebody else changed this" in late.text) == (412, True)
    assert (await shown(service))[1] == "/brand/111111-ffffff.css"


@pytest.mark.parametrize("asked", [{"do": "look"}, {"colour": "nonsense"}], ids=["looked at", "mistaken"])
async def test_who_looks_once_more_overwrites_nothing_that_came_meanwhile(
    service: Running, asked: dict[str, str]
) -> None:
    await log_in(service)
    before = hidden((await page(service, "/offices/default/look")).text)["version"]
    assert (await choose(service, colour="#111111")).status_code == 200
    typed: dict[str, Any] = {"version": before, "colour": "#222222", **asked}
    again = await form(service, **typed)
    assert hidden(again.text)["version"] == before
    late = await form(service, version=before, colour="#222222")
    assert (late.status_code, "Somebody else changed this in the meantime" in late.text) == (412, True)
    assert hidden(late.text)["version"] != before


async def test_the_offices_other_form_keeps_the_logo_and_the_colour(service: Running) -> None:
    name = (await upload(service)).json()["logo"]
    connection = (await choose(service, logo=name, colour="#123456")).json()["connection"]
    await log_in(service)
    version = re.search(r'name="version" value="([^"]*)"', (await page(service, "/offices/default")).text)
    assert version
    fields = {"version": version[1], "connection": connection, "link": "hosted", "time_zone": "Europe/Helsinki"}
    assert (await send(service, "/offices/default", **fields, which_services="all", do="save")).status_code == 303
    chosen = (await service.admin("GET", "/offices/default")).json()
    assert (chosen["time_zone"], chosen["logo"], chosen["colour"]) == ("Europe/Helsinki", name, "#123456")


async def test_an_admin_of_one_company_changes_no_other_companys_look(service: Running, store: Store) -> None:
    mine, theirs = str(uuid.uuid4()), str(uuid.uuid4())
    await service.link(record(office=theirs))
    await store.execute("HSET", "vm:offices:seen", mine, '{"at": 1, "realm": "clinic"}')
    (await choose(service, mine)).raise_for_status()
    await become(service, store, "clinic")
    token = hidden((await page(service, f"/offices/{mine}/look")).text)["form_token"]
    assert (await form(service, mine, file=PNG, colour="#123456")).status_code == 303
    for office in (theirs, "default"):
        assert (await page(service, f"/offices/{office}/look")).status_code == 404
        data = {"form_token": token, "do": "save", "colour": "#ffffff"}
        sent = await service.client.post(f"{PUBLIC}/offices/{office}/look", data=data, headers=OURS)
        assert sent.status_code == 404
        assert (await service.admin("GET", f"/offices/{office}")).json()["colour"] is None
    assert (await service.admin("GET", f"/offices/{mine}")).json()["colour"] == "#123456"


async def test_a_look_takes_no_meeting_away_from_an_office_that_the_choice_for_all_others_serves(
    service: Running, store: Store, meeting_server: MemoryServer
) -> None:
    """An admin of one company does not see that choice, so a look alone would put an empty one in its place."""
    data = record()
    await service.link(data)
    await service.settled(data["id"])
    await become(service, store, "own")
    assert (await form(service, data["office"], colour="#123456", do="preview")).status_code == 200
    answer = await form(service, data["office"], colour="#123456")
    assert (answer.status_code, "Choose a provider for this office first" in answer.text) == (409, True)
    assert (await service.admin("GET", f"/offices/{data['office']}")).json()["own"] is False
    assert (await service.settled(data["id"]))["state"] == "ready"
    assert len(await meeting_server.meetings()) == 1
    await log_in(service)
    assert (await form(service, data["office"], colour="#123456")).status_code == 303
    assert (await service.settled(data["id"]))["state"] == "ready"


async def test_while_the_store_is_away_a_page_that_was_looked_at_keeps_its_logo(meeting_server: MemoryServer) -> None:
    async with StoreServer() as store, running(store.url) as service:
        await service.connect(meeting_server.url, link="hosted")
        await choose(service, logo=(await upload(service)).json()["logo"])
        data = record()
        picture, _ = await shown(service, data)
        assert (await service.client.get(str(picture))).status_code == 200
        store.kill()
        assert (await service.client.get(str(picture))).status_code == 200
        assert (await service.client.get(f"/brand/{NOBODY}.png")).status_code == 503


async def test_a_logo_that_no_office_uses_goes_a_day_later_when_another_comes(store: Store) -> None:
    logos = Logos(store)
    used, unused = [await logos.add(saved(logo(ink=ink)), []) for ink in ("#aa0000", "#00aa00")]
    aged = {name: await store.execute("HGET", "vm:logos", name) for name in (used, unused)}
    for name, row in aged.items():
        await store.execute("HSET", "vm:logos", name, f"{int(time.time()) - UNUSED - 1}:{row.partition(':')[2]}")
    fresh = await logos.add(saved(logo(ink="#0000aa")), [used])
    assert set(await store.execute("HKEYS", "vm:logos")) == {used, fresh}
    assert await logos.use(used)
    assert not await logos.use(unused)
    await logos.add(saved(logo(ink="#00aaaa")), [])
    assert await logos.png(used), "it was about to be chosen"


async def test_logos_are_not_kept_without_end(store: Store) -> None:
    rows = [part for number in range(MOST) for part in (f"{number:032x}-1x1", f"{int(time.time())}:")]
    await store.execute("HSET", "vm:logos", *rows)
    with pytest.raises(Unusable, match="logos already"):
        await Logos(store).add(PNG, [])


async def test_a_picture_is_drawn_beside_the_loop(store: Store) -> None:
    """While one is drawn others are answered: the loop is never held for as long as that takes."""
    logos, longest, file = Logos(store), list[float](), saved(logo((3000, 1900)))
    for _ in range(5):  # the machine may stand still during one of them
        drawing, held = asyncio.create_task(logos.add(file, [])), 0.0
        while not drawing.done():
            began = time.perf_counter()
            await asyncio.sleep(0)
            held = max(held, time.perf_counter() - began)
        assert await drawing
        longest.append(held)
    assert min(longest) < 0.25
