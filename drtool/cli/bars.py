"""Progress as bars on a terminal."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from threading import Lock

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from drtool.cli.steps import Deadline, How, StepProgress, Work, deadline
from drtool.cli.units import printable
from drtool.operations import session


class _Bars(Progress):
    """All bars, and below them what is left of the time that was promised."""

    deadline: Deadline | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.deadline is not None:
            yield Text(f"  {self.deadline.told()}")


class _Bytes(DownloadColumn):
    """How many bytes of how many; nothing for what moves none."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.completed or task.total is not None else Text()


class BarProgress:
    """A bar for each phase, with bytes, rate and the time that is left, and one for each step that is under way.

    Begins with the first phase. How a step ended stands above the bars, so that these fit the terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._lock = Lock()
        self._task: TaskID | None = None
        self._steps: dict[int, TaskID] = {}  # by the identity of their work
        self._name = ""
        self._done = 0
        self._bars = _Bars(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            _Bytes(binary_units=True),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
        )

    def phase(self, name: str, total: int | None = None) -> None:
        """Finish the bar before, and begin one."""
        with self._lock:
            self._finish()
            self._bars.start()
            self._task, self._name, self._done = self._bars.add_task(name, total=total), name, 0

    def advance(self, size: int) -> None:
        """Move the bar by size bytes."""
        with self._lock:
            self._advance(size)

    def note(self, text: str) -> None:
        """Print text above the bars."""
        self._print(f"note: {text}")

    def interrupted(self) -> None:
        """Leave the bar of the phase where it is, and say so beside it."""
        with self._lock:
            if self._task is not None:
                self._bars.update(self._task, description=f"{self._name}: interrupted")
                self._bars.stop_task(self._task)
            self._task = None

    def step(self, name: str, total: int | None = None) -> AbstractContextManager[session.Progress]:
        """Return a step that has a bar of its own."""
        return StepProgress(self, name, total)

    def promise(self, whole: timedelta, spent: timedelta) -> None:
        """Show what is left of whole below the bars."""
        self._bars.deadline = deadline(whole, spent)

    def begin(self, work: Work) -> None:
        """Begin the bar of a step, below that of its phase."""
        with self._lock:
            self._bars.start()
            self._steps[id(work)] = self._bars.add_task(_indented(work), total=work.total)

    def move(self, work: Work, size: int) -> None:
        """Move the bars of a step and of its phase by size bytes."""
        with self._lock:
            work.done += size
            self._bars.update(self._steps[id(work)], completed=work.done)
            self._advance(size)

    def rename(self, work: Work) -> None:
        """Show what a step does now."""
        with self._lock:
            task = self._steps[id(work)]
            self._bars.update(task, description=_indented(work), total=work.total, completed=work.done)

    def finish(self, work: Work, how: How) -> None:
        """Take the bar of a step away, and print above all bars how it ended."""
        with self._lock:
            self._bars.remove_task(self._steps.pop(id(work)))
        self._print(f"{'✓' if how == 'done' else '✗'} {work.end(how)}")

    def close(self) -> None:
        """Leave the bars as they are, and give the terminal back."""
        with self._lock:
            self._finish()
            self._bars.stop()
            for task in self._bars.task_ids:
                if task not in self._steps.values():
                    self._bars.remove_task(task)

    def _print(self, text: str) -> None:
        self._bars.console.print(printable(text), markup=False, highlight=False)

    def _advance(self, size: int) -> None:
        self._done += size
        if self._task is not None:
            self._bars.update(self._task, completed=self._done)

    def _finish(self) -> None:
        """Fill the bar of the phase that ends: what was foreseen is rarely what it came to."""
        if self._task is not None:
            self._bars.update(self._task, total=self._done or 1, completed=self._done or 1)
        self._task = None


def _indented(work: Work) -> str:
    return f"  {work.title}"
