"""What a restore into a cluster refuses of servers whose images cannot read the data: by the command itself."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drtool.operations import plan_store
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.conftest import System
from tests.scenarios.shop_kept import captured
from tests.scenarios.shop_lost import UID, Way
from tests.scenarios.targets import empty, put
from tests.scenarios.test_refusals import Stage, is_look, told, writes
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import Living
from tests.sources.kubernetes.shop import at, item

POSTGRES, REDIS = "postgres (PostgreSQL) 18.1", "Redis server v=6.2.14 sha=0"


def server(name: str, image: str, folder: str) -> tuple[Json, Json, Json]:
    """Return a Service, the Deployment of one container behind it, and its claim."""
    labels = {"app": name}
    mounted = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
    container = {"name": name, "image": image, "volumeMounts": [{"name": "data", "mountPath": folder}]}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": mounted}}
    requests = {"resources": {"requests": {"storage": "1Gi"}}}
    return (
        item(name, spec={"selector": labels}),
        item(name, spec={"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}),
        item(name, spec={"storageClassName": "fast", **requests}),
    )


@pytest.fixture(scope="module")
def served(backed_up_system: System, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """A shop with PostgreSQL 18 and Redis 6.2 behind Services, captured with their data; as a plan has to see it."""
    scene, folder = backed_up_system.scene, tmp_path_factory.mktemp("served")
    s3 = replace(backed_up_system.s3, prefix="refusals/")
    environment = {**backed_up_system.drtool.environment}
    with captured() as api:
        for service, deployment, claim in (
            server("db", "db:1", "/var/lib/postgresql/data"),
            server("cache", "cache:1", "/data"),
        ):
            put(api, at("services"), service)
            put(api, at("deployments", "apps"), deployment)
            put(api, at("persistentvolumeclaims"), claim)
        environment["KUBECONFIG"] = str(api.kubeconfig(folder))
        drtool = Commands.over(scene, s3_repository(s3), "refusals", **environment)
        drtool = drtool.but("redis", password={"env": "REDIS_PASSWORD"})
        content = {
            **drtool.content,
            "kubernetes": {"namespace": "shop"},
            "volumes": [*drtool.content["volumes"], {"name": "objects", "source": "manifests"}],
        }
        drtool = replace(drtool, content=content).written()
        drtool.init()
        drtool("backup")
        drtool("wal", "catch-up")
    return drtool.but("postgres", host="db", port=5432).but("redis", host="cache", port=6379)


@pytest.fixture
def target(served: Commands, tmp_path: Path) -> Iterator[Stage]:
    with empty() as nothing, Living(nothing.collections, nothing.answers) as target:
        kubeconfig = str(target.kubeconfig(tmp_path))
        drtool = replace(served, environment={**served.environment, "KUBECONFIG": kubeconfig})
        yield Stage(Way(target, drtool, kubeconfig, tmp_path), tmp_path, tmp_path)


@pytest.fixture
def reach(target: Stage, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """Say where the policy and the store are, and have their keys at hand."""
    drtool = target.way.drtool
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", drtool.environment["SCENE_ACCESS_KEY"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", drtool.environment["SCENE_SECRET_KEY"])
    return ("--policy", drtool.policy, "--endpoint", drtool.content["repository"]["endpoint"])


@pytest.mark.parametrize(
    ("images", "reasons"),
    [
        ({"db": "postgres (PostgreSQL) 17.4"}, ["volume postgres is of PostgreSQL 18, and db:1 has 17"]),
        (
            {"cache": "Redis server v=4.0.14 sha=0"},
            ["volume redis is an RDB of version 9, and cache:1 has Redis 4.0.14, which reads up to 8"],
        ),
        ({"cache": None}, ["image cache:1 of Deployment cache cannot be pulled: not here"]),
    ],
)
def test_a_server_that_cannot_read_its_data_is_refused_and_the_cluster_is_as_it_was(
    target: Stage, reach: tuple[object, ...], images: dict[str, str | None], reasons: list[str]
) -> None:
    fitting = {"db": POSTGRES, "cache": REDIS, "web": "", "drtool": "", **images}
    target.has_images(**{name: said for name, said in fitting.items() if said is not None})
    before = target.way.objects()

    said = target.way(*reach, "--image", "drtool:1", "--confirm-target", UID, "--enrol", "later", code=5)

    [(message, hint)] = told(said)
    assert message.split("; ") == reasons
    assert "--image-registry OLD=NEW" in hint
    assert [each for each in writes(target.target) if not is_look(each)] == []
    assert target.way.objects() == before


def test_a_volume_whose_signed_urls_fit_into_no_secret_is_refused_and_the_cluster_is_as_it_was(
    target: Stage, reach: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_store, "PIECE", 600)

    said = target.way(*reach, "--image", "drtool:1", "--confirm-target", UID, "--enrol", "later", code=5)

    for name, (message, hint) in zip(("postgres", "redis"), told(said), strict=True):
        assert re.fullmatch(
            rf"volume {name} needs \d+ objects, whose signed URLs take \d+ bytes: a Secret has 600 .*",
            message,
        )
        assert "--to-dir" in hint
    assert writes(target.target) == []
