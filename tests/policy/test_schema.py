import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drtool.errors import UsageError
from drtool.policy.retention import Retention
from drtool.policy.schema import (
    CommandDeploy,
    CommandProbe,
    HttpProbe,
    KustomizeDeploy,
    Policy,
    policy_schema,
)
from drtool.policy.volumes import (
    CsiVolume,
    FilesVolume,
    LonghornVolume,
    ManifestsVolume,
    PostgresVolume,
    RedisVolume,
)
from tests.policy.conftest import MakePolicy, plain_policy

PUBLISHED = Path(__file__).parents[2] / "policies" / "schema" / "policy-v1.json"

VOLUMES: list[dict[str, Any]] = [
    {"name": "db", "source": "postgres", "host": "h", "user": "u", "rpo": "5m", "rto": "30m"},
    {"name": "redis", "source": "redis", "sentinel": {"service": "s", "master": "m"}, "tls": {}},
    {"name": "media", "source": "longhorn", "claim": "c", "ship_every": "1d", "retention": {"last": 1}},
    {"name": "data", "source": "csi", "claim": "c", "snapshot_class": "fast"},
    {"name": "logs", "source": "files", "path": "/srv", "run_as": {"user": 1, "group": 2, "groups": [3]}},
    {"name": "objects", "source": "manifests"},
]


def test_each_source_has_its_model(make_policy: MakePolicy) -> None:
    policy = make_policy(volumes=VOLUMES)
    assert [type(volume) for volume in policy.volumes] == [
        PostgresVolume,
        RedisVolume,
        LonghornVolume,
        CsiVolume,
        FilesVolume,
        ManifestsVolume,
    ]
    assert [volume.window.days for volume in policy.volumes] == [14, 0, 90, 90, 90, 90]
    assert [volume.max_run // timedelta(hours=1) for volume in policy.volumes] == [24, 1, 24, 24, 24, 24]


def test_a_volume_inherits_the_objectives_and_retention_that_it_does_not_override(
    make_policy: MakePolicy,
) -> None:
    policy = make_policy(volumes=VOLUMES)
    db, redis, media = policy.volume("db"), policy.volume("redis"), policy.volume("media")
    assert (policy.rpo(db), policy.rto(db)) == (timedelta(minutes=5), timedelta(minutes=30))
    assert (policy.rpo(redis), policy.rto(redis)) == (timedelta(minutes=15), timedelta(hours=1))
    assert policy.retention_of(media) == Retention(last=1)
    assert policy.retention_of(db) is policy.retention


def test_volumes_come_back_in_the_order_given_else_as_listed(make_policy: MakePolicy) -> None:
    names = [volume["name"] for volume in VOLUMES]
    assert [volume.name for volume in make_policy(volumes=VOLUMES).recovery_order()] == names
    turned = make_policy(volumes=VOLUMES, recovery={"order": names[::-1]})
    assert [volume.name for volume in turned.recovery_order()] == names[::-1]


@pytest.mark.parametrize(("name", "hint"), [("reddis", "Did you mean redis?"), ("x", "It has db, redis.")])
def test_an_unknown_volume_is_refused_with_the_names_there_are(
    make_policy: MakePolicy, name: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=f"policy forum has no volume {name}") as caught:
        make_policy(volumes=VOLUMES[:2]).volume(name)
    assert caught.value.hint == hint


def test_probes_and_deployments_are_told_apart_by_their_keys(make_policy: MakePolicy) -> None:
    http = {"name": "a", "http": "http://x/", "status": 204}
    command = {"name": "b", "command": ["true"], "workload": "web"}
    policy = make_policy(recovery={"probes": [http, command], "deploy": {"kustomize": "k8s/"}})
    first, second = policy.recovery.probes
    assert isinstance(first, HttpProbe)
    assert isinstance(second, CommandProbe)
    assert isinstance(policy.recovery.deploy, KustomizeDeploy)
    assert isinstance(make_policy(recovery={"deploy": {"command": ["make"]}}).recovery.deploy, CommandDeploy)
    assert make_policy(recovery=policy.recovery).recovery == policy.recovery


def test_a_policy_survives_the_way_through_json_and_shows_durations_as_written(
    make_policy: MakePolicy,
) -> None:
    policy = make_policy(volumes=VOLUMES, repository={"url": "file:///srv/backup"})
    shown = json.loads(policy.model_dump_json())
    assert Policy.model_validate(shown) == policy
    assert shown["objectives"]["rpo"] == "15m"
    assert shown["volumes"][0]["window"] == "14d"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"volumes": [VOLUMES[5], VOLUMES[5]]}, "volumes[1].name: objects is also the name of volumes[0]"),
        ({"volumes": []}, "at least 1 item"),
        ({"surprise": 1}, "Extra inputs are not permitted"),
        ({"repository": {"url": "s3://b", "access_key": {"env": "A"}}}, "access_key and secret_key belong together"),
        ({"repository": {"url": "file:///b", "endpoint": "http://x"}}, "a directory takes no endpoint"),
        ({"repository": {"url": "s3://b", "endpoint": "https://u:p@x"}}, "a secret is never written into a policy"),
        ({"volumes": [{**VOLUMES[0], "host": "postgres://u:p@db/x"}]}, "a host is a name or an address, and no URL"),
        ({"volumes": [{**VOLUMES[0], "host": "u:p@db"}]}, "a host is a name or an address, and no URL"),
        ({"kubernetes": {"namespace": "-x"}}, "is no namespace"),
        ({"volumes": [{"name": "f", "source": "files"}]}, "needs exactly one of claim and path"),
        ({"volumes": [{**VOLUMES[2], "claim": "A"}]}, "is no name that Kubernetes takes"),
        ({"volumes": [{**VOLUMES[4], "pod_security": "baseline"}]}, "pod_security baseline runs as root"),
        ({"volumes": [{**VOLUMES[4], "run_as": {"user": 0, "group": 0}}]}, "run_as names root"),
        ({"notify": [{"url": {"env": "1A"}}]}, "must be the name of an environment variable"),
    ],
)  # fmt: skip
def test_a_policy_that_is_not_whole_cannot_be_made(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Policy.model_validate(plain_policy(**changes))
    assert fault in str(caught.value)


def test_a_policy_cannot_be_changed(make_policy: MakePolicy) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(make_policy(), "name", "other")  # noqa: B010 - an assignment would not pass the type checker


def test_the_published_json_schema_is_the_one_of_the_model() -> None:
    """Editors read policies/schema/policy-v1.json. After a change: `drtool policy schema` prints the new one."""
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == policy_schema()


def test_the_json_schema_refuses_unknown_keys_and_writes_durations_as_people_do() -> None:
    schema = policy_schema()
    objects = [schema, *(part for part in schema["$defs"].values() if part["type"] == "object")]
    assert all(part["additionalProperties"] is False for part in objects)
    assert schema["$defs"]["PostgresVolume"]["properties"]["max_run"]["default"] == "1d"
    assert schema["properties"]["retention"]["default"]["at_least"] == "7d"


def test_a_mover_says_where_it_may_run(make_policy: MakePolicy) -> None:
    volume = {
        "name": "media",
        "source": "files",
        "claim": "c",
        "beside": {"app": "nginx"},
        "node_selector": {"disk": "big"},
        "tolerations": [{"key": "storage", "operator": "Exists"}, {"key": "a", "value": "b"}],
    }
    media = make_policy(volumes=[volume]).volume("media")

    assert isinstance(media, FilesVolume)
    assert (media.beside, media.node_selector) == ({"app": "nginx"}, {"disk": "big"})
    assert [taint.operator for taint in media.tolerations] == ["Exists", "Equal"]
