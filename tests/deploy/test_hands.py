"""The hands: programs that another process runs, with their arguments, environment, output, signals and end."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from drtool.deploy.hands import AGENT, agent_command
from tests.cluster.process import wait_until

SHELLS = [["sh"], ["bash", "--posix"]]
PROGRAM = """\
#!/bin/sh
case $1 in
tell) printf '%s|' "$@" "$TOLD" "$PWD"; echo aside >&2; exit 7 ;;
read) cat ;;
trap) trap 'echo caught; exit 3' TERM; echo $$; while :; do sleep 0.02; done ;;
stay) echo $$; exec sleep 60 ;;
esac
"""


class Hands:
    """An agent that has one program, called postgres."""

    def __init__(self, root: Path, shell: list[str]) -> None:
        self.folder = root / "hands"
        self.programs = root / "programs"
        self.programs.mkdir()
        (self.programs / "postgres").write_text(PROGRAM)
        (self.programs / "postgres").chmod(0o755)
        self._shell = shell
        self.start()

    def start(self) -> None:
        path = f"{self.programs}:{os.defpath}"
        command = [*self._shell, "-c", AGENT, "hands", str(self.folder)]
        (self.folder / "ready").unlink(missing_ok=True)
        self.agent = subprocess.Popen(command, env={"PATH": path, "OWN": "agent"}, start_new_session=True)
        wait_until((self.folder / "ready").exists, "the agent is ready", deadline_s=20)

    def begin(self, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.folder / "bin/postgres", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/usr",
            env={"PATH": os.defpath, **(env or {})},
        )

    def end(self) -> None:
        """End the agent and all that it started, as the end of a container does."""
        os.killpg(self.agent.pid, signal.SIGKILL)
        self.agent.wait()


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def hands(request: pytest.FixtureRequest) -> Iterator[Hands]:
    root = Path(tempfile.mkdtemp(prefix="drtool-hands-"))
    made = Hands(root, request.param)
    yield made
    made.end()
    shutil.rmtree(root)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_a_program_gets_its_arguments_and_gives_its_output_and_exit_code(hands: Hands) -> None:
    odd = ["", "two words", "it's", '$HOME `id` \\ "', "line\nline", "*"]
    done = hands.begin("tell", *odd, env={"TOLD": "it's\ttold"})
    out, err = done.communicate(timeout=20)
    assert out == "|".join(["tell", *odd, "it's\ttold", "/usr", ""])
    assert (err, done.returncode) == ("aside\n", 7)
    wait_until(
        lambda: not list((hands.folder / "requests").iterdir()),
        "nothing is left of the request",
        deadline_s=20,
    )


def test_it_has_no_input_and_many_run_side_by_side(hands: Hands) -> None:
    running = [hands.begin("read") for _ in range(5)]
    assert [each.communicate(timeout=20) for each in running] == [("", "")] * 5
    assert {each.returncode for each in running} == {0}


def test_a_signal_reaches_the_program(hands: Hands) -> None:
    running = hands.begin("trap")
    pid_of(running)
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=20) == ("caught\n", "")
    assert running.returncode == 3


def test_a_program_whose_shim_was_killed_is_killed_before_another_begins(hands: Hands) -> None:
    running = hands.begin("stay")
    pid = pid_of(running)
    running.kill()
    running.communicate(timeout=20)
    assert hands.begin("read").communicate(timeout=20) == ("", "")
    assert not is_alive(pid)
    wait_until(
        lambda: not list((hands.folder / "requests").iterdir()),
        "nothing is left of the request",
        deadline_s=20,
    )


def test_who_waits_for_an_agent_that_dies_is_told(hands: Hands) -> None:
    running = hands.begin("stay")
    pid_of(running)
    hands.end()
    out, err = running.communicate(timeout=20)
    assert (out, running.returncode) == ("", 70)
    assert f"the container that has {hands.programs}/postgres is gone" in err
    late = hands.begin("read")
    assert "is gone" in late.communicate(timeout=20)[1]
    assert late.returncode == 70


def test_an_agent_that_begins_anew_ends_who_waits_for_the_one_before(hands: Hands) -> None:
    hands.agent.send_signal(signal.SIGSTOP)
    waiting = hands.begin("read")
    wait_until(
        lambda: bool(list((hands.folder / "requests").glob("*/shim"))), "somebody waits", deadline_s=20
    )
    hands.end()
    hands.start()
    assert "is gone" in waiting.communicate(timeout=20)[1]
    assert waiting.returncode == 70
    assert hands.begin("read").communicate(timeout=20) == ("", "")


def test_what_is_not_there_has_no_shim(hands: Hands) -> None:
    there = {each.name for each in (hands.folder / "bin").iterdir()}
    assert "postgres" in there
    assert not {"pg_verifybackup", "pg_checksums", "valkey-server"} & there
    assert agent_command("/hands") == ["sh", "-c", AGENT, "hands", "/hands"]
