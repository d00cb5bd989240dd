import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click
import pytest
from click.testing import CliRunner

from drtool.cli import options
from drtool.cli.output import Answer
from drtool.cli.progress import NoProgress
from drtool.cli.units import relative
from drtool.errors import UsageError
from drtool.operations.session import KeyFiles
from tests.cli.conftest import Place, Run


@click.command()
@options.common(options.PLACE, options.KEYS)
def probe(invocation: options.Invocation) -> int:
    facts = {
        "policy": invocation.policy,
        "where": invocation.where,
        "bundle": invocation.keys.bundle,
        "recovery": invocation.keys.recovery,
    }
    return invocation.say(Answer("probe", "a verdict", "", facts))


def call(arguments: Sequence[str], **options: object) -> str:
    result = CliRunner().invoke(probe, arguments, standalone_mode=False, **options)  # type: ignore[arg-type]
    if result.exception:
        raise result.exception
    return result.stdout


def test_options_come_from_the_command_line_or_the_environment(run: Run, place: Place) -> None:
    place.bundle.touch()
    given = call(["--json", "--policy", str(place.policy), "--bundle", str(place.bundle)])
    names = {"DRTOOL_POLICY": str(place.policy), "DRTOOL_BUNDLE": str(place.bundle)}
    assert call(["--json"], env=names) == given
    assert str(place.bundle) in given


def test_time_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 7200.0, time.CLOCK_MONOTONIC: 1.0}.get)
    world = options.Invocation(
        as_json=True, progress=NoProgress(), policy=None, where=None, keys=KeyFiles()
    ).world

    assert world.elapsed() == 7200


def test_a_repository_is_told_without_a_policy(run: Run) -> None:
    told = call(["--json", "--repository", "s3://dr/forum", "--endpoint", "https://s3:9000", "--region", "x"])
    for part in ("s3://dr/forum", "https://s3:9000", '"region": "x"'):
        assert part in told


@pytest.mark.parametrize("option", ["--endpoint", "--region", "--ca-file"])
def test_what_belongs_to_a_repository_is_refused_without_one(run: Run, option: str) -> None:
    result = run("points", option, "x")
    assert result.exit_code == 2
    assert f"{option} goes with --repository" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "colored"),
    [
        (["--color", "always"], {}, True),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {}, False),
        ([], {}, False),  # no terminal
    ],
)
def test_colour_is_as_it_was_asked_for(
    run: Run,
    arguments: list[str],
    environment: dict[str, str],
    colored: bool,  # noqa: FBT001
) -> None:
    assert ("\x1b[" in call(arguments, env=environment)) is colored


def test_no_color_is_heeded_where_colour_is_left_to_drtool(run: Run) -> None:
    with_color = CliRunner().invoke(probe, [], color=True, standalone_mode=False)
    without = CliRunner().invoke(probe, [], color=True, env={"NO_COLOR": "1"}, standalone_mode=False)
    assert "\x1b[" in with_color.stdout
    assert "\x1b[" not in without.stdout


def test_neither_policy_nor_repository_is_wrong_usage(run: Run) -> None:
    result = run("points")
    assert result.exit_code == 2
    assert "hint: Give --policy FILE, or set DRTOOL_POLICY; or --repository URL with" in result.stderr


@pytest.mark.parametrize("command", [["backup"], ["backup", "--due"], ["wal", "catch-up", "--dry-run"]])
def test_what_works_on_servers_asks_for_a_policy_and_for_nothing_that_would_not_do(
    run: Run, command: list[str]
) -> None:
    result = run(*command, "--repository", "file:///nowhere")
    assert result.exit_code == 2
    assert result.stderr == "error: this needs a policy\nhint: Give --policy FILE, or set DRTOOL_POLICY.\n"


def test_a_time_without_a_zone_is_wrong_usage(run: Run, made: Place) -> None:
    result = run("points", "--policy", made.policy, "--bundle", made.bundle, "--at", "2026-11-25T10:00:00")
    assert result.exit_code == 2
    assert "has no time zone" in result.stderr


@pytest.mark.parametrize(
    ("text", "code"), [("5%", 0), ("0.5", 0), ("100%", 0), ("0%", 2), ("101%", 2), ("half", 2)]
)
def test_a_share_is_above_nothing_and_up_to_all(run: Run, made: Place, text: str, code: int) -> None:
    result = run("verify", "--policy", made.policy, "--bundle", made.bundle, "--share", text)
    assert result.exit_code == code, result.output


def test_a_share_of_names_and_references_is_refused_before_the_store_is_asked(run: Run, place: Place) -> None:
    result = run("verify", "--policy", place.policy, "--level", "L0", "--share", "5%")
    assert result.exit_code == 2
    assert "--share does nothing at L0" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tablespace", "/a=/b"], "--tablespace does nothing for redis, which is of source redis"),
        (["--leave", "running"], "--leave running does nothing for redis"),
    ],
)
def test_an_option_of_another_source_is_refused_before_anything_is_contacted(
    run: Run, place: Place, options: list[str], message: str
) -> None:
    """There is no repository, and no key."""
    result = run("restore", "redis", "--to-dir", place.root / "x", "--policy", place.policy, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_clock_is_read_when_it_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment that lies behind the begin of the command is in the past when it is told."""
    ticks = iter(datetime(2026, 11, 25, 12, 0, second, tzinfo=UTC) for second in range(60))
    monkeypatch.setattr(options, "_utc_now", lambda: next(ticks))

    @click.command()
    @options.common()
    def slow(invocation: options.Invocation) -> int:
        captured = invocation.world.clock()
        return invocation.say(Answer("slow", relative(captured, invocation.now), ""))

    assert CliRunner().invoke(slow, [], standalone_mode=False).stdout.splitlines()[0] == "1 s ago"


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), UsageError("no")])
def test_a_command_that_raises_leaves_no_progress_that_looks_done(fault: BaseException) -> None:
    @click.command()
    @options.common()
    def failing(invocation: options.Invocation) -> int:
        invocation.progress.phase("base")
        invocation.progress.advance(2048)
        raise fault

    result = CliRunner().invoke(failing, [], standalone_mode=False)
    assert result.exception is not None
    assert result.stderr.splitlines()[1].endswith(", interrupted")


def test_wal_without_a_volume_needs_exactly_one_of_postgresql(run: Run, made: Place) -> None:
    result = run("wal", "catch-up", "--policy", made.policy, "--bundle", made.bundle)
    assert result.exit_code == 2
    assert "the policy has 0 volumes of PostgreSQL" in result.stderr
