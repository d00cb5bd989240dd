"""Keys as a line of text that a person can type: `DRTOOL-RECOVERY-ABCD-EFGH-…`, with a checksum at its end."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final

from drtool.errors import UsageError
from drtool.repository.format.crypto import sha256

_CHECKSUM_SIZE: Final = 4
_GROUP: Final = 4
_LONGEST: Final = 64  # bytes of a value; the longest is 48
_TOKEN = re.compile(r"DRTOOL-(?P<kind>[A-Z]+)-(?P<text>[A-Z2-7]{4}(?:-[A-Z2-7]{1,4})+)")
# As a person types it: blanks and any dash between the groups, or nothing; over several lines, too.
_GAP: Final = r"[\s\u2010-\u2015\u2212-]"
_HEAD = re.compile(
    rf"DRTOOL{_GAP}*(?P<kind>RECOVERY|RECIPIENT|RUNNERSEED|RUNNER|OPERATOR|ADMIN|SEED|TRUST){_GAP}*"
)
_LETTERS = re.compile(rf"(?:[A-Z2-7]|{_GAP})*")
_LIKE_A_KEY = re.compile(
    rf"(?:(?:[A-Z0-9]{{4}})+{_GAP}+){{4}}|[A-Z0-9]{{24}}"
)  # no prose has words like these


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
    for kind, value in _keys(text.upper()):
        if found.setdefault(kind, value) != value:
            raise UsageError(
                f"there are two different {kind.lower()} keys", hint="Keep one of them in the file."
            )
    return found


def _keys(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield kind and value of each key. One that was typed loosely is taken once its checksum fits."""
    loose = set()
    for head in _HEAD.finditer(text):
        rest = text[head.end() :].partition("DRTOOL")[0]
        if (value := _loose(head["kind"], rest)) is not None:
            loose.add(head.start())
            yield head["kind"], value
        elif _LIKE_A_KEY.match(rest):
            raise _mistyped(head["kind"])
    for match in _TOKEN.finditer(text):
        if match.start() not in loose:
            yield match["kind"], _decode(match["kind"], match["text"])


def _loose(kind: str, text: str) -> bytes | None:
    """Return the value that text begins with, whatever stands between its letters and behind them, or None."""
    letters = _LETTERS.match(text)
    packed = re.sub(_GAP, "", letters[0] if letters else "")
    for size in range(1, _LONGEST + 1):
        length = -(-(size + _CHECKSUM_SIZE) * 8 // 5)
        if length > len(packed):
            return None
        raw = base64.b32decode(packed[:length] + "=" * (-length % 8))
        if raw[size:] == _checksum(kind, raw[:size]):
            return raw[:size]
    return None


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
