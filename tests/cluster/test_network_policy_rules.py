"""What policies mean, and how that is written for nftables: tables, without a cluster."""

from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.cluster.network_policies.nftables import ruleset
from tests.cluster.network_policies.rules import Allow, Direction, Isolation, Pod, isolations
from tests.cluster.network_policies.selectors import matches

Json = dict[str, Any]

NAMESPACES = {"shop": {"team": "shop"}, "bank": {"team": "bank"}, "kube-system": {}}
OUTSIDE = "10.250.0.1"
ADDRESSES = {
    "shop/web": "10.244.1.2",
    "shop/db": "10.244.1.3",
    "shop/old": "10.244.2.4",
    "bank/web": "10.244.2.2",
    "bank/db": "10.244.2.3",
}
NAMED_PORTS = {"shop/db": {("sql", "TCP"): 5432}, "bank/db": {("sql", "TCP"): 6543}}


def pod(name: str) -> Pod:
    namespace, _, app = name.partition("/")
    address = ADDRESSES[name]
    node = f"a{address.split('.')[2]}"
    labels = {"app": app, "tier": "data" if app == "db" else "front"}
    return Pod(namespace, labels, node, IPv4Address(address), NAMED_PORTS.get(name, {}))


PODS = [pod(name) for name in ADDRESSES]


def policy(chosen: Json | None = None, **spec: Any) -> Json:
    """Return a policy of namespace shop for the pods chosen; its types follow from what it has rules for."""
    types = [name.capitalize() for name in ("ingress", "egress") if name in spec]
    full = {"podSelector": chosen or {}, "policyTypes": types, **spec}
    return {"metadata": {"namespace": "shop"}, "spec": full}


def of_app(*names: str) -> Json:
    return {"matchExpressions": [{"key": "app", "operator": "In", "values": list(names)}]}


def passes(policies: list[Json], source: str, target: str, port: int, protocol: str = "TCP") -> bool:
    """Tell whether a new connection from source to port of target passes both pods' isolation."""
    found = isolations(policies, PODS, NAMESPACES)
    sender, receiver = (IPv4Address(ADDRESSES.get(name, name)) for name in (source, target))
    ends: list[tuple[Direction, IPv4Address, IPv4Address]] = [
        ("Egress", sender, receiver),
        ("Ingress", receiver, sender),
    ]
    return all(
        any(_is_allowed(allow, other, port, protocol) for allow in isolation.allowed)
        for direction, own, other in ends
        for isolation in found
        if (isolation.direction, isolation.address) == (direction, own)
    )


def _is_allowed(allow: Allow, other: IPv4Address, port: int, protocol: str) -> bool:
    return (
        any(other in network for network in allow.networks)
        and allow.protocol in (None, protocol)
        and (allow.first is None or allow.last is None or allow.first <= port <= allow.last)
    )


CLOSED_IN = policy(ingress=[])
CLOSED_OUT = policy(egress=[])
DNS = policy(egress=[{"ports": [{"port": 53, "protocol": "UDP"}]}])


def in_from(*peers: Json, ports: list[Json] | None = None) -> Json:
    return policy(ingress=[{"from": list(peers), "ports": ports or []}])


def out_to(*peers: Json, ports: list[Json] | None = None) -> Json:
    return policy(egress=[{"to": list(peers), "ports": ports or []}])


WEB = {"podSelector": {"matchLabels": {"app": "web"}}}
BANK = {"namespaceSelector": {"matchLabels": {"team": "bank"}}}
ANY_NAMESPACE: Json = {"namespaceSelector": {}}
LAB = {"ipBlock": {"cidr": "10.250.0.0/16", "except": ["10.250.1.0/24", "10.250.0.9/32"]}}


@pytest.mark.parametrize(
    ("policies", "connection", "expected"),
    [
        # no policy, and default deny
        ([], ("bank/web", "shop/db", 5432), True),
        ([CLOSED_IN], ("shop/web", "shop/db", 5432), False),
        ([CLOSED_IN], (OUTSIDE, "shop/db", 5432), False),
        ([CLOSED_IN], ("shop/web", "bank/db", 5432), True),
        ([CLOSED_OUT], ("shop/web", "bank/db", 5432), False),
        ([CLOSED_OUT], ("shop/web", OUTSIDE, 9000), False),
        ([CLOSED_OUT], ("bank/web", "shop/db", 5432), True),
        # a policy of both types needs both
        ([policy(ingress=[{}], egress=[])], ("bank/web", "shop/db", 1), True),
        ([policy(ingress=[{}], egress=[])], ("shop/db", "bank/web", 1), False),
        # an empty rule allows all; policies add up
        ([policy(ingress=[{}])], ("bank/web", "shop/db", 1), True),
        ([CLOSED_IN, policy(of_app("db"), ingress=[{}])], ("bank/web", "shop/db", 1), True),
        ([CLOSED_IN, policy(of_app("db"), ingress=[{}])], ("bank/web", "shop/web", 1), False),
        # podSelector: the policy's namespace; with a namespaceSelector: those namespaces
        ([in_from(WEB)], ("shop/web", "shop/db", 1), True),
        ([in_from(WEB)], ("bank/web", "shop/db", 1), False),
        ([in_from(WEB)], ("shop/old", "shop/db", 1), False),
        ([in_from(BANK)], ("bank/db", "shop/db", 1), True),
        ([in_from(BANK)], ("shop/web", "shop/db", 1), False),
        ([in_from(BANK)], (OUTSIDE, "shop/db", 1), False),
        ([in_from({**BANK, **WEB})], ("bank/web", "shop/db", 1), True),
        ([in_from({**BANK, **WEB})], ("bank/db", "shop/db", 1), False),
        ([in_from({**BANK, **WEB})], ("shop/web", "shop/db", 1), False),
        ([in_from(BANK, WEB)], ("bank/db", "shop/db", 1), True),
        ([in_from(BANK, WEB)], ("shop/web", "shop/db", 1), True),
        ([in_from(ANY_NAMESPACE)], ("bank/db", "shop/db", 1), True),
        ([in_from(ANY_NAMESPACE)], (OUTSIDE, "shop/db", 1), False),
        ([in_from({"podSelector": {}})], ("shop/old", "shop/db", 1), True),
        ([out_to({**BANK, **WEB})], ("shop/db", "bank/web", 1), True),
        ([out_to({**BANK, **WEB})], ("shop/db", "bank/db", 1), False),
        # ipBlock
        ([in_from(LAB)], (OUTSIDE, "shop/db", 1), True),
        ([in_from(LAB)], ("10.250.1.7", "shop/db", 1), False),
        ([in_from(LAB)], ("10.250.0.9", "shop/db", 1), False),
        ([in_from(LAB)], ("10.250.0.8", "shop/db", 1), True),
        ([in_from(LAB)], ("shop/web", "shop/db", 1), False),
        ([out_to(LAB)], ("shop/db", OUTSIDE, 9000), True),
        ([out_to({"ipBlock": {"cidr": "0.0.0.0/0"}})], ("shop/db", "bank/web", 1), True),
        ([out_to({"ipBlock": {"cidr": "::/0"}})], ("shop/db", OUTSIDE, 1), False),
        ([out_to({"ipBlock": {"cidr": "10.9.0.0/16", "except": ["10.0.0.0/8"]}})], ("shop/db", "10.9.0.1", 1), False),
        # ports
        ([DNS], ("shop/web", OUTSIDE, 53, "UDP"), True),
        ([DNS], ("shop/web", OUTSIDE, 53, "TCP"), False),
        ([DNS], ("shop/web", OUTSIDE, 54, "UDP"), False),
        ([in_from(WEB, ports=[{"port": 5432}])], ("shop/web", "shop/db", 5432), True),
        ([in_from(WEB, ports=[{"port": 5432}])], ("shop/web", "shop/db", 5433), False),
        ([in_from(WEB, ports=[{"port": 1}, {"port": 5432}])], ("shop/web", "shop/db", 5432), True),
        ([in_from(ports=[{"port": 80, "endPort": 90}])], ("bank/web", "shop/db", 90), True),
        ([in_from(ports=[{"port": 80, "endPort": 90}])], ("bank/web", "shop/db", 91), False),
        ([in_from(ports=[{"protocol": "UDP"}])], ("bank/web", "shop/db", 7, "UDP"), True),
        ([in_from(ports=[{"protocol": "UDP"}])], ("bank/web", "shop/db", 7, "TCP"), False),
        # names of ports: those of the pod where the connection arrives
        ([in_from(WEB, ports=[{"port": "sql"}])], ("shop/web", "shop/db", 5432), True),
        ([in_from(WEB, ports=[{"port": "sql"}])], ("shop/web", "shop/db", 6543), False),
        ([in_from(WEB, ports=[{"port": "sql"}])], ("shop/web", "shop/old", 5432), False),
        ([in_from(WEB, ports=[{"port": "sql", "protocol": "UDP"}])], ("shop/web", "shop/db", 5432, "UDP"), False),
        ([out_to(BANK, ports=[{"port": "sql"}])], ("shop/web", "bank/db", 6543), True),
        ([out_to(BANK, ports=[{"port": "sql"}])], ("shop/web", "bank/db", 5432), False),
        ([out_to(BANK, ports=[{"port": "sql"}])], ("shop/web", "bank/web", 6543), False),
        ([out_to(ports=[{"port": "sql"}])], ("shop/web", "shop/db", 5432), True),
        ([out_to(ports=[{"port": "sql"}])], ("shop/web", OUTSIDE, 5432), False),
    ],
)  # fmt: skip
def test_a_connection_passes_as_kubernetes_says(
    policies: list[Json],
    connection: tuple[Any, ...],
    expected: bool,  # noqa: FBT001  # a column of the table
) -> None:
    assert passes(policies, *connection) is expected


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "back"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db", "web"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, True),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
    ],
)  # fmt: skip
def test_a_selector_means_what_kubernetes_says(selector: Json, expected: bool) -> None:  # noqa: FBT001  # a column of the table
    assert matches(selector, {"app": "web", "tier": "front"}) is expected


def test_an_operator_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match="operator Near"):
        matches({"matchExpressions": [{"key": "a", "operator": "Near"}]}, {})


def api_pod(status: Json, **spec: Any) -> Json:
    containers = [{"ports": [{"name": "http", "containerPort": 80}, {"containerPort": 81}]}, {}]
    return {
        "metadata": {"namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "a1", "containers": containers, **spec},
        "status": status,
    }


def test_a_pod_of_the_api_is_read_with_the_names_of_its_ports() -> None:
    found = Pod.of(api_pod({"podIP": "10.244.1.2", "phase": "Running"}))

    assert found == Pod("shop", {"app": "web"}, "a1", IPv4Address("10.244.1.2"), {("http", "TCP"): 80})


@pytest.mark.parametrize(
    "pod",
    [
        api_pod({"phase": "Pending"}),
        api_pod({"podIP": "10.244.1.2", "phase": "Succeeded"}),  # its address may be another's by now
        api_pod({"podIP": "10.250.1.11", "phase": "Running"}, hostNetwork=True),
    ],
)
def test_a_pod_without_an_address_of_its_own_is_left_out(pod: Json) -> None:
    assert Pod.of(pod) is None


EXPECTED = """\
table ip network-policies
delete table ip network-policies
table ip network-policies {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    ip daddr vmap { 10.244.1.2 : jump ingress-10.244.1.2, 10.244.1.3 : jump ingress-10.244.1.3 }
    ip saddr vmap { 10.244.1.3 : jump egress-10.244.1.3 }
  }
  chain egress-10.244.1.3 {
    ip daddr { 10.244.1.3 } return
    udp dport 53 return
    drop
  }
  chain ingress-10.244.1.2 {
    ip saddr { 10.244.1.2 } return
    drop
  }
  chain ingress-10.244.1.3 {
    ip saddr { 10.244.1.3 } return
    ip saddr { 10.244.1.2, 10.250.0.0/24 } tcp dport 80-90 return
    meta l4proto udp return
    return
    drop
  }
}
"""


def test_isolations_are_written_for_nftables() -> None:
    web, db = pod("shop/web"), pod("shop/db")
    ports = [{"port": 80, "endPort": 90}]
    policies = [
        policy(of_app("web", "db"), ingress=[]),
        policy(
            of_app("db"),
            ingress=[
                {"from": [WEB, {"ipBlock": {"cidr": "10.250.0.0/24"}}], "ports": ports},
                {"ports": [{"protocol": "UDP"}]},
                {},
            ],
            egress=[{"ports": [{"port": 53, "protocol": "UDP"}]}],
        ),
    ]

    assert ruleset(isolations(policies, [web, db], NAMESPACES)) == EXPECTED


def test_without_isolated_pods_the_rules_let_all_pass() -> None:
    assert "drop" not in ruleset([])
    assert "vmap" not in ruleset([])


def test_a_pod_that_nothing_may_reach_is_closed() -> None:
    closed = Isolation(IPv4Address("10.244.1.2"), "a1", "Ingress", ())

    assert "ip saddr { 10.244.1.2 } return\n    drop" in ruleset([closed])


@pytest.mark.parametrize("ports", [[], [{"port": 80}], [{"port": "sql"}]])
@pytest.mark.parametrize("rules", [in_from, out_to])
def test_a_rule_that_means_nobody_is_left_out_for_nftables_has_no_empty_set(
    rules: Any, ports: list[Json]
) -> None:
    nobody = rules({"podSelector": {"matchLabels": {"app": "none"}}}, ports=ports)

    text = ruleset(isolations([nobody], PODS, NAMESPACES))

    assert "{  }" not in text
    assert "dport" not in text
