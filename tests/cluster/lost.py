"""A system that is lost with a gigabyte in it, and what is true of each that is back from its points.

lost = Lost(WayBack.of(scene.protection, second_cluster), read_ledger(folder / "ledger"), …)
answer = lost.come_back(secrets)
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.cluster.bulk import GIGABYTE, UPLOADS, digest
from tests.cluster.load.ledger import Ledger
from tests.cluster.protection import write_secret
from tests.cluster.smoke import Visitor, visit
from tests.cluster.way_back import Answer, WayBack, assert_followed, assert_told_as_it_was, points_of


@dataclass(frozen=True)
class Lost:
    """The way back, and the ledger of what the system had; before is what it had before the ledger.

    All of the ledger was acknowledged by moment, and a post that is not in it was written after that. rows is the
    digest of its rows, uploads the volume of its files, volumes are all that come back.
    """

    way: WayBack
    ledger: Ledger
    before: frozenset[str]
    rows: str
    moment: datetime
    uploads: str
    volumes: frozenset[str]

    def come_back(self, secrets: Path) -> Answer:
        """Restore to the moment, and return the answer. Assert that all of the gigabyte is there, and nothing later.

        secrets gets what the new writer logs in to the store with.
        """
        way, system = self.way, self.way.system
        write_secret(secrets / "drtool-s3", way.protection.writer_secret())
        enrols = ("--admin-key-file", f"{way.protection.kit}.admin", "--writer-secrets", secrets)

        answer, asked, served = way.timed_restore("--at", self.moment.isoformat(), *enrols)

        restored = answer["restore"]
        assert restored["outcome"] == "restored"
        assert_told_as_it_was(restored, asked, served, self.moment)
        assert set(points_of(answer)) == self.volumes
        assert sum(each["size"] for each in restored["volumes"]) > GIGABYTE
        way.judge(answer, self.ledger, self.before, self.uploads)
        assert len(self.ledger.of("uploads")) > UPLOADS
        assert digest(way.target, system) == self.rows
        visit(Visitor.of(system, way.target))
        return answer

    def come_back_again(self, first: Answer, secrets: Path) -> Answer:
        """Lose what came back, too, and restore once more: from the same points, though there are newer ones."""
        self.way.system.remove(self.way.target)
        again = self.come_back(secrets)
        assert points_of(again) == points_of(first)
        return again

    def assert_kept_again(self) -> None:
        """Assert that what the restored system writes now arrives in the repository."""
        assert_followed(self.way)
