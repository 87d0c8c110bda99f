"""The release script lets only a version out whose parts agree."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tools import need

ROOT = Path(__file__).parent.parent
PARTS = ["release", "pyproject.toml", "CHANGELOG.md", "helm/vello-meetings/Chart.yaml", "tests/stored/0.1.0.json"]


def git(tree: Path, *arguments: str) -> None:
    who = ["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run([need("git"), *who, *arguments], cwd=tree, check=True, capture_output=True, timeout=60)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A committed tree that can be released."""
    for part in PARTS:
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## [Unreleased]", "## [0.1.0] - 2027-01-31"))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "A version")
    return tmp_path


def checked(tree: Path) -> tuple[int, str]:
    command = [need("bash"), str(tree / "release"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_a_version_whose_parts_agree_can_be_released(tree: Path) -> None:
    assert checked(tree) == (0, "0.1.0 can be released\n")


@pytest.mark.parametrize(
    ("part", "old", "new", "sentence"),
    [
        ("helm/vello-meetings/Chart.yaml", 'appVersion: "0.1.0"', 'appVersion: "0.0.9"', "make them equal"),
        ("CHANGELOG.md", "## [0.1.0] - 2027-01-31", "## [Unreleased]", "CHANGELOG.md has no section"),
        ("CHANGELOG.md", "All notable", "All the notable", "the tree holds changes"),
    ],
)
def test_parts_that_do_not_agree_are_refused(tree: Path, part: str, old: str, new: str, sentence: str) -> None:
    file = tree / part
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    code, said = checked(tree)
    assert code == 1
    assert sentence in said
