"""What entries tell whoever goes on, undoes, or says how long it took."""

from datetime import UTC, datetime, timedelta

import pytest

from drtool.errors import Corrupt
from drtool.recovery.journal import ABORT, END, PLAN, Entry, State, fold, phases_spent
from drtool.recovery.steps import Phase, Step, StepKind

BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
Line = tuple[str, State] | tuple[str, State, str]


def entries(*lines: Line) -> list[Entry]:
    """Return lines as entries, a minute apart."""
    return [
        Entry(
            number,
            BEGIN + timedelta(minutes=number),
            line[0],
            line[1],
            {"is": line[2]} if len(line) == 3 else {},
        )
        for number, line in enumerate(lines, 1)
    ]


STOPPED = entries(
    (PLAN, "noted", "the plan"),
    ("a", "begun"),
    ("a", "noted", "old"),
    ("b", "begun"),
    ("a", "noted", "older"),
    ("a", "done", "A"),
    ("c", "begun"),
    ("c", "noted", "c's"),
    ("c", "failed", "why"),
    ("b", "noted", "b's"),
)


def test_what_is_done_and_what_was_begun_is_known() -> None:
    known = fold(STOPPED)

    assert known.done == {"a": {"is": "A"}}
    assert known.unfinished == ("b", "c")
    assert known.failed == {"c": {"is": "why"}}
    assert known.was_begun("a")
    assert known.was_begun("c")
    assert not known.was_begun("d")
    assert (known.is_ended, known.is_aborting, known.is_aborted) == (False, False, False)


def test_notes_come_in_order_and_by_step_and_the_plan_is_none() -> None:
    known = fold(STOPPED)

    assert [(entry.step, entry.detail["is"]) for entry in known.notes] == [
        ("a", "old"),
        ("a", "older"),
        ("c", "c's"),
        ("b", "b's"),
    ]
    assert known.notes_of("a") == ({"is": "old"}, {"is": "older"})


def test_a_step_that_was_begun_again_is_no_failure_and_took_its_last_try() -> None:
    known = fold(entries(("a", "begun"), ("a", "failed"), ("a", "begun"), ("b", "begun"), ("a", "done")))

    assert known.failed == {}
    assert known.unfinished == ("b",)
    assert known.spent == {"a": timedelta(minutes=2)}


def test_a_failed_step_that_was_done_later_is_done() -> None:
    known = fold(entries(("a", "begun"), ("a", "done"), ("a", "failed")))

    assert (known.failed, known.unfinished) == ({}, ())


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([(END, "done")], (True, False, False)),
        ([(ABORT, "begun")], (False, True, False)),
        ([(ABORT, "begun"), (ABORT, "done")], (False, True, True)),
    ],
)
def test_how_a_run_ended_is_known(lines: list[Line], told: tuple[bool, bool, bool]) -> None:
    known = fold([*entries(("a", "begun"), ("a", "done"), *lines)])

    assert (known.is_ended, known.is_aborting, known.is_aborted) == told
    assert known.done == {"a": {}}


def test_traffic_may_have_been_let_in_once_a_start_was_begun() -> None:
    steps = [Step("a", "apply", "a"), Step("start tier 1", "start", "tier 1")]

    assert not fold(entries(("a", "begun"))).is_past_switch(steps)
    assert fold(entries(("start tier 1", "begun"))).is_past_switch(steps)
    assert fold(entries(("start tier 1", "begun"), ("start tier 1", "done"))).is_past_switch(steps)


def test_what_a_switch_stops_is_only_to_be_started_again_until_it_noted_what_it_switches() -> None:
    steps = [Step("switch", "switch", "volumes")]

    assert not fold(entries(("switch", "begun"))).is_past_switch(steps)
    assert fold(entries(("switch", "begun"), ("switch", "noted", "media"))).is_past_switch(steps)


@pytest.mark.parametrize("kind", ["resume", "enrol"])
def test_nothing_undoes_a_cron_job_that_ran_or_a_writer_that_ended(kind: StepKind) -> None:
    assert fold(entries(("a", "begun"))).is_past_switch([Step("a", kind, "a")])


@pytest.mark.parametrize("missing", range(len(STOPPED) - 1))
def test_an_entry_that_is_missing_is_corrupt(missing: int) -> None:
    with pytest.raises(Corrupt, match=f"entry {missing + 1} of the journal is missing"):
        fold(STOPPED[:missing] + STOPPED[missing + 1 :])


def test_entries_out_of_order_are_corrupt() -> None:
    with pytest.raises(Corrupt):
        fold([STOPPED[0], STOPPED[2], STOPPED[1]])


def test_an_empty_journal_tells_nothing() -> None:
    known = fold([])

    assert (known.done, known.unfinished, known.notes) == ({}, (), ())


def test_a_phase_took_from_its_first_beginning_to_its_last_end() -> None:
    phases = [
        Phase("infrastructure", (Step("a", "apply", "a"), Step("b", "apply", "b"))),
        Phase("data", (Step("c", "restore", "c"), Step("d", "restore", "d"))),
        Phase("testing"),
    ]
    lines = entries(
        ("a", "begun"),
        ("a", "done"),
        ("b", "begun"),
        ("b", "failed"),
        ("b", "begun"),
        ("b", "done"),
        ("c", "done"),
    )

    assert phases_spent(lines, phases) == {"infrastructure": timedelta(minutes=5)}


def test_an_entry_shows_no_detail_when_it_is_printed() -> None:
    assert "secret" not in repr(entries(("a", "noted", "secret"))[0])
    assert "secret" not in repr(
        fold(entries(("a", "begun"), ("a", "done", "secret"), ("b", "failed", "secret")))
    )
