"""The policy of a repository for who has no file of it: each run of a writer tells the one that it followed."""

from collections.abc import Iterable
from datetime import datetime

from drtool.errors import UsageError
from drtool.operations.session import Session
from drtool.policy.load import parse_policy
from drtool.policy.schema import Policy
from drtool.repository.records import Record


def tells_policy(run: Record) -> bool:
    """Return whether a run tells a policy that is to be believed."""
    return run.role == "writer" and bool(run.value.get("policy"))


def policy_in_force(session: Session, runs: Iterable[Record]) -> tuple[Policy, datetime | None]:
    """Return the policy that was given; else the newest that runs tell, and when the store received it.

    Raises UsageError where neither is there.
    """
    if session.policy is not None:
        return session.policy, None
    newest = max(filter(tells_policy, runs), key=lambda run: run.received, default=None)
    if newest is None:
        raise UsageError(
            "no policy was given, and no run in the repository tells one yet",
            hint="Give --policy FILE, or let `drtool backup` run first.",
        )
    return parse_policy(str(newest.value["policy"]), f"the policy of {newest.name}"), newest.received
