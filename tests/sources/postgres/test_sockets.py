"""Which folders of sockets the next server clears away: those of killed runs, and nothing else."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import private_directory
from drtool.sources.postgres import sockets
from drtool.sources.postgres.sockets import PREFIX, clear_left
from drtool.sources.scratch import ScratchFolder, within
from tests.conftest import NOBODY

SOCKET = ".s.PGSQL.5432"


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files, with a path that is short enough for a socket."""
    directory = private_directory("t")
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    subprocess.run(["rm", "-rf", directory], check=True)


def left_by_a_killed_run(room: Path) -> Path:
    """Let another process make a folder, with a socket in it, and die."""
    code = (
        "import os, socket, tempfile\n"
        f"tempfile.tempdir = {str(room)!r}\n"
        "from drtool.sources.scratch import ScratchFolder\n"
        f"folder = ScratchFolder({PREFIX!r})\n"
        f"socket.socket(socket.AF_UNIX).bind(str(folder.path / {SOCKET!r}))\n"
        f"(folder.path / {SOCKET + '.lock'!r}).write_text('1')\n"
        "print(folder.path, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    path = Path(done.stdout.strip())
    assert sorted(each.name for each in path.iterdir()) == [SOCKET, f"{SOCKET}.lock"]
    return path


def clear() -> None:
    clear_left({os.geteuid()})


def test_what_a_killed_run_left_is_cleared_away(room: Path) -> None:
    assert left_by_a_killed_run(room).parent == room
    (room / f"{PREFIX}empty").mkdir()
    clear()
    assert list(room.iterdir()) == []


def test_the_folder_of_a_run_at_work_stays_until_that_removes_it(room: Path) -> None:
    folder = ScratchFolder(PREFIX)
    clear()
    assert list(room.iterdir()) == [folder.path]
    for _ in range(2):
        folder.remove()
        assert list(room.iterdir()) == []


def test_the_folder_of_a_server_that_was_left_running_stays(room: Path) -> None:
    path = left_by_a_killed_run(room)
    (path / SOCKET).unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path / SOCKET))
        server.listen()
        clear()
        assert (path / SOCKET).exists()
    clear()
    assert list(room.iterdir()) == []


def test_without_proc_nothing_of_a_server_that_may_run_is_removed(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = left_by_a_killed_run(room)
    (path / SOCKET).unlink()
    (room / f"{PREFIX}empty").mkdir()
    with socket.socket(socket.AF_UNIX) as server, monkeypatch.context() as patched:
        server.bind(str(path / SOCKET))
        server.listen()
        patched.setattr(sockets, "within", lambda handle, name: f"/no-proc/self/fd/{handle}/{name}")
        clear()
        assert sorted(each.name for each in path.iterdir()) == [SOCKET, f"{SOCKET}.lock"]
        assert list(room.iterdir()) == [path]
    clear()
    assert list(room.iterdir()) == []


def test_a_socket_that_its_server_removes_meanwhile_keeps_no_folder(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = left_by_a_killed_run(room)

    def removed(handle: int, name: str) -> str:
        (path / name).unlink()
        return within(handle, name)

    monkeypatch.setattr(sockets, "within", removed)
    clear()
    assert list(room.iterdir()) == []


def test_what_is_not_drtools_own_is_left_alone(room: Path) -> None:
    theirs, elsewhere = room / "theirs", room / f"{PREFIX}link"
    theirs.mkdir()
    (theirs / SOCKET).touch()
    elsewhere.symlink_to(theirs)
    (room / f"{PREFIX}more").mkdir()
    (room / f"{PREFIX}more" / "notes").touch()
    (room / f"{PREFIX}more" / SOCKET).symlink_to(theirs / SOCKET)
    (room / f"{PREFIX}file").touch()
    clear()
    assert elsewhere.is_symlink()
    assert (theirs / SOCKET).exists()
    assert (room / f"{PREFIX}more" / "notes").exists()
    assert (room / f"{PREFIX}file").exists()


@pytest.mark.parametrize("owners", [{NOBODY}, set()])
def test_folders_of_others_are_left_to_them(room: Path, owners: set[int]) -> None:
    path = left_by_a_killed_run(room)
    clear_left(owners - {os.geteuid()})
    assert path.exists()
