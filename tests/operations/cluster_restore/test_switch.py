"""Claims get the volumes that were filled beside them, against an API server of the tests that binds claims."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from drtool.deploy.one_off import one_off_name
from drtool.operations.cluster_restore.outcome import outcome_of
from drtool.operations.cluster_restore.references import check_references
from drtool.operations.cluster_restore.replay import RUN_LABEL
from tests.operations.cluster_restore.runs import RUN, at
from tests.operations.cluster_restore.switching import CLAIM, NEW, Killed, Scene, dying, scene
from tests.recovery.stage import policy
from tests.recovery.test_in_place import DB, REPLICATED, STANDING, bound, owned, pod
from tests.sources.kubernetes.api import Json


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


def test_what_was_deleted_since_the_plan_is_told_and_keeps_nothing_from_starting(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        objects = {name: each for name, each in found.replay.objects.items() if name != "apps/StatefulSet/db"}
        found.run.api.collections[at("Pod")] = []
        gone = Scene(found.run, replace(found.replay, objects=objects))
        gone.switch()
        notes = gone.start()["notes"]
    assert notes[0] == "apps/StatefulSet/db was deleted meanwhile, and is not started again"


def test_until_what_uses_it_is_ready_a_new_volume_is_kept_whatever_its_class_says(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        found.switch()
        kept = found.volume_of(CLAIM)["spec"]["persistentVolumeReclaimPolicy"]
        found.start()
        left = found.volume_of(CLAIM)["spec"]["persistentVolumeReclaimPolicy"]
    assert (kept, left) == ("Retain", "Delete")


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
