"""From outside of the cluster, with the store and a reader's bundle alone: it sees all, and changes nothing."""

import json
import re
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Place, Run, answer_of

POLICY = """\
version: 1
name: forum
repository: {{url: "file://{store}"}}
objectives: {{rpo: 15m, rto: 1h}}
volumes:
  - {{name: media, source: files, path: "{tree}"}}
  - {{name: postgres, source: postgres, host: 127.0.0.1, port: 1, user: drtool}}
"""


@pytest.fixture
def outside(run: Run, place: Place) -> Place:
    """A repository with one point of a tree; its policy has gone, and a reader's bundle is there."""
    tree = place.root / "tree"
    tree.mkdir()
    (tree / "file").write_text("content")
    place.policy.write_text(POLICY.format(store=place.store, tree=tree))
    run("init", "--policy", place.policy, "--bundle", place.bundle, "--kit-file", place.kit)
    assert run("backup", "media", "--policy", place.policy, "--bundle", place.bundle).exit_code == 0
    made = run("keys", "reader", reader(place), "--policy", place.policy, "--bundle", place.bundle)
    assert made.exit_code == 0, made.output
    return place


def reader(place: Place) -> Path:
    return place.root / "reader.json"


def from_outside(place: Place) -> tuple[object, ...]:
    return ("--repository", f"file://{place.store}", "--bundle", reader(place))


def objects(place: Place) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in place.store.rglob("*") if path.is_file()}


def test_a_readers_bundle_signs_nothing_and_names_no_chunk(outside: Place) -> None:
    writer, bundle = (json.loads(path.read_text()) for path in (outside.bundle, reader(outside)))
    assert stat.S_IMODE(reader(outside).stat().st_mode) == 0o600
    assert (bundle["role"], bundle["signing_seed"], bundle["id_key"]) == ("reader", None, None)
    for pinned in ("repository", "admin", "config", "policy", "list_keys"):
        assert bundle[pinned] == writer[pinned]


def test_a_readers_bundle_comes_from_the_kit_too_and_overwrites_nothing(run: Run, outside: Place) -> None:
    kit = ("--policy", outside.policy, "--recovery-key-file", outside.kit)
    before = reader(outside).read_text()
    assert run("keys", "reader", reader(outside), *kit).exit_code == 5
    assert reader(outside).read_text() == before
    other = outside.root / "other.json"
    assert "would get" in run("keys", "reader", other, *kit, "--dry-run").stdout
    assert not other.exists()
    assert run("keys", "reader", other, *kit).exit_code == 0
    assert other.read_text() == before


def test_the_store_and_the_bundle_tell_how_everything_stands(run: Run, outside: Place) -> None:
    outside.policy.unlink()
    before = objects(outside)
    said = answer_of(run("status", *from_outside(outside), "--json"))["status"]
    media, postgres = said["volumes"]
    assert said["policy"] == "forum"
    assert said["policy_of"] is not None
    assert (media["volume"], media["inside"], media["history"]) == ("media", True, "not protected")
    assert (postgres["volume"], postgres["newest"]) == ("postgres", None)
    assert any("destroy" in reason for reason in said["protection"]["reasons"])
    text = run("status", *from_outside(outside)).stdout
    assert "policy      forum, as a run told it at 20" in text
    assert "history     not protected, the writer's probe of 20" in text
    assert run("points", *from_outside(outside)).exit_code == 0
    for level in ("L0", "L1"):
        verified = run("verify", "--level", level, *from_outside(outside))
        assert verified.exit_code == 0, verified.output
        assert "no key that may sign" in verified.stdout
    assert objects(outside) == before


def test_a_policy_that_is_given_wins(run: Run, outside: Place) -> None:
    outside.policy.write_text(outside.policy.read_text().replace("rpo: 15m", "rpo: 1h"))
    given = answer_of(run("status", "--policy", outside.policy, "--bundle", reader(outside), "--json"))[
        "status"
    ]
    told = answer_of(run("status", *from_outside(outside), "--json"))["status"]
    assert (given["policy_of"], given["volumes"][0]["rpo_seconds"]) == (None, 3600)
    assert told["volumes"][0]["rpo_seconds"] == 900
    assert (
        "policy      forum, as given"
        in run("status", "--policy", outside.policy, "--bundle", reader(outside)).stdout
    )


def test_a_longer_run_that_the_repository_has_not_taken_over_is_told_once(run: Run, outside: Place) -> None:
    text = outside.policy.read_text().replace("source: files,", "source: files, max_run: 30d,")
    outside.policy.write_text(text)
    said = answer_of(run("status", "--policy", outside.policy, "--bundle", reader(outside), "--json"))
    [told] = [each for each in said["status"]["warnings"] if "max_run" in each]
    assert told.startswith("media: max_run is ")
    assert "drtool keys volumes" in told


def test_how_it_was_verified_is_told(run: Run, outside: Place) -> None:
    writer = ("--policy", outside.policy, "--bundle", outside.bundle)
    assert run("verify", "--level", "L1", *writer).exit_code == 0
    media = answer_of(run("status", *from_outside(outside), "--json"))["status"]["volumes"][0]
    assert media["verified_by"] == "L1"
    assert re.search(r"L1 (now|\d+ s ago)", run("status", *writer).stdout)


def test_without_a_policy_and_before_any_run_nobody_knows_the_policy(run: Run, made: Place) -> None:
    run("keys", "reader", reader(made), "--policy", made.policy, "--bundle", made.bundle)
    said = run("status", *from_outside(made))
    assert said.exit_code == 2
    assert "no run in the repository tells one yet" in said.stderr


@pytest.mark.parametrize(
    "words", [("backup",), ("backup", "--due"), ("backup", "--dry-run"), ("wal", "catch-up", "postgres")]
)
@pytest.mark.parametrize("keys", ["reader", "kit"])
def test_who_is_no_writer_is_refused_before_anything_is_touched(
    run: Run, outside: Place, words: tuple[str, ...], keys: str
) -> None:
    before = objects(outside)
    given = {"reader": ("--bundle", reader(outside)), "kit": ("--recovery-key-file", outside.kit)}[keys]
    said = run(*words, "--policy", outside.policy, *given)
    assert said.exit_code == 5, said.output
    assert "this takes a writer's bundle" in said.stderr
    assert objects(outside) == before


def test_the_policy_of_a_role_is_printed_for_the_bucket_of_the_repository(run: Run, place: Place) -> None:
    said = run("keys", "s3-policy", "writer", "--repository", "s3://bucket/shop")
    assert said.exit_code == 0
    assert "arn:aws:s3:::bucket/shop/packs/*" in json.dumps(json.loads(said.stdout))
    refused = run("keys", "s3-policy", "writer", "--policy", place.policy)
    assert refused.exit_code == 2
    assert "is no bucket" in refused.stderr
    assert run("keys", "s3-policy", "emperor", "--repository", "s3://bucket").exit_code == 2
