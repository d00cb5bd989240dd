"""A switch that is killed, fails or is given up: it is undone, or gone on with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drtool.errors import Refused, TemporaryFailure
from drtool.operations.cluster_restore import abort, switch
from drtool.operations.cluster_restore.abort import abort_run
from drtool.operations.cluster_restore.outcome import failed
from drtool.operations.cluster_restore.replay import RUN_LABEL
from drtool.operations.cluster_restore.stopping import stop
from drtool.operations.plan import prepare_again
from drtool.recovery.journal import fold
from drtool.recovery.manifests.hold import REPLICAS
from drtool.recovery.wishes import Wishes
from tests.operations.cluster_restore.runs import RUN, Kept, at, live
from tests.operations.cluster_restore.switching import CLAIM, NEW, Killed, Scene, dying, scene
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import well

CHANGES = 11  # requests of a switch and a start that change something


class Unkept(Kept):
    """A journal that takes a step's begin, and dies with what it would note."""

    def __init__(self, journal: Any) -> None:
        super().__init__()
        self.journal = journal

    def write(self, step: str, state: Any, detail: Json) -> None:
        if state == "noted":
            raise Killed
        self.journal.write(step, state, detail)


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
