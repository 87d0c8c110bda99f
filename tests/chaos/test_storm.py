"""Nothing lost, nothing doubled, nothing left over, whatever happens."""

import pytest

from tests.chaos.storm import Plan, Storm


@pytest.mark.timeout(300)
async def test_a_storm_leaves_every_booking_right() -> None:
    verdict = await Storm(Plan(seed=7, bookings=80, kills=4, freezes=4, store_restarts=1)).run()
    assert verdict.kills == 4
    assert not +verdict.wrong, str(verdict)
