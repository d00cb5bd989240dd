"""What each exit code means, in one place: the help of every command lists those that it can return."""

import threading
from typing import Final

from drtool.errors import DrtoolError

MEANINGS: Final = {
    0: "done",
    1: "failed",
    2: "wrong usage or invalid policy",
    3: "partial: some volumes failed",
    4: "data not proven, or corrupt",
    5: "refused; nothing was touched",
    6: "a source is unreachable or refuses",
    7: "the repository refuses",
    8: "no recovery point matches",
    9: "done, but an objective was missed",
    75: "temporary, as a store that does not answer; try again",
    130: "interrupted",
    143: "terminated",
}
_ALWAYS: Final = {0, 1, 2, 130, 143}
STORE: Final = (5, 7, 75)  # what every command that opens a repository can return
ENDING: Final = threading.Event()  # set by SIGINT and SIGTERM: from then on no outage is waited out


def exit_codes(*codes: int) -> str:
    """Return the end of a command's help: the codes that it can return, those of every command included."""
    lines = [f"  {code:<4} {MEANINGS[code]}" for code in sorted({*codes, *_ALWAYS})]
    return "\b\n" + "\n".join(["Exit codes:", *lines])  # \b: click leaves the lines as they are


class Terminate(BaseException):
    """SIGTERM came: everything between here and main lets go of what it holds."""


class Interrupted(DrtoolError):
    """Somebody pressed Ctrl-C."""

    exit_code = 130


class Terminated(DrtoolError):
    """Somebody sent SIGTERM."""

    exit_code = 143
