"""The kinds of a target's objects, and how one object of a plan is found there."""

from dataclasses import replace
from typing import Final

from drtool.errors import Refused
from drtool.operations.cluster_restore.replay import RUN_LABEL, Replay
from drtool.recovery.manifests.objects import Json, kind_of, part, ref_of
from drtool.recovery.steps import label
from drtool.sources.kubernetes.client import Cluster, Resource
from drtool.sources.kubernetes.known import PODS

_ENDED: Final = ("Succeeded", "Failed")


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


def pods_of_others(replay: Replay) -> list[Json]:
    """Return the pods in the namespace that this run did not make, and that have not ended."""
    found = [pod for page in replay.cluster.pages(PODS, replay.namespace) for pod in page]
    return [
        pod for pod in found if part(pod, "status").get("phase") not in _ENDED and not is_ours(replay, pod)
    ]


def claims_of(pod: Json) -> set[str]:
    """Return the claims that a pod mounts."""
    volumes = part(pod, "spec").get("volumes") or []
    return {part(each, "persistentVolumeClaim").get("claimName", "") for each in volumes} - {""}
