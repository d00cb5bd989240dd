"""What a run may refer to: packs that are listed and young enough, at the same path and offset."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.repository.dedup import Known, Usable, look_back
from drtool.repository.format.places import PackRef, Place, PlaceList, encode
from tests.repository.counting import Noting
from tests.repository.stage import WINDOW, back_up, make_stage, text

START = datetime(2026, 3, 2, tzinfo=UTC)
FIRST, LAST, MIDDLE = ("2026W10/" + digits * 32 for digits in ("00", "ff", "80"))


@pytest.mark.parametrize(
    ("pack", "age", "usable"),
    [
        (FIRST, 0.49, True),
        (FIRST, 0.51, False),
        (MIDDLE, 0.74, True),
        (MIDDLE, 0.76, False),
        (LAST, 0.99, True),
        (LAST, 1.0, False),
        (LAST, 5.0, False),
    ],
)
def test_a_pack_stops_being_used_at_an_age_of_its_own(pack: str, age: float, *, usable: bool) -> None:
    packs = {pack: START - age * WINDOW}
    assert (pack in Usable(packs, WINDOW, START)) == usable
    assert pack not in Usable({}, WINDOW, START)


@given(st.binary(min_size=32, max_size=32), st.floats(0, 1.5))
def test_no_pack_is_dropped_before_half_the_window_or_used_after_it(digest: bytes, age: float) -> None:
    pack = f"2026W10/{digest.hex()}"
    usable = pack in Usable({pack: START - age * WINDOW}, WINDOW, START)
    assert usable or age >= 0.49
    assert not usable or age <= 1.0


def place(offset: int, pack: str = LAST, path: bytes = b"p" * 16) -> Place:
    return Place(path, offset, PackRef(pack, b"r" * 16), 190, 40, 24, 0, 1, offset.to_bytes(32, "big"))


def known(*rows: Place) -> Known:
    usable = Usable({LAST: START, MIDDLE: START - 2 * WINDOW}, WINDOW, START)
    return Known([[PlaceList(encode(rows))]], b"p" * 16, usable)


def test_a_place_is_found_at_its_very_offset_only() -> None:
    rows = [place(0), place(24), place(48), place(72)]
    found = known(*rows)
    assert [found.at(offset) for offset in (0, 10, 24, 60, 72, 96)] == [
        rows[0],
        None,
        rows[1],
        None,
        rows[3],
        None,
    ]


def test_a_place_in_a_pack_that_is_too_old_is_not_known() -> None:
    found = known(place(0, MIDDLE), place(24))
    assert found.at(0) is None
    assert found.at(24) == place(24)


def test_a_new_path_knows_nothing() -> None:
    assert known(place(0, path=b"q" * 16)).at(0) is None


def test_where_one_layer_ends_the_next_one_is_known() -> None:
    usable = Usable({LAST: START, MIDDLE: START}, WINDOW, START)
    cut_short = [PlaceList(encode([place(0, MIDDLE)]))]
    whole = [PlaceList(encode([place(0), place(24)]))]
    found = Known([cut_short, whole], b"p" * 16, usable)
    assert found.at(0) == place(0, MIDDLE)
    assert found.at(24) == place(24)


def test_a_volume_without_a_window_is_not_even_listed() -> None:
    stage = make_stage()
    store = Noting(stage.store)
    repository = stage.writer(store)
    store.calls.clear()
    earlier = look_back(repository.records, "redis", timedelta(0), None)
    assert earlier.known(b"p" * 16).at(0) is None
    assert store.calls == []


def test_looking_back_costs_one_listing_of_packs_and_no_list_before_it_is_needed() -> None:
    stage = make_stage()
    point = back_up(stage.writer(), {"a": text("a", 200_000)})
    store = Noting(stage.store)
    repository = stage.writer(store)
    store.calls.clear()
    earlier = look_back(repository.records, "files", WINDOW, point)
    assert store.of("list") == ["packs/files/"]
    assert store.of("get") == []
    assert earlier.previous == point.name
    assert earlier.runs == point.runs
