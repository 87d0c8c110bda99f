"""The service without one of its guards: a copy of its source in which one text is replaced.

A mutant whose text is no longer there exactly once is an error: move it along with the source.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import service


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is taken out, and what stands in its place."""

    guard: str
    instead: str


MUTANTS = {
    "no_fence": Mutant(
        "  if e.fence ~= ARGV[3] or not e.owner then\n    local _, flat = load(entry)",
        "  if false then\n    local _, flat = load(entry)",
    ),
    "no_intent": Mutant('Change("hold", {"intent": sealed}', 'Change("hold", {}'),
    "no_find": Mutant(
        'found = await self._call(entry, "find", intent, provider.find(intent.spec))', "found: Meeting | None = None"
    ),
    "no_renewal": Mutant("if not await self._ledger.renew(lease):", "if True:"),
}


def mutated(name: str, into: Path) -> Path:
    """Write the mutant's package into `into` and return that, to stand before all else on PYTHONPATH."""
    source = Path(service.__file__).parent
    shutil.copytree(source, into / "service", ignore=shutil.ignore_patterns("__pycache__"))
    mutant = MUTANTS[name]
    files = [path for path in (into / "service").rglob("*") if path.suffix in (".py", ".lua")]
    having = [path for path in files for _ in range(path.read_text().count(mutant.guard))]
    assert len(having) == 1, f"the guard of {name} stands {len(having)} times in the source"
    having[0].write_text(having[0].read_text().replace(mutant.guard, mutant.instead))
    return into
