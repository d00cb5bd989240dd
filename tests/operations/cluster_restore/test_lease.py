"""One drtool at a time: who gets the Lease, who keeps it, and that what was lost is not touched."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from drtool.errors import Refused, TemporaryFailure
from drtool.operations.cluster_restore import lease
from drtool.operations.cluster_restore.lease import Assure, held_lease
from drtool.operations.session import Silent, World
from drtool.sources.kubernetes.client import PATIENCE_S, Cluster
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import Living

LEASES = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
US = "run 1 on laptop"
LONG_S = 20  # how long a test waits for what must come


@dataclass
class Scene:
    """A target whose Lease lasts a second, and is given up after two; and whether it was lost, and why."""

    api: Living
    cluster: Cluster
    world: World
    lost: threading.Event = field(default_factory=threading.Event)
    why: list[TemporaryFailure] = field(default_factory=list)

    def held(self, holder: str = US) -> AbstractContextManager[Assure]:
        return held_lease(self.cluster, "shop", holder, self.world, self.lose)

    def lose(self, fault: TemporaryFailure) -> None:
        self.why.append(fault)
        self.lost.set()

    def cut(self) -> None:
        """Have the API away for who asks for the Lease."""
        self.api.away.add(f"{LEASES}/{lease.NAME}")

    def cut_until_it_lapsed(self) -> None:
        begun = time.monotonic()
        self.cut()
        wait_for(lambda: time.monotonic() > begun + 1.5)

    @property
    def lease(self) -> Json | None:
        return self.api.find(LEASES, lease.NAME)

    def put(self, holder: str, lasts: float = 0.5) -> None:
        """Write the Lease as holder would."""
        with self.api._writing:
            found = self.lease or {"metadata": {"name": lease.NAME, "uid": "theirs", "generation": 0}}
            spec = {"holderIdentity": holder, "leaseDurationSeconds": lasts, "acquireTime": "2026"}
            self.api._keep(LEASES, {**found, "metadata": dict(found["metadata"]), "spec": spec})


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives the Lease up, however long it is not renewed."""
    monkeypatch.setattr(lease, "GIVEN_UP_S", 3600.0)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(lease, "LASTS_S", 1.0)
    monkeypatch.setattr(lease, "RENEWED_S", 0.05)
    monkeypatch.setattr(lease, "_AGAIN_S", 0.05)
    monkeypatch.setattr(lease, "GIVEN_UP_S", 2.0)
    with Living({LEASES: []}, {}) as api:
        environment = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
        with Cluster.open(None, environment, patience_s=3) as cluster:
            yield Scene(api, cluster, World(lambda: datetime(2026, 3, 2, tzinfo=UTC), {}, Silent()))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_it_is_made_renewed_and_deleted(scene: Scene) -> None:
    with scene.held():
        first = scene.lease
        assert first
        assert first["spec"]["holderIdentity"] == US
        wait_for(
            lambda: (
                (scene.lease or first)["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
            )
        )

    assert scene.lease is None
    assert not scene.lost.is_set()


def test_it_is_deleted_though_the_work_failed(scene: Scene) -> None:
    with pytest.raises(Refused), scene.held():
        raise Refused("no")

    assert scene.lease is None


def test_who_renews_it_is_named_and_left_alone(scene: Scene) -> None:
    scene.put("run 2 on server", lasts=LONG_S)  # or it lapses, on a machine that is busy
    over = threading.Event()

    def renew() -> None:
        while not over.wait(0.1):
            scene.put("run 2 on server", lasts=LONG_S)

    other = threading.Thread(target=renew)
    other.start()
    try:
        with pytest.raises(Refused, match="restored by run 2 on server since 2026"), scene.held():
            pytest.fail("two at once")
    finally:
        over.set()
        other.join()
    assert (scene.lease or {})["spec"]["holderIdentity"] == "run 2 on server"


def test_who_does_not_renew_it_is_followed_after_as_long_as_they_said(scene: Scene) -> None:
    scene.put("run 2 on server", lasts=0.7)
    begun = time.monotonic()

    with scene.held():
        assert time.monotonic() - begun >= 0.7
        spec = (scene.lease or {})["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == (US, 1)


@pytest.mark.parametrize("holder", ["", US])
def test_what_nobody_holds_and_what_is_ours_is_not_waited_for(scene: Scene, holder: str) -> None:
    scene.put(holder, lasts=3600)

    with scene.held():
        assert (scene.lease or {})["spec"]["holderIdentity"] == US


def test_of_two_who_make_it_at_once_one_is_refused(scene: Scene) -> None:
    """The other comes in between our look and our PUT or POST, and goes on renewing."""
    before, over = scene.api._made, threading.Event()

    def overtaken(folder: str, sent: Json) -> Any:
        if sent["spec"]["holderIdentity"] == US and scene.lease is None:
            scene.put("run 2 on server", lasts=LONG_S)
        return before(folder, sent)

    def renew() -> None:
        while not over.wait(0.1):
            if scene.lease:
                scene.put("run 2 on server", lasts=LONG_S)

    scene.api._made = overtaken  # type: ignore[method-assign]
    other = threading.Thread(target=renew)
    other.start()
    try:
        with pytest.raises(Refused, match="run 2 on server"), scene.held():
            pytest.fail("two at once")
    finally:
        over.set()
        other.join()


def test_waiting_for_it_ends_when_drtool_is_asked_to_end(scene: Scene) -> None:
    scene.put("run 2 on server", lasts=3600)
    scene.world.ending.set()

    with pytest.raises(TemporaryFailure), scene.held():
        pytest.fail("not ours")


def test_what_somebody_else_took_is_lost_and_not_touched(scene: Scene) -> None:
    with scene.held():
        scene.put("run 2 on server")
        assert scene.lost.wait(LONG_S)
        theirs = scene.lease

    assert scene.lease == theirs


def test_what_was_taken_a_moment_ago_is_not_deleted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its uid alone it would be: who takes it over changes the same object."""
    monkeypatch.setattr(lease, "RENEWED_S", 3600.0)
    with scene.held():
        scene.put("run 2 on server")

    assert (scene.lease or {})["spec"]["holderIdentity"] == "run 2 on server"


def test_an_api_that_is_away_for_long_loses_it(scene: Scene) -> None:
    with scene.held() as assure:
        begun = time.monotonic()
        scene.cut()
        assert scene.lost.wait(LONG_S)
        assert 1.7 < time.monotonic() - begun < 6
        with pytest.raises(TemporaryFailure, match="could not be renewed for 2 s"):
            assure()

    assert "control plane" in scene.why[0].hint


def test_who_asks_for_anything_has_given_up_before_it_is_lost() -> None:
    assert lease.GIVEN_UP_S >= PATIENCE_S + lease.LASTS_S
    assert PATIENCE_S > 60


def test_nothing_is_changed_while_nobody_knows_whose_it_is(scene: Scene, patient: None) -> None:
    with scene.held() as assure:
        assure()
        scene.cut_until_it_lapsed()
        changing = threading.Thread(target=assure)
        changing.start()
        changing.join(0.3)
        assert changing.is_alive()
        scene.api.away.clear()
        changing.join(LONG_S)
        assert not changing.is_alive()

    assert not scene.lost.is_set()


def test_what_somebody_else_took_meanwhile_is_not_changed(scene: Scene, patient: None) -> None:
    with scene.held() as assure:
        scene.cut_until_it_lapsed()
        scene.put("run 2 on server")
        scene.api.away.clear()
        with pytest.raises(TemporaryFailure, match="is held by run 2 on server now"):
            assure()

    assert "resume" in scene.why[0].hint


def test_a_laptop_that_slept_knows_that_it_may_have_been_taken(
    scene: Scene, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LASTS_S", 30.0)
    monkeypatch.setattr(lease, "RENEWED_S", 0.5)
    slept = [0.0]
    scene.world = replace(scene.world, elapsed=lambda: time.monotonic() + slept[0])
    with scene.held() as assure:
        scene.put("run 2 on server")
        slept[0] = 60.0
        with pytest.raises(TemporaryFailure, match="is held by run 2 on server now"):
            assure()


def test_a_laptop_that_slept_for_long_goes_on_where_nobody_took_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWED_S", 0.7)
    slept = chain([0.0], repeat(3600.0))  # as soon as it is ours
    scene.world = replace(scene.world, elapsed=lambda: time.monotonic() + next(slept))
    with scene.held() as assure:
        assure()

    assert not scene.lost.is_set()


def test_who_is_asked_to_end_does_not_wait_to_know_whose_it_is(scene: Scene, patient: None) -> None:
    with scene.held() as assure:
        scene.cut_until_it_lapsed()
        scene.world.ending.set()
        with pytest.raises(TemporaryFailure, match="asked to end"):
            assure()


def test_an_api_that_answers_too_late_loses_it_in_time(scene: Scene) -> None:
    """The request hangs: who watches the time does not wait for it."""
    answer, hang = scene.api._answer, threading.Event()

    def slow(method: str, target: str, body: bytes) -> Any:
        if not scene.lost.is_set():
            hang.wait(LONG_S)
        return answer(method, target, body)

    with scene.held():
        scene.api._answer = slow  # type: ignore[method-assign]
        try:
            assert scene.lost.wait(5)
        finally:
            hang.set()


def test_an_api_that_is_away_for_a_moment_does_not(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LASTS_S", 5.0)
    with scene.held():
        asked = len(scene.api.asked)
        scene.cut()
        wait_for(lambda: len(scene.api.asked) > asked + 2)
        scene.api.away.clear()
        version = (scene.lease or {})["metadata"]["resourceVersion"]
        wait_for(lambda: (scene.lease or {})["metadata"]["resourceVersion"] != version)

    assert not scene.lost.is_set()
    assert scene.lease is None


def test_what_was_deleted_and_nobody_took_is_made_again(scene: Scene) -> None:
    with scene.held():
        with scene.api._writing:
            scene.api.collections[LEASES] = []
        wait_for(lambda: scene.lease is not None)

    assert not scene.lost.is_set()


def test_it_is_kept_while_its_namespace_is_deleted(scene: Scene) -> None:
    """Whoever undoes a run may delete the namespace that it made."""
    with scene.held():
        scene.api.refuses = lambda method, _item: (
            (403, "it is being terminated") if method == "POST" else None
        )
        with scene.api._writing:
            scene.api.collections[LEASES] = []
        asked = len(scene.api.asked)
        wait_for(lambda: len([each for each in scene.api.asked[asked:] if each.startswith("POST")]) > 30)

    assert not scene.lost.is_set()
