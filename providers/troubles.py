"""Every error text of an adapter by its code: what is said, who can put it right, and how.

An adapter raises a `ProviderError` with a sentence; here, or beside the adapter, the sentence stands with its code.
`ProviderInfo.troubles` hands them to the service, which joins all of them into one catalogue for its pages, its API and
its documentation. What is filled into a sentence stands in braces; a test compares the sentences with the sources.
"""

from dataclasses import dataclass
from typing import Literal

Who = Literal["customer", "admin", "provider", "vello", "operator", "developer"]
"""Who can put it right: who booked, the office's admin, the vendor, Vello, who runs the service, who makes it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of trouble: its code (snake_case, never changes), who puts it right, its sentences, and how it is done.

    What an adapter says and does not declare has no code, and is shown all the same.
    """

    code: str
    who: Who
    says: tuple[str, ...]
    cure: str


COMMON: tuple[Trouble, ...] = (
    Trouble(
        "provider_unreachable",
        "provider",
        ("{host} cannot be reached{why}.", "{host} cannot be reached."),
        "It is tried again by itself. If it lasts and the provider's status page is green, the operator looks at DNS, "
        "firewall and proxy between this service and the provider.",
    ),
    Trouble(
        "provider_silent",
        "provider",
        ("{host} did not answer.", "{host} got a call and did not answer it."),
        "It is tried again by itself, and what may have been made meanwhile is looked for first. Nothing is "
        "made twice.",
    ),
    Trouble(
        "provider_broken",
        "provider",
        ("{host} has a problem of its own (status {status}).",),
        "It is tried again by itself; the provider's status page says when it is over.",
    ),
    Trouble(
        "provider_answer_unusable",
        "provider",
        ("The answer of {host} {why} (status {status}).",),
        "It is tried again by itself. If it lasts, something between this service and the provider answers in its "
        "place, such as a proxy or a login page: the operator looks there.",
    ),
    Trouble(
        "provider_wants_fewer_calls",
        "provider",
        ("{host} wants fewer calls (status {status}).",),
        "It goes on by itself at the time the provider names.",
    ),
    Trouble(
        "provider_refuses_credentials",
        "admin",
        ("{host} refuses our credentials (status 401).",),
        "Open the connection in the settings and enter its credentials again, or connect the account again. Bookings "
        "that wait then go on by themselves.",
    ),
    Trouble(
        "provider_moved",
        "admin",
        ("{host} sends us to another address (status {status}): check the address.",),
        "Open the address in a browser, see where it leads, and enter that one in the connection.",
    ),
    Trouble(
        "provider_refuses_call",
        "admin",
        ("{host} refuses the call (status {status}).",),
        "See in the provider's own console what the account may do, and test the connection in the settings.",
    ),
    Trouble(
        "call_address_wrong",
        "admin",
        (
            "This call cannot be put into HTTP: check the address.",
            "The address of a call holds a user name: check the address.",
        ),
        "Enter the address in the connection anew: https://, a host, and nothing secret in it.",
    ),
    Trouble(
        "call_not_possible",
        "developer",
        ("A call to {host} cannot be put into HTTP.",),
        "Tell the maker of this service or of the provider's adapter what stands there.",
    ),
    Trouble(
        "host_full",
        "operator",
        ("{limit} calls to {origin} are in flight already.",),
        "It goes on by itself within moments. If it lasts, the provider is slow, or more processes are needed.",
    ),
    Trouble(
        "stood_still",
        "operator",
        ("This process stood still for too long to make the call.",),
        "It goes on by itself. If it happens often, look why processes stop or stand still.",
    ),
)
"""What can happen with every provider: `providers.http` and `providers.transport` say it."""
