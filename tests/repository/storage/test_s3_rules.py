from typing import Any

import pytest

from drtool.repository.storage.s3_rules import expiry_of, lock_of

AFTER = {"NoncurrentVersionExpiration": {"NoncurrentDays": 30}, "Status": "Enabled"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], ""),
        ([{**AFTER}], "30 days"),
        ([{**AFTER, "Filter": {"Prefix": "shop/packs/"}}], "30 days"),
        ([{**AFTER, "Filter": {"And": {"Prefix": "shop/"}}}], "30 days"),
        ([{**AFTER, "Prefix": "sho"}], "30 days"),
        ([{**AFTER, "Prefix": "shop/probe/"}], ""),
        ([{**AFTER, "Prefix": "other/"}], ""),
        ([{**AFTER, "Status": "Disabled"}], ""),
        ([{"Status": "Enabled", "Expiration": {"Days": 3}}], ""),
        ([{**AFTER}, {**AFTER, "NoncurrentVersionExpiration": {"NoncurrentDays": 7}}], "7 days"),
    ],
)
def test_a_rule_that_deletes_old_versions_of_ours_is_found(
    rules: list[dict[str, Any]], expected: str
) -> None:
    assert expiry_of({"Rules": rules}, "shop/") == expected


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({}, ""),
        ({"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}, ""),
        (
            {"ObjectLockConfiguration": {"Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}}}},
            "COMPLIANCE, 30 days",
        ),
        (
            {"ObjectLockConfiguration": {"Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Years": 1}}}},
            "GOVERNANCE, 1 years",
        ),
    ],
)
def test_a_lock_is_one_only_with_a_default(configuration: dict[str, Any], expected: str) -> None:
    assert lock_of(configuration) == expected
