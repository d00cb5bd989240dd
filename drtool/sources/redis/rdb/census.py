"""Counts the keys of an RDB, and keeps a seeded sample of them. Memory does not grow with the RDB.

What a server holds depends on its clock, so keys that expire within the next hour are counted by the second.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b

from drtool.sources.redis.rdb.parser import Record
from drtool.sources.redis.rdb.values import Kind

HORIZON_S = 3600
EXPIRED, LATER = -1, HORIZON_S  # the two bins beside those of a second each


@dataclass(frozen=True, slots=True)
class Ration:
    """How many values of up to most_bytes the sample holds, of each kind, with and without a time to live."""

    count: int
    most_bytes: int


SMALL, LARGE = Ration(64, 64 * 1024), Ration(2, 2 * 1024 * 1024)

Group = tuple[int, Kind]  # database and kind
Stratum = tuple[Kind, bool, Ration]


@dataclass(slots=True)
class Census:
    """What was counted. now_ms is the clock, milliseconds since 1970, of the server that is to be compared."""

    now_ms: int
    seed: bytes
    totals: Counter[Group] = field(default_factory=Counter)
    _expiring: dict[Group, Counter[int]] = field(default_factory=dict)
    _sample: dict[Stratum, list[tuple[int, Record]]] = field(default_factory=dict)

    def wanted_size(self, record: Record) -> int:
        """Return up to how many bytes of the record's value the sample wants; 0 for none."""
        if record.expires_ms is not None and record.expires_ms <= self.now_ms:
            return 0
        rank = self._rank(record)
        return max(
            (ration.most_bytes for ration in (SMALL, LARGE) if self._takes(record, ration, rank)), default=0
        )

    def add(self, record: Record) -> None:
        """Count one key."""
        group = (record.db, record.kind)
        self.totals[group] += 1
        if record.expires_ms is not None:
            second = (record.expires_ms - self.now_ms) // 1000
            self._expiring.setdefault(group, Counter())[min(max(second, EXPIRED), LATER)] += 1
        if record.value is not None:
            ration = SMALL if len(record.value) <= SMALL.most_bytes else LARGE
            self._put(record, ration)

    def databases(self) -> list[int]:
        """Return the databases that have a key."""
        return sorted({db for db, _ in self.totals})

    def keys(self) -> dict[int, int]:
        """Return the count of keys of each database, expired ones included."""
        return {
            db: sum(count for (its, _), count in self.totals.items() if its == db) for db in self.databases()
        }

    def alive(self, group: Group, since_ms: int, until_ms: int) -> tuple[int, int]:
        """Return how many keys at least and at most were not expired at a moment between the two."""
        bins = self._expiring.get(group, Counter())
        surely = sum(count for second, count in bins.items() if (second + 1) * 1000 <= since_ms - self.now_ms)
        perhaps = sum(count for second, count in bins.items() if second * 1000 <= until_ms - self.now_ms)
        return self.totals[group] - perhaps, self.totals[group] - surely

    def sample(self) -> list[Record]:
        """Return the sampled records, in order of database and key."""
        records = [record for heap in self._sample.values() for _, record in heap]
        return sorted(records, key=lambda record: (record.db, record.key))

    def _rank(self, record: Record) -> int:
        """Return a number that only the seed decides: the sample is what ranks highest."""
        return int.from_bytes(
            blake2b(b"%d:%b" % (record.db, record.key), digest_size=8, key=self.seed).digest()
        )

    def _takes(self, record: Record, ration: Ration, rank: int) -> bool:
        heap = self._sample.get((record.kind, record.expires_ms is not None, ration), [])
        return len(heap) < ration.count or rank > heap[0][0]

    def _put(self, record: Record, ration: Ration) -> None:
        rank = self._rank(record)
        if not self._takes(record, ration, rank):
            return
        heap = self._sample.setdefault((record.kind, record.expires_ms is not None, ration), [])
        if len(heap) < ration.count:
            heapq.heappush(heap, (rank, record))
        else:
            heapq.heapreplace(heap, (rank, record))
