"""When which kind is applied."""

from drtool.recovery.manifests.mappings import Mappings
from drtool.recovery.manifests.order import place_of
from drtool.recovery.manifests.prepare import prepare
from tests.recovery.captured import SERVED, captured, claim, workload

ORDER = [
    "CustomResourceDefinition",
    "PriorityClass",
    "Namespace",
    "ResourceQuota",
    "Role",
    "ServiceAccount",
    "ConfigMap",
    "Secret",
    "RoleBinding",
    "NetworkPolicy",
    "Service",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PersistentVolumeClaim",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
]
GROUPS = {kind: group for group, kind in SERVED}


def test_objects_are_in_the_order_in_which_they_are_applied() -> None:
    made = {
        "Deployment": workload("Deployment", "x"),
        "StatefulSet": workload("StatefulSet", "x"),
        "PersistentVolumeClaim": claim("x"),
    }
    objects = [
        made.get(kind)
        or captured("/".join(filter(None, (GROUPS[kind], SERVED[GROUPS[kind], kind][0]))), kind, "x")
        for kind in reversed(ORDER)
    ]
    found = prepare(objects, Mappings(("shop", "shop")), SERVED)

    assert [each.ref.kind for each in found.objects] == ORDER
    assert found.refusals == ()


def test_what_nobody_knows_comes_behind_the_workloads_and_what_takes_traffic_last() -> None:
    assert place_of("example.com", "Widget") > place_of("batch", "CronJob")
    assert place_of("traefik.io", "IngressRoute") == place_of("networking.k8s.io", "Ingress")
    assert place_of("", "Job") == place_of("example.com", "Widget")


def test_a_certificate_comes_behind_the_secret_that_was_issued_for_it_and_before_what_asks_for_one() -> None:
    objects = [
        captured("networking.k8s.io/v1", "Ingress", "web"),
        captured("cert-manager.io/v1", "Certificate", "web"),
        captured("v1", "Secret", "web-tls"),
    ]
    served = {**SERVED, ("cert-manager.io", "Certificate"): ("v1",)}
    found = prepare(objects, Mappings(("shop", "shop")), served)
    assert [each.ref.kind for each in found.objects] == ["Secret", "Certificate", "Ingress"]
