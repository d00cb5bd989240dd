from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drtool.operations.announce import News, announce
from tests.sources.kubernetes.api import Api

NOW = datetime(2026, 1, 2, 12, 0, 0, 5, tzinfo=UTC)
JOBS = "/apis/batch/v1/namespaces/shop/cronjobs"
EVENTS = "/api/v1/namespaces/shop/events"
OWNER = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "drtool-backup-redis", "namespace": "shop", "uid": "1-2-3"},
}


@pytest.fixture
def api() -> Iterator[Api]:
    with Api({JOBS: [OWNER]}) as serving:
        yield serving


def environment(api: Api, folder: Path, name: str = "drtool-backup-redis") -> dict[str, str]:
    return {
        "KUBECONFIG": str(api.kubeconfig(folder)),
        "DRTOOL_EVENTS": f"CronJob/{name}",
        "DRTOOL_NAMESPACE": "shop",
    }


def test_news_become_an_event_on_the_object_that_the_job_belongs_to(api: Api, tmp_path: Path) -> None:
    news = News("BackupFailed", "redis: nobody answers" + "!" * 2000, is_warning=True)

    assert announce(news, environment(api, tmp_path), NOW) is None
    (created,) = api.created
    assert created["involvedObject"] == {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": "drtool-backup-redis",
        "namespace": "shop",
        "uid": "1-2-3",
    }
    assert (created["type"], created["reason"], created["count"]) == ("Warning", "BackupFailed", 1)
    assert created["message"].startswith("redis: nobody answers!")
    assert len(created["message"]) == 1024
    assert created["lastTimestamp"] == "2026-01-02T12:00:00Z"
    assert f"POST {EVENTS}" in api.asked


def test_elsewhere_than_in_a_job_there_is_nobody_to_tell() -> None:
    assert announce(News("BackupDone", "all", is_warning=False), {}, NOW) is None


def test_an_owner_that_is_gone_hears_nothing(api: Api, tmp_path: Path) -> None:
    here = environment(api, tmp_path, "drtool-backup-other")

    assert announce(News("BackupDone", "all", is_warning=False), here, NOW) is None
    assert api.created == []


def test_news_that_cannot_be_told_say_why_and_change_nothing_else(api: Api, tmp_path: Path) -> None:
    for _ in range(2):
        api.tell(403, message="no events for you")

    told = announce(News("BackupDone", "all", is_warning=False), environment(api, tmp_path), NOW)
    assert told is not None
    assert "no events for you" in told
