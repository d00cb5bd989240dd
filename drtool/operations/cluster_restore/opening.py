"""Outsiders are let in: Services get their node ports, load balancers and external IPs once all behind them was probed.

They are changed in place, so that they keep the cluster IP by which those inside reach them.
"""

from drtool.operations.cluster_restore.apply import marked, put
from drtool.operations.cluster_restore.kinds import is_ours, live
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.plan_target import TargetLook
from drtool.recovery.manifests.objects import Json, spec_of
from drtool.recovery.manifests.ports import drop_taken_ports
from drtool.recovery.steps import Step


def open_services(replay: Replay, step: Step) -> Json:
    """Let outsiders in by the step's Services. Safe to run again.

    A node port that another Service has taken since the plan was made is not asked for, and that is told. Those that
    somebody chose come first, or the server might give one of them to another of these.
    """
    notes: list[str] = []
    objects = [replay.objects[each] for each in step.objects]
    look = TargetLook(replay.cluster, replay.plan.target.context, replay.namespace)
    taken = look.taken_ports([each.ref.name for each in objects])
    for each in sorted(objects, key=lambda each: not _chooses(each.item)):
        found = live(replay, each.item)
        if found is not None and not is_ours(replay, found):  # it came from elsewhere, and was left as it is
            continue
        item = marked(replay, each.item)
        notes += [f"{each.ref}: {said}" for said in drop_taken_ports(item, taken)]
        put(replay, item)
    return {"objects": len(objects), "notes": notes}


def _chooses(service: Json) -> bool:
    spec = spec_of(service)
    return any("nodePort" in each for each in spec.get("ports") or []) or "healthCheckNodePort" in spec
