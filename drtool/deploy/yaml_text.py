"""Objects as YAML, the same text for the same object."""

import json
import re
from collections.abc import Iterator
from typing import Any

# What every YAML reader takes for text without quotes; the rest is written as JSON, which is YAML too.
_PLAIN = re.compile(r"(?!(?i:y|n|yes|no|on|off|true|false|null)$)[A-Za-z/](?:[\w./@%+=-]|:(?=\w))*")


def to_yaml(value: dict[str, Any]) -> str:
    """Return value as YAML: mappings and lists in blocks."""
    return "".join(f"{line}\n" for line in _lines(value, ""))


def _lines(value: dict[str, Any] | list[Any], indent: str) -> Iterator[str]:
    pairs = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    for key, item in pairs:
        head = indent + (key if key == "-" else f"{_scalar(key)}:")
        if not isinstance(item, dict | list) or not item:
            yield f"{head} {_scalar(item)}"
        elif key == "-":
            first, *more = _lines(item, indent + "  ")
            yield from (f"{head} {first.lstrip()}", *more)
        else:
            yield head
            yield from _lines(item, indent + "  ")


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
