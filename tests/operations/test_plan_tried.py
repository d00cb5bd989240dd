"""How the objects of a plan are tried in a target: an API server of the tests, asked over HTTP."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from drtool.errors import TemporaryFailure
from drtool.operations.plan_target import TargetLook
from drtool.operations.plan_tried import try_objects
from drtool.operations.session import Silent, World
from drtool.recovery.compare import Change
from drtool.recovery.manifests.objects import kind_of, ref_of
from drtool.recovery.manifests.order import place_of
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.target import TargetFacts
from drtool.recovery.tried import Tried
from drtool.sources.kubernetes.client import Cluster
from tests.recovery.captured import captured
from tests.recovery.stage import FACTS
from tests.sources.files.trees import clock
from tests.sources.kubernetes.api import Api, Json
from tests.sources.kubernetes.shop import shop

THERE, AWAY = replace(FACTS, phase="Active"), replace(FACTS, phase="")
DEAD = 'Internal error occurred: failed calling webhook "dead.example": no endpoints'
Try = Callable[..., Tried]


class Phases(Silent):
    """Keeps the names of the phases that were begun."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def phase(self, name: str, total: int | None = None) -> None:
        self.names.append(name)


def maps(count: int) -> list[Prepared]:
    return [prepared(captured("v1", "ConfigMap", f"map-{number}")) for number in range(count)]


def prepared(item: Json) -> Prepared:
    return Prepared(ref_of(item), place_of(*kind_of(item)), item)


@contextmanager
def trying(tmp_path: Path, world: World | None = None, patience_s: float = 5.0) -> Iterator[tuple[Api, Try]]:
    """Give a target in which namespace shop is, and what tries objects in it that are to be made."""
    world = world or World(clock, {}, Silent())
    with shop() as api:
        environment = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
        with Cluster.open(None, environment, patience_s=patience_s, ending=world.ending) as cluster:
            look = TargetLook(cluster, "here", "shop")

            def tries(objects: Sequence[Prepared], facts: TargetFacts = THERE) -> Tried:
                changes = [Change(each.ref, "new", "create") for each in objects]
                return try_objects(world, look, "shop", objects, changes, facts)

            yield api, tries


def test_some_are_tried_at_once_and_what_is_refused_is_told_in_the_order_of_the_plan(tmp_path: Path) -> None:
    both, phases, counted = threading.Barrier(2, timeout=10), Phases(), threading.Lock()
    at_once: list[int] = [0, 0]  # now, and at most

    def refuses(_sent: Json) -> tuple[int, str]:
        with counted:
            at_once[0] += 1
            at_once[1] = max(at_once)
        both.wait()
        with counted:
            at_once[0] -= 1
        return 422, "no"

    with trying(tmp_path, World(clock, {}, phases)) as (api, tries):
        api.tries = refuses
        found = tries(maps(20))

    assert [each.about for each in found.refusals] == [f"ConfigMap shop/map-{number}" for number in range(20)]
    assert 2 <= at_once[1] <= 4
    assert phases.names == ["trying 20 objects in the target, which stores none of them"]


def test_a_busy_server_is_asked_again_when_it_says(tmp_path: Path) -> None:
    with trying(tmp_path) as (api, tries):
        api.tell(429, {"Retry-After": "1"})
        begun = time.monotonic()

        assert tries(maps(1)) == Tried()
    assert time.monotonic() - begun >= 1
    assert len(api.tried) == 1


def test_a_server_that_stays_away_is_no_refusal_and_the_rest_is_not_tried(tmp_path: Path) -> None:
    with trying(tmp_path, patience_s=0.5) as (api, tries):
        api.tries = lambda _sent: (503, "etcd is slow")
        with pytest.raises(TemporaryFailure, match="etcd is slow"):
            tries(maps(50))
    assert len(api.tried) < 50


def test_a_webhook_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with trying(tmp_path, patience_s=0.5) as (api, tries):
        api.tries = lambda _sent: (500, DEAD)
        with pytest.raises(TemporaryFailure, match=r"webhook dead\.example does not answer"):
            tries(maps(1))


def test_a_webhook_that_does_not_answer_for_another_namespace_is_a_note(tmp_path: Path) -> None:
    with trying(tmp_path, patience_s=0.5) as (api, tries):
        api.tries = lambda _sent: (500, DEAD)
        found = tries(maps(50), AWAY)

    assert found.refusals == ()
    assert "webhook dead.example does not answer: not all that comes back could be tried" in found.notes
    assert len(api.tried) < 50


def test_who_is_asked_to_end_tries_nothing_more(tmp_path: Path) -> None:
    world = World(clock, {}, Silent())
    with trying(tmp_path, world) as (api, tries):

        def ends(_sent: Json) -> None:
            world.ending.set()

        api.tries = ends
        with pytest.raises(TemporaryFailure, match="not tried to its end"):
            tries(maps(50))
    assert len(api.tried) < 50


def test_a_namespace_that_goes_refuses_nothing_more(tmp_path: Path) -> None:
    with trying(tmp_path) as (api, tries):
        assert tries(maps(1), replace(FACTS, phase="Terminating")) == Tried()
    assert api.tried == []


def test_a_webhook_that_is_known_to_let_nothing_pass_is_not_waited_for(tmp_path: Path) -> None:
    rule = {"operations": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    hook = {"name": "dead.example", "rules": [rule], "clientConfig": {"service": {"name": "x"}}}
    with trying(tmp_path) as (api, tries):
        assert (
            tries(
                maps(1),
                replace(THERE, dead_hooks=(("dead", hook),), plurals={("", "ConfigMap"): "configmaps"}),
            )
            == Tried()
        )
    assert api.tried == []


def test_what_nobody_serves_yet_is_a_note(tmp_path: Path) -> None:
    with trying(tmp_path) as (api, tries):
        found = tries([prepared(captured("new.example/v1", "Gadget", "gear"))])

    assert found.refusals == ()
    assert ["Gadget gear" in note for note in found.notes] == [True]
    assert api.tried == []
