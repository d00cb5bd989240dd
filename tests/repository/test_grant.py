"""Making grants: what is in them, what is tried before, and every byte of them is authenticated."""

from dataclasses import replace
from pathlib import Path

import pytest

from drtool.errors import Corrupt, ObjectMissing, UsageError, WrongKey
from drtool.repository import kit
from drtool.repository.format import compress
from drtool.repository.format import grant as grants
from drtool.repository.format.crypto import RecoveryKey, Sealer, SigningKey, derive
from drtool.repository.format.grant import Grant, seal_grant, unseal_grant
from drtool.repository.format.names import family
from drtool.repository.format.record import Place, sign
from drtool.repository.format.text import encode_key, find_keys
from drtool.repository.kit import RunnerLine
from drtool.repository.lists import read_list
from drtool.repository.wal import WalStore
from tests.repository.granting import LINEAGE, RUNNER, STRANGER, Scene, make_scene
from tests.repository.stage import damage, message, put

REPOSITORY, POINT, SIGNING = (
    b"r" * 16,
    "snap/files/20260302T080000.000000Z-" + "ab" * 32,
    SigningKey(b"k" * 32),
)
GRANT = Grant("aa", "now", {"x": []}, {"s": "k"}, {"p": "k"}, {"c": "k"}, ["i"], {"at": None})
VALUE = seal_grant(GRANT, (REPOSITORY, POINT), SIGNING, RUNNER.key.recipient)


def test_a_grant_is_read_as_it_was_made() -> None:
    opened = unseal_grant(VALUE, RUNNER.key)
    assert (opened.repository, opened.point, opened.grant, opened.signer) == (
        REPOSITORY,
        POINT,
        GRANT,
        SIGNING.public,
    )


def test_no_byte_of_a_grant_can_be_changed_or_cut_off() -> None:
    for at in range(len(VALUE)):
        changed = VALUE[:at] + bytes([VALUE[at] ^ 1]) + VALUE[at + 1 :]
        with pytest.raises((Corrupt, WrongKey)):
            unseal_grant(changed, RUNNER.key)
        with pytest.raises((Corrupt, WrongKey)):
            unseal_grant(VALUE[:at], RUNNER.key)
    with pytest.raises(Corrupt):
        unseal_grant(VALUE + b"x", RUNNER.key)


def test_another_runner_is_told_so() -> None:
    with pytest.raises(WrongKey, match="made for another runner"):
        unseal_grant(VALUE, STRANGER.key)


def test_a_runner_cannot_pass_its_grant_on_as_the_operators_word() -> None:
    """Who opens a grant has the signed body, and could seal it to somebody else."""
    body = sign(
        {**{name: getattr(GRANT, name) for name in Grant.__dataclass_fields__}, "to": "somebody else"},
        "operator",
        SIGNING,
        Place(REPOSITORY, "grant", POINT),
    )
    with pytest.raises(Corrupt, match="signed for another runner"):
        unseal_grant(sealed(body), RUNNER.key)


def sealed(body: bytes) -> bytes:
    """Return body sealed to the runner as a grant is."""
    name, key = POINT.encode(), b"g" * 32
    runner = RUNNER.key.recipient
    head = grants._FIXED.pack(b"DRG1", 1, REPOSITORY, runner.fingerprint, len(name)) + name
    head += runner.wrap(key, grants._info(REPOSITORY, name))
    frame = compress.compress(body)
    return head + Sealer(derive(key, "grant")).seal(0, frame, head)


@pytest.mark.parametrize("changes", [{"more": 1}, {"admin": None}])
def test_a_grant_of_other_fields_is_not_one_that_we_know(changes: dict[str, object]) -> None:
    fields = {name: getattr(GRANT, name) for name in Grant.__dataclass_fields__} | changes
    value = {name: each for name, each in fields.items() if each is not None}
    value["to"] = RUNNER.key.recipient.public.hex()
    body = sign(value, "operator", SIGNING, Place(REPOSITORY, "grant", POINT))
    with pytest.raises(Corrupt, match="lacks a field, or has one"):
        unseal_grant(sealed(body), RUNNER.key)


def test_a_grant_tells_no_key_when_it_is_printed() -> None:
    assert "'k'" not in repr(unseal_grant(VALUE, RUNNER.key))
    assert "31" * 8 not in repr(RUNNER)


@pytest.fixture
def scene() -> Scene:
    return make_scene()


def test_a_grant_lists_what_the_point_needs_and_tells_how_much_that_is(scene: Scene) -> None:
    maker = scene.maker()
    found = unseal_grant(maker.seal(RUNNER.key.recipient.public, scene.stage.clock(), {"at": 1}), RUNNER.key)
    kinds = [family(name) for name in found.grant.objects]
    packs = {name for name in found.grant.objects if name.startswith("packs/")}
    assert set(kinds) == {"config", "snap", "lists", "packs", "wal"}
    assert (maker.size.packs, maker.size.wal) == (len(packs), 1)
    assert maker.size.stored == sum(
        each.size for each in scene.stage.store.list("") if each.name in packs | {scene.wal[0].name}
    )
    assert len(found.grant.packs) == len(packs) + 1
    assert found.grant.told == {"at": 1}


@pytest.mark.parametrize("kind", ["packs", "lists"])
def test_a_point_that_lacks_an_object_is_not_granted(scene: Scene, kind: str) -> None:
    needed = scene.first.streams.content[0]
    if kind == "packs":
        needed = next(
            name for name in unseal_grant(scene.grant(), RUNNER.key).grant.objects if "packs" in name
        )
    for version in list(scene.stage.store.versions(needed)):
        scene.stage.store.delete(needed, version.version)
    with pytest.raises(ObjectMissing, match=needed):
        scene.maker()


def test_a_pack_is_granted_only_when_a_chunk_of_it_opens(scene: Scene) -> None:
    """Its head could name another pack's salt, and the key of that pack would be given away."""
    packs = {
        stream: {place.pack.name for name in names for place in read_list(scene.operator().records, name)}
        for stream, names in (
            ("content", scene.first.streams.content),
            ("entries", scene.first.streams.entries),
        )
    }
    name = f"packs/files/{min(packs['content'] - packs['entries'])}"
    [version] = scene.stage.store.versions(name)
    value = bytearray(scene.stage.store.get(name))
    value[37:69] = bytes(32)
    scene.stage.store.delete(name, version.version)
    put(scene.stage.store, name, bytes(value))
    with pytest.raises(Corrupt, match=name):
        scene.maker()


def test_wal_that_nobody_signed_is_left_out(scene: Scene) -> None:
    repository = scene.operator()
    entries = [each.stored for each in scene.wal]
    [version] = scene.stage.store.versions(entries[0].name)
    damage(scene.stage.store, entries[0].name)
    scene.stage.store.delete(entries[0].name, version.version)
    maker = scene.maker()
    kept = maker.add_wal(WalStore(repository.records, LINEAGE), entries[1:])
    assert kept == entries[1:]


def test_who_holds_no_operators_key_grants_nothing(scene: Scene) -> None:
    maker = scene.maker(scene.stage.recovered())
    with pytest.raises(WrongKey, match="no operator's key is at hand"):
        maker.seal(RUNNER.key.recipient.public, scene.stage.clock(), {})


def test_a_runners_key_file_is_read_again(tmp_path: Path) -> None:
    for runner in (RUNNER, replace(RUNNER, trust=b"t" * 16)):
        assert kit.parse_runner(runner.text()) == runner
    assert kit.parse_runner_public(RUNNER.public_text()) == RecoveryKey(b"1" * 32).recipient.public
    assert set(find_keys(RUNNER.text())) == {"RUNNERSEED"}


@pytest.mark.parametrize("text", ["", RUNNER.public_text(), encode_key("RUNNERSEED", b"short")])
def test_what_is_no_runners_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no runner's key") as caught:
        kit.parse_runner(text)
    assert "keys runner" in caught.value.hint


def test_what_is_no_runners_public_key_is_refused() -> None:
    with pytest.raises(UsageError, match="no runner's public key") as caught:
        kit.parse_runner_public(RunnerLine(b"1" * 32).text())
    assert message(caught.value)
