"""What makes a snapshot count: its claims, lateness, voids, heads."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from drtool.errors import Corrupt, UsageError
from drtool.repository.config import VolumeLimits
from drtool.repository.format.crypto import sha256
from drtool.repository.format.names import json_time, name_time
from drtool.repository.heads import put_head
from drtool.repository.repository import put_config
from drtool.repository.snapshot import PART, Void, put_part, put_void, read_parts, read_snapshots
from tests.repository.stage import (
    DAY,
    Stage,
    WholeSeconds,
    back_up,
    make_stage,
    snapshot,
    snapshots,
    unreadable,
)

MAINTAINER = b"m" * 32


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def claims(stage: Stage, **changes: Any) -> dict[str, Any]:
    now = json_time(stage.clock())
    value: dict[str, Any] = {
        "volume": "files",
        "source": "files",
        "run": "ab" * 16,
        **dict.fromkeys(("start", "from", "to", "deadline"), now),
        "content": [],
        "entries": [],
        "runs": {},
        "facts": {},
        "marks": {},
        "size": 0,
        "stored": 0,
        "previous": None,
    }
    return {**value, **changes}


def put(stage: Stage, value: dict[str, Any], volume: str = "files") -> str:
    end = value["to"].replace("-", "").replace(":", "") if isinstance(value.get("to"), str) else "0"
    return stage.writer().records.put(f"snap/{volume}/{end}-", value)


def hours(stage: Stage, number: float) -> str:
    return json_time(stage.clock() + timedelta(hours=number))


def test_a_snapshot_of_agreeing_claims_is_chosen(stage: Stage) -> None:
    made = snapshot(stage.writer(), put(stage, claims(stage)))
    assert made.chosen
    assert made.signer == "writer-1"
    assert not made.late


@pytest.mark.parametrize(
    "times",
    [
        {"start": 0, "from": -1, "to": 0},
        {"start": -2, "from": 0, "to": -1},
        {"start": 0, "from": 0, "to": 1},
        {"start": 1, "from": 0, "to": 0},
        {"start": 1, "from": 1, "to": 1},
    ],
    ids=["from before start", "to before from", "to in the future", "start after from", "all in the future"],
)
def test_times_that_contradict_each_other_or_the_store_do_not_count(
    stage: Stage, times: dict[str, int]
) -> None:
    put(stage, claims(stage, **{name: hours(stage, number) for name, number in times.items()}))
    [fault] = unreadable(stage.writer())
    assert "its times contradict" in str(fault.fault)


def test_a_store_that_cuts_its_times_is_given_two_seconds(stage: Stage) -> None:
    value = claims(stage)
    stage.clock.leap(seconds=-1.5)
    assert snapshot(stage.writer(), put(stage, value)).chosen
    stage.clock.leap(seconds=-1)
    put(stage, {**value, "run": "x"})
    assert len(unreadable(stage.writer())) == 1


def test_a_name_of_another_volume_or_time_does_not_count(stage: Stage) -> None:
    put(stage, claims(stage, volume="redis"))
    stage.writer().records.put(f"snap/files/{name_time(stage.clock())}-", claims(stage))
    assert len(unreadable(stage.writer())) == 2
    assert not snapshots(stage.writer())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("volume", 5),
        ("run", None),
        ("start", 5),
        ("start", "yesterday"),
        ("content", "lists/files"),
        ("content", [5]),
        ("entries", {}),
        ("runs", []),
        ("runs", {"a": 1}),
        ("facts", None),
        ("marks", []),
        ("size", "1"),
        ("previous", 5),
    ],
    ids=str,
)
def test_a_malformed_snapshot_does_not_stop_the_others_from_being_read(
    stage: Stage, field: str, value: object
) -> None:
    good = put(stage, claims(stage))
    stage.clock.leap(seconds=1)
    bad = stage.writer().records.put(
        f"snap/files/{name_time(stage.clock())}-", claims(stage, **{field: value})
    )
    [fault] = unreadable(stage.writer())
    assert fault.name == bad
    assert isinstance(fault.fault, Corrupt)
    assert [point.name for point in snapshots(stage.writer())] == [good]


@pytest.mark.parametrize("field", ["volume", "run", "start", "deadline", "runs", "previous"])
def test_a_snapshot_that_lacks_a_field_does_not_count(stage: Stage, field: str) -> None:
    value = claims(stage)
    del value[field]
    stage.writer().records.put(f"snap/files/{name_time(stage.clock())}-", value)
    [fault] = unreadable(stage.writer())
    assert "says nothing of" in str(fault.fault)


def test_a_snapshot_received_after_max_run_is_late_and_not_chosen(stage: Stage) -> None:
    value = claims(stage)
    stage.clock.leap(seconds=86_400 - 1)
    assert not snapshot(stage.writer(), put(stage, value)).late
    stage.clock.leap(seconds=2)
    late = snapshot(stage.writer(), put(stage, {**value, "run": "other"}))
    assert late.late
    assert not late.chosen


def test_the_configs_max_run_counts_and_not_the_deadline_that_a_writer_claims(stage: Stage) -> None:
    value = claims(stage)
    stage.clock.leap(days=2)
    assert snapshot(stage.writer(), put(stage, {**value, "deadline": hours(stage, 100)})).late


def void(stage: Stage, name: str, run: str, reason: str = "torn") -> None:
    put_void(stage.writer().records, Void(name, "files", run, reason), stage.clock())


def test_a_void_of_the_same_run_hides_a_point_from_choice(stage: Stage) -> None:
    name = put(stage, claims(stage))
    void(stage, name, "ab" * 16)
    point = snapshot(stage.writer(), name)
    assert point.void == "torn"
    assert not point.chosen


def test_a_void_that_is_late_or_of_another_run_changes_nothing(stage: Stage) -> None:
    name = put(stage, claims(stage))
    void(stage, name, "cd" * 16)
    void(stage, "snap/files/another", "ab" * 16)
    assert snapshot(stage.writer(), name).chosen
    stage.clock.leap(days=1, seconds=1)
    void(stage, name, "ab" * 16)
    assert snapshot(stage.writer(), name).chosen


def test_a_void_that_came_in_time_stays_whatever_voids_come_later(stage: Stage) -> None:
    name = put(stage, claims(stage))
    void(stage, name, "ab" * 16)
    void(stage, name, "cd" * 16, "of another run")
    stage.clock.leap(days=2)
    void(stage, name, "ab" * 16, "too late")
    assert snapshot(stage.writer(), name).void == "torn"


def allow(stage: Stage, **max_run: int) -> None:
    """Have the admin take over a longer max_run, and let the grain of the store's clock pass."""
    repository = stage.recovered()
    volumes = repository.config.with_volumes({name: VolumeLimits(0, each) for name, each in max_run.items()})
    config = repository.config.next(stage.clock(), repository.config_sha256, volumes=volumes)
    put_config(stage.store, config, stage.admin)
    stage.clock.leap(seconds=3)


def test_a_longer_max_run_counts_for_what_comes_later_and_what_was_late_stays_late(stage: Stage) -> None:
    value = claims(stage)
    stage.clock.leap(days=2)
    before = put(stage, value)
    allow(stage, files=10 * DAY)
    allow(stage, redis=10 * DAY)
    after = put(stage, {**value, "run": "other"})
    for repository in (stage.writer(), stage.recovered()):
        assert snapshot(repository, before).late
        assert snapshot(repository, after).chosen
    stage.clock.leap(days=9)
    assert snapshot(stage.writer(), put(stage, {**value, "run": "too late"})).late


def test_what_the_store_dates_into_the_grain_of_a_longer_max_run_is_judged_by_the_shorter_one() -> None:
    stage = make_stage(kind=WholeSeconds)
    value = claims(stage)
    stage.clock.leap(days=2)
    allow(stage, files=10 * DAY)
    stage.clock.leap(seconds=-2)
    assert snapshot(stage.writer(), put(stage, value)).late


def test_a_void_that_came_too_late_stays_so_under_a_longer_max_run(stage: Stage) -> None:
    name = put(stage, claims(stage))
    stage.clock.leap(days=2)
    void(stage, name, "ab" * 16)
    allow(stage, files=10 * DAY)
    assert snapshot(stage.writer(), name).chosen
    void(stage, name, "ab" * 16, "by a run that could not last as long")
    assert snapshot(stage.writer(), name).chosen

    later = put(stage, claims(stage))
    stage.clock.leap(days=2)
    void(stage, later, "ab" * 16)
    assert snapshot(stage.writer(), later).void == "torn"


def test_a_void_of_another_role_does_not_count(stage: Stage) -> None:
    name = put(stage, claims(stage))
    records = stage.records_of("operator", stage.created.operator_seed)
    put_void(records, Void(name, "files", "ab" * 16, "torn"), stage.clock())
    assert snapshot(stage.writer(), name).chosen


def say_live(stage: Stage, *live: str) -> str:
    records = stage.records_of("maintainer", MAINTAINER)
    return put_head(records, stage.clock(), {"live": list(live), "wal": [], "marks": {}, "previous": None})


def test_what_a_head_calls_live_is_not_late(stage: Stage) -> None:
    stage.enrol_signer("maintainer", MAINTAINER)
    value = claims(stage)
    stage.clock.leap(days=3)
    name = put(stage, value)
    assert snapshot(stage.writer(), name).late
    say_live(stage, name)
    assert snapshot(stage.writer(), name).chosen


def test_what_is_dated_before_a_head_that_does_not_know_it_is_suspect(stage: Stage) -> None:
    stage.enrol_signer("maintainer", MAINTAINER)
    name = put(stage, claims(stage))
    stage.clock.leap(hours=23)
    say_live(stage)
    assert snapshot(stage.writer(), name).chosen
    stage.clock.leap(hours=2)
    say_live(stage)
    assert snapshot(stage.writer(), name).suspect
    assert not snapshot(stage.writer(), name).chosen


def test_who_is_suspect_stays_so_under_a_longer_max_run(stage: Stage) -> None:
    stage.enrol_signer("maintainer", MAINTAINER)
    name = put(stage, claims(stage))
    stage.clock.leap(days=2)
    say_live(stage)
    allow(stage, files=10 * DAY)
    assert snapshot(stage.writer(), name).suspect


def test_as_of_a_head_what_it_did_not_know_does_not_exist(stage: Stage) -> None:
    stage.enrol_signer("maintainer", MAINTAINER)
    known = put(stage, claims(stage))
    head = say_live(stage, known)
    stage.clock.leap(seconds=1)
    put(stage, claims(stage))
    for named in (head, head[-64:], head[-64:-56]):
        assert [point.name for point in read_snapshots(stage.writer().records, "files", as_of=named)] == [
            known
        ]
    assert len(snapshots(stage.writer())) == 2
    with pytest.raises(UsageError, match="there is no head"):
        list(read_snapshots(stage.writer().records, "files", as_of="nonsense"))


def test_parts_come_newest_first_and_from_a_moment_on(stage: Stage) -> None:
    records = stage.writer().records
    moments: list[datetime] = []
    for number in range(3):
        put_part(records, "files", stage.clock(), {"run": str(number)})
        moments.append(stage.clock.now)
        stage.clock.leap(minutes=1)
    stage.store.put(f"{PART}/files/junk", b"", sha256(b""))
    assert [part.value["run"] for part in read_parts(records, "files", None)] == ["2", "1", "0"]
    assert [part.value["run"] for part in read_parts(records, "files", moments[1])] == ["2", "1"]


def test_parts_of_one_second_come_newest_first_and_none_after_a_moment_in_it_is_left_out() -> None:
    stage = make_stage(kind=WholeSeconds)
    records = stage.writer().records
    moments = []
    for number in range(4):
        moments.append(stage.clock())
        put_part(records, "files", stage.clock(), {"run": str(number)})
    assert [part.value["run"] for part in read_parts(records, "files", None)] == ["3", "2", "1", "0"]
    assert [part.value["run"] for part in read_parts(records, "files", moments[2])][:2] == ["3", "2"]


def test_a_snapshot_names_the_one_before_it(stage: Stage) -> None:
    first = back_up(stage.writer(), {"a": b"1"})
    second = back_up(stage.writer(), {"a": b"2"}, first)
    assert (first.previous, second.previous) == (None, first.name)
    assert first.deadline - first.start == timedelta(days=1)
