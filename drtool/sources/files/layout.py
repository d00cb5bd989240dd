"""Whether a point's entries are a tree: checked before a target is touched."""

from collections.abc import Sequence
from typing import Final

from drtool.errors import Corrupt
from drtool.sources.base import Entry
from drtool.sources.files.entries import DEVICES
from drtool.sources.files.names import ROOT, shown, to_parts, to_path, to_text

_PLAIN: Final = frozenset({"directory", "fifo", *DEVICES})


def check_entries(entries: Sequence[Entry]) -> None:
    """Return when every path lies below a folder that comes before it, and every link has its file. Raises Corrupt."""
    if not entries or entries[0].path != ROOT:
        raise Corrupt("the point does not begin with its own directory: it is none of files")
    kinds: dict[str, str] = {}
    for each in entries:
        above, _, _ = each.path.rpartition("/")
        to_parts(each.path)
        if each.path in kinds:
            raise Corrupt(f"the point holds {shown(each.path)} twice")
        if above and kinds.get(_folder_text(above)) != "directory":
            raise Corrupt(f"the point holds {shown(each.path)}, and no folder for it")
        _check_kind(each, kinds)
        kinds[each.path] = each.entry["type"]


def _folder_text(above: str) -> str:
    """Return the text of a folder: it may be UTF-8 where a name in it is not."""
    return to_text(to_path(above))


def _check_kind(each: Entry, kinds: dict[str, str]) -> None:
    """Return when an entry has what its kind needs, and no bytes that it cannot have. Raises Corrupt."""
    kind = each.entry["type"]
    if kind == "hardlink":
        if kinds.get(each.entry["to"]) != "file":
            raise Corrupt(f"the point holds a link {shown(each.path)} to a file that it does not hold")
    elif kind == "symlink":
        to_path(each.entry["target"])
    elif kind not in (*_PLAIN, "file"):
        raise Corrupt(f"the point holds {shown(each.path)}, of an unknown kind")
    if each.size and kind != "file":
        raise Corrupt(f"the point has bytes of {shown(each.path)}, which is no file")
