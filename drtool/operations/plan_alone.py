"""Volumes planned without objects: what stands in the target says where they go, and may not be in their way."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from drtool.deploy.names import cron_job, follower
from drtool.operations.plan_in_place import standing, told_of, without_claims
from drtool.operations.plan_target import TargetLook
from drtool.operations.points import Inventory
from drtool.operations.session import Session
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume
from drtool.recovery.alone import Alone, alone_of
from drtool.recovery.disk import refuse_tight
from drtool.recovery.in_place import runs
from drtool.recovery.manifests.objects import Json, kind_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.plan import Plan
from drtool.recovery.points import Choice
from drtool.recovery.refusal import Refusal
from drtool.recovery.target import TargetFacts


def plan_alone(
    session: Session,
    look: TargetLook,
    policy: Policy,
    choice: Choice,
    inventories: Mapping[str, Inventory],
    *,
    enrol: bool,
) -> tuple[Alone, Mapping[str, Prepared]]:
    """Return where the volumes go that were chosen, and what a run works with, by the names that steps have.

    enrol: a new writer takes a first backup in the end.
    """
    objects = standing(look)
    alone = alone_of(policy, choice.volumes, objects, told_of(session, inventories, choice), enrol=enrol)
    own = _backed_up(policy, choice, objects, look)
    refusals, notes = (*alone.refusals, *own.refusals), (*alone.notes, *own.notes)
    return replace(alone, refusals=refusals, notes=notes), without_claims(objects)


def with_alone(
    made: Plan | tuple[Refusal, ...], alone: Alone, facts: TargetFacts
) -> Plan | tuple[Refusal, ...]:
    """Return a plan with what is left to a person; else all that speaks against it, claims that are too small too."""
    tight = tuple(refuse_tight(alone.claims, facts, "Enlarge it, or make it anew; then plan again."))
    if isinstance(made, Plan):
        return tight or replace(made, notes=(*made.notes, *alone.notes))
    return (*made, *tight)


def _backed_up(policy: Policy, choice: Choice, objects: Sequence[Json], look: TargetLook) -> Alone:
    """Return what backs up a PostgreSQL that comes back: it lives another life then, and both would mingle.

    What is at rest keeps nothing from coming back, and may be set to work again.
    """
    there = {(*kind_of(each), each["metadata"]["name"]): each for each in objects}
    refusals: list[Refusal] = []
    notes: list[str] = []
    for volume in (policy.volume(each.volume) for each in choice.volumes):
        if not isinstance(volume, PostgresVolume):
            continue
        own = (("apps", "Deployment", follower(volume)), ("batch", "CronJob", cron_job(volume)))
        for group, kind, name in own:
            found = there.get((group, kind, name))
            if found is None:
                continue
            done = f"`{look.kubectl(found['metadata']['namespace'])} delete {kind.lower()} {name}`"
            if runs(found):
                said = f"backs up the life of volume {volume.name} that this restore ends"
                hint = f"Delete it: {done}; once the database is back, a new writer is enrolled."
                hint += " --in-place does both where the system runs."
                refusals.append(Refusal(f"{kind} {name}", said, hint))
            else:
                notes.append(
                    f"{kind} {name} is at rest, and has the writer of the life of volume {volume.name} that this "
                    f"restore ends: delete it before somebody starts it, by {done}"
                )
    return Alone((), tuple(refusals), tuple(notes))
