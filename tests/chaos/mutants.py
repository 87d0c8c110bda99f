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
            "  if e.fence ~= ARGV[3] or not e.owner then\n    local _, flat = load(entry)",
            "  if false then\n    local _, flat = load(entry)",
        ),
    ),
    "no_intent": (
        Cut('Change("hold", {"intent": sealed}', 'Change("hold", {}'),
        Cut("redis.call('HSET', entry, 'intent', ARGV[31], 'intended', now)", ""),
        Cut("(fence > 0 and e.intent == ARGV[31]) and 1 or 0", "1"),
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
