"""The policy of a repository for who has no file of it: each run of a writer tells the one that it followed."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from drtool.errors import UsageError
from drtool.operations.session import Session
from drtool.policy.load import parse_policy
from drtool.policy.schema import Policy
from drtool.repository.heads import pick_head
from drtool.repository.records import Record, arrival
from drtool.repository.runs import read_runs_that_tell

RUNS_SINCE: Final = timedelta(days=400)  # how far back runs are read


def tells_policy(run: Record) -> bool:
    """Return whether a run tells a policy that is to be believed."""
    return run.role == "writer" and bool(run.value.get("policy"))


def policy_in_force(session: Session, runs: Iterable[Record]) -> tuple[Policy, datetime | None]:
    """Return the policy that was given; else the newest that runs tell, and when the store received it.

    Raises UsageError where neither is there.
    """
    if session.policy is not None:
        return session.policy, None
    newest = max(filter(tells_policy, runs), key=arrival, default=None)
    if newest is None:
        raise UsageError(
            "no policy was given, and no run in the repository tells one yet",
            hint="Give --policy FILE, or let `drtool backup` run first.",
        )
    return parse_policy(str(newest.value["policy"]), f"the policy of {newest.name}"), newest.received


def policy_as_of(session: Session, now: datetime, as_of: str | None) -> Policy:
    """Return the policy that was given; else the newest that a run told, of those that came before the head as_of.

    Raises UsageError where neither is there.
    """
    if session.policy is not None:
        return session.policy
    records, since = session.repository.records, now - RUNS_SINCE
    head = pick_head(records, as_of) if as_of is not None else None

    def is_told(run: Record) -> bool:
        return tells_policy(run) and (head is None or run.received <= head.received)

    runs = read_runs_that_tell(records, since, since, is_told)
    return policy_in_force(session, filter(is_told, runs))[0]
