"""Which of drtool's promises hold for which volume, as far as the policy alone can tell."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from drtool.policy.durations import brief_duration
from drtool.policy.schema import Policy, Repository
from drtool.policy.volumes import LonghornVolume, MovedVolume, PostgresVolume, RedisVolume, Volume

PROMISES = (
    "a listed recovery point restores",
    "no success with data missing",
    "who takes over the cluster can neither read nor destroy earlier backups",
    "a run killed at any moment leaves nothing broken",
    "a backup never stops the application",
    "the status is honest, and silence is heard outside",
    "a drill changes nothing in production",
)

# What clusters give their services and pods unless told otherwise: kubeadm; k3s; flannel.
_CLUSTER_NETWORKS = tuple(
    ip_network(network) for network in ("10.96.0.0/12", "10.43.0.0/16", "10.42.0.0/16", "10.244.0.0/16")
)


class Standing(StrEnum):
    """Whether a promise holds: yes, no, or it takes a look at the store to know."""

    HOLDS = "holds"
    BROKEN = "broken"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise for one volume: its number, from 1, whether it holds, and why."""

    number: int
    standing: Standing
    reason: str


def promises(policy: Policy, volume: Volume) -> tuple[Promise, ...]:
    """Return all promises for volume, in order."""
    judged = (
        _restores(policy, volume),
        _misses_nothing(volume),
        _withstands_intrusion(policy, volume),
        (Standing.HOLDS, "the snapshot is written last, and no lock is held"),
        _spares_the_application(volume),
        _is_heard(policy),
        _drills_apart(policy),
    )
    return tuple(Promise(number, standing, reason) for number, (standing, reason) in enumerate(judged, 1))


def cluster_local(repository: Repository) -> str:
    """Return why the store looks as if it shared the fate of the cluster or machine, or an empty text."""
    if repository.endpoint is None:
        return ""
    host = (urlsplit(repository.endpoint).hostname or "").rstrip(".")
    try:
        return _local_address(ip_address(host))
    except ValueError:
        return _local_name(host)


def is_directory(repository: Repository) -> bool:
    """Return whether the store is a directory: of this machine, or mounted from elsewhere: the URL does not say."""
    return repository.url.startswith("file:")


def _local_address(address: IPv4Address | IPv6Address) -> str:
    if address.is_loopback:
        return f"{address} is this machine"
    if any(address in network for network in _CLUSTER_NETWORKS):
        return f"{address} lies in a network of services or pods"
    return ""


def _local_name(host: str) -> str:
    if host == "localhost":
        return "localhost is this machine"
    if "." not in host or host.endswith((".svc", ".cluster.local")) or ".svc." in host:
        return f"{host} is a name inside the cluster"
    return ""


def _only_in_longhorn(volume: Volume) -> bool:
    return isinstance(volume, LonghornVolume) and volume.ship_every is None


def _restores(policy: Policy, volume: Volume) -> tuple[Standing, str]:
    if _only_in_longhorn(volume):
        return Standing.BROKEN, "only Longhorn's own backups, which others can delete; set ship_every"
    if local := cluster_local(policy.repository):
        return Standing.BROKEN, f"{local}: the repository is lost with what it protects"
    if is_directory(policy.repository):
        return Standing.PROBE, "a directory is lost with its machine, unless it is mounted from elsewhere"
    if isinstance(volume, LonghornVolume) and volume.ship_every:
        return Standing.HOLDS, f"for the points shipped every {brief_duration(volume.ship_every)}"
    return Standing.HOLDS, "points are listed once all that they need is in the store"


def _misses_nothing(volume: Volume) -> tuple[Standing, str]:
    if isinstance(volume, PostgresVolume):
        return Standing.HOLDS, "the end of the WAL is known from heartbeats and witnesses"
    if isinstance(volume, RedisVolume):
        return Standing.HOLDS, "replication offset and CRC64 are checked, keys counted"
    if isinstance(volume, MovedVolume):
        return Standing.HOLDS, "every file is hashed, and an unreadable one fails the volume"
    return Standing.HOLDS, "objects are compared one by one; what may not be read is recorded"


def _withstands_intrusion(policy: Policy, volume: Volume) -> tuple[Standing, str]:
    if _only_in_longhorn(volume):
        return (
            Standing.BROKEN,
            "Longhorn's backups are not encrypted, and its credentials can delete; set ship_every",
        )
    if is_directory(policy.repository):
        return (
            Standing.BROKEN,
            "who can write to a directory can delete from it; use a versioned or locked bucket",
        )
    return (
        Standing.PROBE,
        "needs a versioned or locked bucket and narrow credentials: `drtool status` tells what a probe found",
    )


def _spares_the_application(volume: Volume) -> tuple[Standing, str]:
    if isinstance(volume, PostgresVolume) and volume.on_backlog == "protect-rpo":
        return Standing.BROKEN, "on_backlog: protect-rpo lets kept WAL fill the server's disk"
    if isinstance(volume, PostgresVolume):
        limit = "80 % of max_slot_wal_keep_size"
        if volume.slot_limit is not None:
            limit = f"{volume.slot_limit >> 20:,} MiB, or {limit} if that is less"
        return Standing.HOLDS, f"its slot is given up once it keeps {limit}: then there is a gap"
    if isinstance(volume, RedisVolume) and volume.allow_master:
        return Standing.BROKEN, "allow_master may fork the master, which takes memory and time from it"
    return Standing.HOLDS, "capture is read-only, and gives way before the server suffers"


def _is_heard(policy: Policy) -> tuple[Standing, str]:
    if policy.heartbeat is None:
        return Standing.BROKEN, "nobody outside of the cluster hears silence; set heartbeat"
    return Standing.BROKEN, "this version sends no heartbeat yet: let something outside ask `drtool status`"


def _drills_apart(policy: Policy) -> tuple[Standing, str]:
    if policy.drill is None:
        return Standing.HOLDS, "no drill is planned, so nothing is proven either"
    return Standing.HOLDS, f"drills run in {policy.drill.namespace}"
