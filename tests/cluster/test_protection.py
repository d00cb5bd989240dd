"""drtool on a real cluster: installed by render, run by CronJobs, seen from outside."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from drtool.operations.doctor.rbac import rights_of
from drtool.sources.kubernetes.client import Cluster as Asking
from tests.cluster.cluster import Cluster
from tests.cluster.lab import Lab
from tests.cluster.observe import execute
from tests.cluster.process import wait_until
from tests.cluster.protection import Protection, tiny_policy
from tests.cluster.sample_pods import PORT, SamplePod, start_pods
from tests.cluster.system import TINY

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

VOLUMES = ("postgres", "redis", "files")
FIRE_S = 240
IN_FORCE_S = 90
PSQL = (
    "psql",
    "--host=/var/run/postgresql",
    "--username=tiny",
    "--dbname=tiny",
    "--tuples-only",
    "--no-align",
    "-c",
)


@pytest.fixture(scope="module")
def protection(cluster: Cluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Protection]:
    """tiny, and drtool beside it."""
    TINY.deploy(cluster)
    installed = Protection.install(cluster, lab, TINY, tiny_policy, tmp_path_factory.mktemp("tiny"))
    yield installed
    installed.remove()
    TINY.remove(cluster)


def test_the_cron_jobs_back_up_by_themselves_and_status_knows_it_from_outside(protection: Protection) -> None:
    protection.wait_for_points(*VOLUMES, deadline_s=FIRE_S)

    status = protection.status()
    assert {name: status[name]["inside"] for name in VOLUMES} == dict.fromkeys(VOLUMES, True)
    for volume in VOLUMES:
        wait_until(
            lambda name=volume: bool(protection.finished_jobs(name)),  # type: ignore[misc]
            f"a Job of {volume} has ended well",
            deadline_s=FIRE_S,
        )


def test_a_volume_is_backed_up_at_once_when_somebody_asks(protection: Protection) -> None:
    def moments() -> list[datetime]:
        return [datetime.fromisoformat(point["end"]) for point in protection.points("redis")]

    protection.wait_for_points("redis", deadline_s=FIRE_S)
    before = moments()

    log = protection.run_now("redis")

    assert "redis" in log
    assert moments()[-1] > before[-1]


def test_the_wal_is_followed_as_it_comes(protection: Protection) -> None:
    protection.wait_for_points("postgres", deadline_s=FIRE_S)
    protection.cluster.wait_for_rollout("deployment/drtool-wal-follow-postgres", namespace="tiny")
    execute(protection.cluster, "postgres-0", *PSQL, "create table marks (at timestamptz)", namespace="tiny")

    said = execute(
        protection.cluster,
        "postgres-0",
        *PSQL,
        "insert into marks values (clock_timestamp()) returning at at time zone 'UTC'",
        namespace="tiny",
    )
    written = datetime.fromisoformat(said.splitlines()[0]).replace(tzinfo=UTC)

    wait_until(
        lambda: (
            datetime.fromisoformat(protection.points("postgres")[-1]["end"]) >= written.replace(microsecond=0)
        ),
        "the row can be restored",
        deadline_s=FIRE_S,
    )


def test_a_pod_of_a_volume_reaches_its_server_and_the_store_and_nobody_reaches_it(
    protection: Protection, lab: Lab
) -> None:
    """The same pod without the labels reaches what that one does not: so it is the policies that keep it in."""
    cluster, node = protection.cluster, lab.clusters["a"].nodes[0].name
    ours = {"app.kubernetes.io/part-of": "drtool", "drtool.io/volume": "postgres"}
    [other] = start_pods(cluster, "tiny", [node], ["other"])
    [kept] = start_pods(cluster, "tiny", [node], ["kept"], labels=ours)
    store = urlsplit(lab.minio.endpoint)
    places = {
        "postgres": ("postgres.tiny.svc", 5432),
        "redis": ("redis.tiny.svc", 6379),
        "the store": (str(store.hostname), store.port or 443),
        "another pod": (other.address, PORT),
    }

    def reached(pod: SamplePod) -> set[str]:
        return {name for name, place in places.items() if pod.reaches(*place)}

    try:
        wait_until(
            lambda: not kept.reaches(*places["redis"]), "the policies are in force", deadline_s=IN_FORCE_S
        )
        assert reached(kept) == {"postgres", "the store"}
        assert reached(other) == set(places)
        assert not other.reaches(kept.address)
        assert (
            kept.run("timeout", "2", "bash", "-c", f"</dev/tcp/127.0.0.1/{PORT}") == ""
        )  # though it listens
    finally:
        protection.kubectl("delete", "pod", "other", "kept", "--wait=false")


VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
GRANTED_TO_ALL = {"selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews"}


@pytest.mark.parametrize("account", ["drtool-backup", "drtool-manifests"])
def test_a_service_account_may_do_what_its_role_says_and_nothing_else(
    protection: Protection, account: str
) -> None:
    """Every verb is asked for on every kind that the cluster serves, in the namespace and outside of it."""
    environment = {"KUBECONFIG": str(protection.cluster.kubeconfig)}
    role = json.loads(protection.kubectl("get", "role", account, "--output=json"))
    for_all = {
        (right.group, right.plural, right.verb) for right in rights_of(role["rules"]) if not right.name
    }
    with (
        Asking.open(None, environment) as us,
        Asking.open(None, environment, as_user=f"system:serviceaccount:tiny:{account}") as them,
    ):
        served = us.resources()

        def asked(namespace: str | None) -> set[tuple[str, str, str]]:
            return {
                (resource.group, resource.plural, verb)
                for resource in served
                for verb in VERBS
                if resource.plural not in GRANTED_TO_ALL
                and (resource.namespaced or namespace is None)
                and them.may(verb, resource, namespace)
            }

        assert asked("tiny") == {right for right in for_all if right[1] != "namespaces"}
        assert asked("default") == set()
        assert asked(None) == set()


def test_the_way_back_is_planned_on_a_real_cluster_and_nothing_is_touched(
    protection: Protection, cluster: Cluster, second_cluster: Cluster
) -> None:
    protection.wait_for_points("objects", *VOLUMES, deadline_s=FIRE_S)

    refused = protection.plan(cluster, code=5)
    assert refused["plan"] is None
    assert [each for each in refused["refusals"] if "PersistentVolumeClaim" in each["about"]]

    found = protection.plan(second_cluster)
    assert found["refusals"] == []
    assert [volume["volume"] for volume in found["volumes"]] == ["postgres", "redis", "files", "objects"]
    steps = [step["id"] for phase in found["plan"]["phases"] for step in phase["steps"]]
    assert [step for step in steps if "StatefulSet" in step]
    namespaces = second_cluster.kubectl("get", "namespaces", "--output=name").split()
    assert "namespace/tiny" not in namespaces
