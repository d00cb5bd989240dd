"""The team's own deployment in the place of the captured manifests: what comes back then, and how it differs. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from drtool.policy.schema import CommandDeploy, KustomizeDeploy, Policy
from drtool.recovery.manifests.objects import Json, kind_of, ref_of
from drtool.recovery.manifests.order import place_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.manifests.versions import ref_now
from drtool.recovery.refusal import Refusal
from drtool.recovery.wishes import Wishes

DEPLOYED: Final = frozenset({"deployment", "testing"})  # the phases whose objects are the deployment's alone
# What data, credentials and others in the cluster depend on: of these, the capture's come back.
_CAPTURED: Final = frozenset(
    {
        *(("", "Namespace"), ("", "Secret"), ("", "PersistentVolume"), ("", "PersistentVolumeClaim")),
        *(("apiextensions.k8s.io", "CustomResourceDefinition"), ("storage.k8s.io", "StorageClass")),
    }
)
_SHOWN: Final = 5  # fields of an object that differ


def kustomized(policy: Policy, wishes: Wishes) -> str | None:
    """Return the folder that is deployed in the place of the captured manifests; None where these come back."""
    deploy = policy.recovery.deploy
    return deploy.kustomize if isinstance(deploy, KustomizeDeploy) and not wishes.as_captured else None


def deploy_refusals(policy: Policy, wishes: Wishes) -> Iterator[Refusal]:
    """Yield why a deployment by a command is none: drtool could not hold what it starts until there is data."""
    if isinstance(policy.recovery.deploy, CommandDeploy) and not wishes.as_captured:
        said = "runs a command: what that starts would run before its data is there, and make its own"
        hint = "Give a folder that renders the same, {kustomize: PATH}; or take the captured manifests: --as-captured."
        yield Refusal("recovery.deploy", said, hint)


def deployed(captured: Sequence[Json], rendered: Sequence[Json]) -> list[Json]:
    """Return what comes back where rendered is deployed: that, and of the capture what must be there for it.

    Secrets, claims, namespaces and definitions are the captured ones, for data and credentials belong together. A
    captured object that runs or takes traffic comes back only as it is rendered.
    """
    known = {ref_of(each) for each in captured}
    ours = [each for each in rendered if kind_of(each) not in _CAPTURED or ref_of(each) not in known]
    replaced = {ref_now(each) for each in ours}
    kept = [
        each
        for each in captured
        if ref_of(each) not in replaced and place_of(*kind_of(each)).phase not in DEPLOYED
    ]
    return [*kept, *ours]


def of_deployment(objects: Collection[Prepared]) -> list[Prepared]:
    """Return those of objects that are the deployment's alone."""
    return [each for each in objects if each.place.phase in DEPLOYED]


def differing(before: Json, after: Json) -> str:
    """Return the names of fields in which two objects differ, the first of them."""
    found = list(_fields(before, after, ""))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _fields(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _fields(before.get(key), after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from _fields(*pair, f"{path}[{number}]")
    elif before != after:
        yield path.removeprefix(".")
