from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from drtool.deploy.workloads import backup_job, cron_line, wal_follower
from drtool.errors import DrtoolError
from drtool.policy.schedule import Cron
from drtool.policy.schema import Objectives, Policy
from drtool.policy.volumes import PostgresVolume
from tests.deploy.conftest import MakePolicy


def all_errors(kind: type[DrtoolError] = DrtoolError) -> set[int]:
    return {kind.exit_code}.union(*(all_errors(each) for each in kind.__subclasses__()))


def test_a_cron_job_asks_what_is_due_and_never_runs_twice_at_once(make_policy: MakePolicy) -> None:
    policy = make_policy()
    job = backup_job(policy, policy.volume("db"), "drtool:1")
    spec, work = job["spec"], job["spec"]["jobTemplate"]["spec"]

    assert job["metadata"]["name"] == "drtool-backup-db"
    assert (spec["concurrencyPolicy"], spec["timeZone"]) == ("Forbid", "Etc/UTC")
    assert spec["startingDeadlineSeconds"] >= 10  # Kubernetes looks every 10 s: below it may never start one
    assert work["template"]["spec"]["restartPolicy"] == "Never"  # which podFailurePolicy needs
    (container,) = work["template"]["spec"]["containers"]
    assert container["args"] == ["backup", "db", "--due"]


def test_every_exit_code_has_its_rule_and_an_evicted_pod_counts_for_nothing(make_policy: MakePolicy) -> None:
    policy = make_policy()
    job = backup_job(policy, policy.volume("db"), "drtool:1")["spec"]["jobTemplate"]["spec"]
    evicted, *on_exit = job["podFailurePolicy"]["rules"]
    by_action = {rule["action"]: rule["onExitCodes"]["values"] for rule in on_exit}

    assert (evicted["action"], evicted["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert by_action == {"FailJob": [2, 4, 5, 6, 7, 8], "Count": [1, 3, 75]}
    assert all(rule["onExitCodes"]["containerName"] == "drtool" for rule in on_exit)
    signals, missed = {130, 143}, {9}  # no backup ends with 9
    assert all_errors() - signals - missed == {2, 4, 5, 6, 7, 8, 1, 3, 75}


@pytest.mark.parametrize(("max_run", "deadline_s"), [("24h", 86_100), ("1h", 3_300), ("20s", 18), ("1s", 1)])
def test_a_run_ends_before_its_point_would_be_void(
    make_policy: MakePolicy, max_run: str, deadline_s: int
) -> None:
    policy = make_policy(("    claim: media-claim\n", f"    claim: media-claim\n    max_run: {max_run}\n"))
    job = backup_job(policy, policy.volume("media"), "drtool:1")

    assert job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == deadline_s


@pytest.mark.parametrize(
    ("rpo", "line"),
    [("1m", "* * * * *"), ("15m", "* * * * *"), ("1h", "2-59/5 * * * *"), ("1d", "2-59/15 * * * *")],
)
def test_the_longer_the_rpo_the_more_seldom_a_volume_is_looked_at(
    make_policy: MakePolicy, rpo: str, line: str
) -> None:
    policy = make_policy(("rpo: 15m", f"rpo: {rpo}"))

    assert cron_line(policy, policy.volume("media")) == line


def test_volumes_begin_in_minutes_of_their_own(make_policy: MakePolicy) -> None:
    policy = make_policy(("rpo: 15m", "rpo: 1h"))
    lines = [cron_line(policy, policy.volume(name)) for name in ("cache", "media", "objects")]

    assert lines == ["1-59/5 * * * *", "2-59/5 * * * *", "3-59/5 * * * *"]


def test_the_minutes_of_a_line_lie_evenly_also_over_the_full_hour(make_policy: MakePolicy) -> None:
    for rpo in ("1m", "20m", "1h", "3h", "1d"):
        policy = make_policy(("rpo: 15m", f"rpo: {rpo}"))
        for volume in policy.volumes:
            line = Cron(cron_line(policy, volume))
            starts = [line.next(datetime.fromisoformat("2026-01-01T00:00:00Z"))]
            for _ in range(60):
                starts.append(line.next(starts[-1]))
            gaps = {later - earlier for earlier, later in pairwise(starts)}
            assert len(gaps) == 1
            assert gaps.pop() <= max(policy.rpo(volume) / 4, timedelta(minutes=1))


def test_another_policy_takes_another_pod_of_the_follower(make_policy: MakePolicy) -> None:
    def digest(policy: Policy) -> str:
        followed = policy.volume("db")
        assert isinstance(followed, PostgresVolume)
        template = wal_follower(policy, followed, "drtool:1")["spec"]["template"]
        return str(template["metadata"]["annotations"]["drtool.io/policy"])

    policy = make_policy()
    other = policy.model_copy(
        update={"objectives": Objectives(rpo=timedelta(minutes=5), rto=timedelta(hours=1))}
    )
    assert digest(policy) == digest(make_policy())
    assert digest(policy) != digest(other)


def test_one_pod_follows_the_wal_and_the_old_one_ends_before_the_new_begins(make_policy: MakePolicy) -> None:
    policy = make_policy()
    volume = policy.volume("db")
    assert isinstance(volume, PostgresVolume)
    made = wal_follower(policy, volume, "drtool:1")

    assert made["metadata"]["name"] == "drtool-wal-follow-db"
    assert (made["spec"]["replicas"], made["spec"]["strategy"]) == (1, {"type": "Recreate"})
    template = made["spec"]["template"]
    assert made["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert template["spec"]["containers"][0]["args"] == ["wal", "follow", "db"]


@pytest.mark.parametrize("name", ["a" * 25])
def test_the_longest_name_leaves_room_for_the_names_of_jobs(make_policy: MakePolicy, name: str) -> None:
    policy = make_policy(("name: media", f"name: {name}"))
    job = backup_job(policy, policy.volume(name), "drtool:1")

    assert len(job["metadata"]["name"]) <= 52
