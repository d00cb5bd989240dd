"""Servers, and somebody without rights, that the tests of several rooms share."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from drtool.demo.servers.seaweedfs import Identity, SeaweedFS
from drtool.repository.storage.settings import S3Credentials, S3Settings

# How long an example takes says how busy the machine is: one that others hold up for 200 ms is no failure.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

ADMIN = Identity("test-access-key", "test-secret-key")
NOBODY = 65534


LONGEST = (  # files that begin first, so that no worker is left alone with one of them at the end
    "scenarios/test_crash.py",
    "scenarios/test_follow.py",
    "scenarios/test_faults.py",
    "scenarios/test_slot_limit.py",
    "demo/test_demo.py",
)


def pytest_configure() -> None:
    """Let SIGINT end what the tests start, where a shell has it ignored: it does for what runs in its background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin first; the order within each file stays."""
    first = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


@dataclass(frozen=True)
class S3Server:
    """A SeaweedFS for the whole session, with two buckets. Each test gets a prefix of its own."""

    server: SeaweedFS
    plain: S3Settings
    versioned: S3Settings

    def at(self, settings: S3Settings) -> S3Settings:
        """Return settings with a prefix that no other test has."""
        return replace(settings, prefix=f"test-{next(_numbers)}/")


_numbers = count(1)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = SeaweedFS.start(tmp_path_factory.mktemp("seaweedfs"), [ADMIN])
    try:
        server.create_bucket("plain")
        server.create_bucket("versioned", versioned=True)
        plain = S3Settings(
            "plain",
            endpoint=server.endpoint,
            credentials=lambda: S3Credentials(ADMIN.access_key, ADMIN.secret_key),
        )
        yield S3Server(server, plain, replace(plain, bucket="versioned"))
    finally:
        server.stop()


@pytest.fixture
def as_user() -> Iterator[Path]:
    """A directory of a user without rights, who is who runs the test until it ends."""
    directory = Path(tempfile.mkdtemp(prefix="drtool-test-"))
    directory.chmod(0o755)
    is_root, groups = os.geteuid() == 0, os.getgroups()
    try:
        if is_root:
            os.chown(directory, NOBODY, NOBODY)
            os.setgroups([])
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        yield directory
    finally:
        if is_root:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)
        for each in directory.iterdir():
            if each.is_dir() and not each.is_symlink():
                each.chmod(0o700)  # what a test closed must be open for its owner to remove it
        shutil.rmtree(directory)
