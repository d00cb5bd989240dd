import click
import pytest

from drtool.cli.table import Table

POINTS = Table(
    ("VOLUME", "TO", "STATE", "SIZE", "AGE"),
    [
        ("postgres", "2026-11-25T10:00:00.123456Z", "listed", "1023 MiB", "3 min ago"),
        (
            "redis",
            "2026-11-25T10:00:00.123456Z",
            "void: a file was still being written",
            "2.0 KiB",
            "2 d ago",
        ),
    ],
    spare=("AGE", "SIZE"),
)
COPIED = [cell for row in POINTS.rows for cell in row[:2]]


def drawn(table: Table, width: int | None) -> list[str]:
    return [click.unstyle(line) for line in table.lines(width)]


def test_a_table_lines_up_its_columns_and_is_nothing_without_rows() -> None:
    assert drawn(Table(("A", "LONG"), [("wide cell", "x"), ("y", "z")]), None) == [
        "", "A          LONG", "wide cell  x", "y          z",
    ]  # fmt: skip
    assert Table(("A",), []).lines(80) == []


@pytest.mark.parametrize("width", [None, 120])
def test_where_there_is_room_every_row_is_one_line_with_all_there_is(width: int | None) -> None:
    lines = drawn(POINTS, width)
    assert len(lines) == 4
    assert lines[3].split("  ")[0] == "redis"
    assert "void: a file was still being written  2.0 KiB   2 d ago" in lines[3]


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(100, ""), (80, ""), (79, "AGE"), (68, "AGE, SIZE"), (50, "AGE, SIZE"), (20, "AGE, SIZE")],
)
def test_on_a_narrow_terminal_cells_wrap_then_columns_go_and_that_is_said(width: int, left_out: str) -> None:
    lines = drawn(POINTS, width)
    note = f"(left out for want of width: {left_out}; --json has them)"
    assert (lines[-1] == note) is bool(left_out)
    assert width == 20 or max(map(len, lines[: -1 if left_out else None])) <= width
    for word in (*COPIED, "void:", "written"):
        assert any(word in line.split() for line in lines), word


def test_a_short_cell_is_never_wrapped() -> None:
    table = Table(("SIZE", "TOOK", "WHY"), [("1023 MiB", "2 min 30 s", "because it is so and not otherwise")])
    lines = drawn(table, 35)
    assert lines[2].startswith("1023 MiB  2 min 30 s  because it")
    assert max(map(len, lines)) <= 35
