"""Ordered steps, the same for the same input, to JSON and back."""

from random import Random

import pytest

from drtool.recovery.plan import from_json, to_json
from drtool.recovery.steps import Step
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import captured, claim, workload
from tests.recovery.stage import NOW, made, policy

MORE = """\
recovery:
  order: [objects, redis, postgres, media]
  tiers: [[db, redis], [web]]
  probes: [{name: front, http: "http://web/"}]
"""
OWNER = {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "old"}]}
OBJECTS = [
    captured("v1", "Namespace", "shop"),
    captured("v1", "Secret", "password", data={"password": "c2VjcmV0"}, metadata=OWNER),
    captured("v1", "ConfigMap", "c"),
    captured("v1", "Service", "web", spec={}),
    *(workload("Deployment", name) for name in ("web", "worker")),
    workload("StatefulSet", "db"),
    workload("Deployment", "idle", replicas=0),
    captured("batch/v1", "CronJob", "mail", spec={"schedule": "* * * * *"}),
    captured("batch/v1", "CronJob", "off", spec={"schedule": "* * * * *", "suspend": True}),
    claim("data-db-0"),
    captured("networking.k8s.io/v1", "Ingress", "web", spec={}),
    captured("autoscaling/v2", "HorizontalPodAutoscaler", "web", spec={}),
]


def test_the_phases_bring_everything_back_in_order() -> None:
    found = made(OBJECTS, of=policy(MORE))

    assert {phase.name: [step.id for step in phase.steps] for phase in found.phases} == {
        "infrastructure": ["apply core/Namespace", "apply core/ConfigMap", "apply core/Secret"],
        "deployment": [
            *("apply core/Service", "apply apps/Deployment", "apply apps/StatefulSet", "apply batch/CronJob"),
            "link owners",
        ],
        "data": [
            "apply core/PersistentVolumeClaim",
            *(
                "restore redis",
                "prove redis",
                "restore postgres",
                "prove postgres",
                "restore media",
                "prove media",
            ),
        ],
        "testing": [
            *("start tier 1", "start tier 2", "start tier 3", "probe front"),
            *(
                "apply autoscaling/HorizontalPodAutoscaler",
                "apply networking.k8s.io/Ingress",
                "resume CronJobs",
            ),
        ],
    }
    by_id = {step.id: step for step in found.steps}
    assert by_id["start tier 3"].objects == ("apps/Deployment/worker",)
    assert by_id["resume CronJobs"].objects == ("batch/CronJob/mail",)
    assert by_id["link owners"].objects == ("core/Secret/password",)
    assert (by_id["restore redis"].point, by_id["restore redis"].size) == ("redis@11", 1000)
    assert found.size == 4000


def test_services_that_lead_in_are_opened_with_what_else_takes_traffic() -> None:
    outer = captured("v1", "Service", "outer", spec={"type": "NodePort", "ports": [{"port": 80}]})
    found = made([outer, *OBJECTS], of=policy(MORE))

    assert [step.id for step in found.steps][-5:] == [
        *("probe front", "apply autoscaling/HorizontalPodAutoscaler", "apply networking.k8s.io/Ingress"),
        *("open Services", "resume CronJobs"),
    ]
    by_id = {step.id: step for step in found.steps}
    assert by_id["open Services"].objects == ("core/Service/outer",)
    assert by_id["apply core/Service"].objects == ("core/Service/outer", "core/Service/web")


def test_webhooks_come_behind_all_that_one_which_nobody_answers_would_refuse() -> None:
    group = "admissionregistration.k8s.io/v1"
    hooks = [captured(group, f"{kind}WebhookConfiguration", "gate") for kind in ("Validating", "Mutating")]
    served = captured("apiregistration.k8s.io/v1", "APIService", "v1.shop.test", spec={})
    greet = "  hooks: [{name: greet, after: {phase: testing}, workload: web, command: [hi]}]"
    found = made([*hooks, served, *OBJECTS], Wishes(enrol=True), of=policy(MORE + greet))

    assert [step.id for step in found.steps][-9:] == [
        *("apply networking.k8s.io/Ingress", "resume CronJobs", "hook greet"),
        *("enrol writer", "protect again", "first backup", "apply apiregistration.k8s.io/APIService"),
        "apply admissionregistration.k8s.io/MutatingWebhookConfiguration",
        "apply admissionregistration.k8s.io/ValidatingWebhookConfiguration",
    ]


def test_no_step_begins_before_what_it_needs_and_all_of_a_phase_is_done_before_the_next() -> None:
    found = made(OBJECTS)
    done: set[str] = set()
    for phase in found.phases:
        before = set(done)
        for step in phase.steps:
            assert set(step.needs) <= done
            assert before <= _all_before(step, {each.id: each for each in found.steps})
            done.add(step.id)
    assert len(done) == len(found.steps)


def _all_before(step: Step, steps: dict[str, Step]) -> set[str]:
    direct = set(step.needs)
    return direct.union(*(_all_before(steps[name], steps) for name in direct))


def test_volumes_without_an_order_come_back_side_by_side() -> None:
    by_id = {step.id: step for step in made(OBJECTS).steps}
    ordered = {step.id: step for step in made(OBJECTS, of=policy(MORE)).steps}

    assert (
        by_id["restore media"].needs == by_id["restore redis"].needs == ("apply core/PersistentVolumeClaim",)
    )
    assert ordered["restore media"].needs == ("prove postgres",)


def test_one_volume_alone_needs_no_object() -> None:
    found = made([], Wishes(volumes=("redis",)))

    assert [(step.id, step.needs) for step in found.steps] == [
        ("restore redis", ()),
        ("prove redis", ("restore redis",)),
    ]


def test_what_is_replaced_is_named_and_what_is_equal_is_left_alone() -> None:
    theirs = workload("Deployment", "web", selector={"matchLabels": {"other": "x"}})
    found = made(OBJECTS, Wishes(if_exists="replace"), live=[theirs, OBJECTS[2]])
    by_id = {step.id: step for step in found.steps}

    assert by_id["apply apps/Deployment"].replaced == ("apps/Deployment/web",)
    assert "apply core/ConfigMap" not in by_id


@pytest.mark.parametrize("seed", range(5))
def test_the_same_input_makes_the_same_plan_in_whatever_order_it_comes(seed: int) -> None:
    shuffled = list(OBJECTS)
    Random(seed).shuffle(shuffled)

    assert to_json(made(shuffled, of=policy(MORE))) == to_json(made(OBJECTS, of=policy(MORE)))


def test_a_plan_goes_to_json_and_back_and_holds_nothing_of_a_secret() -> None:
    wishes = Wishes(
        at=NOW.replace(hour=11), volumes=("postgres", "objects"), classes={"a": "b"}, hosts={"c": "d"}
    )
    found = made(OBJECTS, wishes, of=policy(MORE))
    data = to_json(found)

    assert from_json(data) == found
    assert to_json(from_json(data)) == data
    assert b"c2VjcmV0" not in data
    with pytest.raises(ValueError, match="Plan"):
        from_json(b"{}")
