"""Lists: the table of places."""

import struct
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drtool.errors import Corrupt
from drtool.repository.format.places import ListEncoder, PackRef, Place, PlaceList, Span, encode, path_id

KEY = b"i" * 32
u32 = st.integers(0, 2**32 - 1)
packs = st.builds(
    lambda year, week, digest, run: PackRef(f"{year:04d}W{week:02d}/{digest.hex()}", run),
    st.integers(1, 9999),
    st.integers(0, 99),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
)
rows = st.lists(
    st.builds(
        Place,
        st.sampled_from([path_id(KEY, name) for name in "abc"]),
        st.integers(0, 2**64 - 1),
        packs,
        u32,
        u32,
        u32,
        u32,
        st.integers(0, 255),
        st.binary(min_size=32, max_size=32),
    ),
    max_size=12,
).map(lambda found: sorted(found, key=lambda place: place.path))


def place(path: str, offset: int, pack: PackRef | None = None) -> Place:
    pack = pack or PackRef("2026W10/" + "ab" * 32, b"r" * 16)
    return Place(path_id(KEY, path), offset, pack, 190, 40, 24, 0, 1, b"d" * 32)


@given(rows)
def test_a_list_holds_its_places_in_order(places: Sequence[Place]) -> None:
    found = PlaceList(encode(places))
    assert list(found) == list(places)
    assert len(found) == len(places)
    assert set(found.packs) == {row.pack for row in places}
    for path in {row.path for row in places}:
        assert path in found
        assert list(found.of(path)) == [row for row in places if row.path == path]
    assert set(found.paths) == {row.path for row in places}


def test_only_the_last_path_may_go_on_in_the_next_list() -> None:
    found = PlaceList(encode([place("a", 0), place("b", 0), place("b", 24)]))
    assert found.ends_with(path_id(KEY, "b"))
    assert not found.ends_with(path_id(KEY, "a"))
    assert not found.ends_with(path_id(KEY, "c"))
    assert list(found.of(path_id(KEY, "c"))) == []
    assert path_id(KEY, "c") not in found


def test_a_path_id_differs_by_key_and_path() -> None:
    assert len({path_id(KEY, "a"), path_id(KEY, "b"), path_id(b"x" * 32, "a")}) == 3


def test_places_of_a_path_that_do_not_stand_together_are_corrupt() -> None:
    with pytest.raises(Corrupt, match="do not stand together"):
        PlaceList(encode([place("a", 0), place("b", 0), place("a", 24)]))


def test_a_list_that_is_cut_or_longer_than_it_says_is_corrupt() -> None:
    value = encode([place("a", 0), place("b", 0)])
    for end in range(len(value)):
        with pytest.raises(Corrupt):
            PlaceList(value[:end])
    with pytest.raises(Corrupt, match="wrong length"):
        PlaceList(value + b"x")


@pytest.mark.parametrize("column", [8 + 16 + 4 + 51, 8 + 16 + 4 + 51 + 12], ids=["path", "pack"])
def test_a_place_of_a_path_or_pack_that_the_list_has_not_is_corrupt(column: int) -> None:
    value = bytearray(encode([place("a", 0)]))
    value[column : column + 4] = struct.pack(">I", 1)
    with pytest.raises(Corrupt, match="does not hold"):
        PlaceList(bytes(value))


def test_more_places_than_a_list_may_hold_are_corrupt() -> None:
    value = encode(place("a", number) for number in range(65_537))
    with pytest.raises(Corrupt, match="wrong length"):
        PlaceList(value)
    assert len(PlaceList(encode(place("a", number) for number in range(65_536)))) == 65_536


@given(st.binary(max_size=400))
def test_any_bytes_are_a_list_or_corrupt(value: bytes) -> None:
    try:
        found = PlaceList(value)
    except Corrupt:
        return
    assert len(list(found)) == len(found)


@pytest.mark.parametrize("at", [0, 20, 75])
def test_a_list_that_claims_billions_of_rows_costs_no_memory(at: int) -> None:
    value = bytearray(encode([place("a", 0)]))
    value[at : at + 4] = b"\xff" * 4
    tracemalloc.start()
    with pytest.raises(Corrupt):
        PlaceList(bytes(value))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("offsets", "begin", "reached"),
    [([0, 24], 0, 48), ([24, 48], 24, 72), ([0, 48], 0, None), ([24], 0, None)],
)
def test_a_span_reaches_as_far_as_its_places_follow_each_other(
    offsets: list[int], begin: int, reached: int | None
) -> None:
    found = PlaceList(encode([place("a", offset) for offset in offsets]))
    span = Span(found, 0, len(offsets), "lists/files/2026W10/ab")
    assert span.reach(begin, lambda pack: pack == found.packs[0].name) == reached
    assert span.reach(begin, lambda _: False) is None


@given(rows, st.data())
def test_a_list_of_spans_is_the_list_of_their_places(places: Sequence[Place], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(places)))
    first, second = PlaceList(encode(places[:cut])), PlaceList(encode(places[cut:]))
    encoder = ListEncoder()
    for found in (first, second):
        encoder.add_span(Span(found, 0, len(found), ""))
    assert encoder.encode(pack for pack in encoder.packs if isinstance(pack, PackRef)) == encode(places)
