"""How large a file of signed URLs becomes is reckoned from some of them."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from drtool.operations.presign import URLS_LAST, presign, presigned_size, signs_urls
from drtool.operations.session import Silent, Where, World

BUCKET = Where("s3://bucket/prefix", "http://127.0.0.1:1", "us-east-1")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return World(lambda: datetime(2026, 3, 2, tzinfo=UTC), {}, Silent())


@pytest.mark.parametrize("version", [None, "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"])
@pytest.mark.parametrize("count", [1, 700, 2300])
def test_it_is_right_within_some_percent(world: World, count: int, version: str | None) -> None:
    names = [f"packs/media/2026W10/{sha256(str(number).encode()).hexdigest()}" for number in range(count)]
    objects = {name: [(version, "", 0)] for name in names}

    exact = len(presign(BUCKET, objects, URLS_LAST, world))

    assert presigned_size(BUCKET, objects, world) == pytest.approx(exact, rel=0.03)


def test_only_a_bucket_signs(world: World, tmp_path: Path) -> None:
    assert signs_urls(BUCKET, world)
    assert not signs_urls(Where(f"file://{tmp_path}"), world)
