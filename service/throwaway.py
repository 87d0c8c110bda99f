"""A service of its own on a throw-away embedded store, for the demo and the rehearsal: nothing is left of it."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.embedded import socket_path
from service.trigger import NotSent, call

_START: Final = 20.0  # seconds the service may take to start
_STEP: Final = 0.05
_PASSED_ON: Final = ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")


class NotStarted(Exception):
    """The service did not start; the message says how far it got."""


@dataclass(frozen=True, slots=True)
class Throwaway:
    """A service that runs: where, what Vello signs with, what admins log in with, and where its store is."""

    base: str
    webhook_token: str
    admin_token: str
    data_dir: Path


@contextmanager
def throwaway(**environment: str) -> Iterator[Throwaway]:
    """Start a service on a free loopback port with this environment; it ends, and its files go, when left.

    Raises: NotStarted.
    """
    with tempfile.TemporaryDirectory(prefix="vello-meetings-") as data:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        made = Throwaway(f"http://127.0.0.1:{port}", secrets.token_hex(16), secrets.token_hex(16), Path(data))
        given = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        given |= {
            "PUBLIC_URL": made.base,
            "DATA_DIR": data,
            "VELLO_WEBHOOK_TOKEN": made.webhook_token,
            "ADMIN_TOKEN": made.admin_token,
            "LOG_LEVEL": "error",
            **environment,
        }
        command = [sys.executable, "-P", "-m", "service", "serve", "--port", str(port)]
        service = subprocess.Popen(command, env=given, stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves
        try:
            _await_ready(made.base, service)
            yield made
        finally:
            _stop(service)
            _forget_socket(made.data_dir)


def _await_ready(base: str, service: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START
    while time.monotonic() < until:
        if service.poll() is not None:
            raise NotStarted(f"the service stopped with exit code {service.returncode}")
        try:
            if call(urllib.request.Request(f"{base}/readyz")).status == 200:  # noqa: S310 - our own
                return
        except NotSent:
            time.sleep(_STEP)
    raise NotStarted(f"the service was not ready within {_START:.0f} seconds")


def _stop(service: subprocess.Popen[bytes]) -> None:
    service.terminate()
    try:
        service.wait(20)
    except subprocess.TimeoutExpired:
        service.kill()
        service.wait()


def _forget_socket(data_dir: Path) -> None:
    """Remove the directory that a store with a long path has for its socket."""
    place = socket_path(data_dir / "valkey").parent
    if data_dir not in place.parents:
        shutil.rmtree(place, ignore_errors=True)
