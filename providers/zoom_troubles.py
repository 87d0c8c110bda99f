"""Zoom's troubles by their codes: `zoom`, `zoom_answers` and `zoom_webhook` say them."""

from providers.troubles import Trouble

TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        "zoom_access_ended",
        "admin",
        ("Zoom does not take our access any more: connect the account again, or activate the app.",),
        "Connect the account again in the settings, with the same Zoom user. A Server-to-Server app is activated in "
        "Zoom's App Marketplace.",
    ),
    Trouble(
        "zoom_not_shared",
        "admin",
        ("Zoom has not given access to this user's meetings: share it in Zoom.",),
        "In Zoom, have the host give scheduling privilege to the connected user, or connect the host's own account.",
    ),
    Trouble(
        "zoom_plan_or_role",
        "admin",
        ("Zoom's plan or the user's role does not allow this: look at the host's licence and role.",),
        "In Zoom's user management, give the host a licence and a role that may schedule meetings.",
    ),
    Trouble(
        "zoom_host_unknown",
        "admin",
        (
            "The host is no user of the connected Zoom account: choose one who is.",
            "Zoom has no such user: choose another host.",
            "{host} is no Zoom user: name one of the account by e-mail.",
        ),
        "In the office's settings, choose a host from the list, or add the person to the Zoom account first.",
    ),
    Trouble(
        "zoom_host_missing",
        "admin",
        ("No Zoom user is chosen as host: name one of the account, by e-mail, for the resource or the office.",),
        "In the office's settings, name a host for everybody, or one for each resource.",
    ),
    Trouble(
        "zoom_host_not_permitted",
        "admin",
        ("Zoom does not let us schedule for this host: choose another or give permission in Zoom.",),
        "In Zoom, have the host give scheduling privilege to the connected user, or choose another host.",
    ),
    Trouble(
        "zoom_meeting_of_another",
        "admin",
        ("The meeting belongs to another Zoom user: connect the account that made it.",),
        "Connect the account again that made the meeting; until then it stays as it is in Zoom.",
    ),
    Trouble(
        "zoom_host_without_licence",
        "admin",
        ("Zoom lets this host hold no meetings: give the user a licence in Zoom that allows it.",),
        "In Zoom's user management, give the host a licence with meetings, or choose another host.",
    ),
    Trouble(
        "zoom_scope_missing",
        "admin",
        ("The Zoom app lacks {scopes}: add it to the app in Zoom's App Marketplace, then connect again.",),
        "Add the scope in Zoom's App Marketplace, then connect the account again so that it is granted.",
    ),
    Trouble(
        "zoom_meeting_gone",
        "admin",
        ("Zoom has no such meeting any more.",),
        "Nothing is to be done: a booking that needs a meeting gets a new one. Ask the host why it was removed.",
    ),
    Trouble(
        "zoom_meeting_running",
        "admin",
        ("The Zoom meeting is going on: it can be removed when it has ended.",),
        "It is tried again by itself. The host can end the meeting in Zoom.",
    ),
    Trouble(
        "zoom_day_spent",
        "provider",
        (
            "Zoom's limit for a day is reached, of the host or of the account; it begins anew at 00:00 UTC.",
            "Zoom's limit for a day is reached, of changes of this meeting; it begins anew at 00:00 UTC.",
        ),
        "It goes on by itself after 00:00 UTC. More hosts share the bookings between them, each with a limit of "
        "its own.",
    ),
    Trouble(
        "zoom_wants_fewer_calls",
        "provider",
        ("Zoom wants fewer calls in a second.",),
        "It goes on by itself within seconds.",
    ),
    Trouble(
        "zoom_list_lost",
        "provider",
        ("Zoom forgot where a list was to go on.",),
        "It is tried again by itself.",
    ),
    Trouble(
        "zoom_passcode_refused",
        "admin",
        ("The Zoom account's rules do not take our passcode.",),
        "In Zoom's security settings, loosen the rules for passcodes: ten letters and digits must do.",
    ),
    Trouble(
        "zoom_alternative_hosts",
        "admin",
        ("Zoom does not take these `alternative_hosts`: each must be a licensed user of the same account.",),
        "In the office's settings, take out who has no licence in this account.",
    ),
    Trouble(
        "zoom_refuses_fields",
        "developer",
        ("Zoom does not accept what we sent{which}.",),
        "Tell the maker of this service what stands there; Zoom may have changed its rules.",
    ),
    Trouble(
        "zoom_personal_meeting",
        "admin",
        (
            "Zoom gave the meeting the host's personal meeting id, so that all bookings would meet in one room.",
            "{what} Turn that off in the host's settings and remove the meeting there.",
        ),
        "In Zoom, have the host turn off the personal meeting id for scheduled meetings and remove the meeting; then "
        "have the booking looked at again.",
    ),
    Trouble(
        "zoom_change_unclear",
        "provider",
        (
            "Zoom said that it moved the meeting and did not.",
            "The meeting was changed and cannot be read again: {why}",
        ),
        "It is sent again by itself until Zoom shows the meeting as it is wanted.",
    ),
    Trouble(
        "zoom_too_many_meetings",
        "admin",
        ("The host has more Zoom meetings than can be searched for a booking's.",),
        "Remove old meetings of this host in Zoom, or choose another host.",
    ),
    Trouble(
        "zoom_event_refused",
        "operator",
        (
            "There is no secret to check Zoom's signature with: set ZOOM_WEBHOOK_SECRET.",
            "The signature or its timestamp is missing.",
            "The signature is wrong: compare ZOOM_WEBHOOK_SECRET with the app's secret token.",
            "The event is older or newer than five minutes: look at this machine's clock.",
            "The body is not JSON.",
            "The body is no event of Zoom's.",
            "The event {type} names no meeting.",
            "The event deauthorized names no user.",
            "The event validation holds no plainToken.",
        ),
        "Set ZOOM_WEBHOOK_SECRET to the secret token that stands in the app's features in Zoom's App Marketplace, and "
        "have this machine's clock set by NTP.",
    ),
)
