"""Volumes planned without objects: what stands in the target says where they go, and may not be in their way."""

from collections.abc import Iterator, Mapping, Sequence
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
from drtool.recovery.manifests.objects import Json, kind_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.plan import Plan
from drtool.recovery.points import Choice
from drtool.recovery.refusal import Refusal
from drtool.recovery.target import TargetFacts


def plan_alone(
    session: Session, look: TargetLook, policy: Policy, choice: Choice, inventories: Mapping[str, Inventory]
) -> tuple[Alone, Mapping[str, Prepared]]:
    """Return where the volumes go that were chosen, and what a run works with, by the names that steps have."""
    objects = standing(look)
    alone = alone_of(policy, choice.volumes, objects, told_of(session, inventories, choice))
    against = _backed_up(policy, choice, objects)
    return replace(alone, refusals=(*alone.refusals, *against)), without_claims(objects)


def with_alone(
    made: Plan | tuple[Refusal, ...], alone: Alone, facts: TargetFacts
) -> Plan | tuple[Refusal, ...]:
    """Return a plan with what is left to a person; else all that speaks against it, claims that are too small too."""
    tight = tuple(refuse_tight(alone.claims, facts, "Enlarge it, or make it anew; then plan again."))
    if isinstance(made, Plan):
        return tight or replace(made, notes=(*made.notes, *alone.notes))
    return (*made, *tight)


def _backed_up(policy: Policy, choice: Choice, objects: Sequence[Json]) -> Iterator[Refusal]:
    """Yield what backs up a PostgreSQL that comes back: it lives another life then, and both would mingle."""
    there = {(*kind_of(each), each["metadata"]["name"]) for each in objects}
    for volume in (policy.volume(each.volume) for each in choice.volumes):
        if not isinstance(volume, PostgresVolume):
            continue
        own = (("apps", "Deployment", follower(volume)), ("batch", "CronJob", cron_job(volume)))
        for group, kind, name in own:
            if (group, kind, name) in there:
                yield Refusal(
                    f"{kind} {name}",
                    f"backs up the life of volume {volume.name} that this restore ends",
                    f"Delete it: `kubectl delete {kind.lower()} {name}`; once the database is back, a new writer is "
                    "enrolled. --in-place does both where the system runs.",
                )
