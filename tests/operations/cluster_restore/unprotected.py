"""A restored system that nothing protects yet: over a real repository, into an API server of the tests."""

import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from drtool.cli.main import drtool as command
from drtool.operations.cluster_restore.protect import enrol_new_writer, first_backup, protect_again
from drtool.operations.cluster_restore.replay import Enrolment, Replay
from drtool.operations.session import KeyFiles, Session, Silent, Where, World, open_session
from drtool.policy.load import load_policy
from drtool.recovery.wishes import Wishes
from drtool.repository.config import Config
from drtool.sources.kubernetes.client import Cluster
from tests.operations.cluster_restore.runs import RUN, Kept
from tests.recovery.stage import made
from tests.scenarios.commands import Commands
from tests.scenarios.targets import empty, serve
from tests.sources.kubernetes.api import Json
from tests.sources.kubernetes.living import Living, well
from tests.sources.kubernetes.shop import at, item

WRITER = {"secret": "drtool-writer", "key": "bundle.json"}
S3_KEYS = {name: {"secret": "drtool-s3", "key": name} for name in ("access_key", "secret_key")}
POSTGRES = {"name": "postgres", "source": "postgres", "host": "db", "user": "drtool"}
JOBS, MAPS, SECRETS = at("jobs", "batch"), at("configmaps"), at("secrets")
FACTS = {"system_identifier": "7000000000000000001", "major": 18, "end_lsn": "0/3000148"}
FAILED = {"conditions": [{"type": "Failed", "status": "True"}]}

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
