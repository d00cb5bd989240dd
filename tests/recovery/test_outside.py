"""What lets outsiders in early is told."""

from tests.recovery.captured import captured, workload
from tests.recovery.stage import made


def test_who_listens_on_nodes_is_told_for_nothing_holds_that_back() -> None:
    container = {"name": "app", "image": "app:1", "ports": [{"containerPort": 80, "hostPort": 8080}]}
    objects = [
        workload("Deployment", "mapped", pod={"containers": [container]}),
        workload("DaemonSet", "whole", pod={"hostNetwork": True}),
        workload("Deployment", "inner"),
    ]
    told = [each.partition(":")[0] for each in made(objects).notes if "listen on their nodes" in each]
    assert told == ["DaemonSet whole", "Deployment mapped"]


def test_a_service_that_is_there_already_and_leads_in_is_told() -> None:
    outer = captured("v1", "Service", "web", spec={"type": "NodePort"})
    inner = captured("v1", "Service", "db", spec={})
    found = made([outer, inner, workload("Deployment", "web")], live=[outer, inner])

    told = [each.partition(":")[0] for each in found.notes if "leads in from outside" in each]
    assert told == ["Service web"]
    assert "open Services" not in {step.id for step in found.steps}
