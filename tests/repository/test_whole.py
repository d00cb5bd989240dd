"""Whether a point is whole is told by listings, whatever the number of points that are asked about."""

import pytest

from drtool.errors import Corrupt, ObjectMissing
from drtool.repository.whole import Wholeness
from tests.repository.counting import Noting
from tests.repository.stage import Stage, back_up, damage, make_stage, message, text

FILES = {"a": text("a", 600_000), "small": b"x"}
LARGE = {
    "a": FILES["a"]
}  # what is small is stored anew by each run, and so no list would be that of the run before


@pytest.fixture
def stage() -> Stage:
    return make_stage(versioned=False)


def packs(stage: Stage) -> list[str]:
    return sorted(each.name for each in stage.store.list("packs/"))


def test_whole_points_cost_one_listing_and_no_pack_is_got(stage: Stage) -> None:
    first = back_up(stage.writer(), LARGE)
    second = back_up(stage.writer(), LARGE, first)
    store = Noting(stage.store)
    wholeness = Wholeness(stage.recovered(store=store))
    store.calls.clear()
    assert [wholeness.fault_of(each) for each in (first, second)] == [None, None]
    assert len(store.of("versions") + store.of("list")) == 1
    streams = [each.streams for each in (first, second)]
    lists = {name for each in streams for name in (*each.content, *each.entries)}
    assert set(streams[0].content) & set(streams[1].content)
    assert sorted(store.of("get")) == sorted(lists)


def test_a_list_that_is_gone_is_asked_for_once_whatever_the_number_of_points(stage: Stage) -> None:
    first = back_up(stage.writer(), LARGE)
    second = back_up(stage.writer(), LARGE, first)
    [gone] = set(first.streams.content) & set(second.streams.content)
    stage.store.delete(gone)
    store = Noting(stage.store)
    wholeness = Wholeness(stage.recovered(store=store))
    store.calls.clear()
    faults = [wholeness.fault_of(each) for each in (first, second)]
    assert all(isinstance(each, ObjectMissing) and gone in message(each) for each in faults)
    assert store.of("get").count(gone) == 1


def test_a_point_says_what_is_gone_of_it_and_the_one_that_needs_none_of_that_is_whole(stage: Stage) -> None:
    old = back_up(stage.writer(), {"b": text("b", 600_000)})
    kept = set(packs(stage))
    point = back_up(stage.writer(), FILES)
    gone = sorted(set(packs(stage)) - kept)
    for name in gone:
        stage.store.delete(name)
    wholeness = Wholeness(stage.recovered())
    fault = wholeness.fault_of(point)
    assert isinstance(fault, ObjectMissing)
    assert message(fault).endswith(f"is not in the store, nor are {len(gone) - 1} more objects that it needs")
    assert wholeness.fault_of(old) is None


@pytest.mark.parametrize("stream", ["content", "entries"])
def test_a_list_that_is_gone_or_not_itself_is_named(stage: Stage, stream: str) -> None:
    point = back_up(stage.writer(), FILES)
    [name] = getattr(point.streams, stream)
    damage(stage.store, name)
    fault = Wholeness(stage.recovered()).fault_of(point)
    assert isinstance(fault, Corrupt)
    assert name in message(fault)
    stage.store.delete(name)
    fault = Wholeness(stage.recovered()).fault_of(point)
    assert isinstance(fault, ObjectMissing)
    assert name in message(fault)


def test_a_pack_under_a_delete_marker_is_there() -> None:
    stage = make_stage(versioned=True)
    point = back_up(stage.writer(), FILES)
    for name in packs(stage):
        stage.store.delete(name)
    assert Wholeness(stage.recovered()).fault_of(point) is None
