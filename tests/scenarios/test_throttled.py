"""A store that throttles while a restore works in a cluster: waited for, then the run stops and can be gone on with."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from drtool.operations.session import World
from tests.conftest import S3Server
from tests.faults.proxy import Answer, FaultProxy, error
from tests.scenarios.shop_lost import UID, Way, shop_lost
from tests.scenarios.test_outages import state, undisturbed
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import well
from tests.sources.kubernetes.shop import at

SLOW_DOWN = Answer(503, error("SlowDown"))
BOTOS_OWN_ATTEMPTS = 3


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    assert s3_server.plain.endpoint is not None
    assert s3_server.plain.credentials is not None
    credentials = s3_server.plain.credentials()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_key)
    with FaultProxy(s3_server.plain.endpoint) as proxy:
        yield proxy


@pytest.fixture
def way(s3_server: S3Server, proxy: FaultProxy, tmp_path: Path) -> Iterator[Way]:
    """A shop whose repository lies in a bucket, behind the proxy."""
    place = s3_server.at(s3_server.plain)
    writer = {"secret": "drtool-writer", "key": "bundle"}
    url = f"s3://{place.bucket}/{place.prefix.strip('/')}"
    with shop_lost(tmp_path, repository={"url": url, "endpoint": proxy.endpoint, "writer": writer}) as way:
        yield way


def there(proxy: FaultProxy) -> tuple[object, ...]:
    return ("--endpoint", proxy.endpoint)


def expected(way: Way, proxy: FaultProxy, folder: Path) -> object:
    """Return what a run leaves that nothing disturbed."""
    with undisturbed(way, folder) as other:
        return state(other, other.restore(*there(proxy))["restore"]["run"])


def test_a_store_that_throttles_is_waited_for(way: Way, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.inject(SLOW_DOWN, times=2 * BOTOS_OWN_ATTEMPTS, when="PUT")

    found = way.restore(*there(proxy))["restore"]

    assert proxy.pending == 0
    assert found["outcome"] == "restored"
    assert state(way, found["run"]) == expected(way, proxy, tmp_path)


def test_a_store_that_throttles_for_long_stops_the_run_at_its_step_and_the_way_on_ends_in_the_same_state(
    way: Way, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drtool.cli.options.World", partial(World, patience_s=0.5))

    def written(item: Json) -> Json:
        if item["kind"] == "Deployment":
            proxy.inject(SLOW_DOWN, times=None)
        return well(item)

    way.target.becomes = written
    said = way.restore(*there(proxy), code=75)
    proxy.clear()
    way.target.becomes = well

    message, run = said["error"]["message"], said["restore"]["run"]
    assert message.startswith("step apply apps/Deployment: ")
    assert "SlowDown" in message
    assert f"`--resume {run}`" in said["error"]["hint"]
    web = way.target.find(at("deployments", "apps"), "web")
    assert web is not None
    assert web["spec"]["replicas"] == 0
    found = way("--resume", run, "--confirm-target", UID, *there(proxy)).value["restore"]
    assert found["outcome"] == "restored"
    assert state(way, run) == expected(way, proxy, tmp_path)
