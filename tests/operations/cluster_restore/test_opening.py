"""Services let outsiders in, once that is their turn."""

from pathlib import Path

import pytest

from drtool.errors import Refused
from drtool.operations.cluster_restore.abort import abort_run
from drtool.operations.cluster_restore.apply import apply_objects
from drtool.operations.cluster_restore.opening import open_services
from drtool.recovery.manifests.outward import OUTWARD
from tests.operations.cluster_restore.runs import Run, at, live, run
from tests.recovery.captured import Json, captured

APPLIED = '{"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}'
NOTE = {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": APPLIED}}
CHOSEN = captured(
    "v1",
    "Service",
    "web",
    metadata=NOTE,
    spec={"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "nodePort": 30080}]},
)
GIVEN = captured("v1", "Service", "api", spec={"type": "LoadBalancer", "ports": [{"port": 80}]})


def applied(found: Run) -> Run:
    for step in found.replay.plan.steps:
        if step.kind == "apply":
            apply_objects(found.replay, step)
    return found


def ports(found: Run, name: str) -> list[Json]:
    ports: list[Json] = found.find("Service", name)["spec"]["ports"]
    return ports


def test_a_service_is_opened_in_place_and_those_whose_ports_were_chosen_first(tmp_path: Path) -> None:
    with run(tmp_path, [CHOSEN, GIVEN]) as found:
        waiting = applied(found).find("Service", "web")
        assert (waiting["spec"]["type"], waiting["spec"]["selector"]) == ("ClusterIP", {"app": "web"})
        found.api.written.clear()
        for _ in range(2):  # as a run does that was killed before it could write it down
            assert open_services(found.replay, found.step("open Services"))["notes"] == []
        assert found.api.written[:2] == [f"{at('Service')}/web", f"{at('Service')}/api"]
        opened = found.find("Service", "web")
        assert opened["metadata"]["uid"] == waiting["metadata"]["uid"]
        assert OUTWARD not in (opened["metadata"].get("annotations") or {})
        assert opened["spec"]["type"] == "NodePort"
        assert ports(found, "web") == [{"port": 80, "nodePort": 30080}]


def test_a_node_port_that_another_has_taken_meanwhile_is_told_and_stops_nothing(tmp_path: Path) -> None:
    with run(tmp_path, [CHOSEN]) as found:
        applied(found)
        theirs = live(
            "Service", "theirs", metadata={"namespace": "other"}, spec={"ports": [{"nodePort": 30080}]}
        )
        found.api.collections["/api/v1/services"] = [theirs]
        result = open_services(found.replay, found.step("open Services"))
        assert ports(found, "web") == [{"port": 80}]
    assert result["notes"] == [
        "Service web: node port 30080 belongs to Service theirs in namespace other here: it gets another"
    ]


def test_a_service_that_somebody_else_made_meanwhile_is_left_to_them(tmp_path: Path) -> None:
    theirs = live("Service", "web", spec={**CHOSEN["spec"], "type": "NodePort"})
    with run(tmp_path, [CHOSEN], [theirs]) as found:
        applied(found)
        assert open_services(found.replay, found.step("open Services"))["objects"] == 1
        assert found.api.written == []


def test_a_run_is_undone_until_outsiders_were_let_in(tmp_path: Path) -> None:
    with run(tmp_path, [CHOSEN]) as found:
        applied(found)
        found.replay.journal.write("open Services", "begun", {})
        with pytest.raises(Refused, match="or opened Services"):
            abort_run(found.replay)
    (tmp_path / "again").mkdir()
    before = live("Service", "web", spec={"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 31234}]})
    with run(tmp_path / "again", [CHOSEN], [live("Namespace", "shop"), before], "replace") as found:
        assert applied(found).find("Service", "web")["spec"]["type"] == "ClusterIP"
        abort_run(found.replay)
        assert found.find("Service", "web")["spec"] == before["spec"]
