"""What the doctor finds: one line for each thing it looked at, as a table for people and as JSON for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Final, Literal

from service.logs import redacted

Status = Literal["ok", "warning", "problem"]

CHECKS: Final[Mapping[str, str]] = {
    "configuration": "every environment variable",
    "store": "the store answers, is new enough and takes writes",
    "store.persistence": "it remembers after a restart",
    "store.eviction": "it drops nothing when it is full",
    "store.memory": "it has room",
    "store.latency": "it answers quickly",
    "clock": "this machine's clock against the store's",
    "keys": "every secret in the store can be opened",
    "public_url": "booking pages are reached at PUBLIC_URL",
    "webhook": "a signed event arrives as it was sent",
    "notices": "somebody is told when something needs a person",
    "notices.mail": "the mail server takes notices",
    "notices.webhook": "the program takes notices",
    "connection": "the account or server answers",
    "connection.scopes": "the account allows what is needed",
    "connection.budget": "what is left of the day's meetings",
    "connection.meeting": "a meeting is made, moved, found and removed",
    "connection.options": "the account's own settings leave the office's options alone",
}
"""Every check by its name, which never changes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of one thing: `about` says which one of several; `cure` is there unless all is well."""

    check: str
    status: Status
    text: str
    cure: str | None = None
    about: str | None = None


@dataclass(slots=True)
class Report:
    """All findings, in the order in which they were made; `skipped` are checks that something else made impossible."""

    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def ok(self, check: str, text: str, *, about: str | None = None) -> None:
        """All is well with this."""
        self._add(Finding(check, "ok", text, None, about))

    def warning(self, check: str, text: str, cure: str, *, about: str | None = None) -> None:
        """It works, and may not always, or not as it should."""
        self._add(Finding(check, "warning", text, cure, about))

    def broken(self, check: str, text: str, cure: str, *, about: str | None = None) -> None:
        """It does not work."""
        self._add(Finding(check, "problem", text, cure, about))

    def skip(self, *checks: str) -> None:
        """These cannot be looked at now."""
        self.skipped += checks

    @property
    def well(self) -> bool:
        """Nothing is a problem."""
        return all(each.status != "problem" for each in self.findings)

    def json(self) -> dict[str, Any]:
        """For programs; fields and names of checks stay as they are."""
        checks = [asdict(each) for each in self.findings]
        return {
            "ok": self.well,
            "version": metadata.version("vello-meetings"),
            "checks": checks,
            "skipped": self.skipped,
        }

    def table(self) -> str:
        """For people."""
        width = max((len(each.check) for each in self.findings), default=0)
        lines = []
        for each in self.findings:
            about = f"{each.about}: " if each.about else ""
            lines.append(f"{each.status:<8} {each.check:<{width}}  {about}{each.text}")
            if each.cure:
                lines.append(f"{'':<8} {'':<{width}}  -> {each.cure}")
        if self.skipped:
            lines.append(f"Not looked at, because of what stands above: {', '.join(self.skipped)}.")
        counts = {status: sum(each.status == status for each in self.findings) for status in ("problem", "warning")}
        said = [f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items() if count]
        return "\n".join([*lines, f"{' and '.join(said) or 'No problem'} found."])

    def _add(self, finding: Finding) -> None:
        # Texts come from many places: what looks like a secret never gets out, whoever wrote it.
        clean = Finding(
            finding.check,
            finding.status,
            redacted(finding.text),
            redacted(finding.cure) if finding.cure else None,
            redacted(finding.about) if finding.about else None,
        )
        if clean not in self.findings:  # several servers of one store may say the same
            self.findings.append(clean)


def parted(message: str) -> tuple[str, str]:
    """What is wrong and what to do, of a sentence that says both with a semicolon between."""
    what, _, cure = message.rstrip(".").partition("; ")
    return f"{what}.", f"{cure[:1].upper()}{cure[1:]}." if cure else "Put it right, then run this again."
