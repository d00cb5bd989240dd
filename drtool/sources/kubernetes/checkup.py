"""How a namespace stands: what the policy names in it, and drtool's own objects, each with why it does not work.

Every look is guarded by itself: a user who may not see one kind is told of the others.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Final

from drtool.sources.base import Json, Symptom
from drtool.sources.kubernetes.client import Cluster, Resource
from drtool.sources.kubernetes.faults import Forbidden
from drtool.sources.kubernetes.known import (
    CLAIMS,
    CRON_JOBS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    VOLUMES,
)
from drtool.sources.kubernetes.pod_faults import is_outdone, is_overdue, is_pending, job_of, pod_fault

SHELL: Final = "shell"

Found = Iterator[tuple[str, Symptom]]  # about which object, what


@dataclass(frozen=True)
class Wanted:
    """What there should be: Secrets with their keys, claims, and drtool's own CronJobs and Deployments by name."""

    secrets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    claims: Sequence[str] = ()
    cron_jobs: Sequence[str] = ()
    deployments: Sequence[str] = ()


def kubectl(context: str | None, namespace: str = "") -> str:
    """Return how a statement begins that reaches the same place as we do."""
    options = {"context": context, "namespace": namespace}
    return " ".join(["kubectl", *(f"--{name}={shlex.quote(said)}" for name, said in options.items() if said)])


class Checkup:
    """One look at a namespace, through the API alone, at the moment now. context is what reached the cluster."""

    def __init__(
        self, cluster: Cluster, namespace: str, wanted: Wanted, now: datetime, context: str | None = None
    ) -> None:
        self._cluster, self._namespace, self._wanted, self._now = cluster, namespace, wanted, now
        self._anywhere = kubectl(context)
        self._kubectl = kubectl(context, namespace)

    def __iter__(self) -> Found:
        """Yield what was found. Raises what the API raises where it cannot be reached at all."""
        yield "", Symptom("ok", f"Kubernetes {self._cluster.version()} answers at {self._cluster.where}")
        try:
            there = self._cluster.get(NAMESPACES, None, self._namespace)
        except Forbidden:
            there = {}  # who lives in a namespace need not be allowed to look at it from outside
        if there is None:
            mend = (f"{self._anywhere} create namespace {self._namespace}",)
            hint = "Look whether this is the right cluster, first."
            said = f"there is no namespace {self._namespace}"
            yield self._namespace, Symptom("error", said, hint, mend, SHELL)
            return
        for kind, names, look in (
            ("Secret", list(self._wanted.secrets), self._secret),
            ("claim", self._wanted.claims, self._claim),
            ("CronJob", self._wanted.cron_jobs, self._cron_job),
            ("Deployment", self._wanted.deployments, self._deployment),
        ):
            for name in names:
                yield from self._guarded(f"{kind} {name}", look(name))
        yield from self._guarded("pods", self._pods())

    def _guarded(self, about: str, found: Iterator[Symptom]) -> Found:
        try:
            for symptom in found:
                yield about, symptom
        except Forbidden as fault:
            yield about, Symptom("warning", fault.message, fault.hint)

    def _secret(self, name: str) -> Iterator[Symptom]:
        secret = self._cluster.get(SECRETS, self._namespace, name)
        held = (secret or {}).get("data") or {}
        for key in self._wanted.secrets[name]:
            if not held.get(key):
                said = (
                    f"Secret {name} has no key {key}"
                    if secret
                    else f"there is no Secret {name}, for its key {key}"
                )
                hint = "Type the value, or give it by a pipe; then end the input."
                yield Symptom("error", said, hint, (self._put_key(name, key),), SHELL)
        if secret and all(held.get(key) for key in self._wanted.secrets[name]):
            yield Symptom("ok", f"Secret {name} has {', '.join(self._wanted.secrets[name])}")

    def _put_key(self, name: str, key: str) -> str:
        """Return what adds a key and leaves the others. Its value comes by standard input: no argument has it."""
        made = f"{self._kubectl} create secret generic {name} --from-file={key}=/dev/stdin"
        manager = f"drtool-{key}"  # of its own, for else it would take away the key that was put before
        return (
            f"{made} --dry-run=client --output=yaml | "
            f"{self._anywhere} apply --server-side --field-manager={manager} --filename=-"
        )

    def _claim(self, name: str) -> Iterator[Symptom]:
        claim = self._cluster.get(CLAIMS, self._namespace, name)
        if claim is None:
            yield Symptom("error", f"there is no claim {name}", "Look at the volume's claim in the policy.")
            return
        phase = claim["status"].get("phase")
        if phase == "Bound":
            yield self._bound(name, claim)
        elif phase == "Lost":
            said = f"claim {name} has lost its volume: the PersistentVolume is gone"
            yield Symptom("error", said, "Restore the volume, or make the claim anew.")
        else:
            events = self._events_of("PersistentVolumeClaim", claim)
            waits = any(event.get("reason") == "WaitForFirstConsumer" for event in events)
            why = (
                "no pod has used it yet"
                if waits
                else _message(events[-1] if events else None) or "no volume fits it"
            )
            yield Symptom(
                "warning" if waits else "error",
                f"claim {name} is {str(phase).lower()}, not bound: {why}",
                "Start what uses it."
                if waits
                else "Look at its StorageClass, and at what provisions its volumes.",
            )

    def _bound(self, name: str, claim: Json) -> Symptom:
        modes = claim["spec"].get("accessModes") or []
        if modes == ["ReadWriteOncePod"]:
            said = f"claim {name} is ReadWriteOncePod: no pod of drtool can mount it beside the application's"
            return Symptom("error", said, "Use ReadWriteOnce, or a volume snapshot.")
        try:
            lost = self._lost_nodes(claim["spec"]["volumeName"])
        except Forbidden:
            lost = []
        if lost:
            said = f"claim {name} can be mounted on {', '.join(lost)} only, which is not there or not ready"
            return Symptom("error", said, "Bring the node back, or restore the volume from its last backup.")
        return Symptom("ok", f"claim {name} is bound")

    def _lost_nodes(self, volume: str) -> list[str]:
        """Return the nodes to which volume is tied, if none of them is ready."""
        found = self._cluster.get(VOLUMES, None, volume) or {}
        terms = (((found.get("spec") or {}).get("nodeAffinity") or {}).get("required") or {}).get(
            "nodeSelectorTerms"
        ) or []
        hosts = [
            value
            for term in terms
            for each in term.get("matchExpressions") or []
            if each["key"] == "kubernetes.io/hostname" and each["operator"] == "In"
            for value in each["values"]
        ]
        nodes = [self._cluster.get(NODES, None, host) for host in hosts]
        return [] if any(node and _is_ready(node) for node in nodes) else hosts

    def _cron_job(self, name: str) -> Iterator[Symptom]:
        job = self._cluster.get(CRON_JOBS, self._namespace, name)
        if job is None:
            said = f"there is no CronJob {name}: nobody backs this volume up by itself"
            yield Symptom("error", said, "`drtool render` writes it; apply that.")
            return
        status = job.get("status") or {}
        scheduled, succeeded = status.get("lastScheduleTime"), status.get("lastSuccessfulTime")
        active = [str(each["name"]) for each in status.get("active") or []]
        said = f"last begun {scheduled or 'never'}, last ended well {succeeded or 'never'}"
        if job["spec"].get("suspend"):
            resume = f"""{self._kubectl} patch cronjob {name} --patch='{{"spec":{{"suspend":false}}}}'"""
            yield Symptom(
                "error", f"CronJob {name} is suspended; {said}", "Let it run again.", (resume,), SHELL
            )
        logs = f"`{self._kubectl} logs --selector=job-name --prefix` says why."
        refused = self._refused_pod("Job", name, succeeded or "")
        if refused:
            refusal = _message(refused)
            fault = Symptom("error", f"CronJob {name} gets no pod: {refusal}", _admission_hint(refusal))
            yield self._freeing(fault, refused["involvedObject"]["name"])
        elif scheduled and (succeeded or "") < scheduled and not active:
            yield Symptom("warning", f"CronJob {name} failed the last time; {said}", logs)
        elif active and not succeeded:
            running = f"CronJob {name} has never ended well; Job {', '.join(active)} is under way"
            yield Symptom("warning", running, f"Look again when it has ended. If it fails, {logs}")
        elif not job["spec"].get("suspend"):
            yield Symptom("ok", f"CronJob {name}: {said}")

    def _freeing(self, fault: Symptom, job: str) -> Symptom:
        """Return the fault of a Job that may never begin its work with what lets the next Job of its volume begin."""
        hint = f"{fault.hint} Until Job {job} has ended, no other run of its volume begins."
        return replace(
            fault, hint=hint, mend=(f"{self._kubectl} delete job {job}",), where=f"{SHELL}, once it is mended"
        )

    def _deployment(self, name: str) -> Iterator[Symptom]:
        found = self._cluster.get(DEPLOYMENTS, self._namespace, name)
        if found is None:
            said = f"there is no Deployment {name}: WAL is not followed by itself"
            yield Symptom("error", said, "`drtool render` writes it; apply that.")
        elif not found["spec"].get("replicas"):
            start = f"{self._kubectl} scale deployment {name} --replicas=1"
            yield Symptom("error", f"Deployment {name} is scaled to 0", "Start it.", (start,), SHELL)
        elif not (found.get("status") or {}).get("availableReplicas"):
            refusal = _message(self._refused_pod("ReplicaSet", name, ""))
            why = f": {refusal}" if refusal else "; what its pods lack is said below"
            yield Symptom("error", f"Deployment {name} has no pod that works{why}", _admission_hint(refusal))
        else:
            yield Symptom("ok", f"Deployment {name} works")

    def _refused_pod(self, kind: str, owner: str, since: str) -> Json | None:
        """Return the last Event since which a pod was not let into the cluster, of what a controller made for owner.

        That has the name of its owner and one word more: of volume a, nothing of volume a-b.
        """
        events = [
            event
            for event in self._events
            if event["involvedObject"].get("kind") == kind
            and str(event["involvedObject"].get("name")).rpartition("-")[0] == owner
            and event.get("reason") == "FailedCreate"
            and _time(event) > since
        ]
        return events[-1] if events else None

    def _pods(self) -> Iterator[Symptom]:
        label = "app.kubernetes.io/part-of"
        ours = [
            pod for pod in self._all(PODS) if (pod["metadata"].get("labels") or {}).get(label) == "drtool"
        ]
        for pod in ours:
            fault = self._unending(pod) or pod_fault(pod, self._events_of("Pod", pod))
            if fault is not None and not is_outdone(pod, ours):
                job = job_of(pod)
                yield self._freeing(fault, job) if job and not fault.mend and is_pending(pod) else fault

    def _unending(self, pod: Json) -> Symptom | None:
        """Return what holds up the other runs of a volume once the node of one has died."""
        if not job_of(pod) or not is_overdue(pod, self._now):
            return None
        name, node = pod["metadata"]["name"], pod["spec"].get("nodeName")
        return Symptom(
            "error",
            f"pod {name} was to end and did not, for its node {node} does not answer: "
            "no other run of its volume begins before it has",
            f"Bring {node} back, or delete it from the cluster. To end the pod by force is right only when "
            f"{node} is really off: else two runs work at once.",
            (f"{self._kubectl} delete pod {name} --force --grace-period=0",),
            f"{SHELL}, only when {node} is really off",
        )

    def _events_of(self, kind: str, item: Json) -> list[Json]:
        """Return the Events of an object itself, oldest first: none of an earlier one of its name."""
        mine = {"kind": kind, "name": item["metadata"]["name"], "uid": item["metadata"]["uid"]}
        return [each for each in self._events if mine.items() <= each["involvedObject"].items()]

    @cached_property
    def _events(self) -> list[Json]:
        try:
            return sorted(self._all(EVENTS), key=_time)
        except Forbidden:
            return []  # they only make plainer what the objects say

    def _all(self, resource: Resource) -> list[Json]:
        return [item for page in self._cluster.pages(resource, self._namespace) for item in page]


def _time(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _message(event: Json | None) -> str:
    return " ".join(str((event or {}).get("message", "")).split())


def _is_ready(node: Json) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _admission_hint(refusal: str) -> str:
    if "exceeded quota" in refusal:
        return "Raise the namespace's ResourceQuota, or make room in it."
    if "PodSecurity" in refusal:
        return "The namespace enforces Pod Security: pod_security of the volume says what its pods need."
    if "serviceaccount" in refusal:
        return "Apply all that `drtool render` wrote: a ServiceAccount is missing."
    return "Look at what the message names."
