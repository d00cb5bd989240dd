"""What reads past libpq says the same as libpq: of real servers, with TLS and without, and of whatever else answers."""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from tarfile import TarInfo

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from psycopg import pq

from drtool.demo.servers.postgres import PostgresServer, give
from drtool.errors import DrtoolError, SourceUnavailable, TemporaryFailure
from drtool.sources.postgres.answers import Answers, PlainAnswers, ask
from drtool.sources.postgres.base_backup import BackupOptions, BaseBackup, CopyStream
from drtool.sources.postgres.connection import PostgresSettings, Replication
from drtool.sources.postgres.faults import PagesDamaged, SourceOutage
from drtool.sources.postgres.results import rows_of
from tests.sources.postgres.standins import NewServer, error_response, message, rows, said, scripted

MAJOR = 15  # of Debian's PostgreSQL, which is built with TLS; that of the wheels is not
OF_THEIR_MOMENT = {"backup_label", "backup_manifest", "global/pg_control"}

BEGIN = rows((b"0/2000028", b"1")) + rows((b"16384", b"/space", b"70"), (None, None, b"30"))
COPY = message(b"H", b"\0\0\0")
DATA = b"".join(message(b"d", b"d" + bytes([n]) * 32768) for n in range(20))
END = message(b"c", b"") + rows((b"0/2000100", b"1"))
DONE = message(b"C", b"BASE_BACKUP\0")
READY = message(b"Z", b"I")
WARNING = said(b"N", "WARNING", "checksum verification failed", "01000")
NOTICE = said(b"N", "NOTICE", "you must ensure", "00000")
STATUS = message(b"S", b"TimeZone\0UTC\0")
DAMAGED = said(b"E", "ERROR", "checksum verification failure during base backup", "XX001")


@pytest.fixture
def tls_server(new_server: NewServer) -> PostgresServer:
    """A running server that speaks TLS to those who ask for it."""
    server = new_server(MAJOR, ssl="on")
    key = generate_private_key(SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, SHA256())
    )
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for file, content in (("server.key", plain), ("server.crt", certificate.public_bytes(Encoding.PEM))):
        path = server.data / file
        path.touch(mode=0o600)
        path.write_bytes(content)
        give(path)
    server.start()
    return server


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[Answers]:
    """Who read the answers of base backups."""
    found: list[Answers] = []

    def seen(replication: Replication, command: str) -> Answers:
        found.append(ask(replication, command))
        return found[-1]

    monkeypatch.setattr("drtool.sources.postgres.base_backup.ask", seen)
    return found


def artifacts_of(settings: PostgresSettings) -> dict[str, tuple[object, bytes]]:
    found: dict[str, tuple[object, bytes]] = {}
    with BaseBackup(settings, BackupOptions("the same")) as backup:
        for artifact in backup:
            relation = artifact.path.startswith("base/") and artifact.entry["type"] == "file"
            entry = artifact.entry if relation else {**artifact.entry, "mtime": None}
            found[artifact.path] = entry, b"".join(artifact.stream)
        backup.result()
    return found


def test_a_base_backup_is_the_same_byte_for_byte_with_tls_and_without(
    tls_server: PostgresServer, new_directory: Callable[[], Path], readers: list[Answers]
) -> None:
    space = new_directory()
    tls_server.sql(f"create tablespace other location '{space}'")
    tls_server.sql("create table near as select n, repeat('x', n % 700) from generate_series(1, 30000) n")
    tls_server.sql("create table far tablespace other as select * from near")
    tls_server.sql("vacuum freeze")
    tls_server.sql("checkpoint")
    plain = artifacts_of(replace(tls_server.settings, sslmode="disable"))
    encrypted = artifacts_of(replace(tls_server.settings, sslmode="require"))
    assert [type(each) for each in readers] == [PlainAnswers, Replication]
    assert list(plain) == list(encrypted)
    differ = {path for path in plain if plain[path] != encrypted[path]}
    assert differ <= OF_THEIR_MOMENT
    assert sum(len(content) for _, content in plain.values()) > 40_000_000
    for path in differ:
        assert len(plain[path][1]) == len(encrypted[path][1])


@pytest.fixture(params=["plain", "libpq"])
def asked(request: pytest.FixtureRequest) -> Callable[[Replication], Answers]:
    """How BASE_BACKUP is asked for: both ways must tell the same."""

    def ask_libpq(replication: Replication) -> Answers:
        replication.send("BASE_BACKUP")
        return replication

    def ask_plainly(replication: Replication) -> Answers:
        answers = ask(replication, "BASE_BACKUP")
        assert isinstance(answers, PlainAnswers)
        return answers

    return ask_plainly if request.param == "plain" else ask_libpq


def told(replication: Replication, answers: Answers) -> Iterator[object]:
    """Yield all that answers a base backup, and last how it ended."""
    try:
        while (result := answers.result()) is not None:
            yield result.status, rows_of(result)
            if result.status == COPY_OUT:
                while (data := answers.copy_data()) is not None:
                    yield bytes(data)
    except DrtoolError as fault:
        yield type(fault), _leveled(fault.message, replication._settings.port)
    yield replication.notices


def _leveled(text: str, port: int) -> str:
    """Return text without what differs: the port, and the words of psycopg before those of libpq."""
    return text.replace(f":{port}", ":PORT").replace("consuming input failed: ", "")


TUPLES, COMMAND, COPY_OUT = pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.COPY_OUT
WHOLE = [
    (TUPLES, [("0/2000028", "1")]),
    (TUPLES, [("16384", "/space", "70"), (None, None, "30")]),
    (COPY_OUT, []),
    *(b"d" + bytes([n]) * 32768 for n in range(20)),
    (TUPLES, [("0/2000100", "1")]),
]
SAYS = "PostgreSQL at postgres@127.0.0.1:PORT"
OUTAGE = f"{SAYS} ended the connection during BASE_BACKUP: "
CLOSED = (SourceOutage, f"{OUTAGE}server closed the connection unexpectedly")
PASSING = "BASE_BACKUP at postgres@127.0.0.1:PORT did not work this time"
KILLED = (SourceOutage, f"{PASSING}: terminating connection due to administrator command")
DAMAGE = (
    PagesDamaged,
    f"{SAYS} finds its own pages damaged: checksum verification failure during base backup",
)
ADMIN = error_response("terminating connection due to administrator command", "57P01")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (BEGIN + COPY + DATA + END + DONE + READY, [*WHOLE, (COMMAND, []), []]),
        (
            NOTICE + STATUS + BEGIN + COPY + WARNING + DATA + STATUS + END + DONE + READY,
            [*WHOLE, (COMMAND, []), ["checksum verification failed"]],
        ),
        (
            BEGIN + COPY + DATA + WARNING + END + DAMAGED + READY,
            [*WHOLE, DAMAGE, ["checksum verification failed"]],
        ),
        (BEGIN + COPY + message(b"d", b"") + DATA + END + DONE + READY, [*WHOLE, (COMMAND, []), []]),
        (ADMIN, [KILLED, []]),
        (BEGIN + ADMIN, [*WHOLE[:2], KILLED, []]),
        (BEGIN + COPY + DATA + ADMIN, [*WHOLE[:-1], KILLED, []]),
        (BEGIN[:-12] + ADMIN, [WHOLE[0], KILLED, []]),
        (BEGIN, [*WHOLE[:2], CLOSED, []]),
        (BEGIN[:-1], [WHOLE[0], CLOSED, []]),
        (BEGIN + COPY + DATA, [*WHOLE[:-1], CLOSED, []]),
        (BEGIN + COPY + DATA[:-1], [*WHOLE[:-2], CLOSED, []]),
        (BEGIN + COPY + DATA + END, [*WHOLE, CLOSED, []]),
    ],
    ids=[
        "whole",
        "notices",
        "pages damaged",
        "empty data",
        "refused",
        "refused later",
        "ended amid the copy",
        "ended amid rows",
        "dies before the copy",
        "dies in a result",
        "dies in the copy",
        "dies in a message",
        "dies before the end",
    ],
)
def test_what_a_server_answers_is_told_the_same_way(
    asked: Callable[[Replication], Answers], answer: bytes, expected: list[object]
) -> None:
    with scripted(answer) as port, Replication(PostgresSettings("127.0.0.1", port)) as replication:
        assert list(told(replication, asked(replication))) == expected


def test_a_server_that_breaks_off_amid_a_file_says_why(asked: Callable[[Replication], Answers]) -> None:
    head = TarInfo("base/1/16384")
    head.size = 8192
    archive = message(b"d", b"nbase.tar\0\0") + message(b"d", b"d" + head.tobuf() + bytes(4096))
    with (
        scripted(BEGIN + COPY + archive + ADMIN) as port,
        Replication(PostgresSettings("127.0.0.1", port)) as replication,
    ):
        answers = asked(replication)
        for _ in range(3):
            answers.result()
        [artifact] = islice(CopyStream(answers, None, 0).artifacts(), 1)
        with pytest.raises(SourceOutage, match="terminating connection due to administrator command"):
            deque(artifact.stream, maxlen=0)


def test_behind_the_last_answer_nothing_is_waited_for() -> None:
    settings = PostgresSettings("127.0.0.1")
    with scripted(BEGIN + READY, b"") as port, Replication(replace(settings, port=port)) as replication:
        answers = ask(replication, "BASE_BACKUP")
        replication.hurry(1)
        assert list(told(replication, answers)) == [*WHOLE[:2], []]
        assert (answers.copy_data(), answers.result()) == (None, None)


@pytest.mark.parametrize("answer", [b"", BEGIN + COPY + DATA], ids=["at once", "in the copy"])
def test_a_connection_that_is_reset_is_closed(answer: bytes) -> None:
    settings = PostgresSettings("127.0.0.1")
    with (
        scripted(answer, reset=True) as port,
        Replication(replace(settings, port=port)) as replication,
    ):
        *_, ended, _ = told(replication, ask(replication, "BASE_BACKUP"))
    assert ended == CLOSED


def test_a_network_that_is_gone_is_an_outage(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed_out(descriptor: int, rooms: list[memoryview]) -> int:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    with Replication(server.settings) as replication:
        answers = ask(replication, "IDENTIFY_SYSTEM")
        monkeypatch.setattr(os, "readv", timed_out)
        with pytest.raises(SourceOutage, match=r"could not receive data from server: Connection timed out$"):
            answers.result()


def row_of(length: int) -> bytes:
    return rows((b"1",)).replace(b"\0\x01\0\0\0\x01", b"\0\x01" + length.to_bytes(4, "big"))


@pytest.mark.parametrize(
    "answer",
    [
        BEGIN + COPY + DATA + b"d\0\0\0\x03",
        BEGIN + COPY + DATA + b"d\xff\xff\xff\xff",
        BEGIN + b"T\0\0\0\0",
        row_of(3),
        row_of(2**32 - 2),
        row_of(0),
        rows((b"1",)).replace(b"\0\x01c", b"\0\x02c"),
        message(b"T", b""),
        BEGIN + message(b"?", b"what") + READY,
    ],
    ids=[
        "copy",
        "copy, huge",
        "description",
        "column",
        "column, negative",
        "rest",
        "columns",
        "empty",
        "kind",
    ],
)
def test_lengths_and_kinds_that_lie_are_an_outage_and_no_more(
    asked: Callable[[Replication], Answers], answer: bytes
) -> None:
    with scripted(answer) as port, Replication(PostgresSettings("127.0.0.1", port)) as replication:
        *_, ended, _ = told(replication, asked(replication))
    assert isinstance(ended, tuple)
    assert ended[0] is SourceOutage


def test_who_hurries_waits_no_longer_for_a_server_that_hangs(asked: Callable[[Replication], Answers]) -> None:
    settings = PostgresSettings("127.0.0.1")
    with scripted(BEGIN + COPY + DATA, b"") as port, Replication(replace(settings, port=port)) as replication:
        answers = asked(replication)
        replication.hurry(1)
        *_, ended, _ = told(replication, answers)
    assert ended == (TemporaryFailure, f"{SAYS} did not end the stream")


@pytest.mark.parametrize("at", range(1, len(STATUS)))
def test_half_a_message_that_libpq_has_taken_in_is_left_to_libpq(at: int) -> None:
    before, after = (
        rows((b"UTC",)) + READY + STATUS[:at],
        STATUS[at:] + BEGIN + COPY + DATA + END + DONE + READY,
    )
    settings = PostgresSettings("127.0.0.1")
    with scripted(before, after) as port, Replication(replace(settings, port=port)) as replication:
        assert replication.show("TimeZone") == "UTC"
        answers = ask(replication, "BASE_BACKUP")
        assert list(told(replication, answers)) == [*WHOLE, (COMMAND, []), []]
    assert answers is replication


def test_a_refusal_is_read_plainly_and_named(server: PostgresServer) -> None:
    with Replication(server.settings) as replication:
        answers = ask(replication, "BASE_BACKUP (CHECKPOINT 'at noon')")
        assert isinstance(answers, PlainAnswers)
        with pytest.raises(SourceUnavailable, match="refuses BASE_BACKUP: unrecognized checkpoint type"):
            answers.result()


def test_a_connection_that_was_let_go_is_not_read_from(server: PostgresServer) -> None:
    with Replication(server.settings) as replication:
        answers = ask(replication, "IDENTIFY_SYSTEM")
    with pytest.raises(SourceOutage, match="ended the connection"):
        answers.result()
