"""WAL in the store: segments once, tails, marks, lineages."""

import pytest

from drtool.errors import Corrupt, DrtoolError, WrongKey
from drtool.repository.format.crypto import random_bytes
from drtool.repository.kit import Bundle
from drtool.repository.repository import open_with_bundle
from drtool.repository.wal import Lineage, StoredWal, WalStore, lineages
from tests.repository.counting import Noting
from tests.repository.stage import Stage, make_stage, put, text

LINEAGE = Lineage("files", "7412345678901234567", 17, 1)
SEGMENT = "000000010000000000000001"
PLAIN = text("wal", 50_000)
FACTS = {"flush": "0/2000000", "time": "2026-03-02T08:00:00.000000Z", "heartbeat": None}


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def writing(stage: Stage, lineage: Lineage = LINEAGE) -> WalStore:
    return WalStore(stage.writer().records, lineage)


def read(stage: Stage, stored: StoredWal, recipient: str = "first") -> bytes:
    opened = stage.recovered(recipient)
    return WalStore(opened.records, LINEAGE).read(stored.stored, opened.run_keys())


def test_a_segment_is_read_as_it_was_received_by_every_recipient(stage: Stage) -> None:
    name = writing(stage).put(1, SEGMENT, PLAIN, FACTS)
    [stored] = writing(stage).segments()
    assert (stored.name, stored.timeline, stored.file, stored.start, stored.end) == (
        name,
        1,
        SEGMENT,
        None,
        None,
    )
    assert read(stage, stored) == read(stage, stored, "second") == PLAIN
    assert stored.received == stage.clock.now


def test_the_list_key_alone_reads_the_facts_with_one_small_get(stage: Stage) -> None:
    writing(stage).put(1, SEGMENT, text("wal", 1_000_000), FACTS)
    store = Noting(stage.store)
    wal = WalStore(stage.writer(store).records, LINEAGE)
    [stored] = wal.segments()
    store.calls.clear()
    facts = wal.facts(stored.stored)
    assert len(store.calls) == 1
    assert facts["flush"] == "0/2000000"
    assert (facts["system"], facts["major"], facts["epoch"]) == ("7412345678901234567", 17, 1)
    assert facts["size"] == 1_000_000


def test_the_same_segment_is_stored_once_and_another_of_its_name_beside_it(stage: Stage) -> None:
    wal = writing(stage)
    name = wal.put(1, SEGMENT, PLAIN, FACTS)
    assert wal.put(1, SEGMENT, PLAIN, {**FACTS, "flush": "0/9"}) == name
    other = wal.put(1, SEGMENT, PLAIN[:-1] + b"x", FACTS)
    assert {stored.name for stored in wal.segments()} == {name, other}
    assert len({wal.facts(stored.stored)["id"] for stored in wal.segments()}) == 2


def test_a_damaged_segment_does_not_count_as_stored() -> None:
    stage = make_stage(versioned=False)
    wal = writing(stage)
    name = wal.put(1, SEGMENT, PLAIN, FACTS)
    put(stage.store, name, stage.store.get(name)[:300])
    again = wal.put(1, SEGMENT, PLAIN, FACTS)
    assert again != name
    with pytest.raises(Corrupt, match=name):
        wal.facts(next(stored.stored for stored in wal.segments() if stored.name == name))


def test_facts_come_from_the_oldest_version_that_is_good(stage: Stage) -> None:
    wal = writing(stage)
    name = wal.put(1, SEGMENT, PLAIN, FACTS)
    value = stage.store.get(name)
    [version] = stage.store.versions(name)
    put(stage.store, name, b"junk")
    put(stage.store, name, value)
    stage.store.delete(name, version.version)
    [stored] = wal.segments()
    assert wal.facts(stored.stored)["size"] == len(PLAIN)
    assert read(stage, stored) == PLAIN


def test_history_files_and_marks_are_kept(stage: Stage) -> None:
    wal = writing(stage)
    wal.put(2, "00000002.history", b"1\t0/1\tx\n", {})
    wal.put_tail(1, SEGMENT, (0x100, 0x100), b"", FACTS)
    wal.put_tail(1, SEGMENT, (0x100, 0x180), PLAIN[:0x80], FACTS)
    [history] = wal.segments()
    assert (history.timeline, history.file) == (2, "00000002.history")
    assert read(stage, history) == b"1\t0/1\tx\n"
    assert [(tail.start, tail.end, read(stage, tail)) for tail in wal.tails()] == [
        (0x100, 0x100, b""),
        (0x100, 0x180, PLAIN[:0x80]),
    ]


def test_two_objects_share_neither_key_nor_bytes(stage: Stage) -> None:
    wal = writing(stage)
    wal.put_tail(1, SEGMENT, (0, 5), b"equal", FACTS)
    wal.put_tail(1, SEGMENT, (5, 10), b"equal", FACTS)
    facts = [wal.facts(tail.stored) for tail in wal.tails()]
    assert facts[0]["id"] == facts[1]["id"]
    assert facts[0]["commitment"] != facts[1]["commitment"]


def test_lineages_are_found_by_their_names_and_kept_apart(stage: Stage) -> None:
    other = Lineage("files", LINEAGE.system, 17, 2)
    writing(stage).put(1, SEGMENT, PLAIN, FACTS)
    writing(stage, other).put_tail(1, SEGMENT, (0, 1), b"x", FACTS)
    for stray in (
        *("wal/files/no-lineage/x", "wal/files/nonsense/x", "wal/files/abc-15-1/x", "wal/files/7-15-1-x/x"),
        *("wal/files/007-15-1/x", "wal/files/7-15-01/x", "tail/files/-15-1/x"),
    ):
        put(stage.store, stray, b"junk")
    assert lineages(stage.writer().records, "files") == [LINEAGE, other]
    assert lineages(stage.writer().records, "redis") == []
    assert len(list(writing(stage).segments())) == 1
    assert len(list(writing(stage, other).segments())) == 0


def test_names_that_are_no_wal_are_passed_over(stage: Stage) -> None:
    prefix = f"wal/files/{LINEAGE.label}/00000001/"
    digest = "ab" * 32
    for stray in (
        *("junk", f"{SEGMENT}.partial-{digest}", f"{SEGMENT.lower()[:-1]}g-{digest}"),
        *(
            f"{SEGMENT}-x",
            f"{SEGMENT}-{digest}x",
            f"{SEGMENT}-{digest.upper()}",
            f"00000002.history-{digest}",
        ),
        f"00000002{SEGMENT[8:]}-{digest}",
    ):
        put(stage.store, prefix + stray, b"junk")
    spans = (f"{9:016X}-{8:016X}-{digest}", f"{8:016X}-{9:016X}-x", f"{8:016X}-{9:016X}-{digest}0")
    for span in spans:
        put(stage.store, f"tail/files/{LINEAGE.label}/00000001/{SEGMENT}.{span}", b"junk")
    assert list(writing(stage).segments()) == []
    assert list(writing(stage).tails()) == []


def test_a_lineage_whose_objects_all_have_delete_markers_is_still_found(stage: Stage) -> None:
    name = writing(stage).put(1, SEGMENT, PLAIN, FACTS)
    stage.store.delete(name)
    assert lineages(stage.writer().records, "files") == [LINEAGE]
    [stored] = writing(stage).segments()
    assert read(stage, stored) == PLAIN


def test_wal_that_no_writer_signed_does_not_count(stage: Stage) -> None:
    records = stage.records_of("operator", stage.created.operator_seed)
    object.__setattr__(records.keys, "id_keys", (random_bytes(32),))
    WalStore(records, LINEAGE).put(1, SEGMENT, PLAIN, FACTS)
    [stored] = writing(stage).segments()
    with pytest.raises(Corrupt, match="may not sign"):
        writing(stage).facts(stored.stored)


def test_who_is_no_writer_stores_no_wal(stage: Stage) -> None:
    bundle: Bundle = stage.created.writer
    reader = open_with_bundle(
        stage.store,
        Bundle(
            "reader",
            "r",
            bundle.repository,
            "forum",
            bundle.admin,
            0,
            bundle.config_sha256,
            bundle.list_keys,
            bundle.id_key,
        ),
    )
    with pytest.raises(DrtoolError, match="may sign WAL"):
        WalStore(reader.records, LINEAGE).put(1, SEGMENT, PLAIN, FACTS)


def test_another_list_key_opens_no_facts(stage: Stage) -> None:
    writing(stage).put(1, SEGMENT, PLAIN, FACTS)
    records = stage.writer().records
    object.__setattr__(records.keys, "list_keys", (random_bytes(32),))
    [stored] = WalStore(records, LINEAGE).segments()
    with pytest.raises((Corrupt, WrongKey), match=stored.name):
        WalStore(records, LINEAGE).facts(stored.stored)


def test_what_was_sent_is_counted_as_it_is_stored(stage: Stage) -> None:
    wal = writing(stage)
    wal.put(1, SEGMENT, bytes(100_000), FACTS)
    wal.put(1, SEGMENT, bytes(100_000), FACTS)
    wal.put_tail(1, SEGMENT, (0x100, 0x180), PLAIN[:0x80], FACTS)
    stored = [found.size for kind in ("wal/", "tail/") for found in stage.store.list(kind)]
    assert len(stored) == 2
    assert wal.sent == sum(stored) < 100_000
