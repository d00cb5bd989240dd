"""Signed records in the store: what counts, and what does not."""

from datetime import timedelta

import pytest

from drtool.errors import Corrupt, ObjectMissing, WrongKey
from drtool.repository.config import MAY_SIGN
from drtool.repository.format.crypto import sha256
from drtool.repository.format.record import seal_record, sign
from drtool.repository.records import (
    Keys,
    Record,
    Records,
    Stored,
    Unreadable,
    check_name_fits,
    fetch_named,
    stored_objects,
)
from tests.repository.stage import Stage, make_stage, message, named, put

PREFIX = "hold/files/20260302T080000.000000Z-"
ROLES = ("writer", "verifier", "maintainer", "operator", "admin", "reader")


@pytest.fixture
def stage() -> Stage:
    return make_stage()


def operator(stage: Stage) -> Records:
    return stage.records_of("operator", stage.created.operator_seed)


def read(stage: Stage, name: str) -> Record:
    [stored] = [stored for stored in stored_objects(stage.store, name) if stored.name == name]
    return stage.writer().records.read(stored)


def test_a_record_tells_what_was_signed_by_whom_and_when_it_came(stage: Stage) -> None:
    name = operator(stage).put(PREFIX, {"reason": "x"})
    record = read(stage, name)
    assert (record.value, record.role, record.signer) == ({"reason": "x"}, "operator", "operator-1")
    assert record.received == stage.clock.now
    assert record.versions == 1


@pytest.mark.parametrize("kind", sorted(MAY_SIGN))
@pytest.mark.parametrize("role", ROLES)
def test_only_the_roles_of_the_table_may_sign_a_kind(stage: Stage, kind: str, role: str) -> None:
    seed = (role[0] * 32).encode()
    if role in ("maintainer", "verifier"):
        stage.enrol_signer(role, seed)
    elif role in ("writer", "operator"):
        seed = {"writer": stage.created.writer.signing_seed or b"", "operator": stage.created.operator_seed}[
            role
        ]
    records = stage.records_of(role, seed)
    name = records.put(PREFIX.replace("hold", kind), {"a": 1})
    if role in MAY_SIGN[kind] and role != "admin":  # an admin's records are public, and read elsewhere
        assert read(stage, name).role == role
    else:
        with pytest.raises(Corrupt, match="may not sign"):
            read(stage, name)


def test_a_role_that_a_signer_only_claims_does_not_count(stage: Stage) -> None:
    name = stage.records_of("operator", stage.created.writer.signing_seed or b"").put(PREFIX, {})
    with pytest.raises(Corrupt, match="signed by a key that may not sign as operator"):
        read(stage, name)


def test_a_record_that_came_after_its_signers_end_does_not_count(stage: Stage) -> None:
    stage.clock.leap(days=-1)
    name = operator(stage).put(PREFIX, {})
    with pytest.raises(Corrupt, match="may not sign as operator"):
        read(stage, name)


def test_the_oldest_version_that_fits_tells_when_a_record_came(stage: Stage) -> None:
    name = operator(stage).put(PREFIX, {"reason": "x"})
    value, came = stage.store.get(name), stage.clock.now
    stage.clock.leap(days=1)
    put(stage.store, name, value)
    record = read(stage, name)
    assert record.received == came
    assert record.versions == 2
    damaged = Stored(name, record_versions(stage, name)[1:])
    assert stage.writer().records.read(damaged).received > came


def record_versions(stage: Stage, name: str):  # type: ignore[no-untyped-def]
    return tuple(stage.store.versions(name))


def test_other_bytes_under_a_name_are_not_looked_at(stage: Stage) -> None:
    name = named(PREFIX, b"to come")
    put(stage.store, name, b"squatted")
    with pytest.raises(Corrupt, match="not those of its name"):
        read(stage, name)
    put(stage.store, name, b"to come")
    assert fetch_named(stage.store, name) == b"to come"
    put(stage.store, name, b"squatted again")
    assert fetch_named(stage.store, name) == b"to come"


def test_a_delete_marker_hides_nothing_and_a_deleted_name_is_missing(stage: Stage) -> None:
    name = operator(stage).put(PREFIX, {"reason": "x"})
    stage.store.delete(name)
    assert read(stage, name).value == {"reason": "x"}
    assert sha256(fetch_named(stage.store, name)).hex() == name[-64:]
    for version in list(stage.store.versions(name)):
        stage.store.delete(name, version.version)
    with pytest.raises(ObjectMissing, match="is not in the store") as caught:
        fetch_named(stage.store, name)
    assert name in message(caught.value)


def test_a_name_none_of_whose_versions_fits_is_corrupt_and_named(stage: Stage) -> None:
    name = named(PREFIX, b"right")
    put(stage.store, name, b"wrong")
    put(stage.store, name, b"wrong again")
    with pytest.raises(Corrupt) as caught:
        fetch_named(stage.store, name)
    assert name in message(caught.value)
    with pytest.raises(Corrupt):
        check_name_fits(name, b"wrong")
    check_name_fits(name, b"right")


def test_all_yields_what_does_not_count_with_its_fault(stage: Stage) -> None:
    good = operator(stage).put(PREFIX, {})
    bad = put(stage.store, named(PREFIX, b"junk"), b"junk")
    stray = put(stage.store, "hold/files/stray", b"junk")
    found = {record.name: record for record in stage.writer().records.all("hold/")}
    assert isinstance(found[good], Record)
    for name in (bad, stray):
        record = found[name]
        assert isinstance(record, Unreadable)
        assert name in str(record.fault)


def test_any_of_several_list_keys_opens_a_record(stage: Stage) -> None:
    name = operator(stage).put(PREFIX, {"reason": "x"})
    repository = stage.writer()
    keys = Keys((b"x" * 32, *repository.records.keys.list_keys))
    records = Records(stage.store, repository.config, keys)
    [stored] = stored_objects(stage.store, name)
    assert records.read(stored).value == {"reason": "x"}
    with pytest.raises(WrongKey, match="no list key"):
        Records(stage.store, repository.config, Keys()).read(stored)
    with pytest.raises(Corrupt) as caught:
        Records(stage.store, repository.config, Keys((b"x" * 32,))).read(stored)
    assert name in message(caught.value)


def test_who_holds_no_signing_key_signs_nothing(stage: Stage) -> None:
    with pytest.raises(WrongKey, match="may sign hold records"):
        stage.recovered().records.put(PREFIX, {})
    assert not list(stage.store.list("hold/"))


def test_no_key_is_printed(stage: Stage) -> None:
    bundle = stage.created.writer
    shown = repr(stage.writer()) + repr(stage.created.config)
    assert bundle.list_keys[0].hex() not in shown
    assert repr(bundle.list_keys[0]) not in shown
    assert repr(bundle.signing_seed) not in shown


def test_a_sealed_record_without_a_good_signature_does_not_count(stage: Stage) -> None:
    records = operator(stage)
    assert records.keys.signing is not None
    place = records.place(PREFIX)
    body = sign({}, "operator", records.keys.signing, place)
    sealed = seal_record(body[:-1] + bytes([body[-1] ^ 1]), records.keys.list_keys[0], place)
    with pytest.raises(Corrupt, match="signature"):
        read(stage, put(stage.store, named(PREFIX, sealed), sealed))


def test_names_are_grouped_with_all_their_versions(stage: Stage) -> None:
    start = stage.clock()
    for value in (b"1", b"2"):
        put(stage.store, named("hold/", b"x"), value)
    [stored] = stored_objects(stage.store, "hold/")
    assert [version.size for version in stored.versions] == [1, 1]
    assert all(version.modified - start < timedelta(seconds=1) for version in stored.versions)
