"""What is unchanged is referred to whole: stat lists, and what they may never make a run believe."""

from datetime import timedelta

import pytest

from drtool.errors import Corrupt
from drtool.repository.dedup import look_back
from drtool.repository.format import stats
from drtool.repository.format.names import family
from drtool.repository.format.places import path_id
from drtool.repository.format.stats import MAX_STATS, PathIndex, StatList, encode, encode_row
from drtool.repository.lists import PreviousStats, put_list
from drtool.repository.records import Unreadable
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot, read_parts
from drtool.repository.verify import Found, check_references
from drtool.repository.writer import Pace, Writer
from tests.repository.counting import Noting
from tests.repository.stage import CHUNK, SMALL, WINDOW, Stage, make_stage, restore, snapshot, text

FILES = {"large": text("large", 300_000), "small": b"a secret", "empty": b"", "other": text("other", 100_000)}
PREFIX = "lists/files/2026W10/"


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def stat(data: bytes) -> bytes:
    return (b"%d" % hash(data)).ljust(32)[:32]


def walk(
    repository: Repository, files: dict[str, bytes], previous: Snapshot | None = None, pace: Pace = SMALL
) -> tuple[Snapshot, list[str]]:
    """Back files up as a walk does; return the point, and what had to be read."""
    read = []
    with Writer(
        repository, "files", "files", look_back(repository.records, "files", WINDOW, previous), pace
    ) as writer:
        for path, data in files.items():
            if save(repository, writer, path, data):
                read.append(path)
        now = repository.store.now()
        name = writer.commit(now, now, {})
    return snapshot(repository, name), read


def save(repository: Repository, writer: Writer, path: str, data: bytes) -> bool:
    kept = writer._earlier.whole(path_id(repository.id_key, path), stat(data))
    if kept is not None:
        assert kept.stored == len(data)
        writer.refer(path, {}, kept)
        return False
    stored = writer.save(path, {}, [data], size=len(data), chunk_size=CHUNK)
    assert stored == len(data)
    writer.remember(path, stored, stat(data))
    return True


def lose(stage: Stage, name: str) -> None:
    for version in list(stage.store.versions(name)):
        stage.store.delete(name, version.version)


def test_what_is_unchanged_is_referred_to_small_files_too_and_comes_back(stage: Stage) -> None:
    first, read = walk(stage.writer(), FILES)
    assert read == list(FILES)
    changed = {**FILES, "other": text("changed", 100_000), "new": b"new"}
    store = Noting(stage.store)
    second, read = walk(stage.writer(store), changed, first)
    assert read == ["other", "new"]
    assert "packs" not in store.families("get")
    assert second.size == sum(map(len, changed.values()))
    third, read = walk(stage.writer(), {**changed, "large": FILES["large"]}, second)
    assert read == []
    for point, files in ((first, FILES), (second, changed), (third, changed)):
        assert restore(stage.recovered(), point) == files


def test_a_chain_of_references_comes_back_whatever_lies_beside_it(stage: Stage) -> None:
    files = {f"{number}": text(f"{number}", 1000 + number * 997) for number in range(150)}
    point, _ = walk(stage.writer(), files)
    for step in range(1, 5):
        for number in range(step, 150, 7):
            files[f"{number}"] = text(f"{step} {number}", 500 + number * 1500)
        files.pop(f"{step * 3}", None)
        point, _ = walk(stage.writer(), files, point)
        assert restore(stage.recovered(), point) == files


def test_old_packs_are_not_referred_to_so_the_file_is_read_again(stage: Stage) -> None:
    first, _ = walk(stage.writer(), FILES)
    stage.clock.leap(days=15)
    second, read = walk(stage.writer(), FILES, first)
    assert read == ["large", "small", "other"]  # an empty one needs no pack
    assert set(second.runs) == {second.run}


def test_a_list_of_places_that_is_gone_makes_no_file_empty_or_short(stage: Stage) -> None:
    first, _ = walk(stage.writer(), FILES)
    for name in first.streams.content:
        lose(stage, name)
    second, read = walk(stage.writer(), FILES, first)
    assert read == ["large", "small", "other"]
    assert restore(stage.recovered(), second) == FILES


def test_a_stat_list_that_is_gone_or_damaged_costs_a_reading_and_is_found_by_verification(
    stage: Stage,
) -> None:
    first, _ = walk(stage.writer(), FILES)
    [name] = first.streams.stats
    damaged = put_list(stage.writer().records, PREFIX, b"junk")
    assert PreviousStats(stage.writer().records, [damaged, name]).find(b"x" * 16) is None
    lose(stage, name)
    second, read = walk(stage.writer(), FILES, first)
    assert read == list(FILES)
    assert restore(stage.recovered(), first) == FILES
    found = Found()
    check_references(stage.writer(), found)
    assert list(found.faults) == [name]
    assert second.streams.stats


def test_stat_lists_are_durable_and_listed_before_the_snapshot_names_them(stage: Stage) -> None:
    store = Noting(stage.store)
    point, _ = walk(stage.writer(store), FILES)
    assert len(point.streams.stats) == 1
    puts = [name for verb, name in store.calls if verb == "put"]
    assert [family(name) for name in puts] == sorted(
        (family(name) for name in puts), key=["packs", "lists", "snap"].index
    )
    last_put = store.calls.index(("put", point.streams.stats[0]))
    assert [verb for verb, name in store.calls[last_put:] if name.startswith("lists/")].count("list") >= 1


def test_the_part_of_a_killed_run_saves_the_reading_too(stage: Stage) -> None:
    repository = stage.writer()
    earlier = look_back(repository.records, "files", WINDOW, None)
    with Writer(repository, "files", "files", earlier, Pace(part_bytes=0, pack_size=100_000)) as writer:
        for path, data in FILES.items():
            save(repository, writer, path, data)
    parts = read_parts(stage.writer().records, "files", None)
    assert any(part.value["stats"] for part in parts)
    point, read = walk(stage.writer(), FILES)
    assert "large" not in read
    assert "small" not in read
    assert restore(stage.recovered(), point) == FILES


def test_a_snapshot_without_stat_records_says_nothing_of_them(stage: Stage) -> None:
    repository = stage.writer()
    with Writer(repository, "files", "files", look_back(repository.records, "files", WINDOW, None)) as writer:
        writer.save("a", {}, [b"x"], size=1, chunk_size=CHUNK)
        name = writer.commit(repository.store.now(), repository.store.now(), {})
    [record] = [each for each in repository.records.all("snap/files/") if each.name == name]
    assert not isinstance(record, Unreadable)
    assert "stats" not in record.value
    assert snapshot(repository, name).streams.stats == []


def test_more_records_than_a_list_holds_go_on_in_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drtool.repository.listing.MAX_STATS", 3)
    files = {f"{number}": text(f"{number}", 10) for number in range(10)}
    first, _ = walk(stage.writer(), files)
    assert len(first.streams.stats) == 4
    _, read = walk(stage.writer(), files, first)
    assert read == []


def lists_of(point: Snapshot) -> set[str]:
    return {*point.streams.content, *point.streams.stats}


def test_lists_that_say_the_same_are_named_again_and_not_stored_again(stage: Stage) -> None:
    first, _ = walk(stage.writer(), FILES)
    store = Noting(stage.store)
    second, _ = walk(stage.writer(store), FILES, first)
    assert lists_of(second) == lists_of(first)
    assert [name for name in store.of("put") if family(name) == "lists"] == list(second.streams.entries)
    stage.clock.leap(days=15)
    third, _ = walk(stage.writer(), FILES, second)
    assert not lists_of(third) & lists_of(first)
    assert restore(stage.recovered(), third) == FILES


def test_what_is_new_in_a_large_tree_changes_only_the_lists_that_it_stands_in(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drtool.repository.writer._LIST_AT_LEAST", 50)
    files = {f"{number:05}": b"%d" % number for number in range(4000)}
    first, _ = walk(stage.writer(), files)
    assert len(first.streams.content) > 5
    changed = dict(sorted({**files, "02000": b"changed", "02000.new": b"new"}.items()))
    second, read = walk(stage.writer(), changed, first)
    assert read == ["02000", "02000.new"]
    assert len(lists_of(second) - lists_of(first)) <= 4
    assert restore(stage.recovered(), second) == changed


def test_a_stat_list_comes_back_from_its_bytes() -> None:
    rows = {b"%016d" % number: (number * 7, bytes([number]) * 32) for number in range(100)}
    value = StatList(encode(encode_row(path, *row) for path, row in rows.items()))
    assert len(value) == 100
    assert list(value.paths) == list(rows)
    assert {path: value.of(path) for path in rows} == rows
    assert b"x" * 16 not in value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0\0\0",
        encode([])[:-1],
        encode([bytes(56)])[:-1],
        encode([bytes(56)]) + b"x",
        b"\0\0\0\2" + bytes(56),
    ],
    ids=["nothing", "no count", "a cut count", "a cut row", "more", "a wrong count"],
)
def test_a_stat_list_of_a_wrong_length_is_refused(value: bytes) -> None:
    with pytest.raises(Corrupt):
        StatList(value)


def test_a_stat_list_is_bounded() -> None:
    with pytest.raises(Corrupt):
        StatList(encode([bytes(56)] * (MAX_STATS + 1)))
    assert stats.STAT_SIZE == 32


def test_an_index_denies_what_is_not_there() -> None:
    paths = [text(f"{number}", 16) for number in range(1000)]
    index = PathIndex(paths[::2])
    assert all(path in index for path in paths[::2])
    assert not any(path in index for path in paths[1::2])
    assert paths[0] not in PathIndex([])


def test_a_window_of_nothing_refers_to_nothing(stage: Stage) -> None:
    first, _ = walk(stage.writer(), FILES)
    earlier = look_back(stage.writer().records, "files", timedelta(0), first)
    assert earlier.whole(path_id(stage.writer().id_key, "large"), stat(FILES["large"])) is None
