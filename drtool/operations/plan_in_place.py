"""A restore in place, planned: what stands in the cluster takes the place of what was captured of it."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from drtool.operations.plan_target import TargetLook
from drtool.operations.points import Inventory
from drtool.operations.session import Session
from drtool.policy.schema import Policy
from drtool.recovery.in_place import beside_claims, in_place_of
from drtool.recovery.manifests.hold import unhold
from drtool.recovery.manifests.objects import Json, kind_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.plan import Plan, Request
from drtool.recovery.plan_in_place import as_prepared, make_plan_in_place
from drtool.recovery.points import Choice, VolumePoint
from drtool.recovery.refusal import Refusal
from drtool.recovery.steps import label
from drtool.recovery.target import TargetCluster
from drtool.repository.reader import Reader

# What is changed, beside the claims.
_CHANGED: Final = frozenset(
    {("", "PersistentVolume"), ("apps", "StatefulSet"), ("apps", "Deployment"), ("batch", "CronJob")}
)


def plan_in_place(
    session: Session,
    look: TargetLook,
    policy: Policy,
    request: Request,
    choice: Choice,
    inventories: Mapping[str, Inventory],
) -> tuple[Plan | tuple[Refusal, ...], Mapping[str, Prepared], TargetCluster]:
    """Return the plan, or what speaks against it; the objects that it works with, by the names that steps have."""
    objects = standing(look)
    is_readable = not choice.refusals  # else it is said already what of the points cannot be read
    told = {
        each.volume: _told(session, inventories[each.volume], each) for each in choice.volumes if is_readable
    }
    found = in_place_of(policy, choice.volumes, objects, told, request.wishes, request.now)
    claims = [as_prepared(each) for each in beside_claims(found.switches)]
    changed = [as_prepared(each) for each in objects if kind_of(each) in _CHANGED]
    facts = look.facts([*claims, *changed], ())
    made = make_plan_in_place(policy, request, choice, found, facts)
    return made, working(objects, made) if isinstance(made, Plan) else {}, facts.cluster


def standing(look: TargetLook) -> list[Json]:
    """Return what stands in the namespace, each as it is when nothing of it was stopped."""
    objects = [deepcopy(each) for each in look.standing()]
    for each in objects:
        unhold(each)
    return objects


def working(objects: Sequence[Json], plan: Plan) -> Mapping[str, Prepared]:
    """Return what a run works with: what stands, but the claims and volumes; and the claims that it makes."""
    without = {("", "PersistentVolumeClaim"), ("", "PersistentVolume")}
    rest: Iterable[Json] = (each for each in objects if kind_of(each) not in without)
    found = [as_prepared(each) for each in (*rest, *beside_claims(plan.in_place))]
    return {label(each.ref): each for each in found}


def _told(session: Session, inventory: Inventory, chosen: VolumePoint) -> Mapping[str, Any]:
    """Return what the point of a PostgreSQL tells of its server: where it kept its data, above all."""
    if chosen.source != "postgres":
        return {}
    snapshot = inventory.snapshots[chosen.point]
    facts: Mapping[str, Any] = Reader(session.repository).read_contents(snapshot).header["facts"]
    return facts
