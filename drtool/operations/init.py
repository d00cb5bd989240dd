"""Make the repository of a policy: probe the store, make the keys, see them kept, and only then store the config."""

from collections.abc import Callable, Sequence
from pathlib import Path

from drtool.errors import Refused, StoreUnavailable
from drtool.operations.limits import limits_of
from drtool.operations.results import InitResult, ProbeRow
from drtool.operations.session import World, connect
from drtool.operations.sheets import render_admin_sheet, render_kit
from drtool.policy.load import load_policy
from drtool.policy.schema import Policy
from drtool.repository.format.crypto import SigningKey
from drtool.repository.repository import Created, Request, prepare_repository, put_config
from drtool.repository.storage.base import ObjectStore
from drtool.repository.storage.probe import probe_store

Recipients = Sequence[tuple[str, bytes | None]]


def run_init(
    policy_file: Path,
    recipients: Recipients,
    world: World,
    *,
    dry_run: bool,
    keep: Callable[[InitResult], None] = lambda _result: None,
) -> InitResult:
    """Return the new repository of a policy. recipients: names, with the public key of those made elsewhere.

    keep is called once with the result, before anything of the repository is stored: it must make the bundle, the
    kits and the admin sheet durable, or raise. Then a failure leaves at worst keys without a repository, never a
    repository without keys. A dry run looks whether there is a repository already, and stores nothing.

    Raises Refused when there is one, or when the store cannot hold one; StoreUnavailable; PolicyInvalid.
    """
    policy = load_policy(policy_file)
    store = connect(policy.repository, world)
    world.progress.phase("look at the store")
    created = prepare_repository(store, Request(policy.name, recipients, limits_of(policy)))
    if dry_run:
        return _result(policy, created, ())
    world.progress.phase("probe the store")
    result = _result(policy, created, _probe(store, world))
    keep(result)
    world.progress.phase("store the config")
    _commit(store, created)
    return result


def _probe(store: ObjectStore, world: World) -> tuple[ProbeRow, ...]:
    findings = probe_store(store, world.clock)
    missing = [f"{found.name}: {found.detail}" for found in findings if found.essential and not found.ok]
    if missing:
        raise Refused(
            f"the store cannot hold a repository: {'; '.join(missing)}",
            hint="Use another store, or ask its operator about what is named here.",
        )
    return tuple(ProbeRow(found.name, found.ok, found.detail) for found in findings)


def _result(policy: Policy, created: Created, probes: tuple[ProbeRow, ...]) -> InitResult:
    names = tuple(entry.name for entry in created.config.recipients)
    return InitResult(
        policy=policy.name,
        repository=created.config.repository,
        url=policy.repository.url,
        recipients=names,
        kit={name: render_kit(name, created, policy.repository) for name in names},
        admin_sheet=render_admin_sheet(created, policy.repository),
        bundle=created.writer.dump(),
        probes=probes,
    )


def _commit(store: ObjectStore, created: Created) -> None:
    try:
        put_config(store, created.config, SigningKey(created.admin_seed))
    except StoreUnavailable as fault:
        # Whether it was stored is unknown: the answer of a store can get lost on its way.
        raise type(fault)(
            f"the new repository may not have been stored: {fault.message}",
            hint="Keep its keys. If `drtool status` then finds no repository, delete them, and init again.",
        ) from fault
