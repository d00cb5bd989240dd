"""Files that rows refer to: what looks for them in the target, with what rights, and what becomes of what it finds."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drtool.deploy.one_off import one_off_name
from drtool.errors import TemporaryFailure
from drtool.operations.cluster_restore.outcome import outcome_of
from drtool.operations.cluster_restore.references import check_references
from drtool.operations.cluster_restore.results import CheckedReferences
from drtool.policy.load import parse_policy
from drtool.recovery.journal import END, Entry
from drtool.recovery.steps import Step
from drtool.recovery.wishes import Wishes
from tests.operations.cluster_restore.runs import RUN, Run, at, live, run
from tests.recovery.captured import captured, workload
from tests.recovery.stage import POLICY, made
from tests.sources.kubernetes.api import Json

SQL = "select file from post where file <> '$HOME'"
MORE = f'recovery: {{references: [{{name: posts, database: postgres, files: media, sql: "{SQL}"}}]}}'
MOUNTS = {"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "media"}}]}
WHO = {"runAsUser": 33, "runAsGroup": 34, "fsGroup": 35, "supplementalGroups": [36]}
WEB = workload("Deployment", "web", pod={**MOUNTS, "securityContext": WHO, "nodeSelector": {"disk": "big"}})
OBJECTS = [captured("v1", "Namespace", "shop"), workload("StatefulSet", "db"), WEB]
STEP = "references posts"
POD = one_off_name(RUN, STEP)
PASSWORD = "password: {secret: db, key: password}"


def restoring(found: Run, old: str = "", new: str = "") -> Run:
    """Return a run of a policy with references, in which a text of the policy is another."""
    text = POLICY.format(more=MORE, at="before").replace("host: db,", f"host: db.shop, {PASSWORD},")
    promised = parse_policy(text.replace(old, new) if old else text, "shop")
    plan = made(OBJECTS, Wishes(image="drtool:1"), of=promised)
    plan = replace(plan, namespace=("shop", "shop"))
    return replace(found, replay=replace(found.replay, policy=promised, plan=plan))


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Run]:
    with run(tmp_path, OBJECTS) as begun:
        yield restoring(begun)


def ends(found: Run, log: str, phase: str = "Succeeded", networks: list[Json] | None = None) -> list[Json]:
    """Have the pod end so, with this log; return a list that gets the pod. networks gets its NetworkPolicy."""
    pods: list[Json] = []

    def becomes(item: Json) -> Json:
        if item["kind"] != "Pod":
            if networks is not None:
                networks.append(item)
            return {}
        pods.append(item)
        return {"phase": phase}

    found.api.becomes = becomes
    found.api.answers[f"{at('Pod')}/{POD}/log"] = {"raw": log}
    return pods


def looked(listed: int, *missing: str) -> str:
    return json.dumps({"references": {"listed": listed, "missing": len(missing), "first": missing}})


def test_the_pod_reads_the_claim_as_its_owner_and_has_the_databases_secret_alone(found: Run) -> None:
    networks: list[Json] = []
    pods = ends(found, f"progress\n{looked(7)}\n", networks=networks)
    assert check_references(found.replay, found.step(STEP)) == {"listed": 7, "missing": 0, "first": []}

    [network], [pod] = networks, pods
    assert network["spec"]["podSelector"]["matchLabels"] == pod["metadata"]["labels"]
    assert network["spec"]["egress"] == [{}]
    assert found.api.collections[at("NetworkPolicy")] == []
    spec, [container] = pod["spec"], pod["spec"]["containers"]
    _, _, volume, asked, *root = container["args"]
    assert root == ["--root", "/claims/media"]
    assert json.loads(volume)["host"] == "db.shop"
    assert json.loads(asked)["sql"] == SQL.replace("$", "$$")
    assert spec["volumes"][1]["secret"]["items"] == [{"key": "password", "path": "password"}]
    assert spec["volumes"][2]["persistentVolumeClaim"] == {"claimName": "media"}
    assert container["volumeMounts"][2] == {"name": "claim", "mountPath": "/claims/media", "readOnly": True}
    security = spec["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["runAsNonRoot"]) == (33, 34, True)
    assert security["supplementalGroups"] == [36, 35]
    assert "fsGroup" not in security  # the kubelet would give all files to it
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    assert spec["nodeSelector"] == {"disk": "big"}
    assert spec["activeDeadlineSeconds"] > timedelta(minutes=15).total_seconds()
    assert found.api.find(at("Pod"), POD) is None


def test_the_pod_runs_beside_who_has_the_claim_mounted(found: Run) -> None:
    spec = {**MOUNTS, "nodeName": "node-2"}
    found.api.collections[at("Pod")] += [
        live("Pod", "other", spec={"nodeName": "node-1"}, status={"phase": "Running"}),
        live("Pod", "web-1", spec=spec, status={"phase": "Running"}),
        live("Pod", "web-2", spec=MOUNTS, status={"phase": "Pending"}),
    ]
    [*pods] = (ends(found, looked(0)), check_references(found.replay, found.step(STEP)))[0]
    assert "nodeSelector" not in pods[0]["spec"]
    required = pods[0]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"] == [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-2"]}]}
    ]


def test_files_of_several_owners_are_read_as_root_that_may_only_read(tmp_path: Path) -> None:
    with run(tmp_path, OBJECTS) as begun:
        found = restoring(begun, "claim: media,", "claim: media, pod_security: baseline,")
        pods = ends(found, looked(0))
        check_references(found.replay, found.step(STEP))
    security = pods[0]["spec"]["containers"][0]["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}
    assert security["readOnlyRootFilesystem"] is True
    assert pods[0]["spec"]["securityContext"]["runAsUser"] == 0
    assert pods[0]["spec"]["securityContext"]["runAsNonRoot"] is False


def test_what_cannot_be_told_is_told_as_that_and_never_as_none_missing(found: Run) -> None:
    ends(found, "error: PostgreSQL refuses the query: syntax error", "Failed")
    told = check_references(found.replay, found.step(STEP))
    assert told == {"failed": "its pod: it failed: error: PostgreSQL refuses the query: syntax error"}
    assert found.told.notes[0].startswith("it is not known which files are missing: its pod")
    ends(found, "what another program says")
    assert check_references(found.replay, found.step(STEP)) == {"failed": "the log of its pod is gone"}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            PASSWORD,
            "sslrootcert: /etc/ca.pem",
            "is reached with sslrootcert, files that no pod in the target has",
        ),
        (PASSWORD, "password: {env: PGPASSWORD}", "is an environment variable or a file, which no pod has"),
        ("claim: media,", "path: /srv/media,", "is /srv/media of a machine, and no claim"),
        ("database: postgres", "database: redis", "volume redis has no rows"),
    ],
)
def test_what_no_pod_can_reach_is_no_end_of_the_restore(found: Run, old: str, new: str, why: str) -> None:
    text = POLICY.format(more=MORE, at="before").replace("host: db,", f"host: db, {PASSWORD},")
    if "redis" in new:
        posts = found.replay.policy.recovery.references[0].model_copy(update={"database": "redis"})
        recovery = found.replay.policy.recovery.model_copy(update={"references": (posts,)})
        promised = found.replay.policy.model_copy(update={"recovery": recovery})
    else:
        promised = parse_policy(text.replace(old, new), "shop")
    replay = replace(found.replay, policy=promised)
    told = check_references(replay, found.step(STEP))
    assert why in told["failed"]


def test_ctrl_c_ends_the_look_and_the_run_goes_on_with_it_later(found: Run) -> None:
    found.api.becomes = lambda _item: {"phase": "Pending"}
    threading.Timer(0.5, found.replay.session.world.ending.set).start()
    with pytest.raises(TemporaryFailure, match="asked to end"):
        check_references(found.replay, found.step(STEP))
    assert found.api.find(at("Pod"), POD) is None


def outcome(found: Run, told: Json | None) -> Any:
    now = datetime.now(UTC)
    entries: Any = found.replay.journal
    entries.kept += [Entry(1, now, "plan", "noted"), Entry(2, now, END, "done")]
    results = {} if told is None else {STEP: told}
    return outcome_of(replace(found.replay, results=results))


@pytest.mark.parametrize(
    ("told", "is_proven"),
    [
        ({"listed": 2, "missing": 0, "first": []}, True),
        ({"listed": 2, "missing": 1, "first": ["a\nb"]}, False),
        ({"failed": "why"}, False),
    ],
)
def test_a_file_that_is_missing_or_not_looked_for_leaves_the_system_unproven(
    found: Run, told: Json, *, is_proven: bool
) -> None:
    ended = outcome(found, told)
    checked = CheckedReferences(
        "posts", "postgres", "media", **{**told, "first": tuple(told.get("first", ()))}
    )
    assert ended.references == (checked,)
    assert (ended.outcome == "restored, and not proven") is not is_proven


def test_references_that_were_in_no_plan_are_in_no_result(found: Run) -> None:
    assert outcome(found, None).references == ()


def test_a_step_of_the_plan_looks_for_them(found: Run) -> None:
    assert found.step(STEP) == Step(STEP, "references", "posts", needs=("start tier 1",))
