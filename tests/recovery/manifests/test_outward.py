"""Services that outsiders come by, as they wait and as they were."""

import json
from typing import Any

import pytest

from drtool.recovery.manifests.mappings import Mappings
from drtool.recovery.manifests.outward import OUTWARD, hold_inside, leads_in, let_in
from drtool.recovery.manifests.prepare import prepare
from tests.recovery.captured import SERVED, Json, captured, workload

PORT = {"port": 80, "protocol": "TCP", "nodePort": 30080}
BALANCED = {
    "type": "LoadBalancer",
    "externalTrafficPolicy": "Local",
    "healthCheckNodePort": 31000,
    "allocateLoadBalancerNodePorts": True,
    "loadBalancerClass": "metal",
    "loadBalancerSourceRanges": ["10.0.0.0/8"],
}


def service(**spec: Any) -> Json:
    return captured("v1", "Service", "web", spec={"selector": {"app": "web"}, "ports": [PORT], **spec})


OUTER = [service(type="NodePort"), service(**BALANCED), service(type="ClusterIP", externalIPs=["192.0.2.1"])]


@pytest.mark.parametrize("outer", OUTER)
def test_what_leads_in_is_reached_from_within_and_by_nobody_else_while_it_waits(outer: Json) -> None:
    assert leads_in(outer)
    held = hold_inside(outer)

    assert held["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "protocol": "TCP"}],
    }
    assert not leads_in(held)
    let_in(held)
    assert held["spec"] == outer["spec"]


@pytest.mark.parametrize(
    "inner",
    [
        service(),
        service(type="ClusterIP", externalIPs=[]),
        service(type="ExternalName", externalName="db.example"),
        captured("shop.test/v1", "Service", "web", spec={"type": "NodePort"}),
        workload("Deployment", "web"),
    ],
)
def test_what_leads_nobody_in_need_not_wait(inner: Json) -> None:
    assert not leads_in(inner)


@pytest.mark.parametrize("said", ["", "no JSON", "[]", json.dumps({"clusterIP": "10.0.0.1"})])
def test_what_somebody_else_wrote_there_says_nothing(said: str) -> None:
    item = service()
    item["metadata"]["annotations"] = {OUTWARD: said}
    let_in(item)
    assert item["spec"] == service()["spec"]


@pytest.mark.parametrize("outer", OUTER)
def test_what_was_captured_while_it_waited_comes_back_as_what_it_was(outer: Json) -> None:
    named = 'k:{"port":80,"protocol":"TCP"}'
    before = written(outer, {"f:healthCheckNodePort": {}, "f:ports": {named: {"f:nodePort": {}}}})
    ready = prepared(before)
    assert ready["spec"] == outer["spec"]

    assert prepared(written(hold_inside(ready), {"f:ports": {named: {"f:port": {}}}})) == ready


def test_what_the_old_cluster_chose_does_not_come_back_behind_a_wait_either() -> None:
    ready = prepared(service(**BALANCED))

    again = prepared(hold_inside(ready))

    assert again == ready
    assert "healthCheckNodePort" not in again["spec"]
    assert again["spec"]["ports"] == [{"port": 80, "protocol": "TCP"}]


def written(item: Json, fields: Json) -> Json:
    """Return item as who set fields of its spec left it."""
    entries = [{"manager": "kubectl", "fieldsV1": {"f:spec": fields}}]
    return {**item, "metadata": {**item["metadata"], "managedFields": entries}}


def prepared(item: Json) -> Json:
    return prepare([item], Mappings(("shop", "shop")), SERVED).objects[0].item
