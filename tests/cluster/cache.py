"""What the lab is made of, made once: binaries and images, out of the tree, by the hash of what is in them.

cached("bin", "coredns", key(go_mod, go_sum, flags), make) is $XDG_CACHE_HOME/drtool-tests/bin/coredns-<key>
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from drtool.errors import DrtoolError

KEPT_S = 14 * 86_400  # what another state of the tree made is removed when nobody used it for so long
KEY_DIGITS = 16


class BuildFailed(DrtoolError):
    """Something that the lab is made of could not be built. The message ends in what the builder said."""


def cache_root() -> Path:
    """Return the folder of everything that is cached; it need not be there yet."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "drtool-tests"


def key(*parts: str | bytes) -> str:
    """Return 16 hex digits that differ when any of parts does, or where one ends and the next begins."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:KEY_DIGITS]


def cached(kind: str, name: str, entry_key: str, make: Callable[[Path], None]) -> Path:
    """Return the file or folder kind/name-entry_key of the cache; if it is not there, make writes it.

    make is given a path to write a file or a folder to. The entry appears whole or not at all, whatever happens.
    Of two processes one makes it and the other waits.
    """
    folder = cache_root() / kind
    entry = folder / f"{name}-{entry_key}"
    if not entry.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with _only_builder(folder / f"{name}.lock"):
            if not entry.exists():
                _make(entry, name, make)
                _remove_unused(folder, name)
    os.utime(entry)
    return entry


def _make(entry: Path, name: str, make: Callable[[Path], None]) -> None:
    """Have entry made in a new folder beside it, for an orphan of a killed builder may still write to its own."""
    for leaving in entry.parent.glob(f".{name}.*"):
        shutil.rmtree(leaving, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=entry.parent) as folder:
        made = Path(folder) / "made"
        make(made)
        os.sync()  # else a crash of the machine may leave the name with nothing behind it
        made.rename(entry)


def _remove_unused(folder: Path, name: str) -> None:
    oldest = time.time() - KEPT_S
    for entry in folder.iterdir():
        is_ours = re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{{KEY_DIGITS}}}", entry.name)
        if is_ours and entry.stat().st_mtime < oldest:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@contextmanager
def _only_builder(lock: Path) -> Iterator[None]:
    """Hold lock, which ends with this process at the latest; its file stays, for who waits has it open."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
