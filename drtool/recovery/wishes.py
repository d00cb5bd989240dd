"""What a person asks a plan for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from drtool.errors import UsageError
from drtool.policy.schema import Policy

_NAMESPACE: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
IfExists = Literal["refuse", "keep", "replace"]
_OF_OBJECTS: Final = {
    "namespace": "--namespace",
    "registries": "--image-registry",
    "hosts": "--host",
    "if_exists": "--if-exists",
    "with_jobs": "--with-jobs",
    "as_captured": "--as-captured",
}
_NOTHING: Final[tuple[object, ...]] = (None, {}, "refuse", False)


@dataclass(frozen=True, slots=True)
class Wishes:
    """at is UTC; without it, and not aligned, each volume comes back to its newest. No volumes are all of them.

    classes, registries and hosts map old names to new ones. if_exists is what becomes of objects that the target has
    already, and that differ. as_captured: the captured manifests come back, whatever the policy deploys. image is
    drtool's own, for what works in the target; enrol: a new writer takes over, where
    one is needed, and takes a first backup; else a person enrols it later. as_of names a
    head: what it did not know is not there. What is accepted is what else would be refused. in_place: the volumes that
    are named come back beside those that are in use, and are switched; nothing else of the namespace is touched.
    """

    at: datetime | None = None
    aligned: bool = False
    volumes: tuple[str, ...] = ()
    namespace: str | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    registries: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    if_exists: IfExists = "refuse"
    with_jobs: bool = False
    as_captured: bool = False
    image: str = ""
    enrol: bool = False
    as_of: str | None = None
    accept_late: bool = False
    accept_void: bool = False
    accept_loss: bool = False
    in_place: bool = False

    def __post_init__(self) -> None:
        if self.namespace is not None and not re.fullmatch(_NAMESPACE, self.namespace):
            raise UsageError(
                f"{self.namespace} is no name of a namespace",
                hint="Small letters, digits and hyphens, 63 at most: --namespace shop-dr.",
            )
        if self.in_place and not self.volumes:
            raise UsageError(
                "--in-place stops what uses the volumes that it switches, and none is named",
                hint="Name each volume that is to go back: drtool restore --to-cluster CONTEXT --in-place VOLUME.",
            )
        others = [option for name, option in _OF_OBJECTS.items() if getattr(self, name) not in _NOTHING]
        if self.in_place and others:
            raise UsageError(
                f"{others[0]} is for objects, and --in-place brings none back", hint="Leave out one of them."
            )


def needs_writer(policy: Policy, wishes: Wishes) -> bool:
    """Return whether what comes back needs a new writer: all of a system, or a PostgreSQL that goes back in place.

    The writer before goes on to protect the rest where a part comes back.
    """
    if wishes.in_place:
        return any(policy.volume(name).source == "postgres" for name in wishes.volumes)
    return not wishes.volumes
