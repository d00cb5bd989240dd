"""wesago: what its visitors see, and what its team counts on: replicas, Sentinels, logs, the health-checker."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kubernetes.client import CoreV1Api

from tests.cluster.cluster import Cluster
from tests.cluster.lab import Lab
from tests.cluster.load.inventory import ask_site
from tests.cluster.observe import execute, served_by
from tests.cluster.process import wait_until
from tests.cluster.smoke import Visitor, read_page, visit
from tests.cluster.system import WESAGO
from tests.cluster.under_load import protected

pytestmark = pytest.mark.cluster

NAMESPACE = f"--namespace={WESAGO.namespace}"
RFC_5424 = re.compile(r"<\d{1,3}>1 \d{4}-\d\d-\d\dT\S+ \S+ (?P<component>\S+) ")
ASK_FOR_MASTER = ("redis-cli", "-p", "26379", "sentinel", "get-master-addr-by-name", "mymaster")
LOGGED = ("postgres", "redis", "sentinel", "wesago-django", "wesago-celery", "nginx", "nginx-website")
ROUNDS = "import sys; sys.path.insert(0, '/checker'); import check, collections; r = collections.Counter()"


@pytest.fixture(scope="module")
def wesago(cluster: Cluster) -> Iterator[Cluster]:
    WESAGO.deploy(cluster)
    yield cluster
    WESAGO.remove(cluster)


def test_a_visitor_finds_everything_as_it_was_left(wesago: Cluster) -> None:
    visit(Visitor.of(WESAGO, wesago))


def test_the_web_site_has_a_host_of_its_own(wesago: Cluster) -> None:
    site = replace(WESAGO.site(wesago), host="www.wesago.k3s")

    assert b"We talk at" in read_page(site).content


def test_static_files_and_uploads_come_from_nginx(wesago: Cluster) -> None:
    visitor = Visitor.of(WESAGO, wesago)
    picture = visitor.upload(b"a picture")

    assert visitor.get(picture).content == b"a picture"
    for page in (picture, "/static/standin/style.css"):
        assert served_by(WESAGO.site(wesago), page) == "nginx"


def test_two_replicas_stream_from_postgres_0_and_the_site_reads_from_them(wesago: Cluster) -> None:
    post = Visitor.of(WESAGO, wesago).write_post("for every server")

    assert _sql(wesago, "postgres-0", "SELECT pg_is_in_recovery()") == "f"
    wait_until(lambda: _streaming(wesago) == 2, "two replicas stream", deadline_s=30)
    assert post in [each.id for each in ask_site(WESAGO.site(wesago), "posts", replica=True)]


@pytest.mark.parametrize("replica", ["postgres-1", "postgres-2"])
def test_a_replica_serves_what_the_primary_committed(wesago: Cluster, replica: str) -> None:
    post = Visitor.of(WESAGO, wesago).write_post("for every server")
    query = f"SELECT text FROM posts WHERE id = '{post}'"

    assert _sql(wesago, replica, "SELECT pg_is_in_recovery()") == "t"
    wait_until(lambda: _sql(wesago, replica, query) == "for every server", "it has the post", deadline_s=30)


def test_the_sentinels_move_the_master_and_nothing_is_lost(wesago: Cluster) -> None:
    visitor = Visitor.of(WESAGO, wesago)
    cookie, key, old = visitor.log_in(), f"before:{uuid4()}", _master(wesago)
    assert _redis(wesago, old, "set", key, "still there") == "OK"
    wait_until(lambda: _redis(wesago, old, "wait", "2", "1000") == "2", "two replicas have it", deadline_s=30)

    with _nowhere_to_run(wesago):
        wesago.kubectl("delete", "pod", old, NAMESPACE, "--force", "--grace-period=0")
        wait_until(
            lambda: _master(wesago) not in ("", old), "the Sentinels agree on another master", deadline_s=60
        )
        new = _master(wesago)
        assert _redis(wesago, new, "get", key) == "still there"
        visit(visitor)
        assert visitor.log_in() == cookie  # the session is in Redis, too

    WESAGO.wait_until_ready(wesago)
    wait_until(
        lambda: _redis(wesago, old, "get", key) == "still there", f"{old} follows {new}", deadline_s=60
    )
    assert _redis(wesago, old, "role").startswith("slave")
    assert _master(wesago) == new


@pytest.mark.parametrize("name", ["statistics", "vacuum"])
def test_a_cron_job_of_the_application_does_its_work(wesago: Cluster, name: str) -> None:
    wesago.kubectl("create", "job", f"{name}-now", f"--from=cronjob/{name}", NAMESPACE)

    wesago.wait_for(f"job/{name}-now", "condition=Complete", namespace=WESAGO.namespace, deadline_s=60)


@pytest.mark.parametrize("component", LOGGED)
def test_a_component_s_log_arrives_as_rfc_5424_in_a_file_of_its_own(wesago: Cluster, component: str) -> None:
    read_page(replace(WESAGO.site(wesago), host="www.wesago.k3s"))
    (server,) = _pods(wesago, "rsyslog-server")
    last_line = ("sh", "-c", f"tail -n 1 /var/log/components/{component}.log 2>/dev/null || true")

    def is_there() -> bool:
        found = RFC_5424.match(_exec(wesago, server, *last_line))
        return found is not None and found["component"] == component

    wait_until(is_there, f"a line of {component} is in its file", deadline_s=60)


def test_the_health_checker_restarts_a_pod_that_refuses_twice(wesago: Cluster) -> None:
    wesago.kubectl("apply", "--filename=-", NAMESPACE, stdin=json.dumps(_pod_that_refuses()))
    wesago.wait_for("pod/refuses", "condition=Ready", namespace=WESAGO.namespace)
    (checker,) = _pods(wesago, "health-checker")

    said = _exec(wesago, checker, "python3", "-c", f"{ROUNDS}; check.check_pods(r); check.check_pods(r)")

    assert "pod refuses is restarted" in said
    assert said.count("is restarted") == 1
    wesago.kubectl("wait", "--for=delete", "pod/refuses", NAMESPACE)


def test_the_health_checker_tells_a_person_that_an_ingress_fails(wesago: Cluster) -> None:
    (checker,) = _pods(wesago, "health-checker")

    def rounds() -> str:
        return _exec(
            wesago,
            checker,
            "python3",
            "-c",
            f"{ROUNDS}; import os; check.check_ingresses(os.environ['NODE_ADDRESS'])",
        )

    assert rounds() == ""
    wesago.kubectl("scale", "deployment/nginx-website", "--replicas=0", NAMESPACE)
    try:
        # 503 while Traefik knows pods that are not ready, 404 once it knows none
        wait_until(
            lambda: "http://www.wesago.k3s/ answers" in rounds(), "the failure is told", deadline_s=120
        )
    finally:
        wesago.kubectl("scale", "deployment/nginx-website", "--replicas=3", NAMESPACE)
        WESAGO.wait_until_ready(wesago)


def _pod_that_refuses() -> dict[str, object]:
    container = {
        "name": "refuses",
        "image": "drtool.test/rsyslog:test",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "600"],
        "ports": [{"containerPort": 9}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "refuses"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


@contextmanager
def _nowhere_to_run(cluster: Cluster) -> Iterator[None]:
    """Let no node take a pod, else a killed one is back before anybody has missed it."""
    core: Any = CoreV1Api(cluster.api)
    nodes = [node.metadata.name for node in core.list_node().items]
    cluster.kubectl("cordon", *nodes)
    try:
        yield
    finally:
        cluster.kubectl("uncordon", *nodes)


def _master(cluster: Cluster) -> str:
    """Return the pod that a majority of the Sentinels calls master, "" while there is none."""
    said = [
        _exec(cluster, f"sentinel-{number}", *ASK_FOR_MASTER)  # answers with a host, then a port
        for number in range(3)
    ]
    names = [each.partition(".")[0] for each in said]
    return next((name for name in names if names.count(name) >= 2), "")


def _redis(cluster: Cluster, pod: str, *command: str) -> str:
    return _exec(cluster, pod, "redis-cli", *command)


def _sql(cluster: Cluster, pod: str, query: str) -> str:
    return _exec(
        cluster, pod, "psql", "--username=wesago", "--no-align", "--tuples-only", f"--command={query}"
    )


def _streaming(cluster: Cluster) -> int:
    return _sql(cluster, "postgres-0", "SELECT state FROM pg_stat_replication").split().count("streaming")


def _pods(cluster: Cluster, app: str) -> list[str]:
    core: Any = CoreV1Api(cluster.api)
    pods = core.list_namespaced_pod(WESAGO.namespace, label_selector=f"app={app}").items
    return [pod.metadata.name for pod in pods if pod.metadata.deletion_timestamp is None]


def _exec(cluster: Cluster, pod: str, *command: str) -> str:
    return execute(cluster, pod, *command, namespace=WESAGO.namespace)


@pytest.mark.lab
def test_its_cron_jobs_keep_the_rpo_under_load_and_a_restore_has_what_status_promises(
    wesago: Cluster, lab: Lab, tmp_path: Path
) -> None:
    with protected(wesago, lab, WESAGO, tmp_path) as scene:
        scene.wait_until_inside()
        scene.judge(uploads="media")
