"""MinIO, the object store of the lab: in the machine room, so that it outlives every cluster whose backups it keeps."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import urllib3
from botocore.config import Config
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from tests.cluster.addresses import MACHINE_ROOM
from tests.cluster.process import Process, wait_until

PORT, CONSOLE_PORT = 9000, 9001
REGION = "us-east-1"
START_S = 60
PATIENT = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3})


@dataclass(frozen=True)
class Credentials:
    """An access key and its secret."""

    access_key: str
    secret_key: str = field(repr=False)


class Minio:
    """The MinIO of the lab whose folder is lab: an S3 store at endpoint, without TLS."""

    def __init__(self, lab: Path) -> None:
        self.endpoint = f"http://{MACHINE_ROOM}:{PORT}"
        self.data = lab / "minio" / "data"
        self.root_file = lab / "minio" / "root.json"
        self.process = Process(
            "minio",
            [
                lab / "bin/minio",
                "server",
                "--quiet",
                f"--address={MACHINE_ROOM}:{PORT}",
                f"--console-address={MACHINE_ROOM}:{CONSOLE_PORT}",
                self.data,
            ],
            lab,
            env={
                "MINIO_ROOT_USER": self.root.access_key,
                "MINIO_ROOT_PASSWORD": self.root.secret_key,
                "MINIO_BROWSER": "off",
            },
        )

    @property
    def root(self) -> Credentials:
        """The credentials that may do everything; made with the first use."""
        if not self.root_file.exists():
            self.root_file.parent.mkdir(parents=True, exist_ok=True)
            self.root_file.touch(mode=0o600)
            self.root_file.write_text(
                json.dumps({"access_key": "root", "secret_key": secrets.token_urlsafe(24)})
            )
        return Credentials(**json.loads(self.root_file.read_text()))

    def start(self) -> None:
        """Start MinIO, and return when it answers."""
        self.data.mkdir(exist_ok=True)
        self.process.start()
        wait_until(self.answers, "MinIO answers", deadline_s=START_S, process=self.process)

    def kill(self) -> None:
        """End MinIO at once; start() finds what was durable."""
        self.process.kill()

    def answers(self) -> bool:
        """Tell whether MinIO says that it lives."""
        try:
            answer = urllib3.request("GET", f"{self.endpoint}/minio/health/live", retries=False, timeout=5)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200

    def client(self, credentials: Credentials | None = None) -> Any:
        """Return boto3's S3 client, of root if no credentials are given."""
        who = credentials or self.root
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=who.access_key,
            aws_secret_access_key=who.secret_key,
            config=PATIENT,
        )

    def make_bucket(self, name: str, *, lock: bool = False) -> None:
        """Make a bucket; with lock, its objects can be locked, which needs versions and turns them on."""
        self.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)

    def add_user(self, name: str, policy: dict[str, object]) -> Credentials:
        """Make a user who may do what policy, an IAM document, says."""
        admin = self._admin()
        made = Credentials(name, secrets.token_urlsafe(24))
        admin.user_add(made.access_key, made.secret_key)
        admin.policy_add(name, policy=policy)
        admin.policy_set(name, user=name)
        return made

    def remove_user(self, name: str) -> None:
        """Take a user's rights away, at once."""
        self._admin().user_remove(name)

    def _admin(self) -> Any:
        return MinioAdmin(
            endpoint=f"{MACHINE_ROOM}:{PORT}",
            credentials=StaticProvider(self.root.access_key, self.root.secret_key),
            secure=False,
        )
