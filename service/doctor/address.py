"""The public URL: whether people's pages are reached there, and whether a signed event arrives as it was sent.

The event is of a type of its own, so the service answers it, remembers nothing, and never takes it for Vello.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from providers.base import ProviderError
from providers.http import Answer, Http
from service.companies import Company
from service.doctor.finding import Report
from service.values import here
from service.vello import sign

EVENT: Final = "doctor.test"
"""A type that Vello does not have: it is answered with `{}` and changes nothing."""

_ANY = range(100, 600)
_HEADER = "Vello-Signature"
# In each an order, spaces and escapes of its own: what takes JSON apart and writes it again changes one of them.
_AS_SENT = '{"type" :"%s",  "id":"%s", "data":{"b":1.50,"a":"\\u00e4\\/é"} }\n'
_REWRITTEN = ('{"data":{"a":1},"id":"%s","type":"%s"}', '{"data": {"a": 1}, "id": "%s", "type": "%s"}')
_ROUTE = "Look at the name in DNS, the proxy before the service, its certificate, and whether the service runs."


async def look(report: Report, http: Http, public_url: str, companies: Sequence[Company]) -> None:
    """The page of a booking that does not exist, and one event for each endpoint URL."""
    await _pages(report, http, public_url)
    for company in companies:
        for url in company.endpoint_urls:
            await _webhook(report, http, url, company)


async def _pages(report: Report, http: Http, public_url: str) -> None:
    check, address = "public_url", f"/m/{secrets.token_urlsafe(16)}"
    try:
        answer = await http.at(public_url).send("GET", address, accept=_ANY)
    except ProviderError as error:
        report.broken(check, error.text, _ROUTE, about=public_url)
        return
    if 300 <= answer.status < 400:
        text = f"It sends people to another address (status {answer.status})."
        report.broken(check, text, "Set PUBLIC_URL to the address it leads to.", about=public_url)
    elif answer.status not in (404, 503) or "noindex" not in answer.headers.get("x-robots-tag", ""):
        text = f"Something else than this service answers there (status {answer.status})."
        report.broken(check, text, "Set PUBLIC_URL to the service, or lead /m/ and /static/ to it.", about=public_url)
    elif here(urlsplit(public_url).hostname or ""):
        text = "It is an address of this machine alone: neither Vello nor customers reach it."
        report.warning(check, text, "Set PUBLIC_URL to an address they reach.", about=public_url)
    elif not public_url.startswith("https:"):
        text = "Bookings' links and Vello's events travel in clear."
        report.warning(check, text, "Serve it by https and set PUBLIC_URL to that.", about=public_url)
    else:
        report.ok(check, "Booking pages are reached.", about=public_url)


async def _webhook(report: Report, http: Http, url: str, company: Company) -> None:
    check, token = "webhook", company.tokens[0]
    try:
        answer = await _sent(http, url, token, _AS_SENT % (EVENT, secrets.token_hex(8)))
        if answer.status == 200 and _said(answer) == {}:
            nonsense = await _sent(http, url, token, "[]")
            if (nonsense.status, _code(nonsense)) != (400, "invalid_event"):
                text = "Whatever is sent there is answered as if it were right: it is not this service."
                report.broken(check, text, "Lead this address to the service.", about=url)
            else:
                report.ok(check, "A signed event arrives as it was sent.", about=url)
            return
        if (answer.status, _code(answer)) == (401, "invalid_signature"):
            for form in _REWRITTEN:
                words = (secrets.token_hex(8), EVENT)
                if (await _sent(http, url, token, form % words)).status == 200:
                    text = "Something on the way reads events and writes them anew, which breaks Vello's signature."
                    cure = "Have the proxy or firewall pass bodies on byte for byte (no JSON filter, no rewriting)."
                    report.broken(check, text, cure, about=url)
                    return
    except ProviderError as error:
        report.broken(check, error.text, _ROUTE, about=url)
        return
    report.broken(check, *_meaning(answer), about=url)


async def _sent(http: Http, url: str, token: str, text: str) -> Answer:
    body = text.encode()
    headers = {_HEADER: sign(token, url, body), "Content-Type": "application/json"}
    return await http.at("").send("POST", url, headers=headers, content=body, safe=True, accept=_ANY)


def _meaning(answer: Answer) -> tuple[str, str]:
    """What is wrong with an answer, and what to do."""
    status, code = answer.status, _code(answer)
    if 300 <= status < 400:
        text = f"It sends events to another address (status {status}), and Vello signs for this one."
        return text, "Enter the address it leads to in Vello and as VELLO_ENDPOINT_URL, or end the redirect."
    if code == "invalid_signature":
        return (
            "The service there does not take our signature.",
            "Restart it with this token and this endpoint URL, and have the proxy pass the header Vello-Signature and "
            "the body on as they are.",
        )
    if code == "unknown_company":
        return "The service there does not know this company.", "See whether it uses this store."
    if code == "store_unavailable":
        return "The service there does not reach its store.", "See what it says in its log."
    if status in (502, 503, 504):
        return f"The proxy there does not reach the service (status {status}).", "Start it, and see where it leads to."
    text = f"Something else than this service answers there (status {status})."
    return text, "Lead this address to the service; no login, firewall rule or cache may stand before it."


def _said(answer: Answer) -> Any:
    try:
        return answer.json()
    except ProviderError:
        return None


def _code(answer: Answer) -> str:
    said = _said(answer)
    error = said.get("error") if isinstance(said, dict) else None
    return str(error.get("code", "")) if isinstance(error, dict) else ""
