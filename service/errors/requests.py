"""What a request to the webhook or the API can be refused with, by the code in its answer."""

from typing import Final

from providers.troubles import Trouble

REQUESTS: Final = (
    Trouble(
        "invalid_json",
        "vello",
        (
            "The body is not valid JSON in UTF-8.",
            "The body is nested too deeply.",
            "The body names a field twice, so what it means is unclear.",
            "The body is not valid JSON.",
        ),
        "Send JSON in UTF-8. If it was Vello's event, see whether something on the way changes bodies.",
    ),
    Trouble(
        "invalid_event",
        "vello",
        (
            "The body is JSON but not an event: an object was expected.",
            "The event carries no record: an object was expected in `data`.",
            "The event's `{name}` is missing or not a short line of text.",
            "The event contains a NUL character.",
        ),
        "Send an event as Vello documents it. Nothing of this one was stored.",
    ),
    Trouble(
        "invalid_record",
        "vello",
        ("The record's `{name}` is missing or wrong: {expected} expected.",),
        "Send the record with this field as Vello documents it. Nothing of this one was stored.",
    ),
    Trouble(
        "wrong_company",
        "admin",
        (
            "The record belongs to another company than this URL.",
            "The record's office belongs to another company than this URL: another company's event named it before. If "
            "it changed hands, an admin of all companies can give it to this one in the settings.",
        ),
        "In Vello, enter the URL that the settings show for this company. An office that changed hands is given to "
        "its new company in the settings.",
    ),
    Trouble(
        "invalid_signature",
        "admin",
        (
            "The Vello-Signature header is missing or wrong: check that the webhook token and the endpoint URL here "
            "are the ones entered in Vello.",
        ),
        "Compare the token and the URL in Vello with those in the settings, letter by letter. `vello-meetings doctor` "
        "says whether a proxy changes events on the way.",
    ),
    Trouble(
        "unknown_company",
        "admin",
        ("No company with this id has been added in settings.", "No company with this id has been added."),
        "Add the company in the settings, or enter the URL in Vello that the settings show.",
    ),
    Trouble(
        "too_large",
        "vello",
        (
            "The body is larger than {size} KiB.",
            "The file is larger than 1 MB: save the picture smaller, 480 pixels wide is enough.",
        ),
        "Send less in one request.",
    ),
    Trouble(
        "invalid_logo",
        "admin",
        (
            "An SVG can hold programs, so it is not taken: save the picture as a PNG.",
            "This is no picture that can be read: send a PNG, JPEG, WebP or GIF.",
            "The picture has too many pixels: save it smaller, 480 pixels wide is enough.",
            "The picture is transparent all over: there is nothing to see in it.",
            "The picture is too detailed to be made small enough: take a simpler one.",
            "There are {most} logos already: take some out of use, and try again tomorrow.",
        ),
        "Send another picture. Nothing was stored, and the office has the logo it had.",
    ),
    Trouble(
        "head_too_large",
        "vello",
        ("The headers are larger than {size} KiB.",),
        "Send fewer or shorter headers and a shorter address.",
    ),
    Trouble(
        "too_slow",
        "vello",
        ("The request did not arrive within {seconds} seconds.",),
        "Send it again. If it stays so, look at the network and the proxy before the service.",
    ),
    Trouble(
        "busy",
        "operator",
        ("Too many requests at once; send this again.",),
        "Send it again in a second. If it lasts, the operator starts more processes.",
    ),
    Trouble(
        "store_unavailable",
        "operator",
        (
            "The store cannot be reached: this was not done, or only in part. Send it again and see what came of it.",
            "The store cannot be reached.",
            "The connection is changed again and again.",
            "This service cannot reach its store at the moment. Please try again in a minute.",
        ),
        "Vello sends its events again by itself. The operator sees with `vello-meetings doctor` why the store does not "
        "answer.",
    ),
    Trouble(
        "internal_error",
        "operator",
        (
            "Something went wrong here; the operator's log says what.",
            "What you saved before is still there. Go back and try once more.",
        ),
        "Find the request in the log (`unexpected_error`) and tell the maker of this service what stands there.",
    ),
    Trouble(
        "unauthorized",
        "operator",
        ("Send the header `Authorization: Bearer ADMIN_TOKEN`.",),
        "Give the program the ADMIN_TOKEN of this installation.",
    ),
    Trouble(
        "not_allowed",
        "admin",
        ("Only an admin of all companies can do this.",),
        "Ask an admin of all companies to do it.",
    ),
    Trouble(
        "not_found",
        "admin",
        ("There is nothing at this address.", "{provider}'s events are not taken here: set {variable}."),
        "Check the address. A provider's events are taken once the operator has set the variable that is named.",
    ),
    Trouble(
        "method_not_allowed",
        "admin",
        (
            "This address does not take this method.",
            "Events are sent with POST.",
            "Only a button of a page leads here. Go back to that page and press it again.",
        ),
        "Use one of the methods in the answer's `Allow` header.",
    ),
    Trouble(
        "unknown_office",
        "admin",
        (
            "This office has no choice and was not seen in an event.",
            "No event named this office yet, so it is nobody's.",
        ),
        "Check the id. An office lists itself when Vello's event names it; its choice can be stored before.",
    ),
    Trouble(
        "unknown_connection",
        "admin",
        (
            "No connection has this id.",
            "Nobody takes such a connection out of use, or it is done.",
            "Somebody removed it. You can connect the account again.",
        ),
        "Look at the list of connections; somebody may have removed this one.",
    ),
    Trouble(
        "unknown_record",
        "admin",
        ("Vello has not told us of this record, or it was long ago.",),
        "Check the id. Bookings are forgotten 30 days after their end; save the booking in Vello to have it "
        "sent again.",
    ),
    Trouble(
        "too_many_errands",
        "admin",
        ("As many replays and erasures are under way as may be; wait until one has ended.",),
        "Wait until one has ended, or stop one that is not needed; Under way in the settings lists them.",
    ),
    Trouble(
        "unknown_delivery",
        "admin",
        ("This is not in the delivery log, or not any more.",),
        "Look at the list of deliveries: lines are kept for some days only.",
    ),
    Trouble(
        "not_replayable",
        "admin",
        ("What it said is not in the log: only an event about a record can be replayed.",),
        "Choose an event about a record, or have Vello send this one again.",
    ),
    Trouble(
        "unknown_errand",
        "admin",
        ("There is nothing under way with this id, or it was long ago.",),
        "Look at what is under way; what has ended is forgotten after a while.",
    ),
    Trouble(
        "ended",
        "admin",
        ("It has ended already.",),
        "Nothing is to be done: look at what came of it.",
    ),
    Trouble(
        "in_use",
        "admin",
        (
            "It is chosen by {offices} and holds {count} meetings; choose another connection there first, or send "
            "?force=true and the meetings stay at the provider.",
        ),
        "Choose another connection for these offices, or take this one out of use in the settings: that moves or "
        "removes its meetings first.",
    ),
    Trouble(
        "busy_record",
        "admin",
        ("Somebody works on this booking right now; try again in a moment.",),
        "Try again in a few seconds.",
    ),
    Trouble(
        "exists",
        "admin",
        ("A company with this id is there already; delete it first.",),
        "Make another token for the company that is there, or delete it first.",
    ),
    Trouble(
        "no_adapter",
        "operator",
        ("No adapter called {name} is installed.", "The meeting's connection or its adapter is no longer here."),
        "Install the provider's package where the service runs, or remove the connection.",
    ),
    Trouble(
        "unreadable_settings",
        "operator",
        ("Its settings cannot be read here: enter them again, or have the operator ask the doctor why.",),
        "`vello-meetings doctor` says why: put the key or the adapter's version back. Or enter all of the connection's "
        "settings again, connect its account again, or remove it.",
    ),
    Trouble(
        "no_people",
        "admin",
        (),
        "The provider says why in the message; a host can be written by hand all the same.",
    ),
    Trouble(
        "no_meeting",
        "admin",
        (
            "The booking has no meeting now; its `state` and `reason` say why.",
            "Somebody removed the meeting at the provider; `POST …/reconcile` makes a new one.",
        ),
        "Look at the booking in the settings: its story says why, and “Look again now” makes what is missing.",
    ),
    Trouble(
        "no_host_link",
        "admin",
        (),
        "The provider says why in the message. The host can start the meeting in the provider's own application.",
    ),
    Trouble(
        "unavailable",
        "provider",
        (),
        "The provider does not answer, and the message says how. Try again in a moment.",
    ),
    Trouble(
        "changed_meanwhile",
        "admin",
        ("Somebody else changed this in the meantime; look at it again before you save.",),
        "Read it again, then save your change on top of it.",
    ),
    Trouble(
        "invalid",
        "admin",
        (
            "`{field}`: {what}.",
            "`provider`: no provider is called {name} here.",
            "`method`: these fields make a connection of the method {method}.",
            "`provider`: such accounts are connected in a browser, at {page}.",
            "`to`: name another connection.",
            "`to`: this connection is another company's.",
            "`connection`: no connection has this id.",
            "`connection`: this connection is another company's, or only for one.",
            "`logo`: no logo has this name; upload it first.",
            "Choose what is to become of the meetings.",
            "Name either a `record` or a `customer`.",
        ),
        "Put the named field right and send it again; docs/api.md says what each may hold. Nothing was stored.",
    ),
    Trouble(
        "refused",
        "admin",
        ("The webhook refused it.",),
        "The message says why; put that right and send it again.",
    ),
)
