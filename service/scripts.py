"""The ledger's scripts, one for each verb: a function costs the store time where it is defined, called or not."""

import re
from importlib import resources
from typing import Final

from service.repeats import SOURCE
from service.store import Script

_BEFORE: Final = "entry order tombs note failed hosts found"
AFTER: Final = "ledger links noticed parked asked"
_VERB: Final = re.compile(r"^function verbs\.(\w+)\(\)\n.*?^end\n", re.MULTILINE | re.DOTALL)
_REMARK: Final = re.compile(r"^ *--.*\n", re.MULTILINE)


def _read(names: str) -> str:
    return "".join(resources.files("service").joinpath(f"{name}.lua").read_text() for name in names.split())


def _scripts() -> dict[str, Script]:
    source = _REMARK.sub("", _read(_BEFORE) + SOURCE + _read(AFTER))
    shared = _VERB.sub("", source)
    return {verb[1]: Script(f"{shared}{verb[0]}return verbs.{verb[1]}()\n") for verb in _VERB.finditer(source)}


SCRIPTS: Final = _scripts()
"""Verb -> what the store runs."""
