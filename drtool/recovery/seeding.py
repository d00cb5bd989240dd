"""The Redis volumes whose data lies in no claim: each is filled once its pod runs, before anything may use it. Pure."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from drtool.policy.schema import Policy
from drtool.policy.secret import EnvironmentReference, FileReference
from drtool.policy.volumes import RedisVolume
from drtool.recovery.hosts import Host, find_host
from drtool.recovery.manifests.objects import kind_of, spec_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.places import Place, place_of
from drtool.recovery.refusal import Refusal

_WAY: Final = (
    "Give it a claim before the next capture; or name the volumes that are to come back, without it."
)


def seeded_volumes(
    policy: Policy, objects: Sequence[Prepared], restored: Collection[str]
) -> list[RedisVolume]:
    """Return those of the restored volumes that nothing can be laid into before they start."""
    items = [each.item for each in objects]
    return [
        volume
        for volume in policy.volumes
        if isinstance(volume, RedisVolume)
        and volume.name in restored
        and isinstance(place := place_of(volume, items, {}), Place)
        and place.claim is None
    ]


def seed_refusals(
    policy: Policy, objects: Sequence[Prepared], restored: Collection[str]
) -> Iterator[Refusal]:
    """Yield why a volume cannot be filled as it runs, however it is started."""
    items = [each.item for each in objects]
    for volume in seeded_volumes(policy, objects, restored):
        if (reason := _against(volume)) is not None:
            yield Refusal(f"volume {volume.name}", f"has no claim, and {reason}", _WAY)
        host = find_host(volume, items)
        assert isinstance(host, Host)  # noqa: S101 - it has a place
        is_set = kind_of(host.workload) == ("apps", "StatefulSet")
        if not is_set and spec_of(host.workload).get("replicas", 1) != 1:
            name = f"{host.workload['kind']} {host.workload['metadata']['name']}"
            said = f"has no claim, and each pod of {name} has data of its own"
            yield Refusal(f"volume {volume.name}", said, _WAY)


def seed_notes(policy: Policy, objects: Sequence[Prepared], restored: Collection[str]) -> Iterator[str]:
    """Yield the volumes that come back later than the policy's order says."""
    for volume in seeded_volumes(policy, objects, restored):
        yield f"volume {volume.name}: its data lies in no claim, and it is filled once it runs, before what uses it"


def _against(volume: RedisVolume) -> str | None:
    if volume.sentinel is not None:
        return "is found by Sentinels, which would make another server the master while it is filled"
    if volume.tls is not None:
        return "is reached over TLS, and what would fill it has no certificate"
    for name in ("username", "password"):
        if isinstance(getattr(volume, name), EnvironmentReference | FileReference):
            return f"its {name} is an environment variable or a file, which no pod has"
    return None
