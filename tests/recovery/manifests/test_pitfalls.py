"""What projects that restored before fell into: each row has the number of its pitfall in the facts."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from drtool.recovery.manifests.hold import hold
from drtool.recovery.manifests.mappings import Mappings
from drtool.recovery.manifests.prepare import Preparation, prepare
from tests.recovery.captured import SERVED, Json, annotated, captured, claim, volume, workload

HERE = Mappings(("shop", "shop"))
Check = Callable[[Json], bool]


def ready(*objects: Json, mappings: Mappings = HERE, **options: Any) -> Preparation:
    return prepare(objects, mappings, SERVED, **options)


def one(*objects: Json, mappings: Mappings = HERE, **options: Any) -> Json:
    """Return the first of objects as it is applied; it must be there."""
    wanted = objects[0]["kind"], objects[0]["metadata"]["name"]
    found = ready(*objects, mappings=mappings, **options).objects
    [item] = [each.item for each in found if (each.ref.kind, each.ref.name) == wanted]
    return item


APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SERVICE = {
    "clusterIP": "10.0.0.7",
    "clusterIPs": ["10.0.0.7"],
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
    "selector": {"app": "web"},
    "ports": [
        {"port": 80, "protocol": "TCP", "nodePort": 30080},
        {"port": 443, "protocol": "TCP", "nodePort": 30443},
    ],
    "healthCheckNodePort": 31000,
}


def service(metadata: Json | None = None, **spec: Any) -> Json:
    return captured(
        "v1", "Service", "web", spec=json.loads(json.dumps(SERVICE)) | spec, metadata=metadata or {}
    )


def set_by_hand(fields: Json) -> Json:
    return {"managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": fields}}]}


def ports(item: Json) -> list[int | None]:
    return [each.get("nodePort") for each in item["spec"]["ports"]]


def hook(**content: Any) -> Json:
    entry = {"name": "x", "clientConfig": {"caBundle": "Q0E=", "service": {"namespace": "shop", "name": "x"}}}
    kind = "ValidatingWebhookConfiguration"
    return captured("admissionregistration.k8s.io/v1", kind, "x", webhooks=[entry], **content)


def job(**spec: Any) -> Json:
    labels = {"controller-uid": "u", "batch.kubernetes.io/controller-uid": "u", "job-name": "j", "app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    content = {"selector": {"matchLabels": {"controller-uid": "u"}}, "template": template, **spec}
    return captured("batch/v1", "Job", "j", spec=content, metadata={"labels": dict(labels)})


TOKEN = {
    "type": "kubernetes.io/service-account-token",
    "data": {"token": "eA==", "ca.crt": "eA==", "mine": "eA=="},
}
ACCOUNT = {"kubernetes.io/service-account.name": "app", "kubernetes.io/service-account.uid": "old"}
DEPLOYMENT = workload("Deployment", "web")
POD = captured("v1", "Pod", "bare", spec={
    "nodeName": "n1", "priority": 5, "serviceAccount": "x", "ephemeralContainers": [], "serviceAccountName": "x",
    "tolerations": [{"key": "node.kubernetes.io/not-ready", "tolerationSeconds": 300}, {"key": "mine"}],
    "volumes": [{"name": "kube-api-access-x7k2p"}, {"name": "data"}],
    "containers": [{"name": "c", "image": "c", "volumeMounts": [{"name": "kube-api-access-x7k2p"}]}],
})  # fmt: skip

KEPT: dict[str, tuple[Json, Check]] = {
    "1-metadata-of-the-server": (DEPLOYMENT, lambda it: it["metadata"] == {"name": "web", "namespace": "shop"}),
    "2-status-of-claims-to-be": (
        workload("StatefulSet", "db", volumeClaimTemplates=[
            {"metadata": {"name": "data", "creationTimestamp": None}, "spec": {}, "status": {"phase": "Pending"}}]),
        lambda it: it["spec"]["volumeClaimTemplates"] == [{"metadata": {"name": "data"}, "spec": {}}],
    ),
    "2-status-of-jobs-to-be": (
        captured("batch/v1", "CronJob", "c", spec={"jobTemplate": {"metadata": {"creationTimestamp": None}}}),
        lambda it: it["spec"] == {"jobTemplate": {}},
    ),
    "2-status": (DEPLOYMENT, lambda it: "status" not in it),
    "3-owners-with-old-uids": (
        captured("v1", "Secret", "s", metadata={"ownerReferences": [{"uid": "x", "kind": "Certificate",
                 "apiVersion": "cert-manager.io/v1", "name": "c", "controller": True}]}),
        lambda it: "ownerReferences" not in it["metadata"],
    ),
    "5-a-bare-pod": (
        POD,
        lambda it: it["spec"]
        == {"serviceAccountName": "x", "tolerations": [{"key": "mine"}], "volumes": [{"name": "data"}],
            "containers": [{"name": "c", "image": "c"}]},
    ),
    "10-job-selectors": (
        job(),
        lambda it: "selector" not in it["spec"] and it["metadata"]["labels"] == {"app": "x"}
        and it["spec"]["template"]["metadata"]["labels"] == {"app": "x"},
    ),
    "10-a-job-with-a-selector-by-hand": (
        job(manualSelector=True), lambda it: it["spec"]["selector"] and it["spec"]["manualSelector"]
    ),
    "11-cluster-addresses": (
        service(),
        lambda it: not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & it["spec"].keys(),
    ),
    "11-headless": (
        service(clusterIP="None", clusterIPs=["None"]), lambda it: it["spec"]["clusterIPs"] == ["None"]
    ),
    "11-two-families": (
        service(ipFamilyPolicy="PreferDualStack"), lambda it: it["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    ),
    "12-node-ports-of-the-cluster": (
        service(), lambda it: ports(it) == [None, None] and "healthCheckNodePort" not in it["spec"]
    ),
    "12-node-ports-by-managed-fields": (
        service(set_by_hand({"f:ports": {".": {}, 'k:{"port":443,"protocol":"TCP"}': {"f:nodePort": {}},
                             'k:{"port":80,"protocol":"TCP"}': {"f:port": {}}}, "f:healthCheckNodePort": {}})),
        lambda it: ports(it) == [None, 30443] and it["spec"]["healthCheckNodePort"] == 31000,
    ),
    "12-node-ports-by-last-applied": (
        service({"annotations": {APPLIED: json.dumps({"spec": {"ports": [{"port": 80, "nodePort": 30080}],
                                                              "healthCheckNodePort": 31000}})}}),
        lambda it: ports(it) == [30080, None] and it["spec"]["healthCheckNodePort"] == 31000,
    ),
    "13-load-balancer": (
        service(type="LoadBalancer", loadBalancerIP="1.2.3.4"), lambda it: "loadBalancerIP" not in it["spec"]
    ),
    "15-endpoints-by-hand": (
        captured("v1", "Endpoints", "db", subsets=[{"addresses": [{"ip": "1.2.3.4", "nodeName": "n",
                                                                   "targetRef": {"name": "x"}}]}]),
        lambda it: it["subsets"] == [{"addresses": [{"ip": "1.2.3.4"}]}],
    ),
    "15-slices-by-hand": (
        captured("discovery.k8s.io/v1", "EndpointSlice", "db", endpoints=[{"addresses": ["1.2.3.4"], "nodeName": "n"}]),
        lambda it: it["endpoints"] == [{"addresses": ["1.2.3.4"]}],
    ),
    "16-17-a-bound-claim": (
        claim("data"),
        lambda it: it["metadata"] == {"name": "data", "namespace": "shop"} and "volumeName" not in it["spec"],
    ),
    "16-the-class-without-a-name": (claim("data", ""), lambda it: it["spec"]["storageClassName"] == ""),
    "17-the-class-in-an-annotation": (
        captured("v1", "PersistentVolumeClaim", "old", spec={},
                 metadata={"annotations": {"volume.beta.kubernetes.io/storage-class": "fast"}}),
        lambda it: it["spec"] == {"storageClassName": "fast"} and "annotations" not in it["metadata"],
    ),
    "17-the-class-in-an-annotation-counts": (
        captured("v1", "PersistentVolumeClaim", "old", spec={"storageClassName": "slow"},
                 metadata={"annotations": {"volume.beta.kubernetes.io/storage-class": "fast"}}),
        lambda it: it["spec"] == {"storageClassName": "fast"},
    ),
    "17-the-class-of-a-template-in-an-annotation": (
        workload("StatefulSet", "db", volumeClaimTemplates=[{"spec": {}, "metadata": {
            "name": "data", "annotations": {"volume.beta.kubernetes.io/storage-class": "fast"}}}]),
        lambda it: it["spec"]["volumeClaimTemplates"]
        == [{"metadata": {"name": "data"}, "spec": {"storageClassName": "fast"}}],
    ),
    "17-the-class-of-a-volume-in-an-annotation": (
        captured("v1", "PersistentVolume", "share", spec={"nfs": {"server": "nas"}},
                 metadata={"annotations": {"volume.beta.kubernetes.io/storage-class": "fast"}}),
        lambda it: it["spec"]["storageClassName"] == "fast",
    ),
    "45-metrics-of-an-old-autoscaler": (
        captured("autoscaling/v1", "HorizontalPodAutoscaler", "web", spec={}, metadata=annotated(**{
            "autoscaling.alpha.kubernetes.io/metrics": "[]", "autoscaling.alpha.kubernetes.io/conditions": "[]"})),
        lambda it: it["metadata"]["annotations"] == {"autoscaling.alpha.kubernetes.io/metrics": "[]"},
    ),
    "12-an-annotation-that-is-not-kubectls": (
        service({"annotations": {APPLIED: "{not"}}), lambda it: ports(it) == [None, None]
    ),
    "47-an-annotation-that-is-not-ours": (
        workload("StatefulSet", "db") | {"metadata": {"name": "db", "namespace": "shop", **annotated(**{
            "drtool.io/replicas": "many", "drtool.io/claim-retention": "x"})}},
        lambda it: it["spec"]["replicas"] == 2 and "annotations" not in it["metadata"],
    ),
    "18-19-a-volume-by-address": (
        volume("share", "", nfs={"server": "nas", "path": "/x"}),
        lambda it: it["spec"]["claimRef"] == {"namespace": "shop", "name": "media"}
        and it["spec"]["persistentVolumeReclaimPolicy"] == "Retain",
    ),
    "23-data-sources": (
        claim("data", dataSource={"kind": "VolumeSnapshot"}, dataSourceRef={"kind": "VolumeSnapshot"}),
        lambda it: it["spec"].keys() == {"resources", "storageClassName"},
    ),
    "27-immutable": (captured("v1", "Secret", "s", immutable=True, data={}), lambda it: it["immutable"] is True),
    "28-a-token-by-hand": (
        captured("v1", "Secret", "ci", metadata={"annotations": ACCOUNT}, **json.loads(json.dumps(TOKEN))),
        lambda it: it["data"] == {"mine": "eA=="} and it["metadata"]["annotations"].keys()
        == {"kubernetes.io/service-account.name"},
    ),
    "30-secrets-that-are-gone": (
        captured("v1", "ServiceAccount", "default", secrets=[{"name": "default-token-x7k2p"}],
                 imagePullSecrets=[{"name": "pull"}]),
        lambda it: "secrets" not in it and it["imagePullSecrets"] == [{"name": "pull"}],
    ),
    "32-aggregated-roles": (
        captured("rbac.authorization.k8s.io/v1", "ClusterRole", "x", aggregationRule={"a": 1}, rules=[{"b": 1}]),
        lambda it: "rules" not in it,
    ),
    "35-namespace": (
        captured("v1", "Namespace", "shop", spec={"finalizers": ["kubernetes"]}, metadata={
            "labels": {"kubernetes.io/metadata.name": "shop", "pod-security.kubernetes.io/enforce": "restricted"},
            "annotations": {"openshift.io/sa.scc.mcs": "x", "mine": "y"}}),
        lambda it: it == {"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": "shop", "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            "annotations": {"mine": "y"}}},
    ),
    "37-definitions": (
        captured("apiextensions.k8s.io/v1", "CustomResourceDefinition", "x.y", spec={"conversion": {"webhook": {
            "clientConfig": {"caBundle": "x", "service": {}}}}}),
        lambda it: it["spec"]["conversion"]["webhook"]["clientConfig"] == {"service": {}},
    ),
    "39-webhooks": (
        hook(),
        lambda it: it["webhooks"][0]["sideEffects"] == "None" and it["webhooks"][0]["clientConfig"]["caBundle"],
    ),
    "39-webhooks-with-an-injector": (
        hook(metadata=annotated(**{"cert-manager.io/inject-ca-from": "a/b"})),
        lambda it: "caBundle" not in it["webhooks"][0]["clientConfig"],
    ),
    "39-webhooks-with-an-injector-from-a-secret": (
        hook(metadata=annotated(**{"cert-manager.io/inject-ca-from-secret": "a/b"})),
        lambda it: "caBundle" not in it["webhooks"][0]["clientConfig"],
    ),
    "43-two-names-of-a-class": (
        captured("networking.k8s.io/v1", "Ingress", "web", spec={"ingressClassName": "traefik"},
                 metadata=annotated(**{"kubernetes.io/ingress.class": "traefik"})),
        lambda it: "annotations" not in it["metadata"] and it["spec"]["ingressClassName"] == "traefik",
    ),
    "43-one-name-of-a-class": (
        captured("networking.k8s.io/v1", "Ingress", "web", spec={},
                 metadata=annotated(**{"kubernetes.io/ingress.class": "traefik"})),
        lambda it: it["metadata"]["annotations"] == {"kubernetes.io/ingress.class": "traefik"},
    ),
    "50-finalizers": (claim("data"), lambda it: "finalizers" not in it["metadata"]),
    "51-52-volatile-annotations": (
        captured("v1", "ConfigMap", "c", metadata=annotated(**{
            "k8s.ovn.org/pod-networks": "x", "cni.projectcalico.org/podIP": "x", APPLIED: "{}",
            "deployment.kubernetes.io/revision": "3", "mine": "y"})),
        lambda it: it["metadata"]["annotations"] == {"mine": "y"},
    ),
    "57-helm-keeps-what-is-its": (
        captured("v1", "ConfigMap", "c", metadata={"labels": {"app.kubernetes.io/managed-by": "Helm"},
                                                   "annotations": {"meta.helm.sh/release-name": "r"}}),
        lambda it: it["metadata"].keys() == {"name", "namespace", "labels", "annotations"},
    ),
    "a-pod-template-is-tied-to-no-node": (
        workload("Deployment", "web", pod={"nodeSelector": {"kubernetes.io/hostname": "n1"}}),
        lambda it: "nodeSelector" not in it["spec"]["template"]["spec"],
    ),
    "a-selector-keeps-the-rest": (
        workload("Deployment", "web", pod={"nodeSelector": {"kubernetes.io/hostname": "n1", "disk": "fast"}}),
        lambda it: it["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "fast"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("item", "holds"), KEPT.values(), ids=KEPT)
def test_what_comes_back_is_fit_for_another_cluster(item: Json, holds: Check) -> None:
    before = json.dumps(item)

    assert holds(one(item, with_jobs=True))
    assert json.dumps(item) == before  # what was captured is not changed


OWNED = {
    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True}]
}
LEFT_OUT: dict[str, tuple[Json, str]] = {
    "4-made-by-a-controller": (workload("ReplicaSet", "web-1") | {"metadata": {"name": "web-1", **OWNED}},
                               "made by its owner"),
    "4-made-by-a-controller-that-is-not-there": (
        workload("ReplicaSet", "x-1") | {"metadata": {"name": "x-1", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "controller": True}]}},
        "made by its owner"),
    "25-the-claim-of-a-pod": (
        claim("web-0-scratch") | {"metadata": {"name": "web-0-scratch", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "web-0", "controller": True}]}},
        "made by its pod"),
    "4-revisions": (captured("apps/v1", "ControllerRevision", "db-1"), "made anew by the cluster"),
    "5-a-bare-pod": (POD, "a pod of nobody, and not asked for"),
    "6-mirror-pods": (captured("v1", "Pod", "p", metadata=annotated(**{"kubernetes.io/config.mirror": "x"})),
                      "run by a node itself"),
    "7-ended-pods": (captured("v1", "Pod", "p", status={"phase": "Succeeded"}), "ended"),
    "7-ended-jobs": (job() | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, "ended"),
    "8-migrations": (job(), "a Job, and not asked for"),
    "15-endpoints-of-a-service": (captured("v1", "Endpoints", "web"), "made by its owner"),
    "15-slices-of-a-service": (
        captured("discovery.k8s.io/v1", "EndpointSlice", "w-1",
                 metadata={"labels": {"kubernetes.io/service-name": "web"}}), "made by its owner"),
    "20-21-volumes-of-the-old-cluster": (volume("v", csi={"volumeHandle": "x"}), "its claim gets a new volume"),
    "21-volumes-of-a-node": (volume("v", hostPath={"path": "/srv"}), "its claim gets a new volume"),
    "28-tokens": (
        captured("v1", "Secret", "app-token-x7k2p", metadata={"annotations": ACCOUNT}, **TOKEN),
        "a token of the cluster"),
    "29-bootstrap-tokens": (captured("v1", "Secret", "b", type="bootstrap.kubernetes.io/token"),
                            "a token of the cluster"),
    "29-node-passwords": (captured("v1", "Secret", "n1.node-password.k3s"), "of a node"),
    "29-k3s": (captured("v1", "Secret", "k3s-serving"), "of a node"),
    "31-published": (captured("v1", "ConfigMap", "kube-root-ca.crt"), "published by the cluster"),
    "33-defaults": (
        captured("rbac.authorization.k8s.io/v1", "ClusterRole", "x",
                 metadata={"labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}),
        "a default of the cluster"),
    "40-aggregated-apis": (
        captured("apiregistration.k8s.io/v1", "APIService", "v1.x", spec={"service": {"name": "x"}}),
        "its own server answers for it"),
    "44-orders": (captured("acme.cert-manager.io/v1", "Order", "o"), "made anew by the cluster"),
    "44-challenges": (captured("acme.cert-manager.io/v1", "Challenge", "c"), "made anew by the cluster"),
    "44-requests": (captured("cert-manager.io/v1", "CertificateRequest", "r"), "made anew by the cluster"),
    "52-locks": (
        captured("v1", "ConfigMap", "l", metadata=annotated(**{"control-plane.alpha.kubernetes.io/leader": "x"})),
        "a lock",
    ),
    "53-leases": (captured("coordination.k8s.io/v1", "Lease", "l"), "made anew by the cluster"),
    "54-charts-of-k3s": (captured("helm.cattle.io/v1", "HelmChart", "traefik"), "made anew by the cluster"),
    "56-longhorn": (captured("longhorn.io/v1beta2", "Volume", "v"), "made anew by the cluster"),
    "drtool-itself": (captured("v1", "ConfigMap", "d", metadata={"labels": {"app.kubernetes.io/part-of": "drtool"}}),
                      "drtool's own"),
}  # fmt: skip


@pytest.mark.parametrize(("item", "reason"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_others_make_and_what_acts_too_early_is_left_out(item: Json, reason: str) -> None:
    found = ready(item, service(), DEPLOYMENT)

    assert found.left_out == {reason: 1}
    assert [each.ref.kind for each in found.objects] == ["Service", "Deployment"]


HELD: dict[str, tuple[Json, Check]] = {
    "9-cron-jobs-are-suspended": (
        captured("batch/v1", "CronJob", "c", spec={"schedule": "* * * * *"}),
        lambda it: (
            it["spec"]["suspend"] is True and it["metadata"]["annotations"] == {"drtool.io/suspend": "false"}
        ),
    ),
    "9-a-suspended-cron-job-stays-so": (
        captured("batch/v1", "CronJob", "c", spec={"suspend": True}),
        lambda it: it["metadata"]["annotations"] == {"drtool.io/suspend": "true"},
    ),
    "26-claims-outlive-their-set": (
        workload("StatefulSet", "db", persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"}),
        lambda it: (
            set(it["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
            and it["metadata"]["annotations"]["drtool.io/claim-retention"] == "Delete/Retain"
        ),
    ),
    "47-deployments-wait": (
        DEPLOYMENT,
        lambda it: (
            it["spec"]["replicas"] == 0 and it["metadata"]["annotations"] == {"drtool.io/replicas": "2"}
        ),
    ),
    "47-daemon-sets-wait": (
        workload("DaemonSet", "log"),
        lambda it: it["spec"]["template"]["spec"]["nodeSelector"] == {"drtool.io/held": "true"},
    ),
    "others-are-as-they-are": (service(), lambda it: it == one(service())),
}


@pytest.mark.parametrize(("item", "holds"), HELD.values(), ids=HELD)
def test_what_waits_for_its_data_is_noted_and_given_back(item: Json, holds: Check) -> None:
    final = one(item)
    held = hold(final)

    assert holds(held)
    again = captured(held["apiVersion"], held["kind"], held["metadata"]["name"]) | {
        key: value for key, value in held.items() if key != "metadata"
    }
    again["metadata"] = {**again["metadata"], **held["metadata"]}
    back = one(again)  # captured while it waited
    retention = back["spec"].get("persistentVolumeClaimRetentionPolicy")
    assert retention in (None, {"whenDeleted": "Delete", "whenScaled": "Retain"})
    for each in (back, final):
        each["spec"].pop("persistentVolumeClaimRetentionPolicy", None)
        each["spec"].setdefault("suspend", False)
    assert back == final


def test_24_a_claim_asks_for_what_it_had() -> None:
    expanded = claim("data", size="5Gi")
    expanded["spec"]["resources"]["requests"]["storage"] = "1Gi"

    assert one(expanded)["spec"]["resources"]["requests"]["storage"] == "5Gi"


def test_21_a_claim_whose_volume_was_a_folder_of_a_node_is_told() -> None:
    found = ready(claim("media"), volume("pv-media", hostPath={"path": "/srv/media"}))

    assert found.notes == (
        "PersistentVolumeClaim media: it lay in /srv/media of a node, on volume pv-media: it gets a new volume",
    )


def test_16_a_volume_by_address_keeps_its_claim_unless_its_class_is_mapped() -> None:
    share, mine = volume("pv-media", "share", nfs={"server": "nas", "path": "/x"}), claim("media", "share")
    mapped = ready(share, mine, mappings=Mappings(("shop", "shop"), classes={"share": "fast"}))

    assert one(mine, share)["spec"]["volumeName"] == "pv-media"
    assert [each.item["spec"].get("volumeName") for each in mapped.objects] == [None]


def test_3_owners_that_come_back_are_linked_later_without_their_old_uid() -> None:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "old"}
    secret = captured("v1", "Secret", "s", metadata={"ownerReferences": [reference]})
    found = {each.ref.kind: each for each in ready(secret, captured("v1", "ConfigMap", "c")).objects}

    assert found["Secret"].owners == ({"apiVersion": "v1", "kind": "ConfigMap", "name": "c"},)
    assert "ownerReferences" not in found["Secret"].item["metadata"]


def test_12_a_node_port_that_another_has_is_given_up_and_told() -> None:
    by_hand = set_by_hand({"f:ports": {'k:{"port":443,"protocol":"TCP"}': {"f:nodePort": {}}}})
    found = ready(service(by_hand), taken_ports={30443: "web in namespace other"})

    assert ports(found.objects[0].item) == [None, None]
    assert found.notes == (
        "Service web: node port 30443 belongs to Service web in namespace other here: it gets another",
    )


def test_14_what_another_cluster_may_answer_otherwise_is_told() -> None:
    found = ready(service(externalIPs=["1.2.3.4"], loadBalancerIP="1.2.3.5"))

    assert len(found.notes) == 2
