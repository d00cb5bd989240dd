"""What uses claims that are switched, and is not stopped for it: what came to be since the plan was made. Pure."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from drtool.recovery.in_place import runs, stops_pods, uses
from drtool.recovery.makers import pod_refusals
from drtool.recovery.manifests.objects import Json, kind_of, part, ref_of
from drtool.recovery.refusal import Refusal
from drtool.recovery.steps import label

_POD: Final = ("", "Pod")
_HINT: Final = "Stop it and resume; or undo this run, and plan again: then it is stopped, too."


def unstopped(objects: Sequence[Json], claims: Collection[str], names: Collection[str]) -> Iterator[Refusal]:
    """Yield what of objects uses claims and is not in names; and the pods on claims that nothing of these makes.

    Pods that are being deleted are let go: whoever stops the rest waits for them, too.
    """
    users = [
        ref_of(each)
        for each in objects
        if stops_pods(each) and runs(each) and any(uses(each, claim) for claim in claims)
    ]
    for ref in sorted(users):
        if label(ref) not in names:
            yield Refusal(
                str(ref), "uses a claim that is switched, and did not when the plan was made", _HINT
            )
    known = [ref_of(each) for each in objects if label(ref_of(each)) in names]
    staying = [
        each for each in objects if kind_of(each) != _POD or "deletionTimestamp" not in each["metadata"]
    ]
    yield from pod_refusals(staying, claims, {*users, *known})


def scaled_by(item: Json) -> str:
    """Return who said last how many pods a workload has, or that a CronJob runs; empty where that is not told."""
    fields = {"f:replicas", "f:suspend"}
    managers = item["metadata"].get("managedFields") or []
    found = [each for each in managers if fields & part(each, "fieldsV1", "f:spec").keys()]
    return str(max(found, key=lambda each: str(each.get("time", "")))["manager"]) if found else ""
