"""Old names and new ones: what is mapped, and what is only told."""

from base64 import b64encode
from typing import Any

import pytest

from drtool.recovery.manifests.mappings import Mappings
from drtool.recovery.manifests.prepare import Preparation, prepare
from tests.recovery.captured import SERVED, Json, captured, claim, volume, workload

MOVED = Mappings(("shop", "shop-dr"))


def ready(item: Json, mappings: Mappings = MOVED) -> Preparation:
    return prepare([item], mappings, SERVED)


def one(item: Json, mappings: Mappings = MOVED) -> Json:
    return ready(item, mappings).objects[0].item


RBAC = "rbac.authorization.k8s.io/v1"
LABEL = "kubernetes.io/metadata.name"


def env(value: str, **more: Any) -> Json:
    container = {"name": "app", "image": "app:1", "env": [{"name": "DB", "value": value}], **more}
    return workload("Deployment", "web", pod={"containers": [container]})


def containers(item: Json) -> list[Json]:
    found: list[Json] = item["spec"]["template"]["spec"]["containers"]
    return found


def test_32_bindings_name_the_accounts_of_the_new_namespace() -> None:
    subjects = [
        {"kind": "ServiceAccount", "name": "app", "namespace": "shop"},
        {"kind": "ServiceAccount", "name": "app", "namespace": "other"},
        {"kind": "Group", "name": "system:serviceaccounts:shop"},
        {"kind": "User", "name": "system:serviceaccount:shop:app"},
        {"kind": "User", "name": "ann"},
    ]
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        found = one(captured(RBAC, kind, "x", roleRef={}, subjects=subjects))["subjects"]
        assert [each.get("namespace", each["name"]) for each in found] == [
            *(
                "shop-dr",
                "other",
                "system:serviceaccounts:shop-dr",
                "system:serviceaccount:shop-dr:app",
                "ann",
            ),
        ]


def test_18_a_volume_waits_for_the_claim_of_the_new_namespace() -> None:
    share = volume("share", "", nfs={"server": "nas", "path": "/x"})

    assert one(share)["spec"]["claimRef"] == {"namespace": "shop-dr", "name": "media"}


def test_35_the_namespace_itself_and_all_in_it_move() -> None:
    assert one(captured("v1", "Namespace", "shop"))["metadata"] == {"name": "shop-dr"}
    assert one(claim("data"))["metadata"]["namespace"] == "shop-dr"


def test_48_network_policies_let_the_new_namespace_in() -> None:
    peers = [
        {"namespaceSelector": {"matchLabels": {LABEL: "shop"}}},
        {
            "namespaceSelector": {
                "matchExpressions": [{"key": LABEL, "operator": "In", "values": ["shop", "x"]}]
            }
        },
    ]
    found = one(captured("networking.k8s.io/v1", "NetworkPolicy", "x", spec={"ingress": [{"from": peers}]}))

    assert "'shop'" not in str(found)
    assert str(found).count("'shop-dr'") == 3


def test_webhooks_and_definitions_find_their_service() -> None:
    service = {"service": {"namespace": "shop", "name": "x"}}
    selector = {"matchLabels": {LABEL: "shop"}}
    hooks = [{"name": "x", "clientConfig": service, "namespaceSelector": selector}]
    kind = "ValidatingWebhookConfiguration"
    found = one(captured("admissionregistration.k8s.io/v1", kind, "x", webhooks=hooks))

    [mapped] = found["webhooks"]
    assert mapped["clientConfig"]["service"]["namespace"] == "shop-dr"
    assert mapped["namespaceSelector"]["matchLabels"] == {LABEL: "shop-dr"}


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (env("postgres://db.shop.svc:5432/x"), "postgres://db.shop-dr.svc:5432/x"),
        (env("", command=["wait", "db.shop.svc.cluster.local"]), "db.shop-dr.svc.cluster.local"),
        (captured("v1", "ConfigMap", "c", data={"nginx.conf": "proxy_pass http://web.shop.svc;"}),
         "proxy_pass http://web.shop-dr.svc;"),
        (captured("v1", "Service", "db", spec={"externalName": "db.shop.svc.cluster.local"}),
         "db.shop-dr.svc.cluster.local"),
    ],
    ids=["env", "command", "config-map", "external-name"],
)  # fmt: skip
def test_61_names_of_services_follow_the_namespace(item: Json, text: str) -> None:
    assert f"'{text}'" in str(one(item))


def test_61_what_holds_an_old_name_and_may_mean_anything_is_told() -> None:
    secret = captured("v1", "Secret", "s", data={"url": b64encode(b"//db.shop.svc/x").decode(), "bad": "x"})
    mappings = Mappings(("shop", "shop-dr"), hosts={"shop.example": "shop.dr.example"})

    assert ready(env("db.shop:5432")).notes == (
        "Deployment web: spec.template.spec.containers[app].env[DB].value still holds shop",
    )
    assert ready(secret).notes == ("Secret s: key url still holds shop",)
    assert any(
        note.endswith("still holds shop.example") for note in ready(env("www.shop.example"), mappings).notes
    )
    assert ready(env("workshop and shop-floor")).notes == ()
    assert one(secret)["data"] == secret["data"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("registry.example/app:1", "mirror.example/r/app:1"),
        ("registry.example:5000/app:1", "registry.example:5000/app:1"),
        ("redis:7", "mirror.example/hub/library/redis:7"),
        ("bitnami/redis@sha256:0", "mirror.example/hub/bitnami/redis@sha256:0"),
        ("ghcr.io/team/app", "mirror.example/team/app"),
        ("ghcr.io/other/app", "ghcr.io/other/app"),
        ("localhost/app", "localhost/app"),
    ],
)
def test_34_images_come_from_the_registry_of_the_target(image: str, expected: str) -> None:
    registries = {
        "registry.example": "mirror.example/r",
        "docker.io": "mirror.example/hub/",
        "ghcr.io/team": "mirror.example/team",
    }
    pod = {"initContainers": [{"name": "i", "image": image}], "containers": [{"name": "c", "image": image}]}
    found = one(workload("Deployment", "web", pod=pod), Mappings(("shop", "shop"), registries=registries))
    cron = captured("batch/v1", "CronJob", "c", spec={"jobTemplate": {"spec": {"template": {"spec": pod}}}})

    assert [each["image"] for each in containers(found)] == [expected]
    assert found["spec"]["template"]["spec"]["initContainers"][0]["image"] == expected
    assert expected in str(one(cron, Mappings(("shop", "shop"), registries=registries)))


def test_22_a_storage_class_is_mapped_everywhere_together() -> None:
    template = {"metadata": {"name": "data"}, "spec": {"storageClassName": "fast"}}
    ephemeral = [
        {"name": "x", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}},
        {"name": "y"},
    ]
    hard = {"fast.storageclass.storage.k8s.io/requests.storage": "1Gi", "pods": "3"}
    mappings = Mappings(("shop", "shop"), classes={"fast": "slow"})
    everything = [
        claim("data"),
        workload("StatefulSet", "db", volumeClaimTemplates=[template], pod={"volumes": ephemeral}),
        captured("v1", "ResourceQuota", "q", spec={"hard": hard}),
        captured("storage.k8s.io/v1", "StorageClass", "fast", provisioner="x"),
    ]
    found = prepare(everything, mappings, SERVED)

    assert len(found.objects) == 3
    assert "fast" not in str([each.item for each in found.objects])
    assert found.left_out == {"another class takes its place": 1}


def test_43_hosts_of_ingresses_and_their_certificates_are_mapped() -> None:
    spec = {
        "rules": [{"host": "shop.example"}, {"host": "www.shop.example"}, {"host": "workshop.example"}, {}],
        "tls": [{"hosts": ["shop.example"]}, {"secretName": "x"}],
    }
    mappings = Mappings(("shop", "shop"), hosts={"shop.example": "dr.shop.example"})
    found = ready(captured("networking.k8s.io/v1", "Ingress", "web", spec=spec), mappings)

    assert [each.get("host") for each in found.objects[0].item["spec"]["rules"]] == [
        *("dr.shop.example", "www.dr.shop.example", "workshop.example", None),
    ]
    assert found.objects[0].item["spec"]["tls"][0] == {"hosts": ["dr.shop.example"]}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [("shop-drill", "shop", True), ("shop", "shop-drill", True), ("shop-drill", "drill", True)],
)
def test_61_an_old_name_that_has_the_new_one_in_it_is_told(old: str, new: str, told: bool) -> None:  # noqa: FBT001 - a table
    mappings = Mappings((old, new))
    stays, goes = ready(env(f"http://web.{old}/"), mappings), ready(env(f"http://web.{new}/"), mappings)

    assert any(f"still holds {old}" in note for note in stays.notes) is told
    assert not any(f"[DB].value still holds {old}" in note for note in goes.notes)


def test_what_a_custom_resource_means_by_a_familiar_word_is_left_alone() -> None:
    spec = {"rules": [{"namespaceSelector": {"matchExpressions": ["any"]}}]}
    found = captured("example.com/v1", "Widget", "w", spec=spec, subjects=[{"of": "mail"}])
    served = {**SERVED, ("example.com", "Widget"): ("v1",)}

    [widget] = prepare([found], MOVED, served).objects
    assert (widget.item["spec"], widget.item["subjects"]) == (spec, [{"of": "mail"}])
