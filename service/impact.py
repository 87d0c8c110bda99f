"""What a choice would do to bookings that are still to come, before anybody makes it. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from providers.base import Capabilities
from service.choices import Choice
from service.entry import Entry, Placement
from service.plan import Verdict, plan

CapabilitiesOf = Callable[[str | None], Capabilities | None]


@dataclass(frozen=True, slots=True)
class Impact:
    """How many upcoming bookings there are, and for how many a meeting would be made, changed, replaced or removed.

    `links_lost`: of the replaced and removed ones, those whose customers hold the meeting's own link: it dies with it.
    `complete` is false when there were more bookings than are looked at.
    """

    upcoming: int = 0
    made: int = 0
    changed: int = 0
    replaced: int = 0
    removed: int = 0
    links_lost: int = 0
    complete: bool = True

    @property
    def nothing(self) -> bool:
        """No booking would notice."""
        return not (self.made or self.changed or self.replaced or self.removed)


def impact(
    entries: Iterable[Entry],
    before: Choice | None,
    after: Choice | None,
    capabilities: CapabilitiesOf,
    standing: Callable[[Placement], Capabilities | None],
    *,
    complete: bool = True,
) -> Impact:
    """Weigh `after` against `before` for the entries of the offices they serve; `standing` as `plan` has it.

    What happens to a booking anyhow, whichever of the two holds, is not counted.
    """
    upcoming = lost = 0
    counted = dict.fromkeys(_COUNTED, 0)
    able = capabilities(after.connection if after else None)
    was_able = capabilities(before.connection if before else None)
    for entry in entries:
        upcoming += 1
        stands = standing(entry.meeting) if entry.meeting else None
        verdict = plan(entry, after, able, stands).verdict
        if verdict not in counted or verdict is plan(entry, before, was_able, stands).verdict:
            continue
        counted[verdict] += 1
        if verdict in (Verdict.REPLACE, Verdict.DELETE) and entry.meeting and entry.told and not entry.hosted:
            lost += 1
    made, changed, replaced, removed = counted.values()
    return Impact(upcoming, made, changed, replaced, removed, lost, complete)


_COUNTED = (Verdict.CREATE, Verdict.UPDATE, Verdict.REPLACE, Verdict.DELETE)
