"""What a job in Kubernetes leaves behind: its last word beside the exit code of its pod, and Events on its CronJob."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from drtool.cli.output import Answer, error_lines, say_aside
from drtool.errors import DrtoolError

WORD: Final = "DRTOOL_TERMINATION_MESSAGE"  # the file that Kubernetes reads when a container has ended
EVENTS: Final = "DRTOOL_EVENTS"  # as in operations/announce.py, which is loaded only where it is set
_LONGEST: Final = 1024  # bytes; Kubernetes keeps 4096 of a container, and 12 KiB of a pod


def report_answer(answer: Answer) -> None:
    """Leave the word of a command that came to its end; news are an Event, too."""
    _leave_word(answer.last_word)
    if answer.is_news:
        _announce(answer.command, answer.last_word, answer.exit_code)


def report_error(error: DrtoolError, command: str) -> None:
    """Leave the word of a command that failed, and an Event."""
    text = "; ".join(error_lines(error))
    _leave_word(text)
    _announce(command, text, error.exit_code)


def _leave_word(text: str) -> None:
    """Write text, as one line, where Kubernetes reads a container's last word; elsewhere do nothing.

    It is printed, too, so that a file that cannot be written hides nothing.
    """
    if file := os.environ.get(WORD):
        line = " ".join(text.split()).encode()
        with suppress(OSError):
            Path(file).write_text(line[:_LONGEST].decode(errors="ignore"), encoding="utf-8")


def _announce(command: str, text: str, exit_code: int) -> None:
    environment: Mapping[str, str] = os.environ
    if not environment.get(EVENTS):
        return
    from drtool.operations.announce import News, announce  # noqa: PLC0415 - loads what only jobs need

    reason = "".join(word.title() for word in re.findall("[a-z]+", command)) + (
        "Failed" if exit_code else "Done"
    )
    news = News(reason, text, is_warning=exit_code != 0)
    if told := announce(news, environment, datetime.now(UTC)):
        say_aside(f"note: no Event could be made of this: {told}")
