"""tiny, on which the sweeps run: it works, and its volume holds what its own program says."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.load.compare import Found, compare
from tests.cluster.load.generator import Generator
from tests.cluster.load.inventory import ask_site
from tests.cluster.load.ledger import Kind, LedgerFile, read_ledger
from tests.cluster.load.site import Site
from tests.cluster.observe import execute
from tests.cluster.process import wait_until
from tests.cluster.smoke import Visitor, visit
from tests.cluster.system import TINY
from tests.cluster.systems.tiny.fill import fill

pytestmark = pytest.mark.cluster


PACE: dict[Kind, float] = {"posts": 55, "uploads": 6, "tasks": 2}
LOAD_S, TASKS_S = 15, 60
PSQL = ("psql", "--host=/var/run/postgresql", "--username=tiny", "--dbname=tiny", "--command")


def found(site: Site) -> dict[Kind, list[Found]]:
    """Return what the site has, kind by kind."""
    return {kind: ask_site(site, kind) for kind in PACE}


@pytest.fixture(scope="module")
def tiny(cluster: Cluster) -> Iterator[Cluster]:
    TINY.deploy(cluster)
    yield cluster
    TINY.remove(cluster)


def test_the_ledger_of_a_steady_load_says_what_was_lost(tiny: Cluster, tmp_path: Path) -> None:
    site = TINY.site(tiny)
    with LedgerFile(tmp_path / "ledger") as file:
        generator = Generator(site, TINY.session(tiny), file, PACE)
        generator.start()
        generator.wait(LOAD_S)
        generator.stop()
    print(generator.achieved())
    ledger = read_ledger(tmp_path / "ledger")
    last = sorted(ledger.of("posts").values(), key=lambda write: write.acknowledged or write.begun)[-1]
    wait_until(lambda: compare(ledger, found(site)).is_exact, "all tasks are done", deadline_s=TASKS_S)

    sql = f"delete from posts where id = '{last.id}'; update uploads set sha256 = 'other'"
    execute(tiny, "postgres-0", *PSQL, sql, namespace="tiny")

    comparison = compare(ledger, found(site))
    assert [write.id for write in comparison.of("posts").missing] == [last.id]
    assert set(comparison.of("uploads").altered) == ledger.of("uploads").keys() != set()
    assert comparison.of("tasks").is_exact


def test_a_visitor_finds_everything_as_it_was_left(tiny: Cluster) -> None:
    visit(Visitor.of(TINY, tiny))


def test_the_volume_holds_what_its_program_makes_elsewhere(tiny: Cluster, tmp_path: Path) -> None:
    fill(tmp_path)
    folders = ("big", "small", "odd")

    said = tiny.kubectl(
        *("exec", "--namespace=tiny", "deployment/app", "--container=web", "--"),
        *("sh", "-c", f"cd /files && find {' '.join(folders)} -type f -print0 | xargs -0 sha256sum --zero"),
    )

    there = {name: digest for digest, name in (line.split("  ", 1) for line in said.split("\0") if line)}
    assert there == {
        str(path.relative_to(tmp_path)): sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in (tmp_path / folder).rglob("*")
        if path.is_file() and not path.is_symlink()
    }
