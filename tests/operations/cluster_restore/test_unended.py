"""Restores that were begun and have not ended are told, whoever asks, at the price of two entries each."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from drtool.operations.cluster_restore.journal import Journal, begin_journal
from drtool.operations.cluster_restore.unended import AT_WORK, stopped_runs, unended_runs
from drtool.operations.session import Session, Silent, World
from drtool.operations.status import run_status
from drtool.policy.load import parse_policy
from drtool.recovery.journal import ABORT, END
from drtool.repository.format.crypto import SigningKey
from drtool.repository.repository import open_with_recovery
from drtool.repository.runs import put_run
from drtool.repository.storage.base import ObjectStore
from tests.repository.counting import Noting
from tests.repository.stage import Stage, make_stage, put

STEPS = 30
POLICY = """\
version: 1
name: shop
repository: {url: "file:///x"}
objectives: {rpo: 15m, rto: 1h}
volumes: [{name: files, source: files, path: /x}]
"""


@dataclass
class Scene:
    stage: Stage

    def session(self, store: ObjectStore | None = None) -> Session:
        stage = self.stage
        operator = SigningKey(stage.created.operator_seed)
        repository = open_with_recovery(store or stage.store, stage.lines["first"], operator)
        world = World(stage.clock, {}, Silent())
        return Session(parse_policy(POLICY, "here"), "", repository, world)

    def begun(self, run: str, steps: int = STEPS) -> Journal:
        journal = begin_journal(self.session(), run, b"{}")
        for number in range(steps):
            journal.write(f"step {number}", "done", {})
        return journal

    def unended(self, days: int = 400) -> list[str]:
        found = unended_runs(self.session(), self.stage.clock() - timedelta(days=days))
        return [each.run for each in found]


@pytest.fixture
def scene() -> Scene:
    return Scene(make_stage())


def test_what_ended_or_was_undone_is_not_told_and_what_did_not_is_for_as_long_as_is_asked(
    scene: Scene,
) -> None:
    began = scene.stage.clock()
    scene.begun("over").write(END, "done", {})
    scene.begun("killed")
    scene.begun("undone").write(ABORT, "done", {})
    scene.begun("undone-in-part").write(ABORT, "begun", {})
    scene.stage.clock.leap(days=300)

    assert scene.unended() == ["killed", "undone-in-part"]
    assert scene.unended(200) == []
    [killed, _] = unended_runs(scene.session(), began)
    assert killed.by == "operator-1"
    assert began <= killed.begun < killed.touched < began + timedelta(days=1)


def test_an_end_is_known_by_two_entries_of_a_run_however_long_it_was(scene: Scene) -> None:
    for number in range(4):
        scene.begun(f"run-{number}").write(END, "done", {})
    scene.begun("killed")
    store = Noting(scene.stage.store)
    session = scene.session(store)
    store.calls.clear()
    assert [each.run for each in unended_runs(session, scene.stage.clock() - timedelta(days=30))] == [
        "killed"
    ]
    assert len(store.of("get")) == 2 * 5


def test_runs_that_were_at_work_at_once_and_junk_between_their_entries_hide_nothing(scene: Scene) -> None:
    first, second = scene.begun("first", 0), scene.begun("second", 0)
    put(
        scene.stage.store,
        f"runs/{scene.stage.clock():%Y%m%d}/{scene.stage.clock():%Y%m%dT%H%M%SZ}-journal-x",
        b"x",
    )
    theirs = {"run": "forged", "number": 1, "step": "plan", "state": "noted", "time": "x", "detail": ""}
    put_run(scene.stage.writer().records, "journal", scene.stage.clock(), theirs)
    for _ in range(3):
        first.write("a", "done", {})
        second.write("a", "done", {})
    second.write(END, "done", {})
    assert scene.unended() == ["first"]
    first.write(END, "done", {})
    assert scene.unended() == []


@pytest.mark.parametrize("at_begin", [False, True])
def test_an_end_counts_that_the_clock_dated_before_what_was_written_before_it(
    scene: Scene, *, at_begin: bool
) -> None:
    scene.begun("another", 3).write(END, "done", {})
    scene.stage.clock.leap(seconds=60)
    journal = begin_journal(scene.session(), "over", b"{}")
    if at_begin:  # so that the first entry lies where the number of the newest one would have it
        scene.stage.clock.leap(seconds=-3)
    for number in range(STEPS):
        journal.write(f"step {number}", "done", {})
        scene.stage.clock.leap(seconds=10)
    scene.stage.clock.leap(seconds=-11)
    journal.write(END, "done", {})
    scene.stage.clock.leap(seconds=60)
    scene.begun("killed", 2)
    assert scene.unended() == ["killed"]


def test_a_run_is_known_over_midnight_and_its_first_word_is_of_the_day_before(scene: Scene) -> None:
    began = scene.stage.clock()
    over, killed = scene.begun("over"), scene.begun("killed")
    scene.stage.clock.leap(days=1)
    for each in (over, killed):
        each.write("the next day", "done", {})
    over.write(END, "done", {})
    [found] = unended_runs(scene.session(), began - timedelta(days=2))
    assert (found.run, found.begun - began < timedelta(hours=1)) == ("killed", True)
    assert found.touched - began >= timedelta(days=1)


def test_status_tells_of_a_run_that_nobody_seems_to_be_at_for_months(scene: Scene) -> None:
    def warned() -> list[str]:
        return [each for each in run_status(scene.session()).warnings if "restore killed" in each]

    def leap_to(moment: datetime) -> None:
        scene.stage.clock.leap(seconds=(moment - scene.stage.clock()).total_seconds())

    scene.begun("killed")
    ended = scene.stage.clock()
    assert warned() == []
    leap_to(ended + AT_WORK + timedelta(minutes=1))
    [told] = warned()
    assert "begun by operator-1 at" in told
    assert "if nobody is at it, --resume killed goes on with it, and --abort killed undoes it" in told
    leap_to(ended + timedelta(days=80))
    assert len(warned()) == 1
    leap_to(ended + timedelta(days=120))
    assert warned() == []
    assert [*stopped_runs(scene.session(), ended)] == []  # somebody seemed to be at it then


def test_status_lists_what_ran_once(scene: Scene) -> None:
    scene.begun("killed")
    scene.stage.clock.leap(days=2)
    store = Noting(scene.stage.store)
    session = scene.session(store)
    store.calls.clear()
    assert any("restore killed" in each for each in run_status(session).warnings)
    months = [each for each in store.of("versions") if each.startswith("runs/")]
    assert len(months) > 12
    assert sorted(months) == sorted(set(months))
