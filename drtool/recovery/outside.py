"""What lets outsiders in before all of an application has started and was probed, and cannot be held back. Pure."""

from collections.abc import Iterator, Sequence

from drtool.recovery.compare import Change
from drtool.recovery.manifests.hold import is_workload
from drtool.recovery.manifests.objects import containers_of, part, pod_template_of
from drtool.recovery.manifests.outward import leads_in
from drtool.recovery.manifests.prepare import Prepared


def outside_notes(objects: Sequence[Prepared], changes: Sequence[Change]) -> Iterator[str]:
    """Yield the workloads that listen on their nodes, and the Services that are there already and stay as they are."""
    actions = {change.ref: change.action for change in changes}
    for each in objects:
        action = actions.get(each.ref)
        if is_workload(*each.ref[:2]) and action not in ("keep", None) and _listens_on_nodes(each):
            yield f"{each.ref}: its pods listen on their nodes once they run, before all has started and was probed"
        if action in ("keep", "nothing") and leads_in(each.item):
            yield f"{each.ref}: it is there already, and leads in from outside before all has started and was probed"


def _listens_on_nodes(workload: Prepared) -> bool:
    if part(pod_template_of(workload.item), "spec").get("hostNetwork"):
        return True
    ports = (port for container in containers_of(workload.item) for port in container.get("ports") or [])
    return any(port.get("hostPort") for port in ports)
