"""Who uses a claim that is switched, and who keeps or scales what uses it."""

from pathlib import Path
from typing import Any

import pytest

from drtool.errors import Refused, TemporaryFailure
from drtool.recovery.journal import fold
from drtool.recovery.manifests.hold import REPLICAS
from tests.operations.cluster_restore.runs import at
from tests.operations.cluster_restore.switching import CLAIM, NEW, OWN, Scene, scene
from tests.recovery.captured import captured
from tests.recovery.test_in_place import BESIDE, STANDING, owned, pod
from tests.sources.kubernetes.api import Json


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


def without_users() -> list[Json]:
    """Return what stands, but for what runs on media."""
    names = ("web-1-x", "thumbnails-1-x", "web", "worker", "web-1")
    return [each for each in STANDING if each["metadata"]["name"] not in names]


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
