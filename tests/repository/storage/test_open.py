from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.errors import UsageError
from drtool.repository.storage.base import ObjectStore
from drtool.repository.storage.directory import DirectoryStore
from drtool.repository.storage.memory import MemoryStore
from drtool.repository.storage.open import open_store
from drtool.repository.storage.s3 import S3Store
from tests.conftest import S3Server
from tests.contracts.object_store import put


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("s3://bucket", S3Store),
        ("s3://bucket/", S3Store),
        ("s3://bucket/a/b", S3Store),
        ("file:///srv/backup", DirectoryStore),
        ("memory:", MemoryStore),
    ],
)
def test_a_url_names_its_kind_of_store(url: str, kind: type[ObjectStore]) -> None:
    assert isinstance(open_store(url, clock=now), kind)


@pytest.mark.parametrize("prefix", ["", "/", "/prod", "/prod/"])
def test_a_prefix_holds_the_objects(s3_server: S3Server, prefix: str) -> None:
    settings = s3_server.plain
    where = {"endpoint": f"{s3_server.server.endpoint}/", "credentials": settings.credentials}
    inside = open_store(f"s3://plain{prefix}", clock=now, **where)  # type: ignore[arg-type]  # a table of both
    whole = open_store("s3://plain", clock=now, **where)  # type: ignore[arg-type]
    put(inside, "open/a", b"x")

    key = f"{prefix.strip('/')}/open/a".lstrip("/")
    assert [found.name for found in whole.list(key)] == [key]
    inside.delete("open/a")
    for store in (inside, whole):
        assert isinstance(store, S3Store)
        store.close()


def test_a_folder_with_a_blank_is_written_as_in_every_url(tmp_path: Path) -> None:
    (tmp_path / "my backups").mkdir()
    store = open_store(f"file://{tmp_path}/my%20backups", clock=now)

    put(store, "a", b"x")

    assert (tmp_path / "my backups" / "a").read_bytes() == b"x"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/backup",
        "srv",
        "ftp://host/x",
        "s3:",
        "s3:///prefix",
        "s3://host:9000/bucket",
        "s3://bucket/a b",
        "s3://bucket/a/../b",
        "s3://bucket//x//y",
        "s3://bucket?x=1",
        "file://srv/backup",
        "file:///",
        "file:srv",
        "s3://[",
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_store(url, clock=now)
    assert refused.value.hint.endswith(".")


def test_a_url_with_credentials_is_refused_without_showing_them() -> None:
    with pytest.raises(UsageError) as refused:
        open_store("s3://key:s3cr3t@bucket/prefix", clock=now)
    assert "s3cr3t" not in refused.value.message + refused.value.hint


@pytest.mark.parametrize(
    "endpoint", ["", "host:9000", "ftp://host", "http://", "http://key:s3cr3t@host", "https://host?x=1"]
)
def test_an_endpoint_that_is_no_server_is_refused(endpoint: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_store("s3://bucket", clock=now, endpoint=endpoint)
    assert "s3cr3t" not in refused.value.message + refused.value.hint


def test_a_ca_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="CA file"):
        open_store("s3://bucket", clock=now, ca_file=tmp_path / "none.pem")
