"""Controllers that keep objects as somebody declared them, and would undo a restore while it is made. Pure.

KEDA scales what drtool stopped up again; Argo CD and Flux apply it anew, and the claims with it. Who pauses them is a
person, for they may themselves be kept by others; whether that was done can be seen.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drtool.recovery.makers import controller_of
from drtool.recovery.manifests.objects import Json, annotations_of, kind_of, part, ref_of, spec_of
from drtool.recovery.refusal import Refusal

KEDA: Final = ("keda.sh", "ScaledObject")
ARGO: Final = ("argoproj.io", "Application")
KUSTOMIZE: Final = ("kustomize.toolkit.fluxcd.io", "Kustomization")
HELM: Final = ("helm.toolkit.fluxcd.io", "HelmRelease")
KINDS: Final = (KEDA, ARGO, KUSTOMIZE, HELM)
_TOLD: Final = {KEDA: "KEDA", ARGO: "Argo CD", KUSTOMIZE: "Flux", HELM: "Flux"}
_PAUSED: Final = "autoscaling.keda.sh/paused"
_COUNT: Final = "autoscaling.keda.sh/paused-replicas"
_LET_BE: Final = {KUSTOMIZE: f"{KUSTOMIZE[0]}/reconcile", HELM: f"{HELM[0]}/driftDetection"}
_TRACKED: Final = "argocd.argoproj.io/tracking-id"
_INSTANCE: Final = (
    "argocd.argoproj.io/instance"  # app.kubernetes.io/instance is set by whomever, and proves nothing
)
_UNSAID: Final = "/"  # before a name whose namespace nobody says
_HERE: Final = ("https://kubernetes.default.svc", "in-cluster")


@dataclass(frozen=True, slots=True)
class Kept:
    """What keeps objects that are switched or stopped: what speaks against it, and what a person has to look at."""

    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()


def kept(
    stopped: Sequence[Json],
    deleted: Sequence[Json],
    keepers: Mapping[tuple[str, str], Sequence[Json] | None],
    kubectl: Callable[[str], str],
) -> Kept:
    """Return what keepers, by kind, do to what is stopped and what is deleted. None for a kind that may not be read.

    kubectl says how a statement begins that acts on a namespace.
    """
    refusals: list[Refusal] = []
    notes: list[str] = []
    for kind in KINDS:
        found = keepers.get(kind, ())
        if found is None:
            notes.append(
                f"{_TOLD[kind]}: you may not list its {kind[1]}s, so nobody knows whether one keeps what is stopped"
            )
        # What is deleted takes its own word for it along, and is made anew.
        items = [*(each for each in stopped if not _is_let_be(kind, each)), *deleted]
        for keeper in found or ():
            names = ", ".join(sorted(str(ref_of(each)) for each in items if _keeps(kind, keeper, each)))
            if names and _is_paused(kind, keeper):
                notes.append(f"{ref_of(keeper)} is paused: let it go on once this run has ended")
            elif names and (waits_for := _waits_for(kind, keeper)):
                notes.append(
                    f"{ref_of(keeper)} keeps {names}, and applies that with {waits_for} only: see that none comes "
                    "until this run has ended"
                )
            elif names:
                said = f"keeps {names}, and would start or apply that again in the middle of the switch"
                refusals.append(Refusal(str(ref_of(keeper)), said, _way(kind, keeper, kubectl)))
        notes += [note for item in items for note in _unseen(kind, item, found or ())]
    return Kept(tuple(sorted(refusals)), tuple(notes))


def _unseen(kind: tuple[str, str], item: Json, keepers: Sequence[Json]) -> Iterator[str]:
    """Yield by what an object says that it is kept, where that is none of keepers."""
    if any(_keeps(kind, each, item) for each in keepers):
        return
    for name in sorted({*_marks(kind, item)}):
        away = [each for each in keepers if kind == ARGO and name in _names(each)]
        why = (
            "which acts on another cluster by its destination: see that this is so, and that one"
            if away
            else "which is not to be seen here: see that it"
        )
        yield f"{ref_of(item)} is marked as kept by {kind[1]} {name}, {why} is paused where it is"


def keeper_notes(objects: Iterable[Json]) -> Iterator[str]:
    """Yield who kept some of objects where they were captured, and what to do about one that acts on the target."""
    marks = Counter(
        (_TOLD[kind], kind[1], name.removeprefix(_UNSAID))
        for each in objects
        for kind in KINDS
        for name in {*_marks(kind, each)}
    )
    for (told, kind, name), count in sorted(marks.items()):
        what = "an object that comes" if count == 1 else f"{count} objects that come"
        yield (
            f"{told}'s {kind} {name} keeps {what} back: if it acts on the target, suspend it until the restore has "
            "ended, or it starts what has to wait for its data"
        )


def _keeps(kind: tuple[str, str], keeper: Json, item: Json) -> bool:
    name, namespace = keeper["metadata"]["name"], keeper["metadata"].get("namespace")
    if kind == KEDA:
        target = part(keeper, "spec", "scaleTargetRef")
        wanted = target.get("apiVersion") or "apps/v1", target.get("kind") or "Deployment", target.get("name")
        is_it = (*kind_of(item), item["metadata"]["name"]) == (wanted[0].rpartition("/")[0], *wanted[1:])
        return is_it and namespace == item["metadata"].get("namespace")
    if kind == ARGO:
        return _is_here(keeper) and (bool(_names(keeper) & {*_marks(kind, item)}) or _lists(keeper, item))
    return f"{namespace}/{name}" in _marks(kind, item)


def _names(application: Json) -> set[str]:
    """Return what an Application is called in the marks of what it keeps."""
    name, namespace = application["metadata"]["name"], application["metadata"].get("namespace")
    return {name, f"{namespace}_{name}"}


def _is_here(application: Json) -> bool:
    """Return whether an Application acts on the cluster that it is in itself; one of its name may act on this one."""
    where = part(application, "spec", "destination")
    return bool({where.get("server"), where.get("name")} & {*_HERE})


def _lists(application: Json, item: Json) -> bool:
    """Return whether an Application says that it manages an object."""
    wanted = (*ref_of(item), item["metadata"].get("namespace"))
    listed = part(application, "status").get("resources") or []
    return any(
        (each.get("group", ""), each.get("kind"), each.get("name"), each.get("namespace")) == wanted
        for each in listed
    )


def _marks(kind: tuple[str, str], item: Json) -> Iterator[str]:
    """Yield the names of what an object says that it is kept by."""
    labels = part(item, "metadata", "labels")
    if kind == ARGO:
        name, _, rest = str(annotations_of(item).get(_TRACKED, "")).partition(":")
        group, what, called = ref_of(item)
        if rest == f"{group}/{what}:{item['metadata'].get('namespace')}/{called}":  # else it was copied
            yield name
        if _INSTANCE in labels:
            yield str(labels[_INSTANCE])
    elif kind != KEDA and f"{kind[0]}/name" in labels:
        yield f"{labels.get(f'{kind[0]}/namespace', '')}/{labels[f'{kind[0]}/name']}"


def _is_paused(kind: tuple[str, str], keeper: Json) -> bool:
    if kind == KEDA:
        said = annotations_of(keeper)
        count = said.get(_COUNT)  # it is what KEDA scales to, whatever else is said
        return count == "0" if count is not None else said.get(_PAUSED) == "true"
    if kind == ARGO:
        automated = part(keeper, "spec", "syncPolicy").get("automated")
        return automated is None or automated.get("enabled") is False
    return spec_of(keeper).get("suspend") is True


def _waits_for(kind: tuple[str, str], keeper: Json) -> str:
    """Return what has to come before a keeper applies anything; empty for one that mends whatever was changed."""
    if kind == ARGO and part(keeper, "spec", "syncPolicy", "automated").get("selfHeal") is not True:
        return "a new commit"
    if kind == HELM and part(keeper, "spec", "driftDetection").get("mode") != "enabled":
        return "a new chart or other values"
    return ""


def _is_let_be(kind: tuple[str, str], item: Json) -> bool:
    """Return whether an object itself says to Flux that it is not to be mended."""
    return kind in _LET_BE and "disabled" in (
        annotations_of(item).get(_LET_BE[kind]),
        part(item, "metadata", "labels").get(_LET_BE[kind]),
    )


def _way(kind: tuple[str, str], keeper: Json, kubectl: Callable[[str], str]) -> str:
    """Return how a person pauses a keeper, and what is to be undone afterwards."""
    name, begins = keeper["metadata"]["name"], kubectl(keeper["metadata"].get("namespace", ""))
    if kind == KEDA:
        changes = f"{_PAUSED}=true {_COUNT}-" if _COUNT in annotations_of(keeper) else f"{_PAUSED}=true"
        return f"Pause it with `{begins} annotate --overwrite scaledobject {name} {changes}`, and plan again."
    what, patch = f"{kind[1].lower()}s.{kind[0]}", '{"spec":{"suspend":true}}'
    if kind == ARGO:
        patch = '{"spec":{"syncPolicy":{"automated":null}}}'
    done = f"`{begins} patch {what} {name} --type merge --patch '{patch}'`, and plan again."
    if kind != ARGO:
        return f"Pause it with {done}"
    owner = controller_of(keeper)
    where = f" Its {owner['kind']} {owner['name']} must not set that again." if owner else ""
    return f"Stop its automated sync with {done}{where}"
