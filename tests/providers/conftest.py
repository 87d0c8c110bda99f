"""The session's fake Zoom for the tests of providers."""

from collections.abc import Iterator

import pytest

from tests.fakes.zoom_server import ZoomServer


@pytest.fixture(scope="session")
def _zoom_server() -> Iterator[ZoomServer]:
    with ZoomServer() as server:
        yield server


@pytest.fixture
async def zoom(_zoom_server: ZoomServer) -> ZoomServer:
    """A Zoom with three apps and two users, without meetings, tokens, faults and calls."""
    await _zoom_server.reset()
    return _zoom_server
