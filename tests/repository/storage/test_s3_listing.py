from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from drtool.errors import StoreUnavailable
from drtool.repository.storage.base import ObjectVersion
from drtool.repository.storage.s3_listing import Page, Pages, in_order

Order = Callable[[str], str | list[str]]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAMES = [
    f"packs/{volume}/{week}/{n}"
    for volume in ("db", "db-old", "db.x", "d")
    for week in (1, 2)
    for n in (1, 2)
]


def bucket(names: list[str], order: Order, calls: list[str]) -> Pages:
    """A store that lists in its own order, two entries a page, and notes the calls."""

    def pages(prefix: str, *, one_level: bool) -> Iterator[Page]:
        calls.append(f"{prefix} {'level' if one_level else 'all'}")
        below = [name for name in sorted(names, key=order) if name.startswith(prefix)]
        ends = {name: name.find("/", len(prefix)) for name in below}
        folders = list(dict.fromkeys(name[: end + 1] for name, end in ends.items() if end > 0))
        objects = [name for name in below if not one_level or ends[name] < 0]
        if one_level and folders:
            yield Page([], folders)
        for number in range(0, len(objects), 2):
            yield Page([ObjectVersion(name, 1, NOON) for name in objects[number : number + 2]], [])

    return pages


@pytest.mark.parametrize("order", [str, lambda name: name.split("/")], ids=["as strings", "as paths"])
@pytest.mark.parametrize("prefix", ["", "p", "packs/", "packs/d", "packs/db", "packs/db/", "packs/db/1/"])
def test_a_listing_is_in_name_order_whichever_way_the_store_walks(order: Order, prefix: str) -> None:
    found = [one.name for one in in_order(bucket(NAMES, order, []), prefix)]

    assert found == sorted(name for name in NAMES if name.startswith(prefix))


@pytest.mark.parametrize(
    ("names", "prefix", "expected"),
    [
        (["snap/db/1", "snap/db/2"], "snap/db/", ["snap/db/ level"]),
        (["runs/1/a", "runs/2/b"], "runs/", ["runs/ level", "runs/ all"]),
        (["a/db/1", "a/db-2/1"], "a/", ["a/ level", "a/db-2/ level", "a/db/ level"]),
    ],
)
def test_a_level_is_asked_for_alone_only_where_folders_can_be_confused(
    names: list[str], prefix: str, expected: list[str]
) -> None:
    calls: list[str] = []

    list(in_order(bucket(names, str, calls), prefix))

    assert calls == expected


def test_a_store_that_lists_out_of_order_is_refused() -> None:
    pages = bucket(["a/b/c/1", "a/b/c-d/1", "a/b/x"], lambda name: name.split("/"), [])

    with pytest.raises(StoreUnavailable, match="not in name order"):
        list(in_order(pages, "a/"))


def test_versions_of_one_second_stay_in_the_stores_order_turned_around() -> None:
    def pages(prefix: str, *, one_level: bool) -> Iterator[Page]:
        yield Page([ObjectVersion("a", 3, NOON, "3"), ObjectVersion("a", 2, NOON, "2", latest=False)], [])
        yield Page([ObjectVersion("a", 1, NOON, "1", latest=False), ObjectVersion("b", 4, NOON, "4")], [])

    assert [one.size for one in in_order(pages, "")] == [1, 2, 3, 4]
