"""Who has which address. The same in every lab, for each has a network of its own.

10.250.0.1              the machine room: tests, load generators and MinIO, outside of every cluster
10.250.1.1              control plane of cluster a; 10.250.2.1 of b
10.250.1.11, .12        nodes a1, a2; their pods have 10.244.1.0/24 and 10.244.2.0/24, those of b 10.245
10.96.0.0/16            services of cluster a; 10.97.0.0/16 of b
"""

from dataclasses import dataclass

from drtool.errors import UsageError

MACHINE_ROOM = "10.250.0.1"
PREFIX_LENGTH = 16  # of the network that machine room, control planes and nodes share
CLUSTERS = ("a", "b")
NODES = 2  # in each cluster
DOMAIN = "cluster.local"


@dataclass(frozen=True)
class NodeAddress:
    """A node, and the range of its pods."""

    name: str
    address: str
    pods: str

    @property
    def hardware(self) -> str:
        """The Ethernet address, the same after each start of the node, so that no neighbour has to learn it anew."""
        return "02:00:" + ":".join(f"{int(part):02x}" for part in self.address.split("."))


@dataclass(frozen=True)
class ClusterAddresses:
    """All addresses of a cluster, by its name. Raises UsageError for a name that is not in CLUSTERS."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in CLUSTERS:
            raise UsageError(f"no cluster {self.name}", hint=f"There are {' and '.join(CLUSTERS)}.")

    @property
    def _number(self) -> int:
        return CLUSTERS.index(self.name) + 1

    @property
    def control_plane(self) -> str:
        return f"10.250.{self._number}.1"

    @property
    def api(self) -> str:
        return f"https://{self.control_plane}:6443"

    @property
    def pods(self) -> str:
        return f"10.{243 + self._number}.0.0/16"

    @property
    def services(self) -> str:
        return f"10.{95 + self._number}.0.0/16"

    @property
    def api_service(self) -> str:
        """The first address of the range, which Kubernetes gives to the Service `kubernetes`."""
        return f"10.{95 + self._number}.0.1"

    @property
    def nodes(self) -> list[NodeAddress]:
        return [
            NodeAddress(
                name=f"{self.name}{number}",
                address=f"10.250.{self._number}.{10 + number}",
                pods=f"10.{243 + self._number}.{number}.0/24",
            )
            for number in range(1, NODES + 1)
        ]
