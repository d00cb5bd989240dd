"""A restore that does not end by itself: what goes, what stays, and what the next one is told of it."""

import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.cli.exits import Terminate
from drtool.errors import DrtoolError, NotProven, Refused
from drtool.operations.unfinished import Unfinished, Writing, refuse_nameless, refuse_unfinished
from tests.sources.files.trees import open_handles

BEGUN = datetime(2026, 11, 25, 12, tzinfo=UTC)
POINT = "20261125T120000Z-aaaa"


@dataclass
class Restore:
    """A restore of one file into a directory."""

    directory: Path
    point: str = POINT
    said: list[str] = field(default_factory=list)
    undo: Callable[[], None] | None = None
    places: tuple[Path, ...] = ()

    def take_back(self) -> None:
        (self.directory / "data").unlink(missing_ok=True)

    @contextmanager
    def at_work(self) -> Iterator[Unfinished]:
        with Unfinished(self.said.append) as unfinished:
            undo = self.undo or self.take_back
            unfinished.begin(Writing(self.point, self.directory, BEGUN, undo, self.places))
            for each in (self.directory, *self.places):
                each.mkdir(exist_ok=True)
                (each / "data").write_text(self.point)
            yield unfinished

    def fail(self, fault: BaseException, *, ended: bool = False) -> None:
        with suppress(type(fault)), self.at_work() as unfinished:
            if ended:
                unfinished.end()
            raise fault

    def kill(self) -> None:
        """Leave what a restore leaves that was killed: no process lets go of anything by itself then."""
        child = os.fork()
        if not child:
            with self.at_work():
                os._exit(0)
        os.waitpid(child, 0)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


def note(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.drtool-restore")


def refusal(directory: Path) -> Refused:
    with pytest.raises(Refused) as refused:
        refuse_unfinished(directory)
    return refused.value


def do(hint: str) -> None:
    """Do what a hint says: run its statements as they stand there."""
    statements = re.findall("`([^`]+)`", hint)
    assert statements, hint
    for each in statements:
        ran = subprocess.run(["/bin/sh", "-ec", each], check=True, capture_output=True)
        assert ran.stderr == b""


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        (OSError(errno.EIO, "Input/output error"), "failed"),
        (RuntimeError("a bug"), "failed"),
        (DrtoolError("the server does not start"), "failed"),
        (NotProven("a proof failed"), "failed its proofs"),
    ],
)
def test_a_fault_leaves_what_was_restored_and_the_next_one_is_told_how_it_ended(
    directory: Path, fault: Exception, ending: str
) -> None:
    restore = Restore(directory)
    restore.fail(fault)
    assert (directory / "data").read_text() == POINT
    assert restore.said == []
    told = refusal(directory).message
    assert told.startswith(f"{directory} holds a restore of {POINT} that {ending}: begun 2026-11-25")


@pytest.mark.parametrize("told", [KeyboardInterrupt(), Terminate(), SystemExit(1)])
def test_who_is_told_to_end_takes_everything_back(directory: Path, told: BaseException) -> None:
    Restore(directory).fail(told)
    assert list(directory.parent.iterdir()) == []


@pytest.mark.parametrize("told", [KeyboardInterrupt(), Terminate()])
def test_who_is_told_to_end_once_all_is_proven_leaves_it(directory: Path, told: BaseException) -> None:
    Restore(directory).fail(told, ended=True)
    assert (directory / "data").read_text() == POINT
    assert not note(directory).exists()


def test_what_cannot_be_taken_back_is_told_of_and_keeps_its_note(directory: Path) -> None:
    def undo() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "a/file")

    restore = Restore(directory, undo=undo)
    restore.fail(KeyboardInterrupt())
    assert restore.said[-1] == "it cannot be removed: a/file Permission denied"
    assert "that did not end" in refusal(directory).message


def test_a_restore_that_is_refused_leaves_the_note_of_the_one_at_work(directory: Path) -> None:
    first, second = Restore(directory), Restore(directory, "another")
    before = open_handles()
    with first.at_work():
        with pytest.raises(Refused, match=f"another restore is at work in {directory}: of {POINT}, since "):
            second.fail(RuntimeError("it began"))
        assert note(directory).exists()
        assert open_handles() == before + 1
        assert "at work" in refusal(directory).message
    assert (directory / "data").read_text() == POINT
    assert not note(directory).exists()


def test_a_restore_that_is_refused_leaves_the_note_of_one_that_has_not_written_yet(directory: Path) -> None:
    with Unfinished() as first:
        first.begin(Writing(POINT, directory, BEGUN, lambda: None))
        for fault in (RuntimeError("it began"), KeyboardInterrupt()):
            with pytest.raises(
                Refused, match=f"another restore is at work in {directory}: of {POINT}, since "
            ):
                Restore(directory, "another").fail(fault)
        assert note(directory).exists()
        assert "at work" in refusal(directory).message


def test_a_note_that_went_while_it_was_waited_for_is_no_note(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, ends = fcntl.flock, [True]
    directory.mkdir()
    (directory / "data").write_text("whole")
    note(directory).write_text(f'{{"point": "{POINT}", "begun": "then", "places": []}}')

    def slow(handle: int, how: int) -> None:
        lock(handle, how)
        if ends.pop() if ends else False:
            note(directory).unlink()  # as who held it does in the end

    monkeypatch.setattr(fcntl, "flock", slow)
    refuse_unfinished(directory)
    (directory / "data").unlink()
    ends.append(True)
    note(directory).touch()
    with Restore(directory).at_work():
        assert "at work" in refusal(directory).message


def test_a_restore_that_came_in_between_and_was_killed_is_told_by_the_next(directory: Path) -> None:
    Restore(directory).kill()
    with pytest.raises(Refused, match=f"holds a restore of {POINT} that did not end"):
        Restore(directory, "another").fail(RuntimeError("it began"))
    assert POINT in refusal(directory).message


@pytest.mark.parametrize("call", ["write", "ftruncate", "fsync"])
def test_a_full_disk_beside_the_directory_leaves_no_note_and_fails_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = open_handles()
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with Restore(directory).at_work():
            assert not note(directory).exists()
    assert (directory / "data").exists()
    assert open_handles() == before


@pytest.mark.parametrize("fault", [Terminate(), KeyboardInterrupt(), RuntimeError("a bug")])
@pytest.mark.parametrize("call", ["ftruncate", "write", "fsync", "mkdir"])
def test_what_comes_while_a_restore_begins_leaves_no_directory_no_note_and_no_lock(
    directory: Path, monkeypatch: pytest.MonkeyPatch, call: str, fault: BaseException
) -> None:
    """Whichever of the calls it is that is under way then, the first or any later."""
    target, before, calls, done = directory / "new" / "data", open_handles(), getattr(os, call), 0
    directory.mkdir()
    for number in range(1, 9):
        done = 0

        def then(*arguments: object, number: int = number) -> object:
            nonlocal done
            value = calls(*arguments)
            done += 1
            if done == number:
                raise fault
            return value

        with monkeypatch.context() as patched, suppress(type(fault)), Unfinished() as unfinished:
            patched.setattr(os, call, then)
            unfinished.begin(Writing(POINT, target, BEGUN, lambda: None, (directory / "space",)))
        if done < number:  # there is no such call: it has begun, and ended
            break
        assert list(directory.iterdir()) == []
        assert open_handles() == before
    assert 1 < number < 8


@pytest.mark.parametrize("name", ["plain", "v[1]", "two words", "a\nline", "it's", "-rf *", "lost+found"])
def test_the_statement_that_removes_removes_what_was_written_and_nothing_else(
    tmp_path: Path, name: str
) -> None:
    directory = tmp_path / name
    (directory / "lost+found/#1").mkdir(parents=True)
    (directory / "lost+found/#1/data").write_text("found")
    Restore(directory).kill()
    for each in ("-rf", ".hidden", "a\nb", "folder/below/it", "folder/lost+found"):
        (directory / each).mkdir(parents=True)
    do(refusal(directory).hint)
    assert [each.name for each in directory.iterdir()] == ["lost+found"]
    assert (directory / "lost+found/#1/data").read_text() == "found"
    refuse_unfinished(directory)


def test_the_statement_that_removes_enters_no_other_file_system(directory: Path) -> None:
    Restore(directory).kill()
    (directory / "mounted").mkdir()
    statement = re.findall("`([^`]+)`", refusal(directory).hint)[0]
    inside = f'mount -t tmpfs none "$1/mounted" && touch "$1/mounted/precious" && {{ {statement}; ls "$1/mounted"; }}'
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", inside, "sh", directory],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "precious\n", ran.stderr
    assert not (directory / "data").exists()


def test_a_restore_that_was_killed_as_it_began_to_write_is_told_with_what_removes_it(directory: Path) -> None:
    """A new directory and a new one of a tablespace: something is in both, and not a byte of data yet."""
    place = directory.with_name("space") / "new"
    child = os.fork()
    if not child:
        with Unfinished() as unfinished:
            unfinished.begin(Writing(POINT, directory, BEGUN, lambda: None, (place,)))
            for each in (directory, place):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
                (each / "base").mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    refused = refusal(directory)
    assert refused.message.startswith(f"{directory} holds a restore of {POINT} that did not end: begun ")
    do(refused.hint)
    assert [*directory.iterdir(), *place.iterdir()] == []
    refuse_unfinished(directory)


def test_what_a_killed_restore_made_and_did_not_write_into_stops_nobody(directory: Path) -> None:
    child = os.fork()
    if not child:
        with Unfinished() as unfinished:
            unfinished.begin(Writing(POINT, directory, BEGUN, lambda: None))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert list(directory.iterdir()) == []
    refuse_unfinished(directory)


def test_another_directory_of_that_name_is_not_offered_to_be_removed(directory: Path) -> None:
    Restore(directory).kill()
    directory.rename(directory.with_name("away"))
    directory.mkdir()
    (directory / "precious").touch()
    refused = refusal(directory)
    assert f"{directory} is not known to be what it wrote into" in refused.message
    assert f"a restore of {POINT} into {directory} did not end, begun 2026-11-25" in refused.message
    assert "`" not in refused.hint


def test_another_directory_of_a_tablespaces_name_is_not_offered_to_be_removed(directory: Path) -> None:
    place = directory.with_name("space")
    Restore(directory, places=(place,)).kill()
    assert refusal(directory).hint.count("find ") == 2
    place.rename(directory.with_name("away"))
    place.mkdir()
    (place / "precious").touch()
    refused = refusal(directory)
    assert f"{place} is not known to be what it wrote into" in refused.message
    assert "`" not in refused.hint


def test_a_server_on_the_directory_is_not_said_to_be_of_the_restore(directory: Path) -> None:
    Restore(directory).fail(NotProven("a proof failed"))
    with subprocess.Popen(["sleep", "60"], cwd=directory) as server:
        (directory / "postmaster.pid").write_text(f"{server.pid}\n")
        refused = refusal(directory)
        server.kill()
    assert refused.hint.startswith(
        f"A server runs on it, as process {server.pid}. If nobody needs it, stop it"
    )
    assert "that failed its proofs" in refused.message


def left(directory: Path) -> list[Path]:
    places = [directory.with_name(f"{directory.name}.drtool-{what}") for what in ("wal", "recovery")]
    for each in places:
        (each / "wal").mkdir(parents=True)
    return places


def test_what_a_killed_restore_left_beside_the_directory_goes_before_the_next_one(directory: Path) -> None:
    Restore(directory).kill()
    places = left(directory)
    refusal(directory)
    assert all(each.exists() for each in places)
    shutil.rmtree(directory)
    refuse_unfinished(directory, dry_run=True)
    assert all(each.exists() for each in places)
    refuse_unfinished(directory)
    assert not any(each.exists() for each in places)


def test_what_a_server_needs_beside_the_directory_stays(directory: Path) -> None:
    Restore(directory).kill()
    wal, recovery = left(directory)
    shutil.rmtree(directory)
    command = ["sh", "-c", 'read -r _; true "$@"', "-c", f"config_file={recovery}/postgresql.conf"]
    with subprocess.Popen(command, stdin=subprocess.PIPE):
        refuse_unfinished(directory)
    assert (wal.exists(), recovery.exists()) == (False, True)


def test_what_lies_beside_a_directory_that_no_restore_left_is_not_touched(directory: Path) -> None:
    places = left(directory)
    refuse_unfinished(directory)
    assert all(each.exists() for each in places)


def test_the_root_of_the_system_is_refused() -> None:
    with pytest.raises(Refused, match="/ is the root of the whole system"):
        refuse_nameless(Path("/"))
    refuse_nameless(Path("/data"))
