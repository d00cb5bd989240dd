import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from drtool.repository.format.text import find_keys
from tests.cli.conftest import Place, Run, answer_of
from tests.cli.terminal import run_on_terminal
from tests.cli.test_main import PROGRAM


def stored(place: Place) -> list[str]:
    return sorted(str(file.relative_to(place.store)) for file in place.store.rglob("*-*") if file.is_file())


def test_init_writes_keys_that_only_their_owner_can_read(made: Place) -> None:
    files = [made.bundle, made.kit, Path(f"{made.kit}.admin")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    assert find_keys(made.kit.read_text()).keys() == {"RECOVERY", "OPERATOR"}
    assert find_keys(files[2].read_text()).keys() == {"ADMIN"}
    assert json.loads(made.bundle.read_text())["role"] == "writer"
    assert [name.partition("-")[0] for name in stored(made)] == ["config/0"]


def test_init_prints_no_key_where_the_kit_goes_into_a_file(run: Run, place: Place) -> None:
    result = run(
        "init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit, "--json"
    )
    assert result.exit_code == 0
    assert "DRTOOL-" not in result.output
    answer = answer_of(result)
    assert answer["repository"]["recipients"] == ["recovery-1"]
    assert answer["files"] == [str(place.bundle), str(place.kit), f"{place.kit}.admin"]
    assert {probe["name"]: probe["ok"] for probe in answer["repository"]["probes"]}["an object reads back"]


def test_init_with_several_recipients_writes_a_kit_for_each(run: Run, place: Place) -> None:
    recipients = ("--recipient", "ann", "--recipient", "bob")
    result = run(
        "init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit, *recipients
    )
    assert result.exit_code == 0
    kits = [find_keys(Path(f"{place.kit}.{name}").read_text()) for name in ("ann", "bob")]
    assert kits[0]["RECOVERY"] != kits[1]["RECOVERY"]
    assert not place.kit.exists()


def test_init_on_a_terminal_shows_the_kit_once(place: Place) -> None:
    code, shown = run_on_terminal([*PROGRAM, "init", "--policy", place.policy, "--bundle", place.bundle])
    assert code == 0, shown
    assert find_keys(shown).keys() == {"RECOVERY", "OPERATOR", "ADMIN"}
    assert shown.index("RECOVERY KIT") < shown.index("init: forum has repository")


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_init_without_a_terminal_wants_a_kit_file_before_it_does_anything(
    run: Run, place: Place, more: list[str]
) -> None:
    result = run("init", "--policy", place.policy, "--bundle", place.bundle, *more)
    assert result.exit_code == 2
    assert "--kit-file" in result.stderr
    assert not place.bundle.exists()


@pytest.mark.parametrize("name", ["bundle.json", "kit", "kit.admin"])
def test_init_never_overwrites_a_file(run: Run, place: Place, name: str) -> None:
    (place.root / name).write_text("precious")
    result = run("init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit)
    assert result.exit_code == 5
    assert f"{place.root / name} is there already" in result.stderr
    assert (place.root / name).read_text() == "precious"
    assert stored(place) == []


def test_init_into_a_folder_that_is_not_there_is_wrong_usage(run: Run, place: Place) -> None:
    bundle = place.root / "none" / "bundle"
    result = run("init", "--policy", place.policy, "--bundle", bundle, "--kit-file", place.kit)
    assert result.exit_code == 2
    assert f"the folder of {bundle} is not there" in result.stderr


def test_a_second_init_is_refused_and_leaves_no_keys(run: Run, made: Place) -> None:
    before = stored(made)
    result = run(
        "init", "--policy", made.policy, "--bundle", made.root / "b2", "--kit-file", made.root / "k2"
    )
    assert result.exit_code == 5
    assert "there is a repository already" in result.stderr
    assert not (made.root / "b2").exists()
    assert stored(made) == before


def test_a_dry_run_of_init_writes_nothing(run: Run, place: Place) -> None:
    result = run("init", "--policy", place.policy, "--bundle", place.bundle, "--dry-run")
    assert result.exit_code == 0
    assert "would get a repository" in result.stdout
    assert stored(place) == []
    assert not place.bundle.exists()


@pytest.mark.parametrize(
    ("recipient", "message"),
    [
        ("Ann", "'Ann' cannot name a recipient"),
        ("admin", "'admin' cannot name a recipient"),
        ("=x", "'' cannot name a recipient"),
        ("ann=DRTOOL-RECOVERY-AAAA-AAAA", "recovery key is mistyped"),
        ("ann=public", "there is no recipient's public key"),
    ],
)
def test_a_recipient_that_makes_no_sense_is_wrong_usage(
    run: Run, place: Place, recipient: str, message: str
) -> None:
    result = run(
        "init", "--policy", place.policy, "--bundle", place.bundle, "--dry-run", "--recipient", recipient
    )
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_same_recipient_twice_is_wrong_usage(run: Run, place: Place) -> None:
    result = run(
        "init", "--policy", place.policy, "--bundle", place.bundle, "--dry-run",
        "--recipient", "ann", "--recipient", "ann",
    )  # fmt: skip
    assert result.exit_code == 2


def test_a_key_made_elsewhere_opens_the_repository_with_the_trust_of_its_kit(run: Run, place: Place) -> None:
    seed = place.root / "seed"
    recipient = answer_of(run("keys", "new", "--seed-file", seed, "--json"))["recipient"]
    recipients = ("--recipient", f"ann={recipient}", "--recipient", "bob")
    run("init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit, *recipients)
    kit = Path(f"{place.kit}.ann").read_text()
    assert find_keys(kit).keys() == {"TRUST", "OPERATOR"}
    both = place.root / "both"
    both.write_text(seed.read_text() + kit)
    opened = run("points", "--policy", place.policy, "--recovery-key-file", both)
    assert opened.exit_code == 0, opened.output
    for alone in (seed, Path(f"{place.kit}.ann")):
        refused = run("points", "--policy", place.policy, "--recovery-key-file", alone)
        assert refused.exit_code == 2
        assert "there is no recovery key" in refused.stderr


def test_keys_new_overwrites_nothing_and_prints_no_seed(run: Run, place: Place) -> None:
    seed = place.root / "seed"
    result = run("keys", "new", "--seed-file", seed)
    assert result.exit_code == 0
    assert "SEED" not in result.output
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600
    assert run("keys", "new", "--seed-file", seed).exit_code == 5


def test_a_dry_run_of_keys_new_makes_no_key(run: Run, place: Place) -> None:
    seed = place.root / "seed"
    result = run("keys", "new", "--seed-file", seed, "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"keys new: {seed} would get a new key"
    assert answer_of(run("keys", "new", "--seed-file", seed, "--dry-run", "--json"))["recipient"] is None
    assert not seed.exists()
    seed.write_text("precious")
    assert run("keys", "new", "--seed-file", seed, "--dry-run").exit_code == 5


def test_the_bundle_is_written_before_the_config(place: Place) -> None:
    """A process that dies between the two leaves keys without a repository, never the other way round."""
    traced = subprocess.run(
        [
            "sh", "-c", 'exec "$@"', "sh", *PROGRAM, "init",
            "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit,
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    config = place.store / stored(place)[0]
    assert traced.returncode == 0
    assert max(place.bundle.stat().st_mtime_ns, place.kit.stat().st_mtime_ns) <= config.stat().st_mtime_ns


def test_init_ends_what_it_began_though_nobody_reads_what_it_says(place: Place) -> None:
    """As in `drtool init … 2>&1 | head -1`, once head has its line."""
    theirs, ours = os.pipe()
    os.close(theirs)
    options: list[str | Path] = ["--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit]
    try:
        done = subprocess.run([*PROGRAM, "init", *options], stdout=ours, stderr=ours, timeout=60, check=False)
    finally:
        os.close(ours)
    assert done.returncode == 0
    assert find_keys(place.kit.read_text()).keys() == {"RECOVERY", "OPERATOR"}
    assert [name.partition("-")[0] for name in stored(place)] == ["config/0"]
