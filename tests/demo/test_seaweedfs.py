import stat
from pathlib import Path

import pytest

from drtool.demo.servers.process import ServerFailed
from drtool.demo.servers.seaweedfs import Identity, SeaweedFS
from drtool.errors import StoreOutage
from drtool.repository.storage.s3 import S3Store
from drtool.repository.storage.settings import S3Credentials, S3Settings
from tests.conftest import S3Server
from tests.contracts.object_store import put

KEYS = Identity("seaweed-access", "seaweed-secret")


def store_at(server: SeaweedFS, bucket: str) -> S3Store:
    credentials = S3Credentials(KEYS.access_key, KEYS.secret_key)
    return S3Store(S3Settings(bucket, endpoint=server.endpoint, credentials=lambda: credentials))


def test_a_killed_server_has_all_that_it_acknowledged_when_it_is_started_again(tmp_path: Path) -> None:
    server = SeaweedFS.start(tmp_path, [KEYS])
    try:
        server.create_bucket("backup", versioned=True)
        store = store_at(server, "backup")
        put(store, "a", b"x" * 5_000_000)
        put(store, "b", b"last")
    finally:
        server.stop()
    with pytest.raises(StoreOutage):
        store.get("a")
    store.close()

    server = SeaweedFS.start(tmp_path, [KEYS])
    try:
        store = store_at(server, "backup")
        assert store.get("a") == b"x" * 5_000_000
        assert store.get("b") == b"last"
        store.close()
    finally:
        server.stop()


def test_the_server_listens_on_loopback_only(s3_server: S3Server) -> None:
    listening = _listening(s3_server.server.process.pid)

    assert len(listening) == 8
    assert {address for address, _ in listening} == {"0100007F"}


def test_no_secret_is_in_its_arguments_and_its_configuration_is_private(s3_server: S3Server) -> None:
    pid = s3_server.server.process.pid
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    configuration = next(Path(each.split("=")[1]) for each in arguments if each.startswith("-s3.config="))

    assert "test-secret-key" not in " ".join(arguments)
    assert stat.S_IMODE(configuration.stat().st_mode) == 0o600


def test_a_bucket_that_cannot_be_made_is_reported(s3_server: S3Server) -> None:
    with pytest.raises(ServerFailed, match="cannot make bucket x"):
        s3_server.server.create_bucket("x")


def _listening(pid: int) -> list[tuple[str, str]]:
    """Return the addresses and ports, in hexadecimal, on which the process pid listens."""
    sockets = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                address, _, port = fields[1].partition(":")
                found.append((address, port))
    return found
