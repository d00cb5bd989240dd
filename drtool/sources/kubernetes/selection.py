"""Which objects of a namespace are captured, and why the others are left out: they are made anew by whoever made them.

The reasons are those of the projects that restored too much before; each has its test.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from drtool.policy.kinds import group_of, matches, matches_any
from drtool.policy.made_anew import NEVER, PRECIOUS, why_of_cluster, why_of_kind
from drtool.sources.kubernetes.resource import Json, Resource


@dataclass(frozen=True, slots=True)
class Filter:
    """What a policy takes of a namespace: patterns of kinds. No include takes all."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, group: str, kind: str) -> bool:
        """Return whether the policy asks for a kind."""
        if self.include and not matches_any(self.include, group, kind):
            return False
        return not matches_any(self.exclude, group, kind)

    def idle(self, kinds: Iterable[tuple[str, str]]) -> list[str]:
        """Return the patterns that name none of kinds, (group, kind) each."""
        there = list(kinds)
        patterns = (*self.include, *self.exclude)
        return [each for each in patterns if not any(matches(each, *kind) for kind in there)]


@dataclass(frozen=True, slots=True)
class Around:
    """What else there is in the namespace, as far as it decides on an object.

    is_read tells whether objects of a (group, kind) are read; selecting are the names of Services with a selector.
    """

    is_read: Callable[[str, str], bool]
    selecting: set[str]


def is_captured(resource: Resource) -> bool:
    """Return whether objects of a kind are worth listing: they live in a namespace, and a backup should hold them."""
    listed = resource.namespaced and "list" in resource.verbs
    return listed and not matches_any(NEVER, resource.group, resource.kind)


def is_group_captured(group: str) -> bool:
    """Return whether a backup should hold any kind of a group."""
    return not matches_any(NEVER, group, "*")


def why_left_out(item: Json, around: Around) -> str | None:
    """Return why an object is not captured, in words that count well; None for one that is."""
    why = why_of_cluster(item)
    if why is not None:
        return why
    kind = (group_of(item["apiVersion"]), item["kind"])
    if kind not in PRECIOUS and _is_made_by_another(item["metadata"], around):
        return "made by its owner"
    return why_of_kind(item, around.selecting)


def _is_made_by_another(metadata: Json, around: Around) -> bool:
    """Return whether a controller that comes back made it. One that the policy excludes takes what it made along."""
    owners = metadata.get("ownerReferences") or []
    return any(
        each.get("controller") and around.is_read(group_of(each["apiVersion"]), each["kind"])
        for each in owners
    )
