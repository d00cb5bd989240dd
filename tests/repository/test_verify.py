"""What a verification looks at beyond single objects: references, chains, twins, shares."""

from math import ceil

import pytest

from drtool.errors import DrtoolError, StoreOutage, StoreUnavailable
from drtool.repository.config import RecipientEntry
from drtool.repository.enrol import add_recipient, rewrap_runs
from drtool.repository.format.names import family
from drtool.repository.heads import put_head
from drtool.repository.kit import RecoveryLine
from drtool.repository.reader import Reader
from drtool.repository.repository import open_with_recovery
from drtool.repository.runs import put_note
from drtool.repository.snapshot import Draft, put_snapshot
from drtool.repository.verify import Found, Share, check_contents, check_objects, check_references
from drtool.repository.wal import Lineage, WalStore
from tests.repository.counting import Noting
from tests.repository.stage import Stage, back_up, damage, make_stage, put, snapshots, text

MAINTAINER = b"m" * 32
SEGMENT = "000000010000000000000001"
WHOLE = Share(1.0, 0)
FILES = {"a": text("a", 300_000), "small": b"x"}


@pytest.fixture
def stage() -> Stage:
    return make_stage(versioned=False)


def references(stage: Stage) -> dict[str, str]:
    found = Found()
    check_references(stage.writer(), found)
    return found.faults


def contents(stage: Stage, share: float = 1.0, day: int = 0) -> Found:
    found, read = Found(), [0]

    def tick(size: int) -> None:
        read[0] += size

    repository = stage.recovered()
    check_contents(repository, Reader(repository), found, Share(share, day), tick=tick)
    found.bytes = read[0]
    return found


def test_a_deleted_point_is_missed_by_the_one_after_it_until_a_plan_says_why(stage: Stage) -> None:
    first = back_up(stage.writer(), FILES)
    second = back_up(stage.writer(), FILES, first)
    stage.store.delete(first.name)
    faults = references(stage)
    assert faults.keys() == {second.name}
    assert first.name in faults[second.name]
    stage.enrol_signer("maintainer", MAINTAINER)
    maintainer = stage.records_of("maintainer", MAINTAINER)
    put_note(maintainer, "plan", "files", stage.clock(), {"expire": [first.name], "delete": []})
    assert references(stage) == {}


def test_a_point_that_the_newest_head_calls_live_is_missed(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    stage.enrol_signer("maintainer", MAINTAINER)
    maintainer = stage.records_of("maintainer", MAINTAINER)
    put_head(maintainer, stage.clock(), {"live": [point.name], "wal": [], "marks": {}, "previous": None})
    assert references(stage) == {}
    stage.store.delete(point.name)
    assert references(stage).keys() == {point.name}


def test_a_pack_that_is_not_listed_is_named_with_the_point_that_needs_it(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    [pack, *_] = [found.name for found in stage.store.list("packs/")]
    stage.store.delete(pack)
    faults = references(stage)
    assert point.name in faults[pack]
    assert faults[point.name] == f"is not whole: it needs {pack}"


def test_every_point_that_something_is_gone_of_is_named_and_no_other(stage: Stage) -> None:
    first = back_up(stage.writer(), FILES)
    packs = {found.name for found in stage.store.list("packs/")}
    second = back_up(stage.writer(), FILES, first)
    whole = back_up(stage.writer(), {"other": text("other", 100_000)})
    for pack in packs:
        stage.store.delete(pack)
    faults = references(stage)
    assert {name for name in faults if name.startswith("snap/")} == {first.name, second.name}
    assert whole.name not in faults


def test_two_segments_of_one_name_with_other_bytes_are_reported(stage: Stage) -> None:
    wal = WalStore(stage.writer().records, Lineage("files", "7", 17, 1))
    names = {wal.put(1, SEGMENT, value, {}) for value in (b"one", b"other")}
    [fault] = references(stage)
    assert fault in names


def test_a_wal_object_that_is_damaged_is_named(stage: Stage) -> None:
    wal = WalStore(stage.writer().records, Lineage("files", "7", 17, 1))
    name = wal.put(1, SEGMENT, b"segment", {})
    damage(stage.store, name)
    assert references(stage) == {}
    assert contents(stage).faults.keys() == {name}
    put(stage.store, name, stage.store.get(name)[:200])
    assert references(stage).keys() == {name}


def test_every_object_is_looked_at_once_in_as_many_days_as_the_share_says(stage: Stage) -> None:
    for number in range(3):
        back_up(stage.writer(), {f"{number}": text(f"{number}", 200_000)})
    names = {found.name for found in stage.store.list("")}
    seen = 0
    for day in range(5):
        found = Found()
        check_objects(stage.writer(), found, Share(0.2, day), tick=lambda _: None)
        seen += found.objects
    assert seen == len(names)
    whole = Found()
    check_objects(stage.writer(), whole, Share(1.0, 3), tick=lambda _: None)
    assert whole.objects == len(names)
    assert whole.bytes == sum(found.size for found in stage.store.list(""))
    assert whole.faults == {}


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_an_object_whose_name_has_no_hash_is_named(stage: Stage, share: float) -> None:
    name = put(stage.store, "snap/files/stray", b"stray")
    found = Found()
    check_objects(stage.writer(), found, Share(share, 0), tick=lambda _: None)
    assert found.faults.keys() == {name}


def test_a_share_of_the_contents_is_opened_each_day_and_all_of_it_in_turn(stage: Stage) -> None:
    for number in range(12):
        back_up(stage.writer(), {"a": text(f"{number}", 100_000)})
    wal = WalStore(stage.writer().records, Lineage("files", "7", 17, 1))
    wal.put(1, SEGMENT, text("wal", 50_000), {})
    read = [contents(stage, 0.25, day).bytes for day in range(100, 104)]
    assert sum(read) == contents(stage).bytes == 1_250_000
    assert max(read) < 1_000_000
    assert contents(stage, 0.25, 101).bytes == read[1]


def test_damage_is_found_on_the_day_of_its_pack(stage: Stage) -> None:
    back_up(stage.writer(), FILES)
    [name, *_] = [found.name for found in stage.store.list("packs/")]
    value = stage.store.get(name)
    put(stage.store, name, value[:200] + bytes([value[200] ^ 1]) + value[201:])
    days = [day for day in range(5) if name in contents(stage, 0.2, day).faults]
    assert days == [day for day in range(5) if Share(0.2, day).holds(name)]
    assert len(days) == 1


@pytest.mark.parametrize("part", [0.003, 0.05, 0.3, 0.6, 0.7, 1.0])
def test_a_share_is_as_large_as_it_says_and_misses_nothing(part: float) -> None:
    names = [f"packs/files/2026W10/{text(f'{number}', 32).hex()}" for number in range(2000)]
    turns = range(20_000, 20_000 + ceil(1 / part))
    taken = [{name for name in names if Share(part, day).holds(name)} for day in turns]
    assert set().union(*taken) == set(names)
    assert all(abs(len(each) / len(names) - part) < 0.04 for each in taken)


def test_what_a_recovery_key_does_not_open_is_a_fault_of_the_point_and_the_rest_goes_on(stage: Stage) -> None:
    line = stage.lines["first"]
    third = RecoveryLine(b"t" * 32, line.trust)
    first = back_up(stage.writer(), FILES)
    add_recipient(
        stage.recovered(),
        line.key,
        stage.admin,
        RecipientEntry("third", third.key.recipient.public.hex()),
        stage.clock(),
    )
    back_up(stage.writer(), {"new": text("new", 100_000)})
    repository, found = open_with_recovery(stage.store, third), Found()
    read: list[int] = []
    check_contents(repository, Reader(repository), found, WHOLE, tick=read.append)
    assert found.faults.keys() == {first.name}
    assert sum(read) == 100_000


def test_verification_reads_and_never_writes(stage: Stage) -> None:
    back_up(stage.writer(), FILES)
    before = {found.name for found in stage.store.list("")}
    references(stage)
    contents(stage)
    assert {found.name for found in stage.store.list("")} == before
    assert {family(name) for name in before} == {"config", "packs", "lists", "snap"}
    assert len(snapshots(stage.writer())) == 1


def test_a_point_that_vouches_for_no_key_of_a_pack_that_it_needs_is_named(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    draft = Draft(
        volume="files",
        source="files",
        run="ab" * 16,
        start=stage.clock(),
        begin=stage.clock.now,
        end=stage.clock.now,
        streams=point.streams,
        runs={},
        facts={},
        size=point.size,
        stored=0,
        previous=point.name,
    )
    lying = put_snapshot(stage.writer().records, draft)
    assert references(stage).keys() == {lying}
    assert contents(stage).faults


def failing(stage: Stage, kind: str, fault: DrtoolError) -> Noting:
    """Return the store as one that answers every GET of kind with fault."""

    def refuse(verb: str, name: str) -> None:
        if verb == "get" and family(name) == kind:
            raise fault

    return Noting(stage.store, refuse)


@pytest.mark.parametrize("fault", [StoreOutage("no answer"), StoreUnavailable("access denied")], ids=str)
@pytest.mark.parametrize("kind", ["wal", "packs"])
def test_a_store_that_does_not_answer_is_no_fault_of_an_object(
    stage: Stage, kind: str, fault: DrtoolError
) -> None:
    WalStore(stage.writer().records, Lineage("files", "7", 17, 1)).put(1, SEGMENT, b"segment", {})
    back_up(stage.writer(), FILES)
    store = failing(stage, kind, fault)
    with pytest.raises(type(fault)):
        check_objects(stage.writer(store), Found(), WHOLE, tick=lambda _: None)
    repository = stage.recovered(store=store)
    with pytest.raises(type(fault)):
        check_contents(repository, Reader(repository), Found(), WHOLE, tick=lambda _: None)
    if kind == "wal":
        with pytest.raises(type(fault)):
            check_references(stage.writer(store), Found())


def test_objects_are_counted_when_they_are_opened_and_once_over_all_levels(stage: Stage) -> None:
    WalStore(stage.writer().records, Lineage("files", "7", 17, 1)).put(1, SEGMENT, b"segment", {})
    back_up(stage.writer(), FILES)
    found = Found()
    check_references(stage.writer(), found)
    opened = [one.name for one in stage.store.list("") if family(one.name) in ("lists", "snap", "wal")]
    assert found.objects == len(opened)
    check_objects(stage.writer(), found, WHOLE, tick=lambda _: None)
    assert found.objects == len(list(stage.store.list("")))


def test_a_rewrap_that_is_damaged_is_named_by_its_reference_check(stage: Stage) -> None:
    line = stage.lines["first"]
    back_up(stage.writer(), FILES)
    third = RecoveryLine(b"t" * 32, line.trust).key.recipient
    add_recipient(
        stage.recovered(), line.key, stage.admin, RecipientEntry("third", third.public.hex()), stage.clock()
    )
    rewrap_runs(stage.recovered(), stage.admin, third, stage.clock())
    [name] = [found.name for found in stage.store.list("rewrap/")]
    assert references(stage) == {}
    damage(stage.store, name)
    assert references(stage).keys() == {name}


def test_all_versions_of_an_object_are_held_against_its_name() -> None:
    stage = make_stage()
    back_up(stage.writer(), FILES)
    [name] = [found.name for found in stage.store.list("snap/")]
    put(stage.store, name, b"other bytes")
    found = Found()
    check_objects(stage.writer(), found, WHOLE, tick=lambda _: None)
    assert found.faults.keys() == {name}
    assert "the right ones are kept" in found.faults[name]
