"""Addresses are the same in every lab, and no two things have the same."""

from ipaddress import ip_address, ip_network

import pytest

from drtool.errors import UsageError
from tests.cluster.addresses import CLUSTERS, MACHINE_ROOM, ClusterAddresses


@pytest.mark.parametrize(
    ("name", "control_plane", "services", "nodes"),
    [
        ("a", "10.250.1.1", "10.96.0.0/16", ["a1 10.250.1.11 10.244.1.0/24", "a2 10.250.1.12 10.244.2.0/24"]),
        ("b", "10.250.2.1", "10.97.0.0/16", ["b1 10.250.2.11 10.245.1.0/24", "b2 10.250.2.12 10.245.2.0/24"]),
    ],
)
def test_a_cluster_has_the_addresses_of_the_readme(
    name: str, control_plane: str, services: str, nodes: list[str]
) -> None:
    addresses = ClusterAddresses(name)

    assert (addresses.control_plane, addresses.services) == (control_plane, services)
    assert [f"{node.name} {node.address} {node.pods}" for node in addresses.nodes] == nodes


def test_no_address_is_given_twice_and_no_ranges_overlap() -> None:
    clusters = [ClusterAddresses(name) for name in CLUSTERS]
    nodes = [node for cluster in clusters for node in cluster.nodes]
    single = [
        MACHINE_ROOM,
        *(cluster.control_plane for cluster in clusters),
        *(node.address for node in nodes),
    ]
    ranges = [ip_network(text) for cluster in clusters for text in (cluster.pods, cluster.services)]

    assert len(set(single)) == len(single)
    assert len({node.hardware for node in nodes}) == len(nodes)
    assert not any(one.overlaps(other) for one in ranges for other in ranges if one is not other)
    assert not any(ip_address(address) in each for address in single for each in ranges)


def test_the_pods_of_a_node_are_among_those_of_its_cluster() -> None:
    for addresses in map(ClusterAddresses, CLUSTERS):
        assert all(ip_network(node.pods).subnet_of(ip_network(addresses.pods)) for node in addresses.nodes)  # type: ignore[arg-type]
        assert ip_address(addresses.api_service) == ip_network(addresses.services)[1]


def test_a_cluster_that_is_not_planned_is_refused() -> None:
    with pytest.raises(UsageError, match="no cluster c"):
        ClusterAddresses("c")
