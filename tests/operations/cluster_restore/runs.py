"""A run of a plan against an API server of the tests that keeps what is written."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drtool.operations.cluster_restore.replay import RUN_LABEL, Replay
from drtool.operations.session import Session, Silent, World
from drtool.recovery.journal import Entry, State
from drtool.recovery.steps import Step, label
from drtool.recovery.wishes import IfExists, Wishes
from drtool.sources.kubernetes.client import Cluster
from tests.recovery.stage import FACTS, changes_of, made, policy
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import Living

RUN = "run-1"
KINDS = {
    "": {
        "ConfigMap": "configmaps",
        "Event": "events",
        "PersistentVolumeClaim": "persistentvolumeclaims",
        "Pod": "pods",
        "Secret": "secrets",
        "Service": "services",
        "ServiceAccount": "serviceaccounts",
    },
    "apps": {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"},
    "batch": {"CronJob": "cronjobs", "Job": "jobs"},
    "networking.k8s.io": {"NetworkPolicy": "networkpolicies"},
    "shop.test": {"Cart": "carts"},
}
CLUSTER_KINDS = {
    "": {"Namespace": "namespaces", "PersistentVolume": "persistentvolumes"},
    "apiextensions.k8s.io": {"CustomResourceDefinition": "customresourcedefinitions"},
}


def at(kind: str) -> str:
    """Return the path of the collection of a kind, in namespace shop where it is of one."""
    for kinds, within in ((KINDS, "/namespaces/shop"), (CLUSTER_KINDS, "")):
        for group, plurals in kinds.items():
            if kind in plurals:
                return f"{f'/apis/{group}' if group else '/api'}/v1{within}/{plurals[kind]}"
    raise KeyError(kind)


def _answers() -> dict[str, Any]:
    groups = sorted({*KINDS, *CLUSTER_KINDS} - {""})
    version = {"version": "v1"}
    answers: dict[str, Any] = {
        "/version": {"gitVersion": "v1.34.4"},
        "/apis": {
            "groups": [{"name": each, "preferredVersion": version, "versions": [version]} for each in groups]
        },
    }
    for group in ("", *groups):
        answers[f"/apis/{group}/v1" if group else "/api/v1"] = {
            "resources": [
                {"name": plural, "kind": kind, "namespaced": kinds is KINDS, "verbs": ["list"]}
                for kinds in (KINDS, CLUSTER_KINDS)
                for kind, plural in kinds.get(group, {}).items()
            ]
        }
    return answers


@dataclass
class Kept:
    """A journal in memory."""

    kept: list[Entry] = field(default_factory=list)

    def write(self, step: str, state: State, detail: Json) -> None:
        entry = Entry(len(self.kept) + 1, datetime.now(UTC), step, state, json.loads(json.dumps(detail)))
        self.kept.append(entry)

    def entries(self) -> list[Entry]:
        return list(self.kept)


class Told(Silent):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Run:
    """A run, and the server that it works against."""

    api: Living
    replay: Replay
    told: Told

    def step(self, step: str) -> Step:
        return next(each for each in self.replay.plan.steps if each.id == step)

    def find(self, kind: str, name: str) -> Json:
        found = self.api.find(at(kind), name)
        assert found is not None, f"{kind} {name} is not there"
        return found

    def originals(self) -> list[str]:
        """Return the names of what was noted before it was changed."""
        noted = [each.detail for each in self.replay.journal.entries() if each.state == "noted"]
        return [each["original"]["metadata"]["name"] for each in noted]


@contextmanager
def run(
    folder: Path, objects: Sequence[Json], there: Sequence[Json] = (), if_exists: IfExists = "refuse"
) -> Iterator[Run]:
    """Give a run of a plan for objects that were captured. there comes to be once the plan is made."""
    paths = ["/api/v1/services"]  # of all namespaces
    paths += [at(kind) for kinds in (KINDS, CLUSTER_KINDS) for plurals in kinds.values() for kind in plurals]
    wishes, told = Wishes(if_exists=if_exists), Told()
    with Living({path: [] for path in paths}, _answers()) as api:
        api.page = 500
        for each in there:
            api.collections[at(each["kind"])].append(each)
        world = World(lambda: datetime.now(UTC), {}, told, threading.Event())
        session: Any = Session(policy(), "", None, world)  # type: ignore[arg-type]  # nothing reads it
        preparation, _ = changes_of(objects, wishes, FACTS, ())
        environment = {"KUBECONFIG": str(api.kubeconfig(folder))}
        with Cluster.open(None, environment, patience_s=3, ending=world.ending) as cluster:
            prepared = {label(each.ref): each for each in preparation.objects}
            plan = made(objects, wishes)
            yield Run(api, Replay(session, policy(), plan, RUN, cluster, prepared, Kept()), told)


def live(kind: str, name: str, **content: Any) -> Json:
    """Return an object that is in the target already."""
    group = next(
        group for kinds in (KINDS, CLUSTER_KINDS) for group, plurals in kinds.items() if kind in plurals
    )
    metadata = {
        "name": name,
        **({} if any(kind in each for each in CLUSTER_KINDS.values()) else {"namespace": "shop"}),
        "uid": f"uid-{name}",
        "resourceVersion": "5",
        "generation": 1,
        "creationTimestamp": "2026",
        **content.pop("metadata", {}),
    }
    return {"apiVersion": f"{group}/v1" if group else "v1", "kind": kind, "metadata": metadata, **content}


def is_marked(item: Json) -> bool:
    """Return whether an object bears the label of the run."""
    return bool((item["metadata"].get("labels") or {}).get(RUN_LABEL) == RUN)
