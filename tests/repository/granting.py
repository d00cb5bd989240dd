"""A repository with two points and WAL, and grants of its first point: what the tests of grants begin with."""

from dataclasses import dataclass

from drtool.repository.format.crypto import SigningKey
from drtool.repository.format.grant import Opened
from drtool.repository.format.record import Json
from drtool.repository.grant import GrantMaker
from drtool.repository.granted import open_with_grant
from drtool.repository.kit import RunnerLine, trust_of
from drtool.repository.repository import Repository, open_with_recovery
from drtool.repository.snapshot import Snapshot
from drtool.repository.storage.base import ObjectStore
from drtool.repository.wal import Lineage, StoredWal, WalStore
from tests.repository.stage import Stage, back_up, make_stage, text

LINEAGE = Lineage("files", "7412345678901234567", 17, 1)
FACTS: Json = {"flush": "0/2000000", "time": "2026-03-02T08:00:00.000000Z", "heartbeat": None}
RUNNER, STRANGER = RunnerLine(b"1" * 32), RunnerLine(b"2" * 32)
FILES = {"a": text("a", 700_000), "b": text("b", 200_000), "c": b"a secret", "empty": b""}
CHANGED = {"a": FILES["a"], "b": text("other", 200_000), "c": b"another secret"}


@dataclass
class Scene:
    """The stage, its two points, and the WAL objects whose first is granted along."""

    stage: Stage
    first: Snapshot
    second: Snapshot

    @property
    def wal(self) -> list[StoredWal]:
        store = WalStore(self.operator().records, LINEAGE)
        return [*store.segments(), *store.tails()]

    def operator(self) -> Repository:
        created = self.stage.created
        return open_with_recovery(
            self.stage.store, self.stage.lines["first"], SigningKey(created.operator_seed)
        )

    def maker(self, repository: Repository | None = None) -> GrantMaker:
        repository = repository or self.operator()
        maker = GrantMaker(repository, self.first, lambda _size: None)
        maker.add_point()
        maker.add_wal(WalStore(repository.records, LINEAGE), [self.wal[0].stored])
        return maker

    def grant(self, told: Json | None = None) -> bytes:
        return self.maker().seal(RUNNER.key.recipient.public, self.stage.clock(), told or {})

    def opened(
        self, value: bytes, store: ObjectStore | None = None, runner: RunnerLine = RUNNER
    ) -> Repository:
        return self.open(value, store, runner)[0]

    def open(
        self, value: bytes, store: ObjectStore | None = None, runner: RunnerLine = RUNNER
    ) -> tuple[Repository, Opened]:
        return open_with_grant(store or self.stage.store, value, runner, self.stage.clock())

    @property
    def trust(self) -> bytes:
        bundle = self.stage.created.writer
        return trust_of(bundle.repository, bundle.admin)


def make_scene() -> Scene:
    stage = make_stage()
    writer = stage.writer()
    wal = WalStore(writer.records, LINEAGE)
    for number in (1, 2):
        wal.put(1, f"00000001000000000000000{number}", text(f"wal {number}", 5000), FACTS)
    wal.put_tail(1, "000000010000000000000003", (3 << 24, (3 << 24) + 5), b"bytes", FACTS)
    first = back_up(writer, FILES)
    stage.clock.leap(minutes=5)
    second = back_up(writer, CHANGED, first)
    return Scene(stage, first, second)
