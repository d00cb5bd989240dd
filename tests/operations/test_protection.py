"""Whether history is protected, as a writer's probe recorded it and a reader outside sees it."""

import pytest

from drtool.errors import StoreUnavailable
from drtool.operations.protection import probe_daily, protection_of
from drtool.operations.session import Session, Silent, World
from drtool.repository.records import Record
from drtool.repository.repository import open_with_bundle
from drtool.repository.runs import put_run, read_runs, run_kind
from drtool.repository.storage.memory import MemoryStore
from tests.repository.counting import Noting
from tests.repository.stage import Stage, WholeSeconds, make_stage


class Notes(Silent):
    """Remembers what a person should see."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Narrow(MemoryStore):
    """Refuses to delete and to give packs, as S3 does to a writer's credentials."""

    def delete(self, name: str, version: str | None = None) -> None:
        raise StoreUnavailable(f"may not delete {name}")

    def get(self, name: str, version: str | None = None, start: int = 0, length: int | None = None) -> bytes:
        if name.startswith("packs/"):
            raise StoreUnavailable(f"may not get {name}")
        return super().get(name, version, start, length)


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def session_of(stage: Stage, progress: Silent | None = None) -> Session:
    world = World(stage.clock, {}, progress or Silent())
    return Session(None, "", stage.writer(), world)


def probes(stage: Stage) -> list[Record]:
    found = read_runs(stage.writer().records)
    return [each for each in found if isinstance(each, Record) and run_kind(each) == "probe"]


def test_nobody_knows_before_a_backup_has_probed(stage: Stage) -> None:
    found = protection_of(probes(stage), stage.clock())
    assert (found.state, found.probed) == ("unknown", None)


def test_a_store_that_lets_its_writer_delete_does_not_protect_and_says_what(stage: Stage) -> None:
    probe_daily(session_of(stage))
    found = protection_of(probes(stage), stage.clock())
    assert found.state == "not protected"
    assert found.probed is not None
    assert any("destroy versions for good" in reason for reason in found.reasons)
    assert any("may delete config, heads, packs" in reason for reason in found.reasons)
    assert [weakness for weakness in found.weaknesses if "read packs" in weakness]


def test_a_store_that_refuses_it_protects(stage: Stage) -> None:
    stage.store.__class__ = Narrow
    probe_daily(session_of(stage))
    found = protection_of(probes(stage), stage.clock())
    assert found.state == "protected", found
    assert found.weaknesses == ()
    assert "no stored object can be deleted: it is refused" in found.reasons


def test_what_was_found_a_month_ago_is_not_known_of_today(stage: Stage) -> None:
    stage.store.__class__ = Narrow
    probe_daily(session_of(stage))
    stage.clock.leap(days=29)
    assert protection_of(probes(stage), stage.clock()).state == "protected"
    stage.clock.leap(days=2)
    found = protection_of(probes(stage), stage.clock())
    assert found.state == "unknown"
    assert found.reasons[0].startswith("no backup has probed the store for 30 days")
    assert found.probed is not None


def test_it_is_probed_once_a_day(stage: Stage) -> None:
    for step, expected in (({}, 1), ({"hours": 23}, 1), ({"hours": 2}, 2)):
        stage.clock.leap(**step)
        probe_daily(session_of(stage))
        assert len(probes(stage)) == expected
    assert protection_of(probes(stage), stage.clock()).probed == max(each.received for each in probes(stage))


def test_of_two_probes_within_a_second_the_later_one_is_believed() -> None:
    stage = make_stage(kind=WholeSeconds)
    for ok in (False, True):
        found = [{"name": "all", "ok": ok, "detail": "", "guards": True}]
        put_run(stage.writer().records, "probe", stage.clock(), {"findings": found})

    assert len({each.received for each in probes(stage)}) == 1
    assert protection_of(probes(stage), stage.clock()).state == "protected"


def test_a_probe_that_fails_is_a_note_and_no_failure(stage: Stage) -> None:
    def refuse(verb: str, name: str) -> None:
        if (verb, name.partition("/")[0]) == ("put", "probe"):
            raise StoreUnavailable("the bucket is full")

    progress = Notes()
    repository = open_with_bundle(Noting(stage.store, refuse), stage.created.writer)
    probe_daily(Session(None, "", repository, World(stage.clock, {}, progress)))
    assert progress.notes == ["whether history is protected could not be probed: the bucket is full"]
    assert probes(stage) == []


@pytest.mark.parametrize(
    "findings", [None, "none", [], ["a text"], [{"name": "x", "ok": True}], [{"guards": True}]]
)
def test_a_record_that_says_nothing_of_use_protects_nothing(stage: Stage, findings: object) -> None:
    put_run(stage.writer().records, "probe", stage.clock(), {"findings": findings})
    assert protection_of(probes(stage), stage.clock()).state != "protected"


def test_who_is_no_writer_cannot_say_that_history_is_protected(stage: Stage) -> None:
    good = [{"name": "all", "ok": True, "detail": "", "guards": True}]
    put_run(
        stage.records_of("operator", stage.created.operator_seed), "probe", stage.clock(), {"findings": good}
    )
    assert protection_of(probes(stage), stage.clock()).state == "unknown"
    put_run(stage.writer().records, "probe", stage.clock(), {"findings": good})
    assert protection_of(probes(stage), stage.clock()).state == "protected"
