"""A page is one file that runs nothing, fetches nothing, and shows hostile names as what they are."""

from html.parser import HTMLParser

from drtool.report.html import to_html
from drtool.report.page import Figure, Grid, Page, Section

EVIL = "<script src=//evil>\u202e&\"'\x1b[2J"


class Seen(HTMLParser):
    """The elements and the text of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def evil_page() -> Page:
    return Page(
        title=EVIL,
        verdict=EVIL,
        advice=EVIL,
        tone="bad",
        figures=[Figure(EVIL, EVIL, EVIL, "bad")],
        sections=[
            Section(EVIL, [EVIL], Grid([EVIL], [[EVIL], ["x"]], frozenset({0}))),
            Section("empty", grid=Grid(["a"], []), nothing_said=EVIL),
        ],
    )


def test_hostile_names_are_shown_and_not_obeyed() -> None:
    text = to_html(evil_page())
    seen = Seen(text)
    assert seen.open == []
    assert "script" not in seen.tags
    assert seen.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class"}
    assert text.count("&lt;script src=//evil&gt;\\u202e&amp;&quot;&#x27;\\x1b[2J") == 11
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_a_page_fetches_nothing() -> None:
    text = to_html(evil_page())
    assert "default-src 'none'" in text
    for part in ("url(", "@import", "<link", "<img", "<script", "href="):
        assert part not in text


def test_what_must_not_be_missed_is_marked_and_what_is_empty_says_so() -> None:
    section = Section("proofs", grid=Grid(["a"], [["fine"], ["broken"]], frozenset({1})))
    text = to_html(Page("t", "v", "a", "good", [], [section, Section("missing")]))
    assert '<tr><td>fine</td></tr><tr class="bad"><td>broken</td></tr>' in text
    assert "<h2>missing</h2>\n<p>Nothing.</p>" in text
