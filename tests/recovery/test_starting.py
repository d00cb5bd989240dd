"""Queues are held, and a Redis is filled, before anything starts that could read them; or the plan says why not."""

import base64
from pathlib import Path
from typing import Any

import pytest

from drtool.policy.load import load_policy, parse_policy
from drtool.policy.schema import Policy
from drtool.recovery.manifests.objects import spec_of
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import Json, captured, workload
from tests.recovery.stage import POLICY, changes_of, facts, made, refused
from tests.recovery.test_systems import CLASSES, objects_of

POLICIES = Path(__file__).parents[2] / "policies"
CONTAINER = {"name": "app", "image": "app:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
CLAIMED = workload(
    "StatefulSet",
    "redis",
    pod={"containers": [CONTAINER]},
    volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}],
)
OBJECTS = [
    captured("v1", "Namespace", "shop"),
    *(workload("Deployment", name) for name in ("web", "worker")),
    *(workload("StatefulSet", name) for name in ("db", "sentinel")),
    CLAIMED,
    captured("v1", "Service", "db", spec={"selector": {"app": "db"}}),
    captured("v1", "Service", "redis", spec={"selector": {"app": "redis"}, "ports": [{"port": 6379}]}),
    captured("v1", "Service", "sentinel", spec={"selector": {"app": "sentinel"}, "ports": [{"port": 26379}]}),
    captured("v1", "Service", "external", spec={}),
    captured("v1", "Secret", "where", data={"HOST": base64.b64encode(b"redis.shop").decode()}),
]


EMPTY = {"name": "data", "emptyDir": {}}


def holding(redis: Json) -> list[Json]:
    """Return the objects with another workload of Redis."""
    return [redis if each is CLAIMED else each for each in OBJECTS]


def unclaimed(kind: str = "StatefulSet", replicas: int = 2, **spec: Any) -> list[Json]:
    """Return the objects with a Redis whose data goes with its pod."""
    pod = {"containers": [CONTAINER], "volumes": [EMPTY]}
    return holding(workload(kind, "redis", replicas, pod=pod, **spec))


def shop(redis: str = "host: redis", tiers: str = "[]", broker: str = "hold", more: str = "") -> Policy:
    text = POLICY.format(more=f"recovery: {{tiers: {tiers}{more}}}", at="before")
    return parse_policy(
        text.replace("source: redis, host: redis", f"source: redis, broker: {broker}, {redis}"), "shop"
    )


def starts(of: Policy, objects: list[Json] = OBJECTS) -> list[tuple[str, ...]]:
    found = made(objects, of=of)
    return [
        (step.id, *(name.rpartition("/")[2] for name in step.objects))
        for step in found.steps
        if step.kind in ("start", "queues") or (step.what == "redis" and step in found.phases[-1].steps)
    ]


@pytest.mark.parametrize("redis", ["host: redis", "host: redis-0.redis", "host: {secret: where, key: HOST}"])
def test_of_one_tier_what_keeps_data_starts_first_and_the_workers_after_the_queues(redis: str) -> None:
    assert starts(shop(redis)) == [
        ("start tier 1", "db", "redis"),
        ("queues redis",),
        ("start rest of tier 1", "web", "worker", "sentinel"),
    ]


def test_with_sentinel_both_it_and_what_serves_the_port_of_redis_run_before_the_queues() -> None:
    sentinel = "sentinel: {service: sentinel, master: m}"
    tiers = "[[db, redis], [sentinel], [worker]]"

    assert starts(shop(sentinel, tiers)) == [
        ("start tier 1", "db", "redis"),
        ("start tier 2", "sentinel"),
        ("queues redis",),
        ("start tier 3", "worker"),
        ("start tier 4", "web"),
    ]


def test_queues_that_are_restored_need_no_step_nor_do_those_of_a_volume_that_does_not_come_back() -> None:
    restored = parse_policy(POLICY.format(more="", at="before"), "shop")
    assert starts(restored) == [("start tier 1", "web", "worker", "db", "redis", "sentinel")]
    found = made(OBJECTS, Wishes(volumes=("objects", "media")), of=shop())
    assert not [step for step in found.steps if step.kind == "queues"]


@pytest.mark.parametrize(
    ("redis", "tiers", "reason"),
    [
        ("host: redis", "[[db], [web, worker], [redis]]", "and web, worker would start before it"),
        ("host: elsewhere.example", "[[redis]]", "and no workload that starts is known to serve it"),
        ("host: external", "[[redis]]", "and no workload that starts is known to serve it"),
        ("host: {env: REDIS}", "[[redis]]", "and no workload that starts is known to serve it"),
        ("host: {secret: none, key: HOST}", "[[redis]]", "and no workload that starts is known to serve it"),
    ],
)
def test_queues_that_would_be_read_before_they_are_held_are_refused(
    redis: str, tiers: str, reason: str
) -> None:
    assert refused(OBJECTS, of=shop(redis, tiers)) == [f"volume redis is to hold its queues, {reason}"]


@pytest.mark.parametrize("system", ["wesago", "misago"])
def test_the_queues_of_a_system_are_held_once_its_first_tier_runs(system: str) -> None:
    found = made(
        objects_of(system),
        Wishes(classes=CLASSES, volumes=("redis", "objects")),
        facts(ingress_classes=frozenset({"traefik"})),
        of=load_policy(POLICIES / f"{system}.yaml"),
    )
    order = [step.id for step in found.steps]
    between = ["restore redis", "prove redis"] if system == "misago" else []
    begin = order.index("start tier 1") + 1
    assert order[begin : begin + len(between) + 1] == [*between, "queues redis"]
    assert "start rest of tier 1" not in order
    assert order.count("restore redis") == 1


@pytest.mark.parametrize(
    "objects", [unclaimed(), holding(workload("StatefulSet", "redis"))], ids=["emptyDir", "none"]
)
def test_a_redis_without_a_claim_is_filled_once_it_runs_and_before_all_that_keeps_no_data(
    objects: list[Json],
) -> None:
    hooks = ", hooks: [{name: before, before: {restore: redis}, job: {image: a, command: [a]}}, "
    hooks += "{name: after, after: {restore: redis}, job: {image: a, command: [b]}}]"
    found = made(objects, of=shop(broker="purge", more=f", order: [objects, redis, postgres, media]{hooks}"))

    assert [(step.id, step.needs) for step in found.phases[-1].steps] == [
        ("start tier 1", ("prove media",)),
        ("hook before", ("start tier 1",)),
        ("restore redis", ("hook before",)),
        ("prove redis", ("restore redis",)),
        ("hook after", ("prove redis",)),
        ("queues redis", ("hook after",)),
        ("start rest of tier 1", ("queues redis",)),
    ]
    assert next(step for step in found.steps if step.id == "restore redis").point == "redis@11"
    [note] = [each for each in found.notes if each.startswith("volume redis")]
    assert "is filled once it runs" in note


def test_a_redis_without_a_claim_whose_queues_are_restored_is_filled_too() -> None:
    assert starts(shop(broker="restore"), unclaimed()) == [
        ("start tier 1", "db", "redis"),
        ("restore redis",),
        ("prove redis",),
        ("start rest of tier 1", "web", "worker", "sentinel"),
    ]


NO_WAY = "volume redis has no claim, and "


@pytest.mark.parametrize(
    ("redis", "tiers", "objects", "reason"),
    [
        (
            *("host: redis", "[[db], [web], [redis]]", unclaimed()),
            "volume redis is to be filled once it runs, and web would start before it",
        ),
        (
            *("host: redis", "[]", unclaimed(replicas=0)),
            "volume redis is to be filled once it runs, and no workload that starts is known to serve it",
        ),
        ("host: redis, tls: {ca_file: /ca}", "[]", unclaimed(), f"{NO_WAY}is reached over TLS"),
        (
            "host: redis, password: {env: PW}",
            "[]",
            unclaimed(),
            f"{NO_WAY}its password is an environment variable",
        ),
        (
            "host: redis",
            "[]",
            unclaimed("Deployment"),
            f"{NO_WAY}each pod of Deployment redis has data of its own",
        ),
        (
            *("port: 6380, sentinel: {service: sentinel, master: m}", "[]"),
            [
                *holding(
                    workload(
                        "StatefulSet",
                        "redis",
                        pod={
                            "containers": [{**CONTAINER, "ports": [{"containerPort": 6380}]}],
                            "volumes": [EMPTY],
                        },
                    )
                )
            ],
            f"{NO_WAY}is found by Sentinels",
        ),
    ],
    ids=["tiers", "not started", "TLS", "password", "many", "Sentinels"],
)
def test_a_redis_without_a_claim_that_cannot_be_filled_is_refused(
    redis: str, tiers: str, objects: list[Json], reason: str
) -> None:
    found = refused(objects, of=shop(redis, tiers, "restore"))
    assert [each[: len(reason)] for each in found] == [reason]


def test_a_redis_without_a_claim_that_runs_already_is_refused() -> None:
    objects = unclaimed()
    live = [
        {**each.item, "spec": {**spec_of(each.item), "replicas": 7}}
        if each.ref.name == "redis"
        else each.item
        for each in changes_of(objects, Wishes(), facts(), ())[0].objects
    ]
    found = refused(objects, Wishes(if_exists="keep"), of=shop(broker="restore"), live=live)
    assert (
        "volume redis is to be filled once it runs, and no workload that starts is known to serve it" in found
    )
