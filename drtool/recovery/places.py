"""Where the data of a volume lies: in which claim, at which path, of which container, and as whose. Pure.

A policy says how a server is reached; a mover has to know on what it keeps its data. The way leads from the host over
a Service to the workload behind it. What cannot be told for sure is refused: a guess would put data where nobody
looks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from posixpath import normpath, relpath
from typing import Any, Final

from drtool.policy.volumes import FilesVolume, PostgresVolume, RedisVolume, Volume
from drtool.recovery.hosts import Host, claims_of, find_host, no_place, workloads_of
from drtool.recovery.manifests.hold import NOWHERE
from drtool.recovery.manifests.objects import Json, part, pod_template_of, spec_of
from drtool.recovery.pod_settings import REDIS_NAMES, environment_of, is_within, redis_settings
from drtool.recovery.refusal import Refusal

_DIRECTORIES: Final = {"postgres": "/var/lib/postgresql/data", "redis": "/data"}
_ROOT: Final = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a container runs: what its pod says, or its image. None is for what nobody said."""

    user: int | None = None
    group: int | None = None
    fs_group: int | None = None
    groups: tuple[int, ...] = ()
    is_non_root: bool = False


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image says of itself: as whom it starts, whom its server becomes, and where that keeps its data."""

    starts_as: int
    user: int
    group: int
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume's data lies. claim None: in a folder of its pod alone, which is made anew with every pod.

    path is relative to the root of the claim, empty for the root itself. placement are those fields of a pod that
    say on which nodes the claim may be used. starts_as_root: the server's image, or what runs before it in its pod,
    gives its folder to the server's user.
    """

    claim: str | None
    path: str = ""
    pod: str = ""
    image: str = ""
    identity: Identity = Identity()
    pull_secrets: tuple[str, ...] = ()
    resources: Json = field(default_factory=dict)
    placement: Json = field(default_factory=dict)
    starts_as_root: bool = False


def place_of(
    volume: Volume, objects: Sequence[Json], facts: Mapping[str, Any], image: ImageFacts | None = None
) -> Place | Refusal:
    """Return where the data of volume lies. objects are those of its namespace, facts those of the point.

    image are those of the place's image, where they are known.
    """
    match volume:
        case FilesVolume():
            return _files(volume, objects)
        case PostgresVolume() | RedisVolume():
            found = find_host(volume, objects)
            if isinstance(found, Refusal):
                return found
            if isinstance(volume, RedisVolume) and (refusal := _other_names(volume, found, objects)):
                return refusal
            return _server_place(volume, found, _directory(volume, found, objects, facts, image), image)
    return no_place(volume, "has no data of its own in a claim", "It is restored with its objects.")


def _files(volume: FilesVolume, objects: Sequence[Json]) -> Place | Refusal:
    if volume.claim is None:
        hint = f"Restore it on its own machine: `drtool restore {volume.name} --to-dir {volume.path}`."
        return no_place(volume, f"is {volume.path} of a machine, and no claim", hint)
    users = [each for each in workloads_of(objects) if volume.claim in claims_of(each)]
    pod = part(pod_template_of(users[0]), "spec") if users else {}
    if volume.pod_security == "baseline":
        identity = Identity(_ROOT, _ROOT)
    elif volume.run_as is not None:
        identity = Identity(volume.run_as.user, volume.run_as.group, groups=volume.run_as.groups)
    else:
        identity = _identity(pod, {})
    identity = replace(identity, fs_group=part(pod, "securityContext").get("fsGroup"))
    placement = _placement(pod)
    if volume.node_selector:
        placement["nodeSelector"] = dict(volume.node_selector)
    if volume.tolerations:
        placement["tolerations"] = [each.model_dump(exclude_none=True) for each in volume.tolerations]
    return Place(volume.claim, identity=identity, placement=placement)


def _server_place(
    volume: PostgresVolume | RedisVolume, host: Host, directory: str, image: ImageFacts | None
) -> Place | Refusal:
    pod = part(pod_template_of(host.workload), "spec")
    identity = _identity(pod, host.container)
    is_root_image = identity.user is None and image is not None and image.starts_as == _ROOT
    if image is not None:
        identity = replace(
            identity,
            user=image.user if identity.user is None else identity.user,
            group=image.group if identity.group is None else identity.group,
        )
    place = Place(
        None,
        pod=host.pod,
        image=str(host.container.get("image", "")),
        identity=identity,
        pull_secrets=tuple(each["name"] for each in pod.get("imagePullSecrets") or []),
        resources=part(host.container, "resources"),
        placement=_placement(pod),
    )
    mounts = [
        each for each in host.container.get("volumeMounts") or [] if is_within(directory, each["mountPath"])
    ]
    if not mounts and isinstance(volume, RedisVolume) and not claims_of(host.workload):
        return place
    if not mounts:
        hint = (
            "Mount a claim there, or have the data directory named where drtool can read it: `drtool doctor`."
        )
        said = f"keeps its data in {directory}, and container {host.container['name']} mounts nothing there"
        return no_place(volume, said, hint)
    mount = max(mounts, key=lambda each: len(normpath(each["mountPath"])))
    claim = _claim_of(host, pod, mount["name"])
    if claim is None:
        return place
    if "subPathExpr" in mount:
        return no_place(
            volume, f"lies below a subPathExpr of claim {claim}", "Use subPath, which says where."
        )
    rest = relpath(directory, normpath(mount["mountPath"]))
    path = normpath(f"{mount.get('subPath', '')}/{rest}").strip("/")
    is_given = is_root_image or _is_given(pod, mount["name"])
    return replace(place, claim=claim, path="" if path == "." else path, starts_as_root=is_given)


def _settings_of(host: Host, objects: Sequence[Json]) -> dict[str, str]:
    return redis_settings(part(pod_template_of(host.workload), "spec"), host.container, objects)


def _other_names(volume: RedisVolume, host: Host, objects: Sequence[Json]) -> Refusal | None:
    """Return why a Redis would not read what drtool writes: it would start empty, and look well."""
    found = _settings_of(host, objects)
    for name, default in REDIS_NAMES.items():
        if found.get(name, default) != default:
            said = f"has {name} {found[name]}: drtool writes {default}, which it would not read"
            hint = f"Restore it with --to-dir, and bring it to its {name} by hand."
            return no_place(volume, said, hint)
    return None


def _directory(
    volume: PostgresVolume | RedisVolume,
    host: Host,
    objects: Sequence[Json],
    facts: Mapping[str, Any],
    image: ImageFacts | None,
) -> str:
    """Return the data directory: as the server told, its container, its image; else what images of it use."""
    told = ""
    if isinstance(volume, PostgresVolume):
        said = facts.get("settings", {}).get("data_directory", "")
        told = said or environment_of(host.container, objects).get("PGDATA", "")
    if isinstance(volume, RedisVolume):
        told = _settings_of(host, objects).get("dir", "")
    if not told and image is not None:
        told = image.directory
    return normpath(told or _DIRECTORIES[volume.source])


def _claim_of(host: Host, pod: Json, mounted: str) -> str | None:
    templates = spec_of(host.workload).get("volumeClaimTemplates") or []
    if any(each["metadata"]["name"] == mounted for each in templates):
        return f"{mounted}-{host.workload['metadata']['name']}-{host.ordinal}"
    volumes = {each["name"]: each for each in pod.get("volumes") or []}
    claim = part(volumes.get(mounted, {}), "persistentVolumeClaim").get("claimName")
    return None if claim is None else str(claim)


def _is_given(pod: Json, mounted: str) -> bool:
    """Return whether a container of root's gives what is mounted to the server's user, before that starts."""
    for each in pod.get("initContainers") or []:
        user = _identity(pod, each).user
        words = [*(each.get("command") or []), *(each.get("args") or [])]
        is_root = user == _ROOT or (user is None and any("chown" in word for word in words))
        if is_root and any(mount["name"] == mounted for mount in each.get("volumeMounts") or []):
            return True
    return False


def _identity(pod: Json, container: Json) -> Identity:
    shared = part(pod, "securityContext")
    said = {**shared, **part(container, "securityContext")}
    groups = tuple(shared.get("supplementalGroups") or ())
    return Identity(
        said.get("runAsUser"),
        said.get("runAsGroup"),
        shared.get("fsGroup"),
        groups,
        bool(said.get("runAsNonRoot")),
    )


def _placement(pod: Json) -> Json:
    """Return what a pod asks of its node: who uses a claim first decides where it lies."""
    found: Json = {}
    selector = {key: value for key, value in (pod.get("nodeSelector") or {}).items() if key != NOWHERE}
    if selector:
        found["nodeSelector"] = selector
    if pod.get("tolerations"):
        found["tolerations"] = pod["tolerations"]
    required = part(pod, "affinity", "nodeAffinity").get("requiredDuringSchedulingIgnoredDuringExecution")
    if required:
        found["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return found
