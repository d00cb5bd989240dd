"""A restored system protects itself again: over a real repository in a directory, into an API server of the tests."""

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from drtool.cli.main import drtool as command
from drtool.deploy.names import OWN
from drtool.deploy.workloads import backup_job
from drtool.errors import DrtoolError, NotProven, Refused, TemporaryFailure, UsageError, WrongKey
from drtool.operations.cluster_restore import backup_jobs
from drtool.operations.cluster_restore.enrolling import enrolment_for, refuse_unready
from drtool.operations.cluster_restore.protect import enrol_new_writer, first_backup, protect_again
from drtool.operations.cluster_restore.replay import RUN_LABEL, Enrolment, Replay
from drtool.operations.cluster_restore.results import ClusterRestoreRequest
from drtool.operations.cluster_restore.safety import back_up_before
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.operations.points import list_points
from drtool.operations.session import KeyFiles, Session, Silent, Where, World, open_session
from drtool.policy.load import load_policy, parse_policy
from drtool.policy.moments import exact
from drtool.recovery.in_place import Switch
from drtool.recovery.journal import State
from drtool.recovery.plan import Plan
from drtool.recovery.steps import Phase, Step
from drtool.recovery.wishes import Wishes
from drtool.repository.config import Config
from drtool.repository.kit import parse_bundle
from drtool.sources.kubernetes.client import Cluster
from tests.operations.cluster_restore.runs import RUN, Kept, Told
from tests.recovery.stage import made
from tests.scenarios.commands import Commands
from tests.scenarios.targets import empty, serve
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import Living, well
from tests.sources.kubernetes.shop import RBAC, at, item

WRITER = {"secret": "drtool-writer", "key": "bundle.json"}
S3_KEYS = {name: {"secret": "drtool-s3", "key": name} for name in ("access_key", "secret_key")}
POSTGRES = {"name": "postgres", "source": "postgres", "host": "db", "user": "drtool"}
JOBS, PODS, MAPS, SECRETS = at("jobs", "batch"), at("pods"), at("configmaps"), at("secrets")
FACTS = {"system_identifier": "7000000000000000001", "major": 18, "end_lsn": "0/3000148"}
FAILED = {"conditions": [{"type": "Failed", "status": "True"}]}


DB = {"name": "postgres", "source": "postgres", "host": "db", "user": "drtool"}
OTHER = {"name": "other", "source": "postgres", "host": "other", "user": "drtool"}


_IN_ONE_PROCESS = threading.Lock()  # pods have an environment each, and two at once would leave theirs behind


@dataclass(frozen=True)
class Back:
    """A system that was backed up and restored, and the run that did it: all but the last three steps."""

    folder: Path
    target: Living
    drtool: Commands
    replay: Replay

    def act(self, act: Callable[..., Json], step: str, **changes: Any) -> Json:
        """Do a step as a run does that goes on from a journal: with the repository as it is now."""
        replay = replace(self.replay, **{"session": self.session(), **changes})
        return act(replay, next(each for each in replay.plan.steps if each.id == step))

    def enrol(self, **changes: Any) -> Json:
        return self.act(enrol_new_writer, "enrol writer", **changes)

    def protect(self, **changes: Any) -> Json:
        return self.act(protect_again, "protect again", **changes)

    def back_up(self, **changes: Any) -> Json:
        return self.act(first_backup, "first backup", **changes)

    def session(self) -> Session:
        where, world = Where(self.drtool.content["repository"]["url"]), self.replay.session.world
        return open_session(None, where, KeyFiles(recovery=self.drtool.kit), world)

    def config(self) -> Config:
        return self.session().repository.config

    def bundles(self) -> list[str]:
        """Return the bundles that the journal keeps, oldest first."""
        noted = [each.detail for each in self.replay.journal.entries() if each.state == "noted"]
        return [each["bundle"] for each in noted if "bundle" in each]

    def enrol_elsewhere(self, name: str) -> None:
        """Have somebody else enrol a writer."""
        sheet = admin_sheet(self.drtool)
        self.drtool.operator(
            "keys", "enrol", "--admin-key-file", sheet, "--bundle", self.folder / f"{name}.json"
        )

    def run_job(self, job: Json) -> Json:
        """Do what the pod of a Job does: with the policy and the Secrets that were applied, and with nothing else."""
        if job["kind"] != "Job":
            return well(job)
        [container] = job["spec"]["template"]["spec"]["containers"]
        pod = self.folder / job["metadata"]["name"]
        for each in self.target.collections[SECRETS]:
            for key, value in each["data"].items():
                file = pod / "secrets" / each["metadata"]["name"] / key
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b64decode(value))
        (pod / "policy.yaml").write_text(self.policy_text())
        environment = {
            "KUBECONFIG": self.drtool.environment["KUBECONFIG"],
            "DRTOOL_POLICY": str(pod / "policy.yaml"),
            "DRTOOL_SECRETS": str(pod / "secrets"),
            "DRTOOL_BUNDLE": None,
        }
        with _IN_ONE_PROCESS:
            found = CliRunner().invoke(command, container["args"], prog_name="drtool", env=environment)
        (pod / "said").write_text(found.stdout + found.stderr)
        return well(job) if found.exit_code == 0 else FAILED

    def policy_text(self, folder: str = MAPS) -> str:
        found = self.target.find(folder, "drtool-policy")
        assert found is not None
        return str(found["data"]["policy.yaml"])


def admin_sheet(drtool: Commands) -> Path:
    return drtool.kit.with_name(f"{drtool.kit.name}.admin")


@contextmanager
def restored(folder: Path, *volumes: Json, namespace: str = "shop") -> Iterator[Back]:
    """Give a system whose data and objects are back, and which nothing protects yet."""
    for name in ("repository", "media", "secrets"):
        (folder / name).mkdir()
    (folder / "media/song").write_text("a song")
    policy = {
        "version": 1,
        "name": "shop",
        "repository": {"url": f"file://{folder}/repository", "writer": WRITER},
        "objectives": {"rpo": "15m", "rto": "1h"},
        "kubernetes": {"namespace": "shop"},
        "volumes": list(volumes),
    }
    with empty() as api:  # whose collections and answers another serves
        pass
    serve(api, "networking.k8s.io", "NetworkPolicy", "networkpolicies", namespaced=True)
    serve(api, "batch", "CronJob", "cronjobs", namespaced=True)
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "x"}}
    api.collections["/api/v1/namespaces"].append(shop)
    api.collections[MAPS] = [item("settings", data={"colour": "red"})]
    for path in (JOBS, at("cronjobs", "batch"), at("networkpolicies", "networking.k8s.io")):
        api.collections[path] = []
    with Living(api.collections, api.answers) as target:
        target.page = 500
        environment = {"KUBECONFIG": str(target.kubeconfig(folder))}
        drtool = Commands(folder / "commands", policy, environment).written()
        drtool.init()
        world = World(lambda: datetime.now(UTC), {}, Silent(), threading.Event())
        where, keys = Where(f"file://{folder}/repository"), KeyFiles(recovery=drtool.kit)
        session = open_session(None, where, keys, world)
        plan = replace(made(wishes=Wishes(image="drtool:1", enrol=True)), namespace=("shop", namespace))
        with Cluster.open(None, environment, patience_s=3, ending=world.ending) as cluster:
            replay = Replay(
                session,
                load_policy(drtool.policy),
                plan,
                RUN,
                cluster,
                {},
                Kept(),
                results={"restore postgres": {"facts": FACTS}},
                reopen=lambda: open_session(None, where, keys, world),
                enrolment=Enrolment(admin_sheet(drtool), folder / "secrets"),
            )
            yield Back(folder, target, drtool, replay)


@pytest.fixture
def back(tmp_path: Path) -> Iterator[Back]:
    media = {"name": "media", "source": "files", "path": str(tmp_path / "media")}
    with restored(tmp_path, {"name": "objects", "source": "manifests"}, media) as system:
        yield system


@pytest.fixture
def enrolled(back: Back) -> Back:
    """The system, in the hands of a new writer, and drtool's objects in it; the writer before made points, too."""
    back.drtool("backup")
    back.enrol()
    back.protect()
    return back


class _Killed(BaseException):
    """The process is no more."""


class _Interrupted(Kept):
    """A journal that something comes behind, once it holds a note."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then

    def write(self, step: str, state: State, detail: Json) -> None:
        super().write(step, state, detail)
        self._then()


def _kill() -> None:
    raise _Killed


def test_a_new_writer_takes_the_place_of_the_one_before_and_each_postgres_gets_an_epoch(
    tmp_path: Path,
) -> None:
    with restored(tmp_path, POSTGRES, {"name": "objects", "source": "manifests"}) as back:
        assert back.enrol() == {"writer": "writer-2", "config": 1}

        config = back.config()
        assert {each.name: each.until is None for each in config.signers if each.role == "writer"} == {
            "writer-1": False,
            "writer-2": True,
        }
        [epoch] = config.epochs
        assert (epoch.volume, epoch.system, epoch.major, epoch.parent_lsn) == ("postgres", *FACTS.values())
        [bundle] = back.bundles()
        assert parse_bundle(bundle).name == "writer-2"


def test_a_postgres_whose_recovery_ended_nobody_knows_where_is_not_mingled_with_its_life_before(
    tmp_path: Path,
) -> None:
    with restored(tmp_path, POSTGRES) as back:
        with pytest.raises(DrtoolError, match="nothing tells where the recovery of postgres ended"):
            back.enrol(results={})
        assert back.bundles() == []
        assert back.config().number == 0


def test_who_was_killed_after_the_note_goes_on_with_the_same_writer(back: Back) -> None:
    journal = _Interrupted(_kill)
    with pytest.raises(_Killed):
        back.enrol(journal=journal)
    assert back.config().number == 0  # what was noted does not count yet
    resumed = Kept(journal.kept)

    assert back.enrol(journal=resumed) == {"writer": "writer-2", "config": 1}
    assert back.enrol(journal=resumed) == {"writer": "writer-2", "config": 1}  # killed before it was done

    assert len(resumed.kept) == 1
    assert [each.name for each in back.config().signers if each.role == "writer"] == ["writer-1", "writer-2"]


def test_who_lost_a_race_says_so_and_makes_another_writer_when_it_is_resumed(back: Back) -> None:
    journal = _Interrupted(lambda: back.enrol_elsewhere("theirs"))
    with pytest.raises(Refused, match="config 1 is theirs"):
        back.enrol(journal=journal)
    resumed = Kept(journal.kept)

    assert back.enrol(journal=resumed) == {"writer": "writer-3", "config": 2}

    noted = [parse_bundle(each.detail["bundle"]).name for each in resumed.kept]
    assert noted == ["writer-2", "writer-3"]
    valid = [each.name for each in back.config().signers if each.role == "writer" and each.until is None]
    assert valid == ["writer-3"]


def test_what_is_not_at_hand_is_asked_for(back: Back) -> None:
    with pytest.raises(Refused, match="the admin's key is not at hand"):
        back.enrol(enrolment=None)
    with pytest.raises(DrtoolError, match="no bundle of a new writer"):
        back.protect()
    back.enrol()
    with pytest.raises(Refused, match="the admin's key is not at hand") as refused:
        back.protect(enrolment=None)
    assert "--writer-secrets" in refused.value.hint
    assert not back.target.written


def test_the_policy_and_the_keys_of_the_new_writer_are_applied(back: Back) -> None:
    content = json.loads(back.drtool.policy.read_text())
    content["repository"] = {"url": "s3://bucket/shop", "writer": WRITER, **S3_KEYS}
    policy = parse_policy(json.dumps(content), "shop")
    (back.folder / "secrets/drtool-s3").mkdir()
    for key in S3_KEYS:
        (back.folder / "secrets/drtool-s3" / key).write_text(f"the {key}")
    back.enrol()

    done = back.protect(policy=policy)
    assert back.protect(policy=policy) == done  # safe to run again

    assert parse_policy(back.policy_text(), "applied") == policy
    data = {
        (each["metadata"]["name"], key): b64decode(value).decode()
        for each in back.target.collections[SECRETS]
        for key, value in each["data"].items()
    }
    assert data == {
        ("drtool-writer", "bundle.json"): back.bundles()[0],
        ("drtool-s3", "access_key"): "the access_key",
        ("drtool-s3", "secret_key"): "the secret_key",
    }
    jobs = [each["metadata"]["name"] for each in back.target.collections[at("cronjobs", "batch")]]
    assert jobs == ["drtool-backup-objects", "drtool-backup-media"]
    ours = [
        each["metadata"]
        for items in back.target.collections.values()
        for each in items
        if each["metadata"]["name"].startswith(OWN) or each["metadata"]["name"] == "drtool"
    ]
    assert len(ours) == done["objects"]
    assert {each["labels"][RUN_LABEL] for each in ours} == {RUN}


def test_a_policy_with_any_text_comes_out_as_it_was(back: Back) -> None:
    content = json.loads(back.drtool.policy.read_text())
    odd = "caf\u00e9 \U0001f600 \u2028 \x85 \\ud83d 'a' \"b\""
    content["recovery"] = {"probes": [{"name": odd, "http": "http://web"}]}
    policy = back.replay.policy.model_validate(content)
    back.enrol()

    back.protect(policy=policy)

    assert parse_policy(back.policy_text(), "applied") == policy


def test_what_comes_back_into_another_namespace_is_protected_there(tmp_path: Path) -> None:
    with restored(tmp_path, {"name": "objects", "source": "manifests"}, namespace="shop-dr") as back:
        back.enrol()
        back.protect()

        there = "/namespaces/shop-dr/"
        assert [path for path in back.target.written if there not in path] == []
        applied = parse_policy(back.policy_text(MAPS.replace("/shop/", "/shop-dr/")), "applied")
        assert applied.kubernetes is not None
        assert applied.kubernetes.namespace == "shop-dr"
        assert applied.model_copy(update={"kubernetes": back.replay.policy.kubernetes}) == back.replay.policy
        bindings = back.target.collections[at("rolebindings", RBAC).replace("/shop/", "/shop-dr/")]
        assert {each["subjects"][0]["namespace"] for each in bindings} == {"shop-dr"}


def test_the_first_backup_is_made_with_the_keys_that_were_applied(enrolled: Back) -> None:
    enrolled.target.becomes = enrolled.run_job

    points = enrolled.back_up()["points"]

    listed = {each.name: each for each in list_points(enrolled.session())}
    assert {name: listed[point].volume for name, point in points.items()} == {
        "objects": "objects",
        "media": "media",
    }
    assert {listed[point].writer for point in points.values()} == {"writer-2"}
    assert {listed[point].state for point in points.values()} == {"listed"}
    jobs = {each["metadata"]["name"]: each for each in enrolled.target.collections[JOBS]}
    assert jobs.keys() == {f"drtool-first-{name}-{RUN[-6:]}" for name in points}
    for job in jobs.values():
        assert job["metadata"]["labels"][RUN_LABEL] == RUN
        assert "--due" not in job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert enrolled.back_up()["points"] == points  # of a run that was killed before it could say so
    assert len(list_points(enrolled.session())) == len(listed)


def begun_by_itself(system: Back, volume: str, made: str = "2026") -> Json:
    """Have the CronJob of a volume begin a Job, as its controller does; the server of the tests makes all in "2026"."""
    cron = system.target.find(at("cronjobs", "batch"), f"drtool-backup-{volume}")
    assert cron is not None
    name = f"drtool-backup-{volume}-29000000"
    owner = {"kind": "CronJob", "name": cron["metadata"]["name"], "uid": cron["metadata"]["uid"]}
    job: Json = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": deepcopy(cron["spec"]["jobTemplate"]["spec"]),
    }
    metadata = cron["spec"]["jobTemplate"]["metadata"]
    metadata = {**metadata, "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    job["metadata"] = {**metadata, "creationTimestamp": made, "ownerReferences": [owner]}
    system.target.collections[JOBS].append(job)
    return job


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_backup_that_the_cron_job_began_by_itself_is_waited_for_and_not_made_twice(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch, *, ends_well: bool
) -> None:
    enrolled.target.becomes = enrolled.run_job
    job, waited = begun_by_itself(enrolled, "media"), threading.Event()

    def wait(deadline: Deadline, seconds: float = 0.0) -> None:
        if not waited.is_set():
            waited.set()
            assert enrolled.target.find(JOBS, f"drtool-first-media-{RUN[-6:]}") is None
            job["status"] = enrolled.run_job(job) if ends_well else FAILED

    monkeypatch.setattr(Deadline, "wait", wait)
    points = enrolled.back_up()["points"]

    assert waited.is_set()
    assert points.keys() == {"objects", "media"}
    made = {each["metadata"]["name"] for each in enrolled.target.collections[JOBS]}
    first = {f"drtool-first-{name}-{RUN[-6:]}" for name in ("objects", "media")}
    assert made & first == (first - {f"drtool-first-media-{RUN[-6:]}"} if ends_well else first)
    assert job["metadata"]["name"] in made
    listed = [each for each in list_points(enrolled.session()) if each.writer == "writer-2"]
    assert len(listed) == len(points)


def test_what_the_cron_job_begins_beside_the_first_backup_is_ended(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, told = f"drtool-first-media-{RUN[-6:]}", Told()
    seen: list[set[str]] = []

    def becomes(found: Json) -> Json:
        return {} if found["metadata"]["name"] == name else enrolled.run_job(found)

    def wait(deadline: Deadline, seconds: float = 0.0) -> None:
        jobs = {each["metadata"]["name"]: each for each in enrolled.target.collections[JOBS]}
        if not seen:
            begun_by_itself(enrolled, "media")
            begun_by_itself(enrolled, "objects")["status"] = well(jobs[name])
            by_hand = deepcopy(begun_by_itself(enrolled, "media"))
            annotations = {"cronjob.kubernetes.io/instantiate": "manual"}
            by_hand["metadata"] |= {"name": "by-hand", "annotations": annotations}
            enrolled.target.collections[JOBS][-1] = by_hand
        else:
            jobs[name]["status"] = enrolled.run_job(jobs[name])
        seen.append(set(jobs))

    enrolled.target.becomes = becomes
    monkeypatch.setattr(Deadline, "wait", wait)
    session = enrolled.session()
    world = replace(session.world, progress=told)
    step = next(each for each in enrolled.replay.plan.steps if each.id == "first backup")
    first_backup(replace(enrolled.replay, session=replace(session, world=world)), step)

    assert "drtool-backup-media-29000000" not in seen[1]
    assert seen[1] >= {"drtool-backup-objects-29000000", "by-hand"}  # one has ended, one is a person's
    assert told.notes == [
        "Job drtool-backup-media-29000000 was ended: a backup of its volume is made already"
    ]


def test_one_of_before_that_does_not_end_is_neither_ended_nor_joined_by_another(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_jobs, "BACKUP_S", 0.2)
    monkeypatch.setattr(backup_jobs, "_PAUSE_S", 0.1)
    enrolled.target.becomes = enrolled.run_job
    name = begun_by_itself(enrolled, "media")["metadata"]["name"]
    told = Told()
    session = enrolled.session()
    session = replace(session, world=replace(session.world, progress=told))
    for _ in range(2):  # who goes on with the run finds the same
        with pytest.raises(
            TemporaryFailure, match=f"^Job {name} is at the first backup of media still$"
        ) as it:
            enrolled.back_up(session=session)
        assert f"`kubectl --context=new --namespace=shop get job {name}`" in it.value.hint
        assert enrolled.target.find(JOBS, name) is not None
        assert enrolled.target.find(JOBS, f"drtool-first-media-{RUN[-6:]}") is None
    assert told.notes == [f"Job {name} is at the first backup of media already, and is waited for"] * 2


@pytest.mark.parametrize(("made", "is_kept"), [("2025", True), ("2026", False), ("2027", False)])
def test_what_the_cron_job_began_before_the_first_backup_is_not_ended_for_it(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch, made: str, *, is_kept: bool
) -> None:
    ours = f"drtool-first-media-{RUN[-6:]}"
    enrolled.target.becomes = lambda found: (
        {} if found["metadata"]["name"] == ours else enrolled.run_job(found)
    )
    seen: list[Json | None] = []

    def wait(deadline: Deadline, seconds: float = 0.0) -> None:
        found = enrolled.target.find(JOBS, ours)
        assert found is not None
        if not seen:
            seen.append(begun_by_itself(enrolled, "media", made))
        else:
            found["status"] = enrolled.run_job(found)

    monkeypatch.setattr(Deadline, "wait", wait)
    enrolled.back_up()
    assert (enrolled.target.find(JOBS, "drtool-backup-media-29000000") is not None) == is_kept


def test_a_later_backup_is_left_alone_once_the_first_one_has_ended(enrolled: Back) -> None:
    enrolled.target.becomes = enrolled.run_job
    points = enrolled.back_up()["points"]
    name = begun_by_itself(enrolled, "media", "2027")["metadata"]["name"]
    assert enrolled.back_up()["points"] == points  # of a run that was killed before it could say so
    assert enrolled.target.find(JOBS, name) is not None


def test_one_that_is_going_already_is_not_waited_for(enrolled: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_jobs, "BACKUP_S", 0.2)
    monkeypatch.setattr(backup_jobs, "_PAUSE_S", 0.1)
    enrolled.target.becomes = enrolled.run_job
    job = begun_by_itself(enrolled, "media")
    job["metadata"]["deletionTimestamp"] = "2026"
    enrolled.back_up()
    assert enrolled.target.find(JOBS, f"drtool-first-media-{RUN[-6:]}") is not None


def test_a_job_that_ends_well_and_leaves_no_point_proves_nothing(enrolled: Back) -> None:
    before = list_points(enrolled.session())
    with pytest.raises(NotProven, match="first backup of objects ended well, and the repository lists no"):
        enrolled.back_up()
    assert {each.writer for each in before} == {"writer-1"}  # whose points are not taken for new ones


def test_a_backup_before_a_switch_is_a_point_and_leaves_no_job(enrolled: Back) -> None:
    media, before = Step("safety backup media", "safety", "media"), list_points(enrolled.session())
    enrolled.target.becomes = enrolled.run_job

    told = back_up_before(replace(enrolled.replay, session=enrolled.session()), media)

    [new] = [
        each for each in list_points(enrolled.session()) if each.name not in {one.name for one in before}
    ]
    assert told == {"point": new.name, "moment": exact(new.end)}
    assert enrolled.target.collections[JOBS] == []


def test_a_backup_that_ends_well_and_leaves_no_point_at_all_leaves_it_to_the_old_volume(
    tmp_path: Path,
) -> None:
    with restored(tmp_path, DB) as back:
        back.target.collections[at("cronjobs", "batch")] = [
            backup_job(back.replay.policy, back.replay.policy.volume("postgres"), "drtool:1")
        ]
        [note] = back_up_before(back.replay, Step("safety", "safety", "postgres"))["notes"]
    assert "its backup ended well, and no point of after the plan is listed" in note


def test_a_repository_that_cannot_be_opened_anew_proves_nothing(enrolled: Back) -> None:
    with pytest.raises(DrtoolError, match="cannot be opened anew"):
        enrolled.back_up(reopen=None)


def _pod(name: str, created: str, job: str, **terminated: Any) -> Json:
    metadata = {"name": name, "creationTimestamp": created, "labels": {"job-name": job}}
    state = {"terminated": terminated} if terminated else {"running": {}}
    return {"metadata": metadata, "status": {"containerStatuses": [{"state": state}]}}


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ({"exitCode": 4, "message": "wrong key"}, "wrong key"),
        ({"exitCode": 137}, "it ended with 137"),
        ({}, "its pod said nothing"),
    ],
)
def test_a_job_that_fails_tells_the_last_word_of_its_last_pod_and_is_tried_again(
    enrolled: Back, ended: Json, said: str
) -> None:
    job = f"drtool-first-objects-{RUN[-6:]}"
    enrolled.target.collections[PODS] = [
        _pod("b", "2026-01-02T00:00:00Z", job, **ended),
        _pod("a", "2026-01-01T00:00:00Z", job, exitCode=1, message="an earlier word"),
        _pod("c", "2026-01-03T00:00:00Z", "another", exitCode=1, message="another's word"),
    ]
    enrolled.target.becomes = lambda found: (
        FAILED if found["metadata"]["name"] == job else enrolled.run_job(found)
    )

    with pytest.raises(TemporaryFailure, match=f"^the first backup of objects failed: {said}$"):
        enrolled.back_up()

    assert enrolled.target.find(JOBS, job) is None
    enrolled.target.becomes = enrolled.run_job
    assert enrolled.back_up()["points"].keys() == {"objects", "media"}


def test_a_job_that_does_not_end_is_not_waited_for_without_end(
    enrolled: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_jobs, "BACKUP_S", 0.2)
    enrolled.target.becomes = lambda found: {} if found["kind"] == "Job" else well(found)
    with pytest.raises(TemporaryFailure, match="first backup of objects does not end: its pod said nothing"):
        enrolled.back_up()
    assert enrolled.target.collections[JOBS] == []


def test_what_a_new_writer_needs_is_looked_for_before_anything_begins(back: Back) -> None:
    replay, sheet, folder = back.replay, admin_sheet(back.drtool), back.folder / "secrets"
    content = json.loads(back.drtool.policy.read_text())
    content["repository"] = {"url": "s3://bucket/shop", "writer": WRITER, **S3_KEYS}
    policy = parse_policy(json.dumps(content), "shop")
    (folder / "drtool-s3").mkdir()
    (folder / "drtool-s3/access_key").write_text("x")

    with pytest.raises(Refused, match="lacks drtool-s3/secret_key, which"):  # its bundle is yet to be made
        refuse_unready(replay.session, replay.plan, policy, Enrolment(sheet, folder))

    (folder / "drtool-s3/secret_key").write_text("x")
    refuse_unready(replay.session, replay.plan, policy, Enrolment(sheet, folder))


def test_a_part_of_a_system_enrols_nobody(back: Back) -> None:
    plan = replace(back.replay.plan, wishes=Wishes(volumes=("media",), enrol=True))
    enrolment = Enrolment(admin_sheet(back.drtool), back.folder / "secrets")
    request = ClusterRestoreRequest("here", enrolment=enrolment)
    with pytest.raises(UsageError, match="a part of a system enrols no new writer"):
        enrolment_for(back.replay.session, replace(plan, phases=()), back.replay.policy, request)


def switched(*volumes: str) -> Plan:
    """Return the plan of a restore in place."""
    steps = tuple(Step(f"restore {each}", "restore", each) for each in volumes)
    wishes = Wishes(image="drtool:1", volumes=volumes, in_place=True, enrol=True)
    plan = replace(made(wishes=Wishes(image="drtool:1", enrol=True)), wishes=wishes)
    switches = tuple(Switch(each, f"data-{each}", f"data-{each}-new", {}) for each in volumes)
    return replace(plan, phases=(Phase("data", steps),), in_place=switches)


@pytest.mark.parametrize("volumes", [("postgres",), ("postgres", "other")])
def test_each_postgres_that_goes_back_in_place_gets_an_epoch_and_the_others_live_on(
    tmp_path: Path, volumes: tuple[str, ...]
) -> None:
    with restored(tmp_path, DB, OTHER) as back:
        facts = {f"restore {each}": {"facts": {**FACTS, "system_identifier": each}} for each in volumes}
        replay = replace(back.replay, plan=switched(*volumes), results=facts)
        enrolment = Enrolment(admin_sheet(back.drtool), back.folder / "secrets")
        refuse_unready(replay.session, replay.plan, replay.policy, enrolment)
        enrol_new_writer(replay, Step("enrol writer", "enrol", "a new writer"))
        assert replay.reopen is not None
        config = replay.reopen().repository.config
    assert [(each.volume, each.epoch) for each in config.epochs] == [(each, 2) for each in volumes]
    assert len([each for each in config.signers if each.role == "writer" and each.until is None]) == 1


def test_files_that_go_back_in_place_need_no_new_writer(back: Back) -> None:
    enrolment = Enrolment(admin_sheet(back.drtool), back.folder / "secrets")
    request = ClusterRestoreRequest("here", enrolment=enrolment)
    with pytest.raises(UsageError, match="a part of a system enrols no new writer"):
        enrolment_for(back.replay.session, switched("media"), back.replay.policy, request)


def test_the_admin_sheet_of_another_repository_is_refused(back: Back, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    content = {**back.drtool.content, "repository": {"url": f"file://{tmp_path}/other"}}
    other = Commands(tmp_path / "others", content, {}).written()
    other.init()
    with pytest.raises(WrongKey, match="not that of this repository"):
        refuse_unready(
            back.replay.session,
            back.replay.plan,
            back.replay.policy,
            Enrolment(admin_sheet(other), back.folder / "secrets"),
        )
