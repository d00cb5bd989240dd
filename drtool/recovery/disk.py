"""Whether what comes back fits: each volume's data into its claim, and all claims into what the target can give. Pure.

A class that makes folders on a node gives whatever the node has, whatever a claim asks for: that is a note. So is the
room for PostgreSQL's WAL, for a server removes what it has replayed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from drtool.policy.schema import Policy
from drtool.recovery.compare import Change
from drtool.recovery.manifests.objects import Json, part, spec_of
from drtool.recovery.manifests.prepare import Preparation
from drtool.recovery.manifests.quantity import quantity
from drtool.recovery.places import place_of
from drtool.recovery.points import VolumePoint
from drtool.recovery.refusal import Refusal
from drtool.recovery.target import TargetFacts

_CLAIM: Final = ("", "PersistentVolumeClaim")
_FOLDERS: Final = frozenset(  # provisioners whose volumes are as large as their node's disk
    {"rancher.io/local-path", "microk8s.io/hostpath", "k8s.io/minikube-hostpath", "docker.io/hostpath"}
)
_SHARED: Final = frozenset({"ReadWriteMany", "ReadOnlyMany"})
_WAY: Final = "Make the claim beforehand, large enough and empty, and plan with --if-exists keep."


def claims_made(preparation: Preparation, changes: Iterable[Change]) -> list[Json]:
    """Return the claims that a plan makes."""
    actions = {change.ref: change.action for change in changes}
    return [
        each.item
        for each in preparation.objects
        if each.ref[:2] == _CLAIM and actions.get(each.ref) in ("create", "replace")
    ]


def disk_of(claims: Iterable[Json], facts: TargetFacts) -> dict[str, int]:
    """Return how many bytes a plan asks of each storage class."""
    found: dict[str, int] = defaultdict(int)
    for each in claims:
        found[_class(each, facts)] += int(_asked(each))
    return dict(sorted(found.items()))


def refuse_disk(
    policy: Policy,
    volumes: Iterable[VolumePoint],
    preparation: Preparation,
    changes: Sequence[Change],
    facts: TargetFacts,
) -> Iterator[Refusal]:
    """Yield the volumes whose claims are too small for them, and the classes that have not enough left."""
    yield from refuse_tight(_placed(policy, volumes, preparation, facts), facts, _WAY)
    made = claims_made(preparation, changes)
    for name, needed in disk_of(made, facts).items():
        there = [each for each in facts.capacities if each.get("storageClassName") == name]
        if there:
            yield from _capacity(name, needed, [each for each in made if _class(each, facts) == name], there)


def refuse_tight(
    placed: Iterable[tuple[VolumePoint, Json]], facts: TargetFacts, way: str
) -> Iterator[Refusal]:
    """Yield the volumes that are larger than their claims, where a class holds to what a claim asks for."""
    for volume, claim in placed:
        room = _asked(claim)
        is_bound = facts.storage_classes.get(_class(claim, facts)) not in _FOLDERS
        if is_bound and Decimal(volume.size) > room:
            said = f"has {_size(room)}, and volume {volume.volume} needs {_size(volume.size)}"
            yield Refusal(f"claim {claim['metadata']['name']}", said, way)


def note_disk(
    policy: Policy, volumes: Iterable[VolumePoint], preparation: Preparation, facts: TargetFacts
) -> Iterator[str]:
    """Yield the volumes that are larger than what their claims ask for, where the class does not mind.

    And the claims that several nodes are to use, of a class whose volumes are folders on one.
    """
    for each in preparation.objects:
        modes = (
            set(spec_of(each.item).get("accessModes") or []) & _SHARED if each.ref[:2] == _CLAIM else set()
        )
        if modes and facts.storage_classes.get(_class(each.item, facts)) in _FOLDERS:
            name = _class(each.item, facts)
            asked = ", ".join(sorted(modes))
            yield f"{each.ref}: it asks for {asked}, and class {name} may make volumes of one node only"
    for volume, claim in _placed(policy, volumes, preparation, facts):
        name, room = _class(claim, facts), _asked(claim)
        if facts.storage_classes.get(name) in _FOLDERS and Decimal(volume.size) > room:
            yield (
                f"claim {claim['metadata']['name']}: it asks for {_size(room)}, and volume {volume.volume} has "
                f"{_size(volume.size)}: see that the node has room, for class {name} does not look"
            )


def _placed(
    policy: Policy, volumes: Iterable[VolumePoint], preparation: Preparation, facts: TargetFacts
) -> Iterator[tuple[VolumePoint, Json]]:
    """Yield the volumes whose claims come back, with these: as they are there already, else as they are made."""
    items = [each.item for each in preparation.objects]
    claims = {
        each.ref.name: facts.live.get(each.ref, each.item)
        for each in preparation.objects
        if each.ref[:2] == _CLAIM
    }
    for each in volumes:
        place = place_of(policy.volume(each.volume), items, {}) if each.source != "manifests" else None
        name = None if place is None or isinstance(place, Refusal) else place.claim
        if name in claims:
            yield each, claims[name]


def _capacity(name: str, needed: int, claims: Sequence[Json], there: Sequence[Json]) -> Iterator[Refusal]:
    """Yield why what a class has left is too little: all of it together, or its largest piece."""
    about, hint = f"storage class {name}", f"Make room there, or map it: --storage-class {name}=NEW."
    left = sum((quantity(each.get("capacity") or 0) for each in there), Decimal(0))
    if needed > left:
        yield Refusal(about, f"has {_size(left)} left, and the claims ask for {_size(needed)}", hint)
        return
    most = max(quantity(each.get("maximumVolumeSize") or each.get("capacity") or 0) for each in there)
    for each in claims:
        if _asked(each) > most:
            asks = f"{each['metadata']['name']} asks for {_size(_asked(each))}"
            yield Refusal(about, f"makes volumes of at most {_size(most)}, and {asks}", hint)


def _class(claim: Json, facts: TargetFacts) -> str:
    return str(spec_of(claim).get("storageClassName", facts.default_class or ""))


def _asked(claim: Json) -> Decimal:
    had = part(claim, "status", "capacity").get("storage")
    return quantity(had or part(claim, "spec", "resources", "requests").get("storage", 0))


def _size(number: Decimal | int) -> str:
    left = Decimal(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if left < 1024:  # noqa: PLR2004
            return f"{_digits(left)} {unit}"
        left /= 1024
    return f"{_digits(left)} TiB"


def _digits(number: Decimal) -> str:
    """Return three digits of a number, and all that stand before its point."""
    return f"{number:.3g}" if number < 1000 else f"{number:.0f}"  # noqa: PLR2004
