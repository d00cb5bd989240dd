"""Files that rows of a database refer to: is each of them there? Told by the database and the files themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drtool.errors import TemporaryFailure
from drtool.operations.session import World
from drtool.operations.settings import postgres_settings
from drtool.policy.schema import FileReferences
from drtool.policy.volumes import PostgresVolume
from drtool.sources.files.presence import Presence
from drtool.sources.postgres.listing import listed

NAMES: Final = 10  # that are told of those missing
_LONGEST: Final = 200  # characters of one


@dataclass(frozen=True, slots=True)
class Looked:
    """How many files a query listed, how many of them are missing, and the first of these."""

    listed: int
    missing: int
    first: tuple[str, ...] = ()


def look_for_files(volume: PostgresVolume, asked: FileReferences, root: Path, world: World) -> Looked:
    """Look below root for every file that a query lists. Takes as much memory for one row as for millions.

    Raises what database and file system refuse: then nobody knows what is missing.
    """
    presence, count, missing = Presence(root), 0, 0
    first: list[str] = []
    for path in listed(postgres_settings(volume, world), asked.sql, asked.time_limit.total_seconds()):
        if world.ending.is_set():
            raise TemporaryFailure("drtool was asked to end", hint="Look again: nothing was changed.")
        count += 1
        if not presence.has(path):
            missing += 1
            if len(first) < NAMES:
                first.append(_told(path))
    return Looked(count, missing, tuple(first))


def _told(path: bytes) -> str:
    text = path.decode("utf-8", "backslashreplace")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
