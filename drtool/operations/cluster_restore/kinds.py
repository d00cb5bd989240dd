"""The kinds of a target's objects, and how one object of a plan is found there."""

from dataclasses import replace

from drtool.errors import Refused
from drtool.operations.cluster_restore.replay import RUN_LABEL, Replay
from drtool.recovery.manifests.objects import Json, kind_of, part, ref_of
from drtool.recovery.steps import label
from drtool.sources.kubernetes.client import Cluster, Resource


def resource_of(cluster: Cluster, item: Json) -> Resource:
    """Return the kind of item, in the version that it is written in. Raises Refused where it is not served."""
    found = _served(cluster, item)
    if found is None:
        raise Refused(
            f"{cluster.where} does not serve {item['apiVersion']} {item['kind']}",
            hint="Install what serves it, or leave its kind out with an exclude of the manifests volume.",
        )
    return found


def live(replay: Replay, item: Json) -> Json | None:
    """Return what the target has in the place of item; None where there is nothing, nor could be."""
    resource, metadata = _served(replay.cluster, item), item["metadata"]
    if resource is None:
        return None
    return replay.cluster.get(resource, metadata.get("namespace"), metadata["name"])


def _served(cluster: Cluster, item: Json) -> Resource | None:
    kind = kind_of(item)
    found = (each for each in cluster.resources() if (each.group, each.kind) == kind)
    return next((replace(each, version=item["apiVersion"].rpartition("/")[2]) for each in found), None)


def is_ours(replay: Replay, found: Json) -> bool:
    """Return whether an object of the target bears the label of this run."""
    return bool(part(found, "metadata", "labels").get(RUN_LABEL) == replay.run)


def named(item: Json) -> str:
    """Return an object as steps and journals name it."""
    return label(ref_of(item))
