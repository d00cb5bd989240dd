"""Listing a bucket in name order, also where the store walks it folder by folder and loses its place.

S3 lists keys as whole strings, so `db-old/x` comes before `db/x`. Stores on top of a file tree (SeaweedFS 4.48:
seen) give `db/x` first, and their listing of versions then leaves out `db-old/` when a page ends in between. Both
agree where no folder's name begins with that of its neighbour. So one level is listed at a time as far down as such
neighbours can be, which for a repository is the level of its volumes, and all below in one go.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Protocol

from drtool.errors import StoreUnavailable
from drtool.repository.storage.base import ObjectVersion


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a listing: objects, each with its folder's path, and folders, each with a final `/`."""

    objects: list[ObjectVersion]
    folders: list[str]


class Pages(Protocol):
    """How a store is asked: the pages of all under prefix, or of what lies at its level and the folders there."""

    def __call__(self, prefix: str, *, one_level: bool) -> Iterable[Page]: ...


def in_order(pages: Pages, prefix: str) -> Iterator[ObjectVersion]:
    """Yield what pages list under prefix: by name, then oldest first.

    Raises StoreUnavailable rather than yield out of order: a store that does so may have left something out.
    """
    objects: list[ObjectVersion] = []
    folders: set[str] = set()
    for page in pages(prefix, one_level=True):
        objects += page.objects
        folders.update(page.folders)
    if not folders:
        yield from _oldest_first(sorted(objects, key=_name))
    elif "/" not in prefix or _are_confusable(folders):
        level: dict[str, list[ObjectVersion]] = {folder: [] for folder in folders}
        for found in objects:
            level.setdefault(found.name, []).append(found)
        for child in sorted(level):
            yield from in_order(pages, child) if child in folders else _oldest_first(level[child])
    else:
        below = (found for page in pages(prefix, one_level=False) for found in page.objects)
        yield from _oldest_first(_checked(below))


def _are_confusable(folders: set[str]) -> bool:
    """Tell whether one folder's name begins with another's: whole strings and paths then sort differently."""
    names = sorted(folder[:-1] for folder in folders)
    return any(later.startswith(earlier) for earlier, later in pairwise(names))


def _checked(found: Iterable[ObjectVersion]) -> Iterator[ObjectVersion]:
    last = ""
    for one in found:
        if one.name < last:
            raise StoreUnavailable(
                f"the store lists {one.name} after {last}: its listing is not in name order",
                hint="Use a store that lists in order, and report which one this was.",
            )
        last = one.name
        yield one


def _oldest_first(found: Iterable[ObjectVersion]) -> Iterator[ObjectVersion]:
    """Turn the versions of each name around; S3 lists the newest first, and delete markers apart."""
    for _, versions in groupby(found, key=_name):
        turned = list(versions)
        turned.reverse()
        turned.sort(key=lambda one: (one.modified, one.latest))
        yield from turned


def _name(found: ObjectVersion) -> str:
    return found.name
