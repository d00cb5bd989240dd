"""Who else keeps captured objects as they are: Argo CD or Flux would undo a restore, or do a part of it first. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from drtool.recovery.manifests.objects import Json, part

_TRACKED: Final = "argocd.argoproj.io/tracking-id"  # APPLICATION:group/kind:namespace/name
_LABELS: Final = {
    "argocd.argoproj.io/instance": "Argo CD's Application",
    "kustomize.toolkit.fluxcd.io/name": "Flux's Kustomization",
    "helm.toolkit.fluxcd.io/name": "Flux's HelmRelease",
}


def keeper_notes(objects: Iterable[Json]) -> Iterator[str]:
    """Yield who keeps some of objects, as their labels and annotations say, and what to do about it."""
    kept = Counter(keeper for each in objects for keeper in _keepers(each))
    for keeper, count in sorted(kept.items()):
        what = "an object that comes" if count == 1 else f"{count} objects that come"
        yield (
            f"{keeper} keeps {what} back: if it acts on the target, suspend it until the restore has ended, "
            "or it starts what has to wait for its data"
        )


def _keepers(item: Json) -> set[str]:
    labels, tracked = part(item, "metadata", "labels"), part(item, "metadata", "annotations").get(_TRACKED)
    found = {f"{kind} {labels[label]}" for label, kind in _LABELS.items() if labels.get(label)}
    if tracked:
        found.add(f"Argo CD's Application {str(tracked).partition(':')[0]}")
    return found
