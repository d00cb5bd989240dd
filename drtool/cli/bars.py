"""Progress as bars on a terminal."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from threading import Lock
from typing import Final

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from drtool.cli.steps import Deadline, How, StepProgress, Work, deadline
from drtool.cli.units import printable, rate
from drtool.operations import session
from drtool.policy.sizes import size

_BESIDE: Final = 72  # columns for a title that tells something and for the measures; a bar gets what is left
_SHORTEST, _LONGEST = 6, 24  # of a bar


class _Bars(Progress):
    """All bars, each on one line of the terminal, and below them what is left of the time that was promised.

    Titles are cut where there is no room, and not measures. On a narrow terminal bars are short; below that, none.
    """

    deadline: Deadline | None = None

    def __init__(self, console: Console) -> None:
        self._screen = console  # it is asked for its width already while the rest is made
        self._bar = BarColumn()
        self._title = (SpinnerColumn(finished_text="✓"), _Title())
        self._measures = (_Bytes(), _Rate(), _Time())
        super().__init__(console=console)

    def get_renderables(self) -> Iterable[RenderableType]:
        room = self._screen.width - _BESIDE
        self._bar.bar_width = max(_SHORTEST, min(_LONGEST, room))
        self.columns = (*self._title, *((self._bar,) if room >= 0 else ()), *self._measures)
        yield from super().get_renderables()
        if self.deadline is not None:
            yield Text(f"  {self.deadline.told()}", no_wrap=True, overflow="ellipsis")


class _Title(ProgressColumn):
    """What is done. The one column that shrinks."""

    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Measure(ProgressColumn):
    """A column that keeps its width: half a number is none."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))


class _Bytes(_Measure):
    """How many bytes, of how many where that is known; nothing for what moves none."""

    def render(self, task: Task) -> Text:
        if not task.completed:
            return Text(size(task.total) if task.total else "")
        of = f" of {size(task.total)}" if task.total and not task.finished else ""
        return Text(f"{size(task.completed)}{of}")


class _Rate(_Measure):
    """The rate of what moves bytes: that of the last seconds, and at the end that of all of it."""

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(rate(task.completed, task.finished_time or 0) if task.completed else "")
        return Text(f"{size(task.speed)}/s" if task.speed else "")


class _Time(_Measure):
    """The time that is left where that can be told; else the time that it took until now."""

    def render(self, task: Task) -> Text:
        left = None if task.finished else task.time_remaining
        seconds = (task.finished_time if task.finished else task.elapsed) or 0
        return Text(_clock(seconds) if left is None else f"{_clock(left)} left")


def _clock(seconds: float) -> str:
    """Return 0:03:20: of one width, so that the line stands still."""
    return str(timedelta(seconds=int(seconds)))


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
        self._bars = _Bars(console or Console(stderr=True))

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
            self._bars.update(self._task, total=self._done, completed=self._done)
        self._task = None


def _indented(work: Work) -> str:
    return f"  {work.title}"
