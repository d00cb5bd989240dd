"""A journal in the repository: who can read it, what survives a kill, and what happens when two write at once."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drtool.errors import Corrupt, Refused, StoreOutage, TemporaryFailure, UsageError
from drtool.operations.cluster_restore.journal import (
    Journal,
    begin_journal,
    known_runs,
    make_run_name,
    open_journal,
    refuse_if_moved,
)
from drtool.operations.cluster_restore.replay import Fence
from drtool.operations.session import Session, Silent, World
from drtool.recovery.journal import END, Entry, fold
from drtool.repository.format.crypto import SigningKey
from drtool.repository.repository import open_with_recovery
from drtool.repository.runs import put_run
from drtool.repository.storage.base import ObjectStore
from drtool.repository.storage.directory import DirectoryStore
from drtool.repository.storage.memory import MemoryStore
from drtool.repository.storage.retry import RetryingStore
from tests.repository.counting import Noting
from tests.repository.stage import Stage, make_stage, put

RUN, PLAN = "20260302t080000z-ab12cd", b'{"a": "plan"}'
SECRET = "a telling content"


class Telling(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Scene:
    stage: Stage
    folder: Path
    telling: Telling = field(default_factory=Telling)

    def session(self, recipient: str = "first", store: ObjectStore | None = None) -> Session:
        stage = self.stage
        operator = SigningKey(stage.created.operator_seed)
        repository = open_with_recovery(store or stage.store, stage.lines[recipient], operator)
        environment = {"XDG_STATE_HOME": str(self.folder)}
        return Session(None, "", repository, World(stage.clock, environment, self.telling))

    @property
    def mirror(self) -> Path:
        return self.folder / "drtool" / "runs" / f"{RUN}.jsonl"

    def names(self) -> list[str]:
        return [each.name for each in self.stage.store.list("runs/") if "-journal-" in each.name]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(make_stage(), tmp_path)


def told(entries: object) -> list[tuple[int, str, str]]:
    assert isinstance(entries, tuple | list)
    return [(each.number, each.step, each.state) for each in entries if isinstance(each, Entry)]


@pytest.mark.parametrize("recipient", ["first", "second"])
def test_every_recipient_reads_what_was_written(scene: Scene, recipient: str) -> None:
    journal = begin_journal(scene.session(), RUN, PLAN)
    journal.write("a", "begun", {})
    journal.write("a", "noted", {"old": SECRET})
    journal.write("a", "done", {"x": 1})

    found, plan = open_journal(scene.session(recipient), RUN)

    assert plan == PLAN
    assert found.entries() == journal.entries()
    assert fold(found.entries()).notes_of("a") == ({"old": SECRET},)


def test_who_holds_only_the_list_key_sees_steps_and_no_detail(scene: Scene) -> None:
    begin_journal(scene.session(), RUN, PLAN).write("a", "noted", {"old": SECRET})
    [_, found] = _values(scene)

    assert (found["run"], found["number"], found["step"], found["state"]) == (RUN, 2, "a", "noted")
    assert SECRET not in json.dumps(found)


def _values(scene: Scene) -> list[dict[str, object]]:
    from drtool.repository.records import Record
    from drtool.repository.runs import read_journals

    return [each.value for each in read_journals(scene.stage.writer().records) if isinstance(each, Record)]


def test_a_detail_cannot_be_shown_as_that_of_another_entry(scene: Scene) -> None:
    journal = begin_journal(scene.session(), RUN, PLAN)
    journal.write("a", "noted", {"old": SECRET})
    value = _values(scene)[1]
    put_run(scene.session().repository.records, "journal", scene.stage.clock(), {**value, "number": 3})

    with pytest.raises(Corrupt):
        open_journal(scene.session(), RUN)


def test_entries_of_many_threads_have_consecutive_numbers(scene: Scene) -> None:
    journal = begin_journal(scene.session(), RUN, PLAN)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.write(f"s{n}", "begun", {}), range(40)))

    found, _ = open_journal(scene.session(), RUN)
    assert [each.number for each in found.entries()] == list(range(1, 42))


def test_who_must_not_write_any_more_adds_nothing(scene: Scene) -> None:
    def refuse() -> None:
        raise TemporaryFailure("the Lease is lost", hint="Resume.")

    fence = Fence()
    journal = begin_journal(scene.session().fenced(fence), RUN, PLAN)
    journal.write("a", "begun", {})
    fence.assure = refuse
    with pytest.raises(TemporaryFailure, match="the Lease is lost"):
        journal.write("a", "done", {})

    found, _ = open_journal(scene.session(), RUN)
    assert told(found.entries()) == [(1, "plan", "noted"), (2, "a", "begun")]


def test_who_loses_the_right_to_write_while_the_store_is_away_adds_nothing_once_it_is_back(
    scene: Scene,
) -> None:
    def lose(_seconds: float) -> None:
        store.fail, fence.assure = 0, refuse

    def refuse() -> None:
        raise TemporaryFailure("the Lease is lost", hint="Resume.")

    fence, store = Fence(), Ambiguous(scene.stage.clock)
    store._objects = scene.stage.store._objects
    patient = RetryingStore(store, deadline_s=300, sleep=lose)
    journal = begin_journal(scene.session(store=patient).fenced(fence), RUN, PLAN)
    store.fail = 1
    with pytest.raises(TemporaryFailure, match="the Lease is lost"):
        journal.write("a", "begun", {})

    assert told(open_journal(scene.session(), RUN)[0].entries()) == [(1, "plan", "noted")]


def test_a_journal_that_is_gone_on_with_counts_on(scene: Scene) -> None:
    begin_journal(scene.session(), RUN, PLAN).write("a", "begun", {})
    open_journal(scene.session(), RUN)[0].write("a", "done", {})

    found, _ = open_journal(scene.session(), RUN)
    assert told(found.entries()) == [(1, "plan", "noted"), (2, "a", "begun"), (3, "a", "done")]


def test_an_entry_that_is_missing_is_corrupt(scene: Scene) -> None:
    journal = begin_journal(scene.session(), RUN, PLAN)
    journal.write("a", "begun", {})
    journal.write("a", "done", {})
    name = scene.names()[1]
    for version in list(scene.stage.store.versions(name)):
        scene.stage.store.delete(name, version.version)

    with pytest.raises(Corrupt, match="entry 2 of the journal is missing"):
        open_journal(scene.session(), RUN)


def test_an_unknown_run_is_told_with_those_that_are_known(scene: Scene) -> None:
    begin_journal(scene.session(), RUN, PLAN)

    with pytest.raises(UsageError) as caught:
        open_journal(scene.session(), "other")

    assert caught.value.hint == f"It has: {RUN}."


def test_runs_are_known_with_how_far_they_came(scene: Scene) -> None:
    over = begin_journal(scene.session(), RUN, PLAN)
    over.write("a", "done", {})
    over.write(END, "done", {})
    begin_journal(scene.session(), "second", PLAN).write("a", "begun", {})

    first, second = known_runs(scene.session())
    assert (first.run, first.by, first.is_over) == (RUN, "operator-1", True)
    assert (second.run, second.is_over) == ("second", False)


def test_only_the_days_since_a_run_was_made_are_listed_and_its_entries_are_read_some_at_once(
    scene: Scene,
) -> None:
    begin_journal(scene.session(), "20260302t080000z-000000", PLAN)
    scene.stage.clock.leap(days=100)
    run = make_run_name(scene.stage.clock(), bytes(3))
    journal = begin_journal(scene.session(), run, PLAN)
    for number in range(7):
        journal.write(f"s{number}", "begun", {})
    together = threading.Barrier(8)

    def wait(verb: str, name: str) -> None:
        if verb == "get" and name.startswith("runs/"):
            together.wait(20)

    store = Noting(scene.stage.store, wait)

    assert len(open_journal(scene.session(store=store), run)[0].entries()) == 8
    assert "runs/" not in {*store.of("list"), *store.of("versions")}
    assert [each.run for each in known_runs(scene.session(), scene.stage.clock())] == [run]


@pytest.mark.parametrize("ahead", [0, 1, 30])
def test_a_run_is_found_though_the_clock_that_named_it_was_ahead(scene: Scene, ahead: int) -> None:
    run = make_run_name(scene.stage.clock() + timedelta(days=ahead), bytes(3))
    begin_journal(scene.session(), run, PLAN)
    scene.stage.clock.leap(days=ahead)  # and its last entries are dated since
    open_journal(scene.session(), run)[0].write("a", "begun", {})

    assert len(open_journal(scene.session(), run)[0].entries()) == 2


def test_what_no_operator_signed_and_what_is_junk_stops_nobody(scene: Scene) -> None:
    """Whoever took over the cluster holds a writer's keys, and may put run records."""
    journal = begin_journal(scene.session(), RUN, PLAN)
    put_run(scene.stage.writer().records, "journal", scene.stage.clock(), {**_values(scene)[0], "number": 2})
    put(scene.stage.store, f"runs/20260302/20260302T090000.000000Z-journal-{'ab' * 32}", b"junk")

    found, _ = open_journal(scene.session(), RUN)

    assert found.entries() == journal.entries()
    assert any("does not count" in each for each in scene.telling.notes)


def test_two_who_write_the_same_number_are_seen(scene: Scene) -> None:
    begin_journal(scene.session(), RUN, PLAN)
    first, second = (open_journal(scene.session(), RUN)[0] for _ in range(2))
    first.write("a", "begun", {})
    second.write("b", "begun", {})

    with pytest.raises(Corrupt, match=r"entry 2 of run .* twice, by operator-1 at .* and by operator-1 at"):
        open_journal(scene.session(), RUN)


def test_who_waited_while_another_went_on_is_refused(scene: Scene) -> None:
    begin_journal(scene.session(), RUN, PLAN)
    first, second = (open_journal(scene.session(), RUN)[0] for _ in range(2))
    refuse_if_moved(scene.session(), RUN, second)
    first.write("a", "begun", {})

    with pytest.raises(Refused, match="meanwhile"):
        refuse_if_moved(scene.session(), RUN, second)


class Ambiguous(MemoryStore):
    """Fails a PUT as often as told, before or after the object is there."""

    fail: int = 0
    is_kept: bool = False

    def put(self, name: str, value: bytes | bytearray | memoryview, sha256: bytes) -> None:
        if self.fail:
            self.fail -= 1
            if self.is_kept:
                super().put(name, value, sha256)
            raise StoreOutage("the store is away")
        super().put(name, value, sha256)


@pytest.mark.parametrize("is_kept", [False, True])
def test_an_entry_whose_put_failed_is_there_once_whether_or_not_it_was_kept(
    scene: Scene,
    *,
    is_kept: bool,
) -> None:
    store = Ambiguous(scene.stage.clock)
    store._objects = scene.stage.store._objects
    journal = begin_journal(scene.session(store=store), RUN, PLAN)
    store.fail, store.is_kept = 2, is_kept
    for step in ("a", "b"):
        with pytest.raises(StoreOutage):
            journal.write(step, "begun", {})
    journal.write("c", "begun", {})

    found, _ = open_journal(scene.session(), RUN)
    assert told(found.entries()) == [(1, "plan", "noted"), (2, "a", "begun"), (3, "c", "begun")]


def test_an_entry_that_came_there_although_we_were_told_otherwise_is_read_by_who_goes_on(
    scene: Scene,
) -> None:
    store = Ambiguous(scene.stage.clock)
    store._objects = scene.stage.store._objects
    journal = begin_journal(scene.session(store=store), RUN, PLAN)
    store.fail, store.is_kept = 1, True
    with pytest.raises(StoreOutage):
        journal.write("a", "done", {})

    found, _ = open_journal(scene.session(), RUN)
    found.write("b", "begun", {})
    assert told(open_journal(scene.session(), RUN)[0].entries())[1:] == [(2, "a", "done"), (3, "b", "begun")]


def test_the_copy_on_this_machine_is_ours_alone_and_sealed(scene: Scene) -> None:
    begin_journal(scene.session(), RUN, PLAN).write("a", "noted", {"old": SECRET})

    lines = [json.loads(line) for line in scene.mirror.read_text().splitlines()]
    assert [(line["number"], line["step"]) for line in lines] == [(1, "plan"), (2, "a")]
    assert SECRET not in scene.mirror.read_text()
    assert (scene.mirror.stat().st_mode & 0o777, scene.mirror.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_copy_that_cannot_be_kept_is_told_once_and_stops_nothing(scene: Scene) -> None:
    (scene.folder / "drtool").write_text("in the way")
    journal = begin_journal(scene.session(), RUN, PLAN)
    journal.write("a", "begun", {})

    assert len([each for each in scene.telling.notes if "not copied" in each]) == 1
    assert len(open_journal(scene.session(), RUN)[0].entries()) == 2


def test_without_a_home_there_is_no_copy(scene: Scene) -> None:
    session = scene.session()
    world = World(scene.stage.clock, {}, scene.telling)
    begin_journal(Session(None, "", session.repository, world), RUN, PLAN)

    assert not scene.mirror.exists()


def test_details_of_megabytes_are_kept(scene: Scene) -> None:
    large = {"objects": ["x" * 1000 + str(number) for number in range(5000)]}
    begin_journal(scene.session(), RUN, PLAN).write("a", "noted", large)

    assert open_journal(scene.session(), RUN)[0].entries()[1].detail == large
    assert sum(each.size for each in scene.stage.store.list("runs/")) < 1_000_000


def test_a_run_is_named_by_its_time() -> None:
    name = make_run_name(datetime(2026, 11, 29, 13, 15, tzinfo=UTC), bytes.fromhex("ab12cd"))
    assert name == "20261129t131500z-ab12cd"


KILLED = """
import sys
from tests.operations.cluster_restore.test_journal import killed
killed(sys.argv[1], sys.argv[2], sys.argv[3])
"""


def directory_session(folder: str, line: str, operator: str) -> Session:
    from drtool.repository.kit import parse_recovery

    def clock() -> datetime:
        return datetime.now(UTC)

    store = DirectoryStore(Path(folder), clock)
    repository = open_with_recovery(store, parse_recovery(line), SigningKey(bytes.fromhex(operator)))
    return Session(None, "", repository, World(clock, {}, Silent()))


def run_steps(journal: Journal, act: Callable[[str], None], done: dict[str, dict[str, object]]) -> None:
    import threading

    from drtool.recovery.runner import Runner
    from drtool.recovery.steps import Step

    def action(step: Step) -> dict[str, object]:
        act(step.id)
        return {"of": step.id}

    steps = [Step("a", "apply", "a"), Step("b", "apply", "b", ("a",)), Step("c", "apply", "c", ("b",))]
    Runner({"apply": action}, journal, threading.Event()).run(steps, done)


def killed(folder: str, line: str, operator: str) -> None:
    """Die in the middle of step b, as by a kill that nobody can catch."""

    def act(step: str) -> None:
        if step == "b":
            os.kill(os.getpid(), signal.SIGKILL)

    run_steps(begin_journal(directory_session(folder, line, operator), RUN, PLAN), act, {})


def test_a_run_that_was_killed_within_a_step_goes_on_with_it(tmp_path: Path) -> None:
    from drtool.repository.repository import Request, init_repository
    from tests.repository.stage import LIMITS

    store = DirectoryStore(tmp_path, lambda: datetime.now(UTC))
    created = init_repository(store, Request("forum", [("first", None)], LIMITS))
    keys = (str(tmp_path), created.recovery["first"].text(), created.operator_seed.hex())
    ended = subprocess.run([sys.executable, "-c", KILLED, *keys], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL

    journal, plan = open_journal(directory_session(*keys), RUN)
    known = fold(journal.entries())
    assert (plan, list(known.done), known.unfinished) == (PLAN, ["a"], ("b",))
    acted: list[str] = []
    run_steps(journal, acted.append, dict(known.done))

    assert acted == ["b", "c"]
    again, _ = open_journal(directory_session(*keys), RUN)
    assert list(fold(again.entries()).done) == ["a", "b", "c"]
