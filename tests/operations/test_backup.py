"""What a backup leaves on record of a volume when somebody ends it."""

import json
from pathlib import Path

import pytest

from drtool.cli.backup import exit_code
from drtool.operations.backup import newest_snapshot, run_backup
from drtool.operations.points import take_inventory
from drtool.operations.session import Session, Silent, World
from drtool.policy.load import parse_policy
from drtool.repository.records import Record
from drtool.repository.runs import read_runs, run_kind
from drtool.repository.storage.memory import MemoryStore
from tests.repository.counting import Noting
from tests.repository.stage import Stage, WholeSeconds, make_stage


class _Ended(BaseException):
    """Somebody asked the process to end."""


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def session_of(stage: Stage, folder: Path, store: MemoryStore | Noting, *more: dict[str, object]) -> Session:
    (folder / "tree").mkdir(exist_ok=True)
    (folder / "tree/song").write_text("a song")
    text = json.dumps(
        {
            "version": 1,
            "name": "shop",
            "repository": {"url": f"file://{folder}/repository"},
            "objectives": {"rpo": "15m", "rto": "1h"},
            "volumes": [{"name": "files", "source": "files", "path": str(folder / "tree")}, *more],
        }
    )
    world = World(stage.clock, {}, Silent())
    return Session(parse_policy(text, "policy"), text, stage.writer(store), world)


def outcomes(stage: Stage) -> list[str]:
    runs = [run for run in read_runs(stage.writer().records) if isinstance(run, Record)]
    return [run.value["outcome"] for run in runs if run_kind(run) == "backup"]


@pytest.mark.parametrize(
    ("verb", "family", "told"),
    [
        ("versions", "snap/", []),  # nobody knows yet whether it is due
        ("list", "packs/", ["failed"]),
    ],
)
def test_who_ends_a_backup_is_on_record_once_the_capture_has_begun(
    stage: Stage, tmp_path: Path, verb: str, family: str, told: list[str]
) -> None:
    met: list[str] = []

    def end(called: str, name: str) -> None:
        if called == verb and name.startswith(family):
            met.append(name)
            raise _Ended

    session = session_of(stage, tmp_path, Noting(stage.store, end))

    with pytest.raises(_Ended):
        run_backup(session, ["files"], due=True)

    assert met
    assert outcomes(stage) == told


def test_of_two_points_that_came_within_a_second_the_later_one_is_built_on(tmp_path: Path) -> None:
    stage = make_stage(kind=WholeSeconds)
    session = session_of(stage, tmp_path, stage.store)

    points = [run_backup(session, ["files"])[0].point for _ in range(2)]

    inventory = take_inventory(session, "files")
    newest = newest_snapshot(inventory)
    assert newest is not None
    assert len({each.received for each in inventory.snapshots.values()}) == 1
    assert newest.name == points[-1]


@pytest.mark.parametrize("due", [False, True])
def test_a_volume_that_the_repository_does_not_know_yet_alone_fails(
    stage: Stage, tmp_path: Path, *, due: bool
) -> None:
    later: dict[str, object] = {"name": "pg18", "source": "postgres", "host": "db.test", "user": "drtool"}
    session = session_of(stage, tmp_path, stage.store, later)

    known, new = run_backup(session, [], due=due)

    assert (known.volume, known.outcome) == ("files", "done"), known.error
    assert new.error is not None
    assert (new.volume, new.error.exit_code) == ("pg18", 5)
    assert "drtool keys volumes" in (new.error.hint or "")
    assert exit_code([known, new]) == 3
