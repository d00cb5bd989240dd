"""Claims get the volumes that were filled beside them, against an API server of the tests that binds claims."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from drtool.deploy.one_off import one_off_name
from drtool.errors import Refused, TemporaryFailure
from drtool.operations.cluster_restore import abort, backup_jobs, switch
from drtool.operations.cluster_restore.abort import abort_run
from drtool.operations.cluster_restore.apply import apply_objects
from drtool.operations.cluster_restore.outcome import failed, outcome_of
from drtool.operations.cluster_restore.references import check_references
from drtool.operations.cluster_restore.replay import RUN_LABEL, Replay
from drtool.operations.cluster_restore.restart import start_again
from drtool.operations.cluster_restore.safety import back_up_before
from drtool.operations.cluster_restore.stopping import stop
from drtool.operations.cluster_restore.switch import switch_volumes
from drtool.operations.plan import prepare_again
from drtool.operations.plan_in_place import working
from drtool.policy.schema import Policy
from drtool.recovery.journal import fold
from drtool.recovery.manifests.hold import REPLICAS
from drtool.recovery.wishes import Wishes
from tests.operations.cluster_restore.runs import RUN, Kept, Run, at, live, run
from tests.recovery.captured import captured, workload
from tests.recovery.stage import ago, policy
from tests.recovery.test_in_place import BESIDE, DB, REPLICATED, STANDING, bound, owned, plan, pod
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import well

CLAIM, NEW = "data-db-0", f"data-db-0-{BESIDE}"
OWN = [
    captured("batch/v1", "CronJob", "drtool-backup-postgres", spec={}),
    workload("Deployment", "drtool-wal-follow-postgres", 1),
]
HIDDEN = ("resourceVersion", "generation", "uid")
CHANGES = 11  # requests of a switch and a start that change something


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


def test_a_claim_gets_the_new_volume_and_the_old_one_is_kept(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        before = found.seen()
        result = found.switch()
        assert found.run.find("StatefulSet", "db")["spec"]["replicas"] == 0
        found.start()
        new = found.volume_of(CLAIM)
        old = found.run.find("PersistentVolume", "pv-data-db-0")
        after = found.seen()

    assert result == {"kept": {CLAIM: "pv-data-db-0"}}
    assert new["metadata"]["name"] == f"pv-{NEW}"
    assert new["spec"]["claimRef"] == {"namespace": "shop", "name": CLAIM}  # what binds it says the rest
    assert new["spec"]["persistentVolumeReclaimPolicy"] == "Delete"  # as the old one was
    assert old["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert old["metadata"]["labels"] == {RUN_LABEL: RUN, "drtool.io/volume": "postgres"}
    changed = {name.rpartition("/")[2] for name in before | after if before.get(name) != after.get(name)}
    assert changed == {
        *(CLAIM, NEW, "pv-data-db-0", f"pv-{NEW}", "db-0"),
        *("drtool-backup-postgres", "drtool-wal-follow-postgres"),
    }


def test_several_claims_and_cron_jobs_are_switched_and_protection_of_files_goes_on(tmp_path: Path) -> None:
    names = ("web-1-x", "thumbnails-1-x", "web", "worker", "web-1")
    objects = [each for each in STANDING if each["metadata"]["name"] not in names]
    with scene(tmp_path, "media", "redis", objects=objects) as found:
        stopped = {
            name: found.run.find("CronJob", name)["spec"]["suspend"] for name in ("thumbnails", "asleep")
        }
        kept = found.switch()["kept"]
        waiting = {
            name: found.run.find("CronJob", name)["spec"]["suspend"] for name in ("thumbnails", "asleep")
        }
        notes = found.start()["notes"]
        running = {
            name: found.run.find("CronJob", name)["spec"]["suspend"] for name in ("thumbnails", "asleep")
        }
        own = found.run.find("CronJob", "drtool-backup-postgres")

    assert kept == {"media": "pv-media", "data-redis-0": "pv-data-redis-0"}
    assert stopped == running == {"thumbnails": False, "asleep": True}
    assert waiting == {"thumbnails": True, "asleep": True}
    assert own
    assert any("PersistentVolume pv-media" in note and "delete it" in note for note in notes)


def replicated() -> list[Json]:
    """Return what stands with a PostgreSQL of three pods."""
    names = ("db", "db-0")
    pods = [owned(pod(f"db-{number}", f"data-db-{number}"), "StatefulSet", "db") for number in range(3)]
    rest = [each for each in STANDING if each["metadata"]["name"] not in names]
    return [*rest, DB, REPLICATED, *pods, *bound("data-db-1"), *bound("data-db-2")]


@pytest.mark.parametrize("calls", [*range(5, 14, 2), 99])
def test_replicas_get_empty_volumes_and_start_behind_the_first(tmp_path: Path, calls: int) -> None:
    seen: list[int] = []
    with scene(tmp_path, objects=replicated()) as found:

        def note(item: Json) -> Json:
            if item["kind"] == "StatefulSet":
                seen.append(item["spec"]["replicas"])
            return found.becomes(item)

        found.run.api.becomes = note
        with suppress(Killed):
            dying(found, calls).switch()
        kept = found.switch()["kept"]
        found.start()
        volumes = {f"data-db-{number}": found.volume_of(f"data-db-{number}") for number in range(3)}
        old = [found.run.find("PersistentVolume", name)["spec"] for name in kept.values()]

    assert seen == [0, 1, 3]
    assert kept == {f"data-db-{number}": f"pv-data-db-{number}" for number in range(3)}
    assert all(each["persistentVolumeReclaimPolicy"] == "Retain" for each in old)
    assert volumes["data-db-0"]["metadata"]["name"] == f"pv-{NEW}"
    assert not {each["metadata"]["name"] for each in volumes.values()} & {*kept.values()}


def dying(found: Scene, calls: int) -> Scene:
    """Return the scene for a drtool that is gone after so many requests which change something."""
    left = [calls]

    def assure() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return Scene(found.run, replace(found.replay, cluster=found.replay.cluster.fenced(assure)))


@pytest.mark.parametrize("calls", range(CHANGES))
def test_wherever_it_is_killed_it_is_gone_on_with(tmp_path: Path, calls: int) -> None:
    with scene(tmp_path) as found:
        killed = dying(found, calls)
        with pytest.raises(Killed):
            killed.both()
        found.switch()
        found.start()
        old = found.run.find("PersistentVolume", "pv-data-db-0")
        assert found.volume_of(CLAIM)["metadata"]["name"] == f"pv-{NEW}"
        assert found.volume_of(CLAIM)["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        assert old["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
        assert found.run.find("StatefulSet", "db")["spec"]["replicas"] == 1
        assert found.run.api.find(at("PersistentVolumeClaim"), NEW) is None


@pytest.mark.parametrize("calls", [0, 1])
def test_until_it_noted_what_it_switches_all_of_it_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    monkeypatch.setattr(abort, "_GONE_S", 0.1)  # nobody deletes volumes here
    with scene(tmp_path) as found:
        after_apply = found.seen()
        journal = found.replay.journal
        dead = replace(found.replay, journal=Unkept(journal))
        with pytest.raises(Killed):
            Scene(found.run, replace(dead, cluster=dying(found, calls).replay.cluster)).switch()
        assert abort_run(found.replay)["removed"] == 1
        after = found.seen()
        new = {f"{at('PersistentVolumeClaim')}/{NEW}", f"{at('PersistentVolume')}/pv-{NEW}"}
        ended = {f"{at('Pod')}/db-0"}
        assert {name: each for name, each in after.items() if name not in new | ended} == {
            name: each for name, each in after_apply.items() if name not in new | ended
        }


class Unkept(Kept):
    """A journal that takes a step's begin, and dies with what it would note."""

    def __init__(self, journal: Any) -> None:
        super().__init__()
        self.journal = journal

    def write(self, step: str, state: Any, detail: Json) -> None:
        if state == "noted":
            raise Killed
        self.journal.write(step, state, detail)


def test_an_abort_takes_movers_away_whatever_else_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abort, "_GONE_S", 0.1)  # nobody deletes volumes here
    with scene(tmp_path) as found:
        for kind in ("Job", "Secret", "Pod"):
            mover = live(
                kind, "drtool-mover", metadata={"labels": {RUN_LABEL: RUN}}, status={"phase": "Running"}
            )
            found.run.api.collections[at(kind)].append(mover)
        replay = found.replay
        objects, _ = prepare_again(replay.session, replay.cluster, replay.plan, replay.policy)
        assert abort_run(replace(replay, objects=objects))["removed"] == 4
        left = [found.run.api.find(at(kind), "drtool-mover") for kind in ("Job", "Secret", "Pod")]
    assert left == [None, None, None]


def test_once_volumes_are_switched_an_abort_names_what_has_the_state_before(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        told = {"point": "snap/postgres/1", "moment": "2026-03-01T12:00:00Z"}
        found.replay.journal.write("safety backup postgres", "done", told)
        with pytest.raises(Killed):
            dying(found, 4).switch()
        before = found.seen()
        with pytest.raises(Refused, match="has switched data-db-0") as refused:
            abort_run(found.replay)
        assert found.seen() == before
        assert (
            "point snap/postgres/1, up to 2026-03-01T12:00:00Z, PersistentVolume pv-data-db-0"
            in refused.value.hint
        )
        said = failed(found.replay, refused.value).failure
    assert said is not None
    assert "apps/StatefulSet/db may be stopped" in said.way_on


def test_what_does_not_stop_is_named_and_runs_on(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        found.run.api.becomes = well  # its pod stays
        with pytest.raises(TemporaryFailure, match="db-0 still use what is to be switched, after 1 s"):
            found.switch()
        db = found.run.find("StatefulSet", "db")
        assert db["spec"]["replicas"] == 1
        assert REPLICAS not in db["metadata"].get("annotations", {})
        assert found.run.find("PersistentVolumeClaim", CLAIM)["spec"]["volumeName"] == "pv-data-db-0"


def test_what_cannot_even_be_started_again_is_named(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        found.run.api.becomes = well
        stops = iter([None])
        found.run.api.refuses = lambda *_: next(stops, (422, "no more"))
        with pytest.raises(TemporaryFailure, match="apps/StatefulSet/db may be stopped") as fault:
            found.switch()
    assert f"--abort {RUN} starts them again" in fault.value.hint


def test_a_claim_that_somebody_else_made_anew_is_left_alone(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        with pytest.raises(Killed):
            dying(found, 4).switch()
        found.run.find("PersistentVolumeClaim", CLAIM)["spec"]["volumeName"] = "pv-theirs"
        with pytest.raises(
            Refused, match="claim data-db-0 came to have volume pv-theirs, and not pv-data-db-0"
        ):
            found.switch()
        assert found.run.find("PersistentVolumeClaim", CLAIM)


def test_a_claim_without_a_volume_stops_nothing_for_long(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        del found.run.find("PersistentVolumeClaim", NEW)["spec"]["volumeName"]
        with pytest.raises(Refused, match=f"claim {NEW} has no volume any more"):
            found.switch()
        assert found.run.find("StatefulSet", "db")["spec"]["replicas"] == 1


def test_a_claim_that_is_not_bound_in_time_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "_BOUND_S", 0.2)
    with scene(tmp_path) as found:

        def pending(item: Json) -> Json:
            found.becomes(item)
            return {"phase": "Pending"} if item["kind"] == "PersistentVolumeClaim" else well(item)

        found.run.api.becomes = pending
        with pytest.raises(TemporaryFailure, match="claim data-db-0 is not bound"):
            found.switch()


def test_a_backup_before_is_one_of_the_cron_job_and_fails_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_jobs, "BACKUP_S", 0.2)
    with scene(tmp_path) as found:
        step = found.step("safety backup postgres")
        container = {"name": "drtool", "args": ["backup", "postgres", "--due"]}
        template = {"spec": {"template": {"spec": {"containers": [container]}}}}
        found.run.find("CronJob", "drtool-backup-postgres")["spec"] = {"jobTemplate": template}
        made: list[Json] = []

        def silent(item: Json) -> Json:
            made.append(item)
            return {}

        found.run.api.becomes = silent
        [late] = back_up_before(found.replay, step)["notes"]
        found.run.api.collections[at("CronJob")] = []
        [none] = back_up_before(found.replay, step)["notes"]
        left = found.run.api.collections[at("Job")]

    [job] = made
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["backup", "postgres"]
    assert job["metadata"]["labels"][RUN_LABEL] == RUN
    assert (
        "postgres was not backed up before the switch, its old volume is kept: its backup does not end"
        in late
    )
    assert "there is no CronJob drtool-backup-postgres" in none
    assert [each["metadata"]["name"] for each in left] == ["thumbnails-1"]


def test_whoever_ends_drtool_ends_the_backup_before_too(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        container = {"name": "drtool", "args": ["backup", "postgres", "--due"]}
        template = {"spec": {"template": {"spec": {"containers": [container]}}}}
        found.run.find("CronJob", "drtool-backup-postgres")["spec"] = {"jobTemplate": template}
        found.run.api.becomes = lambda _item: {}
        found.replay.session.world.ending.set()
        with pytest.raises(TemporaryFailure, match="asked to end"):
            back_up_before(found.replay, found.step("safety backup postgres"))


def test_how_it_ended_says_what_is_kept_and_what_has_no_writer(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        found.replay.results["safety backup postgres"] = {"point": "snap/postgres/1"}
        found.switch()
        found.replay.results["start again"] = found.start()
        notes = outcome_of(found.replay).notes
    [kept] = [each for each in notes if "is kept as PersistentVolume pv-data-db-0" in each]
    assert "up to the safety backup in snap/postgres/1" in kept
    assert [each for each in notes if "it needs a new writer" in each]
    assert not [each for each in notes if "nothing protects" in each]


def test_who_goes_on_has_what_stands_as_it_was_before_it_was_stopped(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        found.switch()
        replay = found.replay
        objects, replaced = prepare_again(replay.session, replay.cluster, replay.plan, replay.policy)

    assert replaced == {}
    assert objects["apps/StatefulSet/db"].item["spec"]["replicas"] == 1
    claims = [name for name in objects if name.startswith("core/PersistentVolumeClaim/")]
    assert claims == [f"core/PersistentVolumeClaim/{NEW}"]


def test_who_goes_on_with_a_volume_alone_finds_its_place_in_what_stands(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        replay = found.replay
        alone = replace(replay.plan, in_place=(), wishes=Wishes(volumes=("media",)))
        objects, replaced = prepare_again(replay.session, replay.cluster, alone, replay.policy)

    assert replaced == {}
    assert "apps/Deployment/web" in objects
    assert not [name for name in objects if name.startswith("core/PersistentVolume")]


def test_a_pod_that_has_ended_is_gone_before_its_claim(tmp_path: Path) -> None:
    ended = owned(pod("once-x", CLAIM, "Succeeded"), "Job", "once")
    with scene(tmp_path, objects=[*STANDING, ended]) as found:
        found.switch()
        asked = [each for each in found.run.api.asked if each.startswith("DELETE")]
    [gone] = [number for number, each in enumerate(asked) if each.endswith("/pods/once-x")]
    [first] = [
        number for number, each in enumerate(asked) if each.endswith(f"/persistentvolumeclaims/{CLAIM}")
    ]
    assert gone < first


def test_what_somebody_started_again_meanwhile_is_stopped_again_and_comes_back_as_it_was(
    tmp_path: Path,
) -> None:
    with scene(tmp_path) as found:
        with pytest.raises(Killed):
            dying(found, 4).switch()
        db = found.run.find("StatefulSet", "db")
        assert db["metadata"]["annotations"][REPLICAS] == "1"
        db["spec"]["replicas"] = 5
        found.switch()
        assert found.run.find("StatefulSet", "db")["spec"]["replicas"] == 0
        found.start()
        assert found.run.find("StatefulSet", "db")["spec"]["replicas"] == 1


def test_what_was_deleted_since_the_plan_is_told_and_keeps_nothing_from_starting(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        objects = {name: each for name, each in found.replay.objects.items() if name != "apps/StatefulSet/db"}
        found.run.api.collections[at("Pod")] = []
        gone = Scene(found.run, replace(found.replay, objects=objects))
        gone.switch()
        notes = gone.start()["notes"]
    assert notes[0] == "apps/StatefulSet/db was deleted meanwhile, and is not started again"


def test_a_run_that_was_killed_once_all_was_stopped_starts_it_again_where_it_cannot_go_on(
    tmp_path: Path,
) -> None:
    with scene(tmp_path) as found:
        with pytest.raises(Killed):
            Scene(found.run, replace(found.replay, journal=Unkept(found.replay.journal))).switch()
        stop(found.replay, "apps/StatefulSet/db")
        del found.run.find("PersistentVolumeClaim", NEW)["spec"]["volumeName"]
        with pytest.raises(Refused, match="has no volume any more"):
            found.switch()
        assert found.run.find("StatefulSet", "db")["spec"]["replicas"] == 1
        found.replay.journal.write("switch volumes", "failed", {"error": "", "hint": "", "exit": 1})
        assert not fold(found.replay.journal.entries()).is_past_switch(found.replay.plan.steps)


def test_until_what_uses_it_is_ready_a_new_volume_is_kept_whatever_its_class_says(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        found.switch()
        kept = found.volume_of(CLAIM)["spec"]["persistentVolumeReclaimPolicy"]
        found.start()
        left = found.volume_of(CLAIM)["spec"]["persistentVolumeReclaimPolicy"]
    assert (kept, left) == ("Retain", "Delete")


def changed(found: Scene) -> list[str]:
    """Return what was asked of the server that changes something."""
    return [each for each in found.run.api.asked if not each.startswith("GET")]


def test_who_came_to_use_a_claim_since_the_plan_is_refused_and_nothing_is_stopped(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        shell = pod("shell", CLAIM)
        reporter = owned(pod("report-x", CLAIM), "StatefulSet", "report")
        found.run.api.collections[at("Pod")] += [shell, reporter]
        before, asked = found.seen(), changed(found)
        with pytest.raises(Refused, match="pod shell uses a claim that is switched, and is of no") as refused:
            found.switch()
        assert "pod report-x" in refused.value.message
        assert found.seen() == before
        assert changed(found) == asked
        assert not fold(found.replay.journal.entries()).is_past_switch(found.replay.plan.steps)
        found.run.api.collections[at("Pod")] = []
        found.both()


def serve_keda(found: Scene, **metadata: Any) -> None:
    """Have KEDA in the cluster, which scales the StatefulSet db."""
    api, version = found.run.api, {"version": "v1alpha1"}
    target = {"scaleTargetRef": {"kind": "StatefulSet", "name": "db"}}
    scaled = captured("keda.sh/v1alpha1", "ScaledObject", "db", spec=target, metadata=metadata)
    api.answers["/apis"]["groups"].append(
        {"name": "keda.sh", "preferredVersion": version, "versions": [version]}
    )
    kind = {"name": "scaledobjects", "kind": "ScaledObject", "namespaced": True, "verbs": ["list"]}
    api.answers["/apis/keda.sh/v1alpha1"] = {"resources": [kind]}
    api.collections["/apis/keda.sh/v1alpha1/scaledobjects"] = [scaled]
    found.replay.cluster.forget_kinds()


def test_a_controller_that_was_let_go_on_since_the_plan_is_refused_and_nothing_is_stopped(
    tmp_path: Path,
) -> None:
    with scene(tmp_path) as found:
        serve_keda(found)
        asked = changed(found)
        with pytest.raises(Refused, match="ScaledObject db keeps StatefulSet db") as refused:
            found.switch()
        assert changed(found) == asked
        assert "autoscaling.keda.sh/paused=true" in refused.value.hint
        serve_keda(found, annotations={"autoscaling.keda.sh/paused": "true"})
        found.both()


def serve_flux(found: Scene) -> Json:
    """Have Flux in the cluster; return its only Kustomization, which keeps what bears its marks."""
    api, version = found.run.api, {"version": "v1"}
    group = "kustomize.toolkit.fluxcd.io"
    apps = captured(f"{group}/v1", "Kustomization", "apps", spec={}, metadata={"namespace": "flux-system"})
    api.answers["/apis"]["groups"].append({"name": group, "preferredVersion": version, "versions": [version]})
    kind = {"name": "kustomizations", "kind": "Kustomization", "namespaced": True, "verbs": ["list"]}
    api.answers[f"/apis/{group}/v1"] = {"resources": [kind]}
    api.collections[f"/apis/{group}/v1/kustomizations"] = [apps]
    found.replay.cluster.forget_kinds()
    return apps


def test_what_backs_a_postgresql_up_may_not_be_made_anew_by_who_keeps_it(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        apps = serve_flux(found)
        marks = {f"kustomize.toolkit.fluxcd.io/{key}": apps["metadata"][key] for key in ("name", "namespace")}
        for each in OWN:
            found.run.find(each["kind"], each["metadata"]["name"])["metadata"]["labels"] = marks
        asked, names = changed(found), "CronJob drtool-backup-postgres, Deployment drtool-wal-follow-postgres"
        with pytest.raises(Refused, match=f"Kustomization apps keeps {names}, and would"):
            found.switch()
        assert changed(found) == asked
        apps["spec"]["suspend"] = True
        found.both()


def scaling(found: Scene, what: str, when: str, to: int = 1) -> list[str]:
    """Have KEDA scale a StatefulSet, once, as soon as an object called so is written; return when that was done."""
    done: list[str] = []

    def becomes(item: Json) -> Json:
        name, status = item["metadata"]["name"], found.becomes(item)
        if name == when and not done:
            done.append(name)
            fields: Json = {"f:spec": {"f:replicas": {}}}
            scaled = item if name == what else found.run.find("StatefulSet", what)
            scaled["spec"]["replicas"] = to
            scaled["metadata"]["managedFields"] = [{"manager": "keda", "time": "2026", "fieldsV1": fields}]
        return status

    found.run.api.becomes = becomes
    return done


def test_what_is_started_again_at_once_ends_the_switch_before_it_began(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        done = scaling(found, "db", "db", 3)
        with pytest.raises(TemporaryFailure, match="apps/StatefulSet/db by keda: started again before"):
            found.switch()
        db = found.run.find("StatefulSet", "db")
        assert done
        assert REPLICAS not in db["metadata"]["annotations"]
        assert db["spec"]["replicas"] == 1  # as it was
        assert found.run.find("PersistentVolumeClaim", CLAIM)["spec"]["volumeName"] == "pv-data-db-0"
        assert not fold(found.replay.journal.entries()).is_past_switch(found.replay.plan.steps)


def test_nothing_is_switched_below_what_was_started_again_behind_the_note(tmp_path: Path) -> None:
    with scene(tmp_path, "postgres", "redis", objects=without_users()) as found:
        done = scaling(found, "redis", CLAIM)  # the first claim of two has its new volume
        with pytest.raises(TemporaryFailure, match="apps/StatefulSet/redis by keda: started again before"):
            found.switch()
        assert done
        assert found.volume_of("data-redis-0")["metadata"]["name"] == "pv-data-redis-0"
        found.both()
        assert found.volume_of("data-redis-0")["metadata"]["name"] == f"pv-data-redis-0-{BESIDE}"
        assert found.run.find("StatefulSet", "redis")["spec"]["replicas"] == 1


def without_users() -> list[Json]:
    """Return what stands, but for what runs on media."""
    names = ("web-1-x", "thumbnails-1-x", "web", "worker", "web-1")
    return [each for each in STANDING if each["metadata"]["name"] not in names]


def test_a_pod_on_a_claim_that_is_being_deleted_ends_the_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path) as found:
        api, gone = found.run.api, found.run.api._gone

        def held(folder: str, item: Json, options: Json) -> Any:
            if item["kind"] != "PersistentVolumeClaim" or item["metadata"]["name"] != CLAIM:
                return gone(folder, item, options)
            api.collections[at("Pod")].append(pod("late", CLAIM))
            return 200, {}, {}

        monkeypatch.setattr(api, "_gone", held)  # pvc-protection keeps a claim that a pod uses
        with pytest.raises(TemporaryFailure, match="late came to use a claim before its volume was switched"):
            found.switch()
        monkeypatch.setattr(api, "_gone", gone)
        api.collections[at("Pod")] = []
        found.both()
        assert found.volume_of(CLAIM)["metadata"]["name"] == f"pv-{NEW}"


def test_rows_that_refer_to_files_which_are_not_there_are_told_and_nothing_is_undone(tmp_path: Path) -> None:
    asked = "{name: posts, database: postgres, files: media, sql: select 1}"
    promised, step = policy(f"recovery: {{references: [{asked}]}}"), "references posts"
    with scene(tmp_path, of=promised) as found:
        found.both()
        logs: list[Json] = []

        def becomes(item: Json) -> Json:
            if item["kind"] == "Pod":
                logs.append(item)
                return {"phase": "Succeeded"}
            return found.becomes(item)

        found.run.api.becomes = becomes
        told = json.dumps({"references": {"listed": 9, "missing": 1, "first": ["cover.png"]}})
        found.run.api.answers[f"{at('Pod')}/{one_off_name(RUN, step)}/log"] = {"raw": told}
        found.replay.results[step] = check_references(found.replay, found.step(step))
        result = outcome_of(found.replay)

    [claim] = [each for each in logs[0]["spec"]["volumes"] if "persistentVolumeClaim" in each]
    assert claim["persistentVolumeClaim"]["claimName"] == "media"
    assert result.outcome == "restored, and not proven"
    assert [(each.listed, each.missing) for each in result.references] == [(9, 1)]
