"""Made the golden repository, once: a whole repository of format 1 with every family, as it must be readable for ever.

    python -m tests.golden.make_golden [DIRECTORY]

Not run by the tests: keys and salts are random, so every run makes another repository.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from drtool.repository import listing
from drtool.repository.config import Epoch, RecipientEntry, Signer, VolumeLimits
from drtool.repository.dedup import look_back
from drtool.repository.enrol import add_recipient, rewrap_runs
from drtool.repository.format.crypto import SigningKey, random_bytes
from drtool.repository.format.names import json_time, name_time
from drtool.repository.format.record import Json
from drtool.repository.format.text import encode_key
from drtool.repository.heads import put_head
from drtool.repository.kit import RecoveryLine
from drtool.repository.records import Keys, Records
from drtool.repository.repository import (
    Created,
    Repository,
    Request,
    init_repository,
    open_with_bundle,
    open_with_recovery,
    put_config,
)
from drtool.repository.runs import put_note, put_run
from drtool.repository.snapshot import Snapshot, Void, put_void, read_snapshots
from drtool.repository.storage.memory import MemoryStore
from drtool.repository.wal import Lineage, WalStore
from drtool.repository.writer import Pace, Writer
from tests.repository.stage import Clock

GOLDEN = Path(__file__).parent
DAY = 86_400
SYSTEM = "7412345678901234567"
SEGMENT = 16 * 1024  # bytes; a WAL object may hold any bytes, and the golden repository is to stay small
KIT = """\
TEST KEYS of tests/golden/repository. They are public: never use them for anything else.
"""


def text(seed: str, size: int) -> bytes:
    """Return size bytes that compress well and differ from line to line."""
    lines = (f"{seed} {number:06d}\n".encode() for number in range(size))
    out = bytearray()
    while len(out) < size:
        out += next(lines)
    return bytes(out[:size])


def artifacts(edition: str) -> dict[str, bytes]:
    """Return the artifacts of the volume `files`: content of both kinds, an empty one, a deep and a UTF-8 path."""
    return {
        "media/large.bin": text("large", 200_000),
        "media/edited.bin": text("edited", 40_000) + text(edition, 40_000),
        "media/exact.bin": text("exact", 65_536),
        "etc/deep/er/secret.txt": f"only {edition}".encode(),
        "etc/empty": b"",
        "médias/été.txt": "ça va\n".encode(),
    }


@dataclass
class Stage:
    clock: Clock
    store: MemoryStore
    created: Created
    seeds: dict[str, bytes]
    expected: dict[str, str]

    def writer(self) -> Repository:
        return open_with_bundle(self.store, self.created.writer)

    def records(self, role: str) -> Records:
        """Return the records as who holds role's signing key and the list key."""
        seed = self.created.operator_seed if role == "operator" else self.seeds[role]
        keys = Keys(self.created.writer.list_keys, (), SigningKey(seed), role)
        return Records(self.store, self.writer().config, keys)

    def recovered(self) -> Repository:
        return open_with_recovery(self.store, self.created.recovery["first"])


def make() -> Stage:
    """Return a stage on which everything that format 1 knows has been put."""
    clock = Clock()
    store = MemoryStore(clock, versioned=False)
    limits = {"files": VolumeLimits(90 * DAY, DAY), "postgres": VolumeLimits(14 * DAY, DAY)}
    created = init_repository(store, Request("golden", [("first", None), ("second", None)], limits))
    seeds = {name: random_bytes(32) for name in ("third", "maintainer", "verifier")}
    stage = Stage(clock, store, created, seeds, {})
    clock.leap(minutes=1)
    first = back_up(stage, "files", artifacts("first edition"), None)
    enrol(stage)
    clock.leap(days=8)
    die(stage)
    second = back_up(stage, "files", artifacts("second edition"), first)
    void = back_up(stage, "files", {"half": b"not all of it"}, second)
    said = Void(void.name, "files", void.run, "a file was still being written")
    put_void(stage.writer().records, said, clock())
    late = back_up(stage, "files", artifacts("too late"), second, lateness=timedelta(days=2))
    base = back_up(stage, "postgres", {"base/1/1259": text("relation", 90_112)}, None)
    write_wal(stage)
    write_notes(stage, [first, second, base], late)
    return stage


def back_up(
    stage: Stage,
    volume: str,
    content: dict[str, bytes],
    previous: Snapshot | None,
    lateness: timedelta = timedelta(0),
) -> Snapshot:
    repository = stage.writer()
    window = timedelta(seconds=repository.config.limits(volume).window)
    earlier = look_back(repository.records, volume, window, previous)
    with Writer(repository, volume, "files", earlier, Pace(pack_size=16_384)) as writer, small_lists():
        begin = stage.clock()
        save(writer, content)
        end = stage.clock()
        stage.clock.leap(seconds=lateness.total_seconds())
        name = writer.commit(begin, end, {"edition": "golden"}, {volume: {"lsn": "0/3000060"}})
    [made] = [s for s in read_snapshots(repository.records, volume) if s.name == name]
    assert isinstance(made, Snapshot)
    folder = f"{volume}/{name_time(made.end)}"
    stage.expected |= {f"{folder}/{path}": digest(data) for path, data in content.items()}
    put_run(
        repository.records, "backup", stage.clock(), {"run": made.run, "outcome": "done", "snapshot": name}
    )
    return made


def save(writer: Writer, content: dict[str, bytes]) -> None:
    writer.header({"policy": "version: 1\nname: golden\n"})
    for path, data in content.items():
        writer.save(path, {"type": "file", "mode": 0o644}, [data], size=len(data), chunk_size=32_768)
    writer.header({"version": "1", "facts": {"edition": "golden"}})


def die(stage: Stage) -> None:
    """Leave a part of a run that never committed."""
    repository = stage.writer()
    earlier = look_back(repository.records, "files", timedelta(days=90), None)
    with Writer(repository, "files", "files", earlier, Pace(part_bytes=0)) as writer:
        save(writer, {"media/large.bin": text("large", 200_000), "gone.bin": text("gone", 70_000)})


@contextmanager
def small_lists() -> Iterator[None]:
    """Let a list hold three places, so that a path goes on in the next, and the golden files stay small."""
    most = vars(listing)["MAX_PLACES"]
    vars(listing)["MAX_PLACES"] = 3
    try:
        yield
    finally:
        vars(listing)["MAX_PLACES"] = most


def enrol(stage: Stage) -> None:
    """Write config 1: a third recipient, a maintainer, a verifier, an epoch; and the rewrap of what is there."""
    created, recovered = stage.created, stage.recovered()
    admin, key = SigningKey(created.admin_seed), created.recovery["first"].key
    since = json_time(stage.clock())
    signers = [
        *recovered.config.signers,
        *(
            Signer(f"{role}-1", role, SigningKey(stage.seeds[role]).public.hex(), since)
            for role in ("maintainer", "verifier")
        ),
    ]
    third = RecoveryLine(stage.seeds["third"], created.recovery["first"].trust)
    entry = RecipientEntry("third", third.key.recipient.public.hex())
    add_recipient(recovered, key, admin, entry, stage.clock())
    recovered = stage.recovered()
    epochs = [Epoch("postgres", SYSTEM, 17, 1), Epoch("postgres", SYSTEM, 17, 2, "0/3000060")]
    config = recovered.config.next(stage.clock(), recovered.config_sha256, signers=signers, epochs=epochs)
    put_config(stage.store, config, admin)
    rewrap_runs(stage.recovered(), admin, third.key.recipient, stage.clock())
    created.recovery["third"] = third


def write_wal(stage: Stage) -> None:
    wal = WalStore(stage.writer().records, Lineage("postgres", SYSTEM, 17, 1))
    facts: Json = {"flush": "0/3000060", "time": json_time(stage.clock()), "heartbeat": None}
    beat = {"lsn": "0/2FFFF28", "time": json_time(stage.clock())}
    start = 3 * SEGMENT
    put = {
        "wal/{}/00000001/000000010000000000000001": text("segment 1", SEGMENT),
        "wal/{}/00000001/000000010000000000000002": text("segment 2", SEGMENT),
        "wal/{}/00000002/00000002.history": b"1\t0/3000060\tno recovery target specified\n",
    }
    for name, plain in put.items():
        _, _, timeline, file = name.split("/")
        wal.put(int(timeline, 16), file, plain, {} if "history" in file else {**facts, "heartbeat": beat})
    tails = {(start, start + 96): text("tail", 96), (start + 96, start + 96): b""}
    for span, plain in tails.items():
        segment = "000000010000000000000003"
        wal.put_tail(1, segment, span, plain, {**facts, "flush": f"0/{span[1]:X}"})
        put[f"tail/{{}}/00000001/{segment}.{span[0]:016X}-{span[1]:016X}"] = plain
    label = wal.lineage.label
    stage.expected |= {f"postgres/{name.format(label)}": digest(plain) for name, plain in put.items()}


def write_notes(stage: Stage, live: list[Snapshot], expired: Snapshot) -> None:
    """Put one or more of each small record, each by a role that may sign it."""
    operator, maintainer, verifier = (stage.records(role) for role in ("operator", "maintainer", "verifier"))
    run = random_bytes(16).hex()
    put_run(verifier, "verify", stage.clock(), {"run": run, "outcome": "done", "level": "L1"})
    put_run(operator, "prove", stage.clock(), {"run": run, "outcome": "done"})
    put_note(operator, "hold", "files", stage.clock(), {"reason": "an incident", "until": None})
    put_note(operator, "using", "files", stage.clock(), {"points": [live[0].name], "by": "a restore"})
    plan = {"expire": [expired.name], "delete": [expired.name]}
    put_note(maintainer, "plan", "files", stage.clock(), plan)
    head: Json = {
        "live": [point.name for point in live],
        "wal": [],
        "marks": {"postgres": {"lsn": "0/3000060"}},
        "config": stage.writer().config_sha256.hex(),
        "previous": None,
    }
    name = put_head(maintainer, stage.clock(), head)
    put_head(maintainer, stage.clock(), {**head, "previous": name})


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(stage: Stage, root: Path) -> None:
    """Write the repository as files, with its kit and what a reader must find."""
    received = {}
    for found in stage.store.list(""):
        path = root / "repository" / found.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stage.store.get(found.name))
        received[found.name] = json_time(found.modified)
    created = stage.created
    lines = [f"{name}: {line.text()}" for name, line in created.recovery.items()]
    lines += [f"admin: {encode_key('ADMIN', created.admin_seed)}"]
    lines += [f"operator: {encode_key('OPERATOR', created.operator_seed)}"]
    (root / "kit.txt").write_text(KIT + "\n".join(lines) + "\n")
    expected = {"received": received, "artifacts": dict(sorted(stage.expected.items()))}
    (root / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    write(make(), Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN)
