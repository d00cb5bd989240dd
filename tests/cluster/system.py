"""The systems that tests deploy into a cluster: where their manifests are, how they come up, and how they are reached.

    WESAGO.deploy(cluster)                  # as its team does, folder by folder; returns when all of it is ready
    visitor = Visitor.of(WESAGO, cluster)   # tests/cluster/smoke.py

To add one: a folder of plain kustomize in systems/, and a row in SYSTEMS.
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.client import CoreV1Api, NetworkingV1Api, StorageV1Api

from tests.cluster.cluster import Cluster
from tests.cluster.images import PREFIX, archive
from tests.cluster.load.site import Connection, Session, Site, Unavailable
from tests.cluster.process import LabFailed, wait_until
from tests.cluster.readiness import wait_until_ready

FOLDER = Path(__file__).parent / "systems"
INGRESS = "traefik"  # folder, and name of the IngressClass
LONGHORN = "longhorn"  # folder, and name of the StorageClass
INGRESS_NAMESPACE = "kube-system"
READY_S = 240
GONE_S = 120


@dataclass(frozen=True)
class System:
    """One system, in systems/NAME. folders are its kustomizations, in the order in which its team applies them."""

    name: str
    namespace: str
    host: str  # of its Ingress
    folders: tuple[str, ...]
    superuser: str  # the Secret with SUPERUSER_USERNAME and SUPERUSER_PASSWORD

    def deploy(self, cluster: Cluster, *, deadline_s: float = READY_S) -> None:
        """Bring the system up, and before it what all systems expect of a cluster and this one lacks.

        Safe to run again. Returns once its Ingress is served. Raises LabFailed, saying what is not ready and why,
        after deadline_s.
        """
        deploy_ingress_controller(cluster)
        provide_longhorn(cluster)
        load_images(cluster, self.name)
        for folder in self.folders:
            cluster.apply(FOLDER / folder)
        self.wait_until_ready(cluster, deadline_s=deadline_s)
        wait_until_served(self.site(cluster))

    def wait_until_ready(self, cluster: Cluster, *, deadline_s: float = READY_S) -> None:
        """Return once all workloads are ready and all Jobs are done. Raises LabFailed as deploy."""
        wait_until_ready(cluster.api, self.namespace, deadline_s=deadline_s)

    def remove(self, cluster: Cluster) -> None:
        """Take all of it away, volumes included; nothing is done if it is not there."""
        for folder in reversed(self.folders):
            cluster.kubectl("delete", "--kustomize", FOLDER / folder, "--ignore-not-found", "--wait=false")
        wait_until(lambda: not list(self._left(cluster)), f"{self.name} is gone", deadline_s=GONE_S)

    def _left(self, cluster: Cluster) -> Iterator[str]:
        core: Any = CoreV1Api(cluster.api)
        yield from (
            each.metadata.name for each in core.list_namespace().items if each.metadata.name == self.namespace
        )
        for volume in core.list_persistent_volume().items:
            if volume.spec.claim_ref and volume.spec.claim_ref.namespace == self.namespace:
                yield str(volume.metadata.name)

    def site(self, cluster: Cluster) -> Site:
        """Return where its Ingress is reached: on a node, by the Host header."""
        return Site(f"http://{node_address(cluster)}", host=self.host)

    def session(self, cluster: Cluster) -> Session:
        """Return a session of its superuser, whose name and password stand in its Secret."""
        core: Any = CoreV1Api(cluster.api)
        data = core.read_namespaced_secret(self.superuser, self.namespace).data
        user, password = (b64decode(data[f"SUPERUSER_{key}"]).decode() for key in ("USERNAME", "PASSWORD"))
        return Session(user, password)


def wait_until_served(site: Site, *, deadline_s: float = READY_S) -> None:
    """Return once site answers at its root with anything but 404, which is what Traefik says of an Ingress it has not
    read yet. Raises LabFailed, with what it answered last, after deadline_s.
    """
    said = ""

    def is_served() -> bool:
        nonlocal said
        try:
            answer = connection.ask("GET", "/", passing=())
        except Unavailable as trouble:
            said = trouble.message
            return trouble.__cause__ is None  # it answered, with 401 or 5xx; else the connection failed
        said = f"{site.url} answers {answer.status} {answer.shown}"
        return answer.status != 404

    with closing(Connection(site)) as connection:
        try:
            wait_until(is_served, f"{site.host} is served", deadline_s=deadline_s)
        except LabFailed as cause:
            raise LabFailed(f"{cause.message}: {said}", hint="See its Ingress, and Traefik's log.") from cause


def deploy_ingress_controller(cluster: Cluster) -> None:
    """Bring up Traefik, unless the cluster has an IngressClass of that name, as k3s has."""
    api: Any = NetworkingV1Api(cluster.api)
    if INGRESS not in [each.metadata.name for each in api.list_ingress_class().items]:
        load_images(cluster, INGRESS)
        cluster.apply(FOLDER / INGRESS)
        wait_until_ready(cluster.api, INGRESS_NAMESPACE, deadline_s=READY_S)


def provide_longhorn(cluster: Cluster) -> None:
    """Have a StorageClass `longhorn` played, unless the cluster has one."""
    api: Any = StorageV1Api(cluster.api)
    if LONGHORN not in [each.metadata.name for each in api.list_storage_class().items]:
        cluster.apply(FOLDER / LONGHORN)


def load_images(cluster: Cluster, folder: str) -> None:
    """Give every node of the lab the images that the manifests below folder name.

    Nothing is done for another cluster: its images are its user's to load, and to build them takes root.
    """
    if not cluster.nodes:
        return
    archives = [archive(name) for name in sorted(images(folder))]
    with ThreadPoolExecutor() as pool:  # one after the other on a node, for most layers are the same
        list(pool.map(lambda node: [node.load(each) for each in archives], cluster.nodes))


def images(folder: str) -> set[str]:
    """Return the names of our images in the manifests below folder, as "postgres" of drtool.test/postgres:test."""
    text = "".join(file.read_text(encoding="utf-8") for file in (FOLDER / folder).rglob("*.yaml"))
    return set(re.findall(rf"image: {re.escape(PREFIX)}/([a-z0-9-]+):", text))


def node_address(cluster: Cluster) -> str:
    """Return the address of a node, on which the Ingress controller listens."""
    core: Any = CoreV1Api(cluster.api)
    node = core.list_node().items[0]
    return next(str(each.address) for each in node.status.addresses if each.type == "InternalIP")


WESAGO = System(
    "wesago",
    "gic-wesago",
    "wesago.k3s",
    ("wesago/application", "wesago/website", "wesago/monitoring"),
    "django-secrets",
)
MISAGO = System("misago", "gic6", "app.gic6.k3s", ("misago",), "postgres-secrets")
FUNKWHALE = System("funkwhale", "funkwhale", "funkwhale.k3s", ("funkwhale",), "api-secrets")
TINY = System("tiny", "tiny", "tiny.k3s", ("tiny",), "app-secrets")
SYSTEMS = (WESAGO, MISAGO, FUNKWHALE, TINY)
