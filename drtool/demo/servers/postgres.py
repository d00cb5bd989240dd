"""Real PostgreSQL servers for the demo, the tests and the benchmarks, from wheels or Debian's packages.

    server = PostgresServer.create(18, private_directory("demo"))
    server.start()
    server.sql("create table users (id int)")
    server.kill()

PostgreSQL refuses to run as root: as root, `account()` runs it, and owns its directory. The port is on
loopback, passwords are scram; initdb's pg_hba.conf lets every role with a password in, to replicate too.
"""

import atexit
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from drtool.demo.servers.process import Process, ServerFailed, free_port, wait_until
from drtool.errors import DrtoolError
from drtool.sources.postgres.binaries import ACCOUNTS, find_binaries
from drtool.sources.postgres.connection import PostgresSettings, connect

SUPERUSER = "postgres"
START_S = 60
KILL_S = 10
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

StopMode = Literal["smart", "fast", "immediate"]


@cache
def account() -> str | None:
    """Return the account that PostgreSQL runs as; None for our own, which only root may not use."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ACCOUNTS if name in names), None)


def private_directory(name: str) -> Path:
    """Make a directory that only the account of PostgreSQL (and root) may enter. Who asks removes it."""
    directory = Path(tempfile.mkdtemp(prefix=f"drtool-{name}-"))
    give(directory)
    return directory


def give(path: Path) -> None:
    """Hand path and all below it to the account of PostgreSQL."""
    if (name := account()) is not None:
        for each in (path, *path.rglob("*")):
            with suppress(FileNotFoundError):  # a server that is at work there takes files away
                shutil.chown(each, name, pwd.getpwnam(name).pw_gid)


@cache
def find_bin_dir(major: int) -> Path:
    """Return the folder with the server binaries of major, which `account()` may run. Raises Refused."""
    directory = find_binaries(major, account=None).directory
    return directory if _runs(directory) else _copy_of(directory)


def _runs(bin_dir: Path) -> bool:
    """Tell whether the account of PostgreSQL may enter bin_dir: a private home or checkout keeps it out."""
    try:
        run([bin_dir / "initdb", "--version"], cwd=Path("/"))
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _copy_of(bin_dir: Path) -> Path:
    """Copy a wheel's installation, with the libraries beside it, to where everybody may enter."""
    package = bin_dir.parent.parent
    copy = Path(tempfile.mkdtemp(prefix="drtool-postgres-bin-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, copy / part.name, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
    return copy / package.name / "pginstall" / "bin"


def run(argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a PostgreSQL program as `account()` to its end and return what it printed.

    Raises subprocess.CalledProcessError, whose stderr says why.
    """
    name = account()
    return subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        user=name,
        group=None if name is None else pwd.getpwnam(name).pw_gid,
        extra_groups=None if name is None else [],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


class PostgresServer:
    """One server on one data directory, which `create` makes, or which a restore has left."""

    def __init__(self, data: Path, bin_dir: Path, *, password: str, fast: bool = False) -> None:
        """data is a directory that `account()` owns. fast turns fsync off: for tests, not for ledgers."""
        self.data = data
        self.bin_dir = bin_dir
        self.password = password
        self.port = free_port()
        self._fast = fast
        self._process: Process | None = None

    @classmethod
    def create(
        cls,
        major: int,
        directory: Path,
        *,
        settings: Mapping[str, object] | None = None,
        fast: bool = False,
        wal_segment_mb: int = 16,
    ) -> "PostgresServer":
        """Make a data directory at directory/data, with page checksums, and settings in postgresql.conf."""
        bin_dir, data = find_bin_dir(major), directory / "data"
        password = secrets.token_urlsafe(16)
        password_file = directory / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        give(password_file)
        options = [f"--wal-segsize={wal_segment_mb}", "--data-checksums", "--no-locale", "--encoding=UTF8"]
        if fast:
            options.append("--no-sync")
        authentication = [f"--username={SUPERUSER}", f"--pwfile={password_file}", "--auth=scram-sha-256"]
        try:
            run([bin_dir / "initdb", "-D", data, *authentication, *options], cwd=directory)
        except subprocess.CalledProcessError as cause:
            raise ServerFailed(f"initdb failed: {cause.stderr.strip()}") from cause
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in (settings or {}).items())
        return cls(data, bin_dir, password=password, fast=fast)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop("immediate")

    @property
    def log(self) -> Path:
        return self.data.parent / f"{self.data.name}.log"

    @property
    def settings(self) -> PostgresSettings:
        """How the superuser connects."""
        return self.settings_for(SUPERUSER, self.password)

    def settings_for(self, user: str, password: str) -> PostgresSettings:
        return PostgresSettings(host="127.0.0.1", port=self.port, user=user, password=lambda: password)

    def start(self, *, wait: bool = True) -> None:
        """Start the server and, unless told otherwise, wait until it answers queries. Raises ServerFailed."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.data.parent,
            "fsync": "off" if self._fast else "on",
        }
        argv: list[str | Path] = [self.bin_dir / "postgres", "-D", self.data]
        argv += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._process = Process.start(argv, self.log, user=account(), cwd=self.data.parent)
        if wait:
            wait_until(self.answers, "PostgreSQL answers", deadline_s=START_S, process=self._process)

    def answers(self) -> bool:
        """Tell whether the server takes connections and answers."""
        try:
            return self.sql("select 1") == [(1,)]
        except DrtoolError:
            return False

    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running()

    def stop(self, mode: StopMode = "fast") -> None:
        """End the server in one of PostgreSQL's ways; silent when it does not run."""
        if self._process is not None:
            self._process.stop(STOP_SIGNALS[mode])

    def kill(self) -> None:
        """End the server and each of its processes with SIGKILL, as a power cut would.

        Its children lead sessions of their own, so they are found by their parent, which is halted first.
        """
        if self._process is None or not self._process.is_running():
            return
        os.kill(self._process.pid, signal.SIGSTOP)
        children = _children(self._process.pid)
        for child in children:
            os.kill(child, signal.SIGKILL)
        self._process.kill()
        wait_until(lambda: not any(map(_lives, children)), "the children have ended", deadline_s=KILL_S)

    def sql(self, statement: str, *parameters: object, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as superuser, committed at once, and return its rows."""
        with connect(self.settings, dbname) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []


def _children(parent: int) -> list[int]:
    """Return the process ids whose parent is parent (Linux)."""
    every = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return [process for process in every if _stat(process)[1:2] == [str(parent)]]


def _lives(process: int) -> bool:
    """Tell whether a process still runs: it is there, and no zombie."""
    return _stat(process)[:1] not in ([], ["Z"])


def _stat(process: int) -> list[str]:
    """Return state, parent and more of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
