"""Which kinds an API server serves, each once: what the preferred version of a group lacks comes from another one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from drtool.errors import TemporaryFailure
from drtool.policy.kinds import NAMESPACED
from drtool.sources.base import Json
from drtool.sources.kubernetes.faults import Absent
from drtool.sources.kubernetes.resource import Resource

AGGREGATED_S: Final = 10.0  # how long a group is waited for whose own server may be away for days


@dataclass(frozen=True, slots=True)
class Discovered:
    """The kinds, sorted by name; and the groups whose kinds nobody can tell, for the server behind them is away."""

    resources: tuple[Resource, ...]
    unserved: tuple[str, ...]


def discover(ask: Callable[..., Json], look: Callable[[], object]) -> Discovered:
    """Return what is served. ask is `Cluster.ask`; look raises where the API server itself is away."""
    found: dict[str, Resource] = {}
    unserved: set[str] = set()
    for group, version, path in _versions(ask("GET", "/apis", "list the API groups")["groups"]):
        served = _kinds(group, path, ask, look)
        if served is None:
            unserved.add(group)
        for each in served or ():
            if "/" not in each["name"]:  # a subresource
                verbs = frozenset(each["verbs"])
                resource = Resource(
                    group, version, each["name"], each["kind"], bool(each["namespaced"]), verbs
                )
                found.setdefault(resource.name, resource)
    by_name = sorted(found.values(), key=lambda resource: resource.name)
    return Discovered(tuple(by_name), tuple(sorted(unserved)))


def _versions(groups: list[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield group, version and path, the preferred version of a group first."""
    yield "", "v1", "/api/v1"
    for group in groups:
        preferred = group["preferredVersion"]["version"]
        others = [each["version"] for each in group["versions"] if each["version"] != preferred]
        for version in (preferred, *others):
            yield group["name"], version, f"/apis/{group['name']}/{version}"


def _kinds(group: str, path: str, ask: Callable[..., Json], look: Callable[[], object]) -> list[Json] | None:
    """Return the kinds of one group; None where only its own server is away. Any other group is waited for."""
    doing = f"list the kinds of group {group or 'core'}"
    if group in NAMESPACED:
        return list(ask("GET", path, doing)["resources"])
    for _ in range(2):
        try:
            return list(ask("GET", path, doing, patience_s=AGGREGATED_S)["resources"])
        except Absent:  # deleted since we asked for the groups
            return []
        except TemporaryFailure:
            look()
    return None
