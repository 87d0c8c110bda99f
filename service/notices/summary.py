"""One summary of what needs people, and what may be told of it to a mailbox or a program. Pure."""

from dataclasses import dataclass
from typing import Literal, Protocol

from service.matters import Matter

ChannelName = Literal["mail", "webhook"]
Why = Literal["new", "reminder", "open"]
"""A matter nobody was told of yet; one that has lasted long; one that people know of and that is told along."""


@dataclass(frozen=True, slots=True)
class Line:
    """A matter, and why it is in the summary."""

    matter: Matter
    why: Why


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that one notice says, made at `at` (unix seconds). Its `id` stays the same however often it is sent.

    `over` names the connections that work again, by id. `more` matters did not fit. `last`: the day's last notice.
    `test`: somebody asked for it, and it says nothing else.
    """

    id: str
    at: int
    lines: tuple[Line, ...] = ()
    over: tuple[tuple[str, str], ...] = ()
    more: int = 0
    last: bool = False
    test: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """A summary in a language: for a mailbox, and its lines for programs, each a matter's text, cure and address."""

    language: str
    subject: str
    body: str
    lines: tuple[tuple[str, str, str], ...]


class Writer(Protocol):
    """Says a summary in the language of the admin."""

    def __call__(self, summary: Summary) -> Letter:
        """The letter."""


class NotTold(Exception):
    """A notice did not arrive, or nobody knows whether it did; the message says what was answered.

    `retry_after`: seconds after which the other side wants to be asked again. `maybe`: people may have it.
    """

    def __init__(self, text: str, retry_after: float | None = None, *, maybe: bool = False) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        self.maybe = maybe


class Channel(Protocol):
    """A way to tell people."""

    @property
    def name(self) -> ChannelName:
        """Which one it is."""

    async def tell(self, summary: Summary, letter: Letter) -> str:
        """Bring it there; answers what the other side said. Raises: NotTold."""
