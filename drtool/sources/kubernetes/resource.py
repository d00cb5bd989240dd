"""A kind of objects as an API server serves it, where its objects are found, and a page of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API serves it. group is empty for the core; verbs are what may be asked of it at all."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The name that tells it from all others: deployments.apps."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As objects of it say: apps/v1."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "") -> str:
        """Return the path of the collection in namespace, or of one object of it."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{quote(namespace)}" if namespace and self.namespaced else ""
        return f"{root}{within}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


class Page(list[Json]):
    """Objects of one listing. version is the resourceVersion as of which the listing is."""

    version: str = ""


def fresh(items: list[Json], resource: Resource, seen: set[tuple[str, str]]) -> Iterator[Json]:
    """Yield the items of a list that are not in seen, saying what they are: in a list they leave that out.

    One that was made anew under its name, with another uid, is in seen, too: no name comes twice.
    """
    for item in items:
        mark = item["metadata"].get("namespace", ""), item["metadata"]["name"]
        if mark not in seen:
            seen.add(mark)
            yield {"apiVersion": resource.api_version, "kind": resource.kind, **item}
