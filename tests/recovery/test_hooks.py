"""Hooks at their place in a plan, with all that must wait for them."""

import pytest

from drtool.recovery.steps import Step
from drtool.recovery.wishes import Wishes
from tests.recovery.captured import Json, captured, claim, workload
from tests.recovery.stage import made, policy, refused

OBJECTS = [
    captured("v1", "Namespace", "shop"),
    captured("v1", "Service", "web", spec={}),
    *(workload("Deployment", name) for name in ("web", "worker")),
    workload("StatefulSet", "db"),
    claim("data-db-0"),
    captured("networking.k8s.io/v1", "Ingress", "web", spec={}),
]
TIERS = "recovery:\n  tiers: [[db], [web]]\n"
JOB = "job: {image: tools, command: [index]}"


def hooks(*lines: str, more: str = TIERS) -> str:
    return (
        more
        + "  hooks:\n"
        + "".join(f"    - {{name: h{number}, {line}}}\n" for number, line in enumerate(lines))
    )


def steps_of(*lines: str, more: str = TIERS) -> dict[str, Step]:
    return {step.id: step for step in made(OBJECTS, of=policy(hooks(*lines, more=more))).steps}


@pytest.mark.parametrize(
    ("line", "before", "after"),
    [
        ("after: {start: web}, command: [copy], workload: web", "start tier 2", "start tier 3"),
        (f"before: {{start: web}}, {JOB}", "start tier 1", "start tier 2"),
        (f"after: {{start: worker}}, {JOB}", "start tier 3", "apply networking.k8s.io/Ingress"),
        (f"before: {{phase: deployment}}, {JOB}", "apply core/Namespace", "apply core/Service"),
        (f"after: {{phase: deployment}}, {JOB}", "apply apps/StatefulSet", "apply core/PersistentVolumeClaim"),
        (f"before: {{restore: media}}, {JOB}", "apply core/PersistentVolumeClaim", "restore media"),
        (f"after: {{restore: media}}, {JOB}", "prove media", "start tier 1"),
    ],
)  # fmt: skip
def test_a_hook_waits_for_what_is_before_it_and_what_is_behind_it_waits_for_the_hook(
    line: str, before: str, after: str
) -> None:
    steps = steps_of(line)

    assert steps["hook h0"].kind == "hook"
    assert steps["hook h0"].needs == (before,)
    assert "hook h0" in steps[after].needs


def test_what_is_after_all_data_waits_for_all_of_it_and_what_is_after_all_is_last() -> None:
    steps = steps_of(
        f"after: {{phase: data}}, {JOB}",
        f"after: {{phase: data}}, {JOB}",
        "after: {phase: testing}, command: [tell], workload: worker",
    )

    assert {"prove redis", "prove postgres", "prove media"} <= {*steps["hook h0"].needs}
    assert steps["hook h1"].needs == ("hook h0",)
    assert steps["start tier 1"].needs == ("hook h1",)
    assert list(steps)[-1] == "hook h2"


def test_where_the_policy_has_an_order_the_next_volume_waits_too() -> None:
    order = "recovery:\n  order: [objects, media, redis, postgres]\n"
    steps = steps_of(f"after: {{restore: media}}, {JOB}", f"before: {{restore: media}}, {JOB}", more=order)

    assert steps["restore media"].needs == ("hook h1",)
    assert steps["hook h0"].needs == ("prove media",)
    assert steps["restore redis"].needs == ("hook h0",)
    assert steps["restore postgres"].needs == ("prove redis",)


def test_two_hooks_before_the_data_run_one_after_the_other_also_where_no_claim_comes_back() -> None:
    line = f"before: {{phase: data}}, {JOB}"
    found = made(
        [each for each in OBJECTS if each["kind"] != "PersistentVolumeClaim"], of=policy(hooks(line, line))
    )
    steps = {step.id: step for step in found.steps}

    assert steps["hook h1"].needs == ("hook h0",)
    assert steps["restore redis"].needs == steps["restore media"].needs == ("hook h1",)


def test_a_hook_whose_place_is_not_in_the_plan_is_left_out_and_told() -> None:
    promised = policy(hooks(f"after: {{start: wbe}}, {JOB}", f"before: {{phase: data}}, {JOB}"))

    assert (
        "hook h0: it runs after the start of wbe, which no step of this plan is"
        in made(OBJECTS, of=promised).notes
    )
    alone = made([], Wishes(volumes=("redis",)), of=promised)
    assert [step.id for step in alone.steps] == ["restore redis", "prove redis"]
    assert len(alone.notes) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "before: {start: web}, command: [a], workload: web",
            "runs in a pod of web, which starts only after it",
        ),
        (
            "after: {start: db}, command: [a], workload: worker",
            "runs in a pod of worker, which starts only after it",
        ),
        (
            "after: {start: web}, command: [a], workload: wbe",
            "runs in a pod of wbe, and no workload of that name",
        ),
    ],
)
def test_a_command_whose_pod_is_not_there_by_then_is_refused(line: str, reason: str) -> None:
    assert refused(OBJECTS, of=policy(hooks(line)))[0].startswith(f"hook h0 {reason}")


def test_a_probe_in_a_workload_that_does_not_come_back_is_refused() -> None:
    probe = "recovery: {probes: [{name: p, command: [a], workload: wbe}]}"
    assert refused(OBJECTS, of=policy(probe)) == [
        "probe p runs in a pod of wbe, and no workload of that name comes back"
    ]


REFERENCES = "references: [{name: posts, database: postgres, files: media, sql: select}]"


def test_files_are_looked_for_once_all_runs_and_before_anybody_can_reach_it() -> None:
    text = f"recovery: {{probes: [{{name: p, http: 'http://web/'}}], {REFERENCES}}}"
    found = made(OBJECTS, of=policy(text))
    ids = [step.id for step in found.phases[-1].steps]
    assert ids[-3:] == ["probe p", "references posts", "apply networking.k8s.io/Ingress"]
    assert not [note for note in found.notes if "references" in note]


@pytest.mark.parametrize(
    ("objects", "volumes"), [(OBJECTS, ("objects", "postgres")), (OBJECTS, ("objects", "media")), ([], ())]
)
def test_files_that_cannot_be_looked_for_are_noted(objects: list[Json], volumes: tuple[str, ...]) -> None:
    found = made(objects, Wishes(volumes=volumes), of=policy(f"recovery: {{{REFERENCES}}}"))
    assert "references posts" not in [step.id for step in found.steps]
    why = "references posts: not looked for, it takes postgres, media and workloads that start"
    assert why in found.notes
