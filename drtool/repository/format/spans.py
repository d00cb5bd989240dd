"""Rows that stand together in an earlier list: they are copied as they are, or the whole list is named again."""

from collections.abc import Sized
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

Found = TypeVar("Found", bound=Sized)


@dataclass(slots=True)
class RowSpan(Generic[Found]):
    """Rows of found, by number, end exclusive. name is the list's in the store."""

    found: Found
    begin: int
    end: int
    name: str

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its list."""
        return len(self) == len(self.found)

    def is_followed_by(self, other: Self) -> bool:
        """Return whether other begins where this one ends."""
        return self.end == other.begin and self.found is other.found
