"""A new writer after a restore: what it sees, what it makes, and what becomes of the one before."""

from dataclasses import replace

import pytest

from drtool.errors import Corrupt, Refused, WrongKey
from drtool.repository.config import Epoch
from drtool.repository.enrol import Recovered, add_recipient, enrol_writer
from drtool.repository.format.crypto import SigningKey
from drtool.repository.kit import Bundle
from drtool.repository.records import Record
from drtool.repository.repository import Repository, open_with_bundle, open_with_recovery, put_config
from drtool.repository.runs import put_run, read_runs
from drtool.repository.verify import Found, check_references
from tests.repository.stage import (
    Stage,
    WholeSeconds,
    back_up,
    make_stage,
    message,
    restore,
    snapshots,
    text,
    unreadable,
)

FILES = {"a": text("a", 200_000), "small": b"secret"}


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def enrol(stage: Stage, *recovered: Recovered) -> Bundle:
    stage.clock.leap(seconds=1)  # a writer ends with the beginning of a second
    config, bundle = enrol_writer(stage.recovered(), stage.admin, recovered)
    put_config(stage.store, config, stage.admin)
    return bundle


def opened(stage: Stage, bundle: Bundle) -> Repository:
    return open_with_bundle(stage.store, bundle)


def test_points_of_both_lives_are_read_by_the_new_writer_and_restored_by_every_recipient(
    stage: Stage,
) -> None:
    before = back_up(stage.writer(), FILES)
    new = opened(stage, enrol(stage))
    after = back_up(new, {**FILES, "b": b"more"}, snapshots(new)[-1])

    assert [(each.name, each.signer) for each in snapshots(new)] == [
        (before.name, "writer-1"),
        (after.name, "writer-2"),
    ]
    assert after.previous == before.name
    for recipient in ("first", "second"):
        recovered = stage.recovered(recipient)
        assert restore(recovered, before) == FILES
        assert restore(recovered, after) == {**FILES, "b": b"more"}
        assert not unreadable(recovered)


def test_the_first_backup_of_a_new_writer_refers_to_nothing_of_the_old_one(stage: Stage) -> None:
    before = back_up(stage.writer(), FILES)
    new = opened(stage, enrol(stage))
    first = back_up(new, FILES, snapshots(new)[-1])
    second = back_up(new, FILES, first)

    assert set(first.runs) == {first.run}
    assert first.stored >= before.stored
    assert second.stored < first.stored


def test_a_new_writer_has_keys_of_its_own_and_none_that_tells_names_of_the_old_one(stage: Stage) -> None:
    old, new = stage.created.writer, enrol(stage)

    assert new.id_key is not None
    assert new.id_key != old.id_key
    assert new.signing_seed != old.signing_seed
    assert new.list_keys[1:] == old.list_keys
    assert new.list_keys[0] not in old.list_keys
    assert (new.role, new.name, new.policy, new.config_number) == ("writer", "writer-2", "forum", 1)


def test_the_writer_before_is_refused_and_told_why(stage: Stage) -> None:
    back_up(stage.writer(), FILES)
    enrol(stage)

    with pytest.raises(
        Refused, match="writer-1 ended at 2026-03-02T08:00:01Z: nothing that it writes"
    ) as refused:
        stage.writer()
    assert "a new writer enrolled" in refused.value.hint


def test_what_the_writer_before_still_writes_does_not_count(stage: Stage) -> None:
    old = stage.writer()
    before = back_up(old, FILES)
    new = opened(stage, enrol(stage))
    after = back_up(old, FILES, before)  # it was opened before, and does not look again
    put_run(old.records, "backup", stage.clock(), {"outcome": "done"})

    for repository in (new, stage.recovered()):
        assert [each.name for each in snapshots(repository)] == [before.name]
        [fault] = [each.fault for each in unreadable(repository)]
        ended = next(each.until for each in repository.config.signers if each.name == "writer-1")
        assert message(fault).startswith(
            f"{after.name}: signed by writer-1, which ended at {ended}, and received"
        )
        assert isinstance(fault, Corrupt)
        assert "with the times of its objects" in fault.hint
        assert not [each for each in read_runs(repository.records) if isinstance(each, Record)]


def test_what_is_received_in_the_second_of_its_writers_end_does_not_count() -> None:
    stage = make_stage(kind=WholeSeconds)
    old = stage.writer()
    before = back_up(old, FILES)
    stage.clock.leap(seconds=0.7)
    new = opened(stage, enrol(stage))
    after = back_up(old, FILES, before)  # as the store tells it, at the beginning of the second

    assert [each.name for each in snapshots(new)] == [before.name]
    assert [each.name for each in unreadable(new)] == [after.name]
    [ended] = [each.until for each in new.config.signers if each.name == "writer-1"]
    assert ended == new.config.made == "2026-03-02T08:00:01.000000Z"


def test_a_bundle_ends_when_its_signer_does_and_not_before(stage: Stage) -> None:
    repository = stage.writer()
    later = repository.config.signers[0]
    ends = replace(later, until="2026-03-02T09:00:00.000000Z")
    signers = [ends, *repository.config.signers[1:]]
    put_config(
        stage.store,
        repository.config.next(stage.clock(), repository.config_sha256, signers=signers),
        stage.admin,
    )

    assert stage.writer().config.number == 1
    stage.clock.leap(hours=1)
    with pytest.raises(Refused, match="writer-1 ended at 2026-03-02T09:00:00Z"):
        stage.writer()


def test_a_restored_lineage_gets_the_epoch_behind_its_newest(stage: Stage) -> None:
    life = Recovered("postgres", "7", 17, "0/5000000")
    enrol(stage, life)
    enrol(stage, replace(life, end_lsn="0/6000000"), Recovered("other", "7", 17))

    assert stage.recovered().config.epochs == [
        Epoch("postgres", "7", 17, 2, "0/5000000"),
        Epoch("postgres", "7", 17, 3, "0/6000000"),
        Epoch("other", "7", 17, 2),
    ]


def test_writers_follow_each_other_and_only_the_last_one_writes(stage: Stage) -> None:
    points = [back_up(stage.writer(), FILES)]
    bundles = [stage.created.writer]
    for _ in range(2):
        bundles.append(enrol(stage))
        points.append(back_up(opened(stage, bundles[-1]), FILES, points[-1]))
    for bundle in bundles[:-1]:
        with pytest.raises(Refused, match=f"{bundle.name} ended"):
            opened(stage, bundle)
    for point in points:
        assert restore(stage.recovered(), point) == FILES
    assert [each.signer for each in snapshots(opened(stage, bundles[-1]))] == [
        "writer-1",
        "writer-2",
        "writer-3",
    ]


def test_everything_verifies_with_the_new_bundle_and_with_a_recovery_key(stage: Stage) -> None:
    old = stage.writer()
    put_run(old.records, "backup", stage.clock(), {"outcome": "done"})
    back_up(old, FILES)
    new = opened(stage, enrol(stage))
    back_up(new, FILES, snapshots(new)[-1])
    for repository in (new, stage.recovered("second")):
        found = Found()
        check_references(repository, found)
        assert (found.faults, found.points) == ({}, 2)


def test_a_recipient_that_comes_later_opens_the_keys_of_all_writers(stage: Stage) -> None:
    enrol(stage)
    config = stage.recovered().config
    entry = replace(config.recipients[0], name="again")
    following = add_recipient(stage.recovered(), stage.lines["first"].key, stage.admin, entry, stage.clock())
    assert [each.writer for each in following.writers] == ["writer-1", "writer-2"]


def test_without_a_recovery_key_nobody_enrols(stage: Stage) -> None:
    with pytest.raises(WrongKey, match="recovery key"):
        enrol_writer(stage.writer(), stage.admin, ())


def test_another_admin_enrols_nobody(stage: Stage) -> None:
    repository = open_with_recovery(stage.store, stage.lines["first"])
    with pytest.raises(WrongKey, match="admin key is not that of this repository") as wrong:
        enrol_writer(repository, SigningKey(b"o" * 32), ())
    assert repository.config.repository in wrong.value.hint


def test_of_two_who_enrol_at_once_the_second_is_refused_as_soon_as_it_opens(stage: Stage) -> None:
    first, second = (enrol_writer(stage.recovered(), stage.admin, ()) for _ in range(2))
    for config, _ in (first, second):
        put_config(stage.store, config, stage.admin)

    assert opened(stage, first[1]).config == first[0]
    with pytest.raises(Refused, match="another config 1 than the one that this machine has seen"):
        opened(stage, second[1])
    back_up(opened(stage, first[1]), FILES)
    enrol(stage)
    assert [each.name for each in stage.recovered().config.signers if each.until is None] == [
        "operator-1",
        "writer-3",
    ]
