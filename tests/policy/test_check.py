import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drtool.policy.check import PolicyReport, check_policy
from drtool.policy.load import load_policy
from drtool.policy.promises import Standing
from drtool.policy.take_over import TAKE_OVER
from tests.policy.conftest import MakePolicy

POLICIES = sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))
REDIS = {"name": "redis", "source": "redis", "host": "redis", "password": {"env": "P"}}
POSTGRES = {"name": "db", "source": "postgres", "host": "db", "user": "u", "password": {"env": "P"}}
LONGHORN = {"name": "media", "source": "longhorn", "claim": "media"}


def found(report: PolicyReport) -> list[str]:
    return [f"{finding.level} {finding.volume}: {finding.message}" for finding in report.findings]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_the_policies_of_the_project_load_and_check_without_error(path: Path) -> None:
    report = check_policy(load_policy(path))
    assert report.ok
    assert not [finding for finding in report.findings if finding.level == "warning"]
    assert report.policy == path.stem
    assert path.read_text(encoding="utf-8").count("# - ") >= 4, "a policy names its traps"


def test_there_is_a_policy_for_each_system() -> None:
    assert [path.stem for path in POLICIES] == ["funkwhale", "misago", "wesago"]


def test_a_sound_policy_has_no_findings(make_policy: MakePolicy) -> None:
    assert found(check_policy(make_policy(volumes=[REDIS]))) == []


@pytest.mark.parametrize(
    ("volume", "finding"),
    [
        (
            {**REDIS, "schedule": "0 * * * *"},
            (
                "error redis: its RPO cannot be met: 1 h (interval) + 0 s (jitter) + 1 min 30 s (duration, assumed)"
                " = 1 h 1 min at worst, RPO 15 min"
            ),
        ),
        (
            {**REDIS, "schedule": "*/10 * * * *"},
            (
                "warning redis: one failed run breaks its RPO: 10 min (interval) + 0 s (jitter) + 1 min 30 s"
                " (duration, assumed) = 11 min 30 s at worst, RPO 15 min, 21 min 30 s then"
            ),
        ),
        ({**POSTGRES, "tail_every": "20m"}, "error db: its RPO cannot be met: 20 min (interval)"),
        ({**REDIS, "max_run": "1m"}, "error redis: a run takes 1 min 30 s, longer than its max_run of 1 min"),
        ({**REDIS, "rto": "2h"}, "error redis: its RTO is longer than the policy's"),
        (
            {**POSTGRES, "window": "1d"},
            "warning db: its window of 1 d ends before the next run, which stores all anew",
        ),
        ({**POSTGRES, "password": None}, "info db: no password"),
        (LONGHORN, "warning media: promises 1 and 3 do not cover it"),
        (
            {**LONGHORN, "ship_every": "1d"},
            "info media: without Longhorn's backup target up to 1 d is lost, not the RPO",
        ),
    ],
)
def test_what_a_volume_cannot_keep_is_found(
    make_policy: MakePolicy, volume: dict[str, Any], finding: str
) -> None:
    findings = found(check_policy(make_policy(volumes=[volume])))
    assert any(line.startswith(finding) for line in findings), findings


def test_a_max_run_that_is_too_short_names_what_has_a_repository_take_a_longer_one(
    make_policy: MakePolicy,
) -> None:
    findings = check_policy(make_policy(volumes=[{**REDIS, "max_run": "1m"}])).findings
    [hint] = [each.hint for each in findings if "longer than its max_run" in each.message]
    assert hint.endswith(f"a repository that is there: `{TAKE_OVER}`.")


def test_shipping_within_the_rpo_leaves_nothing_to_say(make_policy: MakePolicy) -> None:
    assert found(check_policy(make_policy(volumes=[{**LONGHORN, "ship_every": "10m"}]))) == []


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"heartbeat": None}, "warning None: silence is not heard outside of the cluster"),
        ({"notify": []}, "warning None: nobody is told of failures"),
        ({"drill": None}, "warning None: no drill is planned"),
        (
            {"repository": {"url": "s3://b", "endpoint": "http://minio.s3.svc"}},
            "warning None: the repository is not outside: minio.s3.svc is a name inside the cluster",
        ),
        (
            {"objectives": {"rpo": "15m", "rto": "1h"}, "volumes": [REDIS, POSTGRES]},
            "info None: volumes may come back at any distance from each other",
        ),
        (
            {"objectives": {"rpo": "15m", "rto": "1h", "max_skew": "1m"}},
            "warning None: newest points can lie 7 min 30 s apart, max_skew is 1 min",
        ),
    ],
)
def test_what_the_policy_as_a_whole_lacks_is_found(
    make_policy: MakePolicy, changes: dict[str, Any], finding: str
) -> None:
    findings = found(check_policy(make_policy(**{"volumes": [REDIS], **changes})))
    assert any(line.startswith(finding) for line in findings), findings


def test_errors_come_first_and_make_the_report_bad(make_policy: MakePolicy) -> None:
    report = check_policy(
        make_policy(volumes=[{**REDIS, "schedule": "0 * * * *"}], notify=[], heartbeat=None)
    )
    assert not report.ok
    assert [finding.level for finding in report.findings] == ["error", "warning", "warning", "warning"]


def test_a_measured_duration_changes_the_schedule(make_policy: MakePolicy) -> None:
    report = check_policy(make_policy(volumes=[REDIS]), {"redis": timedelta(minutes=7)})
    assert report.volumes[0].runs == "every 4 min"
    report = check_policy(make_policy(volumes=[REDIS]), {"redis": timedelta(minutes=20)})
    assert not report.ok


def test_the_report_as_json_holds_the_same_facts(make_policy: MakePolicy) -> None:
    report = check_policy(make_policy(volumes=[REDIS], drill=None), sizes={"redis": 1000}).to_json()
    assert json.loads(json.dumps(report)) == report
    assert (report["ok"], report["broken"]) == (True, [6])
    assert report["findings"][0]["hint"] == "Set drill."
    volume = report["volumes"][0]
    assert (volume["runs"], volume["worst_exposure"], volume["rpo"]) == ("every 6 min", "7m30s", "15m")
    assert volume["promises"][0] == {
        "number": 1,
        "standing": "holds",
        "reason": "points are listed once all that they need is in the store",
        "promise": "a listed recovery point restores",
    }
    assert volume["cost"]["stored_bytes"] == 1000 * volume["cost"]["points"]


def test_a_promise_is_broken_where_it_is_for_any_volume(make_policy: MakePolicy) -> None:
    report = check_policy(make_policy(volumes=[REDIS, LONGHORN], heartbeat=None))
    assert report.promises_that(Standing.BROKEN) == [1, 3, 6]
    assert report.promises_that(Standing.PROBE) == [3]
    assert report.to_json()["broken"] == [1, 3, 6]
