"""A system under load with drtool beside it: what its CronJobs keep is held against the ledger.

with protected(cluster, lab, MISAGO, folder) as scene:
    scene.wait_until_inside()
    scene.judge(uploads="media")
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.cluster.cluster import Cluster
from tests.cluster.lab import Lab
from tests.cluster.load.generator import Generator
from tests.cluster.load.inventory import identities
from tests.cluster.load.ledger import Kind, LedgerFile
from tests.cluster.oracle import Oracle
from tests.cluster.process import LabFailed, wait_until
from tests.cluster.protection import Makes, Protection, policy_of
from tests.cluster.system import System
from tests.faults.proxy import Delay, FaultProxy

PACE: dict[Kind, float] = {"posts": 20, "uploads": 2, "tasks": 0.5}
TAIL_EVERY_S = 30  # a tenth of the RPO that Protection sets
SLACK_S = 5
INSIDE_S = 300
SEEN_S = 60
UPLOAD_TAKES_S = 1.5


@dataclass(frozen=True)
class Scene:
    """A system under load, protected. store stands between drtool and MinIO, and lets everything through until told.

    before holds what the system had before the load, which is not in its ledger.
    """

    protection: Protection
    store: FaultProxy
    load: Generator
    oracle: Oracle
    before: frozenset[str]

    def wait(self, condition: Callable[[], bool], what: str, deadline_s: float) -> None:
        """Return once condition holds. Raises LabFailed with what is to be seen of the backups."""
        try:
            wait_until(condition, what, deadline_s=deadline_s)
        except LabFailed as failure:
            said = {name: volume["overdue"] for name, volume in self.protection.status().items()}
            raise LabFailed(f"{failure.message}: {said}\n{self.protection.describe('postgres')}") from failure

    def is_followed(self) -> bool:
        """Tell whether the WAL arrives: no more is exposed than tail_every and a little."""
        with suppress(LabFailed):
            exposure = self.protection.status()["postgres"]["exposure_seconds"]
            return exposure is not None and exposure <= TAIL_EVERY_S + SLACK_S
        return False

    def wait_until_inside(self) -> None:
        """Return once every volume is inside of its RPO, and PostgreSQL's WAL arrives as often as it should."""
        volumes = [volume for volume in self.protection.status() if volume != "postgres"]
        self.protection.wait_for_points("postgres", *volumes, deadline_s=INSIDE_S)
        self.wait(self.is_followed, "the WAL is followed", INSIDE_S)
        outside = [name for name, volume in self.protection.status().items() if not volume["inside"]]
        assert not outside

    def judge(self, uploads: str) -> None:
        """Assert that what status promises is what a restore brings: posts, and the files of volume uploads."""
        for found in (self.oracle.posts(), self.oracle.uploads(uploads)):
            assert found.acknowledged > 0
            foreign = sorted(set(found.foreign) - self.before)
            assert (found.missing, found.altered, foreign) == ((), (), []), (found.kind, found.last_present)

    def names(self, volume: str) -> set[str]:
        """Return the names of the points of a volume that are listed."""
        return {str(point["name"]) for point in self.protection.points(volume)}

    def begin_slowly(self, volume: str) -> str:
        """Begin a backup whose uploads take their time; return its Job, once it is in the middle of the first one."""
        seen = len(self.store.requests)
        self.store.inject(Delay(UPLOAD_TAKES_S), times=None, when="PUT ")
        job = self.protection.begin(volume)
        self.wait(lambda: self._is_uploading(volume, seen), f"{volume} is being uploaded", SEEN_S)
        return job

    def _is_uploading(self, volume: str, seen: int) -> bool:
        asked = list(self.store.requests[seen:])
        return any(method == "PUT" and f"/packs/{volume}/" in path for method, path in asked)


@contextmanager
def protected(
    cluster: Cluster, lab: Lab, system: System, folder: Path, make: Makes | None = None
) -> Iterator[Scene]:
    """Put system, which is there, under load and drtool beside it; take both away afterwards.

    make makes its policy, where that is not the one that policy_of has.
    """
    with installed(cluster, lab, system, folder, make) as scene:
        try:
            yield scene
        finally:
            scene.store.clear()
            scene.protection.remove()


@contextmanager
def installed(
    cluster: Cluster, lab: Lab, system: System, folder: Path, make: Makes | None = None
) -> Iterator[Scene]:
    """Put system, which is there, under load and drtool beside it. Only the load is ended afterwards."""
    address = str(urlsplit(lab.minio.endpoint).hostname)
    makes = make or policy_of(system.name)
    with FaultProxy(lab.minio.endpoint, address=address) as store, LedgerFile(folder / "ledger") as ledger:
        site = system.site(cluster)
        before = identities(site, "posts") | identities(site, "uploads")
        load = Generator(site, system.session(cluster), ledger, PACE)
        load.start()
        try:
            protection = Protection.install(
                cluster, lab, system, lambda bucket, _: makes(bucket, store.endpoint), folder
            )
            yield Scene(protection, store, load, Oracle(protection, folder / "ledger", folder), before)
        finally:
            load.stop()
