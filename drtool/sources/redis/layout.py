"""The files of a Redis data directory: their names, and which versions read which RDB. Pure.

From 7.0 on the append-only log is a folder: a base, which may be an RDB, increments, and a manifest that names
them. Before, it is one file, which may begin with an RDB. Names that differ from the server's own leave it empty,
without a word. Redis: src/aof.c, loadAppendOnlyFiles; src/rdb.c, rdbLoadRio.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from drtool.errors import Refused

RDB_PATH = "dump.rdb"
DEFAULT_NAMES = {
    "dbfilename": "dump.rdb",
    "appendfilename": "appendonly.aof",
    "appenddirname": "appendonlydir",
}
PLAIN_NAME = re.compile(r"[A-Za-z0-9_+=@%,:][A-Za-z0-9_+=@%,:.-]*")
MULTI_PART_SINCE = (7, 0)

NEWEST_RDB = {  # the newest RDB version that each version, and those after it, read
    "redis": {(0, 0): 8, (5, 0): 9, (7, 0): 10, (7, 2): 11, (7, 4): 12},
    "valkey": {(0, 0): 11},
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What the target's server calls its files. appendonly is None where both settings must work."""

    version: tuple[int, int]
    flavour: str
    appendonly: str | None
    dbfilename: str
    appendfilename: str
    appenddirname: str

    @classmethod
    def of(cls, captured: Mapping[str, Any], options: Mapping[str, Any]) -> Self:
        """Return the target's layout: its options, and the captured server's own for what they do not say.

        Whether the target's log is on is known from the options alone: replicas often differ there. Raises Refused.
        """
        said = {**DEFAULT_NAMES, **captured, "appendonly": None, **options}
        for name in DEFAULT_NAMES:
            if not PLAIN_NAME.fullmatch(str(said[name])):
                raise Refused(
                    f"{name} {said[name]!r} is no plain file name", hint=f"Give {name} as an option."
                )
        if said["appendonly"] not in (None, "yes", "no"):
            raise Refused(f"appendonly is {said['appendonly']!r}", hint="It is yes or no.")
        names = {name: str(said[name]) for name in DEFAULT_NAMES}
        return cls(
            parse_version(str(said["version"])), said.get("flavour", "redis"), said["appendonly"], **names
        )

    @property
    def newest_rdb(self) -> int:
        """The newest RDB version that the target's server reads."""
        return newest_rdb(self.version, self.flavour)

    @property
    def log(self) -> str | None:
        """The path of the file that is the log's base; None where the log is off."""
        if self.appendonly == "no":
            return None
        if not is_multi_part(self.version):
            return self.appendfilename
        return f"{self.appenddirname}/{self.appendfilename}.1.base.rdb"

    @property
    def manifest(self) -> tuple[str, bytes] | None:
        """The path and content of the manifest; None where there is none."""
        if self.appendonly == "no" or not is_multi_part(self.version):
            return None
        line = f"file {self.appendfilename}.1.base.rdb seq 1 type b\n"
        return f"{self.appenddirname}/{self.appendfilename}.manifest", line.encode()

    @property
    def log_is_written_in_place(self) -> bool:
        """Whether the server appends to the very file that holds the RDB, so that it must be a copy."""
        return not is_multi_part(self.version)


def newest_rdb(version: tuple[int, int], flavour: str = "redis") -> int:
    """Return the newest RDB version that a server reads."""
    table = NEWEST_RDB[flavour]
    return table[max(since for since in table if since <= version)]


def is_multi_part(version: tuple[int, int]) -> bool:
    """Tell whether a server keeps its log as a folder."""
    return version >= MULTI_PART_SINCE


def parse_version(text: str) -> tuple[int, int]:
    """Return major and minor of a server version such as 7.0.15. Raises Refused."""
    found = re.match(r"(\d+)\.(\d+)", text)
    if not found:
        raise Refused(
            f"{text!r} is no version of a Redis server", hint="Give version as an option, such as 7.0."
        )
    return int(found[1]), int(found[2])
