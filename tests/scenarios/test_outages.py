"""An API that is away while a restore works in its cluster: waited for, then the run stops, and can be gone on with."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drtool.cli.exits import ENDING
from drtool.operations.cluster_restore import lease
from drtool.sources.kubernetes.client import Cluster
from tests.scenarios.shop_lost import UID, Way, shop_lost
from tests.scenarios.targets import empty
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import Living, well
from tests.sources.kubernetes.shop import at

LASTS_S = 0.5
LEASES = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
DEPLOYMENTS = at("deployments", "apps")


@dataclass
class Cut:
    """Cuts a cluster off once an object is written, until lasts_s are over, or it is mended."""

    kind: str
    replicas: int | None = None
    lasts_s: float = 3600.0
    asked: int = 0
    _until: float = 0.0
    _is_over: threading.Event = field(default_factory=threading.Event)

    def into(self, target: Living) -> None:
        target.gone, target.becomes = self._is_gone, self._written

    def mend(self) -> None:
        self._is_over.set()

    def _written(self, item: Json) -> Json:
        is_it = item["kind"] == self.kind and self.replicas in (None, item.get("spec", {}).get("replicas"))
        if is_it and not self._until:
            self._until = time.monotonic() + self.lasts_s
        return well(item)

    def _is_gone(self) -> bool:
        is_gone = time.monotonic() < self._until and not self._is_over.is_set()
        self.asked += is_gone
        return is_gone


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Lease that lasts half a second, and an API that is waited for two seconds: a sixtieth of what they are."""
    monkeypatch.setattr(lease, "LASTS_S", LASTS_S)
    monkeypatch.setattr(lease, "RENEWED_S", 0.1)
    monkeypatch.setattr(lease, "_AGAIN_S", 0.05)
    monkeypatch.setattr(lease, "GIVEN_UP_S", 2.0 + LASTS_S)
    monkeypatch.setattr(
        "drtool.operations.cluster_restore.run.Cluster.open", partial(Cluster.open, patience_s=2.0)
    )
    yield
    ENDING.clear()


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    with shop_lost(tmp_path) as way:
        yield way


@contextmanager
def undisturbed(way: Way, folder: Path) -> Iterator[Way]:
    """Give another empty cluster for the same shop."""
    with empty() as nothing, Living(nothing.collections, nothing.answers) as target:
        for path in way.target.collections:
            target.collections.setdefault(path, [])
        (folder / "undisturbed").mkdir()
        yield replace(way, target=target, kubeconfig=str(target.kubeconfig(folder / "undisturbed")))


def state(way: Way, run: str) -> Any:
    """Return what a run left in its cluster, whatever its name."""
    return json.loads(json.dumps(way.objects(), sort_keys=True).replace(run, "RUN"))


def expected(way: Way, folder: Path) -> Any:
    with undisturbed(way, folder) as other:
        return state(other, other.restore()["restore"]["run"])


def test_an_api_that_is_away_for_longer_than_the_lease_lasts_is_waited_for(way: Way, tmp_path: Path) -> None:
    cut = Cut("Deployment", lasts_s=2 * LASTS_S)
    cut.into(way.target)

    found = way.restore()["restore"]

    assert cut.asked > 2
    assert found["outcome"] == "restored"
    assert state(way, found["run"]) == expected(way, tmp_path)


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment"])
def test_an_api_that_stays_away_stops_the_run_at_its_step_and_the_way_on_ends_in_the_same_state(
    way: Way, tmp_path: Path, kind: str
) -> None:
    cut = Cut(kind)
    cut.into(way.target)

    said = way.restore(code=75)

    error, run = said["error"], said["restore"]["run"]
    assert error["message"].startswith("step apply ")
    assert "does not answer as it should" in error["message"]
    assert error["hint"].startswith(
        "See whether the cluster's control plane is up; it was waited for. Go on with"
    )
    assert f"`--resume {run}`" in error["hint"]
    cut.mend()
    ENDING.clear()  # the process of the run that stopped would be gone
    assert way("--resume", run, "--confirm-target", UID).value["restore"]["outcome"] == "restored"
    assert state(way, run) == expected(way, tmp_path)


def test_a_tier_that_cannot_be_taken_back_is_named_and_no_way_leads_to_it(way: Way, tmp_path: Path) -> None:
    cut = Cut("Deployment", replicas=2)
    cut.into(way.target)

    said = way.restore(code=75)

    error, run = said["error"], said["restore"]["run"]
    assert error["message"].startswith("step start tier 1: the API server ")
    assert "Deployment web may still run" in error["message"]
    assert "scale` it to 0 by hand" in error["hint"]
    assert f"`--resume {run}`" in error["hint"]
    assert way.target.collections[at("ingresses", "networking.k8s.io")] == []
    cut.mend()
    ENDING.clear()  # the process of the run that stopped would be gone
    assert way("--resume", run, "--confirm-target", UID).value["restore"]["outcome"] == "restored"
    assert state(way, run) == expected(way, tmp_path)


def test_who_loses_the_namespace_to_another_says_to_whom_and_changes_nothing_any_more(way: Way) -> None:
    theirs = {"metadata": {"name": lease.NAME, "resourceVersion": "9", "uid": "x", "generation": 1}}
    theirs["spec"] = {"holderIdentity": "run other on laptop"}

    def written(item: Json) -> Json:
        if item["kind"] != "Deployment" or not item["spec"]["replicas"]:
            return well(item)
        way.target.collections[LEASES] = [theirs]
        return {}  # it does not get ready

    way.target.becomes = written
    error = way.restore(code=75)["error"]

    assert error["message"].startswith("step start tier 1: ")
    assert "held by run other on laptop now" in error["message"]
    assert "kubectl --namespace shop get lease drtool-restore" in error["hint"]
    assert "may still run" not in error["message"]  # it is theirs now
    assert "by hand" not in error["hint"]
    web = way.target.find(DEPLOYMENTS, "web")
    assert web is not None
    assert web["spec"]["replicas"] == 2
    assert way.target.collections[LEASES] == [theirs]
