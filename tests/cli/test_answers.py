"""What commands say about the values that operations return, without a server."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from drtool.cli import backup, keys, points, restore, status, verify, wal
from drtool.cli.output import Answer, encode
from drtool.cli.table import Table
from drtool.errors import DrtoolError, SourceUnavailable, StoreOutage, StoreUnavailable, UsageError
from drtool.operations import results
from drtool.operations.status import no_point
from drtool.sources.base import Proof

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def shown(answer: Answer) -> str:
    """Return what an answer says below its first two lines, as in a pipe."""
    parts = [part.lines() if isinstance(part, Table) else [part] for part in answer.lines]
    return click.unstyle("\n".join(line for lines in parts for line in lines))


def a_backup(outcome: results.Outcome, error: DrtoolError | None = None, **more: Any) -> results.VolumeBackup:
    return results.VolumeBackup("redis", outcome, error=error, **more)


DONE, NOT_DUE = a_backup("done"), a_backup("not due")
AWAY, OUTAGE = a_backup("failed", SourceUnavailable("away")), a_backup("failed", StoreOutage("later"))
REFUSED = a_backup("failed", StoreUnavailable("no"))


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        ([DONE, NOT_DUE], 0),
        ([a_backup("would run")], 0),
        ([DONE, AWAY], 3),
        ([NOT_DUE, OUTAGE], 3),
        ([AWAY], 6),
        ([AWAY, AWAY], 6),
        ([OUTAGE], 75),
        ([REFUSED], 7),
        ([AWAY, REFUSED], 1),
        ([a_backup("failed")], 1),
    ],
)
def test_a_backup_ends_with_3_when_only_some_failed_and_with_their_code_when_all_did(
    outcomes: list[results.VolumeBackup], code: int
) -> None:
    assert backup.answer(outcomes, NOW).exit_code == code


def test_a_backup_shows_each_volume_with_its_notes_and_its_error() -> None:
    good = a_backup(
        "done", read=2048, stored=512, moment=NOW - timedelta(minutes=3), notes=("slow",), point="p1"
    )
    bad = a_backup("failed", SourceUnavailable("nothing listens", hint="Start it."), reason="due since 11:00")
    answer = backup.answer([good, bad], NOW)
    assert answer.verdict == "backup: 1 done, 1 failed"
    text = shown(answer)
    for part in (
        "2.0 KiB",
        "512 B",
        "(3 min ago)",
        "note: redis: slow",
        "redis: it was run because: due since 11:00",
    ):
        assert part in text
    assert "error: redis: nothing listens\nhint: Start it." in text
    assert encode(answer.facts)["volumes"][1]["error"]["kind"] == "SourceUnavailable"


@pytest.mark.parametrize("outcome", ["would run", "not due", "failed"])
def test_a_backup_measures_nothing_where_nothing_was_done(outcome: results.Outcome) -> None:
    text = shown(backup.answer([a_backup(outcome, seconds=2.0)], NOW))
    assert text.splitlines() == ["", "VOLUME  OUTCOME", f"redis   {outcome}"]
    mixed = shown(backup.answer([a_backup("done", read=2048), a_backup(outcome, seconds=2.0)], NOW))
    assert mixed.splitlines()[-1].split()[-6:] == ["-"] * 6


def test_a_dry_run_of_a_backup_says_that_nothing_was_written() -> None:
    assert backup.answer([a_backup("would run")], NOW).advice.startswith("Nothing was written")


def a_status(**more: Any) -> results.Status:
    given: dict[str, Any] = {"faults": (), "warnings": (), "volumes": (), **more}
    return results.Status("forum", "ab", NOW, recipients=("ann",), last_proven=None, **given)


def a_volume(*, inside: bool) -> results.VolumeStatus:
    exposure = timedelta(minutes=5 if inside else 25)
    return results.VolumeStatus(
        "redis",
        "redis",
        NOW - exposure,
        exposure,
        timedelta(minutes=15),
        inside,
        3,
        NOW,
        None,
        "" if inside else "x",
    )


FAILED = replace(a_volume(inside=True), last_failure="nothing listens")


@pytest.mark.parametrize(
    ("given", "verdict", "alarm"),
    [
        ({"volumes": (a_volume(inside=True),)}, "status: forum is inside of its objectives", False),
        ({"warnings": ("one key",)}, "status: forum is inside of its objectives, 1 warning", False),
        (
            {"volumes": (FAILED, FAILED), "warnings": ("one key",)},
            "status: forum is inside of its objectives, 3 warnings",
            False,
        ),
        ({"faults": ("gap", "hole")}, "status: RED, 2 faults", True),
        ({"volumes": (a_volume(inside=False),)}, "status: RED, outside of the RPO: redis", True),
    ],
)
def test_a_status_ends_with_9_only_when_it_is_red_and_asked_to_check(
    given: dict[str, Any],
    verdict: str,
    alarm: bool,  # noqa: FBT001 - a column of a table
) -> None:
    said, checked = status.answer(a_status(**given)), status.answer(a_status(**given), check=True)
    assert (said.verdict, said.exit_code, said.alarm) == (verdict, 0, alarm)
    assert checked.exit_code == (9 if alarm else 0)


def test_a_status_says_what_to_do() -> None:
    assert status.answer(a_status()).advice == "There is nothing to do."
    assert status.answer(a_status(warnings=("prove a key",))).advice == "prove a key"
    failed = status.answer(a_status(volumes=(FAILED,), warnings=("prove a key",)))
    assert failed.advice == "redis: the last run failed: nothing listens"
    assert failed.advice not in failed.lines
    red = status.answer(a_status(volumes=(a_volume(inside=False),)))
    assert red.advice.startswith("Run `drtool backup redis`")
    assert red.advice.endswith("; look at why it did not run.")
    new = status.answer(a_status(volumes=(replace(a_volume(inside=False), points=0, newest=None),)))
    assert new.advice == "Run `drtool backup redis`."
    assert "redis: the last run failed: x" in red.lines
    assert encode(red.facts)["status"]["volumes"][0]["exposure_seconds"] == 1500


def test_a_status_says_each_cause_once_and_each_volume_on_a_line_of_a_narrow_terminal() -> None:
    reasons = (
        "a delete harms nothing: NO, the bucket keeps no versions",
        "no version can be deleted: NO, none is kept",
    )
    protection = results.Protection("not protected", reasons, NOW)
    volume = replace(a_volume(inside=True), history="not protected", verified_by="L1", last_verified=NOW)
    calm = status.answer(
        a_status(volumes=(volume,), warnings=("prove a key", "lock it"), protection=protection)
    )
    assert (calm.advice, shown(calm).count("prove a key")) == ("prove a key", 0)
    assert shown(calm).count("lock it") == 1
    assert "says it is not so that a delete harms nothing, no version can be deleted\n" in shown(calm)
    assert "the bucket keeps no versions" not in shown(calm)
    [table] = [each for each in calm.lines if isinstance(each, Table)]
    row, *below = table.lines(80)[2:]
    assert [part for part in ("redis", "5 min", "15 min", "not protected", "ok") if part not in row] == []
    assert not any(line.startswith(" ") for line in below)
    empty = replace(a_volume(inside=False), newest=None, exposure=None, overdue=("look at cron",))
    faults = (no_point("redis"), "look at cron")
    red = status.answer(a_status(volumes=(empty,), faults=faults))
    assert "due now" in shown(red)
    assert red.advice == "Run `drtool backup redis`."
    assert shown(red).count("drtool backup redis") == 0
    assert shown(red).count("fault: look at cron") == 1


def a_point(state: Any, minutes: int) -> results.Point:
    moment = NOW - timedelta(minutes=minutes)
    return results.Point("redis", "redis", "id", "snap/x", moment, moment, 2048, 512, state, "why")


def test_points_name_the_newest_that_can_be_restored() -> None:
    answer = points.answer([a_point("listed", 30), a_point("listed", 20), a_point("void", 10)], NOW)
    assert answer.verdict == "points: 2 points can be restored, the newest of 20 min ago"
    assert not answer.alarm
    assert points.answer([a_point("listed", 30)], NOW).verdict.startswith("points: 1 point can be restored")
    assert "id of redis: why" in answer.lines  # below the table: it may be long


def test_points_of_which_none_can_be_restored_are_bad_news() -> None:
    answer = points.answer([a_point("void", 10)], NOW)
    assert (answer.verdict, answer.alarm, answer.exit_code) == ("points: nothing can be restored", True, 0)


@pytest.mark.parametrize(
    ("dry_run", "verdict"), [(False, "restore: redis is back as of"), (True, "restore: redis would come")]
)
def test_a_restore_says_of_which_moment_the_data_is(dry_run: bool, verdict: str) -> None:  # noqa: FBT001
    proof = Proof("keys", ok=True, expected="5", actual="5")
    result = results.RestoreResult(
        "redis", "redis", "p1", None, NOW - timedelta(minutes=3), "/x", 4096, 2.0, {"writing": 1.5}, (proof,),
        {}, ("a note",), dry_run,
    )  # fmt: skip
    answer = restore.answer(result, NOW)
    assert answer.verdict.startswith(f"{verdict} ")
    assert "(3 min ago)" in answer.verdict
    assert "note: a note" in answer.lines
    assert ("size   4.0 KiB in 2 s, 2.0 KiB/s" in answer.lines) is not dry_run
    assert ("size   4.0 KiB" in answer.lines) is dry_run
    assert ("PHASE    TOOK\nwriting  1.5 s" in shown(answer)) is not dry_run
    assert answer.verdict.endswith("1 proof holds") is not dry_run
    assert encode(answer.facts)["restore"]["phases"] == {"writing": 1.5}


def test_tablespaces_move_where_they_are_told() -> None:
    assert restore.parse_moves(["/a=/b", "/c=/d=e"]) == {"/a": "/b", "/c": "/d=e"}


@pytest.mark.parametrize("texts", [["/a"], ["=/b"], ["/a="], ["/a=/b", "/a=/c"]])
def test_a_tablespace_without_a_new_place_of_its_own_is_wrong_usage(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        restore.parse_moves(texts)


def test_a_verification_with_faults_ends_with_4_and_names_every_object() -> None:
    faults = (results.Fault("packs/x", "a byte is wrong"),)
    bad = verify.answer(results.VerifyResult("L1", 7, 2048, 2, faults, 1.0))
    good = verify.answer(results.VerifyResult("L1", 7, 2048, 2, (), 1.0))
    assert (bad.exit_code, good.exit_code) == (4, 0)
    assert "packs/x: a byte is wrong" in bad.lines
    assert bad.verdict == "verify L1: 1 object of 7 is wrong"
    assert good.verdict == "verify L1: all is as it was written: 7 objects, 2 points"
    assert "read 7 objects, 2.0 KiB, 2 points in 1 s, 2.0 KiB/s" in good.lines


def test_a_verification_names_a_snapshot_that_never_was_a_point_and_claims_no_word_of_its_backup() -> None:
    left = (results.Fault("snap/x", "epoch 1 ended"),)
    answer = verify.answer(results.VerifyResult("L1", 7, 2048, 2, (), 1.0, unfinished=left))
    assert answer.exit_code == 0
    assert "snap/x can never be restored, and nobody called it a point: epoch 1 ended" in answer.lines


def test_a_verification_of_a_share_does_not_speak_of_all() -> None:
    answer = verify.answer(results.VerifyResult("L2", 7, 2048, 1, (), 1.0, share=0.15))
    assert answer.verdict == "verify L2: all names, and today's 15 % of the objects, are as they were written"
    assert answer.advice == "Run it daily with the same share: after 7 days all is read."


def test_a_verification_that_was_not_recorded_says_why() -> None:
    result = results.VerifyResult("L1", 7, 2048, 2, (), 1.0, unrecorded="a dry run writes nothing")
    assert verify.answer(result).lines[-1] == "note: this is not recorded: a dry run writes nothing"
    assert encode(verify.answer(result, dry_run=True).facts)["dry_run"] is True


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_catch_up_says_up_to_where_all_is_durable(dry_run: bool) -> None:  # noqa: FBT001
    result = results.CatchUp("postgres", "7-18-1", 1, "0/1000000", "0/3000000", NOW, 2, 1, 4096, 2048, 0.5)
    answer = wal.answer(result, NOW, dry_run=dry_run)
    assert "0/3000000" in answer.verdict
    assert answer.advice.startswith("Nothing was written") is dry_run
    measures = ["received  4.0 KiB of WAL in 0.5 s", "stored    2.0 KiB in 2 segments, 1 tail"]
    assert answer.lines[3:] == ([] if dry_run else measures)


def test_a_proven_key_names_the_volumes_that_it_opened() -> None:
    answer = keys.answer(results.KeyProof("ann", {"postgres": "snap/p", "redis": "snap/r"}, 3))
    assert answer.verdict == "keys prove: ann opens postgres, redis"
    assert "the keys of 3 runs were opened" in answer.lines
    dry = keys.answer(
        results.KeyProof("ann", {"redis": "r"}, 1, unrecorded="a dry run writes nothing"), dry_run=True
    )
    assert dry.advice.startswith("Nothing was written")
    assert "the keys of 1 run were opened" in dry.lines
