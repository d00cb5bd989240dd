"""What is known of the target cluster before a plan is made: plain data, gathered by operations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drtool.recovery.manifests.objects import Json, Ref
from drtool.recovery.manifests.versions import Served


@dataclass(frozen=True, slots=True)
class TargetCluster:
    """Which cluster. uid is that of its namespace kube-system, by which it is told from all others; "" if hidden.

    authority is the SHA-256 fingerprint of the CA that its server is believed by, as hex: two clusters may have one
    address. "" where the kubeconfig names none.
    """

    context: str
    where: str
    version: str
    uid: str
    authority: str = ""

    @property
    def identity(self) -> str:
        """What tells it from all others, as far as that can be seen, in one word."""
        return self.uid or (f"sha256:{self.authority}@{self.where}" if self.authority else self.where)

    @property
    def seen(self) -> str:
        """What it is known by, for a person who looks whether it is the one that is meant."""
        if self.uid:
            return f"uid {self.uid}"
        return f"uid not to be seen, {f'CA sha256:{self.authority}' if self.authority else 'no CA is named'}"

    def is_same(self, other: "TargetCluster") -> bool:
        """Return whether other is this cluster, whichever context leads there.

        A CA that only one of them names tells nothing: who began a run may have had another kubeconfig.
        """
        if self.uid:
            return self.uid == other.uid
        are_known = self.authority and other.authority
        return self.where == other.where and not (are_known and self.authority != other.authority)

    def has_other_authority(self, other: "TargetCluster") -> bool:
        """Return whether nothing but its CA tells other from this one: another cluster, or one whose CA was changed."""
        return not self.uid and self.where == other.where and not self.is_same(other)


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What the target has and allows, as far as it decides on a plan.

    phase is that of the namespace, "" where it is not there. live are the objects that are there already of those
    that come back. storage_classes maps names to provisioners; drivers are those of CSI. users are the pods that use
    each claim of the namespace. lacking are verbs by kind that may not be done there, each as in "create secrets".
    capacities are the CSIStorageCapacities, what drivers say of the room that they have; most say nothing. labels are
    those of the namespace; dead_hooks the webhooks that let nothing pass and have nobody behind them, each with its
    configuration's name; plurals what kinds are called there. certificates are the Secrets in the namespace that an
    Ingress which comes back names.
    """

    cluster: TargetCluster
    served: Served = field(repr=False)
    phase: str = ""
    live: Mapping[Ref, Json] = field(default_factory=dict, repr=False)
    storage_classes: Mapping[str, str] = field(default_factory=dict)
    default_class: str | None = None
    drivers: frozenset[str] = frozenset()
    ingress_classes: frozenset[str] = frozenset()
    priority_classes: frozenset[str] = frozenset()
    quotas: Sequence[Json] = ()
    users: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lacking: Sequence[str] = ()
    capacities: Sequence[Json] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    dead_hooks: Sequence[tuple[str, Json]] = ()
    plurals: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
    certificates: frozenset[str] = frozenset()
