"""What the lab takes from outside: Debian's packages, a Go, a C compiler. What is missing is installed, or named."""

import re
import shutil
import subprocess
from pathlib import Path

from drtool.errors import DrtoolError

DEBIAN_PACKAGES = Path(__file__).parent.parent / "debian-packages"
GO_FOLDER = "/usr/local/go/bin"  # where Go's own archive puts it; `sudo` takes it off the PATH
OLDEST_GO = (1, 21)  # the first that fetches, through its module proxy, the later Go that a module asks for


class Missing(DrtoolError):
    """The machine lacks something that cannot be installed from here. The hint names it, and the way to get it."""


def install() -> None:
    """Install the cluster's Debian packages where they are missing, as root. tests/debian-packages names them.

    No daemon is started, nor enabled. Raises Missing, with the command to give.
    """
    done = subprocess.run([DEBIAN_PACKAGES, "cluster"], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Missing(
            f"Debian's packages for the test cluster are not all there: {done.stderr.strip()}",
            hint="Give the command as root, or run this as root.",
        )


def find_go() -> str:
    """Return the path of a Go that builds what the lab needs, or can fetch the one that does. Raises Missing."""
    how = f"Install Go {_dotted(OLDEST_GO)} or later, from your distribution or go.dev/dl."
    go = shutil.which("go") or shutil.which("go", path=GO_FOLDER)
    if go is None:
        raise Missing(f"there is no Go, neither on the PATH nor in {GO_FOLDER}", hint=how)
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    version = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    if version < OLDEST_GO:
        raise Missing(f"{go} is Go {_dotted(version)}, too old for the test cluster", hint=how)
    return go


def find_compiler() -> str:
    """Return the path of a C compiler. Raises Missing."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("there is no C compiler", hint="Install Debian's packages gcc and libc6-dev.")
    return compiler


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
