"""The line of a text that a fault is about, with a caret under the place, and without the secrets in it."""

import re
from collections.abc import Iterable

Place = tuple[int, int]  # line and column, both from 0
Span = tuple[Place, Place]

_MASK = "********"
_WIDTH = 110

# A literal behind a key that sounds like a secret, the password in a URL, and the path of a web hook, by which it is
# known, or all of an Apprise URL: also in lines that are not even YAML.
_SECRETIVE = (
    re.compile(
        r"(?i)[\w-]*(?:pass|pwd|token|credential|secret_key|access_key)[\w-]*[\"']?\s*:\s*(?!\{)([^,}\s][^,}]*)"
    ),
    re.compile(r"://[^\s/@:]*:([^\s/@]+)@"),
    re.compile(r"(?i)\bhttps?://[^\s/?#\"',}]+[/?#]([^\s\"'}]*[^\s\"'},\]])"),
    re.compile(
        r"(?i)\b(?!(?:https?|s3|file|postgres(?:ql)?|rediss?):)[a-z][a-z0-9+.-]*://([^\s\"'}]*[^\s\"'},\]])"
    ),
)


def excerpt(lines: list[str], place: Place, hidden: Iterable[Span]) -> list[str]:
    """Return the line of place and a line with a caret, ready to print; nothing if there is no such line.

    hidden are the stretches of the text that may be secrets; a caret that would fall into one stands at its begin.
    """
    number, column = place
    if number >= len(lines):
        return []
    line = lines[number]
    shown, caret = "", None
    position = 0
    for begin, end in _merged([*_hidden_columns(number, len(line), hidden), *_secretive_columns(line)]):
        if caret is None and column < end:
            caret = len(shown) + max(0, min(column, begin) - position)
        shown += line[position:begin] + _MASK
        position = end
    if caret is None:
        caret = len(shown) + max(0, column - position)
    shown = "".join(character if character.isprintable() else " " for character in shown + line[position:])
    first = max(0, min(caret - _WIDTH // 2, len(shown) - _WIDTH))
    gutter = f"{number + 1:>5} | "
    return [
        gutter + shown[first : first + _WIDTH].rstrip(),
        " " * (len(gutter) - 2) + "| " + " " * (caret - first) + "^",
    ]


def _hidden_columns(number: int, length: int, hidden: Iterable[Span]) -> Iterable[tuple[int, int]]:
    for (first, begin), (last, end) in hidden:
        if first <= number <= last:
            yield begin if number == first else 0, end if number == last else length


def _secretive_columns(line: str) -> Iterable[tuple[int, int]]:
    for pattern in _SECRETIVE:
        for match in pattern.finditer(line):
            yield match.span(1)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, those that touch as one, the empty ones left out."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
