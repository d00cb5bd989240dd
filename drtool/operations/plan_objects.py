"""The objects of a point in memory, each held against its hash, and as a target takes them: what a plan is made of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from json import loads

from drtool.errors import UsageError
from drtool.operations.kustomize import render
from drtool.operations.plan_target import TargetLook
from drtool.operations.points import Inventory
from drtool.operations.session import Session, World
from drtool.policy.schema import Policy
from drtool.recovery.deploy import deployed, of_deployment
from drtool.recovery.manifests.mappings import Mappings
from drtool.recovery.manifests.prepare import Preparation, Prepared, prepare, with_namespace
from drtool.recovery.points import VolumePoint
from drtool.recovery.steps import label
from drtool.recovery.wishes import Wishes
from drtool.repository.reader import Reader
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot
from drtool.sources.base import Entry, Json
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.manifests_notes import manifests_notes, webhook_notes
from drtool.sources.kubernetes.objects import content_of
from drtool.sources.kubernetes.restore import check_entries


@dataclass(frozen=True, slots=True)
class Captured:
    """The objects that were captured, and what is known of the cluster that they were in.

    rendered are those of the team's own deployment, where that takes the place of some of them.
    """

    namespace: str
    version: str = ""
    objects: Sequence[Json] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    rendered: Sequence[Json] | None = field(default=None, repr=False)


def captured_of(
    session: Session, policy: Policy, inventories: Mapping[str, Inventory], volumes: Sequence[VolumePoint]
) -> Captured:
    """Return the objects of the chosen points. Raises UsageError where nothing tells the namespace."""
    chosen = [
        inventories[each.volume].snapshots[each.point] for each in volumes if each.source == "manifests"
    ]
    if not chosen:
        if policy.kubernetes is None:
            raise UsageError(
                "nothing says to which namespace the volumes belong",
                hint="Set `kubernetes: {namespace: …}` in the policy.",
            )
        return Captured(policy.kubernetes.namespace)
    loaded = [load_objects(session.repository, snapshot) for snapshot in chosen]
    facts = loaded[0][0]
    return Captured(
        namespace=str(facts["namespace"]),
        version=str(facts["server_version"]),
        objects=[item for _, objects in loaded for item in objects],
        notes=tuple(note for each, _ in loaded for note in (*manifests_notes(each), *webhook_notes(each))),
    )


def with_deployment(captured: Captured, folder: str | None, cluster: Cluster, world: World) -> Captured:
    """Return captured with what the team's own deployment renders; as it is where there is none, or no objects."""
    if folder is None or not captured.objects:
        return captured
    world.progress.phase(f"rendering {folder}")
    scopes = {(each.group, each.kind): each.namespaced for each in cluster.resources()}
    return replace(captured, rendered=render(folder, captured.namespace, scopes, world))


def prepared_of(captured: Captured, wishes: Wishes, namespace: str, look: TargetLook) -> Preparation:
    """Return the objects as they come back into namespace; its notes begin with those of the capture."""
    if not captured.objects:
        return Preparation(notes=captured.notes)
    objects = captured.objects if captured.rendered is None else deployed(captured.objects, captured.rendered)
    mappings = Mappings((captured.namespace, namespace), wishes.classes, wishes.registries, wishes.hosts)
    services = [each["metadata"]["name"] for each in objects if each["kind"] == "Service"]
    found = prepare(
        with_namespace(objects, captured.namespace),
        mappings,
        look.served,
        with_jobs=wishes.with_jobs,
        taken_ports=look.taken_ports(services),
    )
    return replace(found, notes=(*captured.notes, *found.notes))


def replaced_of(
    captured: Captured, wishes: Wishes, namespace: str, look: TargetLook
) -> Mapping[str, Prepared]:
    """Return the captured objects that the team's own deployment replaces, as they would have come back."""
    if captured.rendered is None:
        return {}
    return by_label(
        of_deployment(prepared_of(replace(captured, rendered=None), wishes, namespace, look).objects)
    )


def by_label(objects: Iterable[Prepared]) -> dict[str, Prepared]:
    """Return objects by the names that steps have."""
    return {label(each.ref): each for each in objects}


def load_objects(repository: Repository, snapshot: Snapshot) -> tuple[Json, list[Json]]:
    """Return the facts of a point and its objects, in the order of their names. Raises Corrupt, WrongKey."""
    reader = Reader(repository)
    contents = reader.read_contents(snapshot)
    reader.check(snapshot, contents)
    check_entries([Entry(each.path, each.entry, each.size) for each in contents.entries])
    found = {each.path: bytearray(each.size) for each in contents.entries}

    def take(path: str, offset: int, data: bytes) -> None:
        found[path][offset : offset + len(data)] = data

    reader.read(snapshot, contents, take)
    objects = [loads(content_of(path, bytes(found.pop(path)))) for path in sorted(found)]
    return {**snapshot.facts, **contents.header["facts"]}, objects
