"""misago: what its visitors see, the volume that Django and nginx share, and the traps that its team lives with."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.lab import Lab
from tests.cluster.load.site import Connection
from tests.cluster.observe import execute, metric, served_by
from tests.cluster.process import run, wait_until
from tests.cluster.smoke import Visitor, read_page, visit
from tests.cluster.system import FOLDER, MISAGO, deploy_ingress_controller, load_images
from tests.cluster.under_load import protected

pytestmark = pytest.mark.cluster

DEPLOY_S = 300
STYLE = "/static/standin/style.css"


@pytest.fixture(scope="module")
def misago(cluster: Cluster) -> Iterator[Cluster]:
    deploy_ingress_controller(cluster)
    load_images(cluster, MISAGO.name)
    deploy_as_the_team_does(cluster)
    MISAGO.wait_until_ready(cluster)
    yield cluster
    MISAGO.remove(cluster)


def deploy_as_the_team_does(cluster: Cluster) -> None:
    """Run the team's script: component by component, then static files by hand."""
    run("env", f"KUBECONFIG={cluster.kubeconfig}", FOLDER / "misago/deploy.sh", deadline_s=DEPLOY_S)


def test_a_visitor_finds_everything_as_it_was_left(misago: Cluster) -> None:
    visit(Visitor.of(MISAGO, misago))


def test_nginx_serves_an_upload_that_django_wrote_into_their_volume(misago: Cluster) -> None:
    visitor = Visitor.of(MISAGO, misago)
    picture = visitor.upload(b"an avatar")

    assert visitor.get(picture).content == b"an avatar"
    assert served_by(MISAGO.site(misago), picture) == "nginx"
    assert _execute(misago, "deployment/misago", "cat", picture) == "an avatar"
    assert _execute(misago, "deployment/nginx", "cat", picture) == "an avatar"
    assert _claim(misago, "nginx-pvc", ".spec.accessModes") == '["ReadWriteMany"]'


def test_the_database_knows_an_upload_by_its_path_in_the_volume(misago: Cluster) -> None:
    picture = Visitor.of(MISAGO, misago).upload(b"an avatar")

    found = _sql(misago, "select image from misago_users_avatar").splitlines()

    assert picture.removeprefix("/media/") in found


def test_static_files_are_back_by_the_script_and_not_by_the_manifests(misago: Cluster) -> None:
    site = MISAGO.site(misago)
    assert served_by(site, STYLE) == "nginx"

    _execute(misago, "deployment/misago", "rm", "-r", "/media/static")
    misago.apply(FOLDER / "misago")
    MISAGO.wait_until_ready(misago)
    with closing(Connection(site)) as connection:
        assert connection.ask("GET", STYLE, passing=()).status == 404

    deploy_as_the_team_does(misago)
    assert b"font-family" in read_page(site, STYLE).content


def test_a_lost_redis_master_comes_back_empty_and_empties_its_replicas(misago: Cluster) -> None:
    key = f"before:{uuid4()}"
    assert _redis(misago, "redis-0", "set", key, "precious") == "OK"
    assert int(_redis(misago, "redis-0", "wait", "2", "20000")) == 2
    assert _redis(misago, "redis-2", "get", key) == "precious"

    misago.kubectl("delete", "pod", "redis-0", f"--namespace={MISAGO.namespace}")
    misago.wait_for("pod/redis-0", "condition=Ready", namespace=MISAGO.namespace)

    assert _redis(misago, "redis-0", "role").splitlines()[0] == "master"
    replicas = ("redis-1", "redis-2")
    wait_until(
        lambda: not any(_redis(misago, replica, "get", key) for replica in replicas),
        "the replicas are as empty as their master",
        deadline_s=90,
    )
    visit(Visitor.of(MISAGO, misago))


@pytest.mark.parametrize(
    ("service", "name"),
    [("postgres:9187", "pg_up"), ("nginx:4040", "nginx_up"), ("nginx:4040", "nginx_connections_active")],
)
def test_an_exporter_sees_its_server(misago: Cluster, service: str, name: str) -> None:
    assert metric(misago, service, name, namespace=MISAGO.namespace)[""] >= 1


def test_celery_has_no_service(misago: Cluster) -> None:
    services = misago.kubectl("get", "services", f"--namespace={MISAGO.namespace}", "--output=name").split()

    assert sorted(services) == [
        "service/misago-frontend-service",
        "service/misago-service",
        "service/nginx",
        "service/postgres",
        "service/redis",
        "service/redis-headless",
    ]


def _redis(cluster: Cluster, pod: str, *command: str) -> str:
    return _execute(cluster, pod, "redis-cli", *command)


def _sql(cluster: Cluster, query: str) -> str:
    return _execute(cluster, "postgres-0", "psql", "-U", "misago", "-At", "-c", query)


def _claim(cluster: Cluster, name: str, path: str) -> str:
    return cluster.kubectl(
        "get",
        "persistentvolumeclaim",
        name,
        f"--namespace={MISAGO.namespace}",
        f"--output=jsonpath={{{path}}}",
    )


def _execute(cluster: Cluster, pod: str, *command: str) -> str:
    return execute(cluster, pod, *command, namespace=MISAGO.namespace)


@pytest.mark.lab
@pytest.mark.long
def test_its_cron_jobs_keep_the_rpo_under_load_and_a_restore_has_what_status_promises(
    misago: Cluster, lab: Lab, tmp_path: Path
) -> None:
    with protected(misago, lab, MISAGO, tmp_path) as scene:
        scene.wait_until_inside()
        scene.judge(uploads="media")
