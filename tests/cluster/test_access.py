"""What `drtool keys s3-policy` prints is what MinIO then allows: every verb on every family, role by role."""

from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from drtool.repository.access import AccessRole, s3_policy
from drtool.repository.storage.probe import FAMILIES
from tests.cluster.lab import Lab

pytestmark = [pytest.mark.cluster, pytest.mark.lab]

PREFIX: Final = "shop/"
ALL: Final = {*FAMILIES, "hold", "using", "plan", "rewrap", "probe"}
WRITTEN: Final = {"packs", "lists", "snap", "part", "wal", "tail", "void", "runs", "probe"}
OF_ADMIN: Final = {"config", "rewrap", "probe"}

# Written by hand, so that the table in the code is held to something.
MAY: Final[dict[AccessRole, tuple[set[str], set[str], set[str]]]] = {  # get, put, delete
    "writer": (ALL - {"packs", "hold", "using", "plan", "rewrap"}, WRITTEN, set()),
    "reader": (ALL - {"packs"}, set(), set()),
    "verifier": (ALL, {"runs"}, set()),
    "maintainer": (ALL, ALL, ALL),
    "operator": (ALL, {"runs", "hold", "using"}, set()),
    "runner": ({"config", "snap", "lists", "packs", "wal", "tail"}, set(), set()),
    "admin": (OF_ADMIN | {"snap", "packs", "wal", "tail"}, OF_ADMIN, set()),
}


@pytest.fixture
def bucket(lab: Lab) -> Iterator[str]:
    """A versioned bucket with one object of each family, and one outside of the repository."""
    name = f"access-{token_hex(4)}"
    lab.minio.make_bucket(name)
    root = lab.minio.client()
    root.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for family in (*ALL, "../other"):
        root.put_object(Bucket=name, Key=key_of(family), Body=b"there")
    yield name
    for page in root.get_paginator("list_object_versions").paginate(Bucket=name):
        for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            root.delete_object(Bucket=name, Key=found["Key"], VersionId=found["VersionId"])
    root.delete_bucket(Bucket=name)


def key_of(family: str) -> str:
    return "other/object" if family == "../other" else f"{PREFIX}{family}/object"


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_do_what_the_table_says_and_no_more(lab: Lab, bucket: str, role: AccessRole) -> None:
    user = lab.minio.add_user(f"{role}-{token_hex(4)}", s3_policy(role, bucket, PREFIX))
    try:
        store = lab.minio.client(user)
        gets, puts, deletes = MAY[role]
        assert {family for family in ALL if may_get(store, bucket, family)} == gets
        assert {family for family in ALL if allows(store.put_object, bucket, family, Body=b"new")} == puts
        version = {family: oldest(lab, bucket, family) for family in ALL}
        assert {
            family for family in ALL if allows(store.delete_object, bucket, family, VersionId=version[family])
        } == deletes
        assert {family for family in ALL if allows(store.delete_object, bucket, family)} == deletes
        assert not may_get(store, bucket, "../other")
        assert not allows(store.put_object, bucket, "../other", Body=b"new")
        if role != "runner":
            assert listed(store, bucket, PREFIX)
        for prefix in ("other/", *([PREFIX] if role == "runner" else [])):
            with pytest.raises(ClientError, match="AccessDenied"):
                listed(store, bucket, prefix)
        change_nothing(store, bucket)
    finally:
        lab.minio.remove_user(user.access_key)


def may_get(store: Any, bucket: str, family: str) -> bool:
    return allows(store.get_object, bucket, family)


def allows(verb: Any, bucket: str, family: str, **more: Any) -> bool:
    """Tell whether the store does it; it must refuse for want of a right, not for another reason."""
    try:
        verb(Bucket=bucket, Key=key_of(family), **more)
    except ClientError as refused:
        if refused.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


def oldest(lab: Lab, bucket: str, family: str) -> str:
    found = lab.minio.client().list_object_versions(Bucket=bucket, Prefix=key_of(family))
    return str(found["Versions"][-1]["VersionId"])


def listed(store: Any, bucket: str, prefix: str) -> list[str]:
    answers = (
        store.list_objects_v2(Bucket=bucket, Prefix=prefix),
        store.list_object_versions(Bucket=bucket, Prefix=prefix),
    )
    return [each["Key"] for answer in answers for each in answer.get("Contents", answer.get("Versions", ()))]


def change_nothing(store: Any, bucket: str) -> None:
    """No role changes the bucket."""
    changes: tuple[Callable[[], object], ...] = (
        lambda: store.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}),
        lambda: store.put_bucket_policy(Bucket=bucket, Policy="{}"),
        lambda: store.delete_bucket_policy(Bucket=bucket),
        lambda: store.delete_bucket_lifecycle(Bucket=bucket),
        lambda: store.delete_bucket(Bucket=bucket),
    )
    for change in changes:
        with pytest.raises(ClientError, match="AccessDenied"):
            change()
