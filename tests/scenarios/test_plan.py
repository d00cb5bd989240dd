"""The way back into a cluster, planned from the command line: out of one API server of the tests, into another."""

import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drtool.operations import plan as operation
from drtool.operations.points import take_inventory
from drtool.operations.session import KeyFiles, Silent, Where, World, open_session
from drtool.recovery.plan import from_json, to_json
from drtool.recovery.wishes import Wishes
from drtool.repository.config import CLOCK_GRAIN, Signer
from drtool.repository.format.crypto import SigningKey
from drtool.repository.heads import put_head
from drtool.repository.kit import parse_seed
from drtool.repository.records import Keys, Records
from drtool.repository.repository import put_config
from drtool.repository.snapshot import Void, put_void
from drtool.repository.storage.s3 import S3Store
from drtool.repository.storage.settings import S3Settings
from tests.conftest import S3Server
from tests.contracts.object_store import put as store_bytes
from tests.scenarios.commands import Commands, Said, s3_keys
from tests.scenarios.conftest import System
from tests.scenarios.shop_kept import CLAIMS, SECRET, captured, shop_kept
from tests.scenarios.targets import CLASSES, empty, put, run_plan, serve, storage_class
from tests.sources.files.trees import clock
from tests.sources.kubernetes.api import Api
from tests.sources.kubernetes.shop import RBAC, REVIEWS, at, item

OTHER = b64encode(b"another content").decode()


@dataclass(frozen=True)
class Stage:
    """A system that was captured, the cluster that it shall come back into, and what says how."""

    target: Api
    drtool: Commands
    kubeconfig: str

    @property
    def where(self) -> Where:
        """Where the repository is, as its kit says."""
        repository = self.drtool.content["repository"]
        return Where(repository["url"], repository.get("endpoint"))

    def world(self, now: Callable[[], datetime] = clock) -> World:
        return World(now, {**self.drtool.environment, "KUBECONFIG": self.kubeconfig}, Silent())

    def __call__(self, *arguments: object, text: bool = False, code: int = 0) -> Said:
        """Run plan with the kit alone: no policy, and nothing of the captured cluster."""
        where = ["--repository", self.where.url]
        where += ["--endpoint", self.where.endpoint] if self.where.endpoint else []
        environment = {
            **self.drtool.environment,
            "KUBECONFIG": self.kubeconfig,
            "DRTOOL_RECOVERY_KEY_FILE": str(self.drtool.kit),
        }
        form = [] if text else ["--json"]
        said = run_plan(environment, *where, *arguments, *form, code=code)
        assert not [each for each in (SECRET, OTHER, "telling") if each in said.out + said.err]
        return said

    def plan(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        value: dict[str, Any] = self(*arguments, code=code).value["plan"]
        return value

    def reasons(self, *arguments: object) -> list[str]:
        found = self.plan(*arguments, code=5)
        assert found["plan"] is None
        return [f"{each['about']} {each['message']}" for each in found["refusals"]]


@pytest.fixture
def s3(s3_server: S3Server) -> S3Settings:
    return s3_server.at(s3_server.plain)


@pytest.fixture
def stage(tmp_path: Path, s3: S3Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3_keys(s3).values(), strict=True):
        monkeypatch.setenv(name, value)
    drtool = shop_kept(tmp_path, "song.ogg", s3=s3)
    with empty() as target:
        (tmp_path / "new").mkdir()
        yield Stage(target, drtool, str(target.kubeconfig(tmp_path / "new")))


def test_from_the_kit_and_the_store_alone_everything_is_planned(stage: Stage) -> None:
    found = stage.plan()

    assert found["target"] == {
        "context": "here",
        "where": stage.target.url,
        "version": "v1.34.4",
        "uid": "uid-of-new",
        "authority": "",
    }
    assert [step["id"] for phase in found["plan"]["phases"] for step in phase["steps"]] == [
        *("apply apiextensions.k8s.io/CustomResourceDefinition", "apply core/Namespace"),
        *(f"apply {RBAC}/ClusterRole", f"apply {RBAC}/Role", "apply core/ServiceAccount"),
        *("apply core/ConfigMap", "apply core/Secret"),
        *(f"apply {RBAC}/ClusterRoleBinding", f"apply {RBAC}/RoleBinding"),
        *("apply core/Service", "apply core/Endpoints", "apply apps/Deployment", "apply example.com/Widget"),
        *("apply core/PersistentVolumeClaim", "restore media", "prove media"),
        *("start tier 1", "apply networking.k8s.io/Ingress"),
        *("enrol writer", "protect again", "first backup"),
    ]
    assert found["left_out"] == {"its claim gets a new volume": 1}
    assert [each["volume"] for each in found["volumes"]] == ["media", "objects"]
    assert [(each["object"], each["action"]) for each in found["changes"] if each["state"] != "new"] == [
        *(
            ("networking.k8s.io/IngressClass/traefik", "nothing"),
            ("storage.k8s.io/StorageClass/fast", "nothing"),
        ),
    ]


def test_nothing_is_written_but_questions_about_rights_and_dry_runs(stage: Stage) -> None:
    stage("--if-exists", "replace")

    asked = [each for each in stage.target.asked if "dryRun=All" not in each]
    assert {each.split()[0] for each in asked} == {"GET", "POST"}
    assert {each["kind"] for each in stage.target.created} == {"SelfSubjectAccessReview"}


def test_the_plan_is_the_same_plan_when_it_is_read_again(stage: Stage) -> None:
    session = open_session(None, stage.where, KeyFiles(recovery=stage.drtool.kit), stage.world())
    first, second = (operation.run_plan(session, "here", Wishes()).plan for _ in range(2))

    assert first is not None
    assert second is not None
    assert first.phases == second.phases
    assert from_json(to_json(first)) == first


def test_what_is_lost_is_told_by_the_clock_of_the_store(stage: Stage) -> None:
    ahead = timedelta(hours=5)
    world = stage.world(lambda: clock() + ahead)
    with closing(open_session(None, stage.where, KeyFiles(recovery=stage.drtool.kit), world)) as session:
        plan = operation.run_plan(session, "here", Wishes()).plan

    assert plan is not None
    assert max(each.loss for each in plan.volumes) < ahead
    assert plan.made < clock() + ahead


def test_a_person_sees_the_verdict_the_loss_and_what_differs(stage: Stage) -> None:
    put(stage.target, at("configmaps"), item("settings", data={"a": "2"}))
    put(stage.target, at("secrets"), item("password", type="Opaque", data={"password": OTHER}))
    lines = stage("--if-exists", "replace", text=True).out.splitlines()

    assert lines[0].startswith("plan: shop would come back into here, namespace shop: 21 steps, ")
    assert "with the same options executes this plan" in lines[1]
    place = lines.index("core/ConfigMap/settings: update")
    assert lines[place + 1 : place + 5] == [
        "  @@ -2,3 +2,3 @@",
        "   data:",
        '  -  a: "2"',
        '  +  a: "1"',
    ]
    assert any("(hidden, differs)" in line for line in lines)


def test_what_speaks_against_it_is_said_at_once_and_ends_with_5(stage: Stage) -> None:
    put(stage.target, at("configmaps"), item("settings", data={"a": "2"}))
    put(stage.target, CLASSES, storage_class("fast", "kubernetes.io/no-provisioner"))
    put(stage.target, CLAIMS, item("other", spec={}))
    stage.target.answers[REVIEWS] = {"status": {"allowed": False}}
    stage.target.forbidden |= {
        "/api/v1/services",
        "/api/v1/namespaces/kube-system",
        "/api/v1/namespaces/shop",
    }
    groups = stage.target.answers["/apis"]["groups"]
    groups[:] = [each for each in groups if each["name"] != "example.com"]
    reasons = stage.reasons()

    assert reasons[:2] == [
        "ConfigMap settings is there already, and differs",
        "storage class fast is not there, which media asks for",
    ]
    rights = "create, get, patch, update, delete"
    assert f"here does not let you {rights} and list secrets in namespace shop" in reasons
    assert f"here does not let you {rights}, escalate and bind clusterroles.{RBAC}" in reasons
    assert "here does not let you list services in all namespaces" in reasons
    assert "here does not let you get namespaces" in reasons
    assert not [each for each in reasons if "widget" in each.lower()]  # the point brings its definition along
    lines = stage(text=True, code=5).out.splitlines()
    assert lines[3].endswith("uid not to be seen, no CA is named")
    assert lines[0].endswith(f"{len(reasons)} reasons speak against it")
    assert "hint: Map it to one that is: --storage-class fast=NEW, where NEW is mine." in lines, "\n".join(
        lines
    )


def test_the_rights_that_executing_and_undoing_take_are_asked_for_too(stage: Stage) -> None:
    def allowed(review: dict[str, Any]) -> dict[str, Any]:
        asked = review["spec"]["resourceAttributes"]
        held = asked["verb"] in ("create", "patch") and asked["resource"] != "pods/exec"
        return {"status": {"allowed": held}}

    stage.target.answers[REVIEWS] = allowed

    assert stage.reasons() == [
        f"here does not let you {each}"
        for each in (
            "get, update, delete and list configmaps in namespace shop",
            "get, update and delete endpoints in namespace shop",
            "get, update and delete namespaces",
            "get, update, delete and list persistentvolumeclaims in namespace shop",
            "get, update, delete and list secrets in namespace shop",
            "get, update and delete services in namespace shop",
            "get, update and delete serviceaccounts in namespace shop",
            "get, update and delete customresourcedefinitions.apiextensions.k8s.io",
            "get, update and delete deployments.apps in namespace shop",
            "get, update and delete widgets.example.com in namespace shop",
            "get, update and delete ingresses.networking.k8s.io in namespace shop",
            "get, update and delete ingressclasses.networking.k8s.io",
            f"get, update, delete, escalate and bind clusterroles.{RBAC}",
            f"get, update and delete clusterrolebindings.{RBAC}",
            f"get, update, delete, escalate and bind roles.{RBAC} in namespace shop",
            f"get, update and delete rolebindings.{RBAC} in namespace shop",
            "get, update and delete storageclasses.storage.k8s.io",
            "get, list and delete jobs.batch in namespace shop",
            "get, list and delete pods in namespace shop",
            "get pods/log in namespace shop",
            "create pods/exec in namespace shop",
            "list events in namespace shop",
            "get, list and delete networkpolicies.networking.k8s.io in namespace shop",
            "get, update and delete leases.coordination.k8s.io in namespace shop",
            "list persistentvolumes",
        )
    ]


def test_how_long_it_takes_is_known_once_a_restore_was_measured(stage: Stage, tmp_path: Path) -> None:
    assert "time     not known: no restore of media was measured yet" in stage(text=True).out
    assert stage.plan()["plan"]["predicted_seconds"] is None

    stage.drtool.restore("media", tmp_path / "first")
    found = stage.plan()["plan"]

    assert found["predicted_seconds"] > 0
    assert found["unmeasured"] == []
    assert " for the data, as earlier restores took" in stage(text=True).out
    assert "disk     1.0 GiB of class fast" in stage(text=True).out


def test_a_webhook_that_nobody_answers_is_a_reason_against_it(stage: Stage) -> None:
    rules = [{"operations": ["*"], "apiGroups": ["*"], "resources": ["*/*"]}]
    hooks = [
        {
            "name": f"{name}.x",
            "rules": rules,
            "clientConfig": {"service": {"namespace": "other", "name": name}},
        }
        for name in ("dead", "away", "well")
    ]
    configuration = item("gate", webhooks=hooks)
    group = "admissionregistration.k8s.io"
    kind = "ValidatingWebhookConfiguration"
    hidden = serve(stage.target, group, kind, "validatingwebhookconfigurations", configuration)
    slices = serve(
        stage.target,
        "discovery.k8s.io",
        "EndpointSlice",
        "endpointslices",
        *(
            item(name, endpoints=[{"conditions": ready}], metadata={"namespace": "other", "labels": labels})
            for name, ready in (("well", {}), ("away", {"ready": False}))
            for labels in [{"kubernetes.io/service-name": name}]
        ),
        namespaced=True,
    )
    stage.target.collections["/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"] = []

    assert [each.partition(" is asked")[0] for each in stage.reasons()] == [
        "webhook dead.x",
        "webhook away.x",
    ]
    for path in (slices, hidden):  # who may not look goes without
        stage.target.forbidden |= {path}
        assert stage().code == 0


def test_a_class_that_has_not_the_room_is_a_reason_against_it(stage: Stage) -> None:
    room = item("here", storageClassName="fast", capacity="1Mi")
    serve(stage.target, "storage.k8s.io", "CSIStorageCapacity", "csistoragecapacities", room, namespaced=True)

    assert stage.reasons() == ["storage class fast has 1 MiB left, and the claims ask for 1 GiB"]


def test_mappings_make_a_plan_of_a_refusal(stage: Stage) -> None:
    put(stage.target, CLASSES, storage_class("fast", "kubernetes.io/no-provisioner"))

    assert stage.reasons() == ["storage class fast is not there, which media asks for"]
    found = stage.plan(
        "--storage-class", "fast=mine", "--image-registry", "docker.io=mirror", "--host", "a.b=c.d"
    )
    assert found["plan"]["wishes"]["classes"] == {"fast": "mine"}


def test_another_namespace_is_a_new_one(stage: Stage) -> None:
    for path in [path for path in stage.target.collections if "/namespaces/shop/" in path]:
        stage.target.collections[path.replace("/shop/", "/shop-dr/")] = []
    found = stage.plan("--namespace", "shop-dr")

    assert found["namespace"] == "shop-dr"
    assert "core/Namespace/shop-dr" in {each["object"] for each in found["changes"]}


def test_data_is_never_planned_below_a_running_workload(stage: Stage) -> None:
    volume = {"name": "x", "persistentVolumeClaim": {"claimName": "media"}}
    running = item("web-1", spec={"volumes": [volume, {"name": "y"}]}, status={"phase": "Running"})
    ended = item("old-1", spec={"volumes": [volume]}, status={"phase": "Succeeded"})
    put(stage.target, at("pods"), running, ended)

    assert stage.reasons() == ["claim media is in use by web-1"]


def test_a_kind_that_only_an_older_version_has_is_asked_for_in_it(stage: Stage) -> None:
    groups = stage.target.answers["/apis"]["groups"]
    [apps] = [each for each in groups if each["name"] == "apps"]
    apps.update(preferredVersion={"version": "v2"}, versions=[{"version": "v2"}, {"version": "v1"}])
    stage.target.answers["/apis/apps/v2"] = json.loads(json.dumps(stage.target.answers["/apis/apps/v1"]))
    stage.plan()

    assert any(
        each.startswith("GET /apis/apps/v1/namespaces/shop/deployments") for each in stage.target.asked
    )


def test_one_volume_can_be_planned_alone_where_its_claim_is_and_another_is_wrong_usage(stage: Stage) -> None:
    assert stage.reasons("media") == [
        "volume media lies in claim media, which is not there, and no objects come back with it"
    ]
    put(stage.target, CLAIMS, item("media", spec={"resources": {"requests": {"storage": "1Ki"}}}))
    assert stage.reasons("media") == ["claim media has 1 KiB, and volume media needs 2.00 KiB"]
    put(stage.target, CLAIMS, item("media", spec={"resources": {"requests": {"storage": "1Mi"}}}))
    found = stage.plan("media")

    assert found["notes"] == [
        "volume media: it goes into claim media as that stands, which has to be empty; nothing is made yet that uses it"
    ]
    assert [step["id"] for phase in found["plan"]["phases"] for step in phase["steps"]] == [
        "restore media",
        "prove media",
    ]
    assert "has no volume meida" in stage("meida", code=2).error["message"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--storage-class", "fast"], "does not say what becomes what"),
        (["--host", "=new"], "does not say what becomes what"),
        (["--host", "a=b", "--host", "a=c"], "does not say what becomes what"),
        (["--namespace", "Shop DR"], "is no name of a namespace"),
        (["--aligned", "--at", "1h ago"], "one moment for all volumes already"),
    ],
)
def test_wrong_usage_is_said(stage: Stage, arguments: list[str], why: str) -> None:
    assert why in stage(*arguments, code=2).error["message"]


def test_a_moment_before_all_points_is_refused_by_the_name_of_each_volume(stage: Stage) -> None:
    assert [each.partition(" cannot")[0] for each in stage.reasons("--at", "2020-01-01T00:00:00Z")] == [
        *("volume media", "volume objects"),
    ]
    assert stage("--aligned").code == 0


def test_a_repository_without_a_run_tells_no_policy(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "unused").mkdir()
    content = {**stage.drtool.content, "repository": {"url": f"file://{tmp_path}/unused"}}
    unused = Commands(tmp_path / "second", content, {}).written()
    unused.init()

    said = replace(stage, drtool=unused)(code=2)
    assert "no run in the repository tells one" in said.error["message"]


def test_a_context_that_is_not_there_is_wrong_usage(stage: Stage) -> None:
    assert "no cluster is configured" in stage("--to-cluster", "elsewhere", code=2).error["message"]


def test_a_newer_point_that_cannot_be_read_is_no_reason_to_take_the_older_one_silently(
    stage: Stage, s3: S3Settings, tmp_path: Path
) -> None:
    with captured() as api:
        environment = {**stage.drtool.environment, "KUBECONFIG": str(api.kubeconfig(tmp_path))}
        replace(stage.drtool, environment=environment)("backup", "objects")
    with closing(S3Store(s3)) as store:
        older, newest = sorted(each.name for each in store.list("snap/objects/"))
        store_bytes(store, newest, store.get(newest)[:-1])

    [reason] = stage.reasons()
    assert f"{newest}, newer than {older}, which cannot be read" in reason
    taken = {each["volume"]: each["point"] for each in stage.plan("--accept-loss")["volumes"]}
    assert taken["objects"] == older


def test_a_point_that_its_writer_called_incomplete_is_taken_where_that_is_accepted(stage: Stage) -> None:
    writer = KeyFiles(bundle=stage.drtool.bundle)
    with closing(open_session(stage.drtool.policy, None, writer, stage.world())) as session:
        [point] = take_inventory(session, "media").snapshots.values()
        put_void(session.repository.records, Void(point.name, "media", point.run, "torn"), point.end)

    assert stage.reasons() == ["volume media has no point that may be chosen"]
    assert stage.plan("--accept-void")["plan"]["wishes"]["accept_void"] is True


def test_a_volume_that_came_into_the_policy_and_was_never_backed_up_has_no_point_and_hides_no_other(
    stage: Stage,
) -> None:
    """The repository does not know it yet; the policy is what the newest run of the others tells."""
    extra = {"name": "extra", "source": "files", "claim": "extra"}
    content = {**stage.drtool.content, "volumes": [*stage.drtool.content["volumes"], extra]}
    replace(stage.drtool, content=content).written()("backup", "media")
    assert stage.reasons() == ["volume extra has no point that may be chosen"]


def test_as_of_a_head_neither_points_nor_the_policy_of_an_intruder_are_there(
    stage: Stage, tmp_path: Path
) -> None:
    writer = KeyFiles(bundle=stage.drtool.bundle)
    with closing(open_session(stage.drtool.policy, None, writer, stage.world())) as session:
        repository, seed = session.repository, bytes(32)
        signer = Signer("m", "maintainer", SigningKey(seed).public.hex(), repository.config.made)
        signers = [*repository.config.signers, signer]
        sheet = stage.drtool.kit.with_name(f"{stage.drtool.kit.name}.admin").read_text()
        now = repository.store.now()
        config = repository.config.next(now, repository.config_sha256, signers=signers)
        put_config(repository.store, config, parse_seed(sheet, "ADMIN"))
        known = [name for each in ("media", "objects") for name in take_inventory(session, each).snapshots]
        keys = Keys(repository.records.keys.list_keys, (), SigningKey(seed), "maintainer")
        head = put_head(Records(repository.store, config, keys), now, {"live": known, "wal": {}, "marks": {}})
        while repository.store.now() <= now + CLOCK_GRAIN:  # a bucket dates by whole seconds
            threading.Event().wait(0.1)
    content = {**stage.drtool.content, "recovery": {"deploy": {"command": ["evil"]}}}
    with captured() as api:
        theirs = {**stage.drtool.environment, "KUBECONFIG": str(api.kubeconfig(tmp_path))}
        replace(stage.drtool, content=content, environment=theirs).written()("backup")

    assert stage.reasons() == [
        "recovery.deploy runs a command: what that starts would run before its data is there, and make its own"
    ]
    found = stage.plan("--as-of", head)
    assert {each["point"] for each in found["volumes"]} == set(known)
    assert "there is no head" in stage("--as-of", "x", code=2).error["message"]


def test_a_policy_that_is_given_is_heeded_and_claims_of_files_are_looked_at(
    stage: Stage, tmp_path: Path
) -> None:
    media = {"name": "media", "source": "files", "claim": "media"}
    content = {**stage.drtool.content, "volumes": [media, stage.drtool.content["volumes"][1]]}
    policy = tmp_path / "given.yaml"
    policy.write_text(json.dumps(content))
    volume = {"name": "x", "persistentVolumeClaim": {"claimName": "media"}}
    put(stage.target, at("pods"), item("web-1", spec={"volumes": [volume]}))
    put(stage.target, CLAIMS, item("media", spec={"resources": {"requests": {"storage": "1Mi"}}}))

    assert stage.reasons("media", "--policy", policy) == ["claim media is in use by web-1"]
    content = {key: value for key, value in content.items() if key != "kubernetes"}
    content["volumes"] = [{**media, "claim": None, "path": "/srv"}]
    policy.write_text(json.dumps(content))
    assert "to which namespace" in stage("--policy", policy, code=2).error["message"]


def plan_of(
    drtool: Commands, *arguments: object, code: int = 0, verb: tuple[str, ...] = ("plan",)
) -> dict[str, Any]:
    """Return what is planned with a policy and the kit."""
    keys = {"DRTOOL_POLICY": str(drtool.policy), "DRTOOL_RECOVERY_KEY_FILE": str(drtool.kit)}
    said = run_plan({**drtool.environment, **keys}, *arguments, "--json", code=code, verb=verb)
    drtool.said.append(said.out + said.err)
    found: dict[str, Any] = said.value.get("plan", said.value)
    return found


def server(name: str, claim: str, image: str) -> list[Any]:
    """Return a Deployment at 0 replicas that keeps all it has in a claim, and the Service before it."""
    mounts = [{"name": "data", "mountPath": "/"}]
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    pod = {"containers": [{"name": name, "image": image, "volumeMounts": mounts}], "volumes": volumes}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    return [
        item(name, spec={"replicas": 0, "template": template}),
        item(name, spec={"selector": {"app": name}}),
    ]


@contextmanager
def servers_at_rest(system: System, folder: Path) -> Iterator[tuple[Api, Commands]]:
    """Give a cluster where both servers wait at 0 replicas, with their claims, and what has the policy for it."""
    within = system.drtool.but("repository")
    with empty() as target:
        db, redis = server("db", "data-db", "postgres:18"), server("redis", "data-redis", "redis:6")
        put(target, at("deployments", "apps"), db[0], redis[0])
        put(target, at("services"), db[1], redis[1], item("none", spec={}))
        requests = {"resources": {"requests": {"storage": "1Gi"}}}
        put(target, CLAIMS, item("data-db", spec=requests), item("data-redis", spec=requests))
        drtool = replace(
            within,
            content={**within.content, "kubernetes": {"namespace": "shop"}},
            environment={**within.environment, "KUBECONFIG": str(target.kubeconfig(folder))},
        ).written()
        yield target, drtool.but("postgres", host="db.shop.svc", port=1).but("redis", host="redis")


def test_postgresql_comes_back_to_the_very_moment_and_redis_to_its_point_before(
    system: System, tmp_path: Path
) -> None:
    with servers_at_rest(system, tmp_path) as (_, drtool):
        newest = plan_of(drtool, "--enrol", "later")
        earlier = plan_of(drtool, "--at", system.when_filled.isoformat())
        behind = plan_of(drtool, "--as-of", "x", code=2)
        enrolled = plan_of(drtool, verb=("restore", "--dry-run"))

    assert [each["volume"] for each in newest["volumes"]] == ["postgres", "redis"]
    assert newest["volumes"][0]["target"] is None
    assert newest["volumes"][0]["version"] == 18
    assert [note.partition(";")[2] for note in newest["notes"]] == [
        *(" start Deployment db once it is back", " start Deployment redis once it is back"),
    ]
    assert "the first backup ends this run as long as postgres, redis cannot" in enrolled["notes"][-1]
    assert "not the WAL that came after the head" in behind["error"]["message"]
    postgres, redis = earlier["volumes"]
    assert (postgres["moment"], postgres["loss_seconds"]) == (postgres["target"], 0.0)
    assert datetime.fromisoformat(postgres["moment"]) == system.when_filled
    assert datetime.fromisoformat(redis["moment"]) <= system.when_filled
    assert earlier["skew_seconds"] == pytest.approx(redis["loss_seconds"])


def test_servers_alone_are_refused_where_they_run_are_backed_up_are_watched_or_are_not(
    system: System, tmp_path: Path
) -> None:
    volume = {"name": "x", "persistentVolumeClaim": {"claimName": "data-db"}}
    labels = {"app": "db", "role": "x"}
    with servers_at_rest(system, tmp_path) as (target, drtool):
        put(target, at("pods"), item("db-0", spec={"volumes": [volume]}, metadata={"labels": labels}))
        busy = plan_of(drtool, code=5)
        target.collections[at("pods")] = []
        put(target, at("deployments", "apps"), item("drtool-wal-follow-postgres", spec={}))
        followed = plan_of(drtool, code=5)
        serve(target, "batch", "CronJob", "cronjobs", namespaced=True)
        suspended = item("drtool-backup-postgres", spec={"suspend": True})
        target.collections[at("cronjobs", "batch")] = [suspended]
        target.collections[at("deployments", "apps")][-1]["spec"] = {"replicas": 0}
        at_rest = plan_of(drtool)
        sentinel = drtool.but("redis", host=None, sentinel={"service": "s", "master": "m"})
        watched = plan_of(sentinel, "redis", code=5)
        target.collections[at("deployments", "apps")] = []
        nowhere = plan_of(drtool, code=5)

    [refusal] = busy["refusals"]
    assert (refusal["about"], refusal["message"]) == ("claim data-db", "is in use by db-0")
    [refusal] = followed["refusals"]
    assert refusal["about"] == "Deployment drtool-wal-follow-postgres"
    assert "the life of volume postgres" in refusal["message"]
    assert re.search(
        r"`kubectl --context=\S+ --namespace=shop delete deployment drtool-wal-follow-postgres`",
        refusal["hint"],
    )
    names = ("Deployment drtool-wal-follow-postgres", "CronJob drtool-backup-postgres")
    assert [note.partition(" is at rest")[0] for note in at_rest["notes"] if "is at rest" in note] == [*names]
    assert "is found by Sentinels" in watched["refusals"][0]["message"]
    assert [each["message"].partition(",")[0] for each in nowhere["refusals"]] == [
        *("is reached as db.shop.svc", "is reached as redis"),
    ]
