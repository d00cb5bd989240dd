"""What starts after what: the tiers of a policy, and between them the queues of a broker, before a worker reads them.

What starts before the queues are held or purged keeps data, and takes no tasks: the Redis itself, its Sentinels, and
what serves the other volumes of the policy. The rest of their tier starts once the queues are done.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, RedisVolume, Volume
from drtool.recovery.hosts import Host, find_host
from drtool.recovery.manifests.hold import is_workload
from drtool.recovery.manifests.objects import Ref, ref_of, spec_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Tier:
    """Workloads that start together, and the Redis volumes whose queues are then treated before anything else."""

    name: str
    workloads: tuple[Ref, ...]
    queues: tuple[str, ...] = ()


def tiers_of(
    policy: Policy, applied: Sequence[Prepared], objects: Sequence[Prepared], restored: Collection[str]
) -> tuple[Tier, ...]:
    """Return what of applied starts when, those that no tier names last. objects are all that come back.

    restored are the volumes that do. Raises nothing: `queue_refusals` says where queues would be read too early.
    """
    tiers = _plain(policy, applied)
    last = _last_tiers(policy, tiers, objects, restored)
    servers = _servers(policy, objects)
    return tuple(chain.from_iterable(_split(tier, last.get(tier.name, ()), servers) for tier in tiers))


def queue_refusals(
    policy: Policy, applied: Sequence[Prepared], objects: Sequence[Prepared], restored: Collection[str]
) -> Iterator[Refusal]:
    """Yield why the queues of a volume cannot be held or purged before a worker may read them."""
    tiers, servers = _plain(policy, applied), _servers(policy, objects)
    last = _last_tiers(policy, tiers, objects, restored)
    found = {name: number for number, tier in enumerate(tiers) for name in last.get(tier.name, ())}
    for volume in _treated(policy, restored) if tiers else ():
        if volume.name not in found:
            hint = "Name its Service as host, or set broker: restore and see to the queues by hand."
            said = f"is to {volume.broker} its queues, and no workload that starts is known to serve it"
            yield Refusal(f"volume {volume.name}", said, hint)
            continue
        early = [
            ref.name for tier in tiers[: found[volume.name]] for ref in tier.workloads if ref not in servers
        ]
        if early:
            said = f"is to {volume.broker} its queues, and {', '.join(early)} would start before it"
            hint = "Name the workload of Redis in the first of recovery.tiers."
            yield Refusal(f"volume {volume.name}", said, hint)


def _plain(policy: Policy, applied: Sequence[Prepared]) -> list[Tier]:
    workloads = [
        each.ref for each in applied if is_workload(*each.ref[:2]) and spec_of(each.item).get("replicas") != 0
    ]
    named = {name for tier in policy.recovery.tiers for name in tier}
    others = sorted({ref.name for ref in workloads} - named)
    tiers = enumerate([*policy.recovery.tiers, others], 1)
    found = [(number, tuple(ref for ref in workloads if ref.name in names)) for number, names in tiers]
    return [Tier(f"tier {number}", refs) for number, refs in found if refs]


def _split(tier: Tier, queues: Sequence[str], servers: Collection[Ref]) -> Iterator[Tier]:
    """Yield a tier; as two, where queues are to be treated before all of it may start."""
    if not queues:
        yield tier
        return
    yield Tier(tier.name, tuple(ref for ref in tier.workloads if ref in servers), tuple(queues))
    rest = tuple(ref for ref in tier.workloads if ref not in servers)
    if rest:
        yield Tier(f"rest of {tier.name}", rest)


def _last_tiers(
    policy: Policy, tiers: Sequence[Tier], objects: Sequence[Prepared], restored: Collection[str]
) -> Mapping[str, list[str]]:
    """Return by tier the volumes all of whose servers run once its own do."""
    found: dict[str, list[str]] = {}
    for volume in _treated(policy, restored):
        behind = _behind(volume, objects)
        serving = [tier.name for tier in tiers if behind & {*tier.workloads}]
        if serving:
            found.setdefault(serving[-1], []).append(volume.name)
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
