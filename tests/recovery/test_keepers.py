"""KEDA, Argo CD and Flux: what they keep is told from what only looks like it, and whether they are paused."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from drtool.recovery.keepers import ARGO, HELM, KEDA, KUSTOMIZE, Kept, kept
from drtool.recovery.manifests.objects import Json
from tests.recovery.captured import captured, claim, workload

WEB = workload("Deployment", "web")
FLUX = "kustomize.toolkit.fluxcd.io"
TRACKED = "argocd.argoproj.io/tracking-id"


SUSPEND = """--type merge --patch '{"spec":{"suspend":true}}'"""


def begins(namespace: str) -> str:
    return f"kubectl --context=prod --namespace={namespace}"


def marked(item: Json, *, labels: Mapping[str, str] | None = None, **annotations: Any) -> Json:
    metadata = {**item["metadata"], "labels": dict(labels or {}), "annotations": annotations}
    return {**item, "metadata": metadata}


def tracked(app: str, rest: str = "apps/Deployment:shop/web") -> Json:
    annotations: Json = {TRACKED: f"{app}:{rest}"}
    return marked(WEB, **annotations)


def scaled(annotations: Mapping[str, str] | None = None, namespace: str = "shop", **target: str) -> Json:
    metadata = {"namespace": namespace, "annotations": dict(annotations or {})}
    spec = {"scaleTargetRef": {"name": "web", **target}}
    return captured("keda.sh/v1alpha1", "ScaledObject", "by-load", spec=spec, metadata=metadata)


def application(namespace: str = "argocd", listed: Sequence[str] = (), **content: Any) -> Json:
    metadata = {"namespace": namespace, **content.pop("metadata", {})}
    spec = {"destination": {"server": content.pop("server", "https://kubernetes.default.svc")}, **content}
    told = [{"group": "apps", "kind": "Deployment", "namespace": "shop", "name": name} for name in listed]
    return captured(
        "argoproj.io/v1alpha1",
        "Application",
        "shop",
        spec=spec,
        status={"resources": told},
        metadata=metadata,
    )


def flux(kind: tuple[str, str], **spec: Any) -> Json:
    return captured(f"{kind[0]}/v1", kind[1], "apps", spec=spec, metadata={"namespace": "flux-system"})


def of_flux(kind: tuple[str, str], item: Json = WEB) -> Json:
    return marked(item, labels={f"{kind[0]}/name": "apps", f"{kind[0]}/namespace": "flux-system"})


def found(
    kind: tuple[str, str], *keepers: Json, items: Sequence[Json] = (WEB,), deleted: Sequence[Json] = ()
) -> Kept:
    return kept(items, deleted, {kind: keepers}, begins)


SYNCED: Any = {"syncPolicy": {"automated": {"selfHeal": True}}}
CORRECTED: Any = {"driftDetection": {"mode": "enabled"}}


@pytest.mark.parametrize(
    ("kind", "keeper", "item", "way"),
    [
        (
            KEDA,
            scaled(),
            WEB,
            f"`{begins('shop')} annotate --overwrite scaledobject by-load autoscaling.keda.sh/paused=true`",
        ),
        (
            KEDA,
            scaled({"autoscaling.keda.sh/paused-replicas": "2", "autoscaling.keda.sh/paused": "true"}),
            WEB,
            "autoscaling.keda.sh/paused=true autoscaling.keda.sh/paused-replicas-`",
        ),
        (
            KEDA,
            scaled(apiVersion="apps/v1", kind="StatefulSet"),
            workload("StatefulSet", "web"),
            "kubectl --context=prod --namespace=shop annotate",
        ),
        (
            ARGO,
            application(**SYNCED),
            tracked("shop"),
            "kubectl --context=prod --namespace=argocd patch applications.argoproj.io shop --type merge",
        ),
        (
            ARGO,
            application("team", **SYNCED),
            tracked("team_shop"),
            "kubectl --context=prod --namespace=team patch",
        ),
        (ARGO, application(listed=["web"], **SYNCED), WEB, "kubectl --context=prod --namespace=argocd patch"),
        (
            ARGO,
            application(**SYNCED),
            marked(WEB, labels={"argocd.argoproj.io/instance": "shop"}),
            "kubectl --context=prod --namespace=argocd patch",
        ),
        (
            KUSTOMIZE,
            flux(KUSTOMIZE),
            of_flux(KUSTOMIZE),
            f"`{begins('flux-system')} patch kustomizations.kustomize.toolkit.fluxcd.io apps {SUSPEND}`",
        ),
        (
            HELM,
            flux(HELM, suspend=False, **CORRECTED),
            of_flux(HELM, claim("media")),
            "patch helmreleases.helm.toolkit.fluxcd.io apps",
        ),
    ],
)
def test_what_is_kept_is_refused_with_the_command_that_pauses_it(
    kind: tuple[str, str], keeper: Json, item: Json, way: str
) -> None:
    said = found(kind, keeper, items=[item, workload("Deployment", "other")])

    [refusal] = said.refusals
    assert refusal.about == f"{keeper['kind']} {keeper['metadata']['name']}"
    assert refusal.message.startswith(f"keeps {item['kind']} {item['metadata']['name']}, and would")
    assert way in refusal.hint
    assert not said.notes


@pytest.mark.parametrize(
    ("kind", "keeper", "item"),
    [
        (KEDA, scaled({"autoscaling.keda.sh/paused": "true"}), WEB),
        (KEDA, scaled({"autoscaling.keda.sh/paused-replicas": "0"}), WEB),
        (ARGO, application(), tracked("shop")),
        (ARGO, application(syncPolicy={"automated": {"enabled": False}}), tracked("shop")),
        (KUSTOMIZE, flux(KUSTOMIZE, suspend=True), of_flux(KUSTOMIZE)),
        (HELM, flux(HELM, suspend=True, **CORRECTED), of_flux(HELM)),
    ],
)
def test_what_is_paused_is_no_reason_and_is_told(kind: tuple[str, str], keeper: Json, item: Json) -> None:
    said = found(kind, keeper, items=[item])

    assert not said.refusals
    name = f"{keeper['kind']} {keeper['metadata']['name']}"
    assert said.notes == (f"{name} is paused: let it go on once this run has ended",)


@pytest.mark.parametrize(
    ("kind", "keeper", "item", "what"),
    [
        (ARGO, application(syncPolicy={"automated": {}}), tracked("shop"), "a new commit"),
        (ARGO, application(syncPolicy={"automated": {"selfHeal": False}}), tracked("shop"), "a new commit"),
        (HELM, flux(HELM), of_flux(HELM), "a new chart or other values"),
        (HELM, flux(HELM, driftDetection={"mode": "warn"}), of_flux(HELM), "a new chart or other values"),
    ],
)
def test_who_mends_nothing_that_was_changed_in_place_is_only_told(
    kind: tuple[str, str], keeper: Json, item: Json, what: str
) -> None:
    said = found(kind, keeper, items=[item], deleted=[of_flux(kind, claim("media"))])

    assert not said.refusals
    [note] = said.notes
    assert note.startswith(f"{keeper['kind']} {keeper['metadata']['name']} keeps Deployment web")
    assert note.endswith(f"applies that with {what} only: see that none comes until this run has ended")


@pytest.mark.parametrize(
    ("kind", "name"),
    [(KUSTOMIZE, f"{KUSTOMIZE[0]}/reconcile"), (HELM, f"{HELM[0]}/driftDetection")],
)
@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_what_flux_is_told_to_let_be_is_not_kept_unless_it_is_deleted(
    kind: tuple[str, str], name: str, field: str
) -> None:
    item, keeper = of_flux(kind), flux(kind, **CORRECTED)
    item["metadata"][field][name] = "disabled"
    assert found(kind, keeper, items=[item]) == Kept()
    assert found(kind, items=[item]) == Kept()
    assert found(kind, keeper, items=(), deleted=[item]).refusals
    item["metadata"][field][name] = "enabled"
    assert found(kind, keeper, items=[item]).refusals


def test_an_application_of_that_name_for_another_cluster_is_no_reason_and_told() -> None:
    said = found(ARGO, application(server="https://elsewhere", **SYNCED), items=[tracked("shop")])
    assert not said.refusals
    [note] = said.notes
    assert "is marked as kept by Application shop, which acts on another cluster by its destination" in note


@pytest.mark.parametrize(
    ("kind", "keeper", "item"),
    [
        (KEDA, scaled(namespace="other"), WEB),
        (KEDA, scaled(kind="StatefulSet"), WEB),
        (KEDA, scaled(), workload("Deployment", "worker")),
        (ARGO, application(**SYNCED), marked(WEB, labels={"app.kubernetes.io/instance": "shop"})),
        (ARGO, application(**SYNCED), tracked("shop", "apps/Deployment:shop/other")),
        (ARGO, application(listed=["web"], server="https://elsewhere", **SYNCED), WEB),
        (ARGO, application(listed=["worker"], **SYNCED), WEB),
        (KUSTOMIZE, flux(KUSTOMIZE), WEB),
    ],
)
def test_what_only_looks_like_it_is_not_kept(kind: tuple[str, str], keeper: Json, item: Json) -> None:
    assert found(kind, keeper, items=[item]) == Kept()


@pytest.mark.parametrize(
    ("kind", "item", "name"),
    [
        (ARGO, tracked("shop"), "Application shop"),
        (KUSTOMIZE, of_flux(KUSTOMIZE), "Kustomization flux-system/apps"),
    ],
)
def test_what_is_kept_from_elsewhere_is_told(kind: tuple[str, str], item: Json, name: str) -> None:
    [note] = found(kind, items=[item]).notes
    assert note.startswith(f"Deployment web is marked as kept by {name}, which is not to be seen here")


def test_who_may_not_look_is_told_that_nobody_knows() -> None:
    said = kept([WEB], [], {KEDA: None}, begins)
    assert not said.refusals
    assert [note for note in said.notes if note.startswith("KEDA: you may not list its ScaledObjects")]


def test_what_sets_it_again_is_named() -> None:
    owner = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "name": "all",
        "controller": True,
    }
    app = application(metadata={"ownerReferences": [owner]}, **SYNCED)
    [refusal] = found(ARGO, app, items=[tracked("shop")]).refusals
    assert refusal.hint.endswith("Its ApplicationSet all must not set that again.")
