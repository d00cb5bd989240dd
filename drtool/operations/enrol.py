"""`keys enrol`: a new writer in the place of the one before, after a restore. Its bundle is kept before it counts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from drtool.errors import Refused, WrongKey
from drtool.operations.limits import limits_given
from drtool.operations.points import take_inventory
from drtool.operations.session import Session
from drtool.repository.config import CLOCK_GRAIN, Epoch, config_prefix, encode_config
from drtool.repository.enrol import Recovered, enrol_writer
from drtool.repository.format.crypto import SigningKey, sha256
from drtool.repository.kit import Bundle
from drtool.repository.repository import load_config

Standing = Literal["free", "ours", "theirs"]


@dataclass(frozen=True, slots=True)
class EnrolResult:
    """A new writer, in which config, who ended for it, the epochs that were opened, and volumes that came with it."""

    policy: str
    writer: str
    config: int
    ended: tuple[str, ...]
    epochs: tuple[Epoch, ...]
    added: tuple[str, ...] = ()


def run_enrol(
    session: Session, admin: SigningKey, keep: Callable[[Bundle], None], *, dry_run: bool = False
) -> EnrolResult:
    """Enrol a new writer, and return what was made. keep makes its bundle durable, or raises: nothing is stored then.

    Whichever PostgreSQL of the repository was restored goes on in a new epoch; what the policy, if one was given, got
    since `init` is taken over. Raises WrongKey; Refused when somebody else changed the config at the same time.
    """
    check_admin(session, admin)
    before = session.repository.config
    volumes = limits_given(session.policy)
    if not dry_run:
        pass_second(session)
    config, bundle = enrol_writer(session.repository, admin, [*_lineages(session)], volumes)
    if not dry_run:
        keep(bundle)
        store_config(session, config.number, encode_config(config, admin))
    return EnrolResult(
        policy=config.policy,
        writer=bundle.name,
        config=config.number,
        ended=tuple(each.name for each in before.signers if each.role == "writer" and each.until is None),
        epochs=tuple(config.epochs[len(before.epochs) :]),
        added=tuple(name for name in config.volumes if name not in before.volumes),
    )


def pass_second(session: Session) -> None:
    """Return once the store's clock, cut to seconds, is past what it showed: what a writer stored counts when it ends.

    A writer ends with the beginning of a second.
    """
    session.world.ending.wait(CLOCK_GRAIN.total_seconds())


def check_admin(session: Session, admin: SigningKey) -> None:
    """Return when admin is the repository's. Raises WrongKey."""
    config = session.repository.config
    if admin.public.hex() != config.admin:
        raise WrongKey(
            "the admin key is not that of this repository",
            hint=f"Take the admin sheet whose line `id` is {config.repository}.",
        )


def _lineages(session: Session) -> Iterator[Recovered]:
    for volume in session.repository.config.volumes:
        lineages = {base.lineage for base in take_inventory(session, volume).bases}
        for system, major in sorted({(each.system_identifier, each.major) for each in lineages}):
            yield Recovered(volume, str(system), major)


def standing(session: Session, number: int, value: bytes) -> Standing:
    """Return whether value, a config's object, is the one of its number that counts, as the store shows it now."""
    config = session.repository.config
    chain = load_config(session.repository.store, config.repository_id, bytes.fromhex(config.admin))
    if number >= len(chain.digests):
        return "free"
    return "ours" if chain.digests[number] == sha256(value) else "theirs"


def store_config(session: Session, number: int, value: bytes) -> None:
    """Store a config's object, unless it is there, and return once it counts. Raises Refused where another one does."""
    stands = standing(session, number, value)
    if stands == "free":
        digest = sha256(value)
        session.repository.store.put(f"{config_prefix(number)}{digest.hex()}", value, digest)
        # Whoever the store dates into the same second is seen by then; who comes later does not count.
        session.world.ending.wait(CLOCK_GRAIN.total_seconds())
        stands = standing(session, number, value)
    if stands != "ours":
        raise Refused(
            f"somebody else changed the config at the same time: config {number} is theirs",
            hint="See who did, and do it again if need be; a bundle that was made here opens nothing.",
        )
