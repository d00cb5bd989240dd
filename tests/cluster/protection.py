"""drtool installed beside a system, as its user does it: a bucket, `drtool init`, `drtool render`, `kubectl apply -k`.

protection = Protection.install(cluster, lab, TINY, tiny_policy, tmp_path)
protection.wait_for_points("postgres", "redis", "files")
protection.status()                     # asked from outside of the cluster, with the bucket and keys alone
protection.remove()
"""

import json
import os
import shlex
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from secrets import token_hex
from typing import Any

from ruamel.yaml import YAML

from drtool.repository.access import AccessRole, s3_policy
from tests.cluster.cluster import Cluster
from tests.cluster.images import IMAGES, archive
from tests.cluster.lab import Lab
from tests.cluster.minio import Credentials, Minio
from tests.cluster.observe import execute
from tests.cluster.process import LabFailed, wait_until
from tests.cluster.system import FOLDER, TINY, System

POLICIES = Path(__file__).parents[2] / "policies"
IMAGE = IMAGES["drtool"].reference
PREFIX = "prod/"  # of the repository in its bucket
RPO = "5m"  # in the lab, where a CronJob cannot fire more often than once a minute
JOB_S = 300
RUN_S = 600
KEPT_WAL = "256MB"

Makes = Callable[[str, str], str]  # a policy's text, from bucket and endpoint
Answer = dict[str, Any]


def tiny_policy(bucket: str, endpoint: str) -> str:
    """Return the policy of tiny."""
    text = (FOLDER / "tiny/policy.yaml").read_text(encoding="utf-8")
    return text.replace("BUCKET", bucket).replace("ENDPOINT", endpoint)


def policy_of(name: str, deploy: Path | None = None) -> Makes:
    """Return what makes the policy of a system, by its name, fit for the lab: its store, and a short RPO.

    Nobody is told of anything, for there is nobody outside. deploy is a folder from which its team deploys it.
    """
    if name == TINY.name:
        return tiny_policy

    def make(bucket: str, endpoint: str) -> str:
        yaml = YAML()
        policy = yaml.load((POLICIES / f"{name}.yaml").read_text(encoding="utf-8"))
        policy["repository"] |= {"url": f"s3://{bucket}/{PREFIX}", "endpoint": endpoint}
        policy["objectives"] |= {"rpo": RPO, "max_skew": RPO}
        for key in ("notify", "heartbeat"):
            del policy[key]
        if deploy is not None:
            policy["recovery"]["deploy"] = {"kustomize": str(deploy)}
        text = StringIO()
        yaml.dump(policy, text)
        return text.getvalue()

    return make


@dataclass(frozen=True)
class Protection:
    """drtool beside system. folder holds what its user keeps: the policy, the overlay with its secrets, the kit."""

    cluster: Cluster
    minio: Minio
    system: System
    bucket: str
    writer: Credentials
    folder: Path

    @classmethod
    def install(cls, cluster: Cluster, lab: Lab, system: System, policy: Makes, folder: Path) -> "Protection":
        """Install drtool into the namespace of system, which is there. Returns once all objects are applied."""
        bucket = f"{system.name}-{token_hex(3)}"
        lab.minio.make_bucket(bucket)
        enabled = {"Status": "Enabled"}
        lab.minio.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
        writer = lab.minio.add_user(f"writer-{bucket}", s3_policy("writer", bucket, PREFIX))
        made = cls(cluster, lab.minio, system, bucket, writer, folder)
        made.policy.write_text(policy(bucket, lab.minio.endpoint), encoding="utf-8")
        limit_kept_wal(cluster, system)
        made.load_image()
        made.initialise()
        made.apply()
        return made

    @property
    def policy(self) -> Path:
        """The file of the policy."""
        return self.folder / "policy.yaml"

    @property
    def kit(self) -> Path:
        """The file of the recovery kit."""
        return self.folder / "kit.txt"

    @property
    def overlay(self) -> Path:
        """What `drtool render` wrote."""
        return self.folder / "overlay"

    @property
    def secrets(self) -> Path:
        """drtool's own Secrets, a file for each key."""
        return self.overlay / "secrets"

    def load_image(self) -> None:
        """Give every node drtool's image."""
        for node in self.cluster.nodes:
            node.load(archive("drtool"))

    def initialise(self) -> None:
        """Make the repository, as an administrator of the bucket, and put the writer's keys where render looks."""
        self.drtool("render", "--image", IMAGE, "--output", self.overlay)
        admin = self.credentials_of("admin")
        write_secret(self.secrets / "drtool-s3", _as_secret(self.writer))
        bundle = self.secrets / "drtool-writer/bundle"
        bundle.parent.mkdir(exist_ok=True)
        self.drtool("init", "--bundle", bundle, "--kit-file", self.kit, secrets=admin)

    def credentials_of(self, role: AccessRole) -> Path:
        """Return a folder of Secrets with S3 credentials that have the rights of role, made with the first use."""
        folder = self.folder / role
        if not folder.exists():
            rights = s3_policy(role, self.bucket, PREFIX)
            write_secret(
                folder / "drtool-s3", _as_secret(self.minio.add_user(f"{role}-{self.bucket}", rights))
            )
        return folder

    def restore(self, volume: str, target: Path) -> Answer:
        """Restore a volume into a directory, as an operator with the kit does, who needs no part of the cluster."""
        secrets = self.credentials_of("operator")
        write_secret(
            secrets / "postgres-secrets", self.secret("postgres-secrets")
        )  # who may look at the result
        arguments = ("--to-dir", target, "--recovery-key-file", self.kit)
        said = self.drtool("restore", volume, *arguments, secrets=secrets)
        answer: Answer = said["restore"]
        return answer

    def writer_secret(self) -> dict[str, str]:
        """Return what the writer logs in to the store with."""
        return _as_secret(self.writer)

    def secret(self, name: str) -> dict[str, str]:
        """Return the content of a Secret of the application."""
        data = json.loads(self.kubectl("get", "secret", name, "--output=json"))["data"]
        return {key: b64decode(value).decode() for key, value in data.items()}

    def apply(self) -> None:
        """Apply the overlay, as it is now."""
        self.cluster.apply(self.overlay)

    def plan(self, target: Cluster, *arguments: str, code: int = 0) -> Answer:
        """Return how all of it would come back into target, as an operator with the kit sees it."""
        where = ("--to-cluster", target.name, "--recovery-key-file", self.kit)
        secrets = self.credentials_of("operator")
        said = self.drtool(
            "plan", *where, *arguments, secrets=secrets, kubeconfig=target.kubeconfig, code=code
        )
        answer: Answer = said["plan"]
        return answer

    def drtool(
        self,
        *arguments: str | Path,
        secrets: Path | None = None,
        kubeconfig: Path | None = None,
        code: int = 0,
    ) -> Answer:
        """Run drtool in the machine room, on the policy, and return its answer. Raises LabFailed at another end."""
        environment = {
            **os.environ,
            "DRTOOL_POLICY": str(self.policy),
            "DRTOOL_SECRETS": str(secrets or self.secrets),
            "KUBECONFIG": str(kubeconfig or self.cluster.kubeconfig),
        }
        command = [sys.executable, "-m", "drtool", *map(str, arguments), "--json"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
        )
        if done.returncode != code:
            raise LabFailed(f"drtool {arguments[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
        answer: Answer = json.loads(done.stdout)
        return answer

    def status(self) -> Answer:
        """Return what `drtool status` says from outside of the cluster, volume by volume."""
        volumes = self.drtool("status")["status"]["volumes"]
        return {volume["volume"]: volume for volume in volumes}

    def points(self, volume: str) -> list[Answer]:
        """Return the recovery points of a volume that are listed, oldest first."""
        points = self.drtool("points", volume)["points"]
        return [point for point in points if point["state"] == "listed"]

    def wait_for_points(self, *volumes: str, deadline_s: float = JOB_S) -> None:
        """Return once each of volumes has a recovery point. Raises LabFailed with the logs of one that has none."""
        for volume in volumes:
            try:
                wait_until(
                    lambda name=volume: bool(self.points(name)),  # type: ignore[misc]
                    f"{volume} has a recovery point",
                    deadline_s=deadline_s,
                )
            except LabFailed as failure:
                raise LabFailed(f"{failure.message}\n{self.describe(volume)}") from failure

    def run_now(self, volume: str, *, deadline_s: float = JOB_S) -> str:
        """Back a volume up now, due or not, in a Job like those of its CronJob. Returns the log; raises LabFailed."""
        job = self.begin(volume)
        self.finish(job, deadline_s=deadline_s)
        return self.kubectl("logs", f"--selector=job-name={job}", "--tail=-1")

    def ask(self, volume: str, *arguments: str) -> Answer:
        """Run drtool in a pod like those that back volume up, and return its answer."""
        job = self.begin(volume, *arguments, "--json")
        self.finish(job)
        said = self.kubectl("logs", f"--selector=job-name={job}", "--tail=-1")
        answer: Answer = json.JSONDecoder().raw_decode(said, said.index("{"))[0]
        return answer

    def begin(self, volume: str, *arguments: str) -> str:
        """Begin to back a volume up, due or not, or to do what arguments say; return the name of the Job."""
        name = f"now-{volume}-{token_hex(2)}"
        how = ("create", "job", name, f"--from=cronjob/drtool-backup-{volume}")
        job = json.loads(self.kubectl(*how, "--dry-run=client", "--output=json"))
        job["spec"]["template"]["spec"]["containers"][0]["args"] = [*(arguments or ("backup", volume))]
        self.kubectl("create", "--filename=-", stdin=json.dumps(job))
        return name

    def finish(self, job: str, *, deadline_s: float = JOB_S) -> None:
        """Return when a Job has ended well. Raises LabFailed, with its last words, if it has not."""
        wait_until(lambda: self._is_over(job), f"Job {job} ends", deadline_s=deadline_s)
        if not self._has(job, "Complete"):
            ends = "; ".join(f"exit {code}: {word}" for code, word in self.ends(job))
            raise LabFailed(f"Job {job} failed: {ends}")

    def ends(self, job: str) -> list[tuple[int, str]]:
        """Return how the pods of a Job ended: exit code and last word of each."""
        states = [pod["status"].get("containerStatuses", [{}])[0].get("state", {}) for pod in self._pods(job)]
        ended = [state["terminated"] for state in states if "terminated" in state]
        return [(int(end["exitCode"]), str(end.get("message", ""))) for end in ended]

    def running_pod(self, job: str) -> tuple[str, str] | None:
        """Return name and node of the pod of a Job that runs now; None if none does."""
        for pod in self._pods(job):
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]:
                return pod["metadata"]["name"], pod["spec"]["nodeName"]
        return None

    def finished_jobs(self, volume: str) -> list[Answer]:
        """Return the Jobs of a volume that its CronJob began by itself and that ended well, oldest first."""
        said = self.kubectl("get", "jobs", f"--selector=drtool.io/volume={volume}", "--output=json")
        jobs = [
            job
            for job in json.loads(said)["items"]
            if job["metadata"].get("ownerReferences") and _is_true(job, "Complete")
        ]
        return sorted(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]))

    def logs(self, volume: str) -> str:
        """Return what the pods of a volume said, those that are still there."""
        return self.kubectl("logs", f"--selector=drtool.io/volume={volume}", "--tail=-1", "--prefix")

    def describe(self, volume: str) -> str:
        """Return what is to be seen of a volume's Jobs, for a person who asks why."""
        pods = self.kubectl(
            "get", "cronjobs,jobs,pods", f"--selector=drtool.io/volume={volume}", "-o", "wide"
        )
        events = self.kubectl("get", "events", "--sort-by=.lastTimestamp")
        return f"{pods}\n{events[-3_000:]}\n{self.logs(volume)[-3_000:]}"

    def kubectl(self, *arguments: str | Path, stdin: str = "") -> str:
        """Run kubectl in the system's namespace."""
        return self.cluster.kubectl(*arguments, f"--namespace={self.system.namespace}", stdin=stdin)

    def stop(self) -> None:
        """Have drtool back up nothing any more, as when its cluster is gone at once."""
        what = (
            "cronjobs,deployments,jobs",
            "--selector=app.kubernetes.io/part-of=drtool",
            "--ignore-not-found",
        )
        self.kubectl("delete", *what, "--cascade=foreground")

    def remove(self) -> None:
        """Take drtool out of the cluster, and its writer's rights away. The bucket stays."""
        self.kubectl("delete", "--kustomize", self.overlay, "--ignore-not-found")
        self.kubectl("delete", "jobs", "--selector=app.kubernetes.io/part-of=drtool", "--ignore-not-found")
        self.minio.remove_user(self.writer.access_key)
        for role in ("admin", "operator"):
            if (self.folder / role).exists():
                self.minio.remove_user(f"{role}-{self.bucket}")

    def _pods(self, job: str) -> list[Answer]:
        said = self.kubectl("get", "pods", f"--selector=job-name={job}", "--output=json")
        pods: list[Answer] = json.loads(said)["items"]
        return pods

    def _is_over(self, job: str) -> bool:
        return self._has(job, "Complete") or self._has(job, "Failed")

    def _has(self, job: str, condition: str) -> bool:
        return _is_true(json.loads(self.kubectl("get", "job", job, "--output=json")), condition)


def limit_kept_wal(cluster: Cluster, system: System) -> None:
    """Have the primary of system keep no more WAL for a slot than its disk can bear: else drtool makes none."""
    sql = ("-c", f"alter system set max_slot_wal_keep_size = '{KEPT_WAL}'", "-c", "select pg_reload_conf()")
    psql = f'psql --host=/var/run/postgresql --username="$POSTGRES_USER" --dbname=postgres {shlex.join(sql)}'
    execute(cluster, "postgres-0", "sh", "-c", psql, namespace=system.namespace)


def write_secret(folder: Path, data: Mapping[str, str]) -> None:
    """Write a Secret as files, as `drtool render` and DRTOOL_SECRETS have them."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in data.items():
        (folder / key).write_text(value, encoding="utf-8")


def _as_secret(credentials: Credentials) -> dict[str, str]:
    return {"access_key": credentials.access_key, "secret_key": credentials.secret_key}


def _is_true(job: Answer, condition: str) -> bool:
    conditions = job["status"].get("conditions", ())
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)
