"""What a sweep found, for who reads it: a table for people, JSON for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.drift import Finding
from service.swept import Kind, SweepReport

_DOES: Final = {
    Kind.ADOPT: ("taken on", "would take on"),
    Kind.REMOVE: ("removed", "would remove"),
    Kind.REPAIR: ("set right", "would set right"),
    Kind.AGAIN: ("tried again", "would try again"),
    Kind.NOTE: ("waits for Vello's next event", "would wait for Vello's next event"),
    Kind.REPORT: ("left as it is", "would leave as it is"),
}


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep came to, and all that it found."""

    report: SweepReport
    findings: Sequence[Finding]

    def json(self, *, dry: bool) -> dict[str, Any]:
        """For programs; no link and nothing secret."""
        found = [
            {
                "kind": str(each.kind),
                "why": each.why,
                "connection": each.connection,
                "meeting": each.meeting,
                "record": each.record,
                "start": each.sighting.listed.start if each.sighting else None,
            }
            for each in self.findings
        ]
        report = self.report
        return {
            "dry_run": dry,
            "meetings": report.meetings,
            "counts": dict(report.counts),
            "unread": dict(report.left),
            "findings": found,
        }

    def table(self, *, dry: bool) -> str:
        """For people: a line for each finding, then what it comes to."""
        lines = [_line(each, dry=dry) for each in self.findings]
        lines += [
            f"{connection}: not all of its meetings could be read: {why}"
            for connection, why in self.report.left.items()
        ]
        counts = ", ".join(f"{_DOES[Kind(kind)][dry]}: {count}" for kind, count in sorted(self.report.counts.items()))
        seen = f"{self.report.meetings} meetings of ours were seen."
        return "\n".join([*lines, f"{seen} {counts}." if counts else f"{seen} Everything is as it should be."])


def _line(finding: Finding, *, dry: bool) -> str:
    about = [finding.connection or "-"]
    about += [f"meeting {finding.meeting}"] if finding.meeting else []
    about += [f"booking {finding.record}"] if finding.record else []
    return f"{_DOES[finding.kind][dry]}: {', '.join(about)}: {finding.why}"
