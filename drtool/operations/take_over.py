"""`keys volumes`: the repository takes over what the policy got since `init`: volumes, longer max_run and window.

Only the config changes: who writes goes on with its bundle. Volumes that left the policy stay, for their points do.
"""

from dataclasses import dataclass

from drtool.errors import StoreOutage, StoreUnavailable
from drtool.operations.enrol import check_admin, store_config
from drtool.operations.limits import LimitChange, limit_changes, limits_of
from drtool.operations.session import Session
from drtool.policy.schema import Policy
from drtool.repository.config import Config, encode_config
from drtool.repository.format.crypto import SigningKey


@dataclass(frozen=True, slots=True)
class TakeOver:
    """What the policy has and the repository has not: volumes, and longer limits. config is the one that has it.

    left are volumes that are not in the policy any more: their points stay. shorter are limits that stay as they were,
    for points that are there were made under them.
    """

    policy: str
    config: int
    added: tuple[str, ...]
    longer: tuple[LimitChange, ...]
    shorter: tuple[LimitChange, ...]
    left: tuple[str, ...]

    @property
    def is_needed(self) -> bool:
        """Whether the config has to change."""
        return bool(self.added or self.longer)


def run_take_over(session: Session, admin: SigningKey, *, dry_run: bool = False) -> TakeOver:
    """Store the config that has all volumes of the policy, with their limits; where there is none missing, nothing.

    Raises UsageError without a policy, WrongKey; Refused when somebody else changed the config at the same time.
    """
    check_admin(session, admin)
    policy, repository = session.need_policy(), session.repository
    following = repository.config.next(
        repository.store.now(),
        repository.config_sha256,
        volumes=repository.config.with_volumes(limits_of(policy)),
    )
    result = compare(repository.config, policy, following.number)
    if result.is_needed and not dry_run:
        _store(session, following, admin)
    return result


def compare(config: Config, policy: Policy, number: int) -> TakeOver:
    """Return what the policy has that config has not; number is that of the config that would have it."""
    changes = [each for volume in policy.volumes for each in limit_changes(config, volume)]
    added = tuple(volume.name for volume in policy.volumes if volume.name not in config.volumes)
    longer = tuple(each for each in changes if each.wanted > each.before)
    return TakeOver(
        policy=policy.name,
        config=number if added or longer else config.number,
        added=added,
        longer=longer,
        shorter=tuple(each for each in changes if each.wanted < each.before),
        left=tuple(name for name in config.volumes if policy.find(name) is None),
    )


def _store(session: Session, config: Config, admin: SigningKey) -> None:
    try:
        store_config(session, config.number, encode_config(config, admin))
    except StoreOutage:
        raise
    except StoreUnavailable as fault:
        raise type(fault)(
            f"the config could not be stored: {fault.message}",
            hint="A writer may not put it: give --repository URL too, and the access key of the role admin in "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ) from fault
