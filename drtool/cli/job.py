"""What a job in Kubernetes leaves behind: its last word, which `kubectl describe pod` shows beside the exit code."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

VARIABLE: Final = "DRTOOL_TERMINATION_MESSAGE"  # the file that Kubernetes reads when the container has ended
_LONGEST: Final = 1024  # bytes; Kubernetes keeps 4096 of a container, and 12 KiB of a pod


def leave_word(text: str) -> None:
    """Write text, as one line, where Kubernetes reads a container's last word; elsewhere do nothing.

    It tells what is printed, too, so that a file that cannot be written hides nothing.
    """
    file = os.environ.get(VARIABLE)
    if file:
        line = " ".join(text.split()).encode()
        with suppress(OSError):
            Path(file).write_text(line[:_LONGEST].decode(errors="ignore"), encoding="utf-8")
