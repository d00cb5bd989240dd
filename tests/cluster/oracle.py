"""The judge of backups in a cluster: what drtool says can be restored is restored, and held against the ledger.

oracle = Oracle(protection, ledger_file, folder)
assert not oracle.posts().missing        # PostgreSQL: all that was acknowledged up to where status says it goes
assert not oracle.uploads("files").missing
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from drtool.demo.servers.postgres import PostgresServer, find_bin_dir, private_directory
from drtool.errors import SourceUnavailable
from tests.cluster.load.compare import Found, KindComparison, compare
from tests.cluster.load.inventory import read_postgres
from tests.cluster.load.ledger import Kind, read_ledger
from tests.cluster.process import wait_until
from tests.cluster.protection import Protection

MAJOR = 15  # of the systems' image
START_S = 60


@dataclass(frozen=True)
class Oracle:
    """What protection promises, held against a ledger. folder takes what is restored, and is the test's to remove."""

    protection: Protection
    ledger: Path
    folder: Path

    def posts(self) -> KindComparison:
        """Compare a restored PostgreSQL with the posts acknowledged up to the newest moment that status shows."""
        promised = self.newest("postgres")
        target = private_directory("oracle") / "data"
        self._restore("postgres", target)
        server = PostgresServer(target, find_bin_dir(MAJOR), password="", fast=True)
        server.start(wait=False)
        try:
            found = self._read(f"host={target.parent} port={server.port}")
        finally:
            server.stop("immediate")
        return self._held(promised, "posts", found)

    def uploads(self, volume: str) -> KindComparison:
        """Compare the files of a restored volume with the uploads acknowledged before its newest walk began."""
        promised = self.newest(volume)
        target = self.folder / token_hex(4)
        self._restore(volume, target)
        return self._held(promised, "uploads", list(_uploads(target)))

    def newest(self, volume: str) -> datetime:
        """Return the moment up to which nothing of a volume is lost, as status has it."""
        return datetime.fromisoformat(self.protection.status()[volume]["newest"])

    def _held(self, promised: datetime, kind: Kind, found: list[Found]) -> KindComparison:
        """Hold what was found against the ledger as it is now: a restore may bring more than was promised to it."""
        return compare(read_ledger(self.ledger).promised(promised), {kind: found}).of(kind)

    def _restore(self, volume: str, target: Path) -> None:
        proofs = self.protection.restore(volume, target)["proofs"]
        assert [proof for proof in proofs if not proof["ok"]] == []

    def _read(self, where: str) -> list[Found]:
        """Return the posts of a server, once it answers. Who may connect from this machine needs no password."""
        secret = self.protection.secret("postgres-secrets")
        user, database = secret["POSTGRES_USER"], secret["POSTGRES_DB"]
        found: list[Found] = []

        def answers() -> bool:
            with suppress(SourceUnavailable):
                found.extend(read_postgres(f"{where} user={user} dbname={database}", "posts"))
                return True
            return False

        wait_until(answers, "the restored PostgreSQL answers", deadline_s=START_S)
        return found


def _uploads(root: Path) -> Iterator[Found]:
    """Yield the uploads below root, wherever the application keeps them; one half written has another name."""
    for file in root.rglob("uploads/*/*"):
        if not file.name.startswith("."):
            yield Found(file.name, sha256(file.read_bytes()).hexdigest())
