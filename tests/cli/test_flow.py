"""The commands one after the other, on a real Redis: each says what it should, with its exit code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from drtool.demo.servers.redis import RedisServer, redis_program
from tests.cli.conftest import Place, Run, answer_of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer.create(redis_program("6.2"), tmp_path / "redis", {"repl-diskless-sync-delay": "0"})
    made.start()
    with Redis(port=made.port) as client:
        client.mset({f"key-{number}": "x" * 100 for number in range(1000)})
    yield made
    made.kill()


@pytest.fixture
def backed_up(run: Run, server: RedisServer, place: Place) -> Place:
    """A repository with one point of the server, which a policy allows to capture from the master."""
    place.write_policy(port=server.port)
    place.policy.write_text(
        place.policy.read_text().replace("source: redis", "source: redis, allow_master: true")
    )
    run("init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit)
    result = run("backup", "--policy", place.policy, "--bundle", place.bundle, "--json")
    assert result.exit_code == 0, result.output
    assert answer_of(result)["volumes"][0]["outcome"] == "done"
    return place


def packs(place: Place) -> list[Path]:
    return [file for file in place.store.glob("packs/**/*") if file.is_file()]


def runs(place: Place) -> list[Path]:
    return sorted(file for file in place.store.glob("runs/**/*") if file.is_file())


def test_what_was_backed_up_is_listed_judged_proven_and_restored(run: Run, backed_up: Place) -> None:
    writer = ("--policy", backed_up.policy, "--bundle", backed_up.bundle)
    kit = ("--policy", backed_up.policy, "--recovery-key-file", backed_up.kit)
    due = run("backup", *writer, "--due")
    assert due.exit_code == 0
    assert due.stdout.splitlines()[0] == "backup: 1 not due"
    listed = answer_of(run("points", "redis", *writer, "--json"))["points"]
    assert [point["state"] for point in listed] == ["listed"]
    assert run("points", *writer, "--at", listed[0]["end"]).exit_code == 0
    assert run("points", *writer, "--at", "1d ago").exit_code == 8
    assert run("status", *writer, "--check").exit_code == 0
    for level, keys in (("L0", writer), ("L1", writer), ("L2", kit)):
        assert run("verify", *keys, "--level", level).exit_code == 0
    proven = run("keys", "prove", "--policy", backed_up.policy, input=backed_up.kit.read_text())
    assert proven.stdout.splitlines()[0] == "keys prove: recovery-1 opens redis"
    target = backed_up.root / "restored"
    restore = ("restore", "redis", "--to-dir", target, *kit)
    planned = run(*restore, "--dry-run")
    assert planned.exit_code == 0
    assert not target.exists()
    done = answer_of(run(*restore, "--json", "--at", listed[0]["end"]))
    assert all(proof["ok"] for proof in done["restore"]["proofs"])
    assert (target / "dump.rdb").exists()
    again = run(*restore)
    assert again.exit_code == 5
    assert "hint: " in again.stderr


def test_a_dry_run_reads_all_the_same_but_keeps_no_record(run: Run, backed_up: Place) -> None:
    writer = ("--policy", backed_up.policy, "--bundle", backed_up.bundle)
    kit = ("--policy", backed_up.policy, "--recovery-key-file", backed_up.kit)
    typed = backed_up.kit.read_text()
    before = runs(backed_up)
    for level, keys in (("L1", writer), ("L2", kit)):
        dry = run("verify", *keys, "--level", level, "--dry-run")
        assert dry.exit_code == 0
        assert "this is not recorded: a dry run writes nothing" in dry.stdout
    dry = run("keys", "prove", "--policy", backed_up.policy, "--dry-run", input=typed)
    assert dry.stdout.splitlines()[1].startswith("Nothing was written")
    assert runs(backed_up) == before
    run("verify", *writer)
    run("keys", "prove", "--policy", backed_up.policy, input=typed)
    assert len(runs(backed_up)) == len(before) + 2


def test_the_kit_alone_restores_without_a_policy(run: Run, backed_up: Place) -> None:
    target = backed_up.root / "restored"
    result = run(
        "restore", "redis", "--to-dir", target,
        "--repository", f"file://{backed_up.store}", "--recovery-key-file", backed_up.kit,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("restore: redis is back as of ")


def test_a_policy_of_another_repository_is_said_with_how_to_go_on_without_it(
    run: Run, backed_up: Place
) -> None:
    other = backed_up.root / "shop.yaml"
    other.write_text(backed_up.policy.read_text().replace("name: forum", "name: shop"))
    target = backed_up.root / "restored"
    words = (
        "restore", "redis", "--to-dir", target,
        "--repository", f"file://{backed_up.store}", "--recovery-key-file", backed_up.kit,
    )  # fmt: skip

    exported = run(*words, env={"DRTOOL_POLICY": str(other)})
    given = run(*words, "--policy", other)
    alone = run("points", "--policy", other, "--recovery-key-file", backed_up.kit)

    assert {each.exit_code for each in (exported, given, alone)} == {2}
    assert f"DRTOOL_POLICY is set to {other}" in exported.stderr
    assert "`env -u DRTOOL_POLICY drtool" in exported.stderr
    assert "leave --policy out" in given.stderr
    assert "One repository serves one policy" in alone.stderr
    assert run(*words, env={"DRTOOL_POLICY": ""}).exit_code == 0


def test_an_option_of_another_source_is_refused_where_only_the_store_knows_the_source(
    run: Run, backed_up: Place
) -> None:
    result = run(
        "restore", "redis", "--to-dir", backed_up.root / "restored", "--leave", "running",
        "--repository", f"file://{backed_up.store}", "--recovery-key-file", backed_up.kit,
    )  # fmt: skip
    assert result.exit_code == 2
    assert "--leave running does nothing for redis" in result.stderr
    assert not (backed_up.root / "restored").exists()


def test_a_flipped_byte_ends_verify_and_restore_with_4_and_no_data(run: Run, backed_up: Place) -> None:
    pack = packs(backed_up)[0]
    content = bytearray(pack.read_bytes())
    content[-40] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    verified = run("verify", "--policy", backed_up.policy, "--bundle", backed_up.bundle)
    assert verified.exit_code == 4
    assert pack.name in verified.stdout
    target = backed_up.root / "restored"
    restored = run(
        "restore", "redis", "--to-dir", target,
        "--policy", backed_up.policy, "--recovery-key-file", backed_up.kit,
    )  # fmt: skip
    assert restored.exit_code == 4
    assert "Traceback" not in restored.stderr


@pytest.mark.parametrize("level", ["L0", "L1"])
def test_a_list_that_is_gone_is_named_once_in_its_line(run: Run, backed_up: Place, level: str) -> None:
    gone = [file for file in backed_up.store.glob("lists/**/*") if file.is_file()]
    for file in gone:
        file.unlink()
    writer = ("--policy", backed_up.policy, "--bundle", backed_up.bundle)

    verified = run("verify", "--level", level, *writer)

    assert verified.exit_code == 4
    lines = verified.stdout.splitlines()
    for name in (str(file.relative_to(backed_up.store)) for file in gone):
        [line] = [line for line in lines if line.startswith(name)]
        assert line.count(name) == 1, line
        assert f"{name}: is not in the store" in line


def test_a_key_of_another_repository_is_said_at_once(run: Run, backed_up: Place) -> None:
    other = Place(backed_up.root / "other")
    other.store.mkdir(parents=True)
    other.write_policy(port=1)
    run("init", "--policy", other.policy, "--bundle", other.bundle, "--kit-file", other.kit)
    for pack in packs(backed_up):
        pack.unlink()  # it would be missed by a download
    result = run(
        "restore", "redis", "--to-dir", backed_up.root / "restored",
        "--policy", backed_up.policy, "--recovery-key-file", other.kit,
    )  # fmt: skip
    assert result.exit_code == 5
    assert "belongs to another repository" in result.stderr
    assert not (backed_up.root / "restored").exists()


def test_a_server_that_is_away_ends_with_6_and_a_store_that_is_away_with_7(run: Run, made: Place) -> None:
    writer = ("--policy", made.policy, "--bundle", made.bundle)
    failed = run("backup", *writer)
    assert failed.exit_code == 6
    assert failed.stdout.splitlines()[0] == "backup: 1 failed"
    assert "error: redis: " in failed.stdout
    made.store.rename(made.root / "elsewhere")
    assert run("status", *writer).exit_code == 7


def test_what_lies_beside_a_restored_redis_is_the_owners_alone_and_its_passwords_are_named(
    run: Run, server: RedisServer, place: Place
) -> None:
    with server.connect() as connection:
        connection.call("CONFIG", "SET", "masterauth", "s3cret of the master")
    place.write_policy(port=server.port)
    place.policy.write_text(
        place.policy.read_text().replace("source: redis", "source: redis, allow_master: true")
    )
    run("init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit)
    assert run("backup", "--policy", place.policy, "--bundle", place.bundle).exit_code == 0
    kit = ("--policy", place.policy, "--recovery-key-file", place.kit)
    target = place.root / "restored"
    result = run("restore", "redis", "--to-dir", target, *kit)
    assert result.exit_code == 0, result.output
    [told] = [line for line in result.stdout.splitlines() if line.startswith("note: config.txt and acl.txt")]
    assert "config.txt holds in the clear: masterauth:" in told
    assert "s3cret" not in result.output
    assert "config.txt and acl.txt tell how the captured server was set up: no server reads them" in told
    assert {(target / name).stat().st_mode & 0o777 for name in ("config.txt", "acl.txt")} == {0o600}


def test_a_single_file_beside_a_restored_redis_is_told_of_as_one(
    run: Run, server: RedisServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BK_PASSWORD", "pw")
    may = ("-@all", "+psync", "+replconf", "+ping", "+info", "+config|get")
    with server.connect() as connection:
        connection.call("ACL", "SETUSER", "bk", "on", ">pw", *may)
    place.write_policy(port=server.port)
    user = "allow_master: true, username: bk, password: {env: BK_PASSWORD}"
    place.policy.write_text(place.policy.read_text().replace("source: redis", f"source: redis, {user}"))
    run("init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit)
    run("backup", "--policy", place.policy, "--bundle", place.bundle)
    kit = ("--policy", place.policy, "--recovery-key-file", place.kit)

    result = run("restore", "redis", "--to-dir", place.root / "restored", *kit)

    [told] = [line for line in result.stdout.splitlines() if line.startswith("note: config.txt")]
    assert (
        "config.txt tells how the captured server was set up: no server reads it, only its owner may" in told
    )
    assert told.endswith("delete it once yours is set up")


def test_a_backup_says_what_a_redis_did_not_let_it_read(
    run: Run, server: RedisServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BK_PASSWORD", "pw")
    with server.connect() as connection:
        connection.call("ACL", "SETUSER", "bk", "on", ">pw", "-@all", "+psync", "+replconf", "+ping", "+info")
    place.write_policy(port=server.port)
    user = "allow_master: true, username: bk, password: {env: BK_PASSWORD}"
    place.policy.write_text(place.policy.read_text().replace("source: redis", f"source: redis, {user}"))
    run("init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit)
    backup = ("backup", "--policy", place.policy, "--bundle", place.bundle)
    told = "note: redis: not captured, for drtool may not read it: its configuration and its users;"
    result = run(*backup)
    assert result.exit_code == 0, result.output
    assert told in result.stdout
    with server.connect() as connection:
        connection.call("ACL", "SETUSER", "bk", "+config|get", "+acl|list")
    assert told not in run(*backup).stdout
