"""What an admin has chosen, as one process knows it."""

from dataclasses import dataclass, field

from providers.base import Capabilities
from service.choices import Choice, Choices
from service.connections import Connections
from service.entry import Entry
from service.ledger import Ledger


@dataclass(slots=True)
class Settings:
    """Choices and connections as one thing that is read again when its revision moves."""

    choices: Choices
    connections: Connections
    revision: str = field(default="", init=False)
    reads: int = field(default=0, init=False)
    """How often this process has read them: while it stays, they are the same."""

    def choice_of(self, entry: Entry) -> Choice | None:
        """The choice that serves a record: its office's own, where that is of the same company, else the default's."""
        return self.choices.of(entry.wish.office if entry.wish else None, entry.realm)

    def promises(self, entry: Entry, choice: Choice | None) -> tuple[Capabilities | None, Capabilities | None]:
        """What the chosen connection can promise, and what the one can where the record's meeting stands."""
        chosen = self.connections.capabilities(choice.connection if choice else None)
        return chosen, self.connections.promises(entry.meeting) if entry.meeting else None

    async def load(self) -> None:
        """Read everything again, choices first: a choice is made after the connection it names."""
        await self.choices.load()
        self.reads += 1
        await self.connections.load()
        self.reads += 1

    async def refresh(self, revision: str) -> None:
        """Read everything again unless `revision` is the one we have."""
        if revision != self.revision:
            await self.load()
            self.revision = revision

    async def announce(self, ledger: Ledger, before: Choice | None = None) -> None:
        """Have every process read again what was just changed; what waited for the connection of `before` goes on."""
        await ledger.bump_revision()
        await self.load()
        if before and before.connection:  # what waited for it may now be served by another one
            await ledger.unpark(before.connection)
