"""What the forum was told is safe, kept outside of its servers: the judge of every restore."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Post(NamedTuple):
    """One row of the forum's table of posts."""

    id: int
    thread: int
    author: int
    body: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How restored posts differ from the ledger. lost are the times of acknowledgement, oldest first."""

    intact: int
    lost: tuple[datetime, ...]
    altered: tuple[int, ...]
    unknown: tuple[int, ...]

    @property
    def is_exact(self) -> bool:
        """Whether every post of the ledger is there as it was, and no other."""
        return not (self.lost or self.altered or self.unknown)


class Ledger:
    """Posts whose commit the server acknowledged, and when. Safe for several threads."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Post, datetime]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def acknowledge(self, post: Post, moment: datetime) -> None:
        """Note that the server called post committed at moment."""
        self._entries[post.id] = (post, moment)

    def until(self, moment: datetime) -> "Ledger":
        """Return the ledger as it was at moment."""
        then = Ledger()
        then._entries = {id_: entry for id_, entry in self._entries.items() if entry[1] <= moment}
        return then

    def compare(self, restored: Iterable[Post]) -> Comparison:
        """Hold restored posts against the ledger, row by row."""
        found = {post.id: post for post in restored}
        return Comparison(
            intact=sum(found.get(id_) == post for id_, (post, _) in self._entries.items()),
            lost=tuple(sorted(moment for id_, (_, moment) in self._entries.items() if id_ not in found)),
            altered=tuple(
                id_ for id_, (post, _) in self._entries.items() if id_ in found and found[id_] != post
            ),
            unknown=tuple(sorted(found.keys() - self._entries.keys())),
        )
