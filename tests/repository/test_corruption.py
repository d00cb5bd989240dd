"""Break one thing of every kind of object: what is read is right or refused, and a verification names the object.

Never a wrong byte: that is the oracle for reading. A fault that loses an object without a trace (a deleted run record,
say) may leave less to read, but nothing else.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from drtool.errors import Corrupt, DrtoolError, ObjectMissing, Refused, StoreUnavailable, WrongKey
from drtool.repository.format.crypto import sha256
from drtool.repository.format.names import family, split_hash
from drtool.repository.reader import Reader
from drtool.repository.verify import Found, Share, check_contents, check_objects, check_references
from tests.repository.sample import Everything, Sample, Stored, make_sample, read_everything

Objects = dict[str, Stored]
Damage = Callable[[bytes], bytes]

SEALED = ("lists", "snap", "part", "void", "hold", "using", "plan", "runs", "heads")
PUBLIC = ("config", "rewrap")
WAL = ("wal", "tail")
FAMILIES = ("packs", *SEALED, *PUBLIC, *WAL)
ALLOWED = (Corrupt, ObjectMissing, WrongKey, Refused, StoreUnavailable)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample()


def one_of(sample: Sample, kind: str) -> str:
    """Return an object of kind that the first point needs, or else the first of its kind."""
    return min(
        name
        for name in sample.objects
        if family(name) == kind and (name in sample.needed or kind not in ("packs", "lists"))
    )


def flip(at: int, bit: int = 1) -> Damage:
    return lambda value: (
        value[:at] + bytes([value[at] ^ bit]) + value[at + 1 :] if at >= 0 else _flip_end(value, at)
    )


def _flip_end(value: bytes, at: int) -> bytes:
    return flip(len(value) + at)(value)


def middle(share: float) -> Damage:
    return lambda value: flip(int(len(value) * share))(value)


HEAD: dict[str, Damage] = {
    "magic": flip(0),
    "suite": flip(4),
    "repository id": flip(5),
    "run": flip(21),
    "salt": flip(37),
    "commitment": flip(69),
    "number of wraps": flip(101),
    "fingerprint": flip(102),
    "wrap's encapsulation": flip(110),
    "wrap's key": flip(150),
    "wrap's tag": flip(189),
}
ENDS: dict[str, Damage] = {"middle": middle(0.6), "tag": flip(-16), "last byte": flip(-1, 128)}
SEALED_FIELDS = {"magic": flip(0), "suite": flip(4), "salt": flip(5), "ciphertext": flip(37), **ENDS}
PUBLIC_FIELDS: dict[str, Damage] = {
    "magic": flip(0),
    "suite": flip(4),
    "length": flip(8),
    "role": flip(20),
    "JSON": middle(0.4),
    "signer": flip(-96),
    "signature": flip(-64),
    "signature's end": flip(-1),
}
WAL_FIELDS = {
    **HEAD,
    "length of the facts": flip(102 + 3 * 88 + 3),
    "facts": flip(102 + 3 * 88 + 4),
    "facts' middle": flip(102 + 3 * 88 + 100),
    "body's tag": flip(-16),
    "body's end": flip(-1),
}
FIELDS: dict[str, dict[str, Damage]] = {
    "packs": {**HEAD, "first chunk": flip(102 + 2 * 88), **ENDS},
    **dict.fromkeys(SEALED, SEALED_FIELDS),
    **dict.fromkeys(PUBLIC, PUBLIC_FIELDS),
    **dict.fromkeys(WAL, WAL_FIELDS),
}
CUTS: dict[str, Damage] = {
    "empty": lambda _: b"",
    "cut to its head": lambda value: value[:50],
    "cut in half": lambda value: value[: len(value) // 2],
    "cut by one": lambda value: value[:-1],
    "longer by one": lambda value: value + b"\0",
}
EVERY_FIELD = [
    pytest.param(kind, damage, id=f"{kind}: {name}")
    for kind in FAMILIES
    for name, damage in {**FIELDS[kind], **CUTS}.items()
]


def reads_right_or_refuses(sample: Sample, objects: Objects) -> bool:
    """Return whether everything was read; asserts that no wrong byte was."""
    try:
        found = read_everything(sample.opened(objects))
    except ALLOWED:
        return False
    assert_nothing_wrong(found, sample.everything)
    return True


def assert_nothing_wrong(found: Everything, right: Everything) -> None:
    for what, value in found.items():
        if not what.startswith("point "):  # how a point is marked may hang on records that are gone
            assert value == right.get(what), what


def verified(sample: Sample, objects: Objects) -> dict[str, str]:
    """Return the faults that all levels of verification find, by object."""
    found = Found()
    repository = sample.opened(objects)
    check_references(repository, found)
    check_objects(repository, found, Share(1.0, 0), tick=lambda _: None)
    check_contents(repository, Reader(repository), found, Share(1.0, 0), tick=lambda _: None)
    return found.faults


def names_it(sample: Sample, objects: Objects, name: str) -> bool:
    """Return whether verification names the object, or refuses the whole repository for its sake."""
    try:
        faults = verified(sample, objects)
    except DrtoolError as fault:
        return family(name) == "config" and "config" in fault.message
    return any(name in f"{where} {message}" for where, message in faults.items())


def test_an_undamaged_repository_is_read_and_verified_without_a_fault(sample: Sample) -> None:
    assert {family(name) for name in sample.objects} == set(FAMILIES)
    assert read_everything(sample.opened()) == sample.everything
    assert verified(sample, sample.objects) == {}


@pytest.mark.parametrize(("kind", "damage"), EVERY_FIELD)
def test_damage_in_place_is_named_by_verification_and_never_read_as_right(
    sample: Sample, kind: str, damage: Damage
) -> None:
    name = one_of(sample, kind)
    stored = sample.objects[name]
    objects = {**sample.objects, name: replace(stored, value=damage(stored.value))}
    assert objects[name].value != stored.value
    reads_right_or_refuses(sample, objects)
    assert names_it(sample, objects, name)


@pytest.mark.parametrize(("kind", "damage"), EVERY_FIELD)
def test_damage_under_a_name_that_fits_it_is_never_read_as_right(
    sample: Sample, kind: str, damage: Damage
) -> None:
    name = one_of(sample, kind)
    stored = sample.objects[name]
    value = damage(stored.value)
    objects = {**sample.objects, split_hash(name)[0] + sha256(value).hex(): replace(stored, value=value)}
    del objects[name]
    reads_right_or_refuses(sample, objects)
    beside = {**objects, name: stored}
    reads_right_or_refuses(sample, beside)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_deleted_object_is_missed_where_something_names_it(sample: Sample, kind: str) -> None:
    name = one_of(sample, kind)
    objects = {other: stored for other, stored in sample.objects.items() if other != name}
    complete = reads_right_or_refuses(sample, objects)
    if kind in ("packs", "lists", "config"):
        assert not complete
    if kind in ("packs", "lists", "snap"):
        assert names_it(sample, objects, name)


@pytest.mark.parametrize("kind", FAMILIES)
def test_two_objects_of_a_kind_whose_bytes_are_swapped_are_both_named(sample: Sample, kind: str) -> None:
    names = sorted(name for name in sample.objects if family(name) == kind)
    if len(names) < 2:
        assert kind in ("void", "rewrap")  # the sample holds one of these
        return
    one, other = names[0], names[-1]
    objects = dict(sample.objects)
    objects[one], objects[other] = (
        replace(objects[one], value=objects[other].value),
        replace(objects[other], value=objects[one].value),
    )
    reads_right_or_refuses(sample, objects)
    assert names_it(sample, objects, one)
    assert names_it(sample, objects, other) or kind == "config"  # the first of two ends it all


REPLAYS = [
    ("snap", "/files/", "/redis/"),
    ("snap", "T08", "T09"),
    ("part", "T09", "T08"),
    ("void", "T09", "T08"),
    ("hold", "hold/", "using/"),
    ("using", "using/", "hold/"),
    ("plan", "/files/", "/redis/"),
    ("runs", "-backup-", "-verify-"),
    ("runs", "runs/", "heads/"),
    ("heads", "T09", "T10"),
    ("wal", SYSTEM := "7412345678901234567", "8412345678901234567"),
    ("wal", "-17-1/", "-17-2/"),
    ("wal", "0001/", "0002/"),
    ("wal", "00000000001-", "00000000002-"),
    ("wal", "/files/", "/redis/"),
    ("tail", "3000060-", "3000070-"),
    ("tail", "-17-1/", "-18-1/"),
    ("packs", "/files/", "/redis/"),
    ("lists", "/files/", "/redis/"),
    ("config", "config/0", "config/1"),
    ("config", "config/0", "config/7"),
    ("rewrap", "T08", "T07"),
]


@pytest.mark.parametrize(("kind", "old", "new"), REPLAYS)
@pytest.mark.parametrize("moved", [False, True], ids=["copied", "moved"])
def test_an_object_under_another_name_is_never_read_as_if_it_belonged_there(
    sample: Sample, kind: str, old: str, new: str, *, moved: bool
) -> None:
    name = one_of(sample, kind)
    replayed = new.join(name.split(old, 1))
    assert replayed != name
    objects = {**sample.objects, replayed: sample.objects[name]}
    if moved:
        del objects[name]
    try:
        found = read_everything(sample.opened(objects))
    except ALLOWED:
        return
    assert found.items() <= sample.everything.items() or moved
    assert_nothing_wrong(found, sample.everything)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_newer_version_with_other_bytes_hides_nothing_and_is_named(sample: Sample, kind: str) -> None:
    name = one_of(sample, kind)
    junk = flip(-1)(sample.objects[name].value)
    repository = sample.opened(overwrite=(name, junk))
    assert read_everything(repository) == sample.everything
    found = Found()
    check_objects(repository, found, Share(1.0, 0), tick=lambda _: None)
    assert found.faults.keys() == {name}


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_delete_marker_hides_nothing(sample: Sample, kind: str) -> None:
    repository = sample.opened(delete=one_of(sample, kind))
    assert read_everything(repository) == sample.everything
