"""Which images a plan needs, and what a look at them in the target means: pulled or not, of which version. Pure.

Of each image one container was started on one node, with the Secrets that its workload pulls with: that tells of the
registry, of the name and of that node's architecture, and not of every node.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, RedisVolume
from drtool.recovery.hosts import find_host
from drtool.recovery.manifests.objects import Json, containers_of, part, pod_template_of, spec_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.points import VolumePoint
from drtool.recovery.refusal import Refusal

_OWN: Final = "drtool itself"
_STRICTEST: Final = ("Never", "Always", "IfNotPresent")
_PLACED: Final = ("nodeSelector", "tolerations")
# What kubelet gives as the reason for a container that waits, where its image is what it waits for.
_NOT_PULLED: Final = frozenset({
    *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"),
    *("RegistryUnavailable", "SignatureValidationFailed"),
})  # fmt: skip
_FINAL: Final = frozenset({"InvalidImageName", "ErrImageNeverPull"})  # trying again mends none of these
_BEGINS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_FOREIGN: Final = "exec format error"  # what the kernel says of a program for another processor
_POSTGRES: Final = re.compile(r"^postgres \(PostgreSQL\) (\d+)", re.MULTILINE)
_REDIS: Final = re.compile(r"^(Redis|Valkey) server v=(\d+\.\d+\S*)", re.MULTILINE)
_WAY: Final = (
    "Bring it to where the target's nodes pull from, name another registry with --image-registry OLD=NEW, "
    "or load it onto the nodes."
)
_MOVED: Final = (
    "The name of the image stands for another version by now: bring back the one that was captured from, under that "
    "name, or in another registry with --image-registry OLD=NEW."
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is needed, by whom, and how their pods pull it. placed says on which nodes, as their spec does."""

    name: str
    users: tuple[str, ...]
    pull: str = "IfNotPresent"
    secrets: tuple[str, ...] = ()
    placed: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ImageFact:
    """What a look at an image found. fault says why it cannot run; said is what its servers tell of their versions."""

    image: str
    fault: str = ""
    said: str = ""

    @property
    def postgres(self) -> frozenset[int]:
        """The majors of PostgreSQL that are in it."""
        return frozenset(int(major) for major in _POSTGRES.findall(self.said))

    @property
    def redis(self) -> str:
        """Which Redis or Valkey is in it, as "Redis 7.0.15"; empty where there is none."""
        found = _REDIS.search(self.said)
        return f"{found[1]} {found[2]}" if found else ""


def images_of(objects: Mapping[str, Prepared], applied: Iterable[str], own: str) -> tuple[Image, ...]:
    """Return the images of the applied objects, by name, and drtool's own. What shall not run needs none."""
    users: dict[str, list[Prepared]] = {}
    for each in (objects[name] for name in applied):
        if _runs(each.item):
            for container in containers_of(each.item):
                users.setdefault(container.get("image", ""), []).append(each)
    found = {name: _image(name, using, objects) for name, using in users.items() if name}
    if own:
        theirs = found.get(own, Image(own, ()))
        found[own] = Image(own, (*theirs.users, _OWN), theirs.pull, theirs.secrets, theirs.placed)
    return tuple(found[name] for name in sorted(found))


def _runs(item: Json) -> bool:
    return spec_of(item).get("replicas") != 0 and not spec_of(item).get("suspend")


def _image(name: str, using: Sequence[Prepared], objects: Mapping[str, Prepared]) -> Image:
    pods = [part(pod_template_of(each.item), "spec") for each in using]
    asked = {
        container.get("imagePullPolicy", "IfNotPresent")
        for each in using
        for container in containers_of(each.item)
        if container.get("image") == name
    }
    return Image(
        name,
        tuple(dict.fromkeys(str(each.ref) for each in using)),
        min(asked, key=_STRICTEST.index),
        tuple(sorted({secret for pod in pods for secret in _secrets(pod, objects)})),
        {key: pods[0][key] for key in _PLACED if pods[0].get(key)},
    )


def _secrets(pod: Json, objects: Mapping[str, Prepared]) -> Iterator[str]:
    """Yield the Secrets that a pod pulls with, its own and those of its account, as far as they come back."""
    account = objects.get(f"core/ServiceAccount/{pod.get('serviceAccountName') or 'default'}")
    for holder in (pod, account.item if account else {}):
        for each in holder.get("imagePullSecrets") or []:
            if f"core/Secret/{each.get('name')}" in objects:
                yield each["name"]


def look(image: str, pod: Json) -> tuple[ImageFact | None, bool]:
    """Return what the pod of an image tells, None for nothing yet; and whether that may still change."""
    status = part(pod, "status")
    for each in status.get("containerStatuses") or []:
        ended, waiting = part(each, "state", "terminated"), part(each, "state", "waiting")
        if _FOREIGN in f"{ended.get('message')} {waiting.get('message')}":
            return ImageFact(image, "is of another architecture than the node"), False
        if ended:
            return ImageFact(image, said="" if ended.get("exitCode") else ended.get("message", "")), False
        return _waiting(image, waiting.get("reason", ""), _line(waiting.get("message")))
    if status.get("phase") == "Failed":
        said = _line(status.get("message") or status.get("reason"))
        return ImageFact(image, f"was not tried, for its pod failed: {said}"), False
    return None, True


def _waiting(image: str, reason: str, said: str) -> tuple[ImageFact | None, bool]:
    if reason in _NOT_PULLED:
        return ImageFact(image, f"cannot be pulled: {said or reason}"), reason not in _FINAL
    if reason in _BEGINS:
        return None, True
    return ImageFact(image), False  # its container cannot be made, so the image is there


def waits_for(pod: Json) -> str:
    """Return why nothing is told of a pod's image yet. A pod that is not there is an empty one."""
    for each in part(pod, "status").get("conditions") or []:
        if each["type"] == "PodScheduled" and each["status"] == "False":
            return f"was not tried, for its pod fits no node: {_line(each.get('message'))}"
    return "was not pulled in time"


def _line(text: object) -> str:
    return " ".join(str(text or "").split())


def refuse_images(
    policy: Policy,
    volumes: Iterable[VolumePoint],
    objects: Mapping[str, Prepared],
    looked: Sequence[tuple[Image, ImageFact]],
    newest_rdb: Mapping[str, int],
) -> Iterator[Refusal]:
    """Yield the images that cannot run, and the databases whose images cannot read their data.

    newest_rdb says of each Redis that was found which version of an RDB it reads at most.
    """
    for image, fact in looked:
        if fact.fault:
            yield Refusal(f"image {image.name}", f"of {', '.join(image.users)} {fact.fault}", _WAY)
    facts = [fact for _, fact in looked]
    for each in volumes:
        server = _server(policy, each.volume, objects)
        found = [fact for fact in facts if server in ("", fact.image)]
        about = f"volume {each.volume}"
        if each.source == "postgres" and each.version is not None:
            there = {fact.image: fact.postgres for fact in found if fact.postgres}
            if there and not any(each.version in majors for majors in there.values()):
                has = "; ".join(f"{name} has {_majors(there[name])}" for name in sorted(there))
                yield Refusal(about, f"is of PostgreSQL {each.version}, and {has}", _MOVED)
        if each.source == "redis" and each.version is not None:
            servers = {fact.image: fact.redis for fact in found if fact.redis in newest_rdb}
            if servers and all(newest_rdb[version] < each.version for version in servers.values()):
                has = "; ".join(
                    f"{name} has {version}, which reads up to {newest_rdb[version]}"
                    for name, version in sorted(servers.items())
                )
                yield Refusal(about, f"is an RDB of version {each.version}, and {has}", _MOVED)


def note_images(volumes: Iterable[VolumePoint], facts: Sequence[ImageFact]) -> Iterator[str]:
    """Yield the databases of which no image tells whether it can read their data."""
    for each in volumes:
        tells = any(fact.postgres if each.source == "postgres" else fact.redis for fact in facts)
        if each.source in ("postgres", "redis") and not tells:
            yield f"volume {each.volume}: no image tells which version of its server it has"


def _majors(majors: frozenset[int]) -> str:
    return " and ".join(str(major) for major in sorted(majors))


def _server(policy: Policy, name: str, objects: Mapping[str, Prepared]) -> str:
    """Return the image of the container that has a database's data; empty where that cannot be told."""
    volume = policy.volume(name)
    if not isinstance(volume, PostgresVolume | RedisVolume):
        return ""
    host = find_host(volume, [each.item for each in objects.values()])
    return "" if isinstance(host, Refusal) else str(host.container.get("image", ""))
