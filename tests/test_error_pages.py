"""Errors as people with browsers see them: a page with the way back; programs get the one JSON shape."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from service.store import Store
from tests.running import ADMIN, PUBLIC, Running, running
from tests.test_login import log_in

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        yield service


async def ask(
    service: Running, path: str, method: str = "GET", accept: str = BROWSER, **headers: str
) -> httpx.Response:
    return await service.client.request(method, f"{PUBLIC}{path}", headers={"Accept": accept, **headers})


def is_page(answer: httpx.Response) -> bool:
    """Whether it is a page as strict as all others, with a way back."""
    if not answer.headers["content-type"].startswith("text/html"):
        return False
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert '<a href="/">To the start page</a>' in answer.text
    return True


@pytest.mark.parametrize("path", ["/nowhere", "/offices/nowhere", "/connections/x/y/z", "/bookings/nothing"])
async def test_an_address_that_leads_nowhere_is_a_page_with_the_menu(service: Running, path: str) -> None:
    await log_in(service)
    answer = await ask(service, path)
    assert (answer.status_code, is_page(answer)) == (404, True)
    assert 'href="/connections"' in answer.text


async def test_who_is_not_logged_in_sees_no_menu_there(service: Running) -> None:
    answer = await ask(service, "/nowhere")
    assert (answer.status_code, is_page(answer), "<nav" in answer.text) == (404, True, False)


async def test_the_chart_can_expose_just_what_needs_no_login(service: Running) -> None:
    """`/` is the settings'; probes, figures and the API are for within the cluster. Who logged in may log out."""
    helpers = Path(__file__).parent.parent / "helm/vello-meetings/templates/_helpers.tpl"
    exposed = re.search(r"\{\{ else }}(/webhooks[^{]*)\{\{ end }}", helpers.read_text())
    assert exposed
    for_all = set()
    for route in service.app.app.routes:
        path = re.sub(r"\{[^}]*}", "x", route.path)
        methods = sorted(getattr(route, "methods", None) or {"GET"})
        answer = await ask(service, path, methods[0], Origin=PUBLIC)
        if not answer.headers.get("location", "").startswith("/login") and answer.status_code != 401:
            for_all.add("/" + path.split("/")[1])
    assert for_all - {"/livez", "/readyz", "/metrics"} | {"/logout"} == set(exposed[1].split(","))


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""], ids=["any", "json", "none"])
async def test_programs_get_json(service: Running, accept: str) -> None:
    answer = await ask(service, "/nowhere", accept=accept)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("GET", "/api/v1/records/x", 422, "invalid"),
        ("PUT", "/api/v1/records", 405, "method_not_allowed"),
        ("GET", "/webhooks/vello", 405, "method_not_allowed"),
        ("GET", "/webhooks/zoom", 405, "method_not_allowed"),
        ("POST", "/m/x", 405, "method_not_allowed"),
    ],
)
async def test_what_programs_use_keeps_json_whatever_is_accepted(
    service: Running, method: str, path: str, status: int, code: str
) -> None:
    answer = await ask(service, path, method, Authorization=f"Bearer {ADMIN}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_an_address_of_a_button_is_a_page_that_says_so(service: Running) -> None:
    """Such as after a reload or a bookmark."""
    await log_in(service)
    answer = await ask(service, "/start/book")
    assert (answer.status_code, is_page(answer), answer.headers["allow"]) == (405, True, "POST")
    assert "Only a button of a page leads here." in answer.text
    assert (await ask(service, "/start/book", accept="*/*")).json()["error"]["code"] == "method_not_allowed"


async def test_a_fault_of_ours_is_a_page_that_says_when_it_was(service: Running, store: Store) -> None:
    await log_in(service)
    await store.execute("HSET", "vm:offices", "default", "no choice at all")
    answer = await ask(service, "/offices")
    assert (answer.status_code, is_page(answer)) == (500, True)
    assert "What you saved before is still there." in answer.text
    assert "UTC" in answer.text
    assert "no choice at all" not in answer.text
    program = await ask(service, "/api/v1/offices", Authorization=f"Bearer {ADMIN}")
    assert (program.status_code, program.json()["error"]["code"]) == (500, "internal_error")


async def test_error_pages_speak_the_browsers_language(service: Running) -> None:
    answer = await ask(service, "/nowhere", **{"Accept-Language": "fi"})
    assert '<html lang="fi">' in answer.text
    assert "There is nothing" not in answer.text


SLASHED = [
    ("GET", "/api/v1/offices/"),
    ("POST", "/api/v1/connections/"),
    ("PUT", "/api/v1/offices/default/"),
    ("GET", "/api/v1/openapi.json/"),
    ("POST", "/login/"),
    ("GET", "/bookings/"),
    ("GET", "/static"),
    ("GET", "/livez/"),
    ("POST", "/webhooks/vello/"),
]


async def test_a_slash_too_many_leads_nowhere_instead_of_to_where_the_host_header_says(service: Running) -> None:
    """A client would send a body with secrets once more, in clear where a proxy speaks TLS for us."""
    for method, path in SLASHED:
        for headers in ({}, {"Authorization": f"Bearer {ADMIN}"}):
            answer = await ask(service, path, method, "application/json", Host="elsewhere.example", **headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path
            assert "location" not in answer.headers
