"""Jitsi's troubles by their codes: `jitsi_server` says them of a connection's settings."""

from providers.troubles import Trouble

TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        "jitsi_not_found",
        "admin",
        (
            "{host} answers, but not as a Jitsi server does: it has no /config.js with a domain. Check the address.",
            "{why} Check the address and that the server runs; what else is entered here could not be tried.",
        ),
        "Open the address in a browser: a Jitsi server shows its first page there. Enter that address.",
    ),
    Trouble(
        "jitsi_token_refused",
        "admin",
        (
            "The server does not take the app_id: enter the one that it was set up with (app_id, JWT_APP_ID).",
            "The server does not take the audience: enter one of those it accepts (JWT_ACCEPTED_AUDIENCES).",
            "The server does not take the secret or key: enter the app_secret that it was set up with.",
            "The server wants tokens that are signed otherwise: it takes a secret or a private_key, not both.",
            "The server wants a private_key and its key_id, and takes no secret; or it does not find that key.",
            "The server does not take the subject: enter its own name, or its tenant.",
            "The server refuses the token and says: {said}.",
        ),
        "Compare the connection with the server's own settings for tokens; docs/jitsi.md has them side by side.",
    ),
    Trouble(
        "jitsi_clock_wrong",
        "operator",
        ("The server's clock and ours differ: set both by the network's time (NTP).",),
        "Have the clocks of both machines set by NTP.",
    ),
    Trouble(
        "jitsi_tokens_off",
        "admin",
        (
            "The server checks no tokens and lets everybody in: switch them on there, or leave out app_id and secret.",
            "The server takes accounts with passwords, not tokens: switch tokens on there first.",
        ),
        "Whoever runs the Jitsi server switches tokens on there; docs/jitsi.md says how.",
    ),
    Trouble(
        "jitsi_guests_stay_out",
        "admin",
        (
            "It lets nobody in without a token: enter the server's app_id and its secret or key.",
            "It lets in only people with an account of that server: guests would stay outside.",
        ),
        "Enter the server's app_id with its secret or key, so that links carry tokens.",
    ),
    Trouble(
        "jitsi_silent",
        "provider",
        ("It opens no stream", "It says neither yes nor no"),
        "Try again. If it stays so, whoever runs the Jitsi server looks at Prosody's log.",
    ),
)
