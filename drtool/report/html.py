"""A page as one HTML file: no script, nothing from elsewhere, readable in print.

Names come from a cluster that may be hostile. A Tag escapes every text that it is given, so nothing can be forgotten.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from drtool.report.page import Figure, Grid, Page, Section

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
header { border-left: .5rem solid #1a7f37; padding: .25rem 1rem }
header.bad { border-color: #c9222d }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem } p { margin: .25rem 0 }
dl { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0 }
dl div { border: 1px solid #d0d7de; border-radius: .4rem; padding: .5rem 1rem }
dt { color: #57606a } dd { margin: 0 } dd.value { font-size: 1.4rem; font-weight: 600 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #d0d7de }
td { overflow-wrap: anywhere }
.bad .value, tr.bad td { color: #c9222d; font-weight: 600 }
@media print { body { margin: 0; font-size: 11px } h2 { break-after: avoid } tr { break-inside: avoid } }
"""
_HEAD: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
"""


@dataclass(frozen=True, slots=True)
class Tag:
    """An element with what is in it. style is its class; a text in it is data."""

    name: str
    parts: "tuple[Tag | str, ...]" = ()
    style: str = ""

    def __str__(self) -> str:
        inner = "".join(str(part) if isinstance(part, Tag) else _text(part) for part in self.parts)
        style = f' class="{escape(self.style)}"' if self.style else ""
        return f"<{self.name}{style}>{inner}</{self.name}>"


def to_html(page: Page) -> str:
    """Return page as an HTML document."""
    body = [
        Tag("header", (Tag("h1", (page.verdict,)), Tag("p", (page.advice,))), page.tone),
        Tag("dl", tuple(map(_figure, page.figures))),
        *(part for section in page.sections for part in _section(section)),
    ]
    head = f"{_HEAD}{Tag('title', (page.title,))}\n<style>{_STYLE}</style>\n</head>"
    lines = "\n".join(str(part) for part in body)
    return f"{head}\n<body>\n{lines}\n</body>\n</html>\n"


def _text(text: str) -> str:
    """Return text so that a browser shows it, what cannot be seen included: it might turn around what is read."""
    shown = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return escape("".join(shown))


def _figure(figure: Figure) -> Tag:
    value = Tag("dd", (figure.value,), "value")
    return Tag("div", (Tag("dt", (figure.label,)), value, Tag("dd", (figure.promised,))), figure.tone)


def _section(section: Section) -> Iterator[Tag]:
    yield Tag("h2", (section.title,))
    if section.items:
        yield Tag("ul", tuple(Tag("li", (item,)) for item in section.items))
    if section.grid is not None and section.grid.rows:
        yield _grid(section.grid)
    elif not section.items:
        yield Tag("p", (section.nothing_said,))


def _grid(grid: Grid) -> Tag:
    head = Tag("thead", (Tag("tr", tuple(Tag("th", (name,)) for name in grid.header)),))
    rows = tuple(
        Tag("tr", tuple(Tag("td", (cell,)) for cell in row), "bad" if number in grid.bad else "")
        for number, row in enumerate(grid.rows)
    )
    return Tag("table", (head, Tag("tbody", rows)))
