"""A point is tried before it is used: what is gone, what is not itself, and what the key does not open, all at once."""

from dataclasses import replace

import pytest

from drtool.errors import Corrupt, WrongKey
from drtool.repository.config import RecipientEntry
from drtool.repository.enrol import add_recipient
from drtool.repository.format.pack import encode_head, parse_head
from drtool.repository.kit import RecoveryLine
from drtool.repository.lists import read_list
from drtool.repository.reader import Reader
from drtool.repository.repository import open_with_recovery
from drtool.repository.snapshot import Snapshot
from drtool.repository.storage.base import ObjectStore
from drtool.repository.trial import AT_ONCE, try_point
from tests.repository.counting import Noting
from tests.repository.stage import Stage, back_up, damage, make_stage, put, text

OLD = {"old": text("old", 600_000)}
NEW = {**OLD, "small": b"x", "young": text("young", 600_000)}


@pytest.fixture
def stage() -> Stage:
    return make_stage(versioned=False)


class Ranged(Noting):
    """Notes the packs that were got whole."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.whole: list[str] = []

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        if length is None and name.startswith("packs/"):
            self.whole.append(name)
        return super().get(name, version, start, length)


def packs(stage: Stage) -> list[str]:
    return sorted(each.name for each in stage.store.list("packs/"))


def twice(stage: Stage) -> Snapshot:
    """Return a point whose packs two runs wrote, some each."""
    point = back_up(stage.writer(), NEW, back_up(stage.writer(), OLD))
    assert len(point.runs) == 2
    assert len(packs(stage)) > 4
    return point


def test_a_whole_point_has_nothing_against_it_and_one_pack_of_each_run_is_asked_for(stage: Stage) -> None:
    point = twice(stage)
    store = Ranged(stage.store)

    found = try_point(stage.recovered(store=store), point)

    assert (found.missing, found.faults) == ((), ())
    assert set(found.objects) == {point.name, *point.streams.content, *point.streams.entries, *packs(stage)}
    assert len({name for name in store.of("get") if name.startswith("packs/")}) == 2
    assert store.whole == []


def test_the_head_of_a_pack_is_tried_with_its_first_piece_and_no_more(stage: Stage) -> None:
    point = back_up(stage.writer(), {"one": text("one", 60_000)})
    store = Ranged(stage.store)
    repository = stage.recovered(store=store)
    [place] = read_list(repository.records, point.streams.content[0])

    Reader(repository).head_of(point, place.pack, place)

    assert store.whole == []


def test_everything_that_is_gone_is_told_at_once(stage: Stage) -> None:
    point = twice(stage)
    gone = {point.streams.entries[0], *packs(stage)[:2]}
    for name in gone:
        stage.store.delete(name)

    found = try_point(stage.recovered(), point)

    assert set(found.missing) == gone
    assert found.faults == ()


def test_a_list_that_is_not_itself_is_a_fault_and_the_rest_is_tried(stage: Stage) -> None:
    point = twice(stage)
    damage(stage.store, point.streams.entries[0])
    lost = packs(stage)[0]
    stage.store.delete(lost)

    found = try_point(stage.recovered(), point)

    [fault] = found.faults
    assert isinstance(fault, Corrupt)
    assert point.streams.entries[0] in fault.message
    assert found.missing == (lost,)


def add_third(stage: Stage) -> RecoveryLine:
    """Return the key of a recipient who comes now: nothing that is there was sealed to it."""
    line = stage.lines["first"]
    third = RecoveryLine(b"t" * 32, line.trust)
    entry = RecipientEntry("third", third.key.recipient.public.hex())
    add_recipient(stage.recovered(), line.key, stage.admin, entry, stage.clock())
    return third


def test_a_run_that_was_not_sealed_to_the_key_is_a_fault(stage: Stage) -> None:
    old = back_up(stage.writer(), OLD)
    third = add_third(stage)
    point = back_up(stage.writer(), NEW, old)

    [fault] = try_point(open_with_recovery(stage.store, third), point).faults

    assert isinstance(fault, WrongKey)
    assert old.run in fault.message


def test_a_key_that_opens_nothing_is_not_tried_on_every_run(stage: Stage) -> None:
    """Nor is a pack got for it: no version of its head is sealed to it."""
    files = {f"{number}": text(f"{number}", 100_000) for number in range(30)}
    point = None
    for number in range(len(files)):
        point = back_up(stage.writer(), {name: files[name] for name in list(files)[: number + 1]}, point)
    assert point is not None
    assert len(point.runs) == len(files)

    store = Ranged(stage.store)
    faults = try_point(open_with_recovery(store, add_third(stage)), point).faults

    assert 1 <= len(faults) <= AT_ONCE
    assert store.whole == []


def test_a_pack_that_was_overwritten_with_one_for_others_is_no_reason_to_refuse_the_key() -> None:
    stage = make_stage()
    point = back_up(stage.writer(), OLD)
    for name in packs(stage):
        value = stage.store.get(name)
        head = parse_head(value)
        put(stage.store, name, encode_head(replace(head, wraps={})) + value[head.size :])

    assert try_point(stage.recovered(), point).faults == ()
