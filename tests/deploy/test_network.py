import pytest

from drtool.deploy.names import Object
from drtool.deploy.network import network_policies
from drtool.policy.schema import Policy
from tests.deploy.conftest import MakePolicy

ENDPOINT = "  endpoint: https://s3.backup.example:9000\n"


def rules(policy: Policy, name: str) -> list[tuple[list[Object] | None, list[int]]]:
    """Return where a NetworkPolicy lets pods connect to: peers, None for all, and ports."""
    found = {each["metadata"]["name"]: each["spec"] for each in network_policies(policy)}[name]
    return [(rule.get("to"), [port["port"] for port in rule["ports"]]) for rule in found["egress"]]


def test_nothing_comes_in_and_only_drtool_s_pods_are_selected(make_policy: MakePolicy) -> None:
    for each in network_policies(make_policy()):
        assert each["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/part-of"] == "drtool"
        assert "ingress" not in each["spec"]
    shared = next(iter(network_policies(make_policy())))
    assert shared["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_every_pod_reaches_names_the_api_server_and_the_store(make_policy: MakePolicy) -> None:
    assert rules(make_policy(), "drtool") == [(None, [53, 53]), (None, [443, 6443]), (None, [9000])]


@pytest.mark.parametrize(
    ("endpoint", "rule"),
    [
        ("", (None, [443])),
        ("  endpoint: http://s3.example\n", (None, [80])),
        ("  endpoint: http://10.1.2.3:9000\n", ([{"ipBlock": {"cidr": "10.1.2.3/32"}}], [9000])),
        ("  endpoint: https://[2001:db8::1]\n", ([{"ipBlock": {"cidr": "2001:db8::1/128"}}], [443])),
    ],
)
def test_a_store_at_an_address_is_reached_there_and_nowhere_else(
    make_policy: MakePolicy, endpoint: str, rule: object
) -> None:
    assert rules(make_policy((ENDPOINT, endpoint)), "drtool")[-1] == rule


@pytest.mark.parametrize(
    ("volume", "host", "rule"),
    [
        ("db", "host: postgres-0.postgres", (None, [5432])),
        ("db", "host: {secret: postgres-secrets, key: HOST}", (None, [5432])),
        ("db", "host: 10.0.0.5\n    port: 5433", ([{"ipBlock": {"cidr": "10.0.0.5/32"}}], [5433])),
    ],
)
def test_a_database_s_pods_reach_its_port(
    make_policy: MakePolicy, volume: str, host: str, rule: object
) -> None:
    assert rules(make_policy(("host: postgres-0.postgres", host)), f"drtool-{volume}") == [rule]


def test_redis_is_reached_where_sentinel_says_and_alone(make_policy: MakePolicy) -> None:
    sentinel = (
        "sentinel: {service: sentinel, master: mymaster, password: {secret: sentinel-secrets, key: PASSWORD}}"
    )

    assert rules(make_policy(), "drtool-cache") == [(None, [26379]), (None, [6379])]
    for host in ("host: redis", "host: {secret: redis-secrets, key: HOST}"):
        assert rules(make_policy((sentinel, host)), "drtool-cache") == [(None, [6379])]


def test_files_and_objects_need_no_more_than_all_pods(make_policy: MakePolicy) -> None:
    names = [each["metadata"]["name"] for each in network_policies(make_policy())]

    assert names == ["drtool", "drtool-db", "drtool-cache"]
