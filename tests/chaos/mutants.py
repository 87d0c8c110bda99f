"""The service without one of its guards: a copy of its source in which one text is replaced.

A mutant whose text is no longer there exactly once is an error: move it along with the source.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import service


@dataclass(frozen=True, slots=True)
class Cut:
    """What is taken out, and what stands in its place."""

    guard: str
    instead: str


MUTANTS: dict[str, tuple[Cut, ...]] = {
    "no_fence": (
        Cut(
            "if e.fence ~= ARGV[3] or not e.owner then return {'lost', now, rev, flat} end",
            "",
        ),
    ),
    "no_intent": (
        Cut('Change("hold", {"intent": sealed}', 'Change("hold", {}'),
        Cut("put(e, 'intent', ARGV[31], 'intended', now)", ""),
        Cut("inherited, mine, answer = 0, 0, 0, nil", "inherited, mine, answer = 0, 0, 1, nil"),
        Cut('anew = {"intent": self._ledger.seal(entry.record, entry.intent)} if entry.intent else {}', "anew = {}"),
    ),
    "no_find": (
        Cut(
            'found = await self._call(entry, "find", intent, provider.find(intent.spec))',
            "found: Meeting | None = None",
        ),
    ),
    "forgets_hosted": (Cut(" and not mints and not entry.hosted\n", " and not mints\n"),),
    "no_renewal": (Cut(".call_later(self._pause, self._begin)", ".call_later(86_400, self._begin)"),),
}


def mutated(name: str, into: Path) -> Path:
    """Write the mutant's package into `into` and return that, to stand before all else on PYTHONPATH."""
    source = Path(service.__file__).parent
    shutil.copytree(source, into / "service", ignore=shutil.ignore_patterns("__pycache__"))
    files = [path for path in (into / "service").rglob("*") if path.suffix in (".py", ".lua")]
    for cut in MUTANTS[name]:
        having = [path for path in files for _ in range(path.read_text().count(cut.guard))]
        assert len(having) == 1, f"a guard of {name} stands {len(having)} times in the source"
        having[0].write_text(having[0].read_text().replace(cut.guard, cut.instead))
    return into
