"""Movers on a real cluster: tiny is lost; its volumes come back into new claims, one of them after a mover's death."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from drtool.errors import Refused
from drtool.operations.cluster_restore.apply import apply_objects
from drtool.operations.cluster_restore.movers import prove_volume, restore_volume
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.start import start_tier
from drtool.operations.plan import plan_for
from drtool.operations.session import KeyFiles, Session, Silent, World, open_session
from drtool.recovery.journal import Entry, State
from drtool.recovery.steps import Step
from drtool.recovery.wishes import Wishes
from drtool.sources.kubernetes.client import Cluster as Api
from tests.cluster.cluster import LabCluster
from tests.cluster.lab import Lab
from tests.cluster.observe import execute
from tests.cluster.process import LabFailed, wait_until
from tests.cluster.protection import IMAGE, Protection, tiny_policy
from tests.cluster.system import TINY

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

POSTGRES = ("psql", "--username=tiny", "--dbname=tiny", "--tuples-only", "--no-align", "--command")
REDIS = 'redis-cli --no-auth-warning -a "$REDIS_PASSWORD" '
FILES = """cd /files && find . -type f -print0 | sort -z | xargs -0 sha256sum
find . -print0 | sort -z | xargs -0 stat -c '%n %U %a'"""
DEADLINE_S = 120


@dataclass
class Journal:
    """A journal that is kept in memory."""

    kept: list[Entry] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, step: str, state: State, detail: dict[str, Any]) -> None:
        with self.lock:
            self.kept.append(Entry(len(self.kept) + 1, datetime.now(UTC), step, state, detail))

    def entries(self) -> list[Entry]:
        return list(self.kept)


class Notes(Silent):
    """A Progress that keeps what movers say."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@dataclass(frozen=True)
class Content:
    """What tiny holds: a row for sure, keys of Redis, all files."""

    rows: str
    value: str
    files: str

    @classmethod
    def of(cls, cluster: LabCluster) -> "Content":
        sql = "select count(*) || max(text) from proof"
        app = ("exec", "--namespace=tiny", "deployment/app", "--container=web", "--")
        return cls(
            execute(cluster, "postgres-0", *POSTGRES, sql, namespace="tiny"),
            execute(cluster, "redis-0", "sh", "-c", REDIS + "lrange proof 0 -1", namespace="tiny"),
            cluster.kubectl(*app, "sh", "-c", FILES),
        )


@dataclass(frozen=True)
class Lost:
    """tiny, which is gone, what it held, and a run that is to bring it back."""

    cluster: LabCluster
    protection: Protection
    content: Content
    replay: Replay
    notes: Notes

    def steps(self, *kinds: str) -> list[Step]:
        return [step for step in self.replay.plan.steps if step.kind in kinds]

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(*arguments, "--namespace=tiny")

    def pods(self, volume: str) -> list[Any]:
        found = self.kubectl(
            "get", "pods", f"--selector=drtool.io/run,drtool.io/volume={volume}", "--output=json"
        )
        pods: list[Any] = json.loads(found)["items"]
        return pods

    def log(self, pod: str) -> str:
        """Return what a pod of a mover says; nothing while it does not run."""
        try:
            return self.kubectl("logs", pod, "--container=drtool")
        except LabFailed:
            return ""


def session_of(protection: Protection, notes: Notes) -> Session:
    secrets = protection.credentials_of("operator")
    environment = {"DRTOOL_SECRETS": str(secrets), "KUBECONFIG": str(protection.cluster.kubeconfig)}
    world = World(lambda: datetime.now(UTC), environment, notes)
    return open_session(protection.policy, None, KeyFiles(recovery=protection.kit), world)


@pytest.fixture(scope="module")
def lost(cluster: LabCluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    TINY.deploy(cluster)
    protection = Protection.install(cluster, lab, TINY, tiny_policy, tmp_path_factory.mktemp("movers"))
    execute(
        cluster,
        "postgres-0",
        *POSTGRES,
        "create table proof as select g as id, md5(g::text) as text from generate_series(1, 20000) g",
        namespace="tiny",
    )
    execute(cluster, "redis-0", "sh", "-c", REDIS + "rpush proof a b c", namespace="tiny")
    content = Content.of(cluster)
    with ThreadPoolExecutor() as pool:
        list(pool.map(protection.run_now, ("postgres", "redis", "files", "objects")))
    TINY.remove(cluster)
    notes = Notes()
    session = session_of(protection, notes)
    with Api.open(cluster.name, session.world.environment) as api:
        made = plan_for(session, api, cluster.name, Wishes())
        assert made.result.plan is not None, made.result.refusals
        replay = Replay(session, made.policy, made.result.plan, "movers-1", api, made.objects, Journal())
        yield Lost(cluster, protection, content, replay, notes)
    session.close()
    TINY.remove(cluster)


def kill_once_it_writes(lost: Lost, volume: str) -> str:
    """Kill the pod of a mover while it writes; return its name."""
    found: list[str] = []

    def is_writing() -> bool:
        running = [
            each["metadata"]["name"] for each in lost.pods(volume) if each["status"]["phase"] == "Running"
        ]
        found[:] = [name for name in running if "writing" in lost.log(name)]
        return bool(found)

    wait_until(is_writing, f"the mover of {volume} writes", deadline_s=DEADLINE_S)
    lost.kubectl("delete", "pod", found[0], "--grace-period=0", "--force")
    return found[0]


def test_three_volumes_come_back_into_new_claims_and_a_killed_mover_begins_anew(lost: Lost) -> None:
    for step in lost.steps("apply"):
        apply_objects(lost.replay, step)
    restores = {step.what: step for step in lost.steps("restore")}
    assert restores.keys() == {"postgres", "redis", "files"}

    with ThreadPoolExecutor() as pool:
        running = {
            name: pool.submit(restore_volume, lost.replay, step, IMAGE) for name, step in restores.items()
        }
        killed = kill_once_it_writes(lost, "postgres")
        for name, future in running.items():
            lost.replay.results[restores[name].id] = future.result(DEADLINE_S)

    for step in lost.steps("prove"):
        assert prove_volume(lost.replay, step)["proofs"] > 0
    assert any("begins anew" in said or killed not in said for said in lost.notes.said)
    left = lost.kubectl(
        "get", "jobs,pods,secrets,networkpolicies", "--selector=drtool.io/run", "--output=name"
    )
    assert "drtool-mover" not in left
    for step in lost.steps("start"):
        start_tier(lost.replay, step)
    assert Content.of(lost.cluster) == lost.content


def test_a_claim_that_holds_something_stays_as_it_is(lost: Lost) -> None:
    [step] = [step for step in lost.steps("restore") if step.what == "files"]
    with pytest.raises(Refused, match="is not empty: it holds"):
        restore_volume(lost.replay, step, IMAGE)
    assert Content.of(lost.cluster).files == lost.content.files
