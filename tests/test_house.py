"""The house rules that no linter knows."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from service import scripts

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("service", "providers") for path in (ROOT / folder).rglob("*") if path.is_file())
CODE = [path for path in SOURCES if path.suffix in (".py", ".lua")]
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def tracked() -> list[Path]:
    """What is committed; on a machine without git or outside a clone, what lies beside the tests."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    paths = [ROOT / name for name in names] or [*SOURCES, *TESTS, *ROOT.glob("*.*"), *(ROOT / "docs").glob("*")]
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("path", CODE, ids=str)
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_every_verb_that_is_written_has_its_script() -> None:
    written = "".join((ROOT / "service" / f"{name}.lua").read_text() for name in scripts.AFTER.split())
    assert re.findall(r"verbs\.(\w+)", written) == list(scripts.SCRIPTS)


@pytest.mark.parametrize("path", CODE, ids=str)
def test_nothing_is_left_unfinished(path: Path) -> None:
    assert not re.search(r"TODO|FIXME|XXX|NotImplemented", path.read_text())


@pytest.mark.parametrize("path", CODE, ids=str)
def test_a_broad_except_says_why(path: Path) -> None:
    for line in path.read_text().splitlines():
        if re.search(r"except Exception\b|except:", line):
            reason = re.sub(r"noqa(: \w+)?", "", line.partition("#")[2])
            assert len(reason.split()) >= 3, line


@pytest.mark.parametrize("path", [path for path in CODE if path.suffix == ".py"], ids=str)
def test_only_one_file_sends_requests(path: Path) -> None:
    """Only providers/http.py imports httpx, so time limits, repeats and redaction hold everywhere."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert ("httpx" in imported) == (path == ROOT / "providers" / "http.py")


def test_tests_sleep_nowhere_but_in_waiting() -> None:
    sleepers = [path.name for path in TESTS if re.search(r"\bsleep\([^0)]", path.read_text())]
    assert sleepers == ["waiting.py"]


def test_imports_run_one_way() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_nothing_committed_names_a_machine_or_a_registry() -> None:
    machine = re.compile(r"/ro{2}t/|/wor[k]/|/opt/pyp[i]|pypi\.or[g]|pythonhoste[d]|registry\.npmj[s]")
    named = [str(path) for path in tracked() if machine.search(path.read_text(errors="replace"))]
    assert named == []


def test_the_changelog_knows_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{project['version']}]" in text


def test_the_lock_holds_every_dependency_with_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=!~;\[ ]", requirement)[0]
        assert re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE), name
    assert "://" not in lock
    for entry in re.split(r"\n(?=[a-z])", lock.strip()):
        assert "--hash=sha256:" in entry
