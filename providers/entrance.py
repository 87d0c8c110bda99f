"""How guests get into one meeting, as its vendor says: what the link alone does not tell them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DialIn:
    """A telephone number, and what is entered after it in this order, each followed by #.

    `number` begins with + and may hold spaces and hyphens. `region` is an ISO 3166 code, for people.
    """

    number: str = field(repr=False)
    codes: tuple[str, ...] = field(default=(), repr=False)
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Entrance:
    """What a vendor answered about a meeting; None or () where it said nothing.

    `guests_wait` and `guests_log_in` are what an account's own settings made of it, and count before the flags of the
    same names in `Capabilities`. Passcode and codes are secrets as the link is: they show in no repr.
    """

    passcode: str | None = field(default=None, repr=False)
    dial_in: tuple[DialIn, ...] = field(default=(), repr=False)
    guests_wait: bool | None = None
    guests_log_in: bool | None = None

    @property
    def secrets(self) -> list[str]:
        """What opens the meeting: the passcode, and what callers enter."""
        codes = [code for each in self.dial_in for code in each.codes]
        return [self.passcode, *codes] if self.passcode else codes
