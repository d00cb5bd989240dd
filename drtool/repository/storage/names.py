"""Which object names are allowed: checked before storing and after listing, so that no other name goes either way."""

import re

from drtool.errors import UsageError

NAME_BYTES = 512
PART_BYTES = 255  # what one folder entry can be called on Linux

_PART = re.compile(rf"[a-zA-Z0-9._-]{{1,{PART_BYTES}}}")


def is_name(name: str) -> bool:
    """Tell whether name is relative, of allowed parts that are neither `.` nor `..`, and at most NAME_BYTES long."""
    return len(name) <= NAME_BYTES and all(
        part not in (".", "..") and _PART.fullmatch(part) for part in name.split("/")
    )


def check_name(name: str) -> None:
    """Raise UsageError unless name may name an object."""
    if not is_name(name):
        raise UsageError(
            f"{name!r} cannot name an object",
            hint=f"Use parts of letters, digits, '.', '_' and '-', joined by '/', at most {NAME_BYTES} bytes.",
        )


def check_prefix(prefix: str) -> None:
    """Raise UsageError unless some name may begin with prefix. The empty prefix begins them all."""
    if prefix:
        check_name(f"{prefix}x")


def folder_of(name: str) -> str:
    """Return all of name up to and with its last `/`; empty if it has none."""
    return name[: name.rfind("/") + 1]
