"""Queues are held before anything starts that could read them, or the plan says why they cannot be."""

import base64
from pathlib import Path

import pytest

from drtool.policy.load import load_policy, parse_policy
from drtool.policy.schema import Policy
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import Json, captured, workload
from tests.recovery.stage import POLICY, facts, made, refused
from tests.recovery.test_systems import CLASSES, objects_of

POLICIES = Path(__file__).parents[2] / "policies"
OBJECTS = [
    captured("v1", "Namespace", "shop"),
    *(workload("Deployment", name) for name in ("web", "worker")),
    *(workload("StatefulSet", name) for name in ("db", "redis", "sentinel")),
    captured("v1", "Service", "db", spec={"selector": {"app": "db"}}),
    captured("v1", "Service", "redis", spec={"selector": {"app": "redis"}, "ports": [{"port": 6379}]}),
    captured("v1", "Service", "sentinel", spec={"selector": {"app": "sentinel"}, "ports": [{"port": 26379}]}),
    captured("v1", "Service", "external", spec={}),
    captured("v1", "Secret", "where", data={"HOST": base64.b64encode(b"redis.shop").decode()}),
]


def shop(redis: str = "host: redis", tiers: str = "[]") -> Policy:
    text = POLICY.format(more=f"recovery: {{tiers: {tiers}}}", at="before")
    return parse_policy(
        text.replace("source: redis, host: redis", f"source: redis, broker: hold, {redis}"), "shop"
    )


def starts(of: Policy, objects: list[Json] = OBJECTS) -> list[tuple[str, ...]]:
    return [
        (step.id, *(name.rpartition("/")[2] for name in step.objects))
        for step in made(objects, of=of).steps
        if step.kind in ("start", "queues")
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
    assert order[order.index("start tier 1") + 1] == "queues redis"
    assert "start rest of tier 1" not in order
