"""DATA_DIR/generated.json: the secrets that a start without configuration makes and later starts read."""

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

FILE_NAME = "generated.json"


class GeneratedRefused(Exception):
    """The file cannot be used or written; the message says what is wrong and how to put it right."""


def read(data_dir: Path) -> dict[str, str]:
    """Return the secrets by variable name, none when there is no file; others' rights to it are taken away.

    Creates nothing. Raises GeneratedRefused for a file that is unreadable, damaged or cannot be kept private.
    """
    path = data_dir / FILE_NAME
    try:
        with path.open(encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                os.fchmod(file.fileno(), 0o600)
            values = json.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise GeneratedRefused(
            f"holds {path}, which cannot be read and kept private ({error.strerror}); "
            "give it to the user of this service with mode 0600"
        ) from None
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(isinstance(value, str) and value for value in values.values()):
        raise GeneratedRefused(
            f"holds a damaged {path}; restore that file, or move it away if nothing has been connected yet"
        )
    return values


def complete(data_dir: Path, makers: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    """Return the secrets with every one of `makers` among them, made and kept where it was missing.

    Services that start at the same moment end with the same values. Raises GeneratedRefused as `read` does.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            values = read(data_dir)
            fresh = {name: make() for name, make in makers.items() if name not in values}
            if fresh:
                _replace(data_dir / FILE_NAME, json.dumps(values | fresh, indent=2) + "\n")
                os.fsync(lock)
            return values | fresh
        finally:
            os.close(lock)
    except OSError as error:
        raise GeneratedRefused(
            f"cannot be written at {data_dir} ({error.strerror}); make it writable, or set {', '.join(sorted(makers))}"
        ) from None


def _replace(path: Path, text: str) -> None:
    """Put a file in place as a whole, so that a crash leaves the old one or the new one."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
