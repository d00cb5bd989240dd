"""What a run leaves as it was stands in its lists as before: row by row, or a whole list by its name."""

import gc
from collections.abc import Sequence

import pytest

from drtool.repository.format.places import PlaceList
from drtool.repository.lists import read_list
from tests.repository.counting import Noting
from tests.repository.stage import Stage, make_stage, restore, text
from tests.repository.test_references import lists_of, lose, walk

FILES = {f"{number:03}": text(f"{number}", 100 + number * 2997) for number in range(60)}


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def places_of(stage: Stage, names: Sequence[str]) -> set[tuple[object, ...]]:
    return {tuple(place) for name in names for place in read_list(stage.writer().records, name)}


def test_places_of_unchanged_files_are_those_of_the_point_before(stage: Stage) -> None:
    first, _ = walk(stage.writer(), FILES)
    second, read = walk(stage.writer(), {**FILES, "020": b"changed", "059": b"too"}, first)
    assert read == ["020", "059"]
    before, after = (places_of(stage, point.streams.content) for point in (first, second))
    assert len(after - before) == 2
    assert len(before - after) > 2  # of those two there were several chunks
    assert restore(stage.recovered(), second) == {**FILES, "020": b"changed", "059": b"too"}


@pytest.mark.parametrize("gone", ["020", "000", "059"])
def test_a_list_of_which_a_file_is_gone_is_not_named_again(stage: Stage, gone: str) -> None:
    first, _ = walk(stage.writer(), FILES)
    left = {path: data for path, data in FILES.items() if path != gone}
    second, read = walk(stage.writer(), left, first)
    assert read == []
    assert not lists_of(second) & lists_of(first)
    assert restore(stage.recovered(), second) == left


def test_a_list_that_is_the_same_but_not_listed_any_more_is_stored_anew(stage: Stage) -> None:
    first, _ = walk(stage.writer(), FILES)

    def before(verb: str, name: str) -> None:
        if (verb, name) == ("list", "lists/files/"):
            for each in lists_of(first):
                lose(stage, each)

    store = Noting(stage.store, before)
    second, read = walk(stage.writer(store), FILES, first)
    assert read == []
    assert set(lists_of(second)) <= set(store.of("put"))
    assert restore(stage.recovered(), second) == FILES


def test_more_places_than_a_list_takes_go_on_in_the_next_from_the_middle_of_a_file(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = walk(stage.writer(), FILES)
    monkeypatch.setattr("drtool.repository.listing.MAX_PLACES", 7)
    second, read = walk(stage.writer(), FILES, first)
    assert read == []
    assert len(second.streams.content) == -(-len(places_of(stage, first.streams.content)) // 7)
    assert places_of(stage, second.streams.content) == places_of(stage, first.streams.content)
    third, read = walk(stage.writer(), FILES, second)
    assert read == []
    assert restore(stage.recovered(), third) == FILES


def test_a_run_over_many_lists_holds_few_of_them_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{number:05}": b"%d" % number for number in range(1000)}
    monkeypatch.setattr("drtool.repository.listing.MAX_PLACES", 20)
    first, _ = walk(stage.writer(), files)
    assert len(first.streams.content) == 50
    monkeypatch.undo()
    most = 0

    def count(verb: str, _: str) -> None:
        nonlocal most
        if verb == "get":
            gc.collect()
            most = max(most, sum(isinstance(each, PlaceList) for each in gc.get_objects()))

    second, read = walk(stage.writer(Noting(stage.store, count)), files, first)
    assert read == []
    assert len(second.streams.content) == 1
    assert most <= 6
    assert restore(stage.recovered(), second) == files
