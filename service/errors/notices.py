"""What needs a person, as notices say it: the matters of `service.matters`, by their codes."""

from typing import Final

from providers.troubles import Trouble

NOTICES: Final = (
    Trouble(
        "connection_reconnect",
        "admin",
        (
            "The account of {name} no longer lets this service in.",
            "The account of {name} no longer lets this service in. Bookings that wait: {waiting}.",
        ),
        "Connect the account again; what waits for it goes on by itself.",
    ),
    Trouble(
        "connection_outage",
        "provider",
        ("The provider of {name} does not answer; the account is not to blame.",),
        "It is tried again by itself, and bookings get their page's link; the provider's status page may say more.",
    ),
    Trouble(
        "connection_refused",
        "admin",
        ("The provider of {name} refuses what it is asked.",),
        "See on its page what the provider says, and mend it there.",
    ),
    Trouble(
        "connection_unusable",
        "operator",
        ("{name} cannot be used: its adapter or the key of its secrets is missing here.",),
        "The operator puts it back; the doctor says which one.",
    ),
    Trouble(
        "connection_scopes",
        "admin",
        ("The account of {name} does not allow everything that is needed.",),
        "Connect it again and leave every box ticked; its page says what is missing.",
    ),
    Trouble(
        "connection_expiring",
        "admin",
        (
            "The access to {name} ends by itself on {day}.",
            "The access to {name} could not be renewed for {days} days.",
        ),
        "Test the connection on its page, and connect the account again if that fails.",
    ),
    Trouble(
        "connection_budget",
        "admin",
        ("A host of {name} has used up what the provider allows in a day.",),
        "Name further hosts for the office, or wait: it begins anew at 00:00 UTC.",
    ),
    Trouble(
        "bookings_missing",
        "admin",
        ("Bookings of the next 24 hours without a meeting: {count}.",),
        "See each of them in settings: it says why, and what helps.",
    ),
    Trouble(
        "bookings_failed",
        "admin",
        ("Later bookings whose meetings were given up: {count}.",),
        "See each of them in settings: it says why, and what helps.",
    ),
    Trouble(
        "clock",
        "operator",
        ("The clocks of this service and of its store differ by {seconds} seconds.",),
        "Let both machines set their clocks by NTP.",
    ),
    Trouble(
        "notices_mail",
        "operator",
        ("Notices cannot be mailed.",),
        "The page of notices shows what was answered; send a test notice there when it is mended.",
    ),
    Trouble(
        "notice_not_mailed",
        "operator",
        (
            "{server} did not answer in time.",
            "{server} ended the connection, and may have taken the message.",
            "{server} has a certificate that is not trusted: {why}",
            "{server} does not offer what was asked of it: {why}",
            "{server} refuses user name or password: {why}",
            "{server} refuses the message: {why}",
            "{server} takes mail for none of the recipients: {why}",
            "{server} speaks no TLS that this service does on this port.",
            "Mail could not be handed to {server}: {why}.",
        ),
        "Compare SMTP_HOST and its neighbours with what the mail server wants; docs/notices.md has its answers and "
        "their cures. Send a test notice when it is mended.",
    ),
    Trouble(
        "notices_webhook",
        "operator",
        ("The webhook for notices takes none.",),
        "The page of notices shows what was answered; send a test notice there when it is mended.",
    ),
)
"""A matter's code with an underscore for its dot."""
