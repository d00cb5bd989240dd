"""From a recovery key to the keys of runs and WAL objects: the wraps in heads, and those that an admin added later.

Who only reads asks for the keys of one object, `HeadKeys`: a recovery key has those of all, a grant those of its point.
"""

from dataclasses import dataclass, field
from typing import Protocol

from drtool.errors import Corrupt, WrongKey
from drtool.repository.format.crypto import RecoveryKey
from drtool.repository.format.pack import Head, commitment, pack_key, private_id_key, wrap_info
from drtool.repository.records import Records
from drtool.repository.rewrap import read_rewraps


@dataclass(frozen=True, slots=True)
class PackKeys:
    """What opens one pack or WAL object: its own key, and that of the ids of its run's private chunks."""

    pack: bytes = field(repr=False)
    private_id: bytes = field(repr=False)


class HeadKeys(Protocol):
    """What opens packs and WAL objects by their heads. Safe to use from many threads."""

    def open(self, head: Head, volume: str) -> PackKeys:
        """Return the keys of the one object with that head. Raises WrongKey for what is not ours, Corrupt."""
        ...


class RunKeys:
    """Opens wrapped keys with one recovery key, each once. Safe to use from many threads."""

    def __init__(self, records: Records, recovery: RecoveryKey) -> None:
        self._records = records
        self._recovery = recovery
        self._opened: dict[bytes, bytes] = {}
        self._rewraps: dict[str, bytes] | None = None

    @property
    def recovery(self) -> RecoveryKey:
        """The key that opens all the others."""
        return self._recovery

    def open(self, head: Head, volume: str) -> PackKeys:
        """Return the keys of the one object with that head. Raises as `open_run`."""
        key = self.open_run(head, volume)
        return PackKeys(pack_key(key, head.salt), private_id_key(key))

    def open_run(self, head: Head, volume: str) -> bytes:
        """Return the key that head wraps. Raises WrongKey without a wrap for us, Corrupt when it does not fit."""
        key = self._opened.get(head.commitment)
        if key is None:
            info = wrap_info(head.repository, volume, head.run)
            key = self._recovery.unwrap(self._wrap(head), info)
            if commitment(key) != head.commitment:
                raise Corrupt(
                    f"a key of run {head.run.hex()} was wrapped differently for this recipient than for the others",
                    hint="Try another recipient's recovery key, and treat the writer of that run as taken over.",
                )
            self._opened[head.commitment] = key
        return key

    def _wrap(self, head: Head) -> bytes:
        wrap = head.wraps.get(self._recovery.recipient.fingerprint)
        if wrap is not None:
            return wrap
        if self._rewraps is None:
            self._rewraps = read_rewraps(self._records, self._recovery.recipient.fingerprint)
        wrap = self._rewraps.get(head.commitment.hex())
        if wrap is None:
            raise WrongKey(
                f"run {head.run.hex()} was not sealed to this recovery key",
                hint="Its recipient was added after that run: use the recovery key of one who was there before.",
            )
        return wrap
