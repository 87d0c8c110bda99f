"""What can go wrong on pages: logging in and connecting accounts, and what customers read behind their links."""

from typing import Final

from providers.troubles import Trouble

PAGES: Final = (
    Trouble(
        "login_wrong_token",
        "operator",
        ("That is not the ADMIN_TOKEN of this installation. Its operator knows it.",),
        "It stands in ADMIN_TOKEN, or in DATA_DIR/generated.json where the first start made it up.",
    ),
    Trouble(
        "login_too_often",
        "admin",
        ("Too many wrong tokens came from your address. Try again in %(minutes)s minutes.",),
        "Wait, then log in with the right token.",
    ),
    Trouble(
        "login_ended",
        "admin",
        (
            "Your login has ended. What you typed is still in your browser: go back, and copy it.",
            "Your login has ended. Log in again; nothing you typed is lost.",
            "What you typed was kept for a quarter of an hour, which is over. Please type it again.",
            "This took too long, or it was begun in another browser. Please log in again.",
            "This is somebody else's login. Please log in again.",
            "Your login here has ended, or you began in another browser. Nothing was connected.",
        ),
        "Log in again, in one browser and without long pauses.",
    ),
    Trouble(
        "login_not_allowed",
        "operator",
        (
            "%(who)s may not use these settings. The operator adds such people to OIDC_ALLOWED.",
            "The login provider let nobody in. Please try again.",
        ),
        "Add the person, their domain or their group to OIDC_ALLOWED and restart the service.",
    ),
    Trouble(
        "login_provider_failed",
        "operator",
        (
            "The login provider refuses our request (status {status}): compare client id, secret and redirect URI with "
            "its console.",
            "The login provider cannot be reached at the moment.",
            "The login provider {what}.",
        ),
        "Compare OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET with the identity provider's console. Until then "
        "the ADMIN_TOKEN logs in.",
    ),
    Trouble(
        "form_from_elsewhere",
        "admin",
        ("This form came from elsewhere. Nothing was done. Open the page again and send it from there.",),
        "Open the page again and send the form from there. If it stays so, PUBLIC_URL is not the address in "
        "the browser.",
    ),
    Trouble(
        "connect_not_here",
        "admin",
        (
            "No provider of this name is connected in a browser. Please check the address.",
            "Only %(title)s sends people here, at the end of connecting an account.",
        ),
        "Begin at Connections in the settings.",
    ),
    Trouble(
        "connect_ended",
        "admin",
        (
            "You have %(minutes)s minutes to agree. Nothing was connected.",
            "It works once. If it was you who used it, the account may be connected already.",
            "It was begun in another browser or for another provider. Nothing was connected.",
            "The service's keys were changed meanwhile.",
            "Nothing was connected. Please start again.",
            "%(title)s does not accept the code it sent: it is too old or was used. Please start again.",
        ),
        "Start again at Connections in the settings, in one browser, and agree within ten minutes.",
    ),
    Trouble(
        "connect_denied",
        "admin",
        ("Nobody agreed at %(title)s, or an administrator there must allow the app first. Nothing was connected.",),
        "Start again and agree, or ask the administrator of the provider's account to allow the app.",
    ),
    Trouble(
        "connect_refused",
        "operator",
        (
            "%(title)s answered %(said)s. The operator of this service compares the app in %(title)s's console with "
            "the settings here.",
        ),
        "Compare the app's client id, secret and redirect URI with those here; the page shows the redirect URI.",
    ),
    Trouble(
        "form_incomplete",
        "admin",
        (
            "Something in the form is not right yet.",
            "A connection needs a name of one line.",
            "This connection is gone. Choose another one.",
        ),
        "Put right what is marked in the form and send it again. Nothing was stored.",
    ),
)

CUSTOMERS: Final = (
    Trouble(
        "guest_too_early",
        "customer",
        ("It is not time yet",),
        "Open the page again at the time it names.",
    ),
    Trouble(
        "guest_waits",
        "customer",
        ("Your meeting is being prepared",),
        "Leave the page open: it looks again by itself. If the appointment is about to begin, call the office.",
    ),
    Trouble(
        "guest_late",
        "operator",
        ("It takes longer than usual, and the office can see that.", "It takes longer than usual."),
        "The provider is down, over its limit or lost an answer; the booking's page in the settings says which. It is "
        "tried again by itself, and the same link works as soon as there is a meeting.",
    ),
    Trouble(
        "guest_trouble",
        "admin",
        ("There is a problem with this meeting",),
        "The booking's page in the settings says why and who can mend it; as soon as it is, the same link works.",
    ),
    Trouble(
        "guest_over",
        "customer",
        ("This meeting is over",),
        "Contact the office if another meeting was expected.",
    ),
    Trouble(
        "guest_cancelled",
        "customer",
        ("This booking is no longer valid",),
        "Contact the office if that is a surprise.",
    ),
    Trouble(
        "guest_no_meeting",
        "admin",
        ("There is no video meeting for this booking",),
        "The booking's page in the settings says why: no provider chosen, a service without video, or let go of.",
    ),
    Trouble(
        "guest_cannot_look",
        "operator",
        (
            "We cannot look up your meeting right now. This page tries again by itself every few seconds.",
            "We cannot look up your meeting right now: this is how it stood a few minutes ago.",
        ),
        "The store does not answer: `vello-meetings doctor` says why. Customers' pages come back by themselves.",
    ),
    Trouble(
        "guest_unknown_link",
        "customer",
        ("We do not know this link",),
        "Copy the whole address from the office's message.",
    ),
    Trouble(
        "guest_too_many_links",
        "customer",
        ("Many links that we do not know were opened from your network. Please try again in five minutes.",),
        "Wait five minutes, then open the link from the office's message.",
    ),
)

HOSTS: Final = (
    Trouble(
        "host_provider_away",
        "provider",
        (
            "The provider of the meeting does not answer at the moment. This page tries again by itself every few "
            "seconds.",
        ),
        "Leave the page open: it looks again by itself.",
    ),
    Trouble(
        "host_account_ended",
        "admin",
        (
            "The provider of the meeting no longer lets us use the account. Who looks after the settings can connect "
            "it again there; then open this link once more.",
        ),
        "Connect the account again in the settings, with the same account.",
    ),
    Trouble(
        "host_not_ours",
        "admin",
        (
            "We cannot start it as its host. Who looks after the settings can mend that: the account that holds the "
            "meeting is named on the booking's page there.",
        ),
        "Look at the account that the booking's page names: what it may do, and whether it is connected.",
    ),
    Trouble(
        "host_meeting_not_made",
        "admin",
        (
            "The meeting could not be made. Who looks after the settings sees why on the booking's page there, and can "
            "mend it.",
        ),
        "Look at the booking in the settings: its story says why, and “Look again now” makes what is missing.",
    ),
    Trouble(
        "host_cancelled",
        "customer",
        ("It was cancelled or removed, so there is nothing to start.",),
        "Contact the office if that is a surprise.",
    ),
    Trouble(
        "host_no_meeting",
        "admin",
        ("The settings ask for none, or somebody took it out of this service's hands.",),
        "The booking's page in the settings says why: no provider chosen, a service without video, or let go of.",
    ),
    Trouble(
        "host_unknown_link",
        "admin",
        ("Please check that the whole address was copied. The booking's page in the settings shows the right one.",),
        "Copy the whole address from the booking's page in the settings.",
    ),
)
