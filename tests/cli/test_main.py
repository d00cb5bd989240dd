import base64
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from drtool import __version__
from drtool.cli.main import COMMANDS, drtool
from drtool.errors import NoRecoveryPoint, StoreOutage, WrongKey
from tests.cli.conftest import Place, Run, answer_of
from tests.sources.kubernetes.api import write_kubeconfig

PROGRAM = [sys.executable, "-m", "drtool"]


def leaves() -> Iterator[tuple[list[str], click.Command]]:
    """Yield every command with its words, those of groups included."""
    context = click.Context(drtool)
    for name in COMMANDS:
        command = drtool.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from (([name, each], command.commands[each]) for each in command.commands)
        else:
            yield [name], command


def test_help_lists_every_command_in_words_of_the_command_itself(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    context = click.Context(drtool)
    for name, text in COMMANDS.items():
        assert f"{name} " in result.stdout
        assert text in " ".join(result.stdout.split())
        command = drtool.get_command(context, name)
        assert command is not None
        assert (command.help or "").splitlines()[0] == text


def test_help_of_every_command_lists_its_exit_codes(run: Run) -> None:
    for words, _command in leaves():
        result = run(*words, "--help")
        assert result.exit_code == 0
        listed = result.stdout.partition("Exit codes:\n")[2]
        for line in ("0    done", "2    wrong usage", "130  interrupted", "143  terminated"):
            assert line in listed, words


def test_every_command_takes_the_options_of_output() -> None:
    for words, command in leaves():
        options = {option for parameter in command.params for option in parameter.opts}
        assert options >= {"--json", "--color", "--progress", "--debug"}, words


WRITING = [
    *("backup", "doctor", "init", "keys enrol", "keys grant", "keys new", "keys prove"),
    *("keys reader", "keys runner", "keys volumes", "queues purge", "queues release"),
    *("render", "restore", "verify", "wal catch-up"),
]


def test_every_command_that_writes_has_a_dry_run() -> None:
    """`demo` writes nothing but its own files, and deletes them; `wal follow` goes on until it is asked to end."""
    having = [
        " ".join(words)
        for words, command in leaves()
        if any("--dry-run" in parameter.opts for parameter in command.params)
    ]
    assert sorted(having) == WRITING


def test_help_names_the_levels_of_a_verification_as_the_manual_does(run: Run) -> None:
    assert "[L0|L1|L2]" in run("verify", "--help").output


def test_help_and_version_load_nothing_that_is_slow() -> None:
    code = (
        "import sys; before = set(sys.modules); from drtool.cli.main import drtool\n"
        "try: drtool.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "slow = {'boto3', 'cryptography', 'pydantic', 'psycopg', 'rich', 'ruamel', 'json', 'difflib', 'traceback'}\n"
        "print(sorted(slow & (set(sys.modules) - before)))"  # what measures coverage loads some of them
    )
    for option in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, option], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_what_a_command_imported_is_not_looked_through_for_garbage_and_the_rest_is() -> None:
    code = (
        "import gc, sys; from drtool.cli.main import main\n"
        "sys.argv = ['drtool', 'backup', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True True"


def test_no_command_runs_another_program_by_being_loaded() -> None:
    code = (
        "import sys; from importlib import import_module; from drtool.cli.main import COMMANDS, HIDDEN\n"
        "ran = []\n"
        "sys.addaudithook(lambda event, given: event == 'subprocess.Popen' and ran.append(given[0]))\n"
        "for name in (*COMMANDS, *HIDDEN): import_module(f'drtool.cli.{name}')\n"
        "print(ran)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").stdout == f"drtool, version {__version__}\n"


def test_without_a_command_the_help_is_shown_and_the_usage_is_wrong(run: Run) -> None:
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["bakup"], "there is no command bakup", "Did you mean `drtool backup`?"),
        (["xyz"], "there is no command xyz", "`drtool --help` lists the commands."),
        (["backup", "--du"], "no such option '--du'", "`drtool backup --help` shows how it is used."),
        (["restore"], "a restore goes to one place", "Give --to-dir DIR, or --to-cluster CONTEXT."),
        (["policy", "chek"], "no such command 'chek'", "`drtool policy --help` shows how it is used."),
        (
            ["backup", "--policy", "/none"],
            "'--policy': File '/none' does not exist",
            "`drtool backup --help`",
        ),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(run: Run, arguments: list[str], message: str, hint: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert f"hint: {hint}" in result.stderr
    assert result.stdout == ""


def test_wrong_usage_with_json_is_an_object_on_stdout(run: Run) -> None:
    error = answer_of(run("backup", "--json", "--nothing"))["error"]
    assert (error["kind"], error["exit_code"]) == ("UsageError", 2)


Fail = Callable[[BaseException], None]


@pytest.fixture
def demo_raises(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Make `drtool demo` a command that raises."""

    def install(fault: BaseException) -> None:
        @click.command("demo")
        @click.option("--json", is_flag=True)
        @click.option("--debug", is_flag=True)
        def command(**_given: object) -> None:
            raise fault

        monkeypatch.setitem(sys.modules, "drtool.cli.demo", SimpleNamespace(command=command))

    return install


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (WrongKey("not this key", hint="Look."), 5, "error: not this key\nhint: Look.\n"),
        (NoRecoveryPoint("none"), 8, "error: none\n"),
        (StoreOutage("away"), 75, "error: away\n"),
        (
            OSError(28, "No space left on device", "/x/y"),
            1,
            "error: /x/y: No space left on device\nhint: Make room there, and run it again.\n",
        ),
        (
            OSError(2, "No usable temporary directory found in ['/tmp']"),
            1,
            "refuses: No usable temporary directory found in ['/tmp']\nhint: Make room there, or name another folder",
        ),
        (OSError(24, "Too many open files"), 1, "error: the system refuses: Too many open files\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_an_error_ends_with_its_own_code_and_words(
    run: Run, demo_raises: Fail, fault: BaseException, code: int, message: str
) -> None:
    demo_raises(fault)
    result = run("demo")
    assert result.exit_code == code
    assert message in result.stderr.lstrip("\n")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_an_error_that_nobody_foresaw_says_where_and_not_what(run: Run, demo_raises: Fail) -> None:
    demo_raises(ValueError("password is s3cret"))
    result = run("demo", "--json")
    assert result.exit_code == 1
    assert "s3cret" not in result.output
    assert "ValueError at test_main.py:" in answer_of(result)["error"]["message"]


def test_debug_shows_where_an_error_came_from(run: Run, demo_raises: Fail) -> None:
    demo_raises(ValueError("what"))
    for result in (run("demo", "--debug"), run("demo", env={"DRTOOL_DEBUG": "1"})):
        assert "Traceback" in result.stderr
        assert "ValueError: what" in result.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_with_its_code_and_without_a_traceback(place: Place, sent: int, code: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "keys", "prove", "--policy", place.policy],
        stdin=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Type the lines of the kit")  # now it waits for the key
        process.send_signal(sent)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    assert process.returncode == code
    assert "error: " in errors
    assert "Traceback" not in errors


def test_a_reader_that_goes_away_is_no_error_to_talk_about() -> None:
    process = subprocess.Popen([*PROGRAM, "policy", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=20)
    assert errors == b""
    assert process.returncode == 1


_HANGS = """
import atexit, sys, threading
from drtool.cli.exits import ENDING
from drtool.cli.main import main
from drtool.sources.kubernetes.client import Cluster

if "hangs" in sys.argv:
    atexit.register(threading.Event().wait)
Cluster.open(None, {"KUBECONFIG": sys.argv[1]})
threading.Thread(target=threading.Event().wait).start()
ENDING.set()
sys.argv[1:] = ["--version"]
main()
"""


@pytest.mark.parametrize("more", [(), ("hangs",)])
def test_who_ends_though_a_thread_hangs_leaves_no_key_of_a_kubeconfig_in_a_file(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    secret = base64.b64encode(b"a key").decode()
    config = write_kubeconfig(tmp_path, "https://127.0.0.1:1")
    told = json.loads(config.read_text())
    told["users"][0]["user"] = {"client-certificate-data": secret, "client-key-data": secret}
    config.write_text(json.dumps(told))
    (tmp_path / "scratch").mkdir()

    found = subprocess.run(
        [sys.executable, "-c", _HANGS, str(config), *more],
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch")},
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("drtool")
    assert [each.name for each in (tmp_path / "scratch").iterdir()] == []
