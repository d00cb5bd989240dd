"""Everything that speaks against a plan, at once, and what somebody should look at."""

from dataclasses import replace

import pytest

from drtool.recovery.target import TargetFacts
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import Json, captured, claim, volume, workload
from tests.recovery.stage import CLUSTER, facts, made, plan, policy, refused

QUOTA = captured(
    "v1",
    "ResourceQuota",
    "q",
    status={"used": {"pods": "8", "requests.cpu": "1"}},
    spec={"hard": {"pods": "10"}},
)


def quota(**hard: str) -> TargetFacts:
    spec = {"hard": {key.replace("_", "."): value for key, value in hard.items()}}
    return facts(quotas=[{**QUOTA, "spec": spec}])


BUSY = workload("Deployment", "web", replicas=3, pod={
    "containers": [{"name": "a", "image": "a", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}},
                   {"name": "b", "image": "b", "resources": {"requests": {"cpu": "250m"}}}],
    "initContainers": [{"name": "i", "image": "i", "resources": {"requests": {"memory": "3Gi"}}}],
})  # fmt: skip
LIMITED = workload("Deployment", "web", pod={
    "containers": [{"name": "a", "image": "a", "resources": {"limits": {"cpu": "1"}}}]})  # fmt: skip
PRIORITY = workload("Deployment", "web", pod={"priorityClassName": "urgent"})


@pytest.mark.parametrize(
    ("objects", "target", "wishes", "reason"),
    [
        pytest.param(
            [], facts(phase="Terminating"), Wishes(), "namespace shop is being deleted in the target", id="36"
        ),
        pytest.param(
            [captured("extensions/v1beta1", "Ingress", "web")],
            facts(),
            Wishes(),
            "Ingress web is of extensions/v1beta1, and the target serves no such kind",
            id="41",
        ),
        pytest.param(
            [claim("a", "gone"), claim("b", "gone")],
            facts(),
            Wishes(),
            "storage class gone is not there, which a, b ask for",
            id="22",
        ),
        pytest.param(
            [claim("a", "fast")],
            facts(),
            Wishes(classes={"fast": "typo"}),
            "storage class typo is not there, which a asks for",
            id="22-mapped",
        ),
        pytest.param(
            [claim("a", "dead"), captured("storage.k8s.io/v1", "StorageClass", "dead", provisioner="gone")],
            facts(),
            Wishes(),
            "storage class dead is not there, which a asks for",
            id="22-no-driver",
        ),
        pytest.param(
            [claim("a", None)],
            facts(default_class=None),
            Wishes(),
            "default storage class is not there, which a asks for",
            id="22-default",
        ),
        pytest.param(
            [claim("a", "")],
            facts(),
            Wishes(),
            "volume of a was made by hand, and nobody makes it here",
            id="21",
        ),
        pytest.param(
            [PRIORITY],
            facts(),
            Wishes(),
            "Deployment web asks for priority class urgent, which is not there and was not captured",
            id="59",
        ),
        pytest.param(
            [BUSY],
            quota(pods="10"),
            Wishes(),
            "quota q is too small for what comes back: pods: 3 needed, 2 free",
            id="49-pods",
        ),
        pytest.param(
            [BUSY],
            quota(requests_cpu="3"),
            Wishes(),
            "quota q is too small for what comes back: requests.cpu: 2.25 needed, 2 free",
            id="49-cpu",
        ),
        pytest.param(
            [BUSY],
            quota(requests_memory="8Gi"),
            Wishes(),
            "quota q is too small for what comes back: requests.memory: 9663676416 needed, 8589934592 free",
            id="49-init",
        ),
        pytest.param(
            [{**LIMITED, "spec": {**LIMITED["spec"], "replicas": 3}}],
            quota(requests_cpu="3"),
            Wishes(),
            "quota q is too small for what comes back: requests.cpu: 3 needed, 2 free",
            id="49-limit",
        ),
        pytest.param(
            [claim("a")],
            quota(**{"fast.storageclass.storage.k8s.io/requests.storage": "1Mi"}),
            Wishes(),
            "quota q is too small for what comes back: fast.storageclass.storage.k8s.io/requests.storage: "
            "1073741824 needed, 1048576 free",
            id="49-class",
        ),
        pytest.param(
            [], facts(users={"data": ["db-0"]}), Wishes(), "claim data is in use by db-0", id="running"
        ),
        pytest.param(
            [],
            facts(cluster=replace(CLUSTER, version="v1.28.15+k3s1")),
            Wishes(),
            "new is Kubernetes v1.28.15+k3s1, and a restore takes 1.29 or later",
            id="42",
        ),
        pytest.param(
            [],
            facts(lacking=["create secrets"]),
            Wishes(),
            "new does not let you create secrets",
            id="rights",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    objects: list[Json], target: TargetFacts, wishes: Wishes, reason: str
) -> None:
    assert refused(objects, wishes, target) == [reason]


@pytest.mark.parametrize(
    ("objects", "target", "wishes"),
    [
        pytest.param([claim("a", "gone")], facts(), Wishes(classes={"gone": "mine"}), id="22-mapped"),
        pytest.param(
            [claim("a", ""), claim("b", None)],
            facts(default_class=None),
            Wishes(classes={"": "mine"}),
            id="21-mapped",
        ),
        pytest.param(
            [claim("a", "own"), captured("storage.k8s.io/v1", "StorageClass", "own", provisioner="csi")],
            facts(drivers=frozenset({"csi"})),
            Wishes(),
            id="22-captured",
        ),
        pytest.param(
            [claim("media", ""), volume("pv-media", "", nfs={"server": "nas"})],
            facts(),
            Wishes(),
            id="16-nfs",
        ),
        pytest.param([PRIORITY], facts(priority_classes=frozenset({"urgent"})), Wishes(), id="59"),
        pytest.param(
            [PRIORITY, captured("scheduling.k8s.io/v1", "PriorityClass", "urgent")],
            facts(),
            Wishes(),
            id="59-captured",
        ),
        pytest.param([], facts(cluster=replace(CLUSTER, version="unknown")), Wishes(), id="42-unknown"),
        pytest.param([], facts(cluster=replace(CLUSTER, version="v1.29.0")), Wishes(), id="42-oldest"),
        pytest.param([BUSY], quota(pods="11"), Wishes(), id="49"),
        pytest.param([LIMITED], quota(requests_cpu="3"), Wishes(), id="49-limit"),
        pytest.param(
            [BUSY],
            facts(quotas=[{**QUOTA, "spec": {"scopes": ["BestEffort"], "hard": {"pods": "1"}}}]),
            Wishes(),
            id="49-scoped",
        ),
        pytest.param(
            [{**BUSY, "spec": {**BUSY["spec"], "replicas": 0}}, captured("v1", "Pod", "p", spec={})],
            quota(pods="9"),
            Wishes(with_jobs=True),
            id="49-pod",
        ),
    ],
)
def test_what_can_be_is_planned(objects: list[Json], target: TargetFacts, wishes: Wishes) -> None:
    made(objects, wishes, target)


def test_what_is_there_and_differs_is_a_conflict_and_the_way_on_is_said() -> None:
    theirs = workload("Deployment", "web", replicas=9)
    objects = [workload("Deployment", "web"), claim("data")]

    assert refused(objects, live=[theirs, claim("data")]) == [
        "Deployment web is there already, and differs",
        "PersistentVolumeClaim data is there already, and may hold data",
    ]
    kept = made(objects, Wishes(if_exists="keep"), live=[theirs, claim("data")])
    assert kept.notes == (
        "Deployment web: it is there already, and stays as it is",
        "PersistentVolumeClaim data: it is there already, and stays as it is",
    )
    assert [step.kind for step in kept.steps] == ["restore", "prove"] * 3


def test_nobody_is_told_to_replace_what_others_in_the_cluster_may_use() -> None:
    mine, theirs = (
        captured("rbac.authorization.k8s.io/v1", "ClusterRole", "r", rules=[number]) for number in (1, 2)
    )
    [refusal] = plan([mine], live=[theirs])  # type: ignore[misc]  # it is refused

    assert str(refusal.about) == "ClusterRole r"
    assert "--if-exists keep" in refusal.hint
    assert "replace" not in refusal.hint
    assert "--namespace" not in refusal.hint


def test_everything_is_said_at_once() -> None:
    objects = [claim("a", "gone"), captured("extensions/v1beta1", "Ingress", "web")]

    assert len(refused(objects, target_wishes(), facts(lacking=["create secrets"], phase="Terminating"))) == 5


def target_wishes() -> Wishes:
    return Wishes(volumes=("redis",), at=made().made.replace(year=2020))


def test_what_is_no_reason_and_should_be_known_is_a_note() -> None:
    template = {"metadata": {"name": "data"}, "spec": {}}
    objects = [
        captured("networking.k8s.io/v1", "Ingress", "web", spec={"ingressClassName": "traefik"}),
        workload("StatefulSet", "db", volumeClaimTemplates=[template], ordinals={"start": 3}),
        claim("data-db-3"),
        captured("example.com/v1", "Widget", "w"),
    ]
    target = facts(served={**facts().served, ("example.com", "Widget"): ("v1",)})
    of = policy("recovery: {tiers: [[db], [nobody]]}")

    assert made(objects, facts=target, of=of, version="v1.35.0+k3s1").notes == (
        "the target is of v1.34.4, older than v1.35.0+k3s1: it may not know all fields",
        "StatefulSet db: claim data-db-4 was not captured, and begins empty",
        "Ingress web: nobody serves class traefik here, until there is an IngressClass of that name",
        "what serves example.com/Widget in the target acts on them as soon as they are there",
        "tier nobody: no workload of that name comes back",
    )
    assert (
        made(objects[:1], facts=facts(ingress_classes=frozenset({"traefik"})), version="unknown").notes == ()
    )


def ingress(secret: str, **annotations: str) -> Json:
    spec = {"tls": [{"hosts": ["shop.example"], "secretName": secret}, {"hosts": ["other.example"]}]}
    return captured(
        "networking.k8s.io/v1", "Ingress", "web", spec=spec, metadata={"annotations": annotations}
    )


def test_a_certificate_that_is_in_the_target_already_is_not_missed() -> None:
    other = facts(certificates=frozenset({"other-tls"}))
    there = facts(certificates=frozenset({"web-tls"}))
    assert len(made([ingress("web-tls")], facts=other).notes) == 1
    assert made([ingress("web-tls")], facts=there).notes == ()


@pytest.mark.parametrize(
    ("objects", "told"),
    [
        pytest.param(
            [ingress("web-tls", **{"kubernetes.io/ingress.class": "nginx"})],
            (
                "Ingress web: nobody serves class nginx here, until there is an IngressClass of that name",
                (
                    "Ingress web: Secret web-tls with its certificate does not come back: "
                    "its hosts have another one until it is there"
                ),
            ),
            id="43-certificate",
        ),
        pytest.param(
            [ingress("web-tls", **{"cert-manager.io/cluster-issuer": "le"})],
            (
                (
                    "Ingress web: Secret web-tls with its certificate does not come back: "
                    "cert-manager orders it anew"
                ),
            ),
            id="44-ordered-anew",
        ),
        pytest.param(
            [ingress("web-tls"), captured("v1", "Secret", "web-tls", data={})], (), id="44-certificate"
        ),
        pytest.param(
            [
                captured(
                    "v1", "ConfigMap", name, metadata={"labels": {"argocd.argoproj.io/instance": "shop"}}
                )
                for name in "ab"
            ],
            ("Argo CD's Application shop keeps 2 objects that come back: ",),
            id="55-argo-cd",
        ),
        pytest.param(
            [
                captured(
                    "v1",
                    "ConfigMap",
                    "a",
                    metadata={"annotations": {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/a"}},
                ),
                workload("Deployment", "web")
                | {"metadata": {"name": "web", "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}},
                captured("v1", "Secret", "s", metadata={"labels": {"helm.toolkit.fluxcd.io/name": "db"}}),
            ],
            (
                "Argo CD's Application shop keeps an object that comes back: ",
                "Flux's HelmRelease db keeps an object",
                "Flux's Kustomization apps keeps an object",
            ),
            id="55-both",
        ),
        pytest.param(
            [captured("v1", "ConfigMap", "a", metadata={"labels": {"app.kubernetes.io/instance": "shop"}})],
            (),
            id="55-nobody",
        ),
    ],
)
def test_who_else_acts_on_what_comes_back_is_a_note(objects: list[Json], told: tuple[str, ...]) -> None:
    said = made(objects).notes
    assert len(said) == len(told)
    assert all(note.startswith(text) for note, text in zip(said, told, strict=True))
