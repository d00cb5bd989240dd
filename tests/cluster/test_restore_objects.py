"""Objects come into a real cluster, wait, start, and go again: the steps of a plan, without any data."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drtool.operations.cluster_restore.abort import abort_run
from drtool.operations.cluster_restore.apply import apply_objects, link_owners
from drtool.operations.cluster_restore.replay import RUN_LABEL, Replay
from drtool.operations.cluster_restore.start import resume_cron_jobs, start_tier
from drtool.operations.plan_target import TargetLook
from drtool.operations.session import Session, Silent, World
from drtool.policy.load import parse_policy
from drtool.recovery.compare import compare
from drtool.recovery.journal import Entry, State
from drtool.recovery.manifests.mappings import Mappings
from drtool.recovery.manifests.prepare import prepare
from drtool.recovery.plan import Plan, Request, make_plan
from drtool.recovery.points import Choice
from drtool.recovery.steps import Step, label
from drtool.recovery.wishes import Wishes
from drtool.sources.kubernetes.client import Cluster as Api
from tests.cluster.cluster import Cluster
from tests.cluster.images import IMAGES
from tests.cluster.process import wait_until
from tests.cluster.system import load_images
from tests.cluster.way_back import inventory
from tests.recovery.stage import POLICY

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
LIMIT_S = 90
GROUP = "shop.test"
IMAGE = IMAGES["redis"].reference  # it has a shell, and is on the nodes of tiny


def meta(name: str, **more: Any) -> Json:
    return {"name": name, "namespace": "shop", "uid": "of-the-old-cluster", "resourceVersion": "7", **more}


def pods(app: str, seconds: int = 100_000) -> Json:
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", f"{seconds}"],
    }
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def captured() -> list[Json]:
    """Return what was captured of a namespace, with traps in it."""
    selector = {"matchLabels": {"app": "db"}}
    template: Json = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    crd_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": meta("room"),
            "spec": {"hard": {"pods": "20"}},
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("settings"), "data": {"colour": "old"}},
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"carts.{GROUP}"},
            "spec": {
                "group": GROUP,
                "names": {"kind": "Cart", "plural": "carts"},
                "scope": "Namespaced",
                "versions": [
                    {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": crd_schema}}
                ],
            },
        },
        {"apiVersion": f"{GROUP}/v1", "kind": "Cart", "metadata": meta("first"), "spec": {"size": 3}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": meta(
                "cart-key",
                ownerReferences=[
                    {
                        "apiVersion": f"{GROUP}/v1",
                        "kind": "Cart",
                        "name": "first",
                        "uid": "of-the-old-cluster",
                    }
                ],
            ),
            "stringData": {"key": "secret"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": meta("db"),
            "spec": {
                "serviceName": "db",
                "replicas": 2,
                "podManagementPolicy": "Parallel",
                "ordinals": {"start": 3},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
                "selector": selector,
                "template": pods("db"),
                "volumeClaimTemplates": [template],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": meta("data-db-3", annotations={"pv.kubernetes.io/bind-completed": "yes"}),
            "spec": {
                **template["spec"],
                "storageClassName": "local-path",
                "volumeName": "pvc-of-the-old-cluster",
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta("web"),
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": pods("web")},
        },
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": meta("mail"),
            "spec": {
                "schedule": "* * * * *",
                "jobTemplate": {
                    "spec": {
                        "template": {
                            **pods("mail", 0),
                            "spec": {**pods("mail", 0)["spec"], "restartPolicy": "Never"},
                        }
                    }
                },
            },
        },
        {
            "apiVersion": "policy/v1beta1",  # as of a cluster before 1.25; this one serves v1 alone
            "kind": "PodDisruptionBudget",
            "metadata": meta("web"),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        },
        {
            "apiVersion": "autoscaling/v2beta2",  # before 1.26
            "kind": "HorizontalPodAutoscaler",
            "metadata": meta("web"),
            "spec": {
                "minReplicas": 1,
                "maxReplicas": 1,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": f"dead.{GROUP}"},
            "webhooks": [
                {
                    "name": f"dead.{GROUP}",
                    "failurePolicy": "Fail",
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
                    "clientConfig": {"service": {"namespace": "shop", "name": "nobody"}},
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["configmaps"],
                        }
                    ],
                }
            ],
        },
    ]


@dataclass
class Kept:
    """A journal in memory."""

    kept: list[Entry] = field(default_factory=list)

    def write(self, step: str, state: State, detail: Json) -> None:
        self.kept.append(
            Entry(len(self.kept) + 1, datetime.now(UTC), step, state, json.loads(json.dumps(detail)))
        )

    def entries(self) -> list[Entry]:
        return list(self.kept)


@dataclass(frozen=True)
class Stage:
    """A run that is done step by step."""

    replay: Replay

    def do(self, step: Step) -> Json:
        actions: dict[str, Callable[[Replay, Step], Json]] = {
            "apply": apply_objects,
            "link": link_owners,
            "start": start_tier,
            "resume": resume_cron_jobs,
        }
        self.replay.journal.write(step.id, "begun", {})
        result = actions[step.kind](self.replay, step)
        self.replay.journal.write(step.id, "done", result)
        return result


@pytest.fixture
def stage(cluster: Cluster) -> Iterator[Callable[[Wishes], Stage]]:
    load_images(cluster, "tiny")
    environment = {"KUBECONFIG": str(cluster.kubeconfig)}
    world = World(lambda: datetime.now(UTC), environment, Silent(), threading.Event())
    policy = parse_policy(POLICY.format(at="before", more=""), "shop")
    with Api.open(None, environment) as api:

        def make(wishes: Wishes) -> Stage:
            look = TargetLook(api, "here", "shop")
            preparation = prepare(
                captured(), Mappings(("shop", "shop"), {"": "local-path"}, {}, {}), look.served
            )
            facts = look.facts(preparation.objects, [])
            changes = tuple(
                compare(each, facts.live.get(each.ref), wishes.if_exists) for each in preparation.objects
            )
            request = Request(wishes, world.clock(), ("shop", "shop"))
            choice = Choice((), timedelta(0), (), ())
            plan = make_plan(policy, request, choice, preparation, changes, facts)
            assert isinstance(plan, Plan), plan
            session: Any = Session(policy, "", None, world)  # type: ignore[arg-type]
            objects = {label(each.ref): each for each in preparation.objects}
            return Stage(Replay(session, policy, plan, "run-1", api, objects, Kept()))

        yield make
    cluster.kubectl("delete", "validatingwebhookconfiguration", f"dead.{GROUP}", "--ignore-not-found")
    cluster.kubectl("delete", "namespace", "shop", "--ignore-not-found")
    cluster.kubectl("delete", "crd", f"carts.{GROUP}", "--ignore-not-found")


def look_at(cluster: Cluster, what: str) -> Any:
    return json.loads(cluster.kubectl("get", what, "--namespace=shop", "--output=json"))


def test_what_comes_waits_until_it_is_started(stage: Callable[[Wishes], Stage], cluster: Cluster) -> None:
    begun = stage(Wishes())
    steps = list(begun.replay.plan.steps)
    first_start = next(number for number, step in enumerate(steps) if step.kind == "start")
    for step in steps[:first_start]:
        begun.do(step)
        begun.do(step)  # as a run does that was killed before it could write it down

    assert look_at(cluster, "pods")["items"] == []
    held = look_at(cluster, "statefulset/db")
    assert held["metadata"]["labels"][RUN_LABEL] == "run-1"
    assert held["spec"]["persistentVolumeClaimRetentionPolicy"] == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }
    assert look_at(cluster, "cronjob/mail")["spec"]["suspend"] is True
    [owner] = look_at(cluster, "secret/cart-key")["metadata"]["ownerReferences"]
    assert owner["uid"] == look_at(cluster, f"carts.{GROUP}/first")["metadata"]["uid"]

    for step in steps[first_start:]:
        begun.do(step)

    budget, scaled = look_at(cluster, "pdb/web"), look_at(cluster, "hpa/web")
    assert (budget["apiVersion"], budget["spec"]["maxUnavailable"]) == ("policy/v1", 1)
    assert (scaled["apiVersion"], scaled["spec"]["maxReplicas"]) == ("autoscaling/v2", 1)
    started = look_at(cluster, "statefulset/db")
    assert started["status"]["readyReplicas"] == started["spec"]["replicas"] == 2
    assert started["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    assert "annotations" not in started["metadata"]
    assert look_at(cluster, "cronjob/mail")["spec"].get("suspend", False) is False
    assert look_at(cluster, "jobs")["items"] == []  # nothing that was missed is made up for
    wait_until(lambda: bool(look_at(cluster, "jobs")["items"]), "the CronJob fires", deadline_s=LIMIT_S)


def test_what_was_captured_in_an_api_that_nothing_served_takes_the_place_of_is_refused_by_name(
    cluster: Cluster,
) -> None:
    old: list[Json] = [
        {"apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": meta("old"), "spec": {}},
        {"apiVersion": "autoscaling/v2beta1", "kind": "HorizontalPodAutoscaler", "metadata": meta("old")},
        {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": meta("all"), "spec": {}},
    ]
    before = inventory(cluster, "shop")
    with Api.open(None, {"KUBECONFIG": str(cluster.kubeconfig)}) as api:
        served = TargetLook(api, "here", "shop").served
        found = prepare([*captured(), *old], Mappings(("shop", "shop"), {}, {}, {}), served)
    assert {each.about for each in found.refusals} == {
        "Ingress old",
        "HorizontalPodAutoscaler old",
        "PodDisruptionBudget all",
    }
    assert inventory(cluster, "shop") == before


@pytest.mark.parametrize("there", ["nothing", "another"])
def test_until_something_is_started_a_run_is_undone(
    there: str, stage: Callable[[Wishes], Stage], cluster: Cluster
) -> None:
    if there == "another":
        settings = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": "shop"},
        }
        cluster.kubectl("create", "namespace", "shop")
        cluster.wait_for("serviceaccount/default", "create", namespace="shop")
        given = {**settings, "data": {"colour": "new", "more": "kept"}, "immutable": True}
        cluster.kubectl("create", "--filename=-", stdin=json.dumps(given))
    before = inventory(cluster, "shop")
    steps = stage(Wishes(if_exists="replace")).replay.plan.steps
    first_start = next(number for number, step in enumerate(steps) if step.kind == "start")
    for end in range(1, first_start + 1):
        begun = stage(Wishes(if_exists="replace"))
        for step in begun.replay.plan.steps[:end]:
            begun.do(step)

        abort_run(begun.replay)
        abort_run(begun.replay)

        assert inventory(cluster, "shop") == before, steps[end - 1].id
