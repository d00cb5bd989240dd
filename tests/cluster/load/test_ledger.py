"""The ledger: what is written is read again, and a torn line is no more than that."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from drtool.errors import Corrupt, UsageError
from tests.cluster.load.ledger import LedgerFile, read_ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger"
    with LedgerFile(path) as file:
        file.begin("posts", "a", "digest-a")
        file.acknowledge("posts", "a")
        file.begin("uploads", "b", "digest-b")
    return path


def tear(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"event": "begun", "kind": "po')


def test_what_was_written_is_read(path: Path) -> None:
    ledger = read_ledger(path)
    a, b = ledger.writes.values()

    assert (a.kind, a.id, a.sha256) == ("posts", "a", "digest-a")
    assert a.acknowledged is not None
    assert a.begun <= a.acknowledged <= b.begun
    assert (b.kind, b.id, b.acknowledged) == ("uploads", "b", None)
    assert list(ledger.of("uploads")) == ["b"]
    assert ledger.torn == 0


def test_a_torn_last_line_is_counted_and_left_out(path: Path) -> None:
    tear(path)
    ledger = read_ledger(path)

    assert list(ledger.writes) == ["a", "b"]
    assert ledger.torn == 1


def test_a_generator_after_a_killed_one_goes_on_behind_the_torn_line(path: Path) -> None:
    tear(path)
    with LedgerFile(path) as file:
        file.acknowledge("uploads", "b")
    ledger = read_ledger(path)

    assert list(ledger.writes) == ["a", "b"]
    assert ledger.writes["b"].acknowledged
    assert ledger.torn == 1


def test_what_is_acknowledged_after_the_end_stays_in_doubt(path: Path) -> None:
    file = LedgerFile(path)
    file.close()
    file.acknowledge("uploads", "b")

    assert read_ledger(path).writes["b"].acknowledged is None


def test_a_ledger_that_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    for path in (tmp_path / "no folder" / "ledger", tmp_path):
        with pytest.raises(UsageError, match="cannot write the ledger") as caught:
            LedgerFile(path)
        assert caught.value.hint


@pytest.mark.parametrize(
    "damaged",
    [
        b"no ledger at all\n",
        b'{"event": "opened", "at": "2025-01-01T00:00:00+00:00"}\ntorn\n{"event": "acknowledged", "id": "a"}\n',
        b'{"event": "acknowledged", "kind": "posts", "id": "never begun", "at": "2025-01-01T00:00:00+00:00"}\n',
        b'{"event": "begun", "kind": "pots", "id": "a", "at": "2025-01-01T00:00:00+00:00", "sha256": ""}\n',
        b'{"event": "begun", "kind": "posts", "id": "a", "at": "yesterday", "sha256": ""}\n',
        b'{"event": "ended", "at": "2025-01-01T00:00:00+00:00"}\n',
        b"[]\n",
    ],
)
def test_what_is_no_ledger_is_not_taken_for_one(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(damaged)

    with pytest.raises(Corrupt, match="is no ledger: its line"):
        read_ledger(path)


def test_a_ledger_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the ledger"):
        read_ledger(tmp_path / "none")


def test_the_ledger_of_a_moment_has_no_later_write_and_no_later_promise(path: Path) -> None:
    ledger = read_ledger(path)
    a, b = ledger.writes.values()
    assert isinstance(a.acknowledged, datetime)

    before_the_answer = ledger.until(a.acknowledged - timedelta(microseconds=1))
    assert [(write.id, write.acknowledged) for write in before_the_answer.writes.values()] in (
        [("a", None)],
        [],
    )
    at_the_answer = ledger.until(a.acknowledged)
    assert at_the_answer.writes["a"] == a
    assert ("b" in at_the_answer.writes) == (b.begun <= a.acknowledged)
    assert list(ledger.until(b.begun).writes) == ["a", "b"]

    promised = ledger.promised(a.acknowledged - timedelta(microseconds=1))
    assert promised.writes == {"a": replace(a, acknowledged=None), "b": b}
    assert ledger.promised(a.acknowledged).writes == {"a": a, "b": b}
