"""Each guard of "exactly one meeting" is taken out once, and one of a few storms sees it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.mutants import mutated
from tests.chaos.storm import Plan, Storm

LOSSY = Plan(
    seed=1,
    bookings=40,
    seconds=3,
    most=2,
    forgetful=(True,),
    weather={"only": "POST", "lost": 0.4, "delay": 0.5, "even": True, "spares": False},
)
"""Many answers to creates are lost."""
SLOW = Plan(
    seed=1,
    bookings=20,
    seconds=3,
    most=2,
    forgetful=(True,),
    weather={"delay": 3.0, "even": True},
    lasting=True,
)
"""Every call takes longer than a lease, to the end."""
FROZEN = Plan(
    seed=1,
    bookings=120,
    seconds=4,
    at_once=120,
    most=2,
    forgetful=(True,),
    weather={"only": "POST", "delay": 4.0, "even": True},
    troubles={"freezes": 2},
)
"""Services freeze for longer than a lease while vendors work for them, and come back as zombies."""
STORMS = {"lossy": LOSSY, "slow": SLOW, "frozen": FROZEN}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("storm", STORMS)
async def test_with_every_guard_nothing_is_wrong(storm: str) -> None:
    verdict = await Storm(STORMS[storm]).run()
    assert verdict.good, f"{verdict} {verdict.stories}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("mutant", "storm", "figure"),
    [
        ("no_intent", "lossy", "duplicated"),
        ("no_find", "lossy", "duplicated"),
        ("no_renewal", "slow", "stale"),
        ("no_fence", "frozen", "duplicated"),
    ],
)
async def test_a_missing_guard_is_seen(mutant: str, storm: str, figure: str, tmp_path: Path) -> None:
    source, seen = mutated(mutant, tmp_path), []
    for seed in (1, 2, 3):  # a freeze may come while a service has nothing in hand
        verdict = await Storm(replace(STORMS[storm], source=source, calm=8, seed=seed)).run()
        if verdict.wrong[figure]:
            return
        seen.append(str(verdict))
    pytest.fail("\n".join(seen))
