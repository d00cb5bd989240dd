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
    if isinstance(value, dict):
        for key, item in value.items():
            head = f"{indent}{_scalar(key)}:"
            if isinstance(item, dict | list) and item:
                yield head
                yield from _lines(item, indent + "  ")
            else:
                yield f"{head} {_scalar(item)}"
        return
    for item in value:
        nested = isinstance(item, dict | list) and item
        first, *more = _lines(item, indent + "  ") if nested else (_scalar(item),)
        yield from (f"{indent}- {first.lstrip()}", *more)


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
