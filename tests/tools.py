"""System tools that some tests need: absent on a laptop they are skipped, absent in CI they fail."""

import os
import shutil
from typing import NoReturn

import pytest


def need(tool: str) -> str:
    """Return a tool's path; without it skip the test, or fail it where CI=true."""
    path = shutil.which(tool)
    if path is None:
        absent(tool)
    return path


def absent(tool: str) -> NoReturn:
    """Skip the test, or fail it where CI=true."""
    reason = f"{tool} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
