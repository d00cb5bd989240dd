"""What was written once must be readable for ever: by drtool, and by who has only FORMAT.md."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from drtool.repository.config import MAY_SIGN
from drtool.repository.format.names import family, name_time, parse_json_time
from drtool.repository.heads import pick_head, read_heads
from drtool.repository.kit import parse_recovery
from drtool.repository.reader import Reader
from drtool.repository.records import Unreadable
from drtool.repository.repository import Repository, open_with_recovery
from drtool.repository.runs import Note, read_notes, read_runs
from drtool.repository.snapshot import Snapshot, read_snapshots
from drtool.repository.storage.memory import MemoryStore
from drtool.repository.wal import WalStore, lineages

HERE = Path(__file__).parent
RECIPIENTS = ("first", "second", "third")
EXPECTED: dict[str, dict[str, str]] = json.loads((HERE / "expected.json").read_text())
ARTIFACTS, RECEIVED = EXPECTED["artifacts"], EXPECTED["received"]


def recovery_line(recipient: str) -> str:
    [line] = [x for x in (HERE / "kit.txt").read_text().splitlines() if x.startswith(f"{recipient}: ")]
    return line.removeprefix(f"{recipient}: ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the golden repository as files, with the times at which its store received them."""
    root = tmp_path_factory.mktemp("golden") / "repository"
    shutil.copytree(HERE / "repository", root)
    for name, received in RECEIVED.items():
        moment = parse_json_time(received).timestamp()
        os.utime(root / name, (moment, moment))
    return root


@pytest.fixture(scope="module", params=RECIPIENTS)
def opened(request: pytest.FixtureRequest) -> Repository:
    """Return the golden repository, opened by drtool with one recipient's line."""
    clock = iter([*sorted(map(parse_json_time, RECEIVED.values()))])
    now: list[datetime] = []
    store = MemoryStore(lambda: now[-1], versioned=False)
    for name in sorted(RECEIVED, key=lambda n: RECEIVED[n]):
        now.append(next(clock))
        value = (HERE / "repository" / name).read_bytes()
        store.put(name, value, hashlib.sha256(value).digest())
    return open_with_recovery(store, parse_recovery(recovery_line(request.param)))


def standalone(folder: Path, line: str, target: Path) -> subprocess.CompletedProcess[str]:
    script = HERE / "standalone_reader.py"
    command = [sys.executable, "-I", str(script), str(folder), line, str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def restored(target: Path) -> dict[str, str]:
    files = (path for path in target.rglob("*") if path.is_file())
    return {
        path.relative_to(target).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.mark.parametrize("recipient", RECIPIENTS)
def test_the_standalone_reader_restores_everything_from_the_kit_alone(
    recipient: str, folder: Path, tmp_path: Path
) -> None:
    done = standalone(folder, recovery_line(recipient), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert restored(tmp_path / "out") == ARTIFACTS
    told: dict[str, list[Any]] = json.loads(done.stdout)
    assert {kind for kind in told if told[kind]} == set(MAY_SIGN)
    assert [point["late"] for point in told["snap"]].count(True) == 1


def test_the_standalone_reader_shares_no_code_with_drtool() -> None:
    text = (HERE / "standalone_reader.py").read_text()
    assert "import drtool" not in text
    assert "from drtool" not in text


@pytest.mark.parametrize("kind", sorted({family(name) for name in RECEIVED}))
def test_the_standalone_reader_refuses_a_flipped_byte_in_every_family(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "repository"
    shutil.copytree(folder, root)  # with its times
    [name, *_] = [name for name in sorted(RECEIVED) if family(name) == kind]
    value = bytearray((root / name).read_bytes())
    value[len(value) // 2] ^= 1
    times = (root / name).stat()
    (root / name).write_bytes(value)
    os.utime(root / name, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = standalone(root, recovery_line("first"), tmp_path / "out")
    assert done.returncode != 0
    assert name in done.stderr
    assert restored(tmp_path / "out").items() <= ARTIFACTS.items()


def test_the_golden_repository_holds_every_family_and_stays_small() -> None:
    assert {family(name) for name in RECEIVED} == {*MAY_SIGN, "packs", "lists"}
    files = [path for path in (HERE / "repository").rglob("*") if path.is_file()]
    assert {path.relative_to(HERE / "repository").as_posix() for path in files} == set(RECEIVED)
    assert sum(path.stat().st_size for path in files) < 300_000
    assert "TEST KEYS" in (HERE / "kit.txt").read_text()


def points(repository: Repository) -> list[Snapshot]:
    found = [
        point for volume in ("files", "postgres") for point in read_snapshots(repository.records, volume)
    ]
    assert not [point for point in found if isinstance(point, Unreadable)]
    return [point for point in found if isinstance(point, Snapshot)]


def test_drtool_restores_every_artifact_with_each_recovery_line(opened: Repository) -> None:
    reader = Reader(opened)
    found: dict[str, str] = {}
    for point in points(opened):
        contents = reader.read_contents(point)
        assert contents.header["policy"].startswith("version: 1")
        assert contents.header["facts"] == {"edition": "golden"}
        reader.check(point, contents)
        data = {entry.path: bytearray(entry.size) for entry in contents.entries}

        def take(path: str, offset: int, piece: bytes, data: dict[str, bytearray] = data) -> None:
            data[path][offset : offset + len(piece)] = piece

        reader.read(point, contents, take)
        folder = f"{point.volume}/{name_time(point.end)}"
        found |= {f"{folder}/{path}": hashlib.sha256(value).hexdigest() for path, value in data.items()}
    assert found == {
        path: digest for path, digest in ARTIFACTS.items() if path.split("/")[1] not in ("wal", "tail")
    }


def test_drtool_reads_all_wal_with_each_recovery_line(opened: Repository) -> None:
    found = {}
    for lineage in lineages(opened.records, "postgres"):
        wal = WalStore(opened.records, lineage)
        for stored in (*wal.segments(), *wal.tails()):
            kind, _, label, timeline, last = stored.name.split("/")
            plain = wal.read(stored.stored, opened.run_keys())
            found[f"postgres/{kind}/{label}/{timeline}/{last[:-65]}"] = hashlib.sha256(plain).hexdigest()
    assert found == {
        path: digest for path, digest in ARTIFACTS.items() if path.split("/")[1] in ("wal", "tail")
    }


def test_drtool_marks_the_late_and_the_void_point_and_chooses_the_rest(opened: Repository) -> None:
    files = [point for point in points(opened) if point.volume == "files"]
    assert [(point.late, point.void) for point in sorted(files, key=lambda point: point.received)] == [
        (False, None),
        (False, None),
        (False, "a file was still being written"),
        (True, None),
    ]


def test_drtool_reads_every_small_record(opened: Repository) -> None:
    records = opened.records
    runs = [run for run in read_runs(records) if not isinstance(run, Unreadable)]
    assert sorted({run.role for run in runs}) == ["operator", "verifier", "writer"]
    for note in get_args(Note):
        [record] = read_notes(records, note, "files")
        assert not isinstance(record, Unreadable)
    head = pick_head(records, None)
    assert head is not None
    assert {point.name for point in points(opened) if point.chosen} == head.live
    assert len(read_heads(records)) == 2
    assert opened.config.number == 2
    assert [entry.name for entry in opened.config.recipients] == list(RECIPIENTS)
