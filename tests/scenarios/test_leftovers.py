"""What a killed run left beside what it restored: taken away by who goes on, undoes or comes later; else named."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from drtool.deploy.claim_job import Runs
from drtool.deploy.mover import COMPONENT, Mover, grant_secrets, mover_network, settle_job, settle_name
from drtool.deploy.names import Object
from drtool.deploy.one_off import OneOff, one_off_network, one_off_pod
from drtool.operations.cluster_restore.replay import RUN_LABEL
from tests.scenarios.commands import Said
from tests.scenarios.shop_lost import UID, Way, shop_lost
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.shop import at

PATHS = {
    "Job": at("jobs", "batch"),
    "NetworkPolicy": at("networkpolicies", "networking.k8s.io"),
    "Pod": at("pods"),
    "Secret": at("secrets"),
}


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    with shop_lost(tmp_path) as way:
        yield way


def left_by(run: str) -> list[Object]:
    """Return what a run had beside what it restored when it was killed, as it makes that."""
    mover = Mover(run, "media", "drtool:1", "media", "/", Runs(0, 0, 0, (), {}))
    return [
        settle_job(mover),
        *grant_secrets(mover, b"x"),
        mover_network(mover, None),
        one_off_network(run, "hook index"),
        one_off_pod(run, "hook index", OneOff("tools:1", (), ()), 60),
    ]


def leave(way: Way, run: str) -> None:
    for each in left_by(run):
        put(way, each)


def put(way: Way, item: Json, **marks: Json | list[Json]) -> Json:
    name = item["metadata"]["name"]
    metadata: Json = {**item["metadata"], **marks, "uid": f"uid-{name}", "generation": 1}
    metadata |= {"namespace": "shop", "resourceVersion": "1", "creationTimestamp": "2026"}
    made = {**item, "metadata": metadata}
    way.target.collections.setdefault(PATHS[item["kind"]], []).append(made)
    return made


def what_is_left(way: Way, run: str) -> set[tuple[str, str]]:
    """Return the kinds and names of those that are there."""
    there = {
        (kind, each["metadata"]["name"])
        for kind, path in PATHS.items()
        for each in way.target.collections[path]
    }
    return {(each["kind"], each["metadata"]["name"]) for each in left_by(run)} & there


def stopped(way: Way, kind: str) -> str:
    """Return a run that ended as it was to write an object of a kind."""
    way.target.refuses = lambda method, sent: (
        (422, "no") if method == "PATCH" and sent.get("kind") == kind else None
    )
    run: str = way.restore(code=6)["restore"]["run"]
    way.target.refuses = lambda _method, _sent: None
    return run


def begun_anew(way: Way) -> Said:
    """Begin another run, into a namespace from which a person has taken the data that nobody overwrites."""
    way.target.collections[at("persistentvolumeclaims")] = []
    return way("objects", "--image", "drtool:1", "--if-exists", "replace", "--confirm-target", UID)


def test_who_goes_on_past_what_can_be_undone_takes_it_away_at_the_end(way: Way) -> None:
    run = stopped(way, "Ingress")  # which comes after the workloads
    assert "has started" in way("--abort", run, "--confirm-target", UID, code=5).value["error"]["message"]
    leave(way, run)

    told = " ".join(way("--resume", run, "--confirm-target", UID).err.split())

    assert what_is_left(way, run) == set()
    assert f"which run {run} left behind, is taken away" in told
    assert way.target.find(at("secrets"), "password") is not None  # it bears the run's label, too


def test_a_restore_that_is_done_does_not_fail_for_what_it_cannot_take_away(way: Way) -> None:
    run = stopped(way, "Ingress")
    leave(way, run)
    way.target.refuses = lambda method, sent: (
        (403, "not now") if method == "DELETE" and "preconditions" not in sent else None  # but the Lease
    )

    told = " ".join(way("--resume", run, "--confirm-target", UID).err.split())

    assert "was not taken away, the next restore does that: " in told
    way.target.refuses = lambda _method, _sent: None
    assert "has ended" in way("--resume", run, "--confirm-target", UID, code=5).value["error"]["message"]
    begun_anew(way)
    assert what_is_left(way, run) == set()


def test_who_undoes_takes_it_away(way: Way) -> None:
    before = way.objects()
    run = stopped(way, "Deployment")
    leave(way, run)
    way("--abort", run, "--confirm-target", UID)
    assert way.objects().keys() - before.keys() == set()


def test_of_a_run_that_may_be_gone_on_with_it_is_named_to_who_begins_another(way: Way) -> None:
    run = stopped(way, "Deployment")
    leave(way, run)
    leave(way, "of-another-repository")

    told = " ".join(begun_anew(way).err.split())

    assert f"run {run} left Job {settle_name(run, 'media')}, Pod drtool-once-" in told
    assert re.search(
        r"`kubectl --context=\S+ --namespace=shop delete jobs.batch,pods,secrets,networkpolicies.networking.k8s.io "
        "--selector ",
        told,
    )
    assert f"'{RUN_LABEL}={run},app.kubernetes.io/component in (mover,mover-end,once)'" in told
    assert "run of-another-repository left" in told
    for each in (run, "of-another-repository"):
        assert len(what_is_left(way, each)) == len(left_by(each))


def not_left_by(way: Way, run: str) -> list[Json]:
    """Put what bears labels of a run and is no leftover: an application's movers, and what goes with its owner."""
    theirs = {RUN_LABEL: run, COMPONENT: "mover", "app.kubernetes.io/name": "removals"}
    kinds = (("Secret", "v1"), ("NetworkPolicy", "networking.k8s.io/v1"), ("Job", "batch/v1"))
    made = [
        put(way, {"apiVersion": version, "kind": kind, "metadata": {"name": "theirs", "labels": theirs}})
        for kind, version in kinds
    ]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "x", "controller": True}
    pod = one_off_pod(run, "another", OneOff("tools:1", (), ()), 60)
    return [*made, put(way, pod, ownerReferences=[owner])]


def test_of_a_run_that_is_over_the_next_one_takes_it_away_and_nothing_else(way: Way) -> None:
    run = way.restore()["restore"]["run"]
    leave(way, run)
    others = not_left_by(way, run)
    assert what_is_left(way, run)

    told = " ".join(begun_anew(way).err.split())

    assert what_is_left(way, run) == set()
    assert f"which run {run} left behind, is taken away" in told
    for each in others:
        assert way.target.find(PATHS[each["kind"]], each["metadata"]["name"]) is not None, each
