"""A runner brings back one point with its grant and what may get objects: no policy, no kit, no bundle."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

import pytest

from drtool.demo.servers.postgres import PostgresServer
from drtool.repository.kit import parse_runner
from tests.conftest import S3Server
from tests.scenarios.commands import Commands, Said, s3_repository
from tests.scenarios.conftest import System
from tests.scenarios.files import Files, make_files
from tests.sources.files.trees import look


@dataclass(frozen=True)
class Runner:
    """A folder that holds nothing but a runner's key, and the grants that it is sent."""

    folder: Path
    drtool: Commands

    @property
    def key(self) -> Path:
        return self.folder / "runner.key"

    @property
    def where(self) -> list[object]:
        told = self.drtool.content["repository"]
        endpoint = ["--endpoint", told["endpoint"]] if "endpoint" in told else []
        return ["--repository", told["url"], *endpoint]

    def make(self, *arguments: object) -> str:
        """Make the runner's key; return its public line."""
        said = self.drtool.alone("keys", "runner", self.key, *arguments)
        line: str = said.value["runner"]
        return line

    def restore(self, volume: str, directory: Path, grant: Path, *arguments: object, code: int = 0) -> Said:
        keys = ("--grant", grant, "--runner-key-file", self.key)
        given = (*self.where, *keys, *arguments)
        return self.drtool.alone("restore", volume, "--to-dir", directory, *given, code=code)


def runner_of(drtool: Commands, folder: Path) -> Runner:
    folder.mkdir()
    return Runner(folder, drtool)


def granted(runner: Runner, volume: str, *arguments: object, code: int = 0) -> Said:
    """Have the operator make a grant to the runner."""
    line = parse_runner(runner.key.read_text()).public_text()
    output = runner.folder / "grant"
    output.unlink(missing_ok=True)
    return runner.drtool.operator(
        "keys", "grant", volume, "--to", line, "--output", output, *arguments, code=code
    )


def rows(system: System, target: Path) -> int:
    server = system.scene.postgres
    with PostgresServer(target, server.bin_dir, password=server.password, fast=True) as restored:
        [[count]] = restored.sql("select count(*) from pg_tables where tablename = 'post'")
        if count:
            [[count]] = restored.sql("select count(*) from post")
    return int(count)


@pytest.fixture
def mover(system: System) -> Iterator[Runner]:
    made = runner_of(system.drtool, system.scene.directory / "mover")
    yield made
    rmtree(made.folder)


def test_postgresql_comes_back_by_a_grant_at_a_moment_and_at_the_newest(
    system: System, mover: Runner
) -> None:
    runner = mover
    runner.make("--recovery-key-file", system.drtool.kit)
    for number, (arguments, expected) in enumerate(
        [
            (("--at", system.when_empty.isoformat()), 0),
            ((), 500),
            (("--at", system.when_filled.isoformat()), 500),
        ]
    ):
        made = granted(runner, "postgres", *arguments).value["grant"]
        assert made["wal"] > 0
        target = system.scene.directory / f"granted-{number}"  # the account of PostgreSQL may write here
        said = runner.restore(
            "postgres", target, runner.folder / "grant", "--bin-dir", system.scene.postgres.bin_dir
        )
        assert said.value["restore"]["point"] == made["point"]
        assert all(proof["ok"] for proof in said.value["restore"]["proofs"])
        assert rows(system, target) == expected
        rmtree(target)


def test_redis_comes_back_by_a_grant(system: System, mover: Runner) -> None:
    runner = mover
    runner.make("--bundle", system.drtool.bundle)
    newest = max(system.drtool("points", "redis").value["points"], key=lambda point: point["end"])
    granted(runner, "redis", "--point", newest["id"])
    said = runner.restore("redis", runner.folder / "data", runner.folder / "grant")
    assert said.value["restore"]["point"] == newest["name"]
    assert all(proof["ok"] for proof in said.value["restore"]["proofs"])


@pytest.fixture
def runner(kept: Files, tmp_path: Path) -> Runner:
    kept.backup()
    made = runner_of(kept.drtool, tmp_path / "mover")
    made.make("--bundle", kept.drtool.bundle)
    return made


def test_files_come_back_by_a_grant_of_an_earlier_point(kept: Files, runner: Runner) -> None:
    before = look(kept.tree)
    granted(runner, "media", "--at", kept.points()[0].end.isoformat())
    (kept.tree / "plain").write_bytes(b"HELLO")
    kept.backup()
    said = runner.restore("media", runner.folder / "data", runner.folder / "grant")
    assert look(runner.folder / "data") == before
    assert "3 proofs hold" in said.value["verdict"]


def test_a_grant_in_pieces_is_one_again(kept: Files, runner: Runner) -> None:
    granted(runner, "media")
    value = (runner.folder / "grant").read_bytes()
    pieces = [runner.folder / "grant-a", runner.folder / "grant-b"]
    pieces[0].write_bytes(value[:300])
    pieces[1].write_bytes(value[300:])
    runner.restore("media", runner.folder / "data", pieces[0], "--grant", pieces[1])
    assert look(runner.folder / "data") == look(kept.tree)
    said = runner.restore("media", runner.folder / "other", pieces[0], code=4)
    assert "sealed bytes do not authenticate" in said.error["message"] or "cut short" in said.error["message"]


def test_what_is_made_is_for_its_owner_and_overwrites_nothing(runner: Runner) -> None:
    granted(runner, "media")
    line = parse_runner(runner.key.read_text()).public_text()
    for file in (runner.key, runner.folder / "grant"):
        assert file.stat().st_mode & 0o777 == 0o600
    assert runner.drtool.alone("keys", "runner", runner.key, code=5).error["hint"]
    output = runner.folder / "grant"
    again = ("keys", "grant", "media", "--to", line, "--output", output)
    assert "is there already" in runner.drtool.operator(*again, code=5).error["message"]


def test_a_dry_run_makes_nothing_and_says_how_large_it_would_be(runner: Runner) -> None:
    said = granted(runner, "media", "--dry-run")
    assert said.value["dry_run"]
    assert said.value["grant"]["size"] > 0
    other = runner.folder / "other.key"
    assert runner.drtool.alone("keys", "runner", other, "--dry-run").value["runner"] is None
    assert {file.name for file in runner.folder.iterdir()} == {"runner.key"}
    granted(runner, "media")
    runner.restore("media", runner.folder / "data", runner.folder / "grant", "--dry-run")
    assert {file.name for file in runner.folder.iterdir()} == {"grant", "runner.key"}


def test_who_grants_needs_both_keys_of_the_kit(runner: Runner, tmp_path: Path) -> None:
    half = tmp_path / "half.txt"
    lines = runner.drtool.kit.read_text().splitlines()
    half.write_text("\n".join(line for line in lines if line.startswith("DRTOOL-RECOVERY-")))
    line = parse_runner(runner.key.read_text()).public_text()
    output = runner.folder / "grant"
    said = runner.drtool.operator(
        "keys", "grant", "media", "--to", line, "--output", output, kit=half, code=5
    )
    assert "no operator's key is at hand" in said.error["message"]
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (("--point", "no-such"), 8, "no points of media that may be chosen are called no-such"),
        (("--point", "x", "--at", "2026-01-01T00:00:00Z"), 2, "--at and --point both choose"),
        (("--at", "2020-01-01T00:00:00Z"), 8, "no point before the moment"),
    ],
)
def test_a_grant_of_no_point_says_why(
    runner: Runner, arguments: tuple[object, ...], code: int, fault: str
) -> None:
    assert fault in granted(runner, "media", *arguments, code=code).error["message"]
    assert not (runner.folder / "grant").exists()


def test_what_is_no_public_line_is_refused(runner: Runner) -> None:
    seed = runner.key.read_text().splitlines()[0]
    output = runner.folder / "grant"
    said = runner.drtool.operator("keys", "grant", "media", "--to", seed, "--output", output, code=2)
    assert "no runner's public key" in said.error["message"]
    assert seed not in said.out + said.err


@pytest.mark.parametrize("option", [("--at", "2026-01-01T00:00:00Z"), ("--as-of", "x"), ("--accept-late",)])
def test_a_grant_leaves_nothing_to_choose(runner: Runner, option: tuple[str, ...]) -> None:
    granted(runner, "media")
    said = runner.restore("media", runner.folder / "data", runner.folder / "grant", *option, code=2)
    assert f"{option[0]} chooses a point, and the grant has chosen one" in said.error["message"]


def test_a_grant_is_of_one_volume(runner: Runner) -> None:
    granted(runner, "media")
    said = runner.restore("other", runner.folder / "data", runner.folder / "grant", code=2)
    assert "the grant is for volume media, not for other" in said.error["message"]


def test_a_grant_alone_and_a_runners_key_alone_are_not_enough(runner: Runner) -> None:
    granted(runner, "media")
    target = ("restore", "media", "--to-dir", runner.folder / "data", *runner.where)
    for half in (("--grant", runner.folder / "grant"), ("--runner-key-file", runner.key)):
        said = runner.drtool.alone(*target, *half, code=2)
        assert "go together" in said.error["message"]


def test_a_runner_of_another_repository_refuses_the_grant(runner: Runner, tmp_path: Path) -> None:
    granted(runner, "media")
    place = tmp_path / "elsewhere"
    (place / "repository").mkdir(parents=True)
    other = make_files(place, {"url": f"file://{place}/repository"})
    stranger = runner_of(runner.drtool, tmp_path / "stranger")
    stranger.make("--bundle", other.drtool.bundle)
    said = stranger.restore("media", tmp_path / "data", runner.folder / "grant", code=5)
    assert "made for another runner" in said.error["message"]
    trust = stranger.key.read_text().splitlines()[1]
    runner.key.write_text(runner.key.read_text().splitlines()[0] + "\n" + trust)
    said = runner.restore("media", tmp_path / "data", runner.folder / "grant", code=5)
    assert "another repository than the one that this runner trusts" in said.error["message"]
    assert not (tmp_path / "data").exists()


def test_a_key_file_that_is_not_there_or_no_text_is_named(runner: Runner) -> None:
    granted(runner, "media")
    for content in (None, b"\xff\xfe"):
        runner.key.unlink(missing_ok=True)
        if content is not None:
            runner.key.write_bytes(content)
        said = runner.restore("media", runner.folder / "data", runner.folder / "grant", code=2)
        assert f"the key file {runner.key} cannot be read" in said.error["message"]


def test_a_runner_without_trust_is_told_so(kept: Files, tmp_path: Path) -> None:
    key = tmp_path / "any.key"
    said = kept.drtool.alone("keys", "runner", key)
    assert said.value["trust"] is None
    assert parse_runner(key.read_text()).trust is None


@pytest.fixture
def bucket(tmp_path: Path, s3_server: S3Server) -> tuple[Files, Runner]:
    """Files that are backed up to a bucket that keeps versions, and a runner."""
    s3 = s3_server.at(s3_server.versioned)
    assert s3.credentials
    keys = s3.credentials()
    secrets = {"SCENE_ACCESS_KEY": keys.access_key, "SCENE_SECRET_KEY": keys.secret_key}
    files = make_files(tmp_path, s3_repository(s3), **secrets)
    files.backup()
    runner = runner_of(files.drtool, tmp_path / "mover")
    runner.make("--bundle", files.drtool.bundle)
    return files, runner


def test_a_runner_without_credentials_restores_by_urls_that_were_signed(bucket: tuple[Files, Runner]) -> None:
    files, runner = bucket
    urls = runner.folder / "urls"
    said = granted(runner, "media", "--presign", "6h", "--urls-output", urls)
    assert set(said.value["files"]) == {str(runner.folder / "grant"), str(urls)}
    assert urls.stat().st_mode & 0o777 == 0o600
    keys = ("--grant", runner.folder / "grant", "--runner-key-file", runner.key)
    target = runner.folder / "data"
    bare = replace(files.drtool, environment={})  # no credentials
    bare.alone("restore", "media", "--to-dir", target, "--repository", f"urls://{urls}", *keys)
    assert look(target) == look(files.tree)
    shown = "".join(files.drtool.said + bare.said)
    assert "X-Amz-Signature" not in shown


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--presign", "6h"), "--presign and --urls-output go together"),
        (("--presign", "soon", "--urls-output", "x"), "--presign soon is no duration"),
        (("--presign", "8d", "--urls-output", "x"), "URLs are signed for 1 s to 7 days"),
        (("--presign", "1h", "--urls-output", "x"), "only a bucket has URLs that are signed"),
    ],
)
def test_urls_that_nobody_can_sign_are_refused(
    runner: Runner, arguments: tuple[str, ...], fault: str
) -> None:
    given = [runner.folder / each if each == "x" else each for each in arguments]
    said = granted(runner, "media", *given, code=2)
    assert fault in said.error["message"]
    assert {file.name for file in runner.folder.iterdir()} == {"runner.key"}
