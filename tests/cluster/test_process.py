"""A program of the lab can be killed, frozen and found again by whoever knows its name."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cluster.process import LabFailed, Process, run, wait_until

COUNT = 'i=0; while true; do i=$((i + 1)); echo "$i" >"$0.new" && mv "$0.new" "$0"; sleep 0.01; done'
SOON_S = 10


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Process]:
    """A program that counts in the file `counted`."""
    process = Process("counter", ["sh", "-c", COUNT, tmp_path / "counted"], tmp_path)
    process.start()
    wait_until((tmp_path / "counted").exists, "it counts", deadline_s=SOON_S, process=process)
    yield process
    process.kill()


def test_a_second_object_of_that_name_is_the_same_program(counter: Process, tmp_path: Path) -> None:
    same = Process("counter", [], tmp_path)

    assert same.pid == counter.pid
    same.kill()
    assert not counter.alive


def test_what_runs_is_not_started_twice(counter: Process) -> None:
    pid = counter.pid

    counter.start()

    assert counter.pid == pid


def test_a_killed_program_is_started_again(counter: Process) -> None:
    pid = counter.pid
    counter.kill()

    counter.start()

    assert counter.alive
    assert counter.pid != pid


def test_another_process_of_that_number_is_not_taken_for_the_program(
    counter: Process, tmp_path: Path
) -> None:
    record = tmp_path / "pids" / "counter"
    pid, start = record.read_text().split()
    record.write_text(f"{pid} {int(start) - 1}")

    assert not counter.alive

    record.write_text(f"{pid} {start}")
    assert counter.alive


def test_a_frozen_program_does_nothing_until_it_is_thawed(counter: Process, tmp_path: Path) -> None:
    def counted() -> str:
        return (tmp_path / "counted").read_text()

    def is_stopped() -> bool:
        """Whoever waits in vfork for a child that was stopped before it began is in an uninterruptible sleep."""
        assert counter.pid
        return set(_states(counter.pid)) <= {"T", "D"}

    counter.freeze()
    wait_until(is_stopped, "the kernel has stopped it", deadline_s=SOON_S)
    before = counted()
    assert counted() == before
    counter.thaw()

    wait_until(lambda: counted() != before, "it counts again", deadline_s=SOON_S)


def _states(group: int) -> Iterator[str]:
    """Yield the states of the processes of a group."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, _, of, *_ = stat.read_text().rpartition(")")[2].split()
            if int(of) == group:
                yield state


def test_a_program_that_ends_cleanly_is_not_killed(tmp_path: Path) -> None:
    script = 'trap "echo goodbye; exit" TERM; echo up; while true; do sleep 0.01; done'
    process = Process("polite", ["sh", "-c", script], tmp_path)
    process.start()
    wait_until(lambda: "up" in process.log_tail(), "it is up", deadline_s=SOON_S, process=process)

    process.stop()

    assert process.log_tail() == "up\ngoodbye"
    assert not process.alive


def test_a_program_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    process = Process(
        "stubborn", ["sh", "-c", 'trap "" TERM; echo up; while true; do sleep 0.01; done'], tmp_path
    )
    process.start()
    wait_until(lambda: "up" in process.log_tail(), "it is up", deadline_s=SOON_S, process=process)

    process.stop(deadline_s=0.1)

    assert not process.alive


def test_waiting_for_a_program_that_ends_fails_at_once_with_its_last_words(tmp_path: Path) -> None:
    process = Process("failing", ["sh", "-c", "echo no disk; exit 1"], tmp_path)
    process.start()

    with pytest.raises(LabFailed, match=r"failing does not run.*\nno disk") as failed:
        wait_until(lambda: False, "it answers", deadline_s=600, process=process)

    assert str(process.log) in failed.value.hint


def test_waiting_in_vain_says_for_what(counter: Process) -> None:
    with pytest.raises(LabFailed, match=r"waited 0.1 s in vain until pigs fly"):
        wait_until(lambda: False, "pigs fly", deadline_s=0.1, process=counter)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabFailed, match="cannot start etcd: /nowhere/etcd: No such file"):
        Process("etcd", ["/nowhere/etcd"], tmp_path).start()


def test_a_command_that_fails_says_what_it_said() -> None:
    with pytest.raises(LabFailed, match=r"`sh -c .*` failed: no way"):
        run("sh", "-c", "echo no way >&2; exit 3")


def test_a_command_reads_what_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from a file")

    assert run("cat", given="said") == "said"
    assert run("cat", read=tmp_path / "file") == "from a file"
    assert run("cat") == ""
