"""One run: the order of what is stored, what is used again, and what happens when something fails on the way."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from drtool.errors import Corrupt, StoreUnavailable, TemporaryFailure
from drtool.repository.dedup import look_back
from drtool.repository.format.crypto import keyed_id
from drtool.repository.format.names import family
from drtool.repository.format.pack import CONTENT, PRIVATE
from drtool.repository.lists import read_list
from drtool.repository.packing import Pack
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot, read_parts
from drtool.repository.writer import PRIVATE_BELOW, Pace, Writer
from tests.repository.counting import Noting
from tests.repository.sample import leave_part
from tests.repository.stage import (
    CHUNK,
    SMALL,
    WINDOW,
    Stage,
    back_up,
    damage,
    make_stage,
    restore,
    save,
    snapshots,
    text,
)

FILES = {
    "a": text("a", 500_000),
    "b": text("b", 300_000),
    "edge": text("edge", PRIVATE_BELOW),
    "small": text("small", PRIVATE_BELOW - 1),
    "empty": b"",
}


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def test_what_is_written_is_read_again_with_its_header_and_totals(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    assert restore(stage.recovered(), point) == FILES
    assert point.size == sum(map(len, FILES.values()))
    assert 0 < point.stored < 1.1 * point.size
    assert point.chosen


@pytest.mark.parametrize(
    "files", [{}, {"empty": b""}, {"one": b"x"}], ids=["nothing", "an empty file", "a byte"]
)
def test_a_run_of_next_to_nothing_is_a_point(stage: Stage, files: dict[str, bytes]) -> None:
    assert restore(stage.recovered(), back_up(stage.writer(), files)) == files


def test_packs_come_before_lists_and_lists_before_a_listing_and_the_snapshot_last(stage: Stage) -> None:
    store = Noting(stage.store)
    back_up(stage.writer(store), FILES)
    calls = [(verb, family(name)) for verb, name in store.calls]
    puts = [kind for verb, kind in calls if verb == "put"]
    assert puts == sorted(puts, key=["packs", "lists", "snap"].index)
    assert puts.count("packs") > 2
    assert puts.count("snap") == 1
    snapshot_at = calls.index(("put", "snap"))
    last_list = max(at for at, call in enumerate(calls) if call == ("put", "lists"))
    listings = [kind for verb, kind in calls[last_list:snapshot_at] if verb == "list"]
    assert {"packs", "lists"} <= set(listings)


@pytest.mark.parametrize("kind", ["packs", "lists"])
def test_what_is_not_listed_is_not_believed_to_be_there(stage: Stage, kind: str) -> None:
    store = Noting(stage.store)
    repository = stage.writer(store)
    with Writer(
        repository, "files", "files", look_back(repository.records, "files", WINDOW, None), SMALL
    ) as writer:
        save(writer, FILES)
        writer._drain()

        def hide(verb: str, name: str) -> None:
            if verb == "put" and family(name) == kind:
                store.hidden.add(name)

        store._before = hide
        with pytest.raises(TemporaryFailure, match="are not listed") as caught:
            writer.commit(repository.store.now(), repository.store.now(), {})
    assert any(name[-64:] in str(caught.value) for name in store.hidden)
    assert "snap" not in store.families("put")
    assert snapshots(stage.writer()) == []


def test_a_writer_never_reads_a_pack(stage: Stage) -> None:
    store = Noting(stage.store)
    first = back_up(stage.writer(store), FILES)
    back_up(stage.writer(store), FILES, first)
    assert "packs" not in store.families("get")


def test_unchanged_content_is_referred_to_and_only_changed_chunks_are_sent(stage: Stage) -> None:
    first = back_up(stage.writer(), FILES)
    store = Noting(stage.store)
    changed = FILES["a"][: 2 * CHUNK] + b"changed" + FILES["a"][2 * CHUNK + 7 :]
    second = back_up(stage.writer(store), {**FILES, "a": changed}, first)
    sent = sum(size for name, size in sizes(store))
    assert sent < CHUNK + PRIVATE_BELOW + 10_000
    assert restore(stage.recovered(), second) == {**FILES, "a": changed}
    assert restore(stage.recovered(), first) == FILES
    assert set(first.runs) < set(second.runs)


def sizes(store: Noting) -> Iterator[tuple[str, int]]:
    for name in store.of("put"):
        if family(name) == "packs":
            [found] = store._inner.list(name)
            yield name, found.size


def test_content_that_moved_grew_or_shrank_is_restored_as_it_is_now(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    editions = [
        {"b": FILES["a"], "a": FILES["b"]},
        {"a": FILES["a"][:CHUNK], "b": FILES["b"] + FILES["a"]},
        {"a": FILES["a"][CHUNK:], "new": FILES["b"]},
        {"a": FILES["a"][:-1] + b"x"},
        FILES,
    ]
    for edition in editions:
        point = back_up(stage.writer(), edition, point)
        assert restore(stage.recovered(), point) == edition


def kinds(repository: Repository, point: Snapshot) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for name in point.streams.content:
        for place in read_list(repository.records, name):
            found.setdefault(place.kind, []).append(place.id)
    return found


def test_ids_of_small_files_cannot_be_tested_with_the_writers_keys(stage: Stage) -> None:
    point = back_up(stage.writer(), {"secret": b"hunter2", "large": text("l", PRIVATE_BELOW)})
    found = kinds(stage.recovered(), point)
    assert {kind: len(ids) for kind, ids in found.items()} == {CONTENT: 1, PRIVATE: 1}
    assert found[PRIVATE] != [keyed_id(stage.writer().id_key, b"hunter2")]
    assert found[CONTENT] == [keyed_id(stage.writer().id_key, text("l", PRIVATE_BELOW))]
    again = back_up(stage.writer(), {"secret": b"hunter2"}, point)
    assert kinds(stage.recovered(), again)[PRIVATE] != found[PRIVATE]


def test_nothing_outside_of_packs_and_wal_shows_content_or_paths(stage: Stage) -> None:
    path, content = "a-telling-path", b"a-telling-content" * 5000
    back_up(stage.writer(), {path: content})
    records = stage.writer().records
    for found in stage.store.list(""):
        value = stage.store.get(found.name)
        if family(found.name) in ("lists", "snap"):
            value += records.fetch_sealed(found.name)
        assert path.encode() not in value
        assert content[:17] not in value


@pytest.mark.parametrize("share", [0.4, 0.75, 1.01])
def test_old_packs_are_used_up_to_half_the_window_and_uploaded_anew_by_its_end(
    stage: Stage, share: float
) -> None:
    files = {f"{number}": text(f"{number}", 200_000) for number in range(12)}
    first = back_up(stage.writer(), files, pace=Pace(pack_size=64 * 1024))
    stage.clock.leap(seconds=share * WINDOW.total_seconds())
    second = back_up(stage.writer(), files, first)
    assert restore(stage.recovered(), second) == files
    if share < 0.5:
        assert second.stored < 10_000
    elif share > 1:
        assert second.stored > 2_400_000
        assert set(second.runs) == {second.run}
    else:
        assert 0.2 < second.stored / first.stored < 0.8


def test_a_volume_without_a_window_refers_to_nothing(stage: Stage) -> None:
    first = back_up(stage.writer(), FILES, volume="redis")
    second = back_up(stage.writer(), FILES, first, volume="redis")
    assert second.stored == pytest.approx(first.stored, rel=0.01)
    assert set(second.runs) == {second.run}
    assert second.previous == first.name


def test_a_pack_that_a_listing_no_longer_shows_is_not_referred_to(stage: Stage) -> None:
    first = back_up(stage.writer(), FILES)
    for found in list(stage.store.list("packs/")):
        stage.store.delete(found.name)
    second = back_up(stage.writer(), FILES, first)
    assert set(second.runs) == {second.run}
    assert restore(stage.recovered(), second) == FILES


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_with_the_previous_lists_damaged_or_gone_all_is_uploaded_anew(stage: Stage, how: str) -> None:
    unversioned = make_stage(versioned=False)
    first = back_up(unversioned.writer(), FILES)
    for found in list(unversioned.store.list("lists/")):
        if how == "damaged":
            damage(unversioned.store, found.name)
        else:
            unversioned.store.delete(found.name)
    second = back_up(unversioned.writer(), FILES, first)
    assert restore(unversioned.recovered(), second) == FILES
    assert second.stored == pytest.approx(first.stored, rel=0.01)


def test_what_a_killed_run_uploaded_is_not_uploaded_again(stage: Stage) -> None:
    leave_part(stage, {"a": FILES["a"], "b": FILES["b"]})
    point = back_up(stage.writer(), FILES)
    assert point.stored < 2 * PRIVATE_BELOW + 20_000
    assert restore(stage.recovered(), point) == FILES
    assert len(point.runs) == 2


def test_a_run_killed_early_does_not_hide_what_one_before_it_uploaded(stage: Stage) -> None:
    leave_part(stage, {"a": FILES["a"], "b": FILES["b"]})
    repository = stage.writer()
    earlier = look_back(repository.records, "files", WINDOW, None)
    with Writer(repository, "files", "files", earlier, Pace(part_bytes=0)) as writer:
        save(writer, {"a": FILES["a"]})
    point = back_up(stage.writer(), FILES)
    assert point.stored < 2 * PRIVATE_BELOW + 20_000
    assert restore(stage.recovered(), point) == FILES


def test_parts_of_runs_that_the_previous_point_made_obsolete_are_not_opened(stage: Stage) -> None:
    leave_part(stage, {"a": FILES["a"]})
    stage.clock.leap(seconds=3)
    first = back_up(stage.writer(), FILES, pace=Pace(part_bytes=0))
    store = Noting(stage.store)
    second = back_up(stage.writer(store), FILES, first)
    assert second.stored < 2 * PRIVATE_BELOW + 20_000
    parts = [
        part for part in read_parts(stage.writer().records, "files", None) if part.value["run"] != first.run
    ]
    named = {name for part in parts for name in part.value["content"]} - set(first.streams.names)
    assert not named & set(store.of("get"))


def test_a_part_names_only_what_is_durable(stage: Stage) -> None:
    store = Noting(stage.store)
    repository = stage.writer(store)
    with Writer(
        repository,
        "files",
        "files",
        look_back(repository.records, "files", WINDOW, None),
        Pace(part_bytes=1, pack_size=200_000, in_flight=1000),
    ) as writer:
        save(writer, {"large": text("large", 3_000_000), **FILES})
    first = store.families("put").index("part")
    before = set(store.of("put")[:first])
    oldest = read_parts(repository.records, "files", None)[-1]
    assert set(oldest.value["content"]) <= before
    packs = {
        f"packs/files/{pack.name}"
        for name in oldest.value["content"]
        for pack in read_list(repository.records, name).packs
    }
    assert packs
    assert packs <= before
    assert snapshots(stage.writer()) == []


def test_no_part_is_kept_while_there_is_little_to_keep(stage: Stage) -> None:
    back_up(stage.writer(), FILES)
    assert read_parts(stage.writer().records, "files", None) == []


def test_time_alone_brings_a_part(stage: Stage) -> None:
    back_up(stage.writer(), FILES, pace=Pace(part_seconds=0))
    assert read_parts(stage.writer().records, "files", None)


def test_the_first_parts_come_early_and_then_as_far_apart_as_the_run_is_long(stage: Stage) -> None:
    """A run of half an hour that is killed loses five minutes, and one of four minutes at most two."""
    pace, now, kept = Pace(), 0.0, []
    while now < 1800:
        now += pace.part_due(now)
        kept.append(now)
    assert kept == [60, 120, 240, 480, 780, 1080, 1380, 1680, 1980]
    back_up(stage.writer(), FILES, pace=Pace(first_part_seconds=0))
    early = read_parts(stage.writer().records, "files", None)
    assert early
    back_up(stage.writer(), FILES, pace=Pace())
    assert read_parts(stage.writer().records, "files", None) == early


def failing(kind: str, fault: Exception) -> Noting:
    stage = make_stage()

    def fail(verb: str, name: str) -> None:
        if verb == "put" and family(name) == kind:
            raise fault

    return Noting(stage.store, fail)


@pytest.mark.parametrize("kind", ["packs", "lists", "part", "snap"])
@pytest.mark.parametrize("fault", [StoreUnavailable("full"), OSError("broken")], ids=["refused", "broken"])
def test_a_failing_upload_surfaces_and_leaves_no_snapshot(stage: Stage, kind: str, fault: Exception) -> None:
    def fail(verb: str, name: str) -> None:
        if verb == "put" and family(name) == kind:
            raise fault

    threads = threading.active_count()
    with pytest.raises(type(fault), match=str(fault)):
        back_up(stage.writer(Noting(stage.store, fail)), FILES, pace=Pace(part_bytes=0, pack_size=100_000))
    assert snapshots(stage.writer()) == []
    assert threading.active_count() == threads


def test_a_stream_that_breaks_surfaces_and_leaves_no_snapshot(stage: Stage) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(100_000)
        raise ConnectionError("gone")

    repository = stage.writer()
    with (
        pytest.raises(ConnectionError, match="gone"),
        Writer(
            repository, "files", "files", look_back(repository.records, "files", WINDOW, None), SMALL
        ) as writer,
    ):
        writer.save("a", {}, broken(), size=None, chunk_size=CHUNK)
    assert snapshots(stage.writer()) == []


def test_a_bit_that_flips_in_memory_is_found_before_the_pack_is_sent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = Pack.seal

    def flipped(pack: Pack, buffer: bytearray) -> memoryview:  # what faulty memory does behind our back
        value = seal(pack, buffer)
        value[-1] ^= 1
        return value

    monkeypatch.setattr(Pack, "seal", flipped)
    with pytest.raises(Corrupt, match="did not open again before it was sent") as caught:
        back_up(stage.writer(), {"small": b"x"})
    assert "memory" in caught.value.hint
    assert not list(stage.store.list("packs/"))


def test_memory_in_flight_is_bounded_whatever_the_size(stage: Stage) -> None:
    pace = Pace(workers=2, in_flight=4 * 1024 * 1024, pack_size=1024 * 1024)
    repository = stage.writer()
    peak = 0
    with Writer(
        repository, "files", "files", look_back(repository.records, "files", timedelta(0), None), pace
    ) as writer:

        def stream() -> Iterator[bytes]:
            nonlocal peak
            for number in range(40):
                peak = max(peak, writer._queued + writer._batch.size)
                yield text(f"{number}", 1024 * 1024)

        writer.save("large", {}, stream(), size=40 * 1024 * 1024, chunk_size=1024 * 1024)
        writer.commit(repository.store.now(), repository.store.now(), {})
    assert peak <= pace.in_flight + 1024 * 1024
    assert writer.totals.read == 40 * 1024 * 1024
    assert writer.stored > 40 * 1024 * 1024


def test_no_more_packs_than_agreed_are_held_while_the_store_is_slow(stage: Stage) -> None:
    held: list[int] = []
    going, lock = [0], threading.Lock()
    release = threading.Event()

    def slow(verb: str, name: str) -> None:
        if verb == "put" and family(name) == "packs":
            with lock:
                going[0] += 1
                held.append(going[0])
            if len(held) >= 2:
                release.set()
            release.wait(5)
            with lock:
                going[0] -= 1

    back_up(stage.writer(Noting(stage.store, slow)), {"a": text("a", 2_000_000)})
    assert max(held) == 2


def test_entries_larger_than_a_chunk_are_kept_in_several(stage: Stage) -> None:
    repository = stage.writer()
    entry = {"note": text("entry", 300_000).hex()}
    with Writer(
        repository, "files", "files", look_back(repository.records, "files", WINDOW, None), SMALL
    ) as writer:
        writer.header({"policy": "x"})
        for number in range(4):
            writer.save(f"{number}", entry, [b"data"], size=4, chunk_size=CHUNK)
        now = repository.store.now()
        writer.commit(now, now, {})
    [point] = snapshots(stage.recovered())
    assert restore(stage.recovered(), point) == {f"{number}": b"data" for number in range(4)}


def test_a_sources_clock_that_differs_is_kept_between_start_and_now(stage: Stage) -> None:
    repository = stage.writer()
    with Writer(
        repository, "files", "files", look_back(repository.records, "files", WINDOW, None), SMALL
    ) as writer:
        far = timedelta(days=3)
        writer.commit(stage.clock.now - far, stage.clock.now + far, {})
    [point] = snapshots(stage.writer())
    assert point.chosen
    assert point.start <= point.begin <= point.end <= point.received


def test_lists_of_many_places_are_several_and_a_path_goes_through_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drtool.repository.listing.MAX_PLACES", 3)
    first = back_up(stage.writer(), FILES)
    assert len(first.streams.content) > 3
    second = back_up(stage.writer(), FILES, first)
    assert second.stored < PRIVATE_BELOW + 10_000
    assert restore(stage.recovered(), second) == FILES


@pytest.mark.parametrize("kind", ["packs", "lists"])
def test_a_snapshot_whose_objects_vanish_while_it_is_stored_is_void_at_once(stage: Stage, kind: str) -> None:
    store = Noting(stage.store)

    def vanish(verb: str, name: str) -> None:
        if verb == "put" and family(name) == "snap":
            store.hidden |= {found.name for found in stage.store.list(f"{kind}/")}

    store._before = vanish
    with pytest.raises(TemporaryFailure, match="are not listed"):
        back_up(stage.writer(store), FILES)
    [point] = snapshots(stage.writer())
    assert not point.chosen
    assert point.void is not None
    assert "incomplete" in point.void
