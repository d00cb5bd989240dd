"""Reading: nothing wrong, nothing incomplete, nothing of a writer that told recipients different things."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from drtool.errors import Corrupt, DrtoolError, ObjectMissing, WrongKey
from drtool.repository.dedup import look_back
from drtool.repository.format.crypto import random_bytes
from drtool.repository.format.pack import wrap_info
from drtool.repository.format.places import Place, encode
from drtool.repository.lists import put_list, read_list
from drtool.repository.reader import Contents, Reader, StoredEntry
from drtool.repository.snapshot import Snapshot
from drtool.repository.writer import Pace, Writer
from tests.repository.counting import Noting
from tests.repository.stage import (
    CHUNK,
    WINDOW,
    Stage,
    back_up,
    make_stage,
    message,
    put,
    restore,
    save,
    snapshot,
    text,
)

FILES = {"a": text("a", 700_000), "b": text("b", 200_000), "c": b"c"}


@pytest.fixture
def stage() -> Stage:
    return make_stage()


@pytest.mark.parametrize("workers", [1, 4])
def test_a_point_is_read_by_any_number_of_threads(stage: Stage, workers: int) -> None:
    point = back_up(stage.writer(), FILES)
    assert restore(stage.recovered(), point, workers) == FILES


def sparse(stage: Stage) -> tuple[Snapshot, dict[str, bytes]]:
    """Return a point that needs one chunk at each end of a large pack, and what it holds."""
    pace = Pace(pack_size=8 * 1024 * 1024)
    files = {"x": text("x", CHUNK + 10), "big": text("big", 4_000_000), "y": text("y", CHUNK + 10)}
    first = back_up(stage.writer(), files, pace=pace)
    kept = {"x": files["x"], "y": files["y"]}
    return back_up(stage.writer(), kept, first, pace=pace), kept


def test_little_of_a_pack_is_fetched_by_ranges(stage: Stage) -> None:
    point, kept = sparse(stage)
    store = Noting(stage.store)
    fetched: list[int] = []
    inner = store.get

    def get(name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        value = inner(name, version, start, length)
        fetched.append(len(value) if name.startswith("packs/") else 0)
        return value

    store.get = get  # type: ignore[method-assign] # only to count bytes
    assert restore(stage.recovered(store=store), point) == kept
    assert sum(fetched) < 500_000


@pytest.mark.parametrize("at", [0, 4, 30, 60, 80, 101, 110, 150, 400, -20])
def test_a_newer_version_of_a_pack_with_other_bytes_hides_nothing(stage: Stage, at: int) -> None:
    point, kept = sparse(stage)
    for found in list(stage.store.list("packs/")):
        value = bytearray(stage.store.get(found.name))
        value[min(at, len(value) - 1)] ^= 1
        put(stage.store, found.name, bytes(value))
    assert restore(stage.recovered(), point) == kept


def test_a_delete_marker_on_every_pack_and_list_hides_nothing(stage: Stage) -> None:
    point, kept = sparse(stage)
    for kind in ("packs", "lists"):
        for found in list(stage.store.list(f"{kind}/")):
            stage.store.delete(found.name)
    assert restore(stage.recovered(), point) == kept


@pytest.mark.parametrize("cut", [0, 50, 150, 2000])
def test_a_damaged_or_missing_pack_is_named(cut: int) -> None:
    stage = make_stage(versioned=False)
    point, _ = sparse(stage)
    for found in list(stage.store.list("packs/")):
        put(stage.store, found.name, stage.store.get(found.name)[:cut])
    with pytest.raises(Corrupt, match="packs/files/"):
        restore(stage.recovered(), point)
    for found in list(stage.store.list("packs/")):
        stage.store.delete(found.name)
    with pytest.raises(ObjectMissing, match="packs/files/"):
        restore(stage.recovered(), point)


def test_a_writer_that_wraps_another_key_for_one_recipient_is_found_by_the_commitment(stage: Stage) -> None:
    repository = stage.writer()
    victim = stage.lines["second"].key.recipient
    with Writer(repository, "files", "files", look_back(repository.records, "files", WINDOW, None)) as writer:
        info = wrap_info(repository.config.repository_id, "files", writer.run.run)
        writer.run.wraps[victim.fingerprint] = victim.wrap(random_bytes(32), info)
        save(writer, FILES)
        now = repository.store.now()
        point = snapshot(repository, writer.commit(now, now, {}))
    assert restore(stage.recovered("first"), point) == FILES
    with pytest.raises(Corrupt, match="wrapped differently for this recipient"):
        restore(stage.recovered("second"), point)


def test_a_writer_that_wraps_nothing_for_one_recipient_is_found(stage: Stage) -> None:
    repository = stage.writer()
    victim = stage.lines["second"].key.recipient
    with Writer(repository, "files", "files", look_back(repository.records, "files", WINDOW, None)) as writer:
        writer.run.wraps[victim.fingerprint] = bytes(80)
        save(writer, FILES)
        now = repository.store.now()
        point = snapshot(repository, writer.commit(now, now, {}))
    assert restore(stage.recovered("first"), point) == FILES
    with pytest.raises(WrongKey):
        restore(stage.recovered("second"), point)


def forge(stage: Stage, point: Snapshot, change: Callable[[list[Place]], list[Place]]) -> Snapshot:
    """Return point with other content lists, as a writer that was taken over could sign it."""
    records = stage.writer().records
    names = [
        put_list(records, name[:-64], encode(change(list(read_list(records, name)))))
        for name in point.streams.content
    ]
    return replace(point, streams=replace(point.streams, content=names))


LIES: dict[str, Callable[[list[Place]], list[Place]]] = {
    "a chunk is left out": lambda rows: rows[:1] + rows[2:],
    "the end is left out": lambda rows: rows[:-1],
    "the beginning is left out": lambda rows: rows[1:],
    "a chunk is there twice": lambda rows: rows[:1] + rows,
    "two chunks are swapped": lambda rows: [rows[0]._replace(offset=rows[1].offset), *rows[2:]],
    "an artifact has no entry": lambda rows: [*rows, rows[0]._replace(path=b"x" * 16)],
    "no path is known": lambda rows: [row._replace(path=b"x" * 16) for row in rows],
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_an_artifact_that_is_not_complete_is_refused_before_any_pack_is_fetched(
    stage: Stage, lie: Callable[[list[Place]], list[Place]]
) -> None:
    point = back_up(stage.writer(), FILES)
    store = Noting(stage.store)
    reader = Reader(stage.recovered(store=store))
    contents = reader.read_contents(point)
    store.calls.clear()
    with pytest.raises(Corrupt, match="snap/files/"):
        reader.check(forge(stage, point, lie), contents)
    assert "packs" not in store.families("get")


WRONG_PLACES: dict[str, Callable[[list[Place]], list[Place]]] = {
    "number": lambda rows: [rows[0]._replace(number=rows[0].number + 1), *rows[1:]],
    "kind": lambda rows: [rows[0]._replace(kind=9), *rows[1:]],
    "position": lambda rows: [rows[0]._replace(position=rows[0].position + 1), *rows[1:]],
    "far position": lambda rows: [rows[0]._replace(position=2**31), *rows[1:]],
    "sealed size": lambda rows: [rows[0]._replace(sealed_size=3), *rows[1:]],
    "huge sealed size": lambda rows: [rows[0]._replace(sealed_size=2**32 - 1), *rows[1:]],
    "plain size": lambda rows: [rows[0]._replace(plain_size=2**32 - 1), *rows[1:]],
    "id": lambda rows: [rows[0]._replace(id=b"x" * 32), *rows[1:]],
    "run": lambda rows: [rows[0]._replace(pack=rows[0].pack._replace(run=b"x" * 16)), *rows[1:]],
    "pack": lambda rows: [rows[0]._replace(pack=rows[0].pack._replace(name=rows[-1].pack.name)), *rows[1:]],
}


@pytest.mark.parametrize("lie", WRONG_PLACES.values(), ids=WRONG_PLACES.keys())
def test_a_place_that_leads_to_other_bytes_is_corrupt(
    stage: Stage, lie: Callable[[list[Place]], list[Place]]
) -> None:
    point = back_up(stage.writer(), FILES)
    reader = Reader(stage.recovered())
    contents = reader.read_contents(point)
    with pytest.raises(Corrupt) as caught:
        reader.read(forge(stage, point, lie), contents, lambda *_: None)
    assert "packs/files/" in message(caught.value)


def test_a_pack_whose_key_the_snapshot_does_not_vouch_for_is_corrupt(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    for runs in ({}, {point.run: "00" * 32}):
        with pytest.raises(Corrupt, match="vouches for"):
            Reader(stage.recovered()).read_contents(replace(point, runs=runs))


def test_entries_that_are_missing_or_malformed_are_corrupt(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    reader = Reader(stage.recovered())
    with pytest.raises(Corrupt, match="has no entries"):
        reader.read_contents(replace(point, streams=replace(point.streams, entries=[])))
    repository = stage.writer()
    for line in ('{"path":"a"}', '{"path":"a","size":1}', '"text"', "5", "not JSON"):
        with Writer(
            repository, "files", "files", look_back(repository.records, "files", WINDOW, None)
        ) as writer:
            writer._entry_lines.append(line.encode() + b"\n")
            now = repository.store.now()
            bad = snapshot(repository, writer.commit(now, now, {}))
        with pytest.raises(Corrupt, match="entries are malformed"):
            reader.read_contents(bad)


def test_entries_with_a_hole_are_corrupt(stage: Stage) -> None:
    repository = stage.writer()
    with Writer(repository, "files", "files", look_back(repository.records, "files", WINDOW, None)) as writer:
        writer._entry_offset = 5
        writer.header({"policy": "x"})
        now = repository.store.now()
        point = snapshot(repository, writer.commit(now, now, {}))
    with pytest.raises(Corrupt, match="not complete at byte 0"):
        Reader(stage.recovered()).read_contents(point)


def test_a_fault_in_the_taker_ends_the_reading(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    reader = Reader(stage.recovered())

    def full(path: str, offset: int, data: bytes) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        reader.read(point, reader.read_contents(point), full)


def test_an_entry_that_claims_another_size_than_the_lists_is_refused(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    reader = Reader(stage.recovered())
    contents = reader.read_contents(point)
    entries = [StoredEntry(entry.path, entry.size + 1, entry.entry) for entry in contents.entries]
    with pytest.raises(Corrupt, match="is not complete in the lists"):
        reader.check(point, Contents(contents.header, entries))
    with pytest.raises(DrtoolError, match="no entry"):
        reader.check(
            point, Contents(contents.header, [entry for entry in contents.entries if entry.path != "a"])
        )


def test_path_ids_that_no_id_key_made_are_corrupt(stage: Stage) -> None:
    point = back_up(stage.writer(), {"a": FILES["a"]})
    reader = Reader(stage.recovered())
    contents = reader.read_contents(point)
    with pytest.raises(Corrupt, match="no id key of this repository made its path ids"):
        reader.check(
            forge(stage, point, lambda rows: [row._replace(path=b"x" * 16) for row in rows]), contents
        )


def test_every_piece_is_handed_out_once_also_where_only_some_ranges_of_a_pack_are_damaged(
    stage: Stage,
) -> None:
    point, kept = sparse(stage)
    rows = [row for name in point.streams.content for row in read_list(stage.writer().records, name)]
    last = max(rows, key=lambda row: row.position)
    name = f"packs/files/{last.pack.name}"
    value = bytearray(stage.store.get(name))
    value[last.position + 5] ^= 1
    put(stage.store, name, bytes(value))
    reader = Reader(stage.recovered(), 1)
    taken: list[tuple[str, int]] = []
    reader.read(point, reader.read_contents(point), lambda path, offset, _: taken.append((path, offset)))
    assert len(taken) == len(set(taken)) > len(kept)


def test_a_taker_that_finds_a_piece_corrupt_is_not_asked_to_take_it_again(stage: Stage) -> None:
    point, _ = sparse(stage)
    reader = Reader(stage.recovered(), 1)
    taken: list[tuple[str, int]] = []

    def refuse(path: str, offset: int, data: bytes) -> None:
        taken.append((path, offset))
        raise Corrupt("the point has bytes that no file of it has")

    with pytest.raises(Corrupt, match=r"^the point has bytes that no file of it has$"):
        reader.read(point, reader.read_contents(point), refuse)
    assert len(taken) == 1


def test_ranges_that_hold_more_than_fits_into_memory_are_cut_from_the_whole_pack(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drtool.repository.fetch._RANGED_PLAIN", CHUNK)
    point, kept = sparse(stage)
    store = Noting(stage.store)
    reader = Reader(stage.recovered(store=store), 1)
    contents = reader.read_contents(point)
    store.calls.clear()
    pieces: list[bytes] = []
    reader.read(point, contents, lambda _path, _offset, data: pieces.append(data))
    assert sum(map(len, pieces)) == sum(map(len, kept.values()))
    assert store.families("get").count("packs") == 1
