"""Google's troubles by their codes: `google_meet` and the files beside it say them."""

from providers.troubles import Trouble

TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        "google_access_ended",
        "admin",
        (
            "Google does not take our access any more: connect the account again, or look at the delegation.",
            "Google ended this account's access, because nobody had used it for six months.",
            "Google ended this account's access: the person took it back at myaccount.google.com/permissions, an admin "
            "of the Workspace did, or the account was connected more than a hundred times since.",
        ),
        "Connect the account again in the settings, with the same Google account. For a service account, an admin of "
        "the Workspace looks at the domain-wide delegation.",
    ),
    Trouble(
        "google_app_in_testing",
        "admin",
        (
            "Google ended this account's access seven days after it was connected, as it does while the app's consent "
            "screen is External and in Testing: set it to In production, or to Internal in a Workspace of your own.",
        ),
        "Publish the app in Google's console under OAuth consent screen, then connect the account again: otherwise it "
        "ends again in seven days.",
    ),
    Trouble(
        "google_account_unknown",
        "admin",
        ("Google did not say whose account it is: connect it again.",),
        "Connect the account again and leave every box ticked.",
    ),
    Trouble(
        "google_delegation_missing",
        "admin",
        (
            "The Workspace has not delegated these scopes to the service account: in Google's Admin console, under "
            "Security, API controls, Domain-wide delegation, an admin adds its client id with the scopes.",
        ),
        "An admin of the Workspace adds the delegation as it says; docs/google-meet.md lists the scopes to paste.",
    ),
    Trouble(
        "google_host_unknown",
        "admin",
        (
            "Google knows no person of this address in the Workspace: choose another host.",
            "A host must be a person of the Workspace, by e-mail.",
            "The host has no Google calendar.",
        ),
        "In the office's settings, name a person of the Workspace by e-mail as the host.",
    ),
    Trouble(
        "google_clock_wrong",
        "operator",
        ("This machine's clock is wrong, so that Google does not believe the service account's claim.",),
        "Have this machine's clock set by NTP.",
    ),
    Trouble(
        "google_key_refused",
        "admin",
        ("Google does not take the service account's key: it was deleted or disabled. Give a new key.",),
        "Make a new key of the service account in Google's console and enter it in the connection.",
    ),
    Trouble(
        "google_app_not_trusted",
        "admin",
        ("The Workspace's admin does not allow this app: an admin must trust it in Google's Admin console.",),
        "In Google's Admin console, under Security, API controls, App access control, an admin trusts the app; then "
        "connect the account again.",
    ),
    Trouble(
        "google_no_lasting_access",
        "admin",
        (
            "Google gave no lasting access, because the account had allowed this app before. Remove the app at "
            "myaccount.google.com/permissions, then connect again.",
        ),
        "Whose account it is removes the app there and connects again.",
    ),
    Trouble(
        "google_meeting_gone",
        "admin",
        (
            "Google has no such meeting any more.",
            "Google has no such meeting any more, or it is another account's.",
            "The calendar entry was removed.",
        ),
        "Nothing is to be done: a booking that needs a meeting gets a new one. Ask the host why it was removed.",
    ),
    Trouble(
        "google_entry_used",
        "developer",
        ("Google Calendar has had an entry with this id.",),
        "It is tried again with another id. If it stays, tell the maker of this service.",
    ),
    Trouble(
        "google_entry_removed_too_often",
        "admin",
        ("The booking's calendar entry was removed too often to be made again.",),
        "See who or what removes the entries from the host's calendar; then have another meeting made for the booking.",
    ),
    Trouble(
        "google_busy",
        "provider",
        (
            "Google Calendar is busy with this entry.",
            "Somebody changed the calendar entry at the same time.",
            "Google is still making the meeting's room.",
            "Google could not make a room for the calendar entry.",
            "Somebody removed the calendar entry while its room was made.",
        ),
        "It is tried again by itself.",
    ),
    Trouble(
        "google_wants_fewer_calls",
        "provider",
        ("Google wants fewer calls in a minute.",),
        "It goes on by itself within minutes.",
    ),
    Trouble(
        "google_account_suspected",
        "provider",
        ("Google Calendar thinks that this account makes too many entries, and takes none for some hours.",),
        "It goes on by itself after some hours. Rooms without calendar entries (`mode` `space`) do not count there.",
    ),
    Trouble(
        "google_meet_off",
        "admin",
        (
            "The calendar cannot have Google Meet: Meet is off for this person or the Workspace, or a service account "
            "acts for nobody.",
        ),
        "In Google's Admin console, switch Google Meet on for the host. A service account needs a person to act for.",
    ),
    Trouble(
        "google_not_allowed",
        "admin",
        (
            "Google does not accept this for the host's account.",
            "Google does not allow this to the connected account.",
        ),
        "In the office's settings, choose other options or another host: the account's Workspace does not allow these.",
    ),
    Trouble(
        "google_refuses_fields",
        "developer",
        ("Google does not accept what we sent.",),
        "Tell the maker of this service what stands there; Google may have changed its rules.",
    ),
    Trouble(
        "google_api_off",
        "operator",
        ("The Google Meet or Calendar API is off in the Google Cloud project: switch it on there.",),
        "In Google's Cloud console, enable the Google Meet REST API and the Google Calendar API for the app's project.",
    ),
    Trouble(
        "google_scope_missing",
        "admin",
        (
            "The account does not allow this service to do that: connect it again and leave every box ticked.",
            "The account was not connected for {what}: connect it again for them, and leave every box ticked.",
        ),
        "Connect the account again in the settings and leave every box of Google's page ticked.",
    ),
)
