"""A restore in place, planned: what stands in the cluster takes the place of what was captured of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

from drtool.deploy.names import cron_job, follower
from drtool.operations.plan_target import TargetLook
from drtool.operations.plan_tried import try_objects
from drtool.operations.points import Inventory
from drtool.operations.session import Session
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume
from drtool.recovery.compare import Change
from drtool.recovery.in_place import Switch, beside_claims, in_place_of
from drtool.recovery.keepers import KINDS, Kept, kept
from drtool.recovery.manifests.hold import unhold
from drtool.recovery.manifests.objects import Json, kind_of, ref_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.plan import Plan, Request
from drtool.recovery.plan_in_place import as_prepared, make_plan_in_place
from drtool.recovery.points import Choice
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
    told = told_of(session, inventories, choice)
    found = in_place_of(policy, choice.volumes, objects, told, request.wishes, request.now)
    kept = kept_by(look, policy, objects, map(label, found.stopped), found.switches)
    claims = [as_prepared(each) for each in beside_claims(found.switches)]
    changed = [as_prepared(each) for each in objects if kind_of(each) in _CHANGED]
    facts = look.facts([*claims, *changed], ())
    made = [Change(each.ref, "new", "create") for each in claims]
    tried = try_objects(session.world, look, request.namespace[1], claims, made, facts)
    notes = (*found.notes, *kept.notes, *tried.notes)
    found = replace(found, notes=notes, refusals=(*found.refusals, *kept.refusals, *tried.refusals))
    plan = make_plan_in_place(policy, request, choice, found, facts)
    return plan, working(objects, plan) if isinstance(plan, Plan) else {}, facts.cluster


def kept_by(
    look: TargetLook,
    policy: Policy,
    objects: Sequence[Json],
    stopped: Iterable[str],
    switches: Iterable[Switch],
) -> Kept:
    """Return what keeps those of objects as somebody declared them that a switch stops, or deletes."""
    names, gone = {*stopped}, {name for each in switches for name in _deleted(policy, each)}
    stays = [each for each in objects if label(ref_of(each)) in names]
    goes = [each for each in objects if label(ref_of(each)) in gone]
    return kept(stays, goes, {kind: look.seen(*kind) for kind in KINDS}, look.kubectl)


def _deleted(policy: Policy, switch: Switch) -> Iterator[str]:
    """Yield what a switch deletes: the claim, and what backs a PostgreSQL up.

    Were the latter made anew, the writer of the life before would mingle both lives.
    """
    yield f"core/PersistentVolumeClaim/{switch.claim}"
    volume = policy.volume(switch.volume)
    if isinstance(volume, PostgresVolume):
        yield f"batch/CronJob/{cron_job(volume)}"
        yield f"apps/Deployment/{follower(volume)}"


def standing(look: TargetLook) -> list[Json]:
    """Return what stands in the namespace, each as it is when nothing of it was stopped."""
    objects = [deepcopy(each) for each in look.standing()]
    for each in objects:
        unhold(each)
    return objects


def working(objects: Sequence[Json], plan: Plan) -> Mapping[str, Prepared]:
    """Return what a run works with: what stands, but the claims and volumes; and the claims that it makes."""
    made = [as_prepared(each) for each in beside_claims(plan.in_place)]
    return {**without_claims(objects), **{label(each.ref): each for each in made}}


def without_claims(objects: Iterable[Json]) -> Mapping[str, Prepared]:
    """Return what stands, but the claims and volumes, by the names that steps have."""
    claims = {("", "PersistentVolumeClaim"), ("", "PersistentVolume")}
    rest = (as_prepared(each) for each in objects if kind_of(each) not in claims)
    return {label(each.ref): each for each in rest}


def told_of(
    session: Session, inventories: Mapping[str, Inventory], choice: Choice
) -> Mapping[str, Mapping[str, Any]]:
    """Return by volume what the points of PostgreSQL tell of their servers: where they kept their data, above all."""
    if choice.refusals:  # it is said already what of the points cannot be read
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for each in choice.volumes:
        if each.source == "postgres":
            snapshot = inventories[each.volume].snapshots[each.point]
            found[each.volume] = Reader(session.repository).read_contents(snapshot).header["facts"]
    return found
