"""What people saw of one outage, in the order in which they saw it, and which promises were kept."""

import textwrap
import time
from dataclasses import dataclass, field

WIDTH = 120


@dataclass(slots=True)
class Story:
    """One outage as it is told. Threads do not share one."""

    title: str
    played: str
    """What stands in for what, and what is shorter than in earnest."""
    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    kept: int = 0
    _began: float = field(default_factory=time.monotonic)

    def tell(self, who: str, text: str) -> None:
        """Somebody saw or did something, now."""
        self._line(f"{time.monotonic() - self._began:5.1f} s  {who}: ", text)

    def promise(self, text: str, kept: bool, seen: str = "") -> None:
        """Whether a promise was kept; `seen` says what was there instead."""
        if kept:
            self.kept += 1
            self._line("   kept  ", text)
        else:
            self.broken.append(f"{text} {seen}".strip())
            self._line(" BROKEN  ", self.broken[-1])

    def text(self) -> str:
        """The whole of it."""
        return "\n".join([f"\n== {self.title}", textwrap.fill(self.played, WIDTH), "", *self.lines])

    def _line(self, begin: str, text: str) -> None:
        self.lines.append(textwrap.fill(text, WIDTH, initial_indent=begin, subsequent_indent=" " * 9))
