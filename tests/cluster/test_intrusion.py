"""Who takes over the cluster holds the writer's bundle and S3 credentials. What was stored before still restores."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from drtool.demo.servers.postgres import PostgresServer
from drtool.repository.access import AccessRole, s3_policy
from drtool.repository.format.names import family
from drtool.repository.storage.settings import S3Credentials, S3Settings
from tests.cluster.lab import Lab
from tests.cluster.minio import REGION, Credentials
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.scene import Scene, play

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

PREFIX: Final = "shop/"
WRITTEN: Final = {"lists", "packs", "runs", "snap", "tail", "wal"}  # what the backups of these tests leave


@dataclass(frozen=True)
class Taken:
    """A system that is backed up with a writer's narrow credentials, and everybody else's credentials."""

    lab: Lab
    bucket: str
    scene: Scene
    drtool: Commands
    users: dict[str, Credentials]

    @property
    def tree(self) -> Path:
        return self.scene.directory / "tree"

    def as_role(self, role: str) -> Commands:
        """Return the commands with another role's S3 credentials."""
        return replace(
            self.drtool, environment={**self.drtool.environment, **environment_of(self.users[role])}
        )

    def back_up(self, word: str) -> str:
        """Change every volume to word, and make a point of each that holds it; return up to when WAL came."""
        (self.tree / "file").write_text(word)
        self.scene.postgres.sql(f"create table {word} as select '{word}'::text as word")
        with self.scene.redis.connect() as connection:
            connection.call("SET", "word", word)
        self.drtool("backup")
        self.scene.postgres.sql("select pg_switch_wal()")
        self.scene.postgres.sql(f"insert into {word} values ('later')")
        return str(self.drtool("wal", "catch-up").value["catch_up"]["moment"])

    def points(self) -> list[dict[str, Any]]:
        return [
            point
            for point in self.as_role("operator").operator("points").value["points"]
            if point["state"] == "listed"
        ]

    def restored(self, volume: str, at: str, directory: Path) -> dict[str, object]:
        """Restore with the kit and an operator's credentials; return what it holds: bytes or rows."""
        more = ("--bin-dir", self.scene.postgres.bin_dir) if volume == "postgres" else ()
        self.as_role("operator").restore(volume, directory, "--at", at, *more)
        return rows(self.scene.postgres, directory) if volume == "postgres" else contents(directory)


def rows(lost: PostgresServer, directory: Path) -> dict[str, object]:
    with PostgresServer(directory, lost.bin_dir, password=lost.password, fast=True) as server:
        tables = server.sql("select tablename from pg_tables where schemaname = 'public'")
        return {table: server.sql(f"select word from {table} order by word") for (table,) in tables}


def contents(directory: Path) -> dict[str, object]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def environment_of(user: Credentials) -> dict[str, str]:
    return {"SCENE_ACCESS_KEY": user.access_key, "SCENE_SECRET_KEY": user.secret_key}


@pytest.fixture
def taken(lab: Lab) -> Iterator[Taken]:
    bucket = f"intrusion-{token_hex(4)}"
    lab.minio.make_bucket(bucket)
    root = lab.minio.client()
    root.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    roles: tuple[AccessRole, ...] = ("writer", "reader", "operator", "admin")
    users: dict[str, Credentials] = {
        role: lab.minio.add_user(f"{role}-{token_hex(4)}", s3_policy(role, bucket, PREFIX)) for role in roles
    }
    keys = S3Credentials(lab.minio.root.access_key, lab.minio.root.secret_key)
    settings = S3Settings(bucket, "scene/", lab.minio.endpoint, REGION, lambda: keys)
    try:
        with play(18, "7.0", settings) as scene:
            yield made(lab, bucket, scene, users)
    finally:
        for user in users.values():
            lab.minio.remove_user(user.access_key)
        empty(root, bucket)


def made(lab: Lab, bucket: str, scene: Scene, users: dict[str, Credentials]) -> Taken:
    """Make the repository as an admin would; from then on the writer's own credentials serve."""
    settings = S3Settings(bucket, PREFIX, lab.minio.endpoint)
    commands = Commands.over(scene, s3_repository(settings), **environment_of(users["admin"]))
    tree = scene.directory / "tree"
    tree.mkdir()
    content = json.loads(json.dumps(commands.content))
    content["volumes"].append({"name": "files", "source": "files", "path": str(tree)})
    commands = replace(commands, content=content).written()
    commands.init()
    writer = replace(commands, environment={**commands.environment, **environment_of(users["writer"])})
    return Taken(lab, bucket, scene, writer, users)


def empty(root: Any, bucket: str) -> None:
    for page in root.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            root.delete_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"])
    root.delete_bucket(Bucket=bucket)


def test_the_writers_credentials_suffice_and_a_reader_sees_it_from_outside(taken: Taken) -> None:
    taken.back_up("first")
    reader = taken.scene.directory / "reader.json"
    taken.drtool("keys", "reader", reader)
    outside = replace(taken.as_role("reader"), directory=taken.scene.directory / "outside").written()
    outside.bundle.write_bytes(reader.read_bytes())

    status = outside("status").value["status"]
    assert status["protection"]["state"] == "protected", status["protection"]
    assert status["protection"]["weaknesses"] == []
    assert {volume["volume"]: volume["inside"] for volume in status["volumes"]} == {
        "files": True, "postgres": True, "redis": True,
    }  # fmt: skip
    assert [point["state"] for point in outside("points").value["points"]] == ["listed"] * 3
    assert outside("verify", "--level", "L0").value["verification"]["faults"] == []


def test_credentials_that_may_too_much_are_seen_from_outside(taken: Taken) -> None:
    broad = replace(
        taken.drtool, environment={**taken.drtool.environment, **environment_of(taken.lab.minio.root)}
    )
    broad("backup", "files")

    found = broad("status").value["status"]
    assert found["protection"]["state"] == "not protected"
    said = " ".join((*found["protection"]["reasons"], *found["protection"]["weaknesses"]))
    for words in (
        "destroy versions for good",
        "may delete config",
        "policy, lifecycle, versioning",
        "read packs",
    ):
        assert words in said
    rules = taken.lab.minio.client().get_bucket_versioning(Bucket=taken.bucket)
    assert rules["Status"] == "Enabled"


@pytest.mark.parametrize("markers", [False, True], ids=["overwrites", "overwrites and puts delete markers"])
def test_what_an_intruder_overwrites_still_restores(
    taken: Taken,
    markers: bool,  # noqa: FBT001 - a column of a table
) -> None:
    between = taken.back_up("first")
    taken.back_up("second")
    points = taken.points()
    assert sorted(point["volume"] for point in points) == 2 * ["files"] + 2 * ["postgres"] + 2 * ["redis"]
    targets = [("postgres", between), *((point["volume"], point["end"]) for point in points)]
    before = restored(taken, targets, "before")
    assert before[0] == {"first": [("first",), ("later",)]}
    names = [found["Key"].removeprefix(PREFIX) for found in listing(taken)]
    assert {family(name) for name in names} == WRITTEN | {"config", "probe"}

    assert {family(name) for name in names if overwritten(taken, name)} == WRITTEN | {"probe"}
    if markers:
        hide(taken, names)
        assert [found["Key"] for found in listing(taken)] == []

    assert restored(taken, targets, "after") == before


def restored(taken: Taken, targets: list[tuple[str, str]], name: str) -> list[dict[str, object]]:
    return [
        taken.restored(volume, at, taken.scene.directory / f"{name}-{number}")
        for number, (volume, at) in enumerate(targets)
    ]


def listing(taken: Taken) -> list[dict[str, Any]]:
    found = taken.lab.minio.client().list_objects_v2(Bucket=taken.bucket, Prefix=PREFIX)
    assert not found["IsTruncated"]
    return list(found.get("Contents", ()))


def overwritten(taken: Taken, name: str) -> bool:
    """Do all that the writer's credentials can do to an object; tell whether its newest version is garbage now."""
    store = taken.lab.minio.client(taken.users["writer"])
    where = {"Bucket": taken.bucket, "Key": PREFIX + name}
    version = taken.lab.minio.client().head_object(**where)["VersionId"]
    for refused in (where, {**where, "VersionId": version}):
        with pytest.raises(ClientError, match="AccessDenied"):
            store.delete_object(**refused)
    try:
        store.put_object(**where, Body=b"garbage")
    except ClientError as refusal:
        if refusal.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return bool(taken.lab.minio.client().get_object(**where)["Body"].read() == b"garbage")


def hide(taken: Taken, names: list[str]) -> None:
    """Put a delete marker on every object, as credentials may that were made without `drtool keys s3-policy`."""
    policy = s3_policy("writer", taken.bucket, PREFIX)
    everything = [f"arn:aws:s3:::{taken.bucket}/*"]
    policy["Statement"].append({"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": everything})
    careless = taken.lab.minio.add_user(f"careless-{token_hex(4)}", policy)
    try:
        for name in names:
            taken.lab.minio.client(careless).delete_object(Bucket=taken.bucket, Key=PREFIX + name)
    finally:
        taken.lab.minio.remove_user(careless.access_key)
