"""What can go wrong between a booking and its provider: reasons, journals and the health of connections say it."""

from typing import Final

from providers.troubles import Trouble

CORE: Final = (
    Trouble(
        "call_too_long",
        "provider",
        ("The provider did not answer within {seconds} seconds.",),
        "It is tried again by itself, and what may have been made meanwhile is looked for first.",
    ),
    Trouble(
        "connection_left_alone",
        "provider",
        ("The connection does not answer", "{why} It is left alone for a while and tried by itself."),
        "It is tried again by itself and goes on when the provider answers: see the provider's status page. Links of "
        "bookings stay as they are.",
    ),
    Trouble(
        "no_room",
        "operator",
        ("As many calls of the connection as may be are in flight",),
        "It goes on by itself. If it lasts, the provider is slow, or more processes are needed.",
    ),
    Trouble(
        "budget_spent",
        "provider",
        (
            "The provider allows a host {count} {what} {every}, and this one waits its turn",
            "The provider allows a host {count} {what} a day, and {why}",
        ),
        "It goes on by itself, for a day's limit after 00:00 UTC. More hosts share the bookings between them, each "
        "with a limit of its own.",
    ),
    Trouble(
        "create_unclear",
        "provider",
        ("The answer of a create was lost, and the provider may still carry it out",),
        "Within a minute the provider is asked whether there is a meeting; only then another one is made.",
    ),
    Trouble(
        "connection_removed",
        "admin",
        ("The connection was removed; choose another one.",),
        "In the office's settings, choose another connection.",
    ),
    Trouble(
        "meeting_left_behind",
        "admin",
        (
            "The meeting's connection no longer exists, so it could not be removed there.",
            "The meeting was given up: {why}. Whoever has its link can still open the room.",
            "If a meeting was made, nobody can find it: it stays empty, and nobody has its link.",
        ),
        "Remove the meeting at the provider by hand if it disturbs; the booking is not affected.",
    ),
    Trouble(
        "interrupted",
        "operator",
        (
            "The process that worked on this was stopped; it goes on.",
            "A process that had lost its lease changed the meeting; it is set right.",
            "Not done after {count} steps.",
        ),
        "It goes on by itself. If it happens often, look why processes stop or stand still.",
    ),
    Trouble(
        "own_mistake",
        "developer",
        ("This service made a mistake; its log says which.",),
        "Find it in the log and tell the maker of this service what stands there; it is tried again meanwhile.",
    ),
    Trouble(
        "sweep_incomplete",
        "admin",
        (
            "The host has more meetings than a sweep reads.",
            "{connection}: not all of its meetings could be read: {why}",
        ),
        "The next sweep tries it again. Remove old meetings of the host at the provider if it stays so.",
    ),
    Trouble(
        "test_broken_off",
        "admin",
        ("The test broke off. Please test again.",),
        "Test the connection again; what the test had made is removed.",
    ),
    Trouble(
        "host_has_another",
        "admin",
        ("The host has another meeting at that time, until {time} UTC: joining the second one may fail.",),
        "In the office's settings, give each resource a host of its own, or name several with commas between them.",
    ),
    Trouble(
        "account_revoked",
        "admin",
        (
            "{provider} no longer accepts this account's access: it was revoked, ran out or was replaced by a "
            "newer one.",
            "The account removed this service in {provider}. {cure}",
            "No {provider} account is connected here any more. {cure}",
            "This account was connected with another app of {provider}. {cure}",
        ),
        "Connect the account again in the settings, with the same account. What waited for it then goes on, the "
        "soonest booking first.",
    ),
    Trouble(
        "account_access_lost",
        "admin",
        (
            "The answer to a renewal of this account's access was lost in a crash or an outage, and {provider} gives "
            "each one out only once.",
            "A process that asked before died before it knew the answer.",
        ),
        "Connect the account again in the settings, with the same account.",
    ),
    Trouble(
        "scopes_missing",
        "admin",
        ("The account does not allow this service to: {needs}. {how}, then {again}.",),
        "Connect the account again and allow everything that is asked for.",
    ),
    Trouble(
        "access_settings_refused",
        "admin",
        ("{provider} gives no access with these settings: compare them with the app there.",),
        "Enter the connection's credentials again, copied from the provider's console; the app must be active there.",
    ),
    Trouble(
        "access_refused",
        "operator",
        ("{provider} refuses the access it has just given.",),
        "Compare the provider's addresses in the environment: the token and the API must be of the same system.",
    ),
    Trouble(
        "tokens_unavailable",
        "provider",
        (
            "{provider}'s token endpoint wants fewer calls (status {status}).",
            "{provider}'s token endpoint does not work now (status {status}).",
            "{provider}'s token endpoint has a problem of its own (status {status}).",
            "{provider} gives out tokens that are of no use when they arrive.",
            "{provider}'s access token is being renewed by a process that does not answer.",
        ),
        "It is tried again by itself. If it lasts and the provider is well, look at this machine's clock.",
    ),
    Trouble(
        "tokens_refused",
        "operator",
        (
            "{provider}'s token endpoint is elsewhere (status {status}): check its address.",
            "{provider}'s token endpoint refuses our request (status {status}).",
        ),
        "Compare the provider's addresses in the environment with docs/configuration.md.",
    ),
    Trouble(
        "client_refused",
        "operator",
        ("{provider} refuses the client id or secret: check them in its console and here.",),
        "Set the client id and secret of the app as the provider's console shows them, and restart the service.",
    ),
    Trouble(
        "provider_not_set_up",
        "operator",
        (
            "{provider} is not set up: its client id and secret are missing.",
            "The operator of this service makes an app in %(title)s's console, then sets %(client_id)s and "
            "%(client_secret)s.",
        ),
        "Make an app in the provider's console and set its client id and secret; the provider's page says how.",
    ),
    Trouble(
        "secret_unreadable",
        "operator",
        (
            "A secret was sealed with the key '{key}'; put that key back into SECRET_KEYS.",
            "A sealed secret is damaged or belongs to something else.",
        ),
        "Put the key back into SECRET_KEYS, or restore the store. If it is lost, every account is connected again.",
    ),
)
