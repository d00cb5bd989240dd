"""A PostgreSQL server of our own on a restored data directory: private configuration, a Unix socket, nothing else.

The data directory's own configuration is left alone and not read: its paths, archiving and memory are not ours.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from drtool.errors import DrtoolError
from drtool.sources.postgres import pinned
from drtool.sources.postgres.binaries import Account, Binaries, popen_options
from drtool.sources.postgres.configuration import setting_lines
from drtool.sources.postgres.raw_names import open_raw, with_dbname
from drtool.sources.postgres.sockets import PREFIX, clear_left
from drtool.sources.scratch import ScratchFolder

MAXIMA = {  # by the label of pg_controldata
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
LOG = "server.log"
LOG_TAIL = 3_000  # characters that an error shows
STOP_S = 120
PAUSE_S = 0.05
CONNECT_S = 120
PORT = "5432"  # of the socket's name
NOTHING: Mapping[str, str] = MappingProxyType({})
READY = "database system is ready to accept connections"


def read_control(binaries: Binaries, directory: Path) -> dict[str, str]:
    """Return what pg_controldata prints, by its labels. Raises DrtoolError if it cannot read pg_control."""
    done = binaries.run("pg_controldata", "-D", directory)
    if done.returncode or "WARNING" in done.stdout:
        raise DrtoolError(
            f"pg_controldata cannot read {directory}: {(done.stderr or done.stdout).strip()}",
            hint="Restore the base backup again; its account must be able to enter the directory.",
        )
    return {
        label.strip(): value.strip()
        for label, colon, value in (line.partition(":") for line in done.stdout.splitlines())
        if colon
    }


def needed_settings(
    binaries: Binaries, control: Mapping[str, str], facts: Mapping[str, str]
) -> dict[str, str]:
    """Return the settings that replay depends on: the higher of what pg_control and the captured ones say.

    Libraries that this installation lacks are left out: replay needs one only if it writes WAL of its own kind.
    """
    settings = {
        name: str(max(int(control[label]), int(facts.get(name, 0)))) for name, label in MAXIMA.items()
    }
    settings["wal_level"] = facts.get("wal_level", "replica")
    settings["track_commit_timestamp"] = facts.get("track_commit_timestamp", "off")
    wanted = re.split(r"[,\s]+", facts.get("shared_preload_libraries", "").replace('"', "").strip())
    present = [name for name in wanted if name and binaries.has_library(name)]
    settings["shared_preload_libraries"] = ",".join(present)
    return settings


class Instance:
    """One postmaster. work is a private directory of ours: configuration and log; the socket has one of its own."""

    def __init__(self, binaries: Binaries, directory: Path, work: Path) -> None:
        self.directory = directory
        self.log = work / LOG
        self._binaries = binaries
        self._work = work
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: ScratchFolder | None = None
        self.sockets: Path | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def start(self, settings: Mapping[str, str]) -> None:
        """Write the configuration and start the server; it is not ready yet."""
        account = self._binaries.account
        clear_left({os.geteuid(), *([account.uid] if account is not None else [])})
        self._folder = ScratchFolder(PREFIX)
        self.sockets = self._folder.path
        own = {
            "listen_addresses": "",
            "port": PORT,
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "hba_file": str(self._work / "pg_hba.conf"),
            "ident_file": str(self._work / "pg_ident.conf"),
            "archive_mode": "off",
            "autovacuum": "off",
            "huge_pages": "off",
            "lc_messages": "C",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
            "hot_standby": "off",
        }
        (self._work / "postgresql.conf").write_text(setting_lines({**own, **settings}))
        (self._work / "pg_hba.conf").write_text("local all all trust\n")
        (self._work / "pg_ident.conf").write_text("")
        _give(account, self._work, self.sockets)
        argv = [str(self._binaries.program("postgres")), "-D", str(self.directory)]
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                [*argv, "-c", f"config_file={self._work / 'postgresql.conf'}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"LC_ALL": "C", "PATH": os.defpath},
                start_new_session=True,
                text=False,
                **popen_options(account),
            )

    def wait_ready(self, *, deadline_s: float) -> Iterator[str]:
        """Yield the log's new lines until the server takes connections. Raises DrtoolError with the log's tail."""
        end = time.monotonic() + deadline_s
        with self.log.open(encoding="utf-8", errors="replace") as log:
            while True:
                ended = self.pid is None
                for line in _whole_lines(log):
                    yield line
                    if READY in line:
                        return
                if ended:
                    raise self.failed("the server ended by itself")
                if time.monotonic() > end:
                    raise self.failed(f"the server was not ready after {deadline_s:g} s")
                time.sleep(PAUSE_S)

    def connect(
        self, *, user: str, dbname: str | bytes = "postgres", more: Mapping[str, str] = NOTHING
    ) -> psycopg.Connection[TupleRow]:
        """Return a connection in autocommit over the socket, which pins what drtool relies on, and more.

        A name in bytes is taken as it is. Nothing of our environment reaches it, and of role and database nothing of
        what is pinned.
        """
        pinned.forget_environment()
        words = {**pinned.KEYWORDS, "client_encoding": "SQL_ASCII", "connect_timeout": str(CONNECT_S)}
        where = {"host": str(self.sockets), "hostaddr": "", "port": PORT, "user": user}
        name = dbname.encode() if isinstance(dbname, str) else dbname
        try:
            info = make_conninfo(**where, **words, options=self.options(more))
            connection = open_raw(with_dbname(info, name))
            pinned.settle_encoding(connection)
        except psycopg.Error as cause:
            raise DrtoolError(f"cannot connect to the restored server: {str(cause).strip()}") from cause
        return connection

    def options(self, more: Mapping[str, str]) -> str:
        """Return what a connection to this server pins, and more, as the keyword `options` wants it."""
        return pinned.options(pinned.known_to(self._binaries.major), more)

    def stop(self) -> None:
        """End the server cleanly and wait for it; silent when it has ended. Raises DrtoolError if it was killed."""
        try:
            if self._child is not None:
                self._end(self._child)
        finally:
            if self._folder is not None:
                self._folder.remove()

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        try:
            self._ask_to_end(child)
        except BaseException:  # who cannot wait for a clean stop must not leave a server behind
            child.send_signal(signal.SIGQUIT)
            child.wait()
            raise

    def _ask_to_end(self, child: subprocess.Popen[bytes]) -> None:
        for how in (signal.SIGINT, signal.SIGQUIT):
            if child.poll() is None:
                child.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(STOP_S)
                return
        child.kill()
        child.wait()
        raise self.failed("the server did not stop and was killed")

    def failed(self, what: str) -> DrtoolError:
        """Return an error that says what, and ends in the log's tail."""
        tail = self.log.read_text(errors="replace")[-LOG_TAIL:].strip() if self.log.exists() else ""
        return DrtoolError(f"{what}\n{tail}", hint=f"The server's whole log is {self.log}.")


def _whole_lines(log: TextIO) -> Iterator[str]:
    """Yield the lines that are written whole; the begin of another one is read again next time."""
    while True:
        place = log.tell()
        line = log.readline()
        if not line.endswith("\n"):
            log.seek(place)
            return
        yield line


def _give(account: Account | None, *directories: Path) -> None:
    for directory in directories:
        for path in (directory, *directory.rglob("*")):
            if account is not None:
                os.chown(path, account.uid, account.gid, follow_symlinks=False)
