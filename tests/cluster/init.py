"""Process 1 of the lab: runs one command, passes signals on to it, takes note of every orphan's end, and ends with it.

The kernel ends everything else in the lab then, for a namespace of process ids does not outlive its first process.
"""

import os
import signal
import sys

AWAITED = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


def main(command: list[str]) -> int:
    """Run command to its end and return its exit code, 128 and the signal's number if one ended it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    child = os.posix_spawnp(
        command[0], command, os.environ, setsigmask=(), setsigdef=(signal.SIGINT, signal.SIGPIPE)
    )
    while True:
        number = signal.sigwait(AWAITED)
        if number != signal.SIGCHLD:
            os.kill(child, number)
            continue
        ended = _reap()
        if child in ended:
            code = os.waitstatus_to_exitcode(ended[child])
            return code if code >= 0 else 128 - code


def _reap() -> dict[int, int]:
    """Take note of every child that has ended, and return their statuses: one signal may stand for several."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
