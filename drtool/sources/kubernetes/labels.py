"""Objects by their labels: a list of few, in one request."""

from collections.abc import Mapping
from urllib.parse import urlencode

from drtool.sources.base import Json
from drtool.sources.kubernetes.client import Cluster, Resource


def labelled(cluster: Cluster, resource: Resource, namespace: str, marks: Mapping[str, str]) -> list[Json]:
    """Return the objects of a kind that bear all marks; none where the cluster does not serve that kind."""
    query = urlencode({"labelSelector": ",".join(f"{key}={value}" for key, value in marks.items())})
    doing = f"list {resource.name} in namespace {namespace} by their labels"
    return cluster.ask("GET", f"{resource.path(namespace)}?{query}", doing, absent=True).get("items") or []
