"""`make demo-cluster`: a system at work in a real cluster is lost with that cluster, and drtool brings it into another.

`play` is the story's table of contents. Its judge is a ledger outside of both clusters: what users were told is safe.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from drtool.cli.units import took
from drtool.errors import DrtoolError, NotProven
from tests.cluster.inside import complain
from tests.cluster.lab import Lab
from tests.cluster.load.compare import Comparison
from tests.cluster.load.ledger import read_ledger
from tests.cluster.process import LabFailed
from tests.cluster.protection import write_secret
from tests.cluster.smoke import Visitor, visit
from tests.cluster.system import SYSTEMS, System
from tests.cluster.under_load import Scene, installed
from tests.cluster.way_back import IMAGE, RESTORE_S, WayBack, moments_of

WORK_S = 30
UPLOADS = {"wesago": "media", "misago": "media", "funkwhale": "music", "tiny": "files"}


@dataclass(frozen=True, slots=True)
class Loss:
    """When the cluster was gone (on the wall, and on the stopwatch), and up to when each volume was in the bucket."""

    at: datetime
    began: float
    moments: dict[str, datetime]


def play(system: System) -> None:
    """Play the demo in the lab that we are in. Raises NotProven where not all came back that was safe."""
    lab = Lab.here()
    with tempfile.TemporaryDirectory(dir=lab.directory) as name:
        folder = Path(name)
        chapter(f"1. {system.name} is at work in a cluster, and drtool's CronJobs back it up")
        first = lab.start_cluster("a")
        system.deploy(first)
        with installed(first, lab, system, folder) as scene:
            _work(scene)
            chapter("2. The cluster is lost: its API, its etcd, its nodes and every volume")
            loss = _lose(lab, scene)
            chapter(
                "3. Another cluster, which has never heard of it; at hand are the kit on paper, and the bucket"
            )
            way = WayBack.of(scene.protection, lab.start_cluster("b"))
            _restore(way, folder)
            chapter("4. What came back, against the ledger of what users were told is safe")
            _judge(way, folder, loss, scene.before)


def chapter(title: str) -> None:
    """Begin a part of the story."""
    print(f"\n{title}\n", flush=True)


def say(text: str) -> None:
    """Say something in the part under way."""
    print(f"  {text}", flush=True)


def _work(scene: Scene) -> None:
    """Let users work until every volume is inside of its RPO, and a while longer."""
    scene.wait_until_inside()
    scene.load.wait(WORK_S)
    for volume, found in scene.protection.status().items():
        exposed = found["exposure_seconds"]
        say(f"{volume}: {took(exposed)} exposed, inside of its RPO")


def _lose(lab: Lab, scene: Scene) -> Loss:
    scene.load.abort()
    lab.stop_cluster("a")
    say("gone")
    at, began = datetime.now(UTC), time.monotonic()
    return Loss(at, began, moments_of(scene.protection, "postgres", UPLOADS[scene.protection.system.name]))


def _restore(way: WayBack, folder: Path) -> None:
    """Run the command as an operator does, with all that it says."""
    write_secret(folder / "writer/drtool-s3", way.protection.writer_secret())
    keys = ("--admin-key-file", f"{way.protection.kit}.admin", "--writer-secrets", folder / "writer")
    command, environment = way.command("--image", IMAGE, "--confirm-target", way.uid, *keys)
    command.remove("--json")
    say(f"$ {' '.join(['drtool', *command[3:]])}")
    done = subprocess.run(command, env=environment, timeout=RESTORE_S, check=False)
    if done.returncode:
        raise LabFailed(f"drtool ended with {done.returncode}")


def _judge(way: WayBack, folder: Path, loss: Loss, before: frozenset[str]) -> None:
    ledger = read_ledger(folder / "ledger")
    found = way.compare(ledger, loss.moments, UPLOADS[way.system.name])
    visit(Visitor.of(way.system, way.target))
    say(f"a visitor logs in, writes, uploads and reads: {took(time.monotonic() - loss.began)} after the loss")
    for each in found.kinds:
        say(f"{each.kind}: {each.intact} intact of {each.acknowledged} that were safe")
    for volume, moment in loss.moments.items():
        say(f"{volume}: what was written in the last {took((loss.at - moment).total_seconds())} is lost")
    _refuse_a_hole(found, before)
    chapter("Every check held.")


def _refuse_a_hole(found: Comparison, before: frozenset[str]) -> None:
    """Raise NotProven where what was safe is gone, a row has no file, or something is there that nobody wrote.

    Who uploads while the system is lost has a row that is newer than the point of the files: nobody promised that.
    """
    for each in found.kinds:
        lacks_file = set(each.without_file) - set(each.in_doubt)
        if each.missing or each.altered or lacks_file or set(each.foreign) - before:
            raise NotProven(f"not what was acknowledged:\n{found.text()}")


def main(arguments: list[str]) -> int:
    """Play it with the system that is named, wesago if none is."""
    wanted = arguments[0] if arguments else "wesago"
    try:
        play(next(system for system in SYSTEMS if system.name == wanted))
    except DrtoolError as failure:
        return complain(failure)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
