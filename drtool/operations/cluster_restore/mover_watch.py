"""The pods of a mover, watched: what they say, what keeps them from their work, how they ended."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from drtool.deploy.names import VOLUME_LABEL
from drtool.deploy.pods import CONTAINER
from drtool.errors import DrtoolError, NotProven, Refused, TemporaryFailure
from drtool.operations.mover_progress import from_line
from drtool.operations.session import World
from drtool.sources.base import Json, Symptom
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.known import EVENTS, JOBS, PODS
from drtool.sources.kubernetes.pod_faults import pod_fault

_PAUSE_S: Final = 1.0
_STUCK_S: Final = 300.0  # an image that is large, a volume that is attached elsewhere
_ASKED_S: Final = 900.0
_LINES: Final = 20
_ENDS: Final = {4: NotProven, 5: Refused}


class WordLost(TemporaryFailure):
    """A mover ended well, and what it said is nowhere any more."""


@dataclass(slots=True)
class Watch:
    """One mover, by its Job and the labels of its pods."""

    cluster: Cluster
    namespace: str
    job: str
    labels: Mapping[str, str]
    world: World
    _said: str = ""
    _counted: tuple[str, int] = ("", 0)  # the bytes that are shown, and of which pod
    _stuck: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """Show what the newest pod says, then wait a moment.

        Raises TemporaryFailure for one that does not start, or whose node says nothing, for long.
        """
        pods = self._pods()
        if not pods:
            self._check_made()
        else:
            self._stuck.pop(self.job, None)
            self._check_start(pods[-1])
            self._show(pods[-1])
        self._pause()

    def _show(self, pod: Json) -> None:
        """Show what a pod says. Raises TemporaryFailure where its kubelet could not be asked for long."""
        silence = f"log of {pod['metadata']['name']}"
        try:
            lines = self._log(pod, 1, patience_s=0).splitlines()
        except TemporaryFailure:
            if silence in self._stuck:  # the API server itself has answered since
                self._bear(silence, self._silent(pod))
            else:
                self._stuck[silence] = time.monotonic()
            return
        self._stuck.pop(silence, None)
        if lines:
            self._tell(pod["metadata"]["name"], lines[-1])

    def _tell(self, pod: str, line: str) -> None:
        """Show what the line of a pod says: what it does, and the bytes that came since it was last asked."""
        moved = from_line(line)
        if moved is None and line.startswith("{"):  # its result, which is for us
            return
        doing = line if moved is None else moved.doing
        if doing != self._said:
            self._said = doing
            self.world.progress.phase(doing)
        if moved is not None:
            counted = self._counted[1] if self._counted[0] == pod else 0
            if self._counted[0] != pod:  # one that was killed: the next begins anew
                self.world.progress.advance(-self._counted[1])
            self.world.progress.advance(moved.size - counted)
            self._counted = (pod, moved.size)

    def count_all(self, size: int) -> None:
        """Show that all of size is done: nobody asks a mover that has ended for its last bytes."""
        pod, counted = self._counted
        if size > counted:
            self.world.progress.advance(size - counted)
            self._counted = (pod, size)

    def result(self) -> Json:
        """Return the result that the pod that ended well printed last. Raises WordLost where it is."""
        for pod in reversed(self._pods()):
            if pod["status"].get("phase") == "Succeeded":
                for line in reversed(self._log(pod, _LINES).splitlines()):
                    if line.startswith('{"restore"'):
                        found: Json = json.loads(line)["restore"]
                        return found
        raise WordLost("the mover ended well, and its log is gone", hint="Run it again with --resume.")

    def failure(self, about: str) -> DrtoolError:
        """Return the error that the newest pod ended with."""
        code, word = 1, "no pod of it is left to tell why"
        for pod in self._pods():
            for status in (pod.get("status") or {}).get("containerStatuses") or []:
                ended = (status.get("state") or {}).get("terminated") or {}
                if status["name"] == CONTAINER and ended:
                    code = ended["exitCode"]
                    word = ended.get("message") or _silent_end(pod, code)
                    break
            else:
                if fault := pod_fault(pod, []):  # as of one that its node put out
                    code, word = 1, fault.message
        kind = _ENDS.get(code, DrtoolError)
        message, _, hint = word.removeprefix("error: ").partition("; hint: ")
        return kind(f"the mover of volume {about} failed: {message}", hint=hint)

    def last_word(self, name: str, doing: str) -> str:
        """Return the termination message of a pod of one container. Raises Refused or TemporaryFailure without."""
        end = time.monotonic() + _ASKED_S
        while True:
            pod = self.cluster.get(PODS, self.namespace, name)
            if pod is None:
                raise TemporaryFailure(
                    f"{doing}: its pod was deleted by somebody", hint="Resume: it runs again."
                )
            statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
            ended = (statuses[0].get("state") or {}).get("terminated")
            if ended and ended["exitCode"] == 0 and ended.get("message"):
                return str(ended["message"])
            if ended:
                raise Refused(
                    f"{doing}: it ended with {ended['exitCode']}",
                    hint="The image has to have sh and id; recover with --to-dir and its own programs elsewhere.",
                )
            self._check_start(pod)
            if time.monotonic() > end:
                raise TemporaryFailure(
                    f"{doing}: pod {name} did not end in {_ASKED_S:g} s",
                    hint=f"`kubectl --namespace {self.namespace} describe pod {name}` says why; delete it, and resume.",
                )
            self._pause()

    def _check_made(self) -> None:
        """Look why the Job has no pod: a quota, or whoever admits pods, may let none in.

        A quota may let movers in one after the other: those at work are waited for.
        """
        job = self.cluster.get(JOBS, self.namespace, self.job)
        events = self._events(job) if job is not None else []
        said = [each["message"] for each in events if each.get("reason") == "FailedCreate"]
        others = {key: value for key, value in self.labels.items() if key != VOLUME_LABEL}
        if any((each.get("status") or {}).get("phase") == "Running" for each in self._pods(others)):
            self._stuck.pop(self.job, None)
        why = f"Job {self.job} gets no pod: {said[-1] if said else 'its controller says no reason'}"
        self._bear(
            self.job,
            Symptom("error", why, "Mend what keeps it from one, then resume."),
            is_told=bool(said),
        )

    def _check_start(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        pending = (pod.get("status") or {}).get("phase") == "Pending"
        fault = pod_fault(pod, self._events(pod) if pending else [])
        if fault is None or not pending:
            self._stuck.pop(name, None)
            return
        self._bear(name, fault)

    def _silent(self, pod: Json) -> Symptom:
        name, node = pod["metadata"]["name"], (pod.get("spec") or {}).get("nodeName", "")
        return Symptom(
            "error",
            f"pod {name} is on node {node}, which says nothing",
            "Bring the node back. If it is lost for good, delete the pod, which makes room for another one: "
            f"`kubectl --namespace {self.namespace} delete pod {name} --force`; then resume.",
        )

    def _bear(self, name: str, fault: Symptom, *, is_told: bool = True) -> None:
        """Tell a fault once, and bear it for a while. Raises TemporaryFailure once it has lasted."""
        since = self._stuck.setdefault(name, time.monotonic())
        if time.monotonic() - since > _STUCK_S:
            raise TemporaryFailure(fault.message, hint=fault.hint)
        if is_told and fault.message != self._said:
            self._said = fault.message
            self.world.progress.note(fault.message)

    def _events(self, item: Json) -> list[Json]:
        """Return the Events of an object itself, none of an earlier one of its name: those outlive it by an hour."""
        wanted = {key: item["metadata"][key] for key in ("name", "uid")}
        selector = ",".join(f"involvedObject.{key}={value}" for key, value in wanted.items())
        query = urlencode({"fieldSelector": selector})
        found = self.cluster.ask("GET", f"{EVENTS.path(self.namespace)}?{query}", "list events")
        return list(found.get("items") or [])

    def _pods(self, labels: Mapping[str, str] | None = None) -> list[Json]:
        """Return the pods with labels, those of the Job if none are said, oldest first."""
        asked = (labels or self.labels).items()
        query = urlencode({"labelSelector": ",".join(f"{key}={value}" for key, value in asked)})
        found = self.cluster.ask("GET", f"{PODS.path(self.namespace)}?{query}", "list the mover's pods")
        pods: list[Json] = [
            each for each in found.get("items", []) if not each["metadata"]["name"].endswith("-ask")
        ]
        return sorted(pods, key=lambda each: str(each["metadata"]["creationTimestamp"]))

    def _log(self, pod: Json, lines: int, *, patience_s: float | None = None) -> str:
        query = urlencode({"container": CONTAINER, "tailLines": lines})
        name = pod["metadata"]["name"]
        where = f"{PODS.path(self.namespace, name)}/log?{query}"
        return self.cluster.text(where, f"read the log of {name}", patience_s=patience_s)

    def _pause(self) -> None:
        if self.world.ending.wait(_PAUSE_S):
            raise TemporaryFailure(
                "the movers are at work, and nobody waits for them", hint="Go on with --resume."
            )


def _silent_end(pod: Json, code: int) -> str:
    """Return how a mover ended that had no time to say so."""
    fault = pod_fault(pod, [])
    return f"{fault.message}; hint: {fault.hint}" if fault else f"it ended with {code}, and said nothing"
