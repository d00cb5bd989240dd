"""The plan: from policy, points, objects and target to ordered steps, or to all the reasons why not. Pure.

It is data: the same input makes the same plan, which can be shown, kept and read back. It names objects, and holds
nothing of what Secrets and ConfigMaps hold: who does a step prepares its objects again, from the same point.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Literal

from pydantic import TypeAdapter

from drtool.policy.schema import Policy
from drtool.recovery.compare import Change
from drtool.recovery.deploy import deploy_refusals, kustomized
from drtool.recovery.disk import claims_made, disk_of, note_disk, refuse_disk
from drtool.recovery.hooks import hook_notes, hook_refusals, reference_notes
from drtool.recovery.in_place import Switch
from drtool.recovery.manifests.prepare import Preparation
from drtool.recovery.points import Choice, VolumePoint
from drtool.recovery.predict import predict
from drtool.recovery.preflight import notes, refuse
from drtool.recovery.refusal import Refusal
from drtool.recovery.seeding import seed_notes, seed_refusals
from drtool.recovery.starting import early_refusals
from drtool.recovery.steps import Phase, Step, applied_of, phases_of
from drtool.recovery.target import TargetCluster, TargetFacts
from drtool.recovery.wishes import Wishes, needs_writer


@dataclass(frozen=True, slots=True)
class Request:
    """What a plan is asked for, and when. namespace is (captured, restored); version is the captured cluster's.

    pace is how many bytes a second of each volume came back in earlier restores, where one was measured.
    """

    wishes: Wishes
    now: datetime
    namespace: tuple[str, str]
    version: str = ""
    pace: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """One way back. missed says which promise it cannot keep, notes what a person should look at.

    size is that of the data, disk what is asked of each storage class, both in bytes. predicted is how long the data
    takes, as earlier restores took; None where some volumes were never measured, which unmeasured names. in_place are
    the claims that get another volume, where nothing but these is restored.
    """

    version: Literal[1]
    policy: str
    made: datetime
    target: TargetCluster
    namespace: tuple[str, str]
    wishes: Wishes
    volumes: tuple[VolumePoint, ...]
    skew: timedelta
    size: int
    phases: tuple[Phase, ...]
    missed: tuple[str, ...]
    notes: tuple[str, ...]
    disk: Mapping[str, int] = field(default_factory=dict)
    predicted: timedelta | None = None
    unmeasured: tuple[str, ...] = ()
    in_place: tuple[Switch, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in an order in which they can be done one after the other."""
        return tuple(step for phase in self.phases for step in phase.steps)


def make_plan(
    policy: Policy,
    request: Request,
    choice: Choice,
    preparation: Preparation,
    changes: tuple[Change, ...],
    facts: TargetFacts,
) -> Plan | tuple[Refusal, ...]:
    """Return the plan, else every reason against it.

    choice is from `choose_points`, preparation from `prepare`, changes from `compare`, of each prepared object.
    """
    restored = {each.volume for each in choice.volumes}
    phases = _phases(policy, request.wishes, choice, preparation, changes)
    against = (
        *choice.refusals,
        *(deploy_refusals(policy, request.wishes) if preparation.objects else ()),
        *refuse(request.namespace[1], preparation, changes, facts),
        *early_refusals(policy, applied_of(preparation.objects, changes), preparation.objects, restored),
        *seed_refusals(policy, preparation.objects, restored),
        *hook_refusals(policy, preparation.objects, phases),
        *refuse_disk(policy, choice.volumes, preparation, changes, facts),
    )
    if against:
        return against
    said = (
        *notes(preparation, changes, facts, request.version),
        *note_disk(policy, choice.volumes, preparation, facts),
        *_policy_notes(policy, preparation, phases, restored),
    )
    return replace(draft(policy, request, choice, preparation, changes, facts), phases=phases, notes=said)


def draft(
    policy: Policy,
    request: Request,
    choice: Choice,
    preparation: Preparation,
    changes: tuple[Change, ...],
    facts: TargetFacts,
) -> Plan:
    """Return a plan without its phases and notes: what follows from the points, whichever way they come back."""
    time = predict(policy, choice.volumes, request.pace)
    return Plan(
        version=1,
        policy=policy.name,
        made=request.now,
        target=facts.cluster,
        namespace=request.namespace,
        wishes=request.wishes,
        volumes=choice.volumes,
        skew=choice.skew,
        size=sum(each.size for each in choice.volumes),
        phases=(),
        missed=(*choice.missed, *time.missed),
        notes=(),
        disk=disk_of(claims_made(preparation, changes), facts),
        predicted=time.data,
        unmeasured=time.unmeasured,
    )


def _phases(
    policy: Policy, wishes: Wishes, choice: Choice, preparation: Preparation, changes: tuple[Change, ...]
) -> tuple[Phase, ...]:
    compares = kustomized(policy, wishes) is not None
    objects, volumes = preparation.objects, choice.volumes
    enrol = wishes.enrol and needs_writer(policy, wishes)
    return phases_of(policy, objects, changes, volumes, enrol=enrol, compares=compares)


def _policy_notes(
    policy: Policy, preparation: Preparation, phases: Sequence[Phase], restored: Collection[str]
) -> Iterator[str]:
    """Yield what of the policy is not done, and what is done in another way than usual."""
    names = {each.ref.name for each in preparation.objects}
    unknown = [name for tier in policy.recovery.tiers for name in tier if name not in names]
    yield from (f"tier {name}: no workload of that name comes back" for name in unknown if names)
    yield from seed_notes(policy, preparation.objects, restored)
    yield from hook_notes(policy, phases)
    yield from reference_notes(policy, phases)


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def to_json(plan: Plan) -> bytes:
    """Return a plan as JSON, the same bytes for the same plan."""
    return _adapter().dump_json(plan)


def from_json(data: bytes) -> Plan:
    """Return the plan that to_json made data of. Raises ValueError for anything else."""
    return _adapter().validate_json(data)
