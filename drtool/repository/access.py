"""What each role may do in the bucket, and the IAM policy that says so to an S3 store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

AccessRole = Literal["writer", "reader", "verifier", "maintainer", "operator", "runner", "admin"]
ROLES: Final[tuple[AccessRole, ...]] = get_args(AccessRole)

PROBE: Final = "probe"  # where the canary lives
_SMALL: Final = ("void", "hold", "using", "plan", "rewrap")
_OPEN: Final = ("config", "lists", "snap", "part", "wal", "tail", *_SMALL, "runs", "heads", PROBE)
_WRITTEN: Final = ("packs", "lists", "snap", "part", "wal", "tail", "void", "runs", PROBE)
EVERYTHING: Final = ""  # the family of all families

_ARN: Final = "arn:aws:s3:::"
_LIST: Final = ["s3:ListBucket", "s3:ListBucketVersions"]
_LOOK: Final = [
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketVersioning",
    "s3:GetLifecycleConfiguration",
]


@dataclass(frozen=True, slots=True)
class Access:
    """The families of objects that a role may get, put and delete, and whether it may list them."""

    get: tuple[str, ...]
    put: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    lists: bool = True


ACCESS: Final[Mapping[AccessRole, Access]] = {
    "writer": Access(
        tuple(each for each in _OPEN if each not in ("hold", "using", "plan", "rewrap")), _WRITTEN
    ),
    "reader": Access(_OPEN),
    "verifier": Access((EVERYTHING,), ("runs",)),
    "maintainer": Access((EVERYTHING,), (EVERYTHING,), (EVERYTHING,)),
    # Grants are made, and URLs signed, with what an operator may do: a URL gets an object as the operator would.
    "operator": Access((EVERYTHING,), ("runs", "hold", "using")),
    # A grant tells its runner every name. With URLs that were signed for it, it needs no access at all.
    "runner": Access(("config", "snap", "lists", "packs", "wal", "tail"), lists=False),
    "admin": Access(("config", "snap", "rewrap", "packs", "wal", "tail", PROBE), ("config", "rewrap", PROBE)),
}


def s3_policy(role: AccessRole, bucket: str, prefix: str) -> dict[str, Any]:
    """Return the IAM policy of a role for the repository below prefix, which is empty or ends in `/`.

    It is what AWS and MinIO take. No role may change the bucket itself, and only a maintainer deletes.
    """
    access = ACCESS[role]
    place = f"{_ARN}{bucket}"
    listing: dict[str, Any] = {"Sid": "List", "Effect": "Allow", "Action": _LIST, "Resource": [place]}
    if prefix:
        listing["Condition"] = {"StringLike": {"s3:prefix": [f"{prefix}*"]}}
    look = {"Sid": "Look", "Effect": "Allow", "Action": _LOOK, "Resource": [place]}
    statements = [listing, look] if access.lists else []
    for sid, actions, families in (
        ("Get", ["s3:GetObject", "s3:GetObjectVersion"], access.get),
        ("Put", ["s3:PutObject"], access.put),
        ("Delete", ["s3:DeleteObject", "s3:DeleteObjectVersion"], access.delete),
    ):
        if families:
            resources = [f"{place}/{prefix}{family}{'/' if family else ''}*" for family in sorted(families)]
            statements.append({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources})
    return {"Version": "2012-10-17", "Statement": statements}
