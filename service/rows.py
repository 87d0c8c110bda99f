"""An entry as the store keeps it: its fields, and the envelopes with what is nobody's business."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any

import orjson

from service.entry import Entry, Placement, Reason, State, entrance_purpose, meeting_purpose
from service.vault import Vault
from service.vello import Rank, Record

_CONTENT = ("company", "office", "resource", "service", "user", "customer", "start", "duration")
_STORED = (*_CONTENT, "language", "record_number", "archived")
_wish_of = attrgetter(*_STORED)
_STANDING = ("meeting", "entrance", "marked")
_KEPT = 2048  # wishes and placements kept as they were read or sealed: a run reads the same ones at each of its steps


class Rows:
    """Reads entries, and seals what of them is sealed. Reading raises UnknownKey and Damaged."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._kept: OrderedDict[tuple[str, ...], Placement] = OrderedDict()  # by record and fields, the oldest first

    def entry(self, record: str, flat: Any, now: int = 0) -> Entry | None:
        """The entry that a script or HGETALL answered, None where there is none; `now` in ms, of the store."""
        row = dict(flat) if isinstance(flat, dict) else dict(zip(flat[0::2], flat[1::2], strict=True))
        if "rank" not in row:
            return None
        reason = row.get("reason")
        entry = Entry(
            record=record,
            rank=Rank(int(row["rank"])),
            realm=row.get("realm", ""),
            wish=_wish(record, row["wish"]) if "wish" in row else None,
            foreign=row.get("foreign", ""),
            version=int(row["version"]) if "version" in row else None,
            changed=int(row["changed"]) if "changed" in row else None,
            asked=int(row.get("asked", 0)),
            before=int(row["before"]) if "before" in row else None,
            generation=int(row.get("generation", 0)),
            settled=int(row.get("settled", 0)),
            token=row.get("token"),
            meeting=self._standing(record, *(row.get(name, "") for name in _STANDING)) if "meeting" in row else None,
            intent=self.placement(record, row["intent"]) if "intent" in row else None,
            intent_age=(now - int(row["intended"])) / 1000 if "intended" in row else math.inf,
            made=int(row.get("made", 0)),
            doubt="doubt" in row,
            released="released" in row,
            older="older" in row,
            told=tuple(row["told"].split(",")) if row.get("told") else (),
            hosted="hosted" in row,
            answer=row.get("answer", ""),
            state=State(row.get("state", "none")),
            reason=Reason(**orjson.loads(reason)) if reason else None,
            attempts=int(row.get("attempts", 0)),
            refusals=int(row.get("refusals", 0)),
            leased_until=int(row.get("lease", 0)) // 1000,
            parked=row.get("parked"),
            noticed=_noticed(row) if "noticed" in row else 0,
        )
        names = sorted(name for name in row if name.startswith("x:"))
        retired = tuple(self.placement(record, row[name]) for name in names)
        return entry._replace(retired=retired) if names else entry

    @staticmethod
    def first(record: Record, realm: str, token: str, now: int, lease_ms: int) -> Entry:
        """The entry of a record that was not known, once Vello has asked for its link and it is leased; `now` in ms."""
        return Entry(
            record.id,
            Rank.LIVE,
            realm,
            wish=Record(record.id, Rank.LIVE, *_wish_of(record)),
            version=record.version,
            changed=record.changed,
            asked=now // 1000,
            generation=1,
            token=token,
            state=State.PENDING,
            leased_until=(now + lease_ms) // 1000,
        )

    def seal(self, record: str, placement: Placement) -> str:
        """A placement as an envelope: its join URL is nobody's business."""
        envelope = self._sealed(record, placement)
        self._keep((record, envelope), placement.bare())
        return envelope

    def standing(self, record: str, placement: Placement) -> dict[str, str]:
        """What an entry holds of a meeting that stands: its entrance ('' for none) in an envelope, and whose it is."""
        kept = placement.meeting and placement.meeting.entrance and orjson.dumps(placement.dump_entrance()).decode()
        entrance = self._vault.seal(kept, entrance_purpose(record)) if kept else ""
        envelope = self._sealed(record, placement)
        self._keep((record, envelope, entrance, placement.marked), placement)
        return {"meeting": envelope, "entrance": entrance, "marked": placement.marked}

    def placement(self, record: str, envelope: str) -> Placement:
        """What `seal` sealed, without its entrance."""
        placed = self._kept.get((record, envelope))
        if placed is None:
            placed = Placement.load(orjson.loads(self._vault.open(envelope, meeting_purpose(record))))
            self._keep((record, envelope), placed)
        return placed

    def _sealed(self, record: str, placement: Placement) -> str:
        return self._vault.seal(orjson.dumps(placement.dump()).decode(), meeting_purpose(record))

    def _standing(self, record: str, envelope: str, entrance: str, marked: str) -> Placement:
        placed = self._kept.get((record, envelope, entrance, marked))
        if placed is None:
            placed = self.placement(record, envelope).owned(marked)
            if entrance:
                placed = placed.entered(orjson.loads(self._vault.open(entrance, entrance_purpose(record))))
            self._keep((record, envelope, entrance, marked), placed)
        return placed

    def _keep(self, fields: tuple[str, ...], placed: Placement) -> None:
        self._kept[fields] = placed
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


@lru_cache(_KEPT)
def _wish(record: str, content: str) -> Record:
    return Record(id=record, **dict(zip(_STORED, orjson.loads(content), strict=True)))


def _noticed(row: Mapping[str, str]) -> int:
    """When people were told that a booking has no meeting, 0 where it has one by now or is wanted otherwise."""
    at, _, wish = row["noticed"].partition(":")
    return int(at) if "meeting" not in row and wish == row.get("digest") else 0


def content_of(record: Record) -> bytes:
    """What of a record is stored as its wish; nothing of one of which only the end is known."""
    return b"" if record.partial else orjson.dumps(_wish_of(record))


def digest_of(content: bytes) -> str:
    """By which the same wish is known again, '' for none."""
    return hashlib.sha256(content).hexdigest()[:16] if content else ""
