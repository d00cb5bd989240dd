"""A program on a terminal of its own."""

import os
import pty
import subprocess
from collections.abc import Sequence
from typing import Any

DEADLINE_S = 30


def run_on_terminal(command: Sequence[Any]) -> tuple[int, str]:
    """Return the exit code of command and all that it showed on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # Linux: nobody holds the other end any more
                break
            if not read:
                break
            shown += read
        return process.wait(DEADLINE_S), shown.decode()
    finally:
        process.kill()
        os.close(ours)
