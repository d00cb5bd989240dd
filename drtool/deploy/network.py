"""Where drtool's pods may connect to. Only they are selected: the application's own traffic is not ours to rule."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from drtool.deploy.names import ALL_PODS, COMMON, VOLUME_LABEL, Object, new
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, RedisVolume, Volume

DNS_RULE: Final[Object] = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
ANYWHERE: Final[Object] = {}
_API_SERVER: Final = (443, 6443)  # behind the Service lies another port, 6443 on k3s and most others


def network_policies(policy: Policy) -> Iterator[Object]:
    """Yield what all pods may, and what those of each database may besides: the rules of both add up."""
    store = store_rule(policy.repository.endpoint)
    shared = [
        DNS_RULE,
        {"ports": _tcp(*_API_SERVER)},
        store,
    ]
    yield new(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "drtool",
        COMMON,
        spec={
            "podSelector": {"matchLabels": ALL_PODS},
            "policyTypes": ["Ingress", "Egress"],
            "egress": shared,
        },
    )
    for volume in policy.volumes:
        rules = list(_database_rules(volume))
        if rules:
            yield new(
                "networking.k8s.io/v1",
                "NetworkPolicy",
                f"drtool-{volume.name}",
                {**COMMON, VOLUME_LABEL: volume.name},
                spec={
                    "podSelector": {"matchLabels": {**ALL_PODS, VOLUME_LABEL: volume.name}},
                    "policyTypes": ["Egress"],
                    "egress": rules,
                },
            )


def store_rule(endpoint: str | None) -> Object:
    """Return the rule for the object store: its address where the policy says it, else its port at any address."""
    parts = urlsplit(endpoint or "https://s3.amazonaws.com")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _to(parts.hostname or "", port)


def _database_rules(volume: Volume) -> Iterator[Object]:
    """Yield the rules for the database of a volume, none where it has none."""
    match volume:
        case PostgresVolume(host=host, port=port):
            yield _to(host if isinstance(host, str) else "", port)
        case RedisVolume(sentinel=sentinel) if sentinel is not None:
            yield _to(sentinel.service, sentinel.port)
            yield {"ports": _tcp(volume.port)}  # Sentinel says addresses, and they may be anywhere
        case RedisVolume(host=host, port=port):
            yield _to(host if isinstance(host, str) else "", port)


def _to(host: str, port: int) -> Object:
    """Return a rule that lets TCP through to a port: at an address, or wherever a name may lead."""
    try:
        address = ip_address(host)
    except ValueError:
        return {"ports": _tcp(port)}
    return {"to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}], "ports": _tcp(port)}


def _tcp(*ports: int) -> list[Object]:
    return [{"protocol": "TCP", "port": port} for port in ports]
