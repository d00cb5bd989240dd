"""The steps of a plan, phase by phase: what is done, to which objects or which volume, and what must be done before."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Final, Literal

from drtool.policy.hooks import Hook, PhasePlace, RestorePlace, StartPlace
from drtool.policy.kinds import CORE
from drtool.policy.schema import Policy
from drtool.recovery.compare import Change
from drtool.recovery.manifests.objects import Ref, spec_of
from drtool.recovery.manifests.order import PHASES, PhaseName, is_last
from drtool.recovery.manifests.outward import leads_in
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.points import VolumePoint
from drtool.recovery.starting import Tier, tiers_of

StepKind = Literal[
    "apply",
    "link",
    "restore",
    "prove",
    "safety",
    "switch",
    "restart",
    "start",
    "queues",
    "hook",
    "probe",
    "references",
    "open",
    "resume",
    "compare",
    "enrol",
    "protect",
    "backup",
]
_APPLIED: Final = frozenset({"create", "update", "replace"})
_PROTECTING: Final = frozenset({"enrol", "protect", "backup"})


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


def applied_of(objects: Iterable[Prepared], changes: Iterable[Change]) -> list[Prepared]:
    """Return those of objects that a plan applies."""
    actions = {change.ref: change.action for change in changes}
    return [each for each in objects if actions[each.ref] in _APPLIED]


def phases_of(
    policy: Policy,
    objects: Sequence[Prepared],
    changes: Sequence[Change],
    volumes: Sequence[VolumePoint],
    *,
    enrol: bool = False,
    compares: bool = False,
) -> tuple[Phase, ...]:
    """Return all phases. A phase begins when the one before it has ended. enrol: a new writer takes over at the end.

    compares: what runs then is held against what was captured.
    """
    applied = applied_of(objects, changes)
    replaced = {change.ref for change in changes if change.action == "replace"}
    early = [each for each in applied if not is_last(each.place)]
    last = [each for each in applied if is_last(each.place)]
    steps: dict[PhaseName, list[Step]] = {
        phase: list(_applies([each for each in early if each.place.phase == phase], replaced))
        for phase in PHASES
    }
    hooks = {phase: _phase_hooks(policy, at) if objects else [] for at, phase in enumerate((*PHASES, "end"))}
    points = {each.volume: each for each in volumes}
    tiers = tiers_of(policy, applied, objects, points.keys())
    steps["deployment"] = [*hooks["deployment"], *steps["deployment"], *_link(applied)]
    before = [*hooks["data"], *steps["data"]]
    seeded = {name for tier in tiers for name in tier.seeds}
    steps["data"] = [*before, *_data(policy, [each for each in volumes if each.volume not in seeded], before)]
    started = [*hooks["testing"], *_start(policy, tiers, points)]
    steps["testing"] = [*started, *steps["testing"], *_open(applied), *_resume(applied), *hooks["end"]]
    if compares and objects:
        steps["testing"].append(
            Step("compare deployment", "compare", "the deployment with what was captured")
        )
    steps["testing"] += [*(protects() if enrol else ()), *_applies(last, replaced)]
    return tuple(chained(steps))


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
    """Yield restore and proof of each volume, with the hooks around them.

    Where the policy has an order, it is one volume after the other, else side by side.
    """
    last = tuple(step.id for step in before[-1:])
    for each in volumes:
        if each.source == "manifests":
            continue
        steps = list(_volume(policy, each, last))
        yield from steps
        if policy.recovery.order:
            last = (steps[-1].id,)


def _volume(policy: Policy, point: VolumePoint, behind: tuple[str, ...]) -> Iterator[Step]:
    """Yield restore and proof of a volume, with the hooks around them, one behind the other."""
    hooks = [hook for hook in policy.recovery.hooks if hook.place == RestorePlace(restore=point.volume)]
    for hook in hooks:
        if hook.before:
            yield _hook(hook, behind)
            behind = (f"hook {hook.name}",)
    restored, proven = f"restore {point.volume}", f"prove {point.volume}"
    name, moment, size = point.point, point.moment, point.size
    yield Step(restored, "restore", point.volume, behind, point=name, moment=moment, size=size)
    yield Step(proven, "prove", point.volume, (restored,), point=point.point)
    behind = (proven,)
    for hook in hooks:
        if hook.after:
            yield _hook(hook, behind)
            behind = (f"hook {hook.name}",)


def _start(policy: Policy, tiers: Iterable[Tier], points: Mapping[str, VolumePoint]) -> Iterator[Step]:
    """Yield a step for each tier, then probes and references.

    Behind a tier is what is done to its Redis before anything else starts: it is filled, and its queues are treated.
    Files are looked for before anybody outside can reach the application, and before CronJobs clean up in it.
    """
    is_started = False
    for tier in tiers:
        names = {ref.name for ref in tier.workloads}
        yield from _start_hooks([hook for hook in policy.recovery.hooks if hook.before], names)
        started = tuple(label(ref) for ref in tier.workloads)
        yield Step(f"start {tier.name}", "start", tier.name, objects=started)
        for volume in tier.seeds:
            yield from _volume(policy, points[volume], ())
        for volume in tier.queues:
            yield Step(f"queues {volume}", "queues", volume)
        yield from _start_hooks([hook for hook in policy.recovery.hooks if hook.after], names)
        is_started = True
    for probe in policy.recovery.probes if is_started else ():
        yield Step(f"probe {probe.name}", "probe", probe.name)
    for each in policy.recovery.references if is_started else ():
        if {each.database, each.files} <= points.keys():
            yield Step(f"references {each.name}", "references", each.name)


def _start_hooks(hooks: Iterable[Hook], names: Collection[str]) -> Iterator[Step]:
    for hook in hooks:
        if isinstance(hook.place, StartPlace) and hook.place.start in names:
            yield _hook(hook)


def _hook(hook: Hook, needs: tuple[str, ...] = ()) -> Step:
    return Step(f"hook {hook.name}", "hook", hook.name, needs)


def _phase_hooks(policy: Policy, at: int) -> list[Step]:
    """Return the hooks between the phase of this number and the one before it, each behind the last."""
    found: list[Step] = []
    for hook in policy.recovery.hooks:
        if isinstance(hook.place, PhasePlace) and PHASES.index(hook.place.phase) + bool(hook.after) == at:
            found.append(_hook(hook, tuple(step.id for step in found[-1:])))
    return found


def _open(applied: Iterable[Prepared]) -> Iterator[Step]:
    """Yield what lets outsiders in: with the Ingresses, once all has started and was probed."""
    services = tuple(label(each.ref) for each in applied if leads_in(each.item))
    if services:
        yield Step("open Services", "open", "Services to the outside", objects=services)


def _resume(applied: Iterable[Prepared]) -> Iterator[Step]:
    jobs = tuple(
        label(each.ref)
        for each in applied
        if each.ref[:2] == ("batch", "CronJob") and not spec_of(each.item).get("suspend")
    )
    if jobs:
        yield Step("resume CronJobs", "resume", "CronJobs", objects=jobs)


def started_by(steps: Iterable[Step], done: Collection[str]) -> list[str]:
    """Return the workloads that steps have started, as a person names them: Deployment web."""
    names = [name for step in steps if step.kind == "start" and step.id in done for name in step.objects]
    return [" ".join(name.split("/")[1:]) for name in names]


def protects() -> Iterator[Step]:
    """Yield what makes a restored system protect itself again."""
    yield Step("enrol writer", "enrol", "a new writer in the place of the one before")
    yield Step("protect again", "protect", "drtool's own objects")
    yield Step("first backup", "backup", "every volume")


def enrols(phases: Iterable[Phase]) -> bool:
    """Return whether a new writer takes over in the end."""
    return any(step.kind == "enrol" for phase in phases for step in phase.steps)


def without_protection(phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """Return phases as they are where a new writer is enrolled later."""
    kept = {each.name: [step for step in each.steps if step.kind not in _PROTECTING] for each in phases}
    return tuple(chained(kept))


def chained(steps: Mapping[PhaseName, Sequence[Step]]) -> Iterator[Phase]:
    """Yield the phases, each step with what it needs: the one before it, or all that ended the phase before."""
    ends: tuple[str, ...] = ()
    for name in PHASES:
        within: list[Step] = []
        for step in steps[name]:
            if name == "data" and step.kind != "apply":
                needs = step.needs or ends
            else:
                needs = tuple(each.id for each in within[-1:]) or ends
            within.append(replace(step, needs=needs))
        needed = {each for step in within for each in step.needs}
        ends = tuple(step.id for step in within if step.id not in needed) or ends
        yield Phase(name, tuple(within))
