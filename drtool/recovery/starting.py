"""What starts after what: the tiers of a policy, and between them what is done to a Redis before anything uses it.

That is to fill one whose data lies in no claim, and to hold or purge the queues of a broker, before a worker reads
them. What starts before keeps data, and takes no tasks: the Redis itself, its Sentinels, and what serves the other
volumes of the policy. The rest of their tier starts once it is done.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, RedisVolume, Volume
from drtool.recovery.hosts import Host, find_host
from drtool.recovery.manifests.hold import is_workload
from drtool.recovery.manifests.objects import Ref, ref_of, spec_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.refusal import Refusal
from drtool.recovery.seeding import seeded_volumes


@dataclass(frozen=True, slots=True)
class Tier:
    """Workloads that start together, and the Redis volumes that are then filled, and whose queues are then treated."""

    name: str
    workloads: tuple[Ref, ...]
    seeds: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()


def tiers_of(
    policy: Policy, applied: Sequence[Prepared], objects: Sequence[Prepared], restored: Collection[str]
) -> tuple[Tier, ...]:
    """Return what of applied starts when, those that no tier names last. objects are all that come back.

    restored are the volumes that do. Raises nothing: `early_refusals` says what would be used too early.
    """
    tiers = _plain(policy, applied)
    seeds = _last_tiers(seeded_volumes(policy, objects, restored), tiers, objects)
    queues = _last_tiers(_treated(policy, restored), tiers, objects)
    servers = _servers(policy, objects)
    split = (
        _split(replace(tier, seeds=seeds.get(tier.name, ()), queues=queues.get(tier.name, ())), servers)
        for tier in tiers
    )
    return tuple(chain.from_iterable(split))


def early_refusals(
    policy: Policy, applied: Sequence[Prepared], objects: Sequence[Prepared], restored: Collection[str]
) -> Iterator[Refusal]:
    """Yield why a volume cannot be filled, or its queues not be held or purged, before anything may use it."""
    hint = "Let this restore start its workload; or name the volumes that are to come back, without it."
    seeded = [
        (volume, "is to be filled once it runs", hint) for volume in seeded_volumes(policy, objects, restored)
    ]
    hint = "Name its Service as host, or set broker: restore and see to the queues by hand."
    treated = [
        (volume, f"is to {volume.broker} its queues", hint)
        for volume in _treated(policy, restored)
        if volume not in {each for each, _, _ in seeded}
    ]
    tiers, servers = _plain(policy, applied), _servers(policy, objects)
    for volume, what, hint in [*seeded, *(treated if tiers else ())]:
        last = _last_tiers([volume], tiers, objects)
        found = [number for number, tier in enumerate(tiers) if tier.name in last]
        if not found:
            said = f"{what}, and no workload that starts is known to serve it"
            yield Refusal(f"volume {volume.name}", said, hint)
            continue
        early = [ref.name for tier in tiers[: found[0]] for ref in tier.workloads if ref not in servers]
        if early:
            said = f"{what}, and {', '.join(early)} would start before it"
            way = "Name the workload of Redis in the first of recovery.tiers."
            yield Refusal(f"volume {volume.name}", said, way)


def _plain(policy: Policy, applied: Sequence[Prepared]) -> list[Tier]:
    workloads = [
        each.ref for each in applied if is_workload(*each.ref[:2]) and spec_of(each.item).get("replicas") != 0
    ]
    named = {name for tier in policy.recovery.tiers for name in tier}
    others = sorted({ref.name for ref in workloads} - named)
    tiers = enumerate([*policy.recovery.tiers, others], 1)
    found = [(number, tuple(ref for ref in workloads if ref.name in names)) for number, names in tiers]
    return [Tier(f"tier {number}", refs) for number, refs in found if refs]


def _split(tier: Tier, servers: Collection[Ref]) -> Iterator[Tier]:
    """Yield a tier; as two, where something is to be done before all of it may start."""
    if not tier.seeds and not tier.queues:
        yield tier
        return
    yield replace(tier, workloads=tuple(ref for ref in tier.workloads if ref in servers))
    rest = tuple(ref for ref in tier.workloads if ref not in servers)
    if rest:
        yield Tier(f"rest of {tier.name}", rest)


def _last_tiers(
    volumes: Iterable[RedisVolume], tiers: Sequence[Tier], objects: Sequence[Prepared]
) -> Mapping[str, tuple[str, ...]]:
    """Return by tier those of volumes all of whose servers run once its own do."""
    found: dict[str, tuple[str, ...]] = {}
    for volume in volumes:
        behind = _behind(volume, objects)
        serving = [tier.name for tier in tiers if behind & {*tier.workloads}]
        if serving:
            found[serving[-1]] = (*found.get(serving[-1], ()), volume.name)
    return found


def _treated(policy: Policy, restored: Collection[str]) -> list[RedisVolume]:
    return [
        volume
        for volume in policy.volumes
        if isinstance(volume, RedisVolume) and volume.broker != "restore" and volume.name in restored
    ]


def _servers(policy: Policy, objects: Sequence[Prepared]) -> frozenset[Ref]:
    return frozenset(chain.from_iterable(_behind(volume, objects) for volume in policy.volumes))


def _behind(volume: Volume, objects: Sequence[Prepared]) -> frozenset[Ref]:
    """Return the workload that serves a volume, and that of its Sentinels; none that cannot be told."""
    asked = [volume] if isinstance(volume, PostgresVolume | RedisVolume) else []
    if isinstance(volume, RedisVolume) and volume.sentinel is not None:
        where = {"host": volume.sentinel.service, "port": volume.sentinel.port, "sentinel": None}
        asked.append(volume.model_copy(update=where))
    items = [each.item for each in objects]
    found = [find_host(each, items) for each in asked]
    return frozenset(ref_of(each.workload) for each in found if isinstance(each, Host))
