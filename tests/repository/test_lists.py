"""The lists of earlier runs, opened as the next run meets the same paths."""

from collections.abc import Iterable

import pytest

from drtool.errors import Corrupt
from drtool.repository.format.places import PackRef, Place, encode, path_id
from drtool.repository.lists import PreviousPlaces, put_list, read_list
from tests.repository.counting import Noting
from tests.repository.stage import Stage, damage, make_stage, put

KEY = b"i" * 32
PACK = PackRef("2026W10/" + "ab" * 32, b"r" * 16)
PREFIX = "lists/files/2026W10/"


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def mark(path: str) -> bytes:
    return path_id(KEY, path)


def place(path: str, offset: int) -> Place:
    return Place(mark(path), offset, PACK, 190, 40, 24, 0, 1, b"d" * 32)


def store_lists(stage: Stage, *lists: Iterable[Place]) -> list[str]:
    return [put_list(stage.writer().records, PREFIX, encode(rows)) for rows in lists]


def found(places: PreviousPlaces, path: str) -> list[int]:
    return [row.offset for part in places.find(mark(path)) for row in part.of(mark(path))]


def test_a_list_is_read_as_it_was_written_and_named_by_its_hash(stage: Stage) -> None:
    [name] = store_lists(stage, [place("a", 0)])
    assert list(read_list(stage.writer().records, name)) == [place("a", 0)]
    damage(stage.store, name)
    assert len(read_list(stage.writer().records, name)) == 1
    with pytest.raises(Corrupt):
        read_list(stage.writer().records, put(stage.store, PREFIX + "00" * 32, b"x"))


def test_a_path_is_found_in_all_lists_that_it_goes_through(stage: Stage) -> None:
    names = store_lists(
        stage,
        [place("a", 0), place("b", 0)],
        [place("b", 24)],
        [place("b", 48), place("c", 0)],
        [place("d", 0)],
    )
    places = PreviousPlaces(stage.writer().records, names)
    assert found(places, "b") == [0, 24, 48]
    assert found(places, "a") == [0]
    assert found(places, "c") == [0]
    assert found(places, "d") == [0]
    assert found(places, "new") == []


def test_paths_met_in_order_cost_one_get_a_list_and_new_ones_none(stage: Stage) -> None:
    names = store_lists(stage, *([place(f"{number}-{row}", 0) for row in range(3)] for number in range(10)))
    store = Noting(stage.store)
    places = PreviousPlaces(stage.writer(store).records, names)
    store.calls.clear()
    for number in range(10):
        for row in range(3):
            assert found(places, f"{number}-{row}") == [0]
    assert found(places, "new") == []
    assert found(places, "another new one") == []
    assert store.families("get") == ["lists"] * 10


def test_going_back_to_a_list_that_was_let_go_fetches_it_again(stage: Stage) -> None:
    names = store_lists(stage, *([place(f"{number}", 0)] for number in range(6)))
    places = PreviousPlaces(stage.writer().records, names)
    assert [found(places, f"{number}") for number in range(6)] == [[0]] * 6
    assert found(places, "0") == [0]
    assert found(places, "0") == [0]


def test_a_damaged_or_missing_list_is_as_if_it_were_empty(stage: Stage) -> None:
    names = store_lists(stage, [place("a", 0)], [place("b", 0)])
    names = [PREFIX + "00" * 32, names[0], put(stage.store, PREFIX + "11" * 32, b"junk"), names[1]]
    places = PreviousPlaces(stage.writer().records, names)
    assert found(places, "b") == [0]
    assert found(places, "a") == [0]
    assert found(places, "c") == []


def test_two_paths_whose_ids_begin_alike_are_not_taken_for_each_other(stage: Stage) -> None:
    alike = Place(mark("a")[:8] + b"x" * 8, *[getattr(place("a", 0), name) for name in Place._fields[1:]])
    [name] = store_lists(stage, [place("a", 0)])
    places = PreviousPlaces(stage.writer().records, [name])
    assert found(places, "a") == [0]
    assert list(places.find(alike.path)) == []
