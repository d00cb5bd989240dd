"""Keys as a line of text that a person can type: `DRTOOL-RECOVERY-ABCD-EFGH-…`, with a checksum at its end."""

import base64
import binascii
import re
from typing import Final

from drtool.errors import UsageError
from drtool.repository.format.crypto import sha256

_CHECKSUM_SIZE: Final = 4
_GROUP: Final = 4
_TOKEN = re.compile(r"DRTOOL-(?P<kind>[A-Z]+)-(?P<text>[A-Z2-7]{4}(?:-[A-Z2-7]{1,4})+)")


def encode_key(kind: str, value: bytes) -> str:
    """Return value as a line: kind, base32 in groups of four, the last bytes a checksum over kind and value."""
    text = base64.b32encode(value + _checksum(kind, value)).decode().rstrip("=")
    groups = [text[at : at + _GROUP] for at in range(0, len(text), _GROUP)]
    return f"DRTOOL-{kind}-{'-'.join(groups)}"


def find_keys(text: str) -> dict[str, bytes]:
    """Return the keys that stand anywhere in text, by kind: a kit, a file of one line, or what was typed.

    Raises UsageError when a line is mistyped, or when two keys of a kind differ. Never repeats a key in its message.
    """
    found: dict[str, bytes] = {}
    for match in _TOKEN.finditer(text.upper()):
        kind, value = match["kind"], _decode(match["kind"], match["text"])
        if found.setdefault(kind, value) != value:
            raise UsageError(
                f"there are two different {kind.lower()} keys", hint="Keep one of them in the file."
            )
    return found


def _decode(kind: str, text: str) -> bytes:
    packed = text.replace("-", "")
    try:
        raw = base64.b32decode(packed + "=" * (-len(packed) % 8))
    except binascii.Error as fault:
        raise _mistyped(kind) from fault
    value, checksum = raw[:-_CHECKSUM_SIZE], raw[-_CHECKSUM_SIZE:]
    if checksum != _checksum(kind, value):
        raise _mistyped(kind)
    return value


def _mistyped(kind: str) -> UsageError:
    return UsageError(
        f"the {kind.lower()} key is mistyped: its checksum does not fit",
        hint="Compare it with the kit, group by group; 0 and O, 1 and I are not both used: it has no 0, 1, 8 or 9.",
    )


def _checksum(kind: str, value: bytes) -> bytes:
    return sha256(b"drtool/1 text " + kind.encode() + b"\0" + value)[:_CHECKSUM_SIZE]
