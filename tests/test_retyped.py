"""Which secrets are to be entered again when an address changes."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from providers.http_provider import HttpProviderSettings
from providers.jitsi import JitsiSettings
from providers.memory import MemorySettings
from service.retyped import demand

MEMORY = {"url": "https://a.example", "token": "t"}
JITSI = {"url": "https://a.example", "app_id": "clinic", "secret": "s" * 40}
SIGNED = {"url": "https://a.example/vello", "secret": "whsec_" + "A" * 32}


@pytest.mark.parametrize(
    ("model", "stands", "typed", "owed"),
    [
        (MemorySettings, MEMORY, {"url": "https://b.example"}, ["token"]),
        (MemorySettings, MEMORY, {"url": "http://a.example"}, ["token"]),
        (MemorySettings, MEMORY, {"url": "https://a.example:8443"}, ["token"]),
        (MemorySettings, MEMORY, {"url": "https://a.example.b.example"}, ["token"]),
        (MemorySettings, MEMORY, {"url": "https://b.example", "token": "t"}, []),
        (MemorySettings, MEMORY, {"url": "https://A.example/below"}, []),
        (MemorySettings, {"url": "https://a.example"}, {"url": "https://b.example"}, []),
        (HttpProviderSettings, SIGNED, {"url": "https://b.example/vello"}, ["secret"]),
        (HttpProviderSettings, SIGNED, {"max_duration": 600}, []),
        (JitsiSettings, JITSI, {"url": "https://b.example"}, ["secret"]),
        (JitsiSettings, {"url": "https://a.example"}, {"url": "https://b.example"}, []),
        (JitsiSettings, JITSI, {"secret": "t" * 40}, []),
    ],
    ids=[
        "host",
        "scheme",
        "port",
        "longer host",
        "typed",
        "path",
        "no secret",
        "signed",
        "signed, no address",
        "jitsi",
        "made up by the adapter",
        "another secret",
    ],
)
def test_a_secret_is_owed_where_an_address_leads_to_another_server(
    model: type[Any], stands: Mapping[str, Any], typed: Mapping[str, Any], owed: list[str]
) -> None:
    before = model.model_validate(stands)
    after = model.model_validate({**before.reveal(), **typed})
    found: list[str] = []
    try:
        demand(before, after, typed)
    except ValidationError as error:
        found = [str(each["loc"][0]) for each in error.errors()]
    assert found == owed
