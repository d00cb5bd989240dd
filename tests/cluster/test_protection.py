"""drtool on a real cluster: installed by render, run by CronJobs, seen from outside."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.lab import Lab
from tests.cluster.process import wait_until
from tests.cluster.protection import Protection, tiny_policy
from tests.cluster.system import TINY

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

VOLUMES = ("postgres", "redis", "files")
FIRE_S = 240


@pytest.fixture(scope="module")
def protection(cluster: Cluster, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Protection]:
    """tiny, and drtool in its namespace, which admits nothing of drtool's that is not restricted."""
    TINY.deploy(cluster)
    cluster.kubectl("label", "namespace", "tiny", "pod-security.kubernetes.io/warn=restricted")
    installed = Protection.install(cluster, lab, TINY, tiny_policy, tmp_path_factory.mktemp("tiny"))
    yield installed
    installed.remove()
    TINY.remove(cluster)


def test_the_cron_jobs_back_up_by_themselves_and_status_knows_it_from_outside(protection: Protection) -> None:
    protection.wait_for_points(*VOLUMES, deadline_s=FIRE_S)

    status = protection.status()
    assert {name: status[name]["inside"] for name in VOLUMES} == dict.fromkeys(VOLUMES, True)
    for volume in VOLUMES:
        wait_until(
            lambda name=volume: bool(protection.finished_jobs(name)),  # type: ignore[misc]
            f"a Job of {volume} has ended well",
            deadline_s=FIRE_S,
        )


def test_a_volume_is_backed_up_at_once_when_somebody_asks(protection: Protection) -> None:
    def moments() -> list[datetime]:
        return [datetime.fromisoformat(point["end"]) for point in protection.points("redis")]

    protection.wait_for_points("redis", deadline_s=FIRE_S)
    before = moments()

    log = protection.run_now("redis")

    assert "redis" in log
    assert moments()[-1] > before[-1]
