"""The three systems, as their teams deploy them: planned into a cluster with other storage classes."""

from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from drtool.recovery.manifests.hold import hold
from drtool.recovery.manifests.mappings import Mappings
from drtool.recovery.manifests.objects import kind_of
from drtool.recovery.manifests.prepare import prepare, with_namespace
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import SERVED, Json
from tests.recovery.stage import changes_of, facts, made, refused

SYSTEMS = Path(__file__).parent.parent / "cluster" / "systems"
CLASSES = dict.fromkeys(("longhorn", "local-path", "local-path-shared", "fast"), "mine")


def objects_of(system: str) -> list[Json]:
    """Return the objects of a system's folder; of two files for one object the one that the team has."""
    found: dict[tuple[str, str], Json] = {}
    for file in sorted((SYSTEMS / system).rglob("*.yaml")):
        for each in YAML(typ="safe", pure=True).load_all(file.read_text()):
            if each and "metadata" in each and each["kind"] != "Kustomization":
                found.setdefault((each["kind"], each["metadata"]["name"]), each)
    return list(found.values())


@pytest.mark.parametrize("system", ["wesago", "misago", "funkwhale", "tiny"])
def test_everything_of_a_system_is_planned(system: str) -> None:
    objects = objects_of(system)
    found = made(objects, Wishes(classes=CLASSES), facts(ingress_classes=frozenset({"traefik"})))

    workloads = {
        each["metadata"]["name"] for each in objects if each["kind"] in ("Deployment", "StatefulSet")
    }
    started = {
        name.rpartition("/")[2] for step in found.steps if step.kind == "start" for name in step.objects
    }
    assert len(workloads) > 2
    assert started == workloads
    assert not [step for step in found.steps if "Job" in step.id and "CronJob" not in step.id]


@pytest.mark.parametrize("system", ["wesago", "misago", "funkwhale", "tiny"])
def test_a_system_that_came_back_is_equal_to_what_was_planned(system: str) -> None:
    objects = objects_of(system)
    preparation, _ = changes_of(objects, Wishes(), facts(), [])
    live = [each.item for each in preparation.objects]
    _, changes = changes_of(objects, Wishes(), facts(), live)
    held = Counter(kind_of(hold(each.item)) for each in preparation.objects if hold(each.item) != each.item)

    assert {change.state for change in changes} == {"equal"}
    assert held[("apps", "Deployment")] + held[("apps", "StatefulSet")] > 2


def test_funkwhales_volume_by_hand_gives_way_to_a_new_one_and_its_removed_api_is_converted() -> None:
    objects = objects_of("funkwhale")
    found = made(objects, Wishes(classes=CLASSES))

    assert (
        "HorizontalPodAutoscaler fw-nginx-autoscaler: autoscaling/v2beta2 becomes autoscaling/v2"
        in found.notes
    )
    assert not [step for step in found.steps if step.what == "core/PersistentVolume"]
    reasons = refused(objects)
    assert len(reasons) == 1
    assert reasons[0].startswith("storage class local-path is not there, which ")


def test_a_system_moves_to_another_namespace_without_a_trace_of_the_old_one_but_what_is_told() -> None:
    objects = objects_of("misago")
    found = prepare(with_namespace(objects, "gic6"), Mappings(("gic6", "elsewhere")), SERVED)

    assert {each.item["metadata"].get("namespace", "elsewhere") for each in found.objects} == {"elsewhere"}
    told = [note for note in found.notes if note.endswith("still holds gic6")]
    assert any("Ingress" in note for note in told)  # its host is no namespace
