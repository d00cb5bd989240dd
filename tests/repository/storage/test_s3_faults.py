"""S3 on a bad day: each fault is its own clear error, and nothing half-true is ever returned."""

import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from drtool.errors import ObjectMissing, StoreOutage, StoreUnavailable
from drtool.repository.storage.retry import RetryingStore
from drtool.repository.storage.s3 import CLOCK_AGE_S, S3Store
from drtool.repository.storage.settings import S3Credentials, S3Settings
from tests.conftest import ADMIN, S3Server
from tests.contracts.object_store import put
from tests.faults.proxy import Answer, FaultProxy, Reset, Stall, Truncate, error


@pytest.fixture
def store(settings: S3Settings) -> Iterator[S3Store]:
    store = S3Store(settings)
    yield store
    store.close()


def patient(store: S3Store) -> RetryingStore:
    return RetryingStore(store, deadline_s=20, sleep=lambda _: None)


def test_the_proxy_passes_everything_on(store: S3Store, proxy: FaultProxy) -> None:
    put(store, "a", b"x" * 100_000)

    assert store.get("a", start=1, length=2) == b"xx"
    assert [found.name for found in store.list("")] == ["a"]
    store.delete("a")
    assert [method for method, _ in proxy.requests] == ["PUT", "GET", "GET", "DELETE"]


@pytest.mark.parametrize(
    "fault",
    [
        Answer(503, error("SlowDown")),
        Answer(503),
        Answer(500, error("InternalError")),
        Answer(502, b"<html>bad gateway</html>"),
        Answer(504),
        Answer(429, error("TooManyRequests")),
        Reset(),
        Reset(done=True),
    ],
    ids=str,
)
def test_an_outage_is_waited_out(store: S3Store, proxy: FaultProxy, fault: Answer | Reset) -> None:
    for method in ("PUT", "GET", "DELETE"):
        proxy.inject(fault, times=2, when=method)

    put(patient(store), "a", b"value")
    assert patient(store).get("a") == b"value"
    assert [found.name for found in patient(store).list("")] == ["a"]
    patient(store).delete("a")

    assert proxy.pending == 0
    assert list(store.list("")) == []


def test_an_outage_that_does_not_end_is_temporary_and_says_what_the_store_answered(
    store: S3Store, proxy: FaultProxy
) -> None:
    proxy.inject(Answer(503, error("SlowDown")))

    with pytest.raises(StoreOutage, match="SlowDown") as raised:
        store.get("a")

    assert raised.value.exit_code == 75
    assert raised.value.hint


@pytest.mark.parametrize("fault", [Answer(503, error("SlowDown")), Reset()], ids=str)
def test_nothing_is_asked_again_below_the_fence(
    store: S3Store, proxy: FaultProxy, fault: Answer | Reset
) -> None:
    proxy.inject(fault, times=2)

    with pytest.raises(StoreOutage):
        put(store, "a", b"x")

    assert [method for method, _ in proxy.requests] == ["PUT"]


@pytest.mark.parametrize("after", [0, 1, 70_000])
def test_a_truncated_body_is_never_returned(store: S3Store, proxy: FaultProxy, after: int) -> None:
    put(store, "a", b"x" * 100_000)
    proxy.inject(Truncate(after), when="GET", times=2)

    with pytest.raises(StoreOutage):
        store.get("a")
    assert patient(store).get("a") == b"x" * 100_000


@pytest.mark.parametrize(
    "fault",
    [Truncate(200), Answer(200), Answer(200, b"<html>hello</html>"), Answer(200, error("InternalError"))],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_half_a_listing_is_never_taken_for_a_whole_one(
    store: S3Store, proxy: FaultProxy, fault: Answer | Truncate
) -> None:
    put(store, "a", b"x")
    proxy.inject(fault, when="list-type")

    with pytest.raises(StoreOutage):
        list(store.list(""))

    proxy.inject(fault, when="list-type")
    assert [found.name for found in patient(store).list("")] == ["a"]


def test_a_put_that_is_answered_200_with_an_error_has_failed(store: S3Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(200, error("InternalError")), when="PUT")

    with pytest.raises(StoreOutage):
        put(store, "a", b"x")
    put(patient(store), "a", b"x")


def test_a_store_that_stalls_is_given_up_after_the_timeout(settings: S3Settings, proxy: FaultProxy) -> None:
    store = S3Store(replace(settings, read_timeout_s=0.3))
    proxy.inject(Stall(1.0))

    with pytest.raises(StoreOutage, match="timeout"):
        store.get("a")
    store.close()


@pytest.mark.parametrize("method", ["get", "list", "delete", "put"])
def test_expired_credentials_are_asked_for_again_once(
    settings: S3Settings, proxy: FaultProxy, method: str
) -> None:
    asked: list[S3Credentials] = []

    def credentials() -> S3Credentials:
        asked.append(S3Credentials(ADMIN.access_key, ADMIN.secret_key))
        return asked[-1]

    store = S3Store(replace(settings, credentials=credentials))
    put(store, "a", b"x")
    proxy.inject(Answer(400, error("ExpiredToken")))

    match method:
        case "get":
            assert store.get("a") == b"x"
        case "list":
            assert len(list(store.list(""))) == 1
        case "delete":
            store.delete("a")
        case _:
            put(store, "b", b"y")

    assert len(asked) == 2
    proxy.inject(Answer(403, error("ExpiredToken")), times=2)
    with pytest.raises(StoreUnavailable, match="expired"):
        store.get("a")
    store.close()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "does not allow these credentials to get a in bucket plain"),
        (403, "InvalidAccessKeyId", "does not know the access key"),
        (403, "SignatureDoesNotMatch", "refuses the secret key"),
        (403, "RequestTimeTooSkewed", "the clock of this machine"),
        (400, "InvalidToken", "have expired"),
        (404, "NoSuchBucket", "there is no bucket plain"),
        (301, "PermanentRedirect", "another region"),
        (507, "InsufficientStorage", "no space is left"),
        (400, "BadDigest", "do not match their SHA-256"),
        (413, "EntityTooLarge", "no object as large"),
        (400, "SomethingNew", "SomethingNew"),
        (501, "NotImplemented", "NotImplemented"),
    ],
)
def test_every_refusal_has_its_own_words_and_is_not_repeated(
    store: S3Store, proxy: FaultProxy, status: int, code: str, words: str
) -> None:
    proxy.inject(Answer(status, error(code)))

    with pytest.raises(StoreUnavailable, match=words) as raised:
        patient(store).get("a")

    assert raised.value.exit_code == 7
    assert raised.value.hint.endswith(".")
    assert ADMIN.secret_key not in raised.value.message + raised.value.hint
    assert [method for method, _ in proxy.requests if method != "HEAD"] == ["GET"]  # boto asks for the region


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bucket": "none"}, "there is no bucket none"),
        ({"bucket": "No_Bucket!"}, "there is no bucket No_Bucket!"),
        ({"credentials": lambda: S3Credentials("stranger", "s3cr3t")}, "does not know the access key"),
        ({"credentials": lambda: S3Credentials(ADMIN.access_key, "s3cr3t")}, "refuses the secret key"),
        (
            {"endpoint": "http://no-such-host.invalid"},
            "host name of http://no-such-host.invalid is not known",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_wrong_settings_are_told_apart(s3_server: S3Server, changes: dict[str, object], words: str) -> None:
    store = S3Store(replace(s3_server.plain, **changes))  # type: ignore[arg-type]  # a table of both

    for call in (
        lambda: store.get("a"),
        lambda: list(store.list("")),
        store.now,
        lambda: put(store, "a", b"x"),
        lambda: list(store.versions("")),
    ):
        with pytest.raises(StoreUnavailable, match=words) as raised:
            call()
        assert not isinstance(raised.value, ObjectMissing | StoreOutage)
        assert "s3cr3t" not in raised.value.message + raised.value.hint
    store.close()


def test_a_server_that_does_not_run_is_an_outage(s3_server: S3Server) -> None:
    store = S3Store(replace(s3_server.plain, endpoint="http://127.0.0.1:1"))

    with pytest.raises(StoreOutage, match="connection refused"):
        store.now()


def test_no_credentials_at_all_are_said_so(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(StoreUnavailable, match="no credentials") as raised:
        S3Store(replace(s3_server.plain, credentials=None)).now()
    assert "AWS_ACCESS_KEY_ID" in raised.value.hint


def test_boto_finds_credentials_in_the_environment(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ADMIN.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ADMIN.secret_key)
    store = S3Store(replace(s3_server.at(s3_server.plain), credentials=None))

    assert list(store.list("")) == []
    store.close()


def test_a_server_without_tls_is_told_from_one_with_a_foreign_certificate(s3_server: S3Server) -> None:
    endpoint = s3_server.server.endpoint.replace("http:", "https:")

    with pytest.raises(StoreUnavailable, match="does not speak TLS"):
        S3Store(replace(s3_server.plain, endpoint=endpoint)).now()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A PEM file with a key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(plain + signed.public_bytes(Encoding.PEM))
    return path


def test_a_certificate_is_trusted_by_the_ca_file_alone(s3_server: S3Server, certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with FaultProxy(s3_server.server.endpoint, tls) as proxy:
        settings = replace(s3_server.at(s3_server.plain), endpoint=proxy.endpoint)

        with pytest.raises(StoreUnavailable, match=r"certificate of .* is not trusted") as raised:
            S3Store(settings).now()
        assert "ca_file" in raised.value.hint
        assert not isinstance(raised.value, StoreOutage)

        store = S3Store(replace(settings, ca_file=certificate))
        put(store, "a", b"x")
        assert store.get("a") == b"x"
        store.close()


def test_a_version_that_the_store_calls_a_delete_marker_is_missing(store: S3Store, proxy: FaultProxy) -> None:
    proxy.inject(Answer(405, error("MethodNotAllowed")))

    with pytest.raises(ObjectMissing):
        store.get("a", "marker")


@pytest.mark.parametrize(
    ("status", "code"), [(501, "NotImplemented"), (403, "AccessDenied")], ids=["unknown", "forbidden"]
)
def test_versions_are_listed_where_their_state_may_not_be_asked(
    store: S3Store, proxy: FaultProxy, status: int, code: str
) -> None:
    put(store, "a", b"x")
    proxy.inject(Answer(status, error(code)), when="versioning")

    assert [found.name for found in store.versions("")] == ["a"]


def test_the_clock_is_the_stores_and_asked_for_once(store: S3Store, proxy: FaultProxy) -> None:
    listing = b"<ListBucketResult><Name>plain</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
    proxy.inject(Answer(200, listing, {"Date": "Thu, 01 Jan 2026 12:00:00 GMT"}))

    first, second = store.now(), store.now()

    assert first.isoformat().startswith("2026-01-01T12:00:0")
    assert second >= first
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("ahead_s", "fraction_s"),
    [(0.7, 0.7), (-0.2, 0.0), (1.4, 0.0), (-1.5, 0.0), (2.5, 0.0), (3600.7, 0.0)],
    ids=["within", "behind", "ahead", "far behind", "far ahead", "another hour"],
)
def test_what_a_store_cuts_off_of_its_clock_is_told_by_a_machine_that_agrees_with_it(
    proxy: FaultProxy, settings: S3Settings, ahead_s: float, fraction_s: float
) -> None:
    listing = b"<ListBucketResult><Name>plain</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
    proxy.inject(Answer(200, listing, {"Date": "Thu, 01 Jan 2026 12:00:00 GMT"}))
    told = datetime(2026, 1, 1, 12, tzinfo=UTC)

    with closing(S3Store(settings, lambda: told + timedelta(seconds=ahead_s))) as store:
        passed = store.now() - told

    assert timedelta(seconds=fraction_s) <= passed < timedelta(seconds=fraction_s + 0.2)


def test_a_machine_that_slept_asks_for_the_clock_again(
    store: S3Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.now()
    told = time.clock_gettime  # of CLOCK_MONOTONIC, which has stood still, still right
    asleep = told(time.CLOCK_BOOTTIME) + CLOCK_AGE_S + 1
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: asleep if clock == time.CLOCK_BOOTTIME else told(clock)
    )

    store.now()

    assert len(proxy.requests) == 2


def test_settings_and_credentials_do_not_show_the_secret() -> None:
    credentials = S3Credentials("key", "s3cr3t", "t0ken")

    assert "s3cr3t" not in repr(credentials)
    assert "t0ken" not in repr(credentials)
