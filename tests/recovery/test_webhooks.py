"""Webhooks of the target that nobody answers, and whom they would stop."""

from typing import Any

import pytest

from drtool.recovery.webhooks import fatal_hooks
from tests.recovery.captured import Json, captured, workload
from tests.recovery.stage import facts, made, refused

SERVICE = {"namespace": "policy", "name": "gate"}
PLURALS = {
    ("apps", "Deployment"): "deployments",
    ("", "Namespace"): "namespaces",
    ("", "ConfigMap"): "configmaps",
}
OBJECTS = [
    captured("v1", "Namespace", "shop", metadata={"labels": {"team": "a"}}),
    captured("v1", "ConfigMap", "c", metadata={"labels": {"tier": "web"}}),
    workload("Deployment", "web"),
]


def rule(*resources: str, group: str = "*", **more: Any) -> Json:
    return {"operations": ["CREATE"], "apiGroups": [group], "resources": list(resources), **more}


def hook(*rules: Json, **more: Any) -> Json:
    return {"name": "gate.example.com", "clientConfig": {"service": SERVICE}, "rules": list(rules), **more}


def expression(key: str, operator: str, *values: str) -> Json:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("dead", "kinds"),
    [
        (hook(rule("deployments", group="apps")), "deployments"),
        (hook(rule("*/*", operations=["*"])), "configmaps, deployments, jobs, namespaces, pods, secrets"),
        (hook(rule("pods", group="")), "pods"),  # of what moves data
        (
            hook(rule("namespaces", scope="Cluster"), namespaceSelector={"matchLabels": {"no": "x"}}),
            "namespaces",
        ),
        (hook(rule("*", scope="Namespaced"), objectSelector={"matchLabels": {"tier": "web"}}), "configmaps"),
        (
            hook(rule("pods"), namespaceSelector=expression("kubernetes.io/metadata.name", "In", "shop")),
            "pods",
        ),
        (hook(rule("pods"), namespaceSelector=expression("team", "NotIn", "b")), "pods"),
        (hook(rule("pods"), namespaceSelector=expression("team", "Exists")), "pods"),
        (hook(rule("pods"), namespaceSelector=expression("skip", "DoesNotExist")), "pods"),
    ],
)
def test_a_webhook_that_would_stop_a_restore_half_way_is_refused(dead: Json, kinds: str) -> None:
    assert refused(OBJECTS, facts=facts(dead_hooks=[("gate", dead)], plurals=PLURALS)) == [
        f"webhook gate.example.com is asked about {kinds}, and nobody is behind its Service policy/gate"
    ]


@pytest.mark.parametrize(
    "dead",
    [
        hook(),
        hook(rule("deployments", group="batch")),
        hook(rule("deployments", operations=["DELETE"])),
        hook(rule("deployments", scope="Cluster")),
        hook(rule("pods"), namespaceSelector={"matchLabels": {"inject": "enabled"}}),
        hook(rule("pods"), namespaceSelector=expression("there", "DoesNotExist")),
        hook(rule("pods"), objectSelector={"matchLabels": {"tier": "web"}}),
        hook(rule("pods"), matchConditions=[{"expression": "true"}]),
    ],
)
def test_a_webhook_that_is_not_asked_or_may_not_be_is_none_of_ours(dead: Json) -> None:
    made(OBJECTS, facts=facts(dead_hooks=[("gate", dead)], plurals=PLURALS, labels={"there": "x"}))


def test_only_those_that_let_nothing_pass_without_their_service_are_fatal() -> None:
    by_url = {"name": "u", "clientConfig": {"url": "https://x"}}
    lenient = hook(failurePolicy="Ignore")
    metadata = {"metadata": {"name": "all"}}

    assert list(
        fatal_hooks({**metadata, "webhooks": [by_url, lenient, hook(), hook(failurePolicy="Fail")]})
    ) == [
        ("all", hook()),
        ("all", hook(failurePolicy="Fail")),
    ]
    assert list(fatal_hooks(metadata)) == []
