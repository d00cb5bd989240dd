"""The sides of the files course: drtool, and restic as Debian and as its authors have it.

All keep a directory on one disk, encrypted, and write an object as durably: a new file, fsync, rename, fsync of the
folder. Both compress with zstd at their own default. A restore counts until its files are on the disk: drtool's ends
with syncfs, restic's has a `sync` behind it.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from bench.measure import Spent, measure, tree_bytes
from bench.side import Done
from tests.cluster.cache import cached, key
from tests.cluster.packages import find_go

_RESTIC = (
    "github.com/restic/restic/cmd/restic@v0.18.1"  # the newest release that Go's proxy gave; 0.14 is Debian's
)
_BUILD = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": "-trimpath"}
_POLICY = """\
version: 1
name: bench
repository: {{url: "file://{store}"}}
objectives: {{rpo: 15m, rto: 1h}}
volumes:
  - name: files
    source: files
    path: {tree}
"""


class FilesSide(Protocol):
    """One tool and the directory of its repository."""

    name: str
    repository: Path

    def fresh(self) -> None:
        """Begin anew with an empty repository."""
        ...

    def backup(self) -> Done:
        """Back the tree up."""
        ...

    def restore(self, directory: Path) -> Done:
        """Bring the newest backup back into directory."""
        ...


class DrtoolFiles:
    """drtool, as its command line."""

    name = "drtool"

    def __init__(self, directory: Path, tree: Path) -> None:
        self._directory = directory
        self._tree = tree
        self.repository = directory / "store"

    def fresh(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        self.repository.mkdir(parents=True)
        (self._directory / "policy.yaml").write_text(_POLICY.format(store=self.repository, tree=self._tree))
        self._run("init", "--bundle", self._directory / "bundle", "--kit-file", self._directory / "kit")

    def backup(self) -> Done:
        before = tree_bytes(self.repository)
        spent = self._run("backup", "files", "--bundle", self._directory / "bundle")
        return Done(
            spent,
            stored=tree_bytes(self.repository) - before,
            read=json.loads(spent.output)["volumes"][0]["read"],
        )

    def restore(self, directory: Path) -> Done:
        key_file = ("--recovery-key-file", self._directory / "kit")
        spent = self._run("restore", "files", "--to-dir", directory, *key_file)
        proofs = json.loads(spent.output)["restore"]["phases"]["proving"]
        return Done(spent, phases={"data": spent.seconds - proofs, "proofs": proofs})

    def _run(self, *words: str | Path) -> Spent:
        common = ("--policy", self._directory / "policy.yaml", "--json", "--progress", "none")
        return measure([sys.executable, "-m", "drtool", *words, *common])


class Restic:
    """restic, with its own defaults; its cache lies beside its repository."""

    def __init__(self, name: str, program: Path, directory: Path, tree: Path) -> None:
        self.name = name
        self._program = program
        self._tree = tree
        self._directory = directory
        self._password = secrets.token_urlsafe(32)
        self.repository = directory / "repository"

    def fresh(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        self._run("init")

    def backup(self) -> Done:
        before = tree_bytes(self.repository)
        spent = self._run("backup", str(self._tree))
        return Done(spent, stored=tree_bytes(self.repository) - before)

    def restore(self, directory: Path) -> Done:
        spent = self._run("restore", "latest", "--target", str(directory))
        begun = time.perf_counter()
        os.sync()
        return Done(spent, phases={"data": spent.seconds + time.perf_counter() - begun})

    def _run(self, *words: str) -> Spent:
        env: Mapping[str, str] = {
            "RESTIC_PASSWORD": self._password,
            "RESTIC_CACHE_DIR": str(self._directory / "cache"),
        }
        return measure([self._program, "--quiet", "--repo", self.repository, *words], env=env)


def debian_restic() -> Path:
    """Return the path of the installed restic. Raises FileNotFoundError."""
    found = shutil.which("restic")
    if found is None:
        raise FileNotFoundError("restic is missing: apt-get install --no-install-recommends restic")
    return Path(found)


def newest_restic() -> Path:
    """Return the path of a restic that Go builds from the module proxy: once, into the cache of the test cluster."""
    go = find_go()

    def make(folder: Path) -> None:
        folder.mkdir()
        print(f"building {_RESTIC}", file=sys.stderr, flush=True)
        environment = {**os.environ, **_BUILD, "GOBIN": str(folder)}
        subprocess.run([go, "install", _RESTIC], env=environment, cwd=folder, check=True)

    return cached("bin", "restic", key(_RESTIC), make) / "restic"
