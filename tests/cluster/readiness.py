"""Whether what a namespace holds has come up, and if not, why: what a person would look up with `kubectl describe`."""

from collections.abc import Iterator
from typing import Any

from kubernetes.client import ApiClient, ApiException, AppsV1Api, BatchV1Api, CoreV1Api

from tests.cluster.process import LabFailed, wait_until

LOG_LINES = 5  # of a container that is not ready


def wait_until_ready(api: ApiClient, namespace: str, *, deadline_s: float) -> None:
    """Return once every workload of namespace has all its pods ready, and every Job but a CronJob's has ended well.

    Raises LabFailed, naming what is not ready and why, after deadline_s.
    """
    try:
        wait_until(lambda: not any(unready(api, namespace)), f"{namespace} is ready", deadline_s=deadline_s)
    except LabFailed as cause:
        found = [*unready(api, namespace), *reasons(api, namespace)]
        raise LabFailed("\n  ".join([str(cause), *found]), hint=cause.hint) from cause


def unready(api: ApiClient, namespace: str) -> Iterator[str]:
    """Yield each workload of namespace that is not as its spec wants it, as "deployment nginx: 1 of 3 ready".

    What a CronJob began is not waited for: it begins the next by itself.
    """
    apps: Any = AppsV1Api(api)
    for kind, workloads in (
        ("deployment", apps.list_namespaced_deployment(namespace)),
        ("statefulset", apps.list_namespaced_stateful_set(namespace)),
    ):
        for each in workloads.items:
            ready, wanted = each.status.ready_replicas or 0, each.spec.replicas
            yield from _unless_ready(kind, each, ready, wanted, each.status.updated_replicas or 0)
    for each in apps.list_namespaced_daemon_set(namespace).items:
        status = each.status
        ready, wanted = status.number_ready, max(status.desired_number_scheduled, 1)
        yield from _unless_ready("daemonset", each, ready, wanted, status.updated_number_scheduled or 0)
    batch: Any = BatchV1Api(api)
    for each in batch.list_namespaced_job(namespace).items:
        if not each.status.succeeded and not each.metadata.owner_references:
            yield f"job {each.metadata.name}: not done"


def _unless_ready(kind: str, workload: Any, ready: int, wanted: int, updated: int) -> Iterator[str]:
    is_seen = workload.status.observed_generation == workload.metadata.generation
    if not is_seen or ready != wanted or updated < wanted:
        yield f"{kind} {workload.metadata.name}: {ready} of {wanted} ready"


def reasons(api: ApiClient, namespace: str) -> Iterator[str]:
    """Yield why pods are not ready and claims are not bound, one line each."""
    core: Any = CoreV1Api(api)
    for claim in core.list_namespaced_persistent_volume_claim(namespace).items:
        if claim.status.phase != "Bound":
            yield f"claim {claim.metadata.name}: {claim.status.phase}"
    for pod in core.list_namespaced_pod(namespace).items:
        if pod.status.phase != "Succeeded":
            yield from (f"pod {pod.metadata.name}: {reason}" for reason in _pod_reasons(core, pod))
    for event in core.list_namespaced_event(namespace, field_selector="type=Warning").items:
        yield f"event {event.involved_object.kind} {event.involved_object.name}: {event.message}"


def _pod_reasons(core: Any, pod: Any) -> Iterator[str]:
    for condition in pod.status.conditions or ():
        if condition.status != "True" and condition.message:
            yield f"{condition.type} is {condition.status}: {condition.message}"
    for container in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        if waiting := container.state.waiting:
            yield f"{container.name} waits: {waiting.reason} {waiting.message or ''}".rstrip()
        if ended := container.last_state.terminated:
            yield f"{container.name} ended before: {ended.reason}, exit code {ended.exit_code}"
        if container.state.running and not container.ready:
            yield f"{container.name} said last: {_last_words(core, pod, container.name)}"


def _last_words(core: Any, pod: Any, container: str) -> str:
    try:
        said = core.read_namespaced_pod_log(
            pod.metadata.name, pod.metadata.namespace, container=container, tail_lines=LOG_LINES
        )
    except ApiException as cause:
        return f"its log cannot be read: {cause.reason}"
    return str(said).strip() or "nothing"
