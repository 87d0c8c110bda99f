"""Each guard of "exactly one meeting" is taken out once, and a storm sees it."""

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
    weather={"only": "POST", "lost": 0.4, "delay": 3.0, "even": True},
    calm=30,
)
"""Creates take longer than a lease, and many answers to them are lost."""
FROZEN = Plan(
    seed=1,
    bookings=60,
    seconds=6,
    most=2,
    forgetful=(True,),
    weather={"only": "POST", "delay": 3.0, "even": True},
    troubles={"freezes": 2},
    calm=30,
)
"""Services freeze for longer than a lease while vendors work for them, and come back as zombies."""
STORMS = {"lossy": LOSSY, "frozen": FROZEN}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("storm", STORMS)
async def test_with_every_guard_nothing_is_wrong(storm: str) -> None:
    verdict = await Storm(STORMS[storm]).run()
    assert verdict.good, f"{verdict} {verdict.stories}"


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("mutant", "storm"),
    [("no_intent", "lossy"), ("no_find", "lossy"), ("no_renewal", "lossy"), ("no_fence", "frozen")],
)
async def test_a_missing_guard_is_seen(mutant: str, storm: str, tmp_path: Path) -> None:
    plan = replace(STORMS[storm], source=mutated(mutant, tmp_path), calm=12)
    verdict = await Storm(plan).run()
    assert verdict.wrong["duplicated"], str(verdict)
