"""What the laws in `providers.testing` ask of the server that stands in for a vendor."""

from collections.abc import Sequence
from typing import Protocol

from providers.base import Meeting, MeetingSpec


class Vendor(Protocol):
    """A vendor's fake server as the laws need it."""

    async def meetings(self, spec: MeetingSpec) -> Sequence[str]:
        """Ids of the meetings that exist for this key and generation."""

    async def vanish(self, meeting: Meeting) -> None:
        """Remove the meeting behind the adapter's back."""

    async def opens(self, join_url: str) -> bool:
        """Whether a guest gets in through this link."""

    async def lose_next_answer(self) -> None:
        """Do what the next call asks and break off the connection."""

    async def fail_next(self, status: int, retry_after: int | None = None, times: int = 1) -> None:
        """Refuse the next calls with this status before anything happens."""


class Host(Protocol):
    """A server that counts who comes, where calls would go if there were any."""

    @property
    def connections(self) -> int:
        """How many came so far."""
