"""A backup of a volume before it is switched."""

from dataclasses import replace
from pathlib import Path

import pytest

from drtool.deploy.workloads import backup_job
from drtool.errors import TemporaryFailure
from drtool.operations.cluster_restore import backup_jobs
from drtool.operations.cluster_restore.replay import RUN_LABEL
from drtool.operations.cluster_restore.safety import back_up_before
from drtool.operations.points import list_points
from drtool.policy.moments import exact
from drtool.recovery.steps import Step
from tests.operations.cluster_restore.runs import RUN, at
from tests.operations.cluster_restore.switching import scene
from tests.operations.cluster_restore.unprotected import JOBS, POSTGRES, Back, restored
from tests.sources.kubernetes.api import Json


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


def test_a_backup_before_a_switch_is_a_point_and_leaves_no_job(enrolled: Back) -> None:
    media, before = Step("safety backup media", "safety", "media"), list_points(enrolled.session())
    enrolled.target.becomes = enrolled.run_job

    told = back_up_before(replace(enrolled.replay, session=enrolled.session()), media)

    [new] = [
        each for each in list_points(enrolled.session()) if each.name not in {one.name for one in before}
    ]
    assert told == {"point": new.name, "moment": exact(new.end)}
    assert enrolled.target.collections[JOBS] == []


def test_a_backup_that_ends_well_and_leaves_no_point_at_all_leaves_it_to_the_old_volume(
    tmp_path: Path,
) -> None:
    with restored(tmp_path, POSTGRES) as back:
        back.target.collections[at("CronJob")] = [
            backup_job(back.replay.policy, back.replay.policy.volume("postgres"), "drtool:1")
        ]
        [note] = back_up_before(back.replay, Step("safety", "safety", "postgres"))["notes"]
    assert "its backup ended well, and no point of after the plan is listed" in note
