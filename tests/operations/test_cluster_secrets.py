from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.errors import UsageError
from drtool.operations.session import Silent, World
from drtool.policy.secret import KubernetesReference, OutOfReach

REFERENCE = KubernetesReference(secret="postgres-secrets", key="POSTGRES_PASSWORD")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def world(**environment: str) -> World:
    return World(lambda: NOW, environment, Silent())


def test_a_key_of_a_secret_is_the_file_that_the_pod_was_given(tmp_path: Path) -> None:
    file = tmp_path / "postgres-secrets" / "POSTGRES_PASSWORD"
    file.parent.mkdir()
    file.write_text("first\n")
    here = world(DRTOOL_SECRETS=str(tmp_path))
    assert here.secret(REFERENCE) == "first"

    file.write_text("rotated")
    assert here.secret(REFERENCE) == "rotated"


def test_a_secret_that_is_not_mounted_here_is_out_of_reach_and_not_missing(tmp_path: Path) -> None:
    with pytest.raises(OutOfReach, match="holds no such Secret"):
        world(DRTOOL_SECRETS=str(tmp_path)).secret(REFERENCE)


def test_a_key_that_is_missing_is_named_with_its_secret(tmp_path: Path) -> None:
    (tmp_path / "postgres-secrets").mkdir()  # as Kubernetes mounts what is optional and not there
    with pytest.raises(
        UsageError, match="key POSTGRES_PASSWORD of Secret postgres-secrets is not there"
    ) as told:
        world(DRTOOL_SECRETS=str(tmp_path)).secret(REFERENCE)
    assert "kubectl describe secret postgres-secrets" in told.value.hint


def test_a_key_that_is_no_text_is_not_repeated_in_the_message(tmp_path: Path) -> None:
    file = tmp_path / "postgres-secrets" / "POSTGRES_PASSWORD"
    file.parent.mkdir()
    file.write_bytes(b"s3cret\xff")

    with pytest.raises(UsageError, match="cannot be read as text") as told:
        world(DRTOOL_SECRETS=str(tmp_path)).secret(REFERENCE)
    assert "s3cret" not in str(told.value)


def test_outside_of_a_pod_a_secret_of_the_cluster_is_out_of_reach() -> None:
    with pytest.raises(UsageError, match="is not reachable from here"):
        world().secret(REFERENCE)
