"""WAL in the store: complete segments and history files, tails of the segment that is being filled, marks.

    wal/<volume>/<system>-<major>-<epoch>/<timeline>/<segment>-<sha256>
    tail/<volume>/<system>-<major>-<epoch>/<timeline>/<segment>.<from>-<to>-<sha256>

<timeline> is 8 hex digits, <from> and <to> are LSNs as 16. A tail whose from is its to holds no bytes: it is a mark,
that says up to where, and when, the server had flushed.

Who may put objects may put any name, so a name proves nothing but that somebody wrote it: a listing leaves out what
is no name of WAL at all; `facts` tells who signed the rest, and `read` opens it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from drtool.errors import Corrupt, ObjectMissing, WrongKey
from drtool.repository.format import wal_object
from drtool.repository.format.crypto import keyed_id, random_bytes
from drtool.repository.format.names import lineage_prefix, split_hash
from drtool.repository.format.record import Json
from drtool.repository.format.wal_object import MAX_FACTS, WalFacts, WalKeys
from drtool.repository.records import Records, Stored, fetch_named, stored_objects
from drtool.repository.storage.base import put_named
from drtool.repository.unwrap import HeadKeys

FOLD_AFTER: Final = 64  # tails of one segment: the next holds the segment from its first byte
_RANGED: Final = MAX_FACTS + 32 * 1024  # head, facts and the beginning of the sealed bytes

_HASH = "-[0-9a-f]{64}"
_WAL = re.compile(
    r"(?P<timeline>[0-9A-F]{8})/(?P<file>(?P=timeline)(?:[0-9A-F]{16}|\.history))" + _HASH,
)
_TAIL = re.compile(
    r"(?P<timeline>[0-9A-F]{8})/(?P<file>(?P=timeline)[0-9A-F]{16})"
    r"\.(?P<start>[0-9A-F]{16})-(?P<end>[0-9A-F]{16})" + _HASH
)
_LINEAGE = re.compile(r"(?P<system>[1-9][0-9]{0,19})-(?P<major>[1-9][0-9]{0,3})-(?P<epoch>0|[1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Lineage:
    """One life of one PostgreSQL system: system identifier, major version, epoch."""

    volume: str
    system: str
    major: int
    epoch: int

    @property
    def label(self) -> str:
        """The lineage as it stands in names."""
        return f"{self.system}-{self.major}-{self.epoch}"


@dataclass(frozen=True, slots=True)
class StoredWal:
    """One object of WAL as its name tells it. file is a segment or a history file; start and end only for tails."""

    stored: Stored
    timeline: int
    file: str
    start: int | None = None
    end: int | None = None

    @property
    def name(self) -> str:
        """The object's name."""
        return self.stored.name

    @property
    def received(self) -> datetime:
        """When the store received something under this name first, by the store's clock.

        By the listing alone: whether that version's bytes fit the hash is known only once it is read.
        """
        return self.stored.versions[0].modified

    @property
    def size(self) -> int:
        """How many bytes it takes in the store, by the listing."""
        return self.stored.versions[0].size


class WalStore:
    """The WAL of one lineage, as a holder of the list key sees it. sent counts the bytes of what it has stored."""

    def __init__(self, records: Records, lineage: Lineage) -> None:
        self._records = records
        self.lineage = lineage
        self.sent = 0
        self._run = random_bytes(16)

    def segments(self) -> Iterator[StoredWal]:
        """Yield what is named as a complete segment or a history file, by name; signed or not."""
        return self._listed("wal", _WAL)

    def tails(self) -> Iterator[StoredWal]:
        """Yield what is named as a tail or a mark, by name; signed or not."""
        return self._listed("tail", _TAIL)

    def _listed(self, kind: Literal["wal", "tail"], pattern: re.Pattern[str]) -> Iterator[StoredWal]:
        prefix = lineage_prefix(kind, self.lineage.volume, self.lineage.label)
        for stored in stored_objects(self._records.store, prefix):
            match = pattern.fullmatch(stored.name, len(prefix))
            if match is None:
                continue
            groups = match.groupdict()
            start, end = (int(groups[side], 16) if side in groups else None for side in ("start", "end"))
            if start is None or end is None or start <= end:
                yield StoredWal(stored, int(groups["timeline"], 16), groups["file"], start, end)

    def put(self, timeline: int, file: str, plain: bytes, facts: Json) -> str:
        """Store a complete segment or a history file, once: if its plain bytes are there already, nothing is sent."""
        prefix = lineage_prefix("wal", self.lineage.volume, self.lineage.label) + f"{timeline:08X}/{file}-"
        plain_id = self.plain_id(plain)
        for stored in stored_objects(self._records.store, prefix):
            if self._same(stored, plain_id):
                return stored.name
        return self._put(prefix, plain, {**facts, "id": plain_id.hex()})[0]

    def put_tail(self, timeline: int, file: str, span: tuple[int, int], plain: bytes, facts: Json) -> int:
        """Store the bytes of a segment in the span of LSNs, and return how many the store keeps for them.

        An empty span is a mark.
        """
        start, end = span
        prefix = lineage_prefix("tail", self.lineage.volume, self.lineage.label)
        prefix += f"{timeline:08X}/{file}.{start:016X}-{end:016X}-"
        return self._put(prefix, plain, {**facts, "id": self.plain_id(plain).hex()})[1]

    def _put(self, prefix: str, plain: bytes, facts: Json) -> tuple[str, int]:
        """Seal and store WAL under prefix; return the object's name and its size in bytes."""
        keys = self._records.keys
        if keys.signing is None:
            raise WrongKey("this machine holds no key that may sign WAL", hint="Give the writer's bundle.")
        wal_keys = WalKeys(keys.list_keys[0], keys.signing, self._records.config.recipient_keys())
        lineage = {"system": self.lineage.system, "major": self.lineage.major, "epoch": self.lineage.epoch}
        value = wal_object.encode(
            plain, {**lineage, **facts}, wal_keys, self._records.place(prefix), self.lineage.volume, self._run
        )
        digest = put_named(self._records.store, prefix, value)
        self.sent += len(value)
        return prefix + digest.hex(), len(value)

    def plain_id(self, plain: bytes) -> bytes:
        """Return the keyed id of WAL bytes, by which two objects of one segment are compared."""
        return keyed_id(self._records.keys.id_keys[0], plain)

    def _same(self, stored: Stored, plain_id: bytes) -> bool:
        try:
            return self.facts(stored).get("id") == plain_id.hex()
        except (Corrupt, ObjectMissing):
            return False

    def facts(self, stored: Stored) -> Json:
        """Return the signed facts of a WAL object. Raises as `open_facts`."""
        return self.open_facts(stored).signed.value

    def open_facts(self, stored: Stored) -> WalFacts:
        """Return the head and the signed facts of a WAL object, by one small ranged GET of its oldest good version.

        Raises Corrupt or ObjectMissing when no version is good.
        """
        fault: Corrupt | ObjectMissing = Corrupt(f"{stored.name} has no version")
        for version in stored.versions:
            try:
                value = self._records.store.get(stored.name, version.version, start=0, length=_RANGED)
                return self._parse(stored, value)
            except (Corrupt, ObjectMissing) as error:
                fault = error
        raise fault

    def is_damaged(self, stored: Stored) -> bool:
        """Tell whether no version has the bytes of its name's hash: whoever stored it, that is not what was stored."""
        try:
            fetch_named(self._records.store, stored.name)
        except (Corrupt, ObjectMissing):
            return True
        return False

    def read(self, stored: Stored, keys: HeadKeys) -> bytes:
        """Return the plain bytes of a WAL object, authenticated. Raises Corrupt, ObjectMissing, WrongKey."""
        value = fetch_named(self._records.store, stored.name)
        facts = self._parse(stored, value)
        try:
            return wal_object.unseal(
                value, facts, keys.open(facts.head, self.lineage.volume).pack, self.lineage.volume
            )
        except Corrupt as fault:
            raise Corrupt(f"{stored.name}: {fault.message}", hint=fault.hint) from fault

    def _parse(self, stored: Stored, value: bytes) -> WalFacts:
        place = self._records.place(split_hash(stored.name)[0])
        fault: Corrupt | None = None
        for list_key in self._records.keys.list_keys:
            try:
                facts = wal_object.parse_facts(value, list_key, place)
            except Corrupt as error:
                fault = error
                continue
            except WrongKey as error:
                raise WrongKey(f"{stored.name}: {error.message}", hint=error.hint) from error
            self._records.check_signer(facts.signed, stored.name, stored.versions[0].modified)
            return facts
        raise Corrupt(f"{stored.name}: {fault}", hint="Restore another point.") from fault


def lineages(records: Records, volume: str) -> list[Lineage]:
    """Return the lineages of volume that have WAL in the store, delete markers ignored; other names are passed over."""
    labels = {
        stored.name.split("/")[2]
        for kind in ("wal", "tail")
        for stored in stored_objects(records.store, f"{kind}/{volume}/")
    }
    return [
        Lineage(volume, match["system"], int(match["major"]), int(match["epoch"]))
        for match in map(_LINEAGE.fullmatch, sorted(labels))
        if match is not None
    ]
