"""Hooks, probes and queues: what is asked of the cluster for them, and what becomes of their failures."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from drtool.deploy.one_off import one_off_name
from drtool.errors import DrtoolError, NotProven, Refused, SourceUnavailable, TemporaryFailure
from drtool.operations.cluster_restore.hooks import run_hook
from drtool.operations.cluster_restore.probes import moved, run_probe
from drtool.operations.cluster_restore.queues import treat_queues
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.inside import probe_http
from drtool.operations.session import Session, Silent, World
from drtool.recovery.steps import Step, label
from drtool.recovery.wishes import Wishes
from drtool.sources.kubernetes.client import Cluster
from drtool.sources.kubernetes.faults import Answer
from drtool.sources.kubernetes.transport import Official, Stream
from tests.recovery.captured import captured, workload
from tests.recovery.stage import changes_of, facts, made, policy
from tests.sources.kubernetes.api import Json, write_kubeconfig
from tests.sources.kubernetes.exec_server import ExecServer, exec_server
from tests.sources.kubernetes.living import Living
from tests.sources.kubernetes.test_exec import OK, failed

EVENTS = "/api/v1/namespaces/shop/events"
PODS = "/api/v1/namespaces/shop/pods"
NETWORKS = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
MORE = """\
recovery:
  hooks:
    - {name: copy, after: {start: web}, command: [copy], workload: web, time_limit: 1s}
    - {name: maybe, after: {start: web}, command: [copy], workload: web, on_failure: note}
    - {name: index, after: {start: web}, job: {image: "tools:1", command: [index], run_as: {user: 7, group: 8}}}
  probes:
    - {name: front, http: "http://web.shop/", status: 204}
    - {name: check, command: [check], workload: web}
"""
OBJECTS = [captured("v1", "Namespace", "shop"), workload("Deployment", "web")]


class Notes(Silent):
    """A Progress that keeps what it is to show."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def note(self, text: str) -> None:
        self.noted.append(text)


class Both(Official):
    """The official client, whose streams lead to another server than its requests."""

    streams: Official

    def stream(self, target: str) -> Stream | Answer:
        return self.streams.stream(target)


@dataclass
class Scene:
    """A run into a cluster of two servers: one that keeps objects, and one that runs commands."""

    api: Living
    commands: ExecServer
    replay: Replay
    notes: Notes

    def pod(self, step: str) -> str:
        return one_off_name(self.replay.run, step)

    def ends(self, phase: str, step: str, log: str) -> None:
        """Have every pod end so that is made, with this log."""
        self.api.becomes = lambda item: {"phase": phase} if item["kind"] == "Pod" else {}
        self.api.answers[f"{PODS}/{self.pod(step)}/log"] = {"raw": log}

    def made(self) -> Json:
        """Return the pod that was made, once it could connect to what it has to."""
        (created,) = [each for each in self.api.asked if each.startswith("POST")]
        assert created == f"POST {PODS}"
        assert [each["kind"] for each in self.kept[-2:]] == ["NetworkPolicy", "Pod"]
        return self.kept[-1]

    def reached(self) -> list[Json]:
        """Return where the pod that was made could connect to. It alone is let there."""
        pod, spec = self.made(), self.kept[-2]["spec"]
        assert spec["podSelector"]["matchLabels"] == pod["metadata"]["labels"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in spec
        rules: list[Json] = spec["egress"]
        return rules

    kept: list[Json]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "web-1", "uid": "1", "annotations": {}},
        "spec": {"containers": [{"name": "app"}, {"name": "log"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    starting = {**pod, "metadata": {"name": "web-0", "uid": "0"}, "status": {}}
    with (
        Living({PODS: [pod, starting], EVENTS: [], NETWORKS: []}, {}) as api,
        exec_server(pieces=[OK]) as commands,
    ):
        (tmp_path / "commands").mkdir()
        kubeconfig = str(api.kubeconfig(tmp_path))
        transport = Both(None, {"KUBECONFIG": kubeconfig})
        there = write_kubeconfig(tmp_path / "commands", commands.url)
        transport.streams = Official(None, {"KUBECONFIG": str(there)})
        notes = Notes()
        world = World(lambda: datetime.now(UTC), {}, notes)
        promised = policy(MORE)
        preparation, _ = changes_of(OBJECTS, Wishes(), facts(), [])
        plan = made(OBJECTS, Wishes(image="drtool:1"), of=promised)
        with Cluster(transport, patience_s=1) as cluster:
            objects = {label(each.ref): each for each in preparation.objects}
            session = Session(promised, "", cast(Any, None), world)  # no hook touches the repository
            replay = Replay(session, promised, plan, "r1", cluster, objects, cast(Any, None))
            found = Scene(api, commands, replay, notes, [])
            keep = api._keep

            def note(folder: str, item: Json) -> Json:
                found.kept.append(item)
                return keep(folder, item)

            api._keep = note  # type: ignore[method-assign]
            yield found


def step(kind: Any, name: str) -> Step:
    return Step(f"{kind} {name}", kind, name)


def test_a_hooks_command_runs_in_the_first_ready_pod(scene: Scene) -> None:
    assert run_hook(scene.replay, step("hook", "copy")) == {}
    (asked,) = scene.commands.asked
    assert asked.startswith(f"{PODS}/web-1/exec?container=app&")
    assert asked.endswith("command=copy")


def test_a_hook_that_fails_stops_the_run_or_is_noted(scene: Scene) -> None:
    scene.commands.pieces = [b"\x02no\nspace", failed(4)]
    with pytest.raises(DrtoolError, match="copy: it ended with 4: no space"):
        run_hook(scene.replay, step("hook", "copy"))

    assert run_hook(scene.replay, step("hook", "maybe"))["failed"] == "copy: it ended with 4: no space"
    assert scene.notes.noted == ["hook maybe failed, and is passed over: copy: it ended with 4: no space"]
    scene.replay.session.world.ending.set()
    with pytest.raises(TemporaryFailure):
        run_hook(scene.replay, step("hook", "maybe"))


def test_a_workload_without_a_ready_pod_is_waited_for_and_one_that_is_not_there_is_not(scene: Scene) -> None:
    starting = {"metadata": {"name": "web-0", "labels": {"app": "web"}}, "status": {"phase": "Running"}}
    scene.api.collections[PODS] = [starting]
    with pytest.raises(TemporaryFailure, match="no pod of web is ready: pod web-0 is not ready: its probe"):
        run_hook(scene.replay, step("hook", "copy"))
    scene.replay.objects.pop("apps/Deployment/web")  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="no workload web comes back"):
        run_hook(scene.replay, step("hook", "copy"))


def test_a_hooks_job_is_a_restricted_pod_of_the_run_that_is_gone_afterwards(scene: Scene) -> None:
    scene.ends("Succeeded", "hook index", "indexed")
    assert run_hook(scene.replay, step("hook", "index")) == {}

    pod = scene.made()
    assert pod["metadata"]["labels"]["drtool.io/run"] == "r1"
    spec = pod["spec"]
    assert (spec["automountServiceAccountToken"], spec["restartPolicy"]) == (False, "Never")
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (7, 8)
    assert (spec["containers"][0]["image"], spec["containers"][0]["command"]) == ("tools:1", ["index"])
    assert scene.reached() == [{}]
    assert scene.api.find(PODS, scene.pod("hook index")) is None
    assert scene.api.collections[NETWORKS] == []


def test_the_end_of_its_log_tells_why_a_pod_failed(scene: Scene) -> None:
    scene.ends("Failed", "hook index", "one\nno such index\n")
    with pytest.raises(DrtoolError, match="its pod: it failed: one no such index"):
        run_hook(scene.replay, step("hook", "index"))
    assert scene.api.find(PODS, scene.pod("hook index")) is None


def test_a_pod_that_a_run_before_left_behind_is_made_anew(scene: Scene) -> None:
    left = {"kind": "Pod", "metadata": {"name": scene.pod("hook index"), "uid": "left"}, "status": {}}
    scene.api.collections[PODS].append(left)
    scene.api.collections[NETWORKS].append({**left, "kind": "NetworkPolicy"})
    scene.ends("Succeeded", "hook index", "")
    assert run_hook(scene.replay, step("hook", "index")) == {}
    assert scene.api.collections[NETWORKS] == []


def test_two_pods_of_a_run_do_not_share_where_they_may_connect_to(scene: Scene) -> None:
    for kind, name in (("hook", "index"), ("probe", "front")):
        scene.ends("Succeeded", f"{kind} {name}", "")
        (run_hook if kind == "hook" else run_probe)(scene.replay, step(kind, name))
    first, second = [each for each in scene.kept if each["kind"] == "NetworkPolicy"]

    assert first["metadata"]["labels"]["drtool.io/run"] == "r1"
    assert first["spec"]["podSelector"] != second["spec"]["podSelector"]


def test_no_pod_is_made_that_may_not_connect_to_anything(scene: Scene) -> None:
    scene.api.refuses = lambda _method, item: (403, "no") if item.get("kind") == "NetworkPolicy" else None
    with pytest.raises(SourceUnavailable):
        run_hook(scene.replay, step("hook", "index"))
    assert not [each for each in scene.kept if each["kind"] == "Pod"]


def test_ctrl_c_ends_the_wait_for_a_pod_and_clears_it_away(scene: Scene) -> None:
    scene.api.becomes = lambda _item: {"phase": "Pending"}
    threading.Timer(0.5, scene.replay.session.world.ending.set).start()
    with pytest.raises(TemporaryFailure, match="asked to end"):
        run_hook(scene.replay, step("hook", "index"))
    assert scene.api.find(PODS, scene.pod("hook index")) is None


def test_an_address_is_asked_from_inside_with_drtools_own_image(scene: Scene) -> None:
    scene.ends("Succeeded", "probe front", "")
    assert run_probe(scene.replay, step("probe", "front")) == {}
    container = scene.made()["spec"]["containers"][0]
    assert container["image"] == "drtool:1"
    assert container["args"] == ["mover", "probe", "http://web.shop/", "--status", "204", "--limit", "300"]
    assert scene.reached() == [{}]


def test_a_probes_command_is_run_again_until_its_time_is_up(scene: Scene) -> None:
    assert run_probe(scene.replay, step("probe", "check")) == {}
    scene.commands.pieces = [failed(1)]
    with pytest.raises(NotProven, match="check: it ended with 1: it said nothing"):
        run_probe(scene.replay, step("probe", "check"), limit_s=1)
    assert len(scene.commands.asked) > 2


def test_queues_are_treated_by_a_pod_that_has_the_volumes_secrets_alone(scene: Scene) -> None:
    told = {"queues": [{"database": 0, "name": "celery", "messages": 3, "is_held": False}]}
    scene.ends("Succeeded", "queues redis", f"progress\n{json.dumps(told)}\n")
    volume = scene.replay.policy.volume("redis")
    reference = {"secret": "redis-secrets", "key": "password"}
    changed = type(volume).model_validate(
        {**volume.model_dump(), "broker": "hold", "password": reference, "host": "redis.shop"}
    )
    replaced = scene.replay.policy.model_copy(update={"volumes": (changed,)})
    object.__setattr__(scene.replay, "policy", replaced)

    result = treat_queues(scene.replay, step("queues", "redis"))
    [note] = result.pop("notes")
    assert result == {"broker": "hold", **told}
    assert note == "redis: messages held: 3 of celery; `drtool queues release redis` gives them back"
    spec = scene.made()["spec"]
    assert spec["containers"][0]["args"][:3] == ["mover", "queues", "hold"]
    assert json.loads(spec["containers"][0]["args"][3])["password"] == reference
    assert spec["volumes"][1]["secret"]["items"] == [{"key": "password", "path": "password"}]
    assert scene.reached() == [{}]


@pytest.mark.parametrize(
    ("address", "becomes"),
    [
        ("http://web.shop/", "http://web.drill/"),
        ("http://web.shop.svc:8000/shop", "http://web.drill.svc:8000/shop"),
        ("http://shop.example/", "http://shop.example/"),
        ("http://web.shop.example/", "http://web.shop.example/"),
        ("http://web/", "http://web/"),
        ("redis.shop", "redis.drill"),
        ("redis-0.redis", "redis-0.redis"),
        ("redis-0.redis.shop.svc", "redis-0.redis.drill.svc"),
    ],
)
def test_names_of_the_cluster_follow_the_namespace(address: str, becomes: str) -> None:
    assert moved(address, "shop", "drill") == becomes


@pytest.fixture
def site() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code = int(self.path[1:])
            self.send_response(code)
            self.send_header("Location", "/200")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"body")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_an_address_that_answers_as_promised_passes_and_any_other_answer_is_told(site: str) -> None:
    world = World(lambda: datetime.now(UTC), {}, Silent())
    for status in (200, 302, 503):
        probe_http(f"{site}/{status}", status, world, 0)
    with pytest.raises(NotProven, match="answered 503 with 4 bytes, not 200"):
        probe_http(f"{site}/503", 200, world, 0)
    with pytest.raises(NotProven, match="answered 302 with 4 bytes, not 200"):
        probe_http(f"{site}/302", 200, world, 0)
    with pytest.raises(NotProven, match=r"gave no answer: .*refused"):
        probe_http("http://127.0.0.1:1/", 200, world, 0)
