"""A restored system gets a new writer, over a real repository in a directory."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drtool.errors import DrtoolError, Refused, UsageError, WrongKey
from drtool.operations.cluster_restore.enrolling import (
    command_left,
    enrolment_for,
    refuse_unready,
    with_taken_over,
)
from drtool.operations.cluster_restore.protect import enrol_new_writer
from drtool.operations.cluster_restore.replay import Enrolment
from drtool.operations.cluster_restore.results import Challenge, ClusterRestoreRequest
from drtool.operations.points import points_of, take_inventory
from drtool.operations.session import Where
from drtool.policy.load import parse_policy
from drtool.policy.schema import Policy
from drtool.policy.schema import Repository as RepositorySettings
from drtool.recovery.in_place import Switch
from drtool.recovery.journal import State
from drtool.recovery.plan import Plan
from drtool.recovery.steps import Phase, Step
from drtool.recovery.target import TargetCluster
from drtool.recovery.wishes import Wishes
from drtool.repository.format.names import parse_json_time
from drtool.repository.kit import parse_bundle
from tests.operations.cluster_restore.runs import Kept
from tests.operations.cluster_restore.unprotected import (
    FACTS,
    POSTGRES,
    S3_KEYS,
    WRITER,
    Back,
    admin_sheet,
    restored,
)
from tests.recovery.stage import made
from tests.scenarios.commands import Commands
from tests.sources.kubernetes.api import Json

OTHER = {"name": "other", "source": "postgres", "host": "other", "user": "drtool"}


class _Killed(BaseException):
    """The process is no more."""


class _Interrupted(Kept):
    """A journal that something comes behind, once it holds a note."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then

    def write(self, step: str, state: State, detail: Json) -> None:
        super().write(step, state, detail)
        self._then()


def _kill() -> None:
    raise _Killed


def test_a_new_writer_takes_the_place_of_the_one_before_and_each_postgres_gets_an_epoch(
    tmp_path: Path,
) -> None:
    with restored(tmp_path, POSTGRES, {"name": "objects", "source": "manifests"}) as back:
        assert back.enrol() == {"writer": "writer-2", "config": 1}

        config = back.config()
        assert {each.name: each.until is None for each in config.signers if each.role == "writer"} == {
            "writer-1": False,
            "writer-2": True,
        }
        [epoch] = config.epochs
        assert (epoch.volume, epoch.system, epoch.major, epoch.parent_lsn) == ("postgres", *FACTS.values())
        [bundle] = back.bundles()
        assert parse_bundle(bundle).name == "writer-2"


def test_what_the_writer_before_stored_up_to_the_enrolment_still_counts(back: Back) -> None:
    back.drtool("backup")
    session = back.session()
    back.enrol(session=session)
    points = [
        each for name in ("objects", "media") for each in points_of(take_inventory(back.session(), name))
    ]
    assert {each.state for each in points} == {"listed"}
    [ended] = [each.until for each in back.config().signers if each.role == "writer" and each.until]
    newest = max(found.modified for found in session.repository.store.list("runs/"))
    assert newest < parse_json_time(ended)


def longer(back: Back) -> Policy:
    """Return the policy of the system, with runs of its files that may last a hundred years, and one volume more."""
    content = json.loads(back.drtool.policy.read_text())
    content["volumes"][1]["max_run"] = "36500d"
    content["volumes"].append({"name": "later", "source": "files", "path": "/later"})
    return parse_policy(json.dumps(content), "shop")


@pytest.mark.parametrize("goes_on", [False, True])
def test_limits_that_only_a_run_or_the_journal_told_are_not_signed(back: Back, *, goes_on: bool) -> None:
    before = back.config().volumes
    journal = _Interrupted(lambda: back.enrol_elsewhere("theirs")) if goes_on else Kept()
    if goes_on:
        with pytest.raises(Refused):
            back.enrol(journal=journal, policy=longer(back))
    back.enrol(journal=Kept(journal.kept), policy=longer(back))

    assert back.config().volumes == before


def test_limits_of_the_policy_that_was_given_are_named_before_they_are_signed(back: Back) -> None:
    given, plan = replace(back.session(), policy=longer(back)), back.replay.plan
    target = TargetCluster("dr", "https://dr.example", "v1.34.1", "uid")
    challenge = Challenge("shop", target, "shop", 1, 0)

    assert with_taken_over(challenge, given, plan).taken_over == (
        "max_run of media: 36500 d instead of 1 d",
        "volume later, whose runs may last 1 d",
    )
    assert with_taken_over(challenge, back.session(), plan).taken_over == ()
    assert with_taken_over(challenge, given, plan, ["enrol writer"]).taken_over == ()

    back.enrol(session=given)
    assert back.config().volumes["media"].max_run == 36500 * 86400
    assert "later" in back.config().volumes


def test_a_postgres_whose_recovery_ended_nobody_knows_where_is_not_mingled_with_its_life_before(
    tmp_path: Path,
) -> None:
    with restored(tmp_path, POSTGRES) as back:
        with pytest.raises(DrtoolError, match="nothing tells where the recovery of postgres ended"):
            back.enrol(results={})
        assert back.bundles() == []
        assert back.config().number == 0


def test_who_was_killed_after_the_note_goes_on_with_the_same_writer(back: Back) -> None:
    journal = _Interrupted(_kill)
    with pytest.raises(_Killed):
        back.enrol(journal=journal)
    assert back.config().number == 0  # what was noted does not count yet
    resumed = Kept(journal.kept)

    assert back.enrol(journal=resumed) == {"writer": "writer-2", "config": 1}
    assert back.enrol(journal=resumed) == {"writer": "writer-2", "config": 1}  # killed before it was done

    assert len(resumed.kept) == 1
    assert [each.name for each in back.config().signers if each.role == "writer"] == ["writer-1", "writer-2"]


def test_who_lost_a_race_says_so_and_makes_another_writer_when_it_is_resumed(back: Back) -> None:
    journal = _Interrupted(lambda: back.enrol_elsewhere("theirs"))
    with pytest.raises(Refused, match="config 1 is theirs"):
        back.enrol(journal=journal)
    resumed = Kept(journal.kept)

    assert back.enrol(journal=resumed) == {"writer": "writer-3", "config": 2}

    noted = [parse_bundle(each.detail["bundle"]).name for each in resumed.kept]
    assert noted == ["writer-2", "writer-3"]
    valid = [each.name for each in back.config().signers if each.role == "writer" and each.until is None]
    assert valid == ["writer-3"]


def test_what_a_new_writer_needs_is_looked_for_before_anything_begins(back: Back) -> None:
    replay, sheet, folder = back.replay, admin_sheet(back.drtool), back.folder / "secrets"
    content = json.loads(back.drtool.policy.read_text())
    content["repository"] = {"url": "s3://bucket/shop", "writer": WRITER, **S3_KEYS}
    policy = parse_policy(json.dumps(content), "shop")
    (folder / "drtool-s3").mkdir()
    (folder / "drtool-s3/access_key").write_text("x")

    with pytest.raises(Refused, match="lacks drtool-s3/secret_key, which"):  # its bundle is yet to be made
        refuse_unready(replay.session, replay.plan, policy, Enrolment(sheet, folder))

    (folder / "drtool-s3/secret_key").write_text("x")
    refuse_unready(replay.session, replay.plan, policy, Enrolment(sheet, folder))


def test_a_part_of_a_system_enrols_nobody(back: Back) -> None:
    plan = replace(back.replay.plan, wishes=Wishes(volumes=("media",), enrol=True))
    enrolment = Enrolment(admin_sheet(back.drtool), back.folder / "secrets")
    request = ClusterRestoreRequest("here", enrolment=enrolment)
    with pytest.raises(UsageError, match="a part of a system enrols no new writer"):
        enrolment_for(back.replay.session, replace(plan, phases=()), back.replay.policy, request)


def switched(*volumes: str) -> Plan:
    """Return the plan of a restore in place."""
    steps = tuple(Step(f"restore {each}", "restore", each) for each in volumes)
    wishes = Wishes(image="drtool:1", volumes=volumes, in_place=True, enrol=True)
    plan = replace(made(wishes=Wishes(image="drtool:1", enrol=True)), wishes=wishes)
    switches = tuple(Switch(each, f"data-{each}", f"data-{each}-new", {}) for each in volumes)
    return replace(plan, phases=(Phase("data", steps),), in_place=switches)


@pytest.mark.parametrize("volumes", [("postgres",), ("postgres", "other")])
def test_each_postgres_that_goes_back_in_place_gets_an_epoch_and_the_others_live_on(
    tmp_path: Path, volumes: tuple[str, ...]
) -> None:
    with restored(tmp_path, POSTGRES, OTHER) as back:
        facts = {f"restore {each}": {"facts": {**FACTS, "system_identifier": each}} for each in volumes}
        replay = replace(back.replay, plan=switched(*volumes), results=facts)
        enrolment = Enrolment(admin_sheet(back.drtool), back.folder / "secrets")
        refuse_unready(replay.session, replay.plan, replay.policy, enrolment)
        enrol_new_writer(replay, Step("enrol writer", "enrol", "a new writer"))
        assert replay.reopen is not None
        config = replay.reopen().repository.config
    assert [(each.volume, each.epoch) for each in config.epochs] == [(each, 2) for each in volumes]
    assert len([each for each in config.signers if each.role == "writer" and each.until is None]) == 1


def test_files_that_go_back_in_place_need_no_new_writer(back: Back) -> None:
    enrolment = Enrolment(admin_sheet(back.drtool), back.folder / "secrets")
    request = ClusterRestoreRequest("here", enrolment=enrolment)
    with pytest.raises(UsageError, match="a part of a system enrols no new writer"):
        enrolment_for(back.replay.session, switched("media"), back.replay.policy, request)


def test_the_admin_sheet_of_another_repository_is_refused(back: Back, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    content = {**back.drtool.content, "repository": {"url": f"file://{tmp_path}/other"}}
    other = Commands(tmp_path / "others", content, {}).written()
    other.init()
    with pytest.raises(WrongKey, match="not that of this repository"):
        refuse_unready(
            back.replay.session,
            back.replay.plan,
            back.replay.policy,
            Enrolment(admin_sheet(other), back.folder / "secrets"),
        )


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        (RepositorySettings(url="s3://backups/shop", ca_file="keys/ca.pem"), "/etc/shop/keys/ca.pem"),
        (RepositorySettings(url="s3://backups/shop", ca_file="/etc/ca.pem"), "/etc/ca.pem"),
        (Where("s3://backups/shop", ca_file=Path("ca.pem")), str(Path.cwd() / "ca.pem")),
    ],
)
def test_who_enrols_later_finds_the_ca_of_the_store_wherever_that_is_typed(
    back: Back, settings: RepositorySettings | Where, file: str
) -> None:
    session = back.session()
    world = replace(session.world, folder=Path("/etc/shop"))
    plan = made(wishes=Wishes(image="drtool:1", enrol=False))

    said = command_left(
        replace(back.replay, session=replace(session, world=world, settings=settings), plan=plan)
    )

    assert f" --ca-file {file} " in said
