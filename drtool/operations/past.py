"""What a source may ask about the previous point of its volume: the source's view of what the repository holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from drtool.operations.session import Session
from drtool.policy.volumes import Volume
from drtool.repository.dedup import Earlier, Kept, look_back
from drtool.repository.format.places import path_id
from drtool.repository.format.record import Json
from drtool.repository.snapshot import Snapshot
from drtool.sources.base import Reference


@dataclass(slots=True)
class Known(Reference):
    """A reference together with what it stands for."""

    kept: Kept


class Past:
    """The previous point, and everything that a run may refer to."""

    def __init__(self, session: Session, volume: Volume, previous: Snapshot | None) -> None:
        self._repository = session.repository
        self._volume = volume
        self._previous = previous
        self.facts: Mapping[str, Any] = previous.facts if previous else {}

    @cached_property
    def earlier(self) -> Earlier:
        """What may be referred to, as the store shows it when this is first asked for: at the beginning of a run."""
        limit = self._repository.config.limits(self._volume.name).window
        window = timedelta(seconds=min(self._volume.window.total_seconds(), limit))
        return look_back(self._repository.records, self._volume.name, window, self._previous)

    def unchanged(self, path: str, entry: Json, stat: bytes) -> Reference | None:
        """Return a reference to path's content as it was, if its stat record is the same and all of it may be used."""
        kept = self.earlier.whole(path_id(self._repository.id_key, path), stat)
        return None if kept is None else Known(path, entry, stat, kept)
