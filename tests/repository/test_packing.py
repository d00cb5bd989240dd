"""Packs filled in memory, sampled, and sent."""

from collections.abc import Iterator

import pytest

from drtool.errors import Corrupt, StoreUnavailable
from drtool.repository.format import compress
from drtool.repository.format.crypto import SALT_SIZE, RecoveryKey, keyed_id, sha256
from drtool.repository.format.pack import (
    CONTENT,
    PRIVATE,
    ChunkSeal,
    encode_head,
    pack_key,
    parse_head,
    sealed_size,
)
from drtool.repository.packing import Pack, PackSender, RunKey
from drtool.repository.storage.memory import MemoryStore
from tests.repository.counting import Noting
from tests.repository.stage import Clock, text

REPOSITORY, ID_KEY = b"r" * 16, b"i" * 32
RECIPIENT = RecoveryKey(b"k" * 32).recipient


@pytest.fixture
def run() -> RunKey:
    return RunKey(REPOSITORY, "files", [RECIPIENT])


@pytest.fixture
def store() -> Noting:
    return Noting(MemoryStore(Clock()))


@pytest.fixture
def sender(run: RunKey, store: Noting) -> Iterator[PackSender]:
    made = PackSender(store, run, ID_KEY, Clock())
    yield made
    made.close()


def fill(pack: Pack, run: RunKey, *plains: bytes, kind: int = CONTENT) -> None:
    for plain in plains:
        key = ID_KEY if kind == CONTENT else run.private_id_key
        pack.add(compress.compress(plain), kind, len(plain), keyed_id(key, plain))


def test_a_packs_chunks_open_where_it_says_they_lie(run: RunKey, sender: PackSender) -> None:
    pack = sender.begin(10_000)
    plains = [text("a", 100), b"", text("b", 3000)]
    packed = [
        pack.add(compress.compress(plain), CONTENT, len(plain), keyed_id(ID_KEY, plain)) for plain in plains
    ]
    value = bytes(pack.seal(bytearray()))
    head = parse_head(value)
    seal = ChunkSeal(pack_key(run.key, head.salt), head.salt, REPOSITORY, "files")
    for row, plain in zip(packed, plains, strict=True):
        assert (
            seal.unseal(row.number, CONTENT, len(plain), value[row.position : row.position + row.sealed_size])
            == plain
        )
    assert [row.number for row in packed] == [0, 1, 2]
    assert packed[-1].end == len(value)
    pack.check(memoryview(value), ID_KEY)


def test_a_pack_is_full_when_the_next_chunk_does_not_fit_but_takes_any_first_one(
    run: RunKey, sender: PackSender
) -> None:
    pack = sender.begin(1000)
    large = compress.compress(text("large", 5000))
    assert pack.has_room(large)
    fill(pack, run, text("large", 5000))
    assert not pack.has_room(b"x")
    pack.check(pack.seal(bytearray(1000)), ID_KEY)
    other = sender.begin(1000)
    fill(other, run, b"small")
    assert other.has_room(b"x" * 500)
    assert not other.has_room(b"x" * 1000)


def test_a_pack_is_named_by_its_hash_and_week_once_it_is_durable(
    run: RunKey, sender: PackSender, store: Noting
) -> None:
    pack = sender.begin(1000)
    fill(pack, run, b"one", kind=PRIVATE)
    sender.send(pack)
    sender.wait()
    value = store.get(f"packs/files/{pack.sent.result().name}")
    assert pack.sent.result().name == f"2026W10/{sha256(value).hex()}"
    assert pack.sent.result().run == run.run
    pack.check(memoryview(value), ID_KEY)
    assert sender.bytes_sent == len(value)


def test_a_buffer_is_used_again_without_a_trace_of_what_it_held(
    run: RunKey, sender: PackSender, store: Noting
) -> None:
    lengths = (10, 1500)
    small, large = (
        len(encode_head(run.head(bytes(SALT_SIZE)))) + sealed_size(compress.compress(text("0", length)))
        for length in lengths
    )
    sizes = []
    for number in range(6):
        pack = sender.begin(2000)
        fill(pack, run, text("0", lengths[number % 2]))
        sender.send(pack)
        sender.wait()
        value = store.get(f"packs/files/{pack.sent.result().name}")
        pack.check(memoryview(value), ID_KEY)
        sizes.append(len(value))
    assert sizes == [small, large] * 3


@pytest.mark.parametrize(
    ("number", "last", "checked"), [(0, False, True), (1, False, False), (20, False, True), (7, True, True)]
)
def test_the_first_each_twentieth_and_the_last_pack_are_opened_before_they_are_sent(
    run: RunKey, sender: PackSender, number: int, *, last: bool, checked: bool
) -> None:
    for at in range(number + 1):
        pack = sender.begin(1000)
        fill(pack, run, f"{at}".encode())
        if at == number:
            pack._frames[0] = compress.compress(b"something else")[: len(pack._frames[0])]
        sender.send(pack, last=last and at == number)
    if checked:
        with pytest.raises(Corrupt, match="did not open again"):
            sender.wait()
    else:
        sender.wait()


def test_a_wrong_id_is_found_by_the_check(run: RunKey, sender: PackSender) -> None:
    pack = sender.begin(1000)
    pack.add(compress.compress(b"plain"), CONTENT, 5, keyed_id(ID_KEY, b"other"))
    with pytest.raises(Corrupt, match="its id"):
        pack.check(pack.seal(bytearray(1000)), ID_KEY)


def test_a_refused_pack_is_raised_at_the_latest_when_waiting(run: RunKey) -> None:
    def refuse(verb: str, name: str) -> None:
        raise StoreUnavailable("full")

    sender = PackSender(Noting(MemoryStore(Clock()), refuse), run, ID_KEY, Clock())

    def send_many() -> None:
        for number in range(10):
            pack = sender.begin(1000)
            fill(pack, run, f"{number}".encode())
            sender.send(pack)
        sender.wait()

    with pytest.raises(StoreUnavailable, match="full"):
        send_many()
    sender.close()
    assert sender.bytes_sent == 0


def test_each_run_has_a_key_of_its_own_and_each_pack_a_salt(sender: PackSender, run: RunKey) -> None:
    other = RunKey(REPOSITORY, "files", [RECIPIENT])
    assert len({run.key, other.key, run.run, other.run, run.commitment, other.commitment}) == 6
    heads = [parse_head(bytes(sender.begin(1000).seal(bytearray()))) for _ in range(2)]
    assert heads[0].salt != heads[1].salt
    assert heads[0].commitment == heads[1].commitment == run.commitment
