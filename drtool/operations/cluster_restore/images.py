"""Looks whether the target can run the images of a plan: a pod for each, in a namespace that is there for that alone.

With the pods go the Secrets that the workloads pull with; with the namespace all of them go, also when drtool is asked
to end. It is not waited for: that takes a controller of the cluster some seconds.
"""

import re
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from drtool.deploy.image_probe import image_probe
from drtool.deploy.names import COMMON
from drtool.errors import DrtoolError, SourceUnavailable, TemporaryFailure
from drtool.operations.cluster_restore.replay import RUN_LABEL
from drtool.operations.plan import Made
from drtool.operations.session import World
from drtool.recovery.images import (
    Image,
    ImageFact,
    images_of,
    look,
    note_images,
    refuse_images,
    waits_for,
)
from drtool.recovery.plan import Plan
from drtool.recovery.refusal import refused
from drtool.sources.base import Json
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.known import NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS
from drtool.sources.kubernetes.writing import delete
from drtool.sources.redis.layout import newest_rdb, parse_version

LIMIT_S: Final = 300.0  # for one image; a large one takes minutes
_FAILING_S: Final = 15.0  # kubelet tries again after 10 s
_AT_ONCE: Final = 8
_PAUSE_S: Final = 0.5
_ACCOUNT_S: Final = 60.0
_PREFIX: Final = "drtool-images-"
_LEFT: Final = timedelta(days=1)  # no look takes that long, and clocks differ
_ENFORCE: Final = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an image is waited for, and how long for one that cannot be pulled to be pulled after all; seconds."""

    image_s: float = LIMIT_S
    failing_s: float = _FAILING_S
    at_once: int = _AT_ONCE


def check_images(
    world: World, cluster: Cluster, run: str, made: Made, limits: Limits | None = None
) -> tuple[str, ...]:
    """Return what to note of the images of a plan that was made. Raises Refused with all that cannot run there."""
    plan = made.result.plan
    if plan is None:
        return ()
    images = images_of(made.objects, _applied(plan), plan.wishes.image)
    wanted = {name for each in images for name in each.secrets}
    secrets = [made.objects[f"core/Secret/{name}"].item for name in sorted(wanted)]
    world.progress.phase("looking at the images")
    facts = probe_images(world, cluster, run, images, secrets, limits or Limits())
    looked = [(image, facts[image.name]) for image in images]
    refusals = [*refuse_images(made.policy, plan.volumes, made.objects, looked, _rdb_of(facts.values()))]
    if refusals:
        raise refused(refusals)
    return tuple(note_images(plan.volumes, tuple(facts.values())))


def _applied(plan: Plan) -> list[str]:
    """Return the objects that will run what they have: those that are applied, or started again in place."""
    return [name for step in plan.steps if step.kind in ("apply", "restart") for name in step.objects]


def _rdb_of(facts: Iterable[ImageFact]) -> dict[str, int]:
    """Return for each Redis that was found which version of an RDB it reads at most."""
    found = {}
    for server in {fact.redis for fact in facts} - {""}:
        flavour, version = server.split()
        found[server] = newest_rdb(parse_version(version), flavour.lower())
    return found


def probe_images(
    world: World, cluster: Cluster, run: str, images: Sequence[Image], secrets: Sequence[Json], limits: Limits
) -> Mapping[str, ImageFact]:
    """Return what was found of each image, by its name. Raises what the cluster raises, TemporaryFailure at an end."""
    if not images:
        return {}
    with suppress(DrtoolError):  # who may not list namespaces can look at images all the same
        _clear_left(world, cluster)
    namespace = re.sub("[^a-z0-9]+", "-", f"{_PREFIX}{run}".lower())[:63].strip("-")
    marks = {**COMMON, RUN_LABEL: run}
    metadata = {"name": namespace, "labels": {**marks, **_ENFORCE}}
    cluster.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        for each in secrets:
            mine = {"name": each["metadata"]["name"], "namespace": namespace, "labels": marks}
            cluster.create(SECRETS, namespace, {**each, "metadata": mine})
        _wait_for_account(world, cluster, namespace)
        return _Watch(world, cluster, namespace, marks, limits).look_at(images)
    finally:
        delete(cluster, NAMESPACES, None, namespace)


def _clear_left(world: World, cluster: Cluster) -> None:
    """Delete the namespaces of looks that were killed: they hold Secrets, and nobody comes back for them."""
    old = world.clock() - _LEFT
    for page in cluster.pages(NAMESPACES, None):
        for each in page:
            found = each["metadata"]
            is_ours = found["name"].startswith(_PREFIX) and COMMON.items() <= found.get("labels", {}).items()
            if is_ours and datetime.fromisoformat(found["creationTimestamp"]) < old:
                world.progress.note(
                    f"namespace {found['name']} was left by a run that was killed: it goes now"
                )
                delete(cluster, NAMESPACES, None, found["name"])


def _wait_for_account(world: World, cluster: Cluster, namespace: str) -> None:
    """Return once pods are let in: the cluster makes the account that each of them has."""
    deadline = time.monotonic() + _ACCOUNT_S
    while cluster.get(SERVICE_ACCOUNTS, namespace, "default") is None:
        if time.monotonic() > deadline or world.ending.wait(_PAUSE_S):
            raise TemporaryFailure(
                f"namespace {namespace} has no ServiceAccount yet",
                hint="The cluster's controllers make it: see that they run, and try again.",
            )


@dataclass(slots=True)
class _Watch:
    """The pods under way, some at once."""

    world: World
    cluster: Cluster
    namespace: str
    marks: Mapping[str, str]
    limits: Limits
    _begun: dict[str, tuple[Image, float]] = field(default_factory=dict)
    _failing: dict[str, float] = field(default_factory=dict)

    def look_at(self, images: Sequence[Image]) -> dict[str, ImageFact]:
        """Return what was found of each image."""
        waiting, found = deque(enumerate(images)), dict[str, ImageFact]()
        while waiting or self._begun:
            while waiting and len(self._begun) < self.limits.at_once:
                number, image = waiting.popleft()
                fault = self._start(f"image-{number}", image)
                if fault is not None:
                    found[image.name] = fault
            if self.world.ending.wait(_PAUSE_S):
                raise TemporaryFailure(
                    "the look at the images was ended", hint="Nothing was restored; begin anew."
                )
            pods = {
                pod["metadata"]["name"]: pod
                for page in self.cluster.pages(PODS, self.namespace)
                for pod in page
            }
            for name in list(self._begun):
                fact = self._judge(name, pods.get(name, {}))
                if fact is not None:
                    found[fact.image] = fact
        return found

    def _start(self, name: str, image: Image) -> ImageFact | None:
        metadata = {"name": name, "namespace": self.namespace, "labels": dict(self.marks)}
        pod = image_probe(
            metadata, image.name, pull=image.pull, secrets=list(image.secrets), placed=image.placed
        )
        try:
            self.cluster.create(PODS, self.namespace, pod)
        except SourceUnavailable as fault:
            return ImageFact(image.name, f"was not tried: {fault.message}")
        self._begun[name] = image, time.monotonic()
        return None

    def _judge(self, name: str, pod: Json) -> ImageFact | None:
        """Return what is known of a pod's image, once it will not change; the pod is then deleted."""
        image, begun = self._begun[name]
        fact, may_change = look(image.name, pod)
        now = time.monotonic()
        if fact is not None and may_change:
            since = self._failing.setdefault(name, now)
            may_change = now < since + self.limits.failing_s
        if may_change:
            if now < begun + self.limits.image_s:
                return None
            fact = fact or ImageFact(image.name, waits_for(pod))
        del self._begun[name]
        delete(self.cluster, PODS, self.namespace, name)
        return fact
