"""What each role may do, held to what it may sign and to what a repository needs. On MinIO: tests/cluster."""

import json

import pytest

from drtool.repository.access import ACCESS, EVERYTHING, ROLES, AccessRole, s3_policy
from drtool.repository.config import MAY_SIGN
from drtool.repository.storage.probe import FAMILIES


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_put_what_it_may_sign(role: AccessRole) -> None:
    may = ACCESS[role].put
    signs = {family for family, roles in MAY_SIGN.items() if role in roles}
    assert EVERYTHING in may or signs <= set(may)


def test_only_the_maintainer_deletes_and_only_the_admin_beside_it_puts_a_config() -> None:
    assert {role for role, access in ACCESS.items() if access.delete} == {"maintainer"}
    assert {role for role, access in ACCESS.items() if {"config", EVERYTHING} & set(access.put)} == {
        "admin",
        "maintainer",
    }


def test_the_writer_and_the_reader_get_no_pack() -> None:
    for role in ("writer", "reader"):
        assert not {"packs", EVERYTHING} & set(ACCESS[role].get)
    assert set(FAMILIES) - {"packs"} <= set(ACCESS["reader"].get)


def test_a_runner_gets_what_a_grant_opens_and_sees_nothing_else() -> None:
    [get] = s3_policy("runner", "bucket", "shop/")["Statement"]

    assert get["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert {each.rpartition("shop/")[2] for each in get["Resource"]} == {
        f"{family}/*" for family in ("config", "snap", "lists", "packs", "wal", "tail")
    }


def test_a_policy_is_bound_to_the_prefix() -> None:
    policy = s3_policy("writer", "bucket", "shop/")
    listing, look, get, put = policy["Statement"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["shop/*"]}}
    assert look["Resource"] == ["arn:aws:s3:::bucket"]
    assert all(each.startswith("arn:aws:s3:::bucket/shop/") for each in (*get["Resource"], *put["Resource"]))
    assert "arn:aws:s3:::bucket/shop/packs/*" in put["Resource"]
    assert not any("Delete" in action for each in policy["Statement"] for action in each["Action"])
    assert len(json.dumps(policy)) < 2048  # what AWS takes as a user's inline policy


def test_a_repository_that_has_a_bucket_for_itself_needs_no_condition() -> None:
    listing, *rest = s3_policy("maintainer", "bucket", "")["Statement"]
    assert "Condition" not in listing
    assert [each["Resource"] for each in rest[1:]] == [["arn:aws:s3:::bucket/*"]] * 3
