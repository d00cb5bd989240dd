"""All captured objects of a point as they are to be applied: chosen, stripped, mapped, converted and in order."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

from drtool.policy.kinds import group_of
from drtool.recovery.manifests.choose import Around, why_left_out
from drtool.recovery.manifests.hold import unhold
from drtool.recovery.manifests.mappings import Mappings, left_as_it_is, map_names
from drtool.recovery.manifests.objects import Json, Ref, kind_of, ref_of
from drtool.recovery.manifests.order import PHASES, Place, place_of
from drtool.recovery.manifests.outward import let_in
from drtool.recovery.manifests.ports import drop_taken_ports
from drtool.recovery.manifests.strip import strip
from drtool.recovery.manifests.versions import Served, served_by, version_for
from drtool.recovery.refusal import Refusal

_DEFINITION: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_HINT: Final = "Write it for a version that the target serves, or leave its kind out of the capture."


@dataclass(frozen=True, slots=True)
class Prepared:
    """One object as it shall be in the end; `hold` makes of it what is applied before there is data.

    owners are those of its owners that come back, too: it is linked to them once they have their new uids.
    """

    ref: Ref
    place: Place
    item: Json = field(repr=False)
    owners: tuple[Json, ...] = ()

    @property
    def is_namespaced(self) -> bool:
        """Whether it lives in the namespace, and not around it."""
        return "namespace" in self.item["metadata"]


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a point's objects become: sorted as they are applied. left_out counts the others by their reason.

    notes say what a person should look at, each with its object; refusals what no version of the target takes.
    """

    objects: tuple[Prepared, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()


def prepare(
    captured: Sequence[Json],
    mappings: Mappings,
    served: Served,
    *,
    with_jobs: bool = False,
    taken_ports: Mapping[int, str] | None = None,
) -> Preparation:
    """Return captured objects as they are to be applied where served is served. What is captured is not changed.

    taken_ports are the node ports of other Services in the target, with their names.
    """
    around = Around.of(captured, mappings.classes, with_jobs=with_jobs)
    reasons = {ref_of(each): why_left_out(each, around) for each in captured}
    kept = [each for each in captured if reasons[ref_of(each)] is None]
    all_served = _with_definitions(served, kept)
    restored = {ref_of(each) for each in kept}
    notes: list[str] = []
    refusals: list[Refusal] = []
    objects = []
    for each in kept:
        item = deepcopy(each)
        said = _change(item, around, mappings, dict(taken_ports or {}))
        api_version, why = version_for(item, all_served)
        if why:
            refusals.append(Refusal(str(ref_of(item)), why, _HINT))
            continue
        if api_version != item["apiVersion"]:
            said.append(f"{item['apiVersion']} becomes {api_version}")
        item["apiVersion"] = api_version
        ref = ref_of(item)
        notes += [f"{ref}: {text}" for text in said]
        objects.append(Prepared(ref, place_of(*kind_of(item)), item, _owners(each, restored)))
    left_out = Counter(reason for reason in reasons.values() if reason)
    return Preparation(
        tuple(sorted(objects, key=_position)),
        dict(sorted(left_out.items())),
        tuple(sorted(notes)),
        tuple(sorted(refusals)),
    )


def with_namespace(captured: Sequence[Json], name: str) -> list[Json]:
    """Return captured with its namespace, a bare one where it could not be captured: everything else lives in it."""
    if any(kind_of(each) == ("", "Namespace") for each in captured):
        return list(captured)
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, *captured]


def _change(item: Json, around: Around, mappings: Mappings, taken: dict[int, str]) -> list[str]:
    """Strip and map item; return what to say of it."""
    unhold(item)
    let_in(item)
    said = strip(item, around)
    map_names(item, mappings)
    if kind_of(item) == ("", "Service"):
        said += drop_taken_ports(item, taken)
    return [*said, *left_as_it_is(item, mappings)]


def _with_definitions(served: Served, kept: Iterable[Json]) -> Served:
    """Return what is served, and what will be once the definitions of the point are there."""
    more: dict[tuple[str, str], tuple[str, ...]] = {}
    for each in kept:
        if kind_of(each) == _DEFINITION:
            more |= served_by(each)
    return {**more, **served}


def _owners(captured: Json, restored: set[Ref]) -> tuple[Json, ...]:
    """Return the owners that come back, without their old uids. A claim's is linked by its own controller."""
    if kind_of(captured) == ("", "PersistentVolumeClaim"):
        return ()
    return tuple(
        {key: value for key, value in each.items() if key != "uid"}
        for each in captured["metadata"].get("ownerReferences") or []
        if Ref(group_of(each["apiVersion"]), each["kind"], each["name"]) in restored
    )


def _position(prepared: Prepared) -> tuple[int, int, Ref]:
    return PHASES.index(prepared.place.phase), prepared.place.rank, prepared.ref
