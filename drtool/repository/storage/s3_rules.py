"""What a bucket's own settings mean for who relies on old versions, and requests that tell whether one may change them.

Each of those requests holds a value that no store takes: it is refused as not allowed, or as malformed by who would
have been allowed. Nothing changes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

CHANGES: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "policy": lambda client, bucket: client.put_bucket_policy(Bucket=bucket, Policy="{"),
    "lifecycle": lambda client, bucket: client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": [{"ID": "drtool-probe", "Status": "Probe"}]}
    ),
    "versioning": lambda client, bucket: client.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Probe"}
    ),
}
_NONE: Final = dict.fromkeys(("NotImplemented", "501", "MethodNotAllowed", "405"))
DENIED: Final = dict.fromkeys(("AccessDenied", "403"))
NOT_CHANGEABLE: Final = {**_NONE, **DENIED}
NO_LIFECYCLE: Final[Mapping[str, dict[str, Any] | None]] = {
    **{code: {} for code in (*_NONE, "NoSuchLifecycleConfiguration")},
    **DENIED,
}
NO_LOCK: Final[Mapping[str, dict[str, Any]]] = {
    code: {}
    for code in (
        *(*_NONE, *DENIED),
        *("ObjectLockConfigurationNotFoundError", "InvalidRequest", "NoSuchKey", "404"),
    )
}


def expiry_of(lifecycle: Mapping[str, Any], prefix: str) -> str:
    """Return after how long the store deletes versions below prefix that are not current; empty where it does not."""
    days = [
        rule["NoncurrentVersionExpiration"].get("NoncurrentDays", 0)
        for rule in lifecycle.get("Rules", ())
        if rule.get("Status") == "Enabled"
        and "NoncurrentVersionExpiration" in rule
        and _touches(_prefix_of(rule), prefix)
    ]
    return f"{min(days)} days" if days else ""


def _prefix_of(rule: Mapping[str, Any]) -> str:
    found = rule.get("Filter", {})
    return str(rule.get("Prefix") or found.get("Prefix") or found.get("And", {}).get("Prefix") or "")


def _touches(ruled: str, prefix: str) -> bool:
    """Tell whether a rule on `ruled` can delete what is stored below prefix, other than what a probe left there."""
    return prefix.startswith(ruled) or (ruled.startswith(prefix) and not ruled.startswith(f"{prefix}probe/"))


def lock_of(configuration: Mapping[str, Any]) -> str:
    """Return how long each new version is locked by default, as in `COMPLIANCE, 30 days`; empty where it is not."""
    found: Mapping[str, Any] = configuration.get("ObjectLockConfiguration", {})
    kept: Mapping[str, Any] = found.get("Rule", {}).get("DefaultRetention", {})
    spans: Sequence[str] = [f"{kept[unit]} {unit.lower()}" for unit in ("Days", "Years") if kept.get(unit)]
    return f"{kept.get('Mode', '?')}, {spans[0]}" if spans else ""
