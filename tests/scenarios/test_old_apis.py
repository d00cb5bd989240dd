"""A backup of a cluster with APIs that the target does not serve: converted where nothing changes, else refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.shop_lost import UID, shop_lost
from tests.scenarios.targets import serve
from tests.sources.kubernetes.api import Api, Json
from tests.sources.kubernetes.shop import at, item

SELECTOR = {"matchLabels": {"app": "web"}}
BUDGET = item("web", spec={"minAvailable": 1, "selector": SELECTOR})
MAIL = item("mail", spec={"schedule": "7 2 * * *", "jobTemplate": {"spec": {"template": {"spec": {}}}}})
SCALED = item("web", spec={"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}})
INGRESS = item("old", spec={"backend": {"serviceName": "web", "servicePort": 80}})
KINDS = {
    "policy": ("PodDisruptionBudget", "poddisruptionbudgets"),
    "batch": ("CronJob", "cronjobs"),
    "autoscaling": ("HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    "extensions": ("Ingress", "ingresses"),
}


def planted(**objects: tuple[str, Json]) -> Callable[[Api], None]:
    """Return what has objects in a cluster, each by its group with its version: of an age when that served them."""

    def plant(api: Api) -> None:
        for group, (version, found) in objects.items():
            kind, plural = KINDS[group]
            serve(api, group, kind, plural, namespaced=True, version=version)
            api.collections[f"/apis/{group}/{version}/namespaces/shop/{plural}"] = [found]

    return plant


def of_today(target: Api, *groups: str) -> None:
    """Have a cluster serve kinds as it does today."""
    for group in groups:
        kind, plural = KINDS[group]
        version = "v2" if group == "autoscaling" else "v1"
        serve(target, group, kind, plural, namespaced=True, version=version)
        target.collections.setdefault(f"/apis/{group}/{version}/namespaces/shop/{plural}", [])


def test_what_was_captured_in_an_old_api_comes_back_in_the_one_that_is_served(tmp_path: Path) -> None:
    old = planted(policy=("v1beta1", BUDGET), batch=("v1beta1", MAIL), autoscaling=("v2beta2", SCALED))
    with shop_lost(tmp_path, old) as way:
        of_today(way.target, "policy", "batch", "autoscaling")

        found = way.restore()["restore"]

        folders = {
            "PodDisruptionBudget web": at("poddisruptionbudgets", "policy"),
            "CronJob mail": at("cronjobs", "batch"),
            "HorizontalPodAutoscaler web": "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers",
        }
        for told, folder in folders.items():
            there = way.target.find(folder, told.rpartition(" ")[2])
            assert there is not None, told
            assert there["apiVersion"] == folder.split("/namespaces/")[0].removeprefix("/apis/")
            assert any(note.startswith(f"{told}: ") and " becomes " in note for note in found["notes"])
        budget = way.target.find(folders["PodDisruptionBudget web"], "web")
        assert budget is not None
        assert budget["spec"] == BUDGET["spec"]
        assert found["outcome"] == "restored"


@pytest.mark.parametrize("if_exists", ["refuse", "replace", "keep"])
def test_what_no_served_api_takes_is_refused_by_name_before_anything_is_written(
    tmp_path: Path, if_exists: str
) -> None:
    all_pods = item("all", spec={"minAvailable": 1, "selector": {}})
    old = planted(policy=("v1beta1", all_pods), extensions=("v1beta1", INGRESS), batch=("v2alpha1", MAIL))
    with shop_lost(tmp_path, old) as way:
        of_today(way.target, "policy", "batch")

        said = way(
            "objects", "--image", "drtool:1", "--confirm-target", UID, "--if-exists", if_exists, code=5
        ).value

        told = {each["about"]: each["message"] for each in said["plan"]["refusals"]}
        assert told == {
            "PodDisruptionBudget all": "is of policy/v1beta1, and would mean something else in policy/v1",
            "Ingress old": "is of extensions/v1beta1, and the target serves no such kind",
            "CronJob mail": "is of batch/v2alpha1, and the target serves v1 only, of another shape",
        }
        assert not way.target.written
