"""Progress as bars on a terminal."""

from threading import Lock

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class BarProgress:
    """A bar for each phase, with bytes, rate and the time that is left. Begins with the first phase."""

    def __init__(self, console: Console | None = None) -> None:
        self._lock = Lock()
        self._task: TaskID | None = None
        self._name = ""
        self._done = 0
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(binary_units=True),
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
            self._done += size
            if self._task is not None:
                self._bars.update(self._task, completed=self._done)

    def note(self, text: str) -> None:
        """Print text above the bars."""
        self._bars.console.print(f"note: {text}", markup=False, highlight=False)

    def interrupted(self) -> None:
        """Leave the bar of the phase where it is, and say so beside it."""
        with self._lock:
            if self._task is not None:
                self._bars.update(self._task, description=f"{self._name}: interrupted")
                self._bars.stop_task(self._task)
            self._task = None

    def close(self) -> None:
        """Leave the bars as they are, and give the terminal back."""
        with self._lock:
            self._finish()
            self._bars.stop()
            for task in self._bars.task_ids:
                self._bars.remove_task(task)

    def _finish(self) -> None:
        """Fill the bar of the phase that ends: what was foreseen is rarely what it came to."""
        if self._task is not None:
            self._bars.update(self._task, total=self._done or 1, completed=self._done or 1)
        self._task = None
