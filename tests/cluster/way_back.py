"""The way back: a protected system is lost, and drtool brings it into another cluster, from the kit and the bucket.

way = WayBack.of(protection, second_cluster)      # which has what any cluster has: classes, Ingress, images
lose(cluster, TINY)
answer, asked, served = way.timed_restore()
assert_told_as_it_was(answer["restore"], asked, served)
way.judge(answer, ledger, before, uploads="media")
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.images import IMAGES, archive
from tests.cluster.load.compare import Comparison, compare
from tests.cluster.load.inventory import ask_site
from tests.cluster.load.ledger import KINDS, Kind, Ledger
from tests.cluster.minio import Credentials
from tests.cluster.process import LabFailed, wait_until
from tests.cluster.protection import Protection
from tests.cluster.smoke import Visitor
from tests.cluster.system import (
    System,
    deploy_ingress_controller,
    load_images,
    provide_longhorn,
    wait_until_served,
)

Answer = dict[str, Any]
IMAGE = IMAGES["drtool"].reference
LATER = ("--enrol", "later")
UNPROTECTED = 9  # how a restore ends that enrols nobody
RESTORE_S = 900
FOLLOWED_S = 120
GRAIN = timedelta(seconds=2)  # the store tells its clock in whole seconds
STARTS = timedelta(seconds=20)  # a Python process, and the keys that it unlocks, while other tests run
MOST = 0.9  # phases may run beside each other, never leave a hole
SERVED_BY_DATABASE: tuple[Kind, ...] = ("posts", "tasks")
# What a cluster says of an object by itself, or of who wrote it.
_OWN = ("resourceVersion", "managedFields", "uid", "creationTimestamp", "generation")
_CHANGING = ("events", "leases.coordination.k8s.io", "endpointslices.discovery.k8s.io", "endpoints")


@dataclass(frozen=True)
class WayBack:
    """From the repository of protection into target, as an operator with the kit goes it."""

    protection: Protection
    target: Cluster

    @classmethod
    def of(cls, protection: Protection, target: Cluster) -> "WayBack":
        """Give target what a system expects of any cluster: storage classes, an Ingress controller, its images."""
        deploy_ingress_controller(target)
        provide_longhorn(target)
        load_images(target, protection.system.name)
        for node in target.nodes:
            node.load(archive("drtool"))
        return cls(protection, target)

    @property
    def system(self) -> System:
        """What is brought back."""
        return self.protection.system

    @cached_property
    def uid(self) -> str:
        """What tells the target from all other clusters."""
        found = self.target.kubectl("get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}")
        return found.strip()

    def command(self, *arguments: str | Path) -> tuple[list[str], dict[str, str]]:
        """Return a restore's command line and environment. No policy is at hand: the kit is enough."""
        place = (
            *("--repository", f"s3://{self.protection.bucket}/prod/"),
            *("--endpoint", self.protection.minio.endpoint),
            *("--recovery-key-file", self.protection.kit),
        )
        target = ("--to-cluster", self.target.name)
        user = self.protection.minio.root if "--admin-key-file" in arguments else self._operator()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DRTOOL_")},
            "KUBECONFIG": str(self.target.kubeconfig),
            "AWS_ACCESS_KEY_ID": user.access_key,
            "AWS_SECRET_ACCESS_KEY": user.secret_key,
        }
        said = [*map(str, (*target, *place, *arguments))]
        return [sys.executable, "-m", "drtool", "restore", *said, "--json"], environment

    def _operator(self) -> Credentials:
        secret = self.protection.credentials_of("operator") / "drtool-s3"
        access_key, secret_key = (
            (secret / key).read_text(encoding="utf-8") for key in ("access_key", "secret_key")
        )
        return Credentials(access_key, secret_key)

    def killed_after(self, entries: int, state: Path, *arguments: str | Path) -> tuple[str, int | None]:
        """Begin or go on with a restore, and kill drtool once its journal has so many more entries.

        state keeps the copies of journals. Returns the run, and how drtool ended if it was not killed.
        """
        before = _lines_of(state)
        command, environment = self.command("--confirm-target", self.uid, *arguments)
        process = subprocess.Popen(
            command, env={**environment, "XDG_STATE_HOME": str(state)}, stdout=subprocess.DEVNULL
        )
        try:
            wait_until(
                lambda: process.poll() is not None or _lines_of(state) >= before + entries,
                f"the journal has {entries} more entries",
                deadline_s=RESTORE_S,
            )
        finally:
            process.kill()
            process.wait()
        [journal] = (state / "drtool/runs").iterdir()
        return journal.stem, None if process.returncode == -signal.SIGKILL else process.returncode

    def restore(self, *arguments: str | Path, code: int | None = None) -> Answer:
        """Restore, and return the answer; who gives no admin sheet enrols nobody. Raises LabFailed at another end."""
        unattended = ("--image", IMAGE, "--confirm-target", self.uid)
        if "--admin-key-file" in arguments:
            return self.run(*unattended, *arguments, code=code or 0)
        return self.run(*unattended, *LATER, *arguments, code=UNPROTECTED if code is None else code)

    def timed_restore(self, *arguments: str | Path) -> tuple[Answer, datetime, datetime]:
        """Restore, and return the answer between what a clock outside of drtool said before and after."""
        asked = datetime.now(UTC)
        answer = self.restore(*arguments)
        return answer, asked, datetime.now(UTC)

    def run(self, *arguments: str | Path, code: int = 0) -> Answer:
        """Run `drtool restore --to-cluster` with arguments, and return its answer. Raises LabFailed at another end."""
        command, environment = self.command(*arguments)
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=RESTORE_S, check=False
        )
        if done.returncode != code:
            raise LabFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        answer: Answer = json.loads(done.stdout)
        return answer

    def compare(self, ledger: Ledger, moments: Mapping[str, datetime], uploads: str) -> Comparison:
        """Return what the restored system has, against what was acknowledged by the moments of its volumes."""
        site = self.system.site(self.target)
        wait_until_served(site)
        promised = {
            **{kind: ledger.promised(moments["postgres"]).of(kind) for kind in SERVED_BY_DATABASE},
            "uploads": ledger.promised(moments[uploads]).of("uploads"),
        }
        kept = {identity: write for writes in promised.values() for identity, write in writes.items()}
        return compare(Ledger(kept), {kind: ask_site(site, kind) for kind in promised})

    def judge(self, answer: Answer, ledger: Ledger, before: frozenset[str], uploads: str) -> None:
        """Assert that all is there that was ever acknowledged, with its files, and nothing else but before.

        All of the ledger is older than the points: uploads is the volume with the files.
        """
        volumes = answer["restore"]["volumes"]
        moments = {each["volume"]: datetime.fromisoformat(each["moment"]) for each in volumes}
        found = self.compare(ledger, moments, uploads)
        for kind in KINDS:
            each = found.of(kind)
            assert (each.missing, each.altered, each.without_file) == ((), (), ()), kind
            assert set(each.foreign) - before == set(), kind
            acknowledged = [write for write in ledger.of(kind).values() if write.acknowledged]
            assert each.acknowledged == len(acknowledged) > 0, kind


def assert_told_as_it_was(
    restored: Answer, asked: datetime, served: datetime, at: datetime | None = None
) -> None:
    """Assert that the times and losses that the report tells are those of a clock outside of it.

    What is lost is reckoned from the moment that was asked for, else from when that was.
    """
    begun, ended = (datetime.fromisoformat(restored[name]) for name in ("begun", "ended"))
    assert asked - GRAIN <= begun < asked + STARTS, (asked, begun)
    assert served - STARTS < ended <= served + GRAIN, (served, ended)
    spent = sum(restored["phases"].values())
    assert spent >= (ended - begun).total_seconds() * MOST, restored["phases"]
    for volume in restored["volumes"]:
        lost = ((at or begun) - datetime.fromisoformat(volume["moment"])).total_seconds()
        assert volume["loss_seconds"] == pytest.approx(max(lost, 0), abs=1), volume["volume"]


def assert_followed(way: WayBack) -> None:
    """Assert that what the restored system writes from now on arrives in the repository, as who has the kit sees it."""
    now = datetime.now(UTC)
    asks = ("points", "postgres", "--recovery-key-file", way.protection.kit)

    def arrives() -> bool:
        said = way.protection.drtool(*asks, secrets=way.protection.credentials_of("operator"))
        return any(
            each["state"] == "listed" and datetime.fromisoformat(each["end"]) > now for each in said["points"]
        )

    Visitor.of(way.system, way.target).write_post("kept again")
    wait_until(arrives, "WAL of the restored system is in the store", deadline_s=FOLLOWED_S)


def points_of(answer: Answer) -> dict[str, str]:
    """Return the point that each volume came back to."""
    return {each["volume"]: each["point"] for each in answer["restore"]["volumes"]}


def moments_of(protection: Protection, postgres: str, uploads: str) -> dict[str, datetime]:
    """Return the moments up to which the newest points of a database and its files have everything."""
    moments = {
        postgres: protection.points(postgres)[-1]["end"],
        uploads: protection.points(uploads)[-1]["begin"],
    }
    return {volume: datetime.fromisoformat(moment) for volume, moment in moments.items()}


def _lines_of(state: Path) -> int:
    """Return how many entries the copies of journals have."""
    return sum(
        len(copy.read_text(encoding="utf-8").splitlines()) for copy in (state / "drtool/runs").glob("*")
    )


def lose(cluster: Cluster, system: System) -> None:
    """Lose a system with its volumes."""
    system.remove(cluster)


def inventory(cluster: Cluster, namespace: str) -> dict[str, Answer]:
    """Return all objects of a namespace, and those around it, without what the cluster says of them by itself."""
    found: dict[str, Answer] = {}
    for namespaced in (True, False):
        kinds = cluster.kubectl(
            "api-resources", "--verbs=list,delete", f"--namespaced={namespaced}", "-o", "name"
        )
        wanted = [kind for kind in kinds.split() if not kind.startswith(_CHANGING)]
        where = [f"--namespace={namespace}"] if namespaced else []
        said = cluster.kubectl("get", ",".join(wanted), *where, "--output=json", "--ignore-not-found")
        for item in json.loads(said)["items"] if said.strip() else ():
            found |= dict(_told(item))
    return found


def _told(item: Answer) -> Iterator[tuple[str, Answer]]:
    metadata = {key: value for key, value in item["metadata"].items() if key not in _OWN}
    name = f"{item['kind']}/{metadata['name']}"
    yield name, {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata}
