"""A grant opens its own point, and nothing else of the repository."""

from dataclasses import asdict, replace

import pytest

from drtool.errors import Corrupt, Refused, WrongKey
from drtool.repository.format.crypto import SigningKey, sha256
from drtool.repository.format.grant import seal_grant, unseal_grant
from drtool.repository.format.names import family, json_time
from drtool.repository.format.pack import MAX_HEAD, parse_head
from drtool.repository.format.wal_object import MAGIC as WAL_MAGIC
from drtool.repository.lists import read_list
from drtool.repository.records import Records, stored_objects
from drtool.repository.repository import Repository, put_config
from drtool.repository.wal import WalStore
from tests.repository.counting import Noting
from tests.repository.granting import FILES, LINEAGE, RUNNER, STRANGER, Scene, make_scene
from tests.repository.stage import message, put, restore, snapshots


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene()


@pytest.fixture(scope="module")
def value(scene: Scene) -> bytes:
    return scene.grant()


def test_the_point_is_restored_with_gets_alone(scene: Scene, value: bytes) -> None:
    store = Noting(scene.stage.store)
    opened = scene.opened(value, store)
    [point] = snapshots(opened)
    assert point == scene.first
    assert restore(opened, point) == FILES
    assert {verb for verb, _ in store.calls} == {"get"}


def test_the_wal_that_was_granted_is_read(scene: Scene, value: bytes) -> None:
    opened = scene.opened(value)
    wal = WalStore(opened.records, LINEAGE)
    [segment] = wal.segments()
    assert list(wal.tails()) == []
    whole = scene.operator()
    assert wal.read(segment.stored, opened.head_keys()) == WalStore(whole.records, LINEAGE).read(
        segment.stored, whole.head_keys()
    )


def test_every_other_object_is_refused_by_name(scene: Scene, value: bytes) -> None:
    opened = scene.opened(value)
    granted = set(unseal_grant(value, RUNNER.key).grant.objects)
    others = [found.name for found in scene.stage.store.list("") if found.name not in granted]
    assert {family(name) for name in others} >= {"packs", "lists", "snap", "wal", "tail"}
    for name in others:
        with pytest.raises(WrongKey, match=r"the grant of snap/files/.* does not hold") as caught:
            opened.store.get(name)
        assert name in message(caught.value)


def keys_alone(scene: Scene, value: bytes) -> Repository:
    """Return the repository over the whole store: what a runner sees that gets the rest of the bucket elsewhere."""
    opened = scene.opened(value)
    records = Records(scene.stage.store, opened.config, opened.records.keys)
    return replace(opened, store=scene.stage.store, records=records)


def test_every_other_object_stays_closed_to_who_has_the_whole_bucket(scene: Scene, value: bytes) -> None:
    bucket = keys_alone(scene, value)
    granted = set(unseal_grant(value, RUNNER.key).grant.objects)
    tried = set()
    for found in scene.stage.store.list(""):
        name, kind = found.name, family(found.name)
        if name in granted or kind == "config":
            continue
        tried.add(kind)
        with pytest.raises(WrongKey, match=r"the grant of snap/files/.* does not open"):
            _open(scene, bucket, name)
    assert tried >= {"packs", "lists", "snap", "wal", "tail"}


def _open(scene: Scene, bucket: Repository, name: str) -> None:
    kind = family(name)
    if kind in ("wal", "tail"):
        [entry] = [each for each in scene.wal if each.name == name]
        with pytest.raises(WrongKey, match=name):
            WalStore(bucket.records, LINEAGE).facts(entry.stored)
        bucket.head_keys().open(parse_head(bucket.store.get(name, length=MAX_HEAD), WAL_MAGIC), "files")
    elif kind == "packs":
        bucket.head_keys().open(parse_head(bucket.store.get(name, length=MAX_HEAD)), "files")
    else:
        [stored] = stored_objects(bucket.store, name)
        with pytest.raises(WrongKey, match=name):
            bucket.records.read(stored)
        bucket.records.fetch_sealed(name)


def test_the_second_point_shares_packs_that_are_granted_whole(scene: Scene, value: bytes) -> None:
    """What a grant opens beside its point, and says: the packs that the point lies in."""
    operator = scene.operator()
    packs = {
        f"packs/files/{place.pack.name}"
        for name in scene.second.streams.names
        for place in read_list(operator.records, name)
    }
    granted = unseal_grant(value, RUNNER.key).grant.objects
    assert packs & set(granted)
    assert packs - set(granted)


def test_a_grant_holds_no_key_that_opens_more_than_one_object(scene: Scene, value: bytes) -> None:
    operator = scene.operator()
    told = str(asdict(unseal_grant(value, RUNNER.key).grant))
    long_lived = [*operator.records.keys.list_keys]
    for found in scene.stage.store.list("packs/"):
        long_lived.append(
            operator.run_keys().open_run(parse_head(scene.stage.store.get(found.name)), "files")
        )
    for key in long_lived:
        assert isinstance(key, bytes)
        assert key.hex() not in told
    assert operator.records.keys.id_keys[0].hex() in told


def test_a_grant_has_no_run_key_to_give(scene: Scene, value: bytes) -> None:
    with pytest.raises(WrongKey, match="takes a recovery key"):
        scene.opened(value).run_keys()


def test_a_grant_lets_nobody_write(scene: Scene, value: bytes) -> None:
    opened = scene.opened(value)
    with pytest.raises(Refused, match="lets nobody change x"):
        opened.store.put("x", b"", sha256(b""))
    with pytest.raises(Refused, match="lets nobody change x"):
        opened.store.delete("x")
    with pytest.raises(WrongKey, match="no key that may sign"):
        opened.records.put("hold/files/x-", {})
    assert opened.store.rules().changeable == ()
    assert opened.store.now() <= scene.stage.clock()
    assert {found.name for found in opened.store.list("snap/")} == {scene.first.name}
    opened.store.close()


def test_another_runner_is_refused(scene: Scene, value: bytes) -> None:
    with pytest.raises(WrongKey, match="made for another runner"):
        scene.opened(value, runner=STRANGER)


def test_a_runner_that_trusts_a_repository_takes_grants_of_that_one_only(scene: Scene, value: bytes) -> None:
    assert snapshots(scene.opened(value, runner=replace(RUNNER, trust=scene.trust)))
    elsewhere = make_scene()
    with pytest.raises(WrongKey, match="another repository than the one that this runner trusts"):
        scene.opened(value, runner=replace(RUNNER, trust=elsewhere.trust))


def test_whoever_knows_the_runners_public_key_cannot_sign_a_grant(scene: Scene, value: bytes) -> None:
    opened = unseal_grant(value, RUNNER.key)
    place = (opened.repository, opened.point)
    for signing in (SigningKey(b"x" * 32), SigningKey(scene.stage.created.writer.signing_seed or b"")):
        forged = seal_grant(opened.grant, place, signing, RUNNER.key.recipient)
        with pytest.raises(WrongKey, match="a key that may not sign as operator"):
            scene.opened(forged)


def test_a_grant_of_an_operator_whose_time_is_over_counts_no_more() -> None:
    scene = make_scene()
    value = scene.grant()
    stage, repository = scene.stage, scene.stage.writer()
    signers = [
        replace(signer, until=json_time(stage.clock())) if signer.role == "operator" else signer
        for signer in repository.config.signers
    ]
    following = repository.config.next(stage.clock(), repository.config_sha256, signers=signers)
    put_config(stage.store, following, stage.admin)
    assert snapshots(scene.opened(value))  # the runner cannot know: its grant names the configs of its day
    with pytest.raises(WrongKey, match="may not sign as operator"):
        scene.opened(scene.grant())


def test_a_grant_that_speaks_of_another_admin_finds_no_config(scene: Scene, value: bytes) -> None:
    opened = unseal_grant(value, RUNNER.key)
    other = replace(opened.grant, admin="ab" * 32)
    operator = SigningKey(scene.stage.created.operator_seed)
    forged = seal_grant(other, (opened.repository, opened.point), operator, RUNNER.key.recipient)
    with pytest.raises(Corrupt, match="not signed by this repository's admin"):
        scene.opened(forged)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"objects": {"snap/x": [[None, "yesterday", 1]]}}, "no time of a record"),
        ({"objects": {"snap/x": [1]}}, "objects of the grant are malformed"),
        ({"objects": []}, "objects of the grant are malformed"),
        ({"admin": "no hex"}, "key in the grant is malformed"),
        ({"id_keys": [None]}, "key in the grant is malformed"),
    ],
)
def test_a_signed_grant_that_is_malformed_is_corrupt(
    scene: Scene, value: bytes, changes: dict[str, object], fault: str
) -> None:
    opened = unseal_grant(value, RUNNER.key)
    operator = SigningKey(scene.stage.created.operator_seed)
    odd = replace(opened.grant, **changes)  # type: ignore[arg-type] # on purpose
    with pytest.raises(Corrupt, match=fault):
        scene.opened(seal_grant(odd, (opened.repository, opened.point), operator, RUNNER.key.recipient))


def test_an_overwritten_pack_is_read_in_the_version_that_was_listed() -> None:
    scene = make_scene()
    for found in list(scene.stage.store.list("packs/")):
        put(scene.stage.store, found.name, b"something else")
    opened = scene.opened(scene.grant())
    [point] = snapshots(opened)
    assert restore(opened, point) == FILES


def test_a_pack_under_a_wrong_key_gives_no_byte(scene: Scene, value: bytes) -> None:
    opened = unseal_grant(value, RUNNER.key)
    swapped = dict.fromkeys(opened.grant.packs, "00" * 32)
    operator = SigningKey(scene.stage.created.operator_seed)
    odd = seal_grant(
        replace(opened.grant, packs=swapped),
        (opened.repository, opened.point),
        operator,
        RUNNER.key.recipient,
    )
    repository = scene.opened(odd)
    with pytest.raises(Corrupt, match="do not authenticate"):
        restore(repository, snapshots(repository)[0])
