"""Server processes of the demo, the tests and the benchmarks: start, wait until they answer, stop, kill.

process = Process.start([binary, "--port", str(port)], log=directory / "server.log")
wait_until(lambda: answers(port), "the server answers", deadline_s=10, process=process)
process.stop()
"""

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from drtool.errors import DrtoolError

LOG_TAIL = 2_000  # characters of the log that an error shows
FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.2

_given: set[int] = set()


class ServerFailed(DrtoolError):
    """A server did not start, answer in time, or stop. The message ends in the tail of its log."""


def free_port() -> int:
    """Return a TCP port that is free on 127.0.0.1 now, and that this process was not given before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def can_connect(port: int) -> bool:
    """Tell whether something on 127.0.0.1 accepts a TCP connection at port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Process:
    """One server and its children, in a session of their own, with both outputs in one log file."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self._child = child
        self.log = log

    @classmethod
    def start(
        cls,
        argv: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        cwd: Path | None = None,
    ) -> "Process":
        """Start argv and return at once; the log is appended to.

        env is added to this process's own. user is the name to run as, and needs root; None keeps who we are.
        Raises ServerFailed if the program cannot be run.
        """
        as_user = (
            {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        )
        try:
            with log.open("ab") as output:
                child = subprocess.Popen(
                    [str(argument) for argument in argv],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    start_new_session=True,
                    **as_user,  # type: ignore[call-overload]  # three keywords that belong together
                )
        except OSError as cause:
            raise ServerFailed(
                f"cannot run {argv[0]}: {cause.strerror or cause}",
                hint="Install the package that holds it, and see that who runs it may enter its folder.",
            ) from cause
        return cls(child, log)

    @property
    def pid(self) -> int:
        return self._child.pid

    def is_running(self) -> bool:
        return self._child.poll() is None

    def stop(self, how: signal.Signals = signal.SIGTERM, *, deadline_s: float = 20) -> None:
        """End the server cleanly and wait for it; silent when it has ended.

        Raises ServerFailed, once it is killed, if it still ran after deadline_s.
        """
        if self.is_running():
            self._child.send_signal(how)
        try:
            self._child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failed(f"did not stop within {deadline_s:g} s and was killed") from None

    def kill(self) -> None:
        """End the server and its group with SIGKILL, as a power cut would; silent when it has ended."""
        if self.is_running():
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()

    def log_tail(self) -> str:
        """Return the end of the log, at most LOG_TAIL characters."""
        return self.log.read_text(errors="replace")[-LOG_TAIL:].strip()

    def _failed(self, what: str) -> ServerFailed:
        name = Path(str(self._child.args[0])).name if isinstance(self._child.args, list) else "server"
        return ServerFailed(
            f"{name} (process {self.pid}) {what}\n{self.log_tail()}", hint=f"Its whole log is {self.log}."
        )

    def check_running(self) -> None:
        """Raise ServerFailed if the server has ended."""
        if not self.is_running():
            raise self._failed(f"ended with {self._child.returncode}")


def wait_until(
    check: Callable[[], object], what: str, *, deadline_s: float, process: Process | None = None
) -> None:
    """Return as soon as check is true.

    Raises ServerFailed after deadline_s, or at once when process has ended.

    what completes the sentence "waited in vain until …".
    """
    end = time.monotonic() + deadline_s
    pause = FIRST_PAUSE_S
    while not check():
        if process is not None:
            process.check_running()
        if time.monotonic() > end:
            tail = f"\n{process.log_tail()}" if process is not None else ""
            raise ServerFailed(f"waited {deadline_s:g} s in vain until {what}{tail}")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)
