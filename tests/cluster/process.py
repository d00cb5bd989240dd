"""The programs of the lab: started, killed, frozen, and found again by whoever knows their name.

A program leaves its process id in a file, so that a test can kill what another process has started:

    apiserver = Process("a-kube-apiserver", [...], lab)
    apiserver.start()
    wait_until(api_answers, "the API answers", deadline_s=60, process=apiserver)
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from drtool.errors import DrtoolError
from tests.cluster.cgroups import Cgroup

LOG_TAIL = 3_000  # characters of a log that an error shows
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
PAUSE_PER_LOOK, LONGEST_AFTER_A_LOOK_S = 2, 5
RESET_SIGNALS = (signal.SIGINT, signal.SIGPIPE)  # Python, or a shell's `&`, may have had them ignored


class LabFailed(DrtoolError):
    """A part of the lab did not come up, or did not do what it was asked. The message names the part."""


class Process:
    """A program, in a session of its own, with both outputs in LAB/logs/NAME.log.

    within is the process whose namespaces it is started in (all but that of process ids), cgroup the group that holds
    it and its children. env is added to this process's own.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        lab: Path,
        *,
        env: Mapping[str, str] | None = None,
        within: "Process | None" = None,
        cgroup: Cgroup | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(argument) for argument in argv]
        self.log = lab / "logs" / f"{name}.log"
        self.record = lab / "pids" / name
        self._env = dict(env or {})
        self._within = within
        self._cgroup = cgroup

    @property
    def pid(self) -> int:
        """The process id inside the lab. Raises LabFailed if the program does not run."""
        pid = self._find()
        if pid is None:
            raise LabFailed(f"{self.name} does not run{self._last_words()}", hint=f"Its log is {self.log}.")
        return pid

    @property
    def started(self) -> datetime:
        """When the program was last started; the beginning of time if it never was."""
        written = self.record.stat().st_mtime if self.record.exists() else 0
        return datetime.fromtimestamp(written, UTC)

    @property
    def alive(self) -> bool:
        return self._find() is not None

    def start(self) -> None:
        """Start the program, and return at once; nothing is done if it runs already."""
        if self.alive:
            return
        argv = [*enter(self._within), *self.argv]
        self.log.parent.mkdir(exist_ok=True)
        self.record.parent.mkdir(exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            pid = os.posix_spawnp(
                argv[0],
                argv,
                {**os.environ, **self._env},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(self.log), flags, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigdef=RESET_SIGNALS,
            )
        except OSError as cause:
            raise LabFailed(f"cannot start {self.name}: {argv[0]}: {cause.strerror}") from cause
        self.record.write_text(f"{pid} {started_at(pid)}")
        if self._cgroup is not None:
            self._cgroup.add(pid)

    def stop(self, *, deadline_s: float = 20) -> None:
        """End the program cleanly, and with SIGKILL after deadline_s; silent if it has ended."""
        if (pid := self._find()) is not None:
            os.kill(pid, signal.SIGTERM)  # its children are its own to end
        end = time.monotonic() + deadline_s
        while self.alive and time.monotonic() < end:
            time.sleep(FIRST_PAUSE_S)
        self.kill()

    def kill(self) -> None:
        """End the program and its group with SIGKILL, and wait until they are gone; silent if it has ended."""
        if (pid := self._find()) is not None:
            os.killpg(pid, signal.SIGKILL)
        wait_until(lambda: not self.alive, f"{self.name} is gone", deadline_s=20)

    def freeze(self) -> None:
        """Stop the program in the middle of what it does; its connections stay open, and nobody answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen program go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def check_alive(self) -> None:
        """Raise LabFailed, with the end of the log, if the program has ended."""
        assert self.pid

    def log_tail(self) -> str:
        """Return the end of the log, at most LOG_TAIL characters."""
        return self.log.read_text(errors="replace")[-LOG_TAIL:].strip() if self.log.exists() else ""

    def _find(self) -> int | None:
        """Return the process id if that process still is the one that was started."""
        try:
            pid, start = self.record.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        _reap(int(pid))
        return int(pid) if started_at(int(pid)) == start else None

    def _last_words(self) -> str:
        return f"; it said last:\n{tail}" if (tail := self.log_tail()) else ""


def enter(process: Process | None) -> list[str]:
    """Return what to put before a command that is to run in the namespaces of process."""
    if process is None:
        return []
    return ["nsenter", f"--target={process.pid}", "--net", "--mount", "--uts", "--"]


def started_at(pid: int) -> str:
    """Return when process pid was started, in clock ticks since the machine was; empty if there is none, or a dead one.

    proc(5), /proc/pid/stat: the name in brackets may hold blanks, so fields are counted behind it.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return ""
    is_dead = state == "X" or (state == "Z" and threads == 1)  # while one thread lives, so do its ports
    return "" if is_dead else fields[18]


def _reap(pid: int) -> None:
    """Take note of the end of a child of ours; that of others is taken note of by the lab's init."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def wait_until(
    check: Callable[[], object], what: str, *, deadline_s: float, process: Process | None = None
) -> None:
    """Return as soon as check is true. what completes the sentence "waited in vain until …".

    A look that costs much is taken less often: it slows down what is waited for.
    Raises LabFailed after deadline_s, or at once when process has ended.
    """
    end = time.monotonic() + deadline_s
    pause = FIRST_PAUSE_S
    while True:
        begun = time.monotonic()
        if check():
            return
        if process is not None:
            process.check_alive()
        if time.monotonic() > end:
            said = f"; {process.name} said last:\n{process.log_tail()}" if process else ""
            raise LabFailed(
                f"waited {deadline_s:g} s in vain until {what}{said}",
                hint=f"The whole log is {process.log}." if process else "",
            )
        took_s = time.monotonic() - begun
        time.sleep(max(pause, min(took_s * PAUSE_PER_LOOK, LONGEST_AFTER_A_LOOK_S)))
        pause = min(2 * pause, LONGEST_PAUSE_S)


def run(*argv: str | Path, given: str = "", read: Path | None = None, deadline_s: float = 120) -> str:
    """Run a command to its end and return what it printed; given, or the file read, is its standard input.

    Raises LabFailed, with what it said, if it fails or takes longer than deadline_s.
    """
    command = [str(argument) for argument in argv]
    try:
        with (read or Path(os.devnull)).open("rb") as file:
            done = subprocess.run(
                command,
                stdin=None if given else file,
                input=given.encode() or None,
                capture_output=True,
                timeout=deadline_s,
                check=False,
            )
    except FileNotFoundError as cause:
        raise LabFailed(f"cannot run `{' '.join(command)}`: {cause}") from cause
    except subprocess.TimeoutExpired as cause:
        raise LabFailed(f"`{' '.join(command)}` did not end within {deadline_s:g} s") from cause
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise LabFailed(f"`{' '.join(command)}` failed: {said}")
    return done.stdout.decode(errors="replace")
