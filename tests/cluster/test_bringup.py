"""The lab is a real Kubernetes: what the systems and drtool take for granted holds in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cluster.addresses import DOMAIN
from tests.cluster.cluster import LabCluster
from tests.cluster.faults import killed
from tests.cluster.images import IMAGES
from tests.cluster.lab import Lab
from tests.cluster.minio import Minio
from tests.cluster.process import LabFailed, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

SEEN_S = 120
IMAGE = IMAGES["base"].reference
NEXT_MINUTE_S = 120


def pod(name: str, script: str, *, node: str = "", volume: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a pod that runs script, and has volume at /volume."""
    container: dict[str, Any] = {"name": "main", "image": IMAGE, "command": ["sh", "-euc", script]}
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 0}
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    if volume:
        spec["volumes"] = [{"name": "volume", **volume}]
        container["volumeMounts"] = [{"name": "volume", "mountPath": "/volume"}]
    labels = {"name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def claim(name: str, storage_class: str | None, mode: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": [mode], "resources": {"requests": {"storage": "10Mi"}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": spec,
    }


def put(cluster: LabCluster, namespace: str, *objects: dict[str, Any]) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(items))


def run_pods(cluster: LabCluster, namespace: str, *pods: dict[str, Any]) -> None:
    put(cluster, namespace, *pods)
    for each in pods:
        cluster.wait_for(f"pod/{each['metadata']['name']}", "condition=Ready", namespace=namespace)


def execute(cluster: LabCluster, namespace: str, name: str, script: str) -> str:
    return cluster.kubectl("exec", "-n", namespace, name, "--", "bash", "-euc", script)


def test_all_nodes_are_ready_and_say_their_version(cluster: LabCluster) -> None:
    path = "{range .items[*]}{.metadata.name} {.status.nodeInfo.kubeletVersion}\n{end}"

    nodes = cluster.kubectl("get", "nodes", "-o", f"jsonpath={path}").split()

    assert nodes[::2] == ["a1", "a2"]
    assert all(version.startswith("v1.34.") for version in nodes[1::2])


def test_a_node_without_kube_proxy_is_not_ready(cluster: LabCluster) -> None:
    node = cluster.nodes[1]
    with killed(node.proxy), pytest.raises(LabFailed, match="kube-proxy"):
        cluster.wait_until_ready(node)
    cluster.wait_until_ready(node)


def test_pods_of_two_nodes_and_the_machine_room_reach_a_service_by_its_name(
    cluster: LabCluster, namespace: str
) -> None:
    serve = "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 8080, Listen => 9); "
    serve += "while ($c = $s->accept) { print $c qq(served\\n); close $c }'"
    run_pods(
        cluster,
        namespace,
        pod("server", serve, node="a1"),
        *(pod(f"client-{node}", "sleep infinity", node=node) for node in ("a1", "a2")),
    )
    cluster.kubectl("expose", "pod", "server", "-n", namespace, "--port=80", "--target-port=8080")
    read = (
        f"cat </dev/tcp/server.{namespace}.svc.{DOMAIN}/80 || true"  # refused until kube-proxy knows the pod
    )
    address = cluster.kubectl("get", "service", "server", "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")

    def served(said: str) -> bool:
        return said == "served\n"

    for node in ("a1", "a2"):
        wait_until(
            lambda node=node: served(execute(cluster, namespace, f"client-{node}", read)),  # type: ignore[misc]
            f"the service answers on {node}",
            deadline_s=SEEN_S,
        )
    assert served(
        subprocess.check_output(["bash", "-c", f"cat </dev/tcp/{address}/80"], text=True, timeout=20)
    )


def test_a_name_that_is_not_there_is_denied_at_once(cluster: LabCluster, namespace: str) -> None:
    run_pods(cluster, namespace, pod("client", "sleep infinity"))

    said = execute(cluster, namespace, "client", "time getent hosts elsewhere.example || echo none")

    assert said == "none\n"


def test_a_service_account_reaches_the_api_from_its_pod_and_may_do_no_more_than_its_role(
    cluster: LabCluster, namespace: str
) -> None:
    for arguments in (
        ("create", "role", "reader", "--verb=list", "--resource=configmaps"),
        ("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:default"),
    ):
        cluster.kubectl(*arguments, "-n", namespace)
    account = f"--as=system:serviceaccount:{namespace}:default"
    run_pods(cluster, namespace, pod("client", "sleep infinity"))

    token = execute(cluster, namespace, "client", "cat /var/run/secrets/kubernetes.io/serviceaccount/token")
    reached = execute(cluster, namespace, "client", "exec 3<>/dev/tcp/kubernetes.default/443 && echo yes")

    assert token.count(".") == 2
    assert reached == "yes\n"
    assert cluster.kubectl("get", "configmaps", "-n", namespace, account)
    with pytest.raises(LabFailed, match="forbidden"):
        cluster.kubectl("get", "secrets", "-n", namespace, account)


def test_logs_are_read_through_the_api(cluster: LabCluster, namespace: str) -> None:
    run_pods(cluster, namespace, pod("talker", "echo said; sleep infinity"))

    assert cluster.kubectl("logs", "-n", namespace, "talker") == "said\n"


def test_a_claim_of_the_default_class_becomes_a_volume_that_outlives_its_pod_and_goes_with_the_claim(
    cluster: LabCluster, namespace: str
) -> None:
    volume = {"persistentVolumeClaim": {"claimName": "data"}}
    put(cluster, namespace, claim("data", None, "ReadWriteOnce"))
    run_pods(cluster, namespace, pod("writer", "echo kept >/volume/file; sleep infinity", volume=volume))
    cluster.kubectl("delete", "pod", "writer", "-n", namespace)
    run_pods(cluster, namespace, pod("reader", "sleep infinity", volume=volume))
    name = cluster.kubectl("get", "pvc", "data", "-n", namespace, "-o", "jsonpath={.spec.volumeName}")

    assert execute(cluster, namespace, "reader", "cat /volume/file") == "kept\n"

    cluster.kubectl("delete", "pod/reader", "pvc/data", "-n", namespace)
    cluster.kubectl("wait", "--for=delete", f"pv/{name}", "--timeout=120s")


def test_a_shared_volume_is_written_on_one_node_and_read_on_the_other(
    cluster: LabCluster, namespace: str
) -> None:
    volume = {"persistentVolumeClaim": {"claimName": "shared"}}
    put(cluster, namespace, claim("shared", "local-path-shared", "ReadWriteMany"))
    run_pods(
        cluster,
        namespace,
        pod("writer", "sleep infinity", node="a1", volume=volume),
        pod("reader", "sleep infinity", node="a2", volume=volume),
    )

    execute(cluster, namespace, "writer", "echo shared >/volume/file")

    assert execute(cluster, namespace, "reader", "cat /volume/file") == "shared\n"


def test_a_host_path_lies_on_the_disk_of_its_node_and_not_on_the_machine(
    cluster: LabCluster, namespace: str
) -> None:
    path = f"/srv/{namespace}"
    volume = {"hostPath": {"path": path, "type": "DirectoryOrCreate"}}

    run_pods(
        cluster, namespace, pod("writer", "touch /volume/file; sleep infinity", node="a2", volume=volume)
    )

    assert (cluster.nodes[1].disk / path.lstrip("/") / "file").exists()
    assert not Path(path).exists()


def test_a_port_of_the_host_leads_to_the_pod(cluster: LabCluster, namespace: str) -> None:
    serve = pod(
        "server",
        "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 8080, "
        "Listen => 9); while ($c = $s->accept) { print $c qq(served\\n); close $c }'",
        node="a2",
    )
    serve["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 8088}]
    run_pods(cluster, namespace, serve)
    command = ["bash", "-c", f"cat </dev/tcp/{cluster.nodes[1].address}/8088"]

    assert subprocess.check_output(command, text=True, timeout=20) == "served\n"


def test_pod_security_refuses_what_a_restricted_namespace_may_not_run(
    cluster: LabCluster, namespace: str
) -> None:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")

    with pytest.raises(LabFailed, match="violates PodSecurity"):
        put(cluster, namespace, pod("careless", "sleep infinity"))


def test_a_cronjob_fires_at_the_next_minute(cluster: LabCluster, namespace: str) -> None:
    cluster.kubectl(
        "create",
        "cronjob",
        "clock",
        "-n",
        namespace,
        f"--image={IMAGE}",
        "--schedule=* * * * *",
        "--",
        "true",
    )

    wait_until(
        lambda: cluster.kubectl(
            "get", "jobs", "-n", namespace, "-o", "jsonpath={.items[*].status.succeeded}"
        ),
        "a job of the CronJob is done",
        deadline_s=NEXT_MINUTE_S,
    )


def test_rules_apply_between_pods_of_one_node(cluster: LabCluster) -> None:
    for node in cluster.nodes:
        assert node.run("cat", "/proc/sys/net/bridge/bridge-nf-call-iptables") == "1\n"


def test_who_comes_later_finds_the_lab_and_kills_what_others_started(lab: Lab) -> None:
    kill = "from tests.cluster.lab import Lab; Lab.here().minio.kill()"

    subprocess.run([sys.executable, "-c", kill], check=True, timeout=60)

    assert not lab.minio.process.alive
    assert not lab.minio.answers()
    lab.minio.start()
    assert lab.minio.answers()


def test_minio_locks_objects_and_lets_a_user_do_what_the_policy_says(lab: Lab, namespace: str) -> None:
    minio = lab.minio
    minio.make_bucket(namespace, lock=True)
    user = minio.add_user(namespace, _only_put(namespace))
    client = minio.client(user)

    client.put_object(Bucket=namespace, Key="new", Body=b"x")

    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_object(Bucket=namespace, Key="new")
    _lock(minio, namespace, "new")
    version = minio.client().head_object(Bucket=namespace, Key="new")["VersionId"]
    with pytest.raises(ClientError, match=r"WORM protected|AccessDenied"):
        minio.client().delete_object(Bucket=namespace, Key="new", VersionId=version)


def test_a_second_cluster_knows_nothing_of_the_first(
    cluster: LabCluster, second_cluster: LabCluster, namespace: str
) -> None:
    nodes = second_cluster.kubectl("get", "nodes", "-o", "name").split()

    assert nodes == ["node/b1", "node/b2"]
    with pytest.raises(LabFailed, match="not found"):
        second_cluster.kubectl("get", "namespace", namespace)


def _only_put(bucket: str) -> dict[str, object]:
    statement = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"arn:aws:s3:::{bucket}/*"]}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _lock(minio: Minio, bucket: str, key: str) -> None:
    from datetime import UTC, datetime, timedelta

    until = datetime.now(UTC) + timedelta(minutes=5)
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    minio.client().put_object_retention(Bucket=bucket, Key=key, Retention=retention)
