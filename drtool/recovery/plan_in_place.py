"""The plan of a restore in place: a safety backup, new volumes beside the old, the switch, and the start. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from drtool.policy.hooks import RestorePlace, StartPlace
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume
from drtool.recovery.compare import Change
from drtool.recovery.disk import refuse_disk, refuse_tight
from drtool.recovery.in_place import InPlace, beside_claims
from drtool.recovery.manifests.objects import Json, kind_of, ref_of
from drtool.recovery.manifests.order import PhaseName, place_of
from drtool.recovery.manifests.prepare import Preparation, Prepared
from drtool.recovery.plan import Plan, Request, draft
from drtool.recovery.points import Choice, VolumePoint
from drtool.recovery.preflight import refuse
from drtool.recovery.refusal import Refusal
from drtool.recovery.steps import Step, chained, label, protects
from drtool.recovery.target import TargetFacts
from drtool.recovery.wishes import needs_writer

_LARGER: Final = "The new claim is as large as the old one: enlarge that, and plan again; or map its class."


def as_prepared(item: Json) -> Prepared:
    """Return an object that a plan works with, as those are that come back."""
    return Prepared(ref_of(item), place_of(*kind_of(item)), item)


def make_plan_in_place(
    policy: Policy, request: Request, choice: Choice, found: InPlace, facts: TargetFacts
) -> Plan | tuple[Refusal, ...]:
    """Return the plan, else every reason against it. choice is from `choose_points`, found from `in_place_of`."""
    claims = [as_prepared(each) for each in beside_claims(found.switches)]
    clones = [as_prepared(each.body) for each in found.switches if not each.beside]
    preparation = Preparation((*claims, *clones))
    changes = tuple(Change(each.ref, "new", "create") for each in preparation.objects)
    against = (
        *choice.refusals,
        *found.refusals,
        *refuse(request.namespace[1], preparation, changes, facts),
        *refuse_disk(policy, choice.volumes, preparation, changes, facts),
        *refuse_tight(_filled(choice, found), facts, _LARGER),
    )
    if against:
        return against
    return replace(
        draft(policy, request, choice, preparation, changes, facts),
        phases=tuple(chained(_steps(policy, request, choice, found, claims))),
        notes=(*found.notes, *_notes(policy, request, found)),
        in_place=found.switches,
    )


def _filled(choice: Choice, found: InPlace) -> Iterator[tuple[VolumePoint, Json]]:
    """Yield the volumes with the claims that they are to fit into: each is made as large as the old one is."""
    bodies = {each.volume: each.body for each in found.switches if each.beside}
    yield from ((each, bodies[each.volume]) for each in choice.volumes if each.volume in bodies)


def _steps(
    policy: Policy, request: Request, choice: Choice, found: InPlace, claims: list[Prepared]
) -> dict[PhaseName, list[Step]]:
    """Return the steps by phase: all volumes are whole and proven before anything that runs is touched."""
    data: list[Step] = []
    for each in choice.volumes:
        behind = tuple(step.id for step in data[-1:])
        data.append(Step(f"safety backup {each.volume}", "safety", each.volume, behind))
    names = tuple(label(each.ref) for each in claims)
    made = Step("apply core/PersistentVolumeClaim", "apply", "core/PersistentVolumeClaim", objects=names)
    data.append(made)
    for each in choice.volumes:
        moved = Step(
            f"restore {each.volume}",
            "restore",
            each.volume,
            (made.id,),
            point=each.point,
            moment=each.moment,
            size=each.size,
        )
        data += [moved, Step(f"prove {each.volume}", "prove", each.volume, (moved.id,), point=each.point)]
    stopped = tuple(label(ref) for ref in found.stopped)
    testing = [
        Step("switch volumes", "switch", "volumes", objects=stopped),
        Step("start again", "restart", "what was stopped", objects=stopped),
        *(
            protects() if request.wishes.enrol and needs_writer(policy, request.wishes) else ()
        ),  # before a probe that may fail: who goes on is backed up again
        *(Step(f"probe {each.name}", "probe", each.name) for each in policy.recovery.probes),
        *_references(policy, choice),
    ]
    return {"infrastructure": [], "deployment": [], "data": data, "testing": testing}


def _references(policy: Policy, choice: Choice) -> Iterator[Step]:
    """Yield what looks for files that rows refer to: whichever of both goes back, the other one is as it is now."""
    back = {each.volume for each in choice.volumes}
    for each in policy.recovery.references:
        if back & {each.database, each.files}:
            yield Step(f"references {each.name}", "references", each.name)


def _notes(policy: Policy, request: Request, found: InPlace) -> Iterator[str]:
    for each in found.stopped:
        yield (
            f"{each}: it is stopped for the switch, and started again; who uses it has to bear that, and nobody else "
            "may scale or apply it meanwhile"
        )
        if each.kind == "CronJob":
            yield f"{each}: a run that is missed by then begins at once, if its startingDeadlineSeconds lets it"
    yield from _hooks(policy, found)
    for switch in found.switches:
        if not switch.beside:
            yield f"claim {switch.claim}: it gets an empty volume, and its pod has to clone the first as a new one does"
        elif isinstance(policy.volume(switch.volume), PostgresVolume):
            yield f"volume {switch.volume}: roles come back with the passwords of that moment, Secrets stay as now"
            yield (
                f"volume {switch.volume}: what backs it up is taken away with the switch, for the database then lives "
                "another life; until a new writer is at work nobody else may apply drtool's objects again"
            )
            if not request.wishes.enrol:
                yield f"volume {switch.volume}: it needs a new writer: nothing backs it up until one is enrolled"
    kept = ", ".join(each.claim for each in found.switches)
    yield f"both volumes of {kept} take their room until the old ones are deleted: see that their disks have it"


def _hooks(policy: Policy, found: InPlace) -> Iterator[str]:
    """Yield the hooks whose place this is. None is run: what they act on runs as it is now, not as it was captured.

    One that migrates behind a start would repeat the very migration that is undone; one behind a restore would find
    the old server, which still serves.
    """
    places = [StartPlace(start=each.name) for each in found.stopped if each.kind != "CronJob"]
    due = [*places, *(RestorePlace(restore=each.volume) for each in found.switches)]
    for hook in policy.recovery.hooks:
        if hook.place in due:
            when = "before" if hook.before else "after"
            ((what, name),) = hook.place.model_dump().items()
            yield (
                f"hook {hook.name}: it runs {when} the {what} of {name} in a whole restore, and not in place, where "
                "the application is as it is now: see whether it is needed, and run it by hand"
            )
