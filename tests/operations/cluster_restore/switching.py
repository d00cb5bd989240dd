"""A run in place, up to its switch, against an API server of the tests that binds claims."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from drtool.operations.cluster_restore import switch
from drtool.operations.cluster_restore.apply import apply_objects
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.restart import start_again
from drtool.operations.cluster_restore.switch import switch_volumes
from drtool.operations.plan_in_place import working
from drtool.policy.schema import Policy
from tests.operations.cluster_restore.runs import Kept, Run, at, run
from tests.recovery.captured import captured, workload
from tests.recovery.stage import ago
from tests.recovery.test_in_place import BESIDE, STANDING, plan
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import well

CLAIM, NEW = "data-db-0", f"data-db-0-{BESIDE}"
OWN = [
    captured("batch/v1", "CronJob", "drtool-backup-postgres", spec={}),
    workload("Deployment", "drtool-wal-follow-postgres", 1),
]
HIDDEN = ("resourceVersion", "generation", "uid")


class Killed(BaseException):
    """drtool is gone, with all that it was about to do."""


@dataclass
class Scene:
    """A run in place, up to its switch: what is new is filled."""

    run: Run
    replay: Replay

    def step(self, step: str) -> Any:
        return next(each for each in self.replay.plan.steps if each.id == step)

    def switch(self) -> Json:
        self.replay.journal.write("switch volumes", "begun", {})
        result = switch_volumes(self.replay, self.step("switch volumes"))
        self.replay.results["switch volumes"] = result
        self.replay.journal.write("switch volumes", "done", result)
        return result

    def start(self) -> Json:
        self.replay.journal.write("start again", "begun", {})
        return start_again(self.replay, self.step("start again"))

    def both(self) -> None:
        self.switch()
        self.start()

    def seen(self) -> dict[str, Json]:
        return {
            f"{path}/{each['metadata']['name']}": {
                **each,
                "status": None,
                "metadata": {
                    key: value for key, value in each["metadata"].items() if key not in HIDDEN and value != {}
                },
            }
            for path, items in self.run.api.collections.items()
            for each in items
        }

    def volume_of(self, claim: str) -> Json:
        name = self.run.find("PersistentVolumeClaim", claim)["spec"]["volumeName"]
        return self.run.find("PersistentVolume", name)

    def becomes(self, item: Json) -> Json:
        """Bind a claim, and let the pods of what is at 0 replicas go."""
        name = item["metadata"]["name"]
        if item["kind"] == "StatefulSet" and item["spec"]["replicas"] == 0:
            pods = self.run.api.collections[at("Pod")]
            rest = [each for each in pods if not each["metadata"]["name"].startswith(f"{name}-")]
            self.run.api.collections[at("Pod")] = rest
        if item["kind"] == "PersistentVolumeClaim":
            if "volumeName" not in item["spec"]:
                is_taken = self.run.api.find(at("PersistentVolume"), f"pv-{name}") is not None
                volume = f"pv-{name}-2" if is_taken else f"pv-{name}"
                item["spec"]["volumeName"] = volume
                reference = {"namespace": "shop", "name": name, "uid": item["metadata"]["uid"]}
                spec = {"claimRef": reference, "persistentVolumeReclaimPolicy": "Delete"}
                made = captured("v1", "PersistentVolume", volume, spec=spec)
                self.run.api.collections[at("PersistentVolume")].append(made)
            return {"phase": "Bound"}
        return well(item)


@contextmanager
def scene(
    folder: Path, *volumes: str, objects: list[Json] = STANDING, of: Policy | None = None
) -> Iterator[Scene]:
    there = deepcopy(
        [*(each for each in objects if each["kind"] != "ReplicaSet" and each["kind"] != "Service"), *OWN]
    )
    with pytest.MonkeyPatch.context() as patched, run(folder, (), there=there) as found:
        for name in ("JOBS_S", "UNUSED_S"):
            patched.setattr(switch, name, 1.0)
        patched.setattr(switch, "_GONE_S", 3.0)
        made = plan(*volumes or ("postgres",), at=ago(10), objects=objects, of=of)
        replay = replace(found.replay, plan=made, objects=working(objects, made), journal=Kept())
        replay = replace(replay, policy=of or replay.policy)
        self = Scene(found, replay)
        found.api.becomes = self.becomes
        apply_objects(replay, self.step("apply core/PersistentVolumeClaim"))
        yield self


def dying(found: Scene, calls: int) -> Scene:
    """Return the scene for a drtool that is gone after so many requests which change something."""
    left = [calls]

    def assure() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return Scene(found.run, replace(found.replay, cluster=found.replay.cluster.fenced(assure)))
