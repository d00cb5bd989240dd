"""Objects into the target, as they wait for their data; and their owners, once these have their new uids.

What is there already is journaled whole before it is changed or deleted. What a run made bears its label, so that it
is found even where the run was killed before it could write it down.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Final

from drtool.errors import Refused, TemporaryFailure
from drtool.operations.cluster_restore.kinds import is_ours, live, named, resource_of
from drtool.operations.cluster_restore.replay import MANAGER, RUN_LABEL, Replay
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.recovery.compare import compare
from drtool.recovery.manifests.hold import hold
from drtool.recovery.manifests.objects import Json, part
from drtool.recovery.manifests.outward import hold_inside
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.steps import Step
from drtool.sources.kubernetes import writing
from drtool.sources.kubernetes.faults import Forbidden

ORIGINAL: Final = "original"  # in what a step notes: an object as it was before
_AT_ONCE: Final = 4
_DEFINITION: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_ESTABLISHED_S: Final = 60.0
_GONE_S: Final = 120.0
_SETTLED_S: Final = 60.0
# What the API server says while a new namespace lacks something: a quota is not counted, an account not made yet.
_SETTLING: Final = ("status unknown for quota", "error looking up service account")


def apply_objects(replay: Replay, step: Step) -> Json:
    """Apply the objects of a step as they wait. Safe to run again: what is so already stays so.

    Raises what the API server refuses, Refused for what came to be since the plan was made and may not be changed,
    and TemporaryFailure for what does not get ready within its limit.
    """
    noted = originals(replay)
    objects = [replay.objects[each] for each in step.objects]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for applied in [pool.submit(_apply, replay, step, each, noted) for each in objects]:
            applied.result()
    definitions = [each for each in objects if each.ref[:2] == _DEFINITION]
    if definitions:
        for each in definitions:
            _wait_until_established(replay, each)
        replay.cluster.forget_kinds()
    return {"objects": len(objects)}


def originals(replay: Replay) -> dict[str, Json]:
    """Return the objects that were there before this run changed them, by the names that steps have."""
    return {
        named(entry.detail[ORIGINAL]): entry.detail[ORIGINAL]
        for entry in replay.journal.entries()
        if entry.state == "noted" and ORIGINAL in entry.detail
    }


def marked(replay: Replay, item: Json) -> Json:
    """Return a copy of item with the label of this run."""
    copy = deepcopy(item)
    copy["metadata"].setdefault("labels", {})[RUN_LABEL] = replay.run
    return copy


def _apply(replay: Replay, step: Step, prepared: Prepared, noted: dict[str, Json]) -> None:
    name, item = named(prepared.item), prepared.item
    found = live(replay, item)
    if found is not None and not is_ours(replay, found):
        is_replaced = name in step.replaced
        if name not in noted:
            action = compare(prepared, found, replay.plan.wishes.if_exists).action
            if action == "refuse":
                raise Refused(
                    f"{prepared.ref} came to be since the plan was made, and differs",
                    hint="See who made it. Once it is gone, resume the run.",
                )
            if action in ("keep", "nothing"):
                return
            is_replaced = is_replaced or action == "replace"
            replay.journal.write(step.id, "noted", {ORIGINAL: _typed(found, item)})
        if is_replaced:
            remove(replay, item, uid=found["metadata"]["uid"])
    waiting = hold(marked(replay, item))
    is_opened = any(step.kind == "open" and name in step.objects for step in replay.plan.steps)
    put(replay, hold_inside(waiting) if is_opened else waiting)


def _typed(found: Json, item: Json) -> Json:
    """Return an object of the target, saying what it is."""
    return {**found, "apiVersion": item["apiVersion"], "kind": item["kind"]}


def put_namespace(replay: Replay) -> None:
    """Make the namespace, bare, if it is not there: what tells others to stay away lies in it."""
    item: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": replay.namespace}}
    if live(replay, item) is None:
        put(replay, marked(replay, item))


def put(replay: Replay, item: Json) -> None:
    """Apply item; wait a while for what a new namespace lacks at first."""
    deadline = Deadline(replay.session.world, _SETTLED_S)
    resource = resource_of(replay.cluster, item)
    while True:
        try:
            writing.apply(replay.cluster, resource, item, MANAGER, force=True)
        except Forbidden as fault:
            if not any(each in fault.message for each in _SETTLING) or deadline.is_over():
                raise
            deadline.wait()
        else:
            return


def remove(replay: Replay, item: Json, uid: str = "") -> None:
    """Delete an object, without what it owns, and wait until it is gone."""
    resource, metadata = resource_of(replay.cluster, item), item["metadata"]
    where = metadata.get("namespace"), metadata["name"]
    writing.delete(replay.cluster, resource, *where, propagation="Orphan", uid=uid)
    writing.wait_until_gone(
        replay.cluster, resource, *where, deadline_s=_GONE_S, ending=replay.session.world.ending
    )


def link_owners(replay: Replay, step: Step) -> Json:
    """Name the owners of the step's objects, by the uids that they have in the target; others they keep.

    An owner that is not there is left out, and told: whoever names it by a uid has its garbage collected.
    """
    notes: list[str] = []
    for each in step.objects:
        prepared = replay.objects[each]
        found = live(replay, prepared.item)
        if found is None or not is_ours(replay, found):  # it came from elsewhere, and was left as it is
            continue
        namespace, name = found["metadata"].get("namespace"), found["metadata"]["name"]
        owners, missing = owners_now(replay, prepared.owners, namespace)
        notes += [
            f"{prepared.ref}: its owner {owner['kind']} {owner['name']} is not there" for owner in missing
        ]
        uids = {owner["uid"] for owner in owners}
        others = [each for each in found["metadata"].get("ownerReferences") or [] if each["uid"] not in uids]
        version = found["metadata"]["resourceVersion"]  # nobody else's owner is lost
        change = {"metadata": {"ownerReferences": [*others, *owners], "resourceVersion": version}}
        writing.patch(replay.cluster, resource_of(replay.cluster, prepared.item), namespace, name, change)
    return {"objects": len(step.objects), "notes": notes}


def owners_now(
    replay: Replay, owners: Sequence[Json], namespace: str | None
) -> tuple[list[Json], list[Json]]:
    """Return owners of namespace, or of the cluster, with the uids that they have now; and those that are not there."""
    there: list[Json] = []
    missing: list[Json] = []
    for owner in owners:
        metadata = {"name": owner["name"], **({"namespace": namespace} if namespace else {})}
        found = live(replay, {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "metadata": metadata})
        if found is None:
            missing.append(owner)
        else:
            there.append({**owner, "uid": found["metadata"]["uid"]})
    return there, missing


def _wait_until_established(replay: Replay, definition: Prepared) -> None:
    deadline = Deadline(replay.session.world, _ESTABLISHED_S)
    while not _is_established(live(replay, definition.item) or {}):
        if deadline.is_over():
            raise TemporaryFailure(
                f"{definition.ref} is not established after {_ESTABLISHED_S:g} s",
                hint=f"`kubectl describe crd {definition.ref.name}` says why; then resume the run.",
            )
        deadline.wait()


def _is_established(found: Json) -> bool:
    conditions: Sequence[Json] = part(found, "status").get("conditions") or []
    true = {each["type"] for each in conditions if each["status"] == "True"}
    return {"Established", "NamesAccepted"} <= true
