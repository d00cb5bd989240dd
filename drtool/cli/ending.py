"""How a command ends that works until it is asked to: at the first signal by itself, at the latest after a while."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from drtool.cli.exits import ENDING

GRACE_S: Final = 20  # Kubernetes kills after terminationGracePeriodSeconds, 30 by default


@contextmanager
def ends_well() -> Iterator[None]:
    """Let the first SIGTERM or SIGINT only set ENDING; a second one, or GRACE_S later, ends as everywhere: 143, 130.

    So a pod that is deleted, and whose follower left its last tail, has ended with 0: it did what it was asked to.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}

    def ask(_signal: int, _frame: FrameType | None) -> None:
        ENDING.set()
        signal.signal(signal.SIGALRM, before[signal.SIGTERM])
        signal.alarm(GRACE_S)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, before[each])

    for number in (signal.SIGTERM, signal.SIGINT):
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, ask)
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
