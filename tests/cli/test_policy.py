import json
from pathlib import Path

import pytest

from drtool.policy.load import load_policy
from tests.cli.conftest import Place, Run, answer_of

SOUND = Path(__file__).parents[2] / "policies" / "misago.yaml"
POLICIES = sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))

WANTING = """\
version: 1
name: forum
repository: {url: "s3://dr/forum", endpoint: "https://s3.example:9000"}
objectives: {rpo: 15m, rto: 1h}
volumes:
  - {name: redis, source: redis, host: cache, schedule: "0 * * * *", password: {env: REDIS_PASSWORD}}
"""


def test_a_check_prints_findings_arithmetic_promises_and_costs(run: Run, place: Place) -> None:
    result = run("policy", "check", "--policy", place.policy)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == (
        "policy check: forum can meet its objectives, but breaks promises 3 and 6: 4 warnings"
    )
    assert "takes over what the policy got later by `drtool keys volumes --policy FILE" in result.stdout
    for part in ("FINDING", "ARITHMETIC", "= 7 min 30 s at worst, RPO 15 min", "PROMISE", "OBJECTS A MONTH"):
        assert part in result.stdout


def test_the_verdict_of_a_check_names_what_its_table_says_is_broken(run: Run, place: Place) -> None:
    result = run("policy", "check", place.policy)
    rows = [line for line in result.stdout.splitlines() if line.endswith("broken")]
    assert [row[0] for row in rows] == ["3", "6"]
    assert "promise 6, broken for redis: nobody outside of the cluster hears silence" in result.stdout
    sound = SOUND.read_text(encoding="utf-8")
    place.policy.write_text(sound)
    result = run("policy", "check", place.policy)
    assert result.stdout.splitlines()[0] == (
        "policy check: misago can meet its objectives, but breaks promise 6"
    )
    assert "this version sends no heartbeat yet" in result.stdout
    assert result.exit_code == 0
    place.policy.write_text(sound.replace("heartbeat:", "# heartbeat:"))
    result = run("policy", "check", place.policy)
    assert result.stdout.splitlines()[0] == (
        "policy check: misago can meet its objectives, but breaks promise 6: 1 warning"
    )


def test_a_policy_that_cannot_meet_its_rpo_ends_with_2(run: Run, place: Place) -> None:
    place.policy.write_text(WANTING)
    result = run("policy", "check", place.policy)
    assert result.exit_code == 2
    verdict, advice, *_ = result.stdout.splitlines()
    assert verdict == "policy check: forum cannot keep its word, and breaks promise 6: 1 error, 3 warnings"
    assert advice.startswith("redis: Lower schedule")
    assert "its RPO cannot be met: 1 h (interval)" in result.stdout


def test_an_invalid_policy_ends_with_2_and_all_its_faults_with_their_places(run: Run, place: Place) -> None:
    place.policy.write_text(WANTING.replace("rpo: 15m", "rpo: 15").replace("source: redis", "sorce: redis"))
    result = run("policy", "check", "--policy", place.policy)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{place.policy}:4:" in result.stderr
    assert f"{place.policy}:6:" in result.stderr
    assert "hint: Correct the policy" in result.stderr


def test_a_check_for_programs_has_the_same_facts(run: Run, place: Place) -> None:
    place.policy.write_text(WANTING)
    answer = answer_of(run("policy", "check", "--json", place.policy))
    assert (answer["schema"], answer["exit_code"], answer["ok"]) == ("drtool/policy-check/v1", 2, False)
    assert answer["broken"] == [6]
    assert answer["volumes"][0]["worst_exposure"] == "1h1m30s"


def test_without_a_policy_the_usage_is_wrong(run: Run) -> None:
    for words in (["check"], ["show"]):
        result = run("policy", *words)
        assert result.exit_code == 2
        assert "hint: Give --policy FILE, or set DRTOOL_POLICY." in result.stderr


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_what_show_prints_is_a_policy_with_the_same_meaning(run: Run, tmp_path: Path, file: Path) -> None:
    shown = tmp_path / "shown.yaml"
    result = run("policy", "show", env={"DRTOOL_POLICY": str(file)})
    assert result.exit_code == 0
    shown.write_text(result.stdout)
    first, again = load_policy(file), load_policy(shown)
    assert [again.rpo(volume) for volume in again.volumes] == [first.rpo(volume) for volume in first.volumes]
    assert run("policy", "show", shown).stdout == result.stdout


def test_show_fills_in_defaults_and_leaves_references(run: Run, place: Place) -> None:
    place.policy.write_text(WANTING)
    volume = answer_of(run("policy", "show", "--json", place.policy))["policy"]["volumes"][0]
    assert (volume["rpo"], volume["port"], volume["max_run"]) == ("15m", 6379, "1h")
    assert volume["password"] == {"env": "REDIS_PASSWORD"}


def test_the_schema_is_json(run: Run) -> None:
    schema = json.loads(run("policy", "schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "objectives" in schema["properties"]
