"""The files that a policy names are found beside it, from wherever drtool is run."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.errors import UsageError
from drtool.operations.session import Silent, Where, World, connect
from drtool.operations.settings import postgres_settings, redis_settings
from drtool.policy.schema import Repository
from drtool.policy.volumes import PostgresVolume, RedisVolume

BESIDE = World(lambda: datetime(2026, 3, 2, tzinfo=UTC), {}, Silent(), folder=Path("/etc/drtool"))


@pytest.mark.parametrize(
    ("said", "meant"),
    [("ca.pem", "/etc/drtool/ca.pem"), ("/run/ca.pem", "/run/ca.pem"), ("system", "system"), (None, None)],
)
def test_the_authorities_of_a_postgresql_are_a_file_beside_the_policy(
    said: str | None, meant: str | None
) -> None:
    volume = PostgresVolume(name="db", source="postgres", host="db", user="drtool", sslrootcert=said)
    assert postgres_settings(volume, BESIDE).sslrootcert == meant


def test_the_certificates_towards_redis_are_files_beside_the_policy() -> None:
    tls = {"ca_file": "ca.pem", "cert_file": "/run/c.pem", "key_file": "keys/k.pem"}
    access = redis_settings(
        RedisVolume.model_validate({"name": "redis", "source": "redis", "host": "redis", "tls": tls}), BESIDE
    ).access
    assert access.tls is not None
    files = (access.tls.ca_file, access.tls.certificate_file, access.tls.key_file)
    assert files == (Path("/etc/drtool/ca.pem"), Path("/run/c.pem"), Path("/etc/drtool/keys/k.pem"))


def test_the_authorities_of_a_store_are_a_file_beside_the_policy_or_what_the_command_line_says() -> None:
    url, endpoint = "s3://bucket/prefix", "https://s3.example"
    with pytest.raises(UsageError, match=r"the CA file /etc/drtool/ca\.pem is not there"):
        connect(Repository(url=url, endpoint=endpoint, ca_file="ca.pem"), BESIDE)
    with pytest.raises(UsageError, match=r"the CA file ca\.pem is not there"):
        connect(Where(url, endpoint, ca_file=Path("ca.pem")), BESIDE)
