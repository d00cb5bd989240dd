"""What runs, held against what was captured, where the team's own deployment took the place of the manifests.

What is applied last of all is held against it as it will be.
"""

from collections.abc import Iterator

from drtool.operations.cluster_restore.kinds import live
from drtool.operations.cluster_restore.replay import Replay
from drtool.recovery.compare import compare
from drtool.recovery.deploy import differing, of_deployment
from drtool.recovery.steps import Step, label
from drtool.sources.base import Json


def compare_deployment(replay: Replay, _step: Step) -> Json:
    """Return a note for each object that was captured and is not deployed, the other way round, or differs."""
    return {"notes": sorted(_differences(replay))}


def _differences(replay: Replay) -> Iterator[str]:
    coming = {name for step in replay.plan.steps if step.id not in replay.results for name in step.objects}
    for name, each in replay.captured.items():
        found = replay.objects[name].item if name in coming else live(replay, each.item)
        if found is None:
            yield f"{name}: was captured, and is not deployed"
            continue
        change = compare(each, found, "keep")
        if change.state == "changed":
            yield f"{name}: differs from what was captured: {differing(change.before, change.after)}"
    for each in of_deployment(replay.objects.values()):
        if label(each.ref) not in replay.captured:
            yield f"{label(each.ref)}: is deployed, and was not captured"
