"""`plan`: how a system would come back into a cluster, from repository and recovery key alone. Writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from difflib import unified_diff

from drtool.deploy.yaml_text import to_yaml
from drtool.errors import Corrupt, ObjectMissing, UsageError
from drtool.operations.choose_postgres import refuse_wal_after_head
from drtool.operations.cluster_restore.unended import TOLD_FOR, unended_runs
from drtool.operations.pace import pace_of
from drtool.operations.plan_alone import plan_alone, with_alone
from drtool.operations.plan_in_place import plan_in_place, standing, working
from drtool.operations.plan_objects import (
    Captured,
    by_label,
    captured_of,
    prepared_of,
    replaced_of,
    with_deployment,
)
from drtool.operations.plan_store import doubts, unread
from drtool.operations.plan_target import TargetLook
from drtool.operations.plan_tried import try_objects
from drtool.operations.points import Inventory, empty_inventory, points_of, take_inventory
from drtool.operations.restore import eligible
from drtool.operations.results import Point
from drtool.operations.session import Session
from drtool.operations.told_policy import RUNS_SINCE, policy_as_of
from drtool.policy.schema import Policy
from drtool.policy.volumes import FilesVolume, PostgresVolume, RedisVolume, Volume
from drtool.recovery.alone import Alone, is_alone
from drtool.recovery.compare import Action, Change, State, compare
from drtool.recovery.deploy import kustomized
from drtool.recovery.manifests.prepare import Preparation, Prepared
from drtool.recovery.places import place_of
from drtool.recovery.plan import Plan, Request, make_plan
from drtool.recovery.points import Candidate, Choice, VolumePoint, choose_points
from drtool.recovery.refusal import Refusal
from drtool.recovery.steps import label
from drtool.recovery.target import TargetCluster
from drtool.recovery.wishes import Wishes, needs_writer
from drtool.sources.base import Json
from drtool.sources.kubernetes.client import Cluster


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object of the point against the target. diff is of YAML, from what is there to what would be."""

    object: str
    state: State
    action: Action
    diff: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanResult:
    """A plan, or why there is none; and either way what each volume and each object would come back to.

    left_out counts the objects that do not come back, by reason.
    """

    policy: str
    target: TargetCluster
    namespace: str
    volumes: tuple[VolumePoint, ...]
    skew: timedelta
    missed: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    changes: tuple[ObjectChange, ...]
    left_out: Mapping[str, int]
    notes: tuple[str, ...]
    plan: Plan | None


@dataclass(frozen=True, slots=True)
class Made:
    """A plan, or why there is none, with what executing it takes besides: objects by the names that steps have.

    rendered are those of the team's own deployment, where that is asked for; captured those that it replaces. untried
    are notes on what the target could not be asked before it is applied.
    """

    result: PlanResult
    policy: Policy
    objects: Mapping[str, Prepared] = field(repr=False)
    captured: Mapping[str, Prepared] = field(default_factory=dict, repr=False)
    rendered: Sequence[Json] | None = field(default=None, repr=False)
    untried: tuple[str, ...] = ()


def run_plan(session: Session, context: str, wishes: Wishes) -> PlanResult:
    """Return the plan for context, a name in the kubeconfig, or all that speaks against it.

    Raises UsageError, Refused where the objects cannot be read, and what cluster and store raise that are away.
    """
    world = session.world
    with Cluster.open(context, world.environment, ending=world.ending) as cluster:
        result = plan_for(session, cluster, context, wishes).result
    unended = unended_runs(session, session.repository.store.now() - TOLD_FOR)
    return replace(result, notes=(*result.notes, *map(str, unended)))


def plan_for(session: Session, cluster: Cluster, context: str, wishes: Wishes) -> Made:
    """Return what run_plan does, with what executing the plan takes besides."""
    world, now = session.world, session.repository.store.now()
    _refuse_two_moments(wishes)
    world.progress.phase("choosing the points")
    policy = policy_as_of(session, now, wishes.as_of)
    choice, captured, inventories = _from_store(session, policy, wishes, now)
    world.progress.phase("looking at the target")
    namespace = wishes.namespace or captured.namespace
    look = TargetLook(cluster, context, namespace)
    pace = pace_of(session.repository.records, now - RUNS_SINCE)
    request = Request(wishes, now, (captured.namespace, namespace), captured.version, pace)
    if wishes.in_place:
        made, objects, target = plan_in_place(session, look, policy, request, choice, inventories)
        return Made(_result(policy, target, request, choice, made), policy, objects)
    captured = with_deployment(captured, kustomized(policy, wishes), cluster, world)
    preparation = prepared_of(captured, wishes, namespace, look)
    objects, alone = by_label(preparation.objects), Alone()
    if is_alone(policy, wishes):
        enrol = wishes.enrol and needs_writer(policy, wishes)
        alone, objects = plan_alone(session, look, policy, choice, inventories, enrol=enrol)
    claims = {
        *(claim["metadata"]["name"] for _, claim in alone.claims),
        *(each.ref.name for each in preparation.objects if each.ref.kind == "PersistentVolumeClaim"),
        *(claim for each in choice.volumes for claim in _claims(policy.volume(each.volume), look)),
    }
    facts = look.facts(preparation.objects, claims)
    changes = tuple(compare(each, facts.live.get(each.ref), wishes.if_exists) for each in preparation.objects)
    tried = try_objects(world, look, namespace, preparation.objects, changes, facts)
    against = (*choice.refusals, *alone.refusals, *_unplaced(policy, choice, preparation), *tried.refusals)
    choice = replace(choice, refusals=against)
    made = with_alone(make_plan(policy, request, choice, preparation, changes, facts), alone, facts)
    result = _result(policy, facts.cluster, request, choice, made)
    told = result.notes if isinstance(made, Plan) else preparation.notes
    result = replace(
        result,
        changes=tuple(_told(change) for change in changes),
        left_out=preparation.left_out,
        notes=(*told, *tried.notes),
    )
    replaced = replaced_of(captured, wishes, namespace, look)
    return Made(result, policy, objects, replaced, captured.rendered, tried.notes)


def _refuse_two_moments(wishes: Wishes) -> None:
    if wishes.at is not None and wishes.aligned:
        raise UsageError(
            "--at is one moment for all volumes already", hint="Leave out one of --at and --aligned."
        )


def _result(
    policy: Policy,
    target: TargetCluster,
    request: Request,
    choice: Choice,
    made: Plan | tuple[Refusal, ...],
) -> PlanResult:
    plan = made if isinstance(made, Plan) else None
    return PlanResult(
        policy=policy.name,
        target=target,
        namespace=request.namespace[1],
        volumes=choice.volumes,
        skew=choice.skew,
        missed=plan.missed if plan else choice.missed,
        refusals=() if isinstance(made, Plan) else made,
        changes=(),
        left_out={},
        notes=plan.notes if plan else (),
        plan=plan,
    )


def prepare_again(
    session: Session, cluster: Cluster, plan: Plan, policy: Policy, rendered: Sequence[Json] | None = None
) -> tuple[Mapping[str, Prepared], Mapping[str, Prepared]]:
    """Return the objects of a plan that was made before of policy, as they were prepared for it; and those replaced.

    rendered are those of the team's own deployment, as they were then.
    """
    namespace = plan.namespace[1]
    look = TargetLook(cluster, plan.target.context, namespace)
    if plan.in_place or is_alone(policy, plan.wishes):
        return working(standing(look), plan), {}
    inventories = {each.volume: take_inventory(session, each.volume, plan.wishes.at) for each in plan.volumes}
    captured = replace(captured_of(session, policy, inventories, plan.volumes), rendered=rendered)
    preparation = prepared_of(captured, plan.wishes, namespace, look)
    return by_label(preparation.objects), replaced_of(captured, plan.wishes, namespace, look)


def _from_store(
    session: Session, policy: Policy, wishes: Wishes, now: datetime
) -> tuple[Choice, Captured, Mapping[str, Inventory]]:
    """Return the points that are taken, with what the store has against them, and the objects that come of them.

    And all that may be chosen. Raises Refused where these cannot be read.
    """
    if any(isinstance(each, PostgresVolume) for each in policy.volumes):
        refuse_wal_after_head(wishes.as_of, wishes.at)
    known = session.repository.config.volumes
    there = {
        each.name: take_inventory(session, each.name, wishes.at, as_of=wishes.as_of)
        if each.name in known
        else empty_inventory(each.name)  # it came into the policy, and was never backed up
        for each in policy.volumes
    }
    inventories = {name: eligible(each, wishes) for name, each in there.items()}
    choice = _choose(policy, inventories, wishes, now)
    session.world.progress.phase("trying the chosen points")
    against = (*choice.refusals, *doubts(session, choice.volumes, inventories, there, wishes))
    session.world.progress.phase("reading the captured objects")
    try:
        captured = captured_of(session, policy, inventories, choice.volumes)
    except (Corrupt, ObjectMissing) as fault:
        raise unread(against, fault) from fault
    return replace(choice, refusals=against), captured, inventories


def _choose(policy: Policy, inventories: Mapping[str, Inventory], wishes: Wishes, now: datetime) -> Choice:
    points = {name: list(points_of(each)) for name, each in inventories.items()}
    candidates = [
        _candidate(point, inventories[point.volume].snapshots[point.name].facts)
        for found in points.values()
        for point in found
        if point.state in ("listed", "late", "void")  # of those that are there, these are accepted
    ]
    return choose_points(policy, candidates, wishes, now)


def _candidate(point: Point, facts: Json) -> Candidate:
    told = facts.get("major", facts.get("rdb_version"))
    version = told if isinstance(told, int) else None  # a writer that was taken over may tell anything
    return Candidate(point.volume, point.source, point.name, point.begin, point.end, point.size, version)


def _claims(volume: Volume, look: TargetLook) -> set[str]:
    """Return the claims on which a volume lies in the target, as far as its policy tells."""
    match volume:
        case FilesVolume(claim=str(claim)):
            return {claim}
        case PostgresVolume(host=str(host)) | RedisVolume(host=str(host)):
            return look.claims_behind(host)
    return set()


def _unplaced(policy: Policy, choice: Choice, preparation: Preparation) -> Iterator[Refusal]:
    """Yield the volumes whose data has no claim to come back into, or none that can be told."""
    objects = [each.item for each in preparation.objects]
    for each in choice.volumes if objects else ():
        if each.source == "manifests":
            continue
        volume = policy.volume(each.volume)
        place = place_of(volume, objects, {})
        if isinstance(place, Refusal):
            yield place
        elif place.claim is None and not isinstance(volume, RedisVolume):  # that is filled once it runs
            hint = "Give it a claim before the next capture; or name the volumes that are to come back, without it."
            yield Refusal(f"volume {each.volume}", f"has no claim: its data goes with pod {place.pod}", hint)


def _told(change: Change) -> ObjectChange:
    lines = unified_diff(
        to_yaml(change.before).splitlines(), to_yaml(change.after).splitlines(), lineterm="", n=1
    )
    diff = tuple(lines)[2:] if change.state == "changed" else ()  # without the names of files
    return ObjectChange(label(change.ref), change.state, change.action, diff)
