from typing import Any

import pytest

from drtool.policy.check import check_policy
from drtool.policy.promises import PROMISES, Standing, cluster_local, promises
from drtool.policy.schema import Repository
from tests.policy.conftest import MakePolicy

LONGHORN = {"name": "v", "source": "longhorn", "claim": "media"}
REDIS = {"name": "v", "source": "redis", "host": "redis"}
POSTGRES = {"name": "v", "source": "postgres", "host": "db", "user": "drtool"}


def broken(make_policy: MakePolicy, volume: dict[str, object], **changes: Any) -> list[int]:
    policy = make_policy(volumes=[volume], **changes)
    judged = promises(policy, policy.volumes[0])
    assert [promise.number for promise in judged] == list(range(1, len(PROMISES) + 1))
    assert all(promise.reason for promise in judged)
    return [promise.number for promise in judged if promise.standing is Standing.BROKEN]


@pytest.mark.parametrize(
    ("volume", "changes", "numbers"),
    [
        (POSTGRES, {}, [6]),
        (REDIS, {}, [6]),
        ({"name": "v", "source": "manifests"}, {}, [6]),
        ({"name": "v", "source": "files", "claim": "media"}, {}, [6]),
        ({"name": "v", "source": "csi", "claim": "media"}, {}, [6]),
        (LONGHORN, {}, [1, 3, 6]),
        ({**LONGHORN, "ship_every": "1d"}, {}, [6]),
        (REDIS, {"repository": {"url": "file:///srv/backup"}}, [3, 6]),
        (REDIS, {"repository": {"url": "s3://b", "endpoint": "http://minio:9000"}}, [1, 6]),
        ({**POSTGRES, "on_backlog": "protect-rpo"}, {}, [5, 6]),
        ({**REDIS, "allow_master": True}, {}, [5, 6]),
        (REDIS, {"heartbeat": None}, [6]),
        (REDIS, {"drill": None}, [6]),
    ],
)
def test_the_policy_alone_tells_which_promises_are_broken(
    make_policy: MakePolicy, volume: dict[str, object], changes: dict[str, object], numbers: list[int]
) -> None:
    assert broken(make_policy, volume, **changes) == numbers


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "once it keeps 80 % of max_slot_wal_keep_size"),
        (
            {"slot_limit": "8GiB"},
            "once it keeps 8,192 MiB, or 80 % of max_slot_wal_keep_size if that is less",
        ),
    ],
)
def test_it_is_said_when_a_slot_is_given_up(
    make_policy: MakePolicy, changes: dict[str, object], said: str
) -> None:
    policy = make_policy(volumes=[POSTGRES | changes])
    assert said in promises(policy, policy.volumes[0])[4].reason
    assert policy.volumes[0].model_dump(mode="json").get("slot_limit") == changes.get("slot_limit")


def test_a_directory_may_be_of_this_machine_and_is_warned_of(make_policy: MakePolicy) -> None:
    policy = make_policy(volumes=[REDIS], repository={"url": "file:///srv/backup"})
    assert promises(policy, policy.volumes[0])[0].standing is Standing.PROBE
    findings = check_policy(policy).findings
    assert [each.level for each in findings if "lost with its machine" in each.message] == ["warning"]


def test_what_the_bucket_allows_takes_a_probe(make_policy: MakePolicy) -> None:
    policy = make_policy(volumes=[REDIS])
    assert promises(policy, policy.volumes[0])[2].standing is Standing.PROBE


@pytest.mark.parametrize(
    ("endpoint", "is_local"),
    [
        (None, False),
        ("https://s3.backup.example:9000", False),
        ("https://203.0.113.7", False),
        ("http://minio:9000", True),
        ("http://minio.storage.svc:9000", True),
        ("http://minio.storage.svc.cluster.local.:9000", True),
        ("http://minio.storage.svc.other.domain", True),
        ("http://10.96.14.3:9000", True),
        ("http://10.43.0.9:9000", True),
        ("http://127.0.0.1:8333", True),
        ("http://[::1]:8333", True),
        ("http://localhost:8333", True),
    ],
)
def test_an_endpoint_that_is_lost_with_the_cluster_is_seen(endpoint: str | None, is_local: object) -> None:
    reason = cluster_local(Repository(url="s3://bucket", endpoint=endpoint))
    assert bool(reason) is is_local
