"""Making and opening a repository, and adding a recipient to it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from drtool.errors import Corrupt, DrtoolError, Refused, StoreUnavailable, WrongKey
from drtool.repository.config import Epoch, RecipientEntry
from drtool.repository.enrol import add_recipient, rewrap_runs
from drtool.repository.format.crypto import RecoveryKey, SigningKey, sha256
from drtool.repository.format.record import Place, pack_public, sign
from drtool.repository.kit import RecoveryLine
from drtool.repository.repository import (
    Request,
    init_repository,
    open_with_bundle,
    open_with_recovery,
    put_config,
)
from drtool.repository.storage.memory import MemoryStore
from drtool.repository.wal import Lineage, WalStore
from tests.repository.counting import Noting
from tests.repository.stage import (
    LIMITS,
    Stage,
    back_up,
    damage,
    make_stage,
    named,
    put,
    restore,
    snapshots,
    text,
)

FILES = {"a": text("a", 100_000), "small": b"secret"}


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def test_a_new_repository_opens_with_its_bundle_and_with_every_recovery_line(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    for recipient in ("first", "second"):
        assert restore(stage.recovered(recipient), point) == FILES
    assert stage.writer().config == stage.recovered().config


def test_what_a_writer_does_without_a_recovery_key_does_not_open_data(stage: Stage) -> None:
    with pytest.raises(WrongKey, match="takes a recovery key"):
        stage.writer().run_keys()


def test_a_reader_bundle_without_an_id_key_makes_no_ids(stage: Stage) -> None:
    bundle = replace(stage.created.writer, role="reader", id_key=None, signing_seed=None)
    with pytest.raises(WrongKey, match="no id key"):
        open_with_bundle(stage.store, bundle).id_key  # noqa: B018 - it raises


def test_a_second_repository_in_one_store_is_refused(stage: Stage) -> None:
    with pytest.raises(Refused, match="there is a repository already"):
        init_repository(stage.store, Request("forum", [("x", None)], LIMITS))


def test_a_recipient_whose_key_was_made_elsewhere_has_no_line_in_the_kit() -> None:
    own = RecoveryKey(b"e" * 32)
    store = MemoryStore(make_stage().clock)
    request = Request("forum", [("here", None), ("elsewhere", own.recipient.public)], LIMITS)
    created = init_repository(store, request)
    assert list(created.recovery) == ["here"]
    line = RecoveryLine(b"e" * 32, created.recovery["here"].trust)
    point = back_up(open_with_bundle(store, created.writer), FILES)
    assert restore(open_with_recovery(store, line), point) == FILES


def wrong_seed(stage: Stage) -> RecoveryLine:
    return replace(stage.lines["first"], seed=b"x" * 32)


def wrong_trust(stage: Stage) -> RecoveryLine:
    return replace(stage.lines["first"], trust=b"x" * 16)


@pytest.mark.parametrize(
    ("line", "fault"),
    [(wrong_seed, "not among the recipients"), (wrong_trust, "belongs to another repository")],
)
def test_a_wrong_recovery_key_is_said_before_anything_but_the_config_is_fetched(
    stage: Stage, line: Callable[[Stage], RecoveryLine], fault: str
) -> None:
    back_up(stage.writer(), FILES)
    store = Noting(stage.store)
    with pytest.raises(WrongKey, match=fault):
        open_with_recovery(store, line(stage))
    assert set(store.families("get")) == {"config"}
    assert set(store.of("list") + store.of("versions")) <= {"config/", "config/0-"}


def test_an_empty_store_holds_no_repository(stage: Stage) -> None:
    store = MemoryStore(stage.clock)
    with pytest.raises(StoreUnavailable, match="no repository in the store"):
        open_with_recovery(store, stage.lines["first"])
    with pytest.raises(StoreUnavailable, match="no repository in the store"):
        open_with_bundle(store, stage.created.writer)


def other_config(stage: Stage, admin: bytes = b"o" * 32) -> bytes:
    """Return a config 0 of somebody else's repository."""
    other = make_stage()
    [found] = other.store.list("config/")
    return other.store.get(found.name)


JUNK = [
    b"",
    b"DRC1\x01",
    b"DRC1\x01\0\0\0\x02{}",
    b"DRC1\x01\0\0\0\x12" + b'{"repository":"zz"}',
    b"DRC1\x01\0\x01\x86\xa0" + b"[" * 100_000,
]


@pytest.mark.parametrize(
    "junk", [*JUNK, None], ids=["empty", "cut", "no claims", "not hex", "deep", "another's config"]
)
@pytest.mark.parametrize("number", [0, 1, 7])
def test_junk_beside_the_config_does_not_stop_anybody(stage: Stage, junk: bytes | None, number: int) -> None:
    value = other_config(stage) if junk is None else junk
    prefix = f"config/{number}-"
    config = stage.writer().config
    put(stage.store, prefix + "00" * 32, value)
    put(stage.store, named(prefix, value), value)
    put(stage.store, "config/no-number", value)
    assert stage.recovered().config == stage.writer().config == config


def test_a_damaged_first_config_is_named(stage: Stage) -> None:
    [found] = stage.store.list("config/")
    fresh = MemoryStore(stage.clock, versioned=False)
    put(fresh, found.name, stage.store.get(found.name))
    damage(fresh, found.name)
    with pytest.raises(Corrupt, match=found.name):
        open_with_recovery(fresh, stage.lines["first"])
    with pytest.raises(Corrupt, match=found.name):
        open_with_bundle(fresh, stage.created.writer)


def test_a_store_that_shows_an_older_config_than_the_bundle_has_seen_is_refused(stage: Stage) -> None:
    bundle = replace(stage.created.writer, config_number=1)
    with pytest.raises(Refused, match="shows config 0, but this machine has seen config 1"):
        open_with_bundle(stage.store, bundle)


def test_a_store_that_shows_another_config_of_the_same_number_is_refused(stage: Stage) -> None:
    bundle = replace(stage.created.writer, config_sha256="00" * 32)
    with pytest.raises(Refused, match="another config 0"):
        open_with_bundle(stage.store, bundle)


def test_of_two_configs_of_one_number_everybody_takes_the_first_received(stage: Stage) -> None:
    config, digest = stage.writer().config, stage.writer().config_sha256
    for policy in ("one", "two", "three"):
        put_config(stage.store, config.next(stage.clock(), digest, policy=policy), stage.admin)
    for opened in (stage.writer, stage.recovered):
        assert opened().config.policy == "one"


@pytest.mark.parametrize("followed", ["one", "two"])
def test_of_two_configs_of_one_number_the_one_counts_that_the_next_one_follows(
    stage: Stage, followed: str
) -> None:
    config, digest = stage.writer().config, stage.writer().config_sha256
    both = {policy: config.next(stage.clock(), digest, policy=policy) for policy in ("one", "two")}
    digests = {policy: put_config(stage.store, each, stage.admin) for policy, each in both.items()}
    put_config(stage.store, both[followed].next(stage.clock(), digests[followed]), stage.admin)
    for opened in (stage.writer, stage.recovered):
        assert (opened().config.number, opened().config.policy) == (2, followed)


def test_a_config_by_another_admin_does_not_count(stage: Stage) -> None:
    config = stage.writer().config
    put_config(stage.store, config.next(stage.clock(), stage.writer().config_sha256), SigningKey(b"o" * 32))
    assert stage.writer().config == config


def test_the_newest_config_counts_and_may_open_an_epoch(stage: Stage) -> None:
    epoch = Epoch("postgres", "7", 17, 2, "0/1")
    following = stage.writer().config.next(stage.clock(), stage.writer().config_sha256, epochs=[epoch])
    put_config(stage.store, following, stage.admin)
    assert stage.recovered().config.epochs == [epoch]
    assert stage.writer().config.number == 1


THIRD = RecoveryKey(b"t" * 32)


def add_third(stage: Stage) -> RecoveryLine:
    entry = RecipientEntry("third", THIRD.recipient.public.hex())
    add_recipient(stage.recovered(), stage.lines["first"].key, stage.admin, entry, stage.clock())
    return RecoveryLine(b"t" * 32, stage.lines["first"].trust)


def test_a_recipient_that_was_added_opens_what_comes_after(stage: Stage) -> None:
    before = back_up(stage.writer(), FILES)
    line = add_third(stage)
    after = back_up(stage.writer(), {"b": text("b", 90_000)})
    opened = open_with_recovery(stage.store, line)
    assert [entry.name for entry in opened.config.recipients] == ["first", "second", "third"]
    assert restore(opened, after) == {"b": text("b", 90_000)}
    with pytest.raises(WrongKey, match="was not sealed to this recovery key") as caught:
        restore(opened, before)
    assert caught.value.hint == (
        "Its recipient was added after that run: use the recovery key of one who was there before."
    )


def test_a_rewrap_opens_what_came_before_and_nothing_is_rewrapped_twice(stage: Stage) -> None:
    points = [back_up(stage.writer(), FILES)]
    points.append(back_up(stage.writer(), {**FILES, "new": text("new", 70_000)}, points[0]))
    wal = WalStore(stage.writer().records, Lineage("files", "7", 17, 1))
    name = wal.put(1, "000000010000000000000001", b"segment", {})
    line = add_third(stage)
    assert rewrap_runs(stage.recovered(), stage.admin, THIRD.recipient, stage.clock())
    opened = open_with_recovery(stage.store, line)
    assert [restore(opened, point) for point in snapshots(opened)] == [
        FILES,
        {**FILES, "new": text("new", 70_000)},
    ]
    [stored] = WalStore(opened.records, wal.lineage).segments()
    assert stored.name == name
    assert WalStore(opened.records, wal.lineage).read(stored.stored, opened.run_keys()) == b"segment"
    for entry in stage.recovered().config.recipient_keys()[:2]:
        assert rewrap_runs(stage.recovered(), stage.admin, entry, stage.clock()) is None


def test_a_rewrap_that_the_admin_did_not_sign_or_that_is_damaged_is_not_looked_at(stage: Stage) -> None:
    point = back_up(stage.writer(), FILES)
    line = add_third(stage)
    good = rewrap_runs(stage.recovered(), stage.admin, THIRD.recipient, stage.clock())
    assert good
    records, prefix = stage.writer().records, "rewrap/20990101T000000.000000Z-"
    lies = {"recipient": THIRD.recipient.public.hex(), "keys": []}
    for role, key in (("admin", SigningKey(b"o" * 32)), ("writer", stage.admin)):
        value = pack_public(sign(lies, role, key, Place(records.config.repository_id, "rewrap", prefix)))
        put(stage.store, named(prefix, value), value)
    put(stage.store, named(prefix, b"junk"), b"junk")
    put(stage.store, prefix + "00" * 32, b"junk")
    assert restore(open_with_recovery(stage.store, line), point) == FILES


def test_adding_a_recipient_takes_a_key_that_opens_every_writers_keys(stage: Stage) -> None:
    entry = RecipientEntry("third", THIRD.recipient.public.hex())
    with pytest.raises(WrongKey, match="keys of writer-1 are not wrapped"):
        add_recipient(stage.recovered(), THIRD, stage.admin, entry, stage.clock())


def test_a_rewrap_names_the_pack_whose_head_it_cannot_read(stage: Stage) -> None:
    add_third(stage)
    name = put(stage.store, named("packs/files/2026W10/", b"junk"), b"junk")
    with pytest.raises(Corrupt, match=name):
        rewrap_runs(stage.recovered(), stage.admin, THIRD.recipient, stage.clock())


def test_a_writers_key_that_was_wrapped_for_another_place_does_not_open(stage: Stage) -> None:
    config = stage.writer().config
    [keys] = config.writers
    swapped = replace(keys, id_key=keys.list_key, list_key=keys.id_key)
    put_config(
        stage.store, config.next(stage.clock(), stage.writer().config_sha256, writers=[swapped]), stage.admin
    )
    with pytest.raises(WrongKey):
        stage.recovered()
    assert stage.writer().config_sha256 == sha256(
        stage.store.get(max(found.name for found in stage.store.list("config/")))
    )


def test_a_key_that_is_no_recipient_is_told_who_they_are(stage: Stage) -> None:
    with pytest.raises(WrongKey) as caught:
        open_with_recovery(stage.store, wrong_seed(stage))
    assert caught.value.hint == "Use the kit of one of them: first, second."


def test_every_refusal_has_a_hint(stage: Stage) -> None:
    for line in (wrong_seed(stage), wrong_trust(stage)):
        with pytest.raises(DrtoolError) as caught:
            open_with_recovery(stage.store, line)
        assert caught.value.hint.endswith(".")


def test_a_bundle_whose_key_may_not_sign_here_opens_nothing() -> None:
    stage = make_stage()
    stranger = replace(stage.created.writer, signing_seed=b"\0" * 32)
    with pytest.raises(Refused, match="may not sign as writer"):
        open_with_bundle(stage.store, stranger)


def test_a_bundle_of_another_repository_is_told_so() -> None:
    with pytest.raises(Corrupt, match="does not fit the repository"):
        open_with_bundle(make_stage().store, make_stage().created.writer)
