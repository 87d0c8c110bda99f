"""A storm over services, their store and two vendors; at its end every figure of what is wrong must be zero.

    python -m benchmarks.chaos --seed 1

Prints one line and exits 0 if nothing is wrong, 1 with what happened to the first wrong bookings, 2 if it did not end
in its time or was stopped. Everything runs on loopback in processes of its own, which end with it.
"""

import argparse
import asyncio
import contextlib
import signal
import sys

from tests.chaos.storm import Plan, Storm
from tests.chaos.verdict import Verdict

_TOLD = 3  # wrong bookings whose story is printed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description="A storm over services, their store and two vendors.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1, help="from which everything random follows")
    parser.add_argument("--bookings", type=int, default=1000)
    parser.add_argument("--events", type=int, default=5000, help="as many at least")
    parser.add_argument("--services", type=int, default=3, help="service processes")
    parser.add_argument("--kills", type=int, default=32, help="kill -9 of a service")
    parser.add_argument("--stops", type=int, default=4, help="SIGTERM of a service")
    parser.add_argument("--freezes", type=int, default=12, help="SIGSTOP of a service for longer than a lease")
    parser.add_argument("--store-restarts", type=int, default=4, help="kill -9 of the store")
    parser.add_argument("--store-full", type=int, default=3, help="times the store has no memory left")
    parser.add_argument("--store-read-only", type=int, default=4, help="times the store takes no writes")
    parser.add_argument("--google", choices=["space", "calendar"], help="over a Google, with meetings of this kind")
    parser.add_argument("--seconds", type=float, default=180.0, help="over which all of it is spread")
    parser.add_argument("--minutes", type=float, default=10.0, help="after which it is stopped, whatever is missing")
    return parser.parse_args()


def _plan(asked: argparse.Namespace) -> Plan:
    return Plan(
        seed=asked.seed,
        bookings=asked.bookings,
        events=asked.events,
        seconds=asked.seconds,
        services=asked.services,
        forgetful=() if asked.google else (True, False),
        google=asked.google,
        hosts=max(12, asked.bookings // 8) if asked.google else 1,
        troubles={
            "kills": asked.kills,
            "stops": asked.stops,
            "freezes": asked.freezes,
            "restarts": asked.store_restarts,
            "full": asked.store_full,
            "read_only": asked.store_read_only - asked.store_read_only // 2,
            "alone": asked.store_read_only // 2,
        },
    )


async def _blow(asked: argparse.Namespace) -> Verdict | None:
    """The verdict, None if time is over; SIGTERM ends it like Ctrl-C."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60 * asked.minutes):
            return await Storm(_plan(asked)).run()
    return None


def main() -> int:
    """One storm."""
    asked = _arguments()
    try:
        verdict = asyncio.run(_blow(asked))
    except asyncio.CancelledError:
        print(f"seed {asked.seed}: stopped", file=sys.stderr)
        return 2
    if verdict is None:
        print(f"seed {asked.seed}: not over after {asked.minutes:g} minutes", file=sys.stderr)
        return 2
    print(f"seed {asked.seed}, {verdict}")
    for record, story in list(verdict.stories.items())[:_TOLD]:
        print(f"\n{record}\n" + "\n".join(story), file=sys.stderr)
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
