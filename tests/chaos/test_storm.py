"""Nothing lost, nothing doubled, nothing left over, whatever happens."""

import pytest

from tests.chaos.storm import Plan, Storm

_TROUBLES = {"kills": 4, "freezes": 3, "restarts": 1, "full": 1, "read_only": 1, "alone": 1}


@pytest.mark.timeout(600)
async def test_a_storm_leaves_every_booking_right() -> None:
    """All that may befall a call has befallen some, and every trouble came."""
    verdict = await Storm(Plan(seed=7, bookings=100, events=500, seconds=20, lease=3.0, troubles=_TROUBLES)).run()
    assert verdict.good, f"{verdict} {verdict.about} {verdict.stories}"
    assert verdict.happened["kills"] == 4
    assert verdict.happened["events"] >= 500
    assert {"answered", "refused", "cut", "lost"} <= verdict.befell.keys()


@pytest.mark.timeout(600)
async def test_a_storm_over_zoom_leaves_every_booking_right() -> None:
    """Zoom knows no key, moves meetings in three calls, and gives out a token first."""
    troubles = {"kills": 2, "freezes": 1, "restarts": 1}
    plan = Plan(seed=4, bookings=50, seconds=10, forgetful=(), zoom="app", hosts=6, troubles=troubles)
    verdict = await Storm(plan).run()
    assert verdict.good, f"{verdict} {verdict.about} {verdict.stories}"
    assert verdict.happened["kills"] == 2
    assert {"answered", "refused", "cut", "lost"} <= verdict.befell.keys()


@pytest.mark.timeout(600)
async def test_a_storm_over_a_grant_of_zoom_leaves_every_booking_right() -> None:
    """Refresh tokens rotate and none comes twice; whenever one is lost, an admin connects the account again."""
    troubles = {"kills": 2, "freezes": 1, "restarts": 1, "expiries": 40}
    plan = Plan(seed=11, bookings=40, seconds=10, forgetful=(), zoom="grant", hosts=6, troubles=troubles)
    verdict = await Storm(plan).run()
    assert verdict.good, f"{verdict} {verdict.about} {verdict.stories}"
    assert verdict.happened["kills"] == 2
    assert verdict.happened["expiries"] == 40


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["space", "calendar"])
async def test_a_storm_over_google_leaves_every_booking_right(mode: str) -> None:
    """An entry's id is ours, so nothing is left over; a room whose making nobody heard of stays, empty and unknown."""
    troubles = {"kills": 2, "freezes": 1, "restarts": 1}
    plan = Plan(seed=5, bookings=50, seconds=10, forgetful=(), google=mode, hosts=12, troubles=troubles)
    verdict = await Storm(plan).run()
    assert verdict.good, f"{verdict} {verdict.about} {verdict.stories}"
    assert verdict.happened["kills"] == 2
    assert {"answered", "refused", "cut", "lost"} <= verdict.befell.keys()
    # A process that is killed may have heard of some and not yet written it down.
    most = verdict.unheard + 4 * verdict.happened["kills"] if mode == "space" else 0
    assert verdict.empty <= most, f"{verdict}, {verdict.unheard} unheard"
