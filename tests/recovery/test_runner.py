"""Steps in their order, side by side where they may be, journaled; and what happens when one does not end well."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from drtool.errors import Corrupt, DrtoolError, NotProven, Refused, StoreOutage, TemporaryFailure, WrongKey
from drtool.recovery.journal import Entry, State
from drtool.recovery.manifests.objects import Json
from drtool.recovery.runner import Runner
from drtool.recovery.steps import Step, StepKind

LONG_S = 20  # how long a test waits for what must come


@dataclass
class Sheet:
    """A journal in a list. refuse says of an entry why it cannot be kept."""

    kept: list[Entry] = field(default_factory=list)
    refuse: Callable[[str, State], bool] = lambda _step, _state: False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, step: str, state: State, detail: Json) -> None:
        if self.refuse(step, state):
            raise StoreOutage("the store is away")
        with self.lock:
            self.kept.append(Entry(len(self.kept) + 1, datetime.now(UTC), step, state, detail))

    def entries(self) -> Sequence[Entry]:
        return tuple(self.kept)

    @property
    def told(self) -> list[str]:
        return [f"{entry.step} {entry.state}" for entry in self.kept]


def step(name: str, *needs: str, kind: StepKind = "apply") -> Step:
    return Step(name, kind, name, needs)


def chain(*names: str) -> list[Step]:
    return [step(name, *names[max(0, at - 1) : at]) for at, name in enumerate(names)]


def runner(
    act: Callable[[Step], Json], sheet: Sheet | None = None, ending: threading.Event | None = None
) -> Runner:
    actions: dict[StepKind, Callable[[Step], Json]] = {"apply": act, "restore": act}
    return Runner(actions, sheet or Sheet(), ending or threading.Event(), way_on="Go on with `--resume`.")


def result_of(each: Step) -> Json:
    return {"of": each.id}


def failing(name: str) -> Callable[[Step], Json]:
    def act(each: Step) -> Json:
        if each.id == name:
            raise NotProven(f"{each.what} is wrong", hint="Look at it.")
        return result_of(each)

    return act


def test_each_step_is_journaled_before_and_after_and_its_result_is_kept() -> None:
    sheet, done = Sheet(), dict[str, Json]()

    runner(result_of, sheet).run(chain("a", "b"), done)

    assert sheet.told == ["a begun", "a done", "b begun", "b done"]
    assert sheet.kept[1].detail == done["a"] == {"of": "a"}


def test_a_resumed_plan_skips_the_steps_that_are_done() -> None:
    sheet, done = Sheet(), {"a": {"of": "a before"}, "b": dict[str, str]()}

    runner(result_of, sheet).run(chain("a", "b", "c"), done)

    assert sheet.told == ["c begun", "c done"]
    assert done["a"] == {"of": "a before"}


def test_what_does_not_need_each_other_is_done_side_by_side_but_four_at_most() -> None:
    steps = [step("first"), *(step(f"v{number}", "first") for number in range(6)), step("last", "v0", "v5")]
    four, at_once, most, lock = threading.Barrier(4), [0], [0], threading.Lock()

    def act(each: Step) -> Json:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        if each.id in ("v0", "v1", "v2", "v3"):
            four.wait(LONG_S)  # none of the four ends before all are under way
        with lock:
            at_once[0] -= 1
        return {}

    sheet = Sheet()
    runner(act, sheet).run(steps, {})

    assert most == [4]
    begun = [entry.step for entry in sheet.kept if entry.state == "begun"]
    assert set(begun[1:5]) == {"v0", "v1", "v2", "v3"}
    assert (begun[0], begun[-1]) == ("first", "last")
    assert sheet.told.index("last begun") > max(sheet.told.index("v0 done"), sheet.told.index("v5 done"))


def test_of_those_that_may_begin_the_first_of_the_plan_does() -> None:
    """Three threads are held, so that the rest goes through one, in order."""
    release, held = threading.Event(), threading.Semaphore(0)
    order: list[str] = []

    def act(each: Step) -> Json:
        if each.id.startswith("held"):
            held.release()
            assert release.wait(LONG_S)
        else:
            order.append(each.id)
            if each.id == "z":
                release.set()
        return {}

    runner(act).run([*(step(f"held {n}") for n in range(3)), step("c"), step("a"), step("b"), step("z")], {})

    assert order == ["c", "a", "b", "z"]


def test_the_first_error_is_told_with_its_step_and_the_way_on_and_nothing_begins_after_it() -> None:
    sheet, done = Sheet(), dict[str, Json]()

    with pytest.raises(NotProven) as caught:
        runner(failing("b"), sheet).run(chain("a", "b", "c"), done)

    assert caught.value.message == "step b: b is wrong"
    assert caught.value.hint == "Look at it. Go on with `--resume`."
    assert sheet.told == ["a begun", "a done", "b begun", "b failed"]
    assert sheet.kept[-1].detail == {"error": "b is wrong", "hint": "Look at it.", "exit": 4}
    assert done.keys() == {"a"}


@pytest.mark.parametrize("refusal", [Refused, WrongKey])
def test_a_step_that_refuses_has_a_run_fail_that_touched_something(refusal: type[Refused]) -> None:
    def act(_step: Step) -> Json:
        raise refusal("it came to be since", hint="See who made it.")

    with pytest.raises(DrtoolError, match="step a: it came to be since") as caught:
        runner(act).run(chain("a"), {})

    assert caught.value.exit_code == 1
    assert caught.value.hint == "See who made it. Go on with `--resume`."


def test_what_is_under_way_when_another_fails_is_finished_and_kept() -> None:
    sheet, done, has_failed = Sheet(), dict[str, Json](), threading.Event()

    def act(each: Step) -> Json:
        if each.id == "slow":
            assert has_failed.wait(LONG_S)
            return {"of": "slow"}
        raise NotProven("wrong")

    with pytest.raises(NotProven, match="step quick: wrong"):
        Runner(
            {"apply": act},
            sheet,
            threading.Event(),
            lambda each, state: has_failed.set() if state == "failed" else None,
        ).run([step("slow"), step("quick"), step("next", "slow")], done)

    assert done == {"slow": {"of": "slow"}}
    assert "next begun" not in sheet.told


def test_of_several_errors_the_first_is_raised() -> None:
    first_failed = threading.Event()

    def act(each: Step) -> Json:
        if each.id == "second":
            assert first_failed.wait(LONG_S)
        raise NotProven(each.id)

    def tell(each: Step, state: State) -> None:
        if (each.id, state) == ("first", "failed"):
            threading.Timer(0.05, first_failed.set).start()

    with pytest.raises(NotProven, match="step first"):
        Runner({"apply": act}, Sheet(), threading.Event(), tell).run([step("second"), step("first")], {})


def test_once_asked_to_end_nothing_begins_and_nobody_takes_it_for_done() -> None:
    ending, sheet = threading.Event(), Sheet()

    def act(each: Step) -> Json:
        ending.set()
        return {}

    with pytest.raises(TemporaryFailure, match="ended before step b") as caught:
        runner(act, sheet, ending).run(chain("a", "b"), {})

    assert caught.value.hint == "Go on with `--resume`."
    assert sheet.told == ["a begun", "a done"]


def test_a_plan_whose_last_step_was_done_when_it_was_asked_to_end_is_done() -> None:
    ending = threading.Event()

    def act(each: Step) -> Json:
        ending.set()
        return {}

    runner(act, ending=ending).run(chain("a"), {})


def test_a_step_whose_beginning_cannot_be_journaled_is_not_done() -> None:
    sheet, acted = Sheet(refuse=lambda name, state: (name, state) == ("b", "begun")), list[str]()

    def act(each: Step) -> Json:
        acted.append(each.id)
        return {}

    with pytest.raises(StoreOutage, match="step b: the store is away"):
        runner(act, sheet).run(chain("a", "b", "c"), {})

    assert acted == ["a"]


def test_a_step_whose_end_cannot_be_journaled_is_not_taken_for_done() -> None:
    sheet, done = Sheet(refuse=lambda _name, state: state == "done"), dict[str, Json]()

    with pytest.raises(StoreOutage):
        runner(result_of, sheet).run(chain("a", "b"), done)

    assert sheet.told == ["a begun"]
    assert done == {}


def test_what_a_step_failed_with_is_told_though_it_cannot_be_journaled() -> None:
    sheet = Sheet(refuse=lambda _name, state: state == "failed")

    with pytest.raises(NotProven, match="step a: a is wrong"):
        runner(failing("a"), sheet).run(chain("a"), {})


def test_an_error_that_nobody_foresaw_is_journaled_and_goes_on_as_it_is() -> None:
    sheet = Sheet()

    with pytest.raises(ZeroDivisionError):
        runner(lambda _step: {"is": 1 // 0}, sheet).run(chain("a", "b"), {})

    assert sheet.told == ["a begun", "a failed"]
    assert sheet.kept[-1].detail["error"].startswith("ZeroDivisionError: ")


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([step("a"), step("b", kind="hook")], Refused),
        ([step("a"), step("b", "c"), step("c")], Corrupt),
        ([step("a", "a")], Corrupt),
    ],
)
def test_a_plan_that_cannot_be_done_whole_is_refused_before_anything_begins(
    steps: list[Step], error: type[Exception]
) -> None:
    sheet = Sheet()

    with pytest.raises(error):
        runner(result_of, sheet).run(steps, {})

    assert sheet.told == []


def test_ctrl_c_waits_for_what_is_under_way_and_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal handler of the command line sets ending, and raises where the main thread waits."""
    ending, sheet = threading.Event(), Sheet()

    def act(each: Step) -> Json:
        assert ending.wait(LONG_S)
        return result_of(each)

    def interrupted(*_arguments: object, **_options: object) -> None:
        ending.set()
        raise KeyboardInterrupt

    monkeypatch.setattr("drtool.recovery.runner.wait", interrupted)
    done = dict[str, Json]()
    with pytest.raises(KeyboardInterrupt):
        runner(act, sheet, ending).run(chain("a", "b"), done)

    assert sheet.told == ["a begun", "a done"]
    assert done.keys() == {"a"}


def test_two_runners_of_two_plans_do_not_meet() -> None:
    with ThreadPoolExecutor(2) as pool:
        found = [dict[str, Json](), dict[str, Json]()]
        for each in [pool.submit(runner(result_of).run, chain("a", "b", "c"), done) for done in found]:
            each.result(LONG_S)

    assert found[0].keys() == found[1].keys() == {"a", "b", "c"}
