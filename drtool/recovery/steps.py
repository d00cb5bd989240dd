"""The steps of a plan, phase by phase: what is done, to which objects or which volume, and what must be done before."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Final, Literal

from drtool.policy.kinds import CORE
from drtool.policy.schema import Policy
from drtool.recovery.compare import Change
from drtool.recovery.manifests.hold import is_workload
from drtool.recovery.manifests.objects import Ref, spec_of
from drtool.recovery.manifests.order import PHASES, PhaseName
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.points import VolumePoint

StepKind = Literal[
    "apply",
    "link",
    "restore",
    "prove",
    "start",
    "queues",
    "hook",
    "probe",
    "resume",
    "enrol",
    "protect",
    "backup",
]
_APPLIED: Final = frozenset({"create", "update", "replace"})


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done once. id is unique in a plan; needs are the ids of what must be done before.

    objects are those that it applies, links, starts or resumes, as group/Kind/name; of them, replaced are deleted
    first, without what they own. point and moment are of the volume that is restored, size its bytes.
    """

    id: str
    kind: StepKind
    what: str
    needs: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    point: str | None = None
    moment: datetime | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """The steps of a phase, in an order in which they can be done one after the other."""

    name: PhaseName
    steps: tuple[Step, ...] = field(default_factory=tuple)


def label(ref: Ref) -> str:
    """Return an object as steps name it: apps/Deployment/web."""
    return f"{ref.group or CORE}/{ref.kind}/{ref.name}"


def phases_of(
    policy: Policy,
    objects: Sequence[Prepared],
    changes: Sequence[Change],
    volumes: Sequence[VolumePoint],
    *,
    enrol: bool = False,
) -> tuple[Phase, ...]:
    """Return all phases. A phase begins when the one before it has ended. enrol: a new writer takes over at the end."""
    actions = {change.ref: change.action for change in changes}
    applied = [each for each in objects if actions[each.ref] in _APPLIED]
    replaced = {change.ref for change in changes if change.action == "replace"}
    steps: dict[PhaseName, list[Step]] = {
        phase: list(_applies([each for each in applied if each.place.phase == phase], replaced))
        for phase in PHASES
    }
    steps["deployment"] += _link(applied)
    steps["data"] += _data(policy, volumes, steps["data"])
    steps["testing"] = [*_start(policy, applied), *steps["testing"], *_resume(applied)]
    if enrol:
        steps["testing"] += _protect()
    return tuple(_chained(steps))


def _applies(objects: Iterable[Prepared], replaced: set[Ref]) -> Iterator[Step]:
    """Yield a step for each kind, each behind the one before. objects are in their order."""
    for _, group in groupby(objects, key=lambda each: (each.place, each.ref[:2])):
        refs = [each.ref for each in group]
        what = f"{refs[0].group or CORE}/{refs[0].kind}"
        yield Step(
            f"apply {what}",
            "apply",
            what,
            objects=tuple(label(ref) for ref in refs),
            replaced=tuple(label(ref) for ref in refs if ref in replaced),
        )


def _link(applied: Iterable[Prepared]) -> Iterator[Step]:
    owned = tuple(label(each.ref) for each in applied if each.owners)
    if owned:
        yield Step("link owners", "link", "owners", objects=owned)


def _data(policy: Policy, volumes: Iterable[VolumePoint], before: Sequence[Step]) -> Iterator[Step]:
    """Yield restore and proof of each volume: one after the other where the policy has an order, else side by side."""
    last = tuple(step.id for step in before[-1:])
    for each in volumes:
        if each.source == "manifests":
            continue
        restored, proven = f"restore {each.volume}", f"prove {each.volume}"
        point, size = each.point, each.size
        yield Step(restored, "restore", each.volume, last, point=point, moment=each.moment, size=size)
        yield Step(proven, "prove", each.volume, (restored,), point=point)
        if policy.recovery.order:
            last = (proven,)


def _start(policy: Policy, applied: Sequence[Prepared]) -> Iterator[Step]:
    """Yield a step for each tier, one for the workloads of no tier, and the policy's probes."""
    workloads = [
        each for each in applied if is_workload(*each.ref[:2]) and spec_of(each.item).get("replicas") != 0
    ]
    named = {name for tier in policy.recovery.tiers for name in tier}
    others = sorted({each.ref.name for each in workloads} - named)
    tiers = [*policy.recovery.tiers, *([others] if others else [])]
    for number, tier in enumerate(tiers, 1):
        started = tuple(label(each.ref) for each in workloads if each.ref.name in tier)
        if started:
            yield Step(f"start tier {number}", "start", f"tier {number}", objects=started)
    for probe in policy.recovery.probes if workloads else ():
        yield Step(f"probe {probe.name}", "probe", probe.name)


def _resume(applied: Iterable[Prepared]) -> Iterator[Step]:
    jobs = tuple(
        label(each.ref)
        for each in applied
        if each.ref[:2] == ("batch", "CronJob") and not spec_of(each.item).get("suspend")
    )
    if jobs:
        yield Step("resume CronJobs", "resume", "CronJobs", objects=jobs)


def _protect() -> Iterator[Step]:
    yield Step("enrol writer", "enrol", "a new writer in the place of the one before")
    yield Step("protect again", "protect", "drtool's own objects")
    yield Step("first backup", "backup", "every volume")


def _chained(steps: dict[PhaseName, list[Step]]) -> Iterator[Phase]:
    """Yield the phases, each step with what it needs: the one before it, or all that ended the phase before."""
    ends: tuple[str, ...] = ()
    for name in PHASES:
        chained: list[Step] = []
        for step in steps[name]:
            if step.kind in ("restore", "prove"):
                needs = step.needs or ends
            else:
                needs = tuple(each.id for each in chained[-1:]) or ends
            chained.append(replace(step, needs=needs))
        needed = {each for step in chained for each in step.needs}
        ends = tuple(step.id for step in chained if step.id not in needed) or ends
        yield Phase(name, tuple(chained))
