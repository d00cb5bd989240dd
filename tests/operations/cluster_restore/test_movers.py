"""Movers begun, followed, gone on with and cleared away: a real repository in a bucket, an API server of the tests."""

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drtool.deploy.mover import mover_labels, mover_name
from drtool.deploy.pods import DRTOOL_USER
from drtool.errors import NotProven, Refused, StoreOutage, TemporaryFailure
from drtool.operations.cluster_restore import mover_watch, movers
from drtool.operations.cluster_restore.mover_end import clear_mover, prove_volume, settle_claim
from drtool.operations.cluster_restore.movers import restore_volume
from drtool.operations.cluster_restore.seeding import port_of, seeding_mover
from drtool.operations.session import KeyFiles, World, open_session
from drtool.policy.secret import KubernetesReference
from drtool.policy.volumes import FilesVolume, PostgresVolume, RedisVolume, Volume
from drtool.recovery.in_place import Switch
from drtool.recovery.places import Place
from drtool.recovery.points import VolumePoint
from drtool.recovery.steps import Step, label
from drtool.recovery.wishes import Wishes
from drtool.repository.storage.urls import parse_urls
from tests.conftest import S3Server
from tests.operations.cluster_restore.runs import RUN, Run, at, run
from tests.recovery.stage import FACTS, changes_of
from tests.scenarios.commands import s3_repository
from tests.scenarios.files import Files, make_files
from tests.sources.files.trees import look
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import well

NAME = mover_name(RUN, "media")
RESULT = {"proofs": [{"name": "files", "ok": True}]}
JOBS = [f"Job {NAME}-end", f"Job {NAME}"]
KINDS = ("Job", "Secret", "NetworkPolicy", "Pod")
DONE = {"conditions": [{"type": "Complete", "status": "True"}]}
FAILED = {"conditions": [{"type": "Failed", "status": "True"}]}


@dataclass(frozen=True)
class Moved:
    """A run that has one volume to bring back, and the files that were backed up."""

    run: Run
    files: Files
    step: Step

    def restore(self, volume: Volume | None = None, objects: tuple[Json, ...] = ()) -> Json:
        replay = self.run.replay
        if volume is not None:
            replay = replace(replay, policy=replay.policy.model_copy(update={"volumes": (volume,)}))
        prepared = changes_of(objects, Wishes(), FACTS, ())[0].objects
        replay = replace(replay, objects={label(each.ref): each for each in prepared})
        return restore_volume(replay, self.step, "drtool:1")

    def job(self, status: Json) -> None:
        """Have a Job of this run there already."""
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": NAME, "labels": labels()}}
        self.run.api.collections[at("Job")] = [{**body, "status": status}]

    def pod(self, phase: str, log: str = "", **ended: Any) -> None:
        """Have a pod of the Job there, with its log."""
        statuses = [{"name": "drtool", "state": {"terminated": ended}}] if ended else []
        metadata = {"name": "it", "labels": labels(), "creationTimestamp": "2026"}
        found = {
            "kind": "Pod",
            "metadata": metadata,
            "status": {"phase": phase, "containerStatuses": statuses},
        }
        self.run.api.collections[at("Pod")] = [found]
        self.run.api.answers[f"{at('Pod')}/it/log"] = {"raw": log}

    def ends_well(self) -> None:
        self.pod("Succeeded", f"writing\n{json.dumps({'restore': RESULT})}\n")

    def left(self) -> list[str]:
        """Return what is left of the mover's objects; a pod of a Job goes with it, which no server of tests does."""
        found = [each["metadata"]["name"] for kind in KINDS for each in self.run.api.collections[at(kind)]]
        return [name for name in found if name.startswith(NAME)]


def labels() -> dict[str, str]:
    return mover_labels(RUN, "media")


@pytest.fixture
def moved(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Moved]:
    monkeypatch.setattr(mover_watch, "_PAUSE_S", 0.01)
    s3 = s3_server.at(s3_server.versioned)
    assert s3.credentials
    keys = s3.credentials()
    secrets = {"SCENE_ACCESS_KEY": keys.access_key, "SCENE_SECRET_KEY": keys.secret_key}
    files = make_files(tmp_path, s3_repository(s3), **secrets)
    files.backup()
    [snapshot] = files.points()
    point = VolumePoint(
        "media", "files", snapshot.name, snapshot.end, None, timedelta(), timedelta(), snapshot.size
    )
    with run(tmp_path, ()) as made:
        world = World(lambda: datetime.now(UTC), secrets, made.told)
        session = open_session(files.drtool.policy, None, KeyFiles(recovery=files.drtool.kit), world)
        assert session.policy is not None
        volume = FilesVolume(name="media", source="files", claim="uploads")
        policy = session.policy.model_copy(update={"volumes": (volume,)})
        plan = replace(made.replay.plan, volumes=(point,), wishes=Wishes())
        replay = replace(made.replay, session=session, policy=policy, plan=plan)
        step = Step("restore media", "restore", "media", point=snapshot.name)
        yield Moved(replace(made, replay=replay), files, step)
        session.close()


def test_a_volume_comes_back_with_what_its_secrets_open_and_what_is_left_can_be_cleared_away(
    moved: Moved,
) -> None:
    seen: dict[str, Json] = {}

    def becomes(item: Json) -> Json:
        seen[f"{item['kind']} {item['metadata']['name']}"] = item
        if item["kind"] == "Job":
            moved.ends_well()
        return well(item)

    moved.run.api.becomes = becomes

    assert moved.restore() == RESULT
    assert list(seen) == [f"NetworkPolicy {NAME}", f"Secret {NAME}-grant-0", f"Secret {NAME}", *JOBS]
    end = seen.pop(f"Job {NAME}-end")
    assert end["spec"]["suspend"]
    assert all(each["metadata"]["labels"] == labels() for each in seen.values())
    claim = seen[f"Job {NAME}"]["spec"]["template"]["spec"]["volumes"][0]
    assert claim["persistentVolumeClaim"] == {"claimName": "uploads"}
    clear_mover(moved.run.replay, "media")  # once its result is durable
    assert moved.left() == []
    _opens(moved, seen[f"Secret {NAME}"], seen[f"Secret {NAME}-grant-0"])


def test_in_place_it_goes_into_the_new_claim_where_the_old_one_can_be_used(moved: Moved) -> None:
    nodes = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname"}]}]}
    switch = Switch("media", "uploads", "uploads-new", {}, nodes)
    seen: list[Json] = []

    def becomes(item: Json) -> Json:
        if item["metadata"]["name"] == NAME and item["kind"] == "Job":
            seen.append(item)
            moved.ends_well()
        return well(item)

    moved.run.api.becomes = becomes
    plan = moved.run.replay.plan
    user = {"spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "uploads"}}]}, "status": {}}
    moved.run.api.collections[at("Pod")] = [{"kind": "Pod", "metadata": {"name": "web-1"}, **user}]
    for switches in ((replace(switch, volume="other"),), (switch,)):
        replay = replace(moved.run.replay, plan=replace(plan, in_place=switches))
        if switches == (switch,):
            assert restore_volume(replay, moved.step, "drtool:1") == RESULT
        else:
            with pytest.raises(Refused, match="claim uploads is in use by web-1"):
                restore_volume(replay, moved.step, "drtool:1")

    [job] = seen
    pod = job["spec"]["template"]["spec"]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "uploads-new"}
    affinity = pod["affinity"]["nodeAffinity"]
    assert affinity == {"requiredDuringSchedulingIgnoredDuringExecution": nodes}


def _opens(moved: Moved, secret: Json, granted: Json) -> None:
    """Restore with what the Secrets hold, and nothing else."""
    folder = moved.files.drtool.policy.parent / "mounted"
    folder.mkdir()
    assert set(secret["data"]) == {"runner", "urls"}
    assert set(granted["data"]) == {"grant-0"}
    for name, value in {**secret["data"], **granted["data"]}.items():
        (folder / name).write_bytes(b64decode(value))
        (folder / name).chmod(0o600)
    bare = replace(moved.files.drtool, environment={})  # no credentials
    keys = ("--grant", folder / "grant-0", "--runner-key-file", folder / "runner")
    target = folder / "data"
    bare.alone("restore", "media", "--to-dir", target, "--repository", f"urls://{folder}/urls", *keys)
    assert look(target) == look(moved.files.tree)


def test_a_job_at_work_is_gone_on_with_and_its_urls_are_renewed_in_time(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movers, "_RENEWED_S", 0.0)
    moved.job({})
    moved.pod("Running", "writing\n")
    secret = {
        "kind": "Secret",
        "metadata": {"name": NAME, "generation": 1},
        "data": {"runner": "a", "urls": "b"},
    }
    moved.run.api.collections[at("Secret")] = [secret]
    renewed: list[Json] = []

    def becomes(item: Json) -> Json:
        renewed.append(item)
        if len(renewed) == 2:
            moved.job(DONE)
            moved.ends_well()
        return {}

    moved.run.api.becomes = becomes

    assert moved.restore() == RESULT
    assert [each["kind"] for each in renewed] == ["Secret", "Secret"]
    assert renewed[-1]["data"]["runner"] == "a"
    assert parse_urls(b64decode(renewed[-1]["data"]["urls"])).dump()
    clear_mover(moved.run.replay, "media")  # once its result is durable
    assert moved.left() == []


def test_a_store_that_is_away_when_urls_are_renewed_ends_no_mover(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def away(*_given: object) -> bytes:
        asked.append("signed")
        moved.job(DONE)
        moved.ends_well()
        raise StoreOutage("the store is away")

    monkeypatch.setattr(movers, "presign", away)
    moved.job({})
    moved.pod("Running", "writing\n")
    assert moved.restore() == RESULT
    assert asked == ["signed"]
    assert moved.run.told.notes == ["the URLs are not signed anew yet: the store is away"]


def test_data_goes_below_nobody_who_came_since_the_plan_was_made(moved: Moved) -> None:
    used = [{"name": "data", "persistentVolumeClaim": {"claimName": "uploads"}}]
    pod = {"metadata": {"name": "web-1"}, "spec": {"volumes": used}, "status": {"phase": "Running"}}
    moved.run.api.collections[at("Pod")] = [pod]
    with pytest.raises(Refused, match="claim uploads is in use by web-1"):
        moved.restore()
    assert moved.run.api.written == []


def test_grants_go_whichever_of_them_are_left(moved: Moved) -> None:
    names = [f"{NAME}-grant-1", f"{NAME}-grant-2", "of-another"]
    moved.run.api.collections[at("Secret")] = [
        {"kind": "Secret", "metadata": {"name": name, "uid": name, "generation": 1}} for name in names
    ]
    clear_mover(moved.run.replay, "media")
    assert [each["metadata"]["name"] for each in moved.run.api.collections[at("Secret")]] == ["of-another"]


def test_a_failed_job_is_replaced(moved: Moved) -> None:
    moved.job(FAILED)

    def becomes(item: Json) -> Json:
        if item["kind"] == "Job":
            moved.ends_well()
        return well(item)

    moved.run.api.becomes = becomes
    assert moved.restore() == RESULT
    assert f"{at('Job')}/{NAME}" in moved.run.api.written


def test_what_a_mover_failed_with_is_said(moved: Moved) -> None:
    def becomes(item: Json) -> Json:
        moved.pod("Failed", exitCode=4, message="error: a proof failed; hint: Look.")
        return FAILED if item["kind"] == "Job" else {}

    moved.run.api.becomes = becomes
    with pytest.raises(NotProven, match="the mover of volume media failed: a proof failed"):
        moved.restore()
    clear_mover(moved.run.replay, "media")  # once its result is durable
    assert moved.left() == []


def test_what_a_mover_notes_is_told_with_the_name_of_its_volume(moved: Moved) -> None:
    moved.job(DONE)
    moved.pod("Succeeded", json.dumps({"restore": {**RESULT, "notes": ["an owner could not be set"]}}))
    assert moved.restore()["notes"] == ["media: an owner could not be set"]


def test_another_mover_says_again_what_was_lost_with_the_log_of_the_first(moved: Moved) -> None:
    moved.job(DONE)  # and no pod of it is left

    def becomes(item: Json) -> Json:
        if item["metadata"]["name"] == NAME and item["kind"] == "Job":
            moved.ends_well()
        return well(item)

    moved.run.api.becomes = becomes
    assert moved.restore() == RESULT
    assert moved.run.api.written[-1] == f"{at('Job')}/{NAME}"
    assert "another one looks at what it did" in moved.run.told.notes[-1]


def test_a_word_that_is_lost_twice_ends_the_step(moved: Moved) -> None:
    moved.job(DONE)
    with pytest.raises(TemporaryFailure, match="its log is gone"):
        moved.restore()


def test_the_mark_is_taken_from_the_claim_once_the_journal_knows_better(moved: Moved) -> None:
    assert list(settle_claim(moved.run.replay, "media")) == []  # a run before has done so
    moved.ends_well()
    moved.restore()
    states = []

    def becomes(item: Json) -> Json:
        states.append(item["spec"]["suspend"])
        return DONE

    moved.run.api.becomes = becomes
    assert list(settle_claim(moved.run.replay, "media")) == []
    assert states == [False]


def test_a_volume_is_proven_once_its_claim_holds_nothing_but_its_data(moved: Moved) -> None:
    moved.ends_well()
    result = moved.restore()
    resumed = []

    def becomes(item: Json) -> Json:
        resumed.append(item["metadata"]["name"])
        return DONE

    moved.run.api.becomes = becomes
    moved.run.replay.results[moved.step.id] = result
    proof = Step("prove media", "prove", "media", (moved.step.id,))
    assert prove_volume(moved.run.replay, proof) == {"proofs": 1, "moment": None}
    assert resumed == [f"{NAME}-end"]
    assert moved.left() == []


@pytest.mark.parametrize(("status", "limit_s"), [(FAILED, 60.0), ({}, 0.0)])
def test_a_mark_that_stays_is_told_and_stops_nothing(moved: Moved, status: Json, limit_s: float) -> None:
    moved.ends_well()
    moved.restore()
    moved.run.api.becomes = lambda _item: status
    [note] = settle_claim(moved.run.replay, "media", limit_s=limit_s)
    assert note.startswith(f"the claim of volume media still holds the folder .drtool-{RUN}-media")


def test_a_job_that_vanishes_is_told_and_what_it_had_stays_for_who_goes_on(moved: Moved) -> None:
    moved.job({})
    moved.pod("Running", "writing\n")
    moved.run.api.collections[at("Secret")] = [
        {"kind": "Secret", "metadata": {"name": NAME, "generation": 1}}
    ]

    def becomes(_secret: Json) -> Json:
        moved.run.api.collections[at("Job")] = []
        return {}

    moved.run.api.becomes = becomes  # once its URLs are renewed
    with pytest.raises(TemporaryFailure, match=f"the Job {NAME} of volume media is gone"):
        moved.restore()
    assert moved.left() == [NAME]


def redis(*volumes: Json, at: str = "/data", kind: str = "Deployment") -> tuple[Json, ...]:
    """Return a Redis as it was captured."""
    mounts = [{"name": "data", "mountPath": at}]
    containers = [{"name": "redis", "image": "redis:7", "volumeMounts": mounts}]
    template = {
        "metadata": {"labels": {"app": "redis"}},
        "spec": {"containers": containers, "volumes": [*volumes]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "redis"}}, "template": template}
    where = {"name": "redis", "namespace": "shop"}
    ports = {"selector": {"app": "redis"}, "ports": [{"port": 6379}]}
    return (
        {"apiVersion": "apps/v1", "kind": kind, "metadata": where, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": ports},
    )


CACHE = RedisVolume(name="media", source="redis", host="redis")


def test_the_image_of_a_server_is_asked_as_whom_it_runs(moved: Moved) -> None:
    jobs: list[Json] = []

    def becomes(item: Json) -> Json:
        if item["kind"] == "Pod":
            said = {"exitCode": 0, "message": "0 999 1000 "}
            return {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": said}}]}
        if item["kind"] == "Job":
            jobs.append(item)
            moved.ends_well()
        return well(item)

    moved.run.api.becomes = becomes
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "cache"}}
    assert moved.restore(CACHE, redis(claim)) == RESULT
    pod = jobs[-1]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 999
    assert [each["name"] for each in pod["initContainers"]] == ["own", "hands"]
    clear_mover(moved.run.replay, "media")  # once its result is durable
    assert moved.left() == []


def test_a_volume_without_a_claim_is_refused_before_anything_is_made(moved: Moved) -> None:
    database = PostgresVolume(name="media", source="postgres", host="redis", user="drtool")
    with pytest.raises(Refused, match="volume media has no claim: the data of redis"):
        moved.restore(database, redis({"name": "data", "emptyDir": {}}, at="/var/lib/postgresql/data"))
    with pytest.raises(Refused, match="of a machine, and no claim"):
        moved.restore(FilesVolume(name="media", source="files", path="/files"))
    assert not [path for path in moved.run.api.written if NAME in path]


def test_a_redis_without_a_claim_is_filled_by_its_mover(moved: Moved) -> None:
    seen: dict[str, Json] = {}

    def becomes(item: Json) -> Json:
        seen[item["kind"]] = item
        if item["kind"] == "Job":
            moved.ends_well()
        return well(item)

    moved.run.api.becomes = becomes
    address = {"podIP": "10.1.2.3", "conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {"name": "redis-x", "labels": {"app": "redis", "pod-template-hash": "x"}}
    moved.run.api.collections[at("Pod")] = [{"kind": "Pod", "metadata": metadata, "status": address}]
    password = KubernetesReference(secret="redis", key="password")
    volume = CACHE.model_copy(update={"password": password})

    assert moved.restore(volume, redis({"name": "data", "emptyDir": {}})) == RESULT

    pod = seen["Job"]["spec"]["template"]["spec"]
    arguments = pod["containers"][0]["args"]
    port = port_of(RUN, "media")
    server = json.loads(arguments[arguments.index("--into") + 1])
    assert server == {
        "name": "media",
        "source": "redis",
        "host": "10.1.2.3",
        "password": {"secret": "redis", "key": "password"},
    }
    assert arguments[-2:] == ["--port", str(port)]
    assert pod["volumes"][0] == {"name": "claim", "emptyDir": {}}
    assert pod["volumes"][-1]["secret"]["items"] == [{"key": "password", "path": "password"}]
    assert [each["name"] for each in pod["initContainers"]] == ["hands"]
    assert pod["securityContext"]["runAsUser"] == DRTOOL_USER
    [rule] = seen["NetworkPolicy"]["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": metadata["labels"]}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]


@pytest.mark.parametrize("name", ["redis-1", "redis-0"])
def test_of_a_set_the_pod_with_the_data_is_filled_and_waited_for(moved: Moved, name: str) -> None:
    ready = {"podIP": "10.1.2.3", "conditions": [{"type": "Ready", "status": "True"}]}
    moved.run.api.collections[at("Pod")] = [{"kind": "Pod", "metadata": {"name": name}, "status": ready}]
    items = redis({"name": "data", "emptyDir": {}}, kind="StatefulSet")
    prepared = changes_of(items, Wishes(), FACTS, ())[0].objects
    replay = replace(moved.run.replay, objects={label(each.ref): each for each in prepared})
    place = Place(None, pod="redis-0", image="redis:7")
    if name == "redis-0":
        assert seeding_mover(replay, CACHE, place, "drtool:1").seeds
        return
    with pytest.raises(TemporaryFailure, match="redis-0 is not ready to be filled: its pods say no reason"):
        seeding_mover(replay, CACHE, place, "drtool:1", limit_s=0.1)


def test_a_server_that_leads_nowhere_is_not_filled(moved: Moved) -> None:
    with pytest.raises(Refused, match="leads to no workload"):
        seeding_mover(replace(moved.run.replay, objects={}), CACHE, Place(None), "drtool:1")


def test_each_run_has_a_port_of_its_own() -> None:
    ports = {port_of(run, volume) for run in ("r1", "r2") for volume in ("a", "b")}
    assert len(ports) == 4
    assert all(20_000 <= each < 30_000 for each in ports)
