"""The small records: runs, notes, heads."""

import threading
from datetime import datetime, timedelta
from typing import get_args

import pytest

from drtool.errors import Corrupt
from drtool.repository.format.names import name_time
from drtool.repository.heads import pick_head, put_head, read_heads
from drtool.repository.records import Record, Unreadable
from drtool.repository.runs import (
    Note,
    RunKind,
    newest_run,
    put_note,
    put_run,
    read_notes,
    read_runs,
    read_runs_of,
    read_runs_that_tell,
    run_kind,
)
from tests.repository.counting import Noting
from tests.repository.stage import Stage, make_stage, put


@pytest.fixture
def stage() -> Stage:
    return make_stage()


@pytest.mark.parametrize("kind", get_args(RunKind))
def test_a_run_is_read_with_its_kind(stage: Stage, kind: RunKind) -> None:
    put_run(stage.writer().records, kind, stage.clock(), {"run": "1", "outcome": "done"})
    [run] = read_runs(stage.writer().records)
    assert isinstance(run, Record)
    assert run_kind(run) == kind
    assert run.value == {"run": "1", "outcome": "done"}


def test_runs_come_by_time_and_from_a_day_on(stage: Stage) -> None:
    days = []
    for number in range(3):
        days.append(stage.clock())
        put_run(stage.writer().records, "backup", stage.clock(), {"run": str(number)})
        stage.clock.leap(days=1)
    records = stage.writer().records

    def told(since: datetime | None) -> list[str]:
        return [run.value["run"] for run in read_runs(records, since) if isinstance(run, Record)]

    assert told(None) == ["0", "1", "2"]
    assert told(days[1]) == ["1", "2"]
    assert told(days[2] + timedelta(days=1)) == []


def test_of_the_runs_that_come_often_only_the_newest_are_fetched(stage: Stage) -> None:
    first = stage.clock()
    put_run(stage.writer().records, "verify", stage.clock(), {"run": "verified"})
    for number in range(4):
        put_run(stage.writer().records, "backup", stage.clock(), {"run": str(number)})
        put_run(stage.writer().records, "wal", stage.clock(), {"run": f"wal {number}"})
    put(stage.store, f"runs/{stage.clock():%Y%m%d}/junk", b"junk")
    records = stage.writer().records

    def told(enough: str, often_since: datetime = first) -> list[str]:
        found = read_runs_that_tell(records, first, often_since, lambda run: run.value["run"] == enough)
        return [run.value["run"] for run in found]

    assert told("2") == ["verified", "2", "wal 2", "3", "wal 3"]
    assert told("verified")[0:2] == ["verified", "0"]
    assert told("none", stage.clock() + timedelta(days=1)) == ["verified"]


def ten_days(stage: Stage) -> datetime:
    """Have a backup and a verification each day, and return when the first was."""
    first = stage.clock()
    for number in range(10):
        for kind in ("backup", "verify"):
            put_run(stage.writer().records, kind, stage.clock(), {"run": f"{kind} {number}"})
        put(stage.store, f"runs/{stage.clock():%Y%m%d}/{name_time(stage.clock())}-backup-junk", b"junk")
        stage.clock.leap(days=1)
    return first


def test_the_runs_of_a_kind_come_newest_first_from_the_days_that_are_asked_for_alone(stage: Stage) -> None:
    first = ten_days(stage)
    store = Noting(stage.store)
    records = stage.writer(store).records

    def told(since: int, until: int | None = None, most: int | None = None) -> list[str]:
        store.calls.clear()
        end = None if until is None else first + timedelta(days=until, hours=1)
        found = read_runs_of(records, ["backup"], first + timedelta(days=since), end, most)
        return [run.value["run"] for run in found]

    assert told(8) == ["backup 9", "backup 8"]
    assert "runs/" not in store.of("list")
    assert set(store.of("versions")) == {
        f"runs/{first + timedelta(days=day):%Y%m%d}/" for day in range(8, 12)
    }
    assert told(2, 4) == ["backup 4", "backup 3", "backup 2"]
    assert set(store.of("versions")) == {f"runs/{first + timedelta(days=day):%Y%m%d}/" for day in range(2, 5)}
    assert told(0, most=4) == ["backup 9", "backup 8"]  # what does not count is asked for, too
    assert told(-400) == [f"backup {number}" for number in range(9, -1, -1)]
    assert len(store.of("versions")) in (14, 15)  # a month each
    assert told(-400, 1) == ["backup 1", "backup 0"]
    assert told(20) == []


def test_a_year_of_runs_is_listed_by_the_month_and_a_day_of_it_begins_where_it_is_asked_for(
    stage: Stage,
) -> None:
    writer, first = stage.writer().records, stage.clock()
    for number in range(400):
        put_run(writer, "backup", stage.clock(), {"run": str(number), "outcome": "done"})
        stage.clock.leap(days=1)
    store = Noting(stage.store)
    records, now = stage.writer(store).records, stage.clock()

    def told(days: float) -> list[str]:
        store.calls.clear()
        found = read_runs_that_tell(records, now - timedelta(days=days), first, lambda _run: False)
        return [run.value["run"] for run in found]

    for days in (399.5, 200, 40.5, 8):
        from_day = (now - timedelta(days=days)).date()
        wanted = [str(number) for number in range(400) if (first + timedelta(days=number)).date() >= from_day]
        assert told(days) == wanted
        listed = store.of("list") + store.of("versions")
        assert len(listed) <= days / 28 + 2
    assert newest_run(records, "backup", now - timedelta(days=2)) is not None
    assert newest_run(records, "probe", now - timedelta(days=2)) is None
    store.calls.clear()
    newest_run(records, "probe", now - timedelta(days=1))
    assert len(store.of("list")) <= 3


def test_runs_are_read_some_at_once(stage: Stage) -> None:
    first = ten_days(stage)
    together = threading.Barrier(8)

    def wait(verb: str, name: str) -> None:
        if verb == "get" and "-verify-" in name:
            together.wait(20)

    records = stage.writer(Noting(stage.store, wait)).records

    assert len([*read_runs_of(records, ["verify"], first, most=8)]) == 8


def test_a_run_that_does_not_count_is_shown_with_its_fault(stage: Stage) -> None:
    name = put(stage.store, "runs/20260302/junk", b"junk")
    [run] = read_runs(stage.writer().records)
    assert isinstance(run, Unreadable)
    assert run.name == name
    assert isinstance(run.fault, Corrupt)


def test_notes_are_kept_by_volume_and_kind(stage: Stage) -> None:
    operator = stage.records_of("operator", stage.created.operator_seed)
    put_note(operator, "hold", "files", stage.clock(), {"reason": "an incident"})
    [hold] = read_notes(operator, "hold", "files")
    assert isinstance(hold, Record)
    assert hold.value == {"reason": "an incident"}
    for note in get_args(Note):
        assert not list(read_notes(operator, note, "redis"))


def test_the_newest_head_that_a_maintainer_signed_counts(stage: Stage) -> None:
    assert pick_head(stage.writer().records, None) is None
    stage.enrol_signer("maintainer", b"m" * 32)
    maintainer = stage.records_of("maintainer", b"m" * 32)
    names = [put_head(maintainer, stage.clock(), {"live": [f"snap/{number}"]}) for number in range(2)]
    put_head(stage.writer().records, stage.clock(), {"live": ["a lie"]})
    heads = read_heads(stage.writer().records)
    assert [head.name for head in heads] == names
    assert pick_head(stage.writer().records, None) == heads[1]
    assert pick_head(stage.writer().records, names[0][-64:]) == heads[0]
    assert heads[0].live == {"snap/0"}
