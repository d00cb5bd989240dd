"""A plan executed from the command line: into an API server of the tests, and out of it again."""

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest

from drtool.cli.confirm import confirm
from drtool.errors import Refused, TemporaryFailure
from drtool.operations.cluster_restore import lease
from drtool.operations.cluster_restore.journal import known_runs, open_journal
from drtool.operations.cluster_restore.replay import RUN_LABEL
from drtool.operations.cluster_restore.results import Challenge, ClusterRestoreRequest
from drtool.operations.cluster_restore.run import run_cluster_restore
from drtool.operations.session import KeyFiles, Progress, Silent, World, open_session
from drtool.recovery.target import TargetCluster
from drtool.recovery.wishes import Wishes
from tests.scenarios.shop_lost import UID, Way, shop_lost
from tests.scenarios.targets import put
from tests.sources.kubernetes.api import Api, Json, write_kubeconfig
from tests.sources.kubernetes.living import well
from tests.sources.kubernetes.shop import HOOKS, at, hooks, item
from tests.sources.kubernetes.tls import certificate

LEASES = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
DEPLOYMENTS = at("deployments", "apps")
REFUSING = at("validatingwebhookconfigurations", HOOKS, namespaced=False)


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    with shop_lost(tmp_path) as way:
        yield way


def test_an_image_that_cannot_be_pulled_is_refused_before_anything_is_written(way: Way) -> None:
    before = way.objects()

    def becomes(pod: Json) -> Json:
        waiting = {"reason": "ErrImageNeverPull", "message": "not here"}
        return {"containerStatuses": [{"state": {"waiting": waiting}}]} if pod["kind"] == "Pod" else well(pod)

    way.target.becomes = becomes
    error = way.restore(code=5)["error"]

    assert "image drtool:1 of drtool itself cannot be pulled: not here" in error["message"]
    assert "image web:1 of Deployment web cannot be pulled: not here" in error["message"]
    assert way.objects() == before
    assert not list(
        Path(way.drtool.content["repository"]["url"].removeprefix("file://")).glob("runs/*/*journal*")
    )


def test_a_plan_is_executed_from_the_kit_alone(way: Way) -> None:
    found = way.restore()["restore"]

    assert found["outcome"] == "restored"
    assert found["target"]["uid"] == UID
    web = way.target.find(DEPLOYMENTS, "web")
    assert web is not None
    assert web["spec"]["replicas"] == 2
    assert web["metadata"]["labels"][RUN_LABEL] == found["run"]
    assert "annotations" not in web["metadata"]
    assert way.target.collections[LEASES] == []
    assert found["steps"].keys() >= {"apply apps/Deployment", "start tier 1"}
    assert [note for note in found["notes"] if "nothing protects" in note]
    [copy] = (way.state / "drtool/runs").iterdir()
    assert copy.stat().st_mode & 0o777 == 0o600
    text = copy.read_text()
    assert "apply apps/Deployment" in text  # a step's name
    assert "Deployment/web" not in text  # an object's, which is sealed


def test_the_time_that_it_took_has_its_planning_in_it(way: Way) -> None:
    found = way.restore()["restore"]

    begun, ended = (datetime.fromisoformat(found[name]) for name in ("begun", "ended"))
    assert next(iter(found["phases"])) == "planning"
    assert found["phases"]["planning"] > 0
    assert sum(found["phases"].values()) <= (ended - begun).total_seconds()


def test_what_it_says_can_be_read(way: Way) -> None:
    said = way("objects", "--image", "drtool:1", "--confirm-target", UID, text=True)

    assert said.out.startswith("restore: shop is restored in here, namespace shop")
    assert "PHASE" in said.out
    assert "note: this is run" in said.err


def test_a_workload_waits_until_all_objects_are_there(way: Way) -> None:
    seen: list[tuple[str, int]] = []

    def note(item: Json) -> Json:
        if item["kind"] == "Deployment":
            seen.append((item["metadata"]["name"], item["spec"]["replicas"]))
        return well(item)

    way.target.becomes = note
    way.restore()

    assert seen == [("web", 0), ("web", 2)]


def test_a_webhook_of_the_application_that_nobody_answers_comes_back_and_stops_nothing(
    tmp_path: Path,
) -> None:
    rules = [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]

    def plant(api: Api) -> None:
        api.collections[REFUSING] = [
            hooks("gate", "shop", rules=rules),
            hooks("theirs", "other", rules=rules),
        ]

    with shop_lost(tmp_path, plant) as way:
        way.target.refuses = lambda _method, sent: (
            (500, 'Internal error occurred: failed calling webhook "shop.gate": no endpoints')
            if way.target.collections[REFUSING] and "WebhookConfiguration" not in sent.get("kind", "")
            else None
        )
        found = way.restore()["restore"]

        assert found["outcome"] == "restored"
        [gate] = way.target.collections[REFUSING]
        assert (gate["webhooks"][0]["rules"], gate["webhooks"][0]["sideEffects"]) == (rules, "None")
        assert way.target.written[-1] == f"{REFUSING}/gate"
        told = "webhooks of others in the captured cluster do not come back: ValidatingWebhookConfiguration theirs"
        assert told in found["notes"]


def test_webhooks_that_may_not_be_captured_are_named_by_who_restores(tmp_path: Path) -> None:
    with shop_lost(tmp_path, lambda api: api.forbidden.add(REFUSING)) as way:
        notes = way.restore()["restore"]["notes"]

    kind = f"{HOOKS}/ValidatingWebhookConfiguration"
    assert f"not captured, for it may not be read: {kind}" in notes


def test_what_does_not_get_ready_is_taken_back_and_can_be_gone_on_with(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drtool.operations.cluster_restore.start.READY_S", 0.2)
    monkeypatch.setattr("drtool.operations.cluster_restore.start.start_tier.__kwdefaults__", {"limit_s": 0.2})
    pod = item(
        "web-1",
        metadata={"labels": {"app": "web"}},
        status={
            "phase": "Pending",
            "containerStatuses": [
                {
                    "name": "web",
                    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
                }
            ],
        },
    )
    way.target.collections[at("pods")] = [pod]
    way.target.becomes = lambda item: {} if item["kind"] == "Deployment" else well(item)

    said = way.restore(code=75)
    error = said["error"]

    assert "step start tier 1: Deployment web is not ready: pod web-1 does not start" in error["message"]
    assert "no such image" in error["message"]
    assert way.target.collections[at("ingresses", "networking.k8s.io")] == []
    assert "--resume" in error["hint"]
    web = way.target.find(DEPLOYMENTS, "web")
    assert web is not None
    assert web["spec"]["replicas"] == 0
    run = web["metadata"]["labels"][RUN_LABEL]
    assert "cannot be undone" in said["restore"]["failure"]["way_on"]
    refused = way("--abort", run, "--confirm-target", UID, code=5).value["error"]
    assert "has started workloads" in refused["message"]

    way.target.becomes = well
    before = len(way.target.written)
    assert way("--resume", run, "--confirm-target", UID).value["restore"]["outcome"] == "restored"
    assert not [path for path in way.target.written[before:] if "secrets" in path]
    assert "has ended" in way("--resume", run, "--confirm-target", UID, code=5).value["error"]["message"]


def plant_tiers(api: Api) -> None:
    """Have a database behind the web in the captured cluster, and outsiders come to both."""
    pod = {"containers": [{"name": "db", "image": "db:1"}]}
    put(api, DEPLOYMENTS, item("db", spec={"replicas": 1, "template": {"spec": pod}}))
    fields: Json = {"f:spec": {"f:ports": {'k:{"port":80}': {"f:nodePort": {}}}}}
    ports = [{"port": 80, "nodePort": 30081}]
    outer = item("outer", spec={"type": "NodePort", "selector": {"app": "web"}, "ports": ports})
    outer["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": fields}]
    put(api, at("services"), outer, item("db", spec={"type": "LoadBalancer", "selector": {"app": "db"}}))


def types_of_services(way: Way) -> dict[str, str]:
    """Return by name how each Service of the target lets in."""
    found = way.target.collections[at("services")]
    return {each["metadata"]["name"]: each["spec"].get("type", "ClusterIP") for each in found}


def test_outsiders_reach_nothing_of_an_application_that_has_not_started_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drtool.operations.cluster_restore.start.start_tier.__kwdefaults__", {"limit_s": 0.2})

    def becomes(item: Json) -> Json:
        seen.append(types_of_services(way))
        return {} if item["metadata"]["name"] == "web" and item["kind"] == "Deployment" else well(item)

    seen: list[dict[str, str]] = []
    with shop_lost(tmp_path, plant_tiers, recovery={"tiers": [["db"], ["web"]]}) as way:
        way.target.becomes = becomes
        said = way.restore(code=75)
        failure, waiting = said["restore"]["failure"], way.target.find(at("services"), "outer")

        assert waiting is not None
        assert waiting["spec"]["selector"] == {"app": "web"}  # those inside go by it, probes too
        assert {kind for each in (*seen, types_of_services(way)) for kind in each.values()} == {"ClusterIP"}
        assert "Deployment web is not ready" in said["error"]["message"]
        assert "what started before it runs on: Deployment db" in said["error"]["message"]
        assert "Deployment db was started, so it cannot be undone" in failure["way_on"]
        assert way.target.collections[at("ingresses", "networking.k8s.io")] == []

        way.target.becomes = well
        way("--resume", said["restore"]["run"], "--confirm-target", UID)
        opened = way.target.find(at("services"), "outer")

        assert opened is not None
        assert opened["metadata"]["uid"] == waiting["metadata"]["uid"]
        assert opened["spec"]["ports"] == [{"port": 80, "nodePort": 30081}]
        assert types_of_services(way) == {
            "outer": "NodePort",
            "db": "LoadBalancer",
            "web": "ClusterIP",
            "by-hand": "ClusterIP",
        }


def test_a_run_that_failed_before_anything_started_is_undone(way: Way) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": item("settings")["metadata"],
        "data": {"colour": "theirs"},
        "immutable": True,
    }
    way.target.collections[at("configmaps")] = [theirs]
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "uid": "x", "generation": 1},
    }
    namespace["metadata"]["resourceVersion"] = "1"  # type: ignore[index]
    way.target.collections["/api/v1/namespaces"].append(namespace)
    before = way.objects()
    way.target.refuses = lambda method, sent: (
        (422, "no") if method == "PATCH" and sent.get("kind") == "Deployment" else None
    )
    error = way.restore("--if-exists", "replace", code=6)["error"]
    assert "step apply apps/Deployment" in error["message"]
    assert way.objects() != before
    run = error["hint"].partition("--abort ")[2].partition("`")[0]

    undone = way("--abort", run, "--confirm-target", UID).value["restore"]

    assert undone["outcome"] == "aborted"
    assert way.objects() == before
    assert "been undone" in way("--abort", run, "--confirm-target", UID, code=5).value["error"]["message"]


def test_a_run_that_failed_has_a_report_that_says_why_and_how_to_go_on(way: Way, tmp_path: Path) -> None:
    way.target.refuses = lambda method, sent: (
        (422, "no") if method == "PATCH" and sent.get("kind") == "Deployment" else None
    )
    said = way.restore("--report", tmp_path / "failed.html", code=6)
    way.target.refuses = lambda _method, _sent: None

    found, failure = said["restore"], said["restore"]["failure"]
    assert found["outcome"] == "failed"
    assert failure["cause"] == said["error"]["message"]
    assert failure["steps"] == ["apply apps/Deployment"]
    assert 0 < failure["done"] < failure["planned"]
    assert f"--resume {found['run']}, or undo it with --abort {found['run']}" in failure["way_on"]
    text = unescape((tmp_path / "failed.html").read_text(encoding="utf-8"))
    for part in ("shop is not restored: the run failed", *(failure[key] for key in ("cause", "way_on"))):
        assert part in text

    way("--resume", found["run"], "--confirm-target", UID, "--report", tmp_path / "well.html")
    assert "shop is restored" in (tmp_path / "well.html").read_text(encoding="utf-8")


def test_a_run_that_was_not_begun_has_no_report(way: Way, tmp_path: Path) -> None:
    said = way("objects", "--image", "x", "--confirm-target", "another", "--report", tmp_path / "no", code=5)
    assert said.value.keys() == {"schema", "error"}
    assert not (tmp_path / "no").exists()


def test_nothing_is_touched_where_it_is_the_wrong_cluster(way: Way) -> None:
    before = way.objects()
    error = way("objects", "--image", "x", "--confirm-target", "another", code=5).value["error"]
    assert "is not here, whose uid is uid-of-new" in error["message"]
    assert "nobody is here to confirm" in way("objects", "--image", "x", code=5).value["error"]["message"]
    assert way.objects() == before
    assert not way.target.written


def test_a_plan_with_refusals_is_shown_and_nothing_is_touched(way: Way) -> None:
    way.target.collections[at("configmaps")] = [{**item("settings"), "data": {"colour": "theirs"}}]
    found = way.restore(code=5)
    assert found["plan"]["refusals"]
    assert not way.target.written


def test_who_was_asked_while_another_drtool_went_on_with_the_run_stops(way: Way) -> None:
    way.target.refuses = lambda _method, sent: (422, "no") if sent.get("kind") == "Deployment" else None
    run = way.restore(code=6)["restore"]["run"]
    way.target.refuses = lambda _method, _sent: None

    def meanwhile(_challenge: Challenge) -> None:
        way("--resume", run, "--confirm-target", UID)
        way.target.written.clear()

    world = World(lambda: datetime.now(UTC), {"KUBECONFIG": way.kubeconfig}, Silent())
    keys = KeyFiles(recovery=way.drtool.kit)
    request = ClusterRestoreRequest("here", resume=run)
    with (
        closing(open_session(way.drtool.policy, None, keys, world)) as session,
        pytest.raises(Refused, match="by another drtool meanwhile"),
    ):
        run_cluster_restore(session, request, meanwhile, lambda _how: None)
    assert all("/leases/" in path for path in way.target.written)


class Overtaken(Silent):
    """Somebody else takes the Lease as a step begins, which goes on once that is known."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.ending = threading.Event()

    def step(self, name: str, total: int | None = None) -> AbstractContextManager[Progress]:
        if name == "apply apps/Deployment":
            with self.way.target._writing:
                found = self.way.target.find(LEASES, lease.NAME)
                assert found is not None
                found["spec"]["holderIdentity"] = "run other on laptop"
                found["metadata"]["resourceVersion"] = (
                    "theirs"  # or a renewal that is under way takes it back
                )
            assert self.ending.wait(60)
        return super().step(name, total)


def test_who_lost_the_lease_changes_neither_the_cluster_nor_the_journal(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWED_S", 0.2)
    overtaken = Overtaken(way)
    world = World(lambda: datetime.now(UTC), {"KUBECONFIG": way.kubeconfig}, overtaken, overtaken.ending)
    request = ClusterRestoreRequest("here", Wishes(volumes=("objects",), image="drtool:1"))
    with closing(open_session(way.drtool.policy, None, KeyFiles(recovery=way.drtool.kit), world)) as session:
        with pytest.raises(TemporaryFailure, match="held by run other on laptop now"):
            run_cluster_restore(session, request, lambda _challenge: None, lambda _how: None)
        [run] = known_runs(session)
        last = open_journal(session, run.run)[0].entries()[-1]

    assert way.target.find(DEPLOYMENTS, "web") is None
    assert (last.step, last.state) == ("apply apps/Deployment", "begun")


def test_a_run_that_has_not_ended_is_told_to_who_begins_another(way: Way) -> None:
    way.target.refuses = lambda method, sent: (
        (422, "no") if method == "PATCH" and sent.get("kind") == "Deployment" else None
    )
    error = way.restore(code=6)["error"]
    run = error["hint"].partition("--resume ")[2].partition("`")[0]
    way.target.refuses = lambda _method, _sent: None

    said = way("objects", "--image", "drtool:1", "--confirm-target", "another", code=5)

    assert f"note: restore {run}, begun by operator" in said.err
    assert "has not ended" in said.err
    assert f"--abort {run} undoes it" in " ".join(said.err.split())
    planned = way("objects", "--dry-run", "--if-exists", "replace").value["plan"]
    assert [note for note in planned["notes"] if f"restore {run}, begun by operator" in note]
    way("--abort", run, "--confirm-target", UID)
    said = way("objects", "--image", "drtool:1", "--confirm-target", "another", code=5)
    assert "has not ended" not in said.err


def test_a_run_is_gone_on_with_where_it_began_and_by_the_policy_that_it_began_with(
    way: Way, tmp_path: Path
) -> None:
    way.target.refuses = lambda method, sent: (
        (422, "no") if method == "PATCH" and sent.get("kind") == "Deployment" else None
    )
    run = way.restore(code=6)["error"]["hint"].partition("--resume ")[2].partition("`")[0]
    way.target.refuses = lambda _method, _sent: None
    system = way.target.find("/api/v1/namespaces", "kube-system")
    assert system is not None
    system["metadata"]["uid"] = "another"
    for option in ("--resume", "--abort"):
        error = way(option, run, "--confirm-target", "another", code=5).value["error"]
        assert (
            "is not the cluster that this run began in: uid another; then uid uid-of-new" in error["message"]
        )
    system["metadata"]["uid"] = UID
    changed = {**way.drtool.content, "objectives": {"rpo": "15m", "rto": "7h"}}
    (tmp_path / "changed.yaml").write_text(json.dumps(changed))

    found = way("--resume", run, "--confirm-target", UID, "--policy", tmp_path / "changed.yaml").value

    assert found["restore"]["rto_seconds"] == 3600


def test_another_cluster_at_the_same_address_is_told_by_its_ca_where_the_uid_is_hidden(
    tmp_path: Path,
) -> None:
    """Who serves is believed by two CAs, each of which would be that of another cluster."""
    (tmp_path / "other").mkdir()
    ours, other = certificate(tmp_path), certificate(tmp_path / "other")
    theirs = tmp_path / "theirs.pem"
    theirs.write_text(ours.read_text() + other.read_text())
    with shop_lost(tmp_path, tls=ours) as way:
        way.target.forbidden.add("/api/v1/namespaces/kube-system")

        def meet(authority: Path) -> str:
            """Have the kubeconfig name a CA; return what the cluster is then confirmed by."""
            write_kubeconfig(Path(way.kubeconfig).parent, way.target.url, authority=authority)
            hint = way("objects", "--image", "drtool:1", code=5).value["error"]["hint"]
            return str(hint.partition("--confirm-target ")[2].rstrip("."))

        before, known_theirs, known_ours = way.objects(), meet(theirs), meet(ours)
        assert known_ours.startswith("sha256:")
        assert known_ours.endswith(f"@{way.target.url}")
        error = way("objects", "--image", "drtool:1", "--confirm-target", known_theirs, code=5).value["error"]
        assert "whose CA and address is sha256:" in error["message"]
        assert way.objects() == before

        way.target.refuses = lambda _method, sent: (422, "no") if sent.get("kind") == "Deployment" else None
        said = way("objects", "--image", "drtool:1", "--confirm-target", known_ours, code=6).value
        run = said["restore"]["run"]
        meet(theirs)
        error = way("--abort", run, "--confirm-target", known_theirs, code=5).value["error"]
        assert "is not the cluster that this run began in" in error["message"]
        assert error["hint"].endswith(f"give --confirm-target {known_ours},{known_theirs}.")
        assert way("--resume", run, "--confirm-target", known_ours, code=5).value["error"] == error
        assert way("--abort", run, code=5).value["error"] == error
        way("--abort", run, "--confirm-target", f"{known_ours},{known_theirs}")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_run_is_gone_on_with_where_only_one_of_two_kubeconfigs_names_a_ca(tmp_path: Path) -> None:
    """As that of a version before, whose journal tells of no CA."""
    ours = certificate(tmp_path)
    with shop_lost(tmp_path, tls=ours) as way:
        way.target.forbidden.add("/api/v1/namespaces/kube-system")
        way.target.refuses = lambda _method, sent: (422, "no") if sent.get("kind") == "Deployment" else None
        there, config = way.target.url, Path(way.kubeconfig)
        believing = write_kubeconfig(config.parent, there, authority=ours).read_text()
        config.write_text(
            believing.replace(f'"certificate-authority": "{ours}"', '"insecure-skip-tls-verify": true')
        )
        run = way("objects", "--image", "drtool:1", "--confirm-target", there, code=6).value["restore"]["run"]
        config.write_text(believing)

        error = way("--abort", run, "--confirm-target", there, code=5).value["error"]

        assert "whose CA and address is sha256:" in error["message"]
        way("--abort", run, "--confirm-target", error["message"].rpartition(" is ")[2])


def test_a_run_that_nobody_began_is_not_gone_on_with(way: Way) -> None:
    error = way("--resume", "20261129t131500-ab12cd", "--confirm-target", UID, code=2).value["error"]
    assert "has no journal of a run" in error["message"]
    error = way("objects", "--resume", "x", code=2).value["error"]
    assert "VOLUME was decided when run x began" in error["message"]
    error = way("--resume", "x", "--abort", "y", code=2).value["error"]
    assert "contradict" in error["message"]


def test_who_works_in_the_namespace_is_left_alone(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LASTS_S", 8)
    monkeypatch.setattr(lease, "RENEWED_S", 0.5)
    held = {"metadata": {"name": lease.NAME, "resourceVersion": "1", "uid": "x", "generation": 1}}
    held["spec"] = {"holderIdentity": "run other on laptop"}
    way.target.collections[LEASES] = [held]

    found = way.restore()["restore"]  # nobody renews it, so it is free

    assert found["outcome"] == "restored"


def test_a_plan_that_is_only_looked_at_is_that_of_plan(way: Way) -> None:
    found = way("objects", "--dry-run").value
    assert found["plan"]["plan"]["phases"]
    assert not way.target.written


def test_who_is_asked_has_to_type_what_nobody_types_by_habit() -> None:
    target = TargetCluster("here", "https://here:6443", "v1.34.4", "0123456789abcdef")
    challenge = Challenge("shop", target, "shop", 12, 1)
    confirm(challenge, None, lambda _question: "shop 01234567")
    for said in ("yes", "", "shop"):
        with pytest.raises(Refused, match="not what was asked for"):
            confirm(challenge, None, lambda _question, said=said: said)  # type: ignore[misc]
