"""A run undone: what it made goes, what it changed becomes what it was. Only as long as nobody can have used it.

Everything is found by the label of the run, and by what its journal noted before each change, so that an abort that
was killed can be made again.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from drtool.errors import DrtoolError, Refused
from drtool.operations.cluster_restore.apply import originals, owners_now
from drtool.operations.cluster_restore.kinds import (
    claims_of,
    is_ours,
    live,
    named,
    pods_of_others,
    resource_of,
)
from drtool.operations.cluster_restore.replay import RUN_LABEL, Replay
from drtool.operations.cluster_restore.stopping import start
from drtool.operations.cluster_restore.switch import refuse_once_switched
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.recovery.journal import ABORT, fold
from drtool.recovery.manifests.objects import Json, kind_of, part, spec_of
from drtool.sources.kubernetes import writing
from drtool.sources.kubernetes.client import Resource
from drtool.sources.kubernetes.faults import Absent, Forbidden
from drtool.sources.kubernetes.known import (
    CLAIMS,
    CONFIG_MAPS,
    JOBS,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    VOLUMES,
)

_GONE_S: Final = 300.0
_AT_ONCE: Final = 4
_DEFINITION: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_OF_THE_SERVER: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
)
# What a run makes beside the objects of its plan.
_BESIDE: Final = (
    JOBS,
    PODS,
    SECRETS,
    CONFIG_MAPS,
    NETWORK_POLICIES,
)


def abort_run(replay: Replay) -> Json:
    """Undo the run; return what was taken away, and what of it stays. Safe to run again.

    Raises Refused once something was started: it may have taken traffic since.
    """
    refuse_once_started(replay)
    _refuse_in_use(replay)
    replay.journal.write(ABORT, "begun", {})
    try:
        return _undo(replay)
    except Refused as fault:
        hint = f"{fault.hint} Then go on with --abort {replay.run}."
        raise DrtoolError(f"{fault.message}; it is undone in part", hint=hint) from fault


def _undo(replay: Replay) -> Json:
    for name in (each for step in replay.plan.steps if step.kind == "switch" for each in step.objects):
        start(replay, name)  # one that a switch had stopped, before it switched anything
    before = originals(replay)
    for item in before.values():
        _free(replay, item)
    removed = [*_remove_beside(replay), *_remove_made(replay, before)]
    kept = _wait_for_volumes(replay)
    replay.cluster.forget_kinds()  # definitions may have gone
    is_there = replay.cluster.get(NAMESPACES, None, replay.namespace) is not None
    left = [each for each in before.values() if is_there or "namespace" not in each["metadata"]]
    # What workloads read comes before them, as it was applied; owners before what they own.
    left.sort(key=lambda each: bool(each["metadata"].get("ownerReferences")))
    put_back = [_put_back(replay, item) for item in left]
    result = {"removed": len(removed), "put_back": put_back, "kept_volumes": kept}
    replay.journal.write(ABORT, "done", result)
    return result


def refuse_once_started(replay: Replay) -> None:
    """Return while nothing was started, and no volume switched. Raises Refused."""
    if replay.plan.in_place:
        refuse_once_switched(replay)
    if fold(replay.journal.entries()).is_past_switch(replay.plan.steps):
        raise Refused(
            f"run {replay.run} has started workloads, CronJobs or a new writer, or opened Services: "
            "what came in since would be lost",
            hint=f"Go on with --resume {replay.run}; or delete namespace {replay.namespace} by hand.",
        )


def _free(replay: Replay, item: Json) -> None:
    """Take from an object that was there before the owners that it has from this run, or it would go with them."""
    found, had = live(replay, item), item["metadata"].get("ownerReferences") or []
    if found is None or not is_ours(replay, found):
        return
    if (found["metadata"].get("ownerReferences") or []) != had and _is_same(found, item):
        namespace, name = item["metadata"].get("namespace"), item["metadata"]["name"]
        change = {"metadata": {"ownerReferences": had}}
        writing.patch(replay.cluster, resource_of(replay.cluster, item), namespace, name, change)


def _is_same(found: Json, item: Json) -> bool:
    return bool(found["metadata"]["uid"] == item["metadata"]["uid"])


def _refuse_in_use(replay: Replay) -> None:
    """Return when nobody else lives on what the run made: another run may have gone on from there. Raises Refused."""
    claims = {
        each["metadata"]["name"]
        for page in replay.cluster.pages(CLAIMS, replay.namespace)
        for each in page
        if is_ours(replay, each)
    }
    namespace = replay.cluster.get(NAMESPACES, None, replay.namespace)
    is_all_ours = namespace is not None and is_ours(replay, namespace)
    users = [
        pod["metadata"]["name"] for pod in pods_of_others(replay) if is_all_ours or claims_of(pod) & claims
    ]
    if users:
        raise Refused(
            f"pods that run {replay.run} did not make are at work on what it made: {', '.join(sorted(users))}",
            hint="What they have would be lost with it. Delete by hand what nobody needs, or leave all as it is.",
        )


def _remove_beside(replay: Replay) -> Iterator[str]:
    """Take away movers and what they hold."""
    planned = {name for step in replay.plan.steps if step.kind == "apply" for name in step.objects}
    for resource in _BESIDE:
        found = [each for page in replay.cluster.pages(resource, replay.namespace) for each in page]
        ours = [each for each in found if is_ours(replay, each) and named(each) not in planned]
        yield from _removed(replay, ((resource, each) for each in ours))


def _remove_made(replay: Replay, before: dict[str, Json]) -> Iterator[str]:
    """Take away what the plan's steps made, the last first; what was there before is put back afterwards."""
    for step in reversed(replay.plan.steps):
        if step.kind != "apply":
            continue
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            made = list(pool.map(lambda name: _made(replay, name, before), step.objects))
        yield from _removed(replay, [each for each in made if each is not None])
    namespace = replay.cluster.get(NAMESPACES, None, replay.namespace)
    if namespace is not None and is_ours(replay, namespace) and named(namespace) not in before:
        yield from _removed(replay, [(NAMESPACES, namespace)])  # no plan need have it


def _made(replay: Replay, name: str, before: dict[str, Json]) -> tuple[Resource, Json] | None:
    """Return an object of the plan that this run made, None for any other."""
    item = replay.objects[name].item
    found = live(replay, item)
    if found is None or not is_ours(replay, found):
        return None
    if name in before and _is_same(found, before[name]):
        return None
    resource = resource_of(replay.cluster, item)
    if kind_of(item) == _DEFINITION and _is_used(replay, found):
        change = {"metadata": {"labels": {RUN_LABEL: None}}}
        writing.patch(replay.cluster, resource, None, found["metadata"]["name"], change)
        replay.session.world.progress.note(f"{name} stays: others have made objects of it since")
        return None
    return resource, found


def _is_used(replay: Replay, definition: Json) -> bool:
    """Return whether there are objects of a definition, of whomever: those of this run have gone by now."""
    name = definition["metadata"]["name"]
    resource = next((each for each in replay.cluster.resources() if each.name == name), None)
    try:
        return resource is not None and any(replay.cluster.pages(resource, None))
    except Absent:  # it is going already
        return False
    except Forbidden:  # who may not look leaves it to those who may
        return True


def _removed(replay: Replay, objects: Iterable[tuple[Resource, Json]]) -> Iterator[str]:
    """Delete objects, all at once, and wait until they are gone."""
    asked = list(objects)
    for resource, found in asked:
        metadata = found["metadata"]
        where = metadata.get("namespace"), metadata["name"]
        writing.delete(replay.cluster, resource, *where, uid=metadata["uid"])
    for resource, found in asked:
        metadata = found["metadata"]
        where = metadata.get("namespace"), metadata["name"]
        ending = replay.session.world.ending
        writing.wait_until_gone(replay.cluster, resource, *where, deadline_s=_GONE_S, ending=ending)
        yield f"{resource.kind}/{metadata['name']}"


def _wait_for_volumes(replay: Replay) -> Sequence[str]:
    """Wait until the volumes of the claims that went are gone, too; return those that their class keeps."""
    deadline = Deadline(replay.session.world, _GONE_S)
    while True:
        claims = {
            each["metadata"]["uid"]
            for page in replay.cluster.pages(CLAIMS, replay.namespace)
            for each in page
        }
        left = [each for each in _volumes(replay) if part(each, "spec", "claimRef").get("uid") not in claims]
        going = [
            each for each in left if spec_of(each).get("persistentVolumeReclaimPolicy", "Retain") == "Delete"
        ]
        if not going or deadline.is_over():
            return sorted(each["metadata"]["name"] for each in left)
        deadline.wait()


def _volumes(replay: Replay) -> Iterator[Json]:
    """Yield the volumes that claims of this run had."""
    claims = {
        prepared.ref.name
        for prepared in replay.objects.values()
        if prepared.ref.kind == "PersistentVolumeClaim"
    }
    for page in replay.cluster.pages(VOLUMES, None):
        for each in page:
            claim = part(each, "spec", "claimRef")
            if claim.get("namespace") == replay.namespace and claim.get("name") in claims:
                yield each


def _put_back(replay: Replay, item: Json) -> str:
    """Make an object what it was before the run: in place where it is still the same one, else anew."""
    resource = resource_of(replay.cluster, item)
    namespace, name = item["metadata"].get("namespace"), item["metadata"]["name"]
    found = replay.cluster.get(resource, namespace, name)
    body = {key: value for key, value in item.items() if key != "status"}
    body["metadata"] = {key: value for key, value in item["metadata"].items() if key not in _OF_THE_SERVER}
    owners = item["metadata"].get("ownerReferences")
    if owners:  # one that was made anew has another uid
        body["metadata"]["ownerReferences"] = owners_now(replay, owners, namespace)[0]
    if found is None:
        replay.cluster.create(resource, namespace, body)
    elif is_ours(replay, found):
        body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        writing.replace(replay.cluster, resource, namespace, body)
    return named(item)
