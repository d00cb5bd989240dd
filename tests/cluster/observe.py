"""What tests see of a system besides its pages: who served one, what an exporter counts, what a program answers."""

import re
import urllib.request

from tests.cluster.cluster import Cluster
from tests.cluster.load.site import Site

TIMEOUT_S = 10


def served_by(site: Site, path: str) -> str:
    """Return who says, in X-Served-By, that a page came from its own disk; "" if it was passed on."""
    request = urllib.request.Request(site.url + path, headers={"Host": site.host or ""})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return str(answer.headers.get("X-Served-By", ""))


def metric(cluster: Cluster, service: str, name: str, *, namespace: str) -> dict[str, float]:
    """Return what an exporter says now: the values of one metric, by its labels as they are written.

    service is NAME:PORT. It is asked through the API server, for tests may be outside of the cluster.
    """
    path = f"/api/v1/namespaces/{namespace}/services/{service}/proxy/metrics"
    lines = cluster.kubectl("get", f"--raw={path}").splitlines()
    found = (re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line) for line in lines)
    return {each[1] or "": float(each[2]) for each in found if each}


def execute(cluster: Cluster, pod: str, *command: str, namespace: str) -> str:
    """Return what a command in a pod, or in one of `deployment/NAME`, prints, stripped. Raises LabFailed."""
    return cluster.kubectl("exec", pod, f"--namespace={namespace}", "--quiet", "--", *command).strip()
