"""Lines on stderr: one for each thing, readable by machines, and nothing secret in any of them ever."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import logs
from tests.events import record
from tests.processes import Service
from tests.servers import MemoryServer

SECRET = "h0rse-battery-staple"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwZXJzb24ifQ.c2lnbmF0dXJl"
PEM = f"-----BEGIN PRIVATE KEY-----\nMIIEvQ{SECRET}\n-----END PRIVATE KEY-----"
HOSTED = "AbcdefghijkLmnopqrstuvw"
TEXTS = [
    f"https://meet.example.org/room?jwt={JWT}",
    f"https://meet.example.org/room#config.x=1&pwd={SECRET}&y=2",
    f"https%3A%2F%2Fmeet.example.org%2F%3Fpwd%3D{SECRET}%26y",
    f"https%253A%252F%252Fmeet.example.org%252F%253Fcode%253D{SECRET}",
    f"redis://user:{SECRET}@store.example.org:6379/0",
    f"next=https%3A%2F%2Fuser%3A{SECRET}%40example.org",
    f"https://vello.example.org/m/{HOSTED}/join",
    f"https%3A%2F%2Fvello.example.org%2Fm%2F{HOSTED}",
    f"https://vello.example.org/h/{HOSTED}/start",
    f"/h/{HOSTED}",
    f"Authorization: Bearer {SECRET}",
    f"authorization=Basic {SECRET}",
    f"Bearer {SECRET}",
    f'{{"access_token": "{SECRET}", "expires_in": 3600}}',
    f"{{'refresh_token': '{SECRET}'}}",
    f"client_secret={SECRET}&grant_type=refresh_token",
    f"ZoomSettings(account='a', client_secret='{SECRET}')",
    PEM,
    JWT,
]
SCRIPT = """
import json, logging, sys
import structlog
from service import logs

texts, secret = json.loads(sys.stdin.read())
logs.configure(sys.argv[1], sys.argv[2])
ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")
for text in texts:
    ours.info("plain", text=text)
    ours.info("nested", value={"list": [text, {"deep": (text,)}], 7: {text}})
    ours.info("bytes", value=text.encode())
    theirs.warning("foreign %s", text, extra={"more": text})
    try:
        raise ValueError(text)
    except ValueError:
        ours.exception("ours_failed")
        theirs.exception("theirs failed")
ours.info("named", webhook_token=secret, nested={"Client-Secret": [secret], "a": {"password": {"x": secret}}})
ours.info("named", token=None, join_url="https://" + secret, passcode=12345678, cookie=secret.encode())
ours.debug("quiet", text="not at this level")
theirs.info("theirs %s", "too")
print("done")
"""


def written(*arguments: str, texts: list[str] = TEXTS) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, *arguments]
    given = json.dumps([texts, SECRET])
    ran = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    assert ran.stdout == "done\n"
    return ran.stderr.splitlines()


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_shape_of_a_secret_gets_into_a_line(form: str) -> None:
    lines = written("info", form)
    assert len(lines) > len(TEXTS) * 5
    assert [line for line in lines for secret in (SECRET, JWT, HOSTED, "12345678") if secret in line] == []
    assert any("meet.example.org" in line for line in lines), "what is not secret stays"


def test_every_line_is_json_says_when_and_how_bad_and_is_not_below_its_level() -> None:
    lines = [json.loads(line) for line in written("info", "json")]
    assert {line["event"] for line in lines} >= {"plain", "nested", "bytes", "ours_failed", "named", "theirs too"}
    assert [line for line in lines if not line["timestamp"].endswith("Z") or line["level"] == "debug"] == []
    assert "ValueError" in next(line for line in lines if line["event"] == "ours_failed")["exception"]
    assert [line["event"] for line in map(json.loads, written("error", "json"))].count("ours_failed") == len(TEXTS)
    assert "plain" not in "".join(written("warning", "text"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["token", "a_secret"]), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text() | st.sampled_from(["token", "password", "reason"]), values), values)
def test_a_line_stays_json_whatever_is_taken_out_of_it(event: dict[str, Any], more: Any) -> None:
    line = logs._json(None, "", logs.redact(None, "", {**event, "value": more}))
    assert isinstance(json.loads(line), dict)
    assert "\n" not in line
    assert SECRET not in line


def test_work_goes_on_when_nobody_reads_the_lines_any_more() -> None:
    command = [sys.executable, "-c", SCRIPT, "info", "json"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stderr.close()
        process.stdin.write(json.dumps([TEXTS, SECRET]))
        process.stdin.close()
        assert process.stdout.read() == "done\n"


async def test_an_event_is_one_line_and_a_providers_call_is_one_line(
    store_url: str, meeting_server: MemoryServer, tmp_path: Path
) -> None:
    log, data = tmp_path / "log", record()
    async with Service(REDIS_URL=store_url, log=log, LOG_FORMAT="json") as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 503, "times": 3}], only="create")
        said = ["connection.test", "invoice.paid", "record.update_metadata", "record.update_metadata"]
        for kind in said:
            await service.say(kind, data)
        await service.settled(data["id"])
        await service.say("record.updated", {**data, "version": 0})
        await service.request("POST", "/webhooks/vello", content=b"{}")
        await service.request("POST", "/webhooks/vello/nobody", content=b"{}")
        assert await service.stop() == 0
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    events = [line for line in lines if line["event"] == "event"]
    assert [(line["type"], line["outcome"], line.get("code")) for line in events] == [
        ("connection.test", "no_record", None),
        ("invoice.paid", "no_record", None),
        ("record.update_metadata", "new", None),
        ("record.update_metadata", "same", None),
        ("record.updated", "old", None),
        ("other", "refused", "invalid_signature"),
        ("other", "refused", "unknown_company"),
    ]
    assert {line["record"] for line in events[2:5]} == {data["id"]}
    calls = [line for line in lines if line["event"] == "provider_call"]
    assert len(calls) >= 2
    assert calls[0]["outcome"] == "TemporaryError" or calls[0]["outcome"] == "OutcomeUnknown"
    assert (calls[-1]["outcome"], calls[-1]["verb"]) == ("ok", "create")
    for number, line in enumerate([*events, *calls]):
        assert line["milliseconds"] >= 0, number
    connection = events[2]["connection"]
    for line in calls:
        assert (line["record"], line["provider"], line["connection"]) == (data["id"], "memory", connection)
    assert [line["attempt"] for line in calls] == sorted(line["attempt"] for line in calls)
