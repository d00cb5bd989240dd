"""Programs that build: run to their end, with what they said in the error if it is a bad one."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.cache import BuildFailed

LONGEST_S = 1_800
SAID = 3_000  # characters of what a program said that an error shows


def run(argv: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """Return what a program printed; environment adds to ours. Raises BuildFailed with the last that it said."""
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST_S,
            check=False,
        )
    except FileNotFoundError as fault:
        raise BuildFailed(
            f"{argv[0]} is not installed", hint="Install it, or run `make cluster` as root."
        ) from fault
    except subprocess.TimeoutExpired as fault:
        raise BuildFailed(f"{argv[0]} took longer than {LONGEST_S} s") from fault
    if done.returncode:
        raise BuildFailed(
            f"`{shlex.join(map(str, argv))}` failed: …{(done.stdout + done.stderr)[-SAID:].strip()}"
        )
    return done.stdout
