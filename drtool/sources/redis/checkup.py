"""Is this Redis ready to be captured: its rights, its replicas, its Sentinels, each with the statement that mends it.

Rights are found by trying, for who may be captured need not be allowed to read ACLs. Nothing is changed.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from drtool.errors import DrtoolError, TemporaryFailure
from drtool.sources.base import Symptom
from drtool.sources.redis.capture import RedisSettings
from drtool.sources.redis.connection import Access, Connection, Endpoint
from drtool.sources.redis.info import Info
from drtool.sources.redis.nodes import open_master, open_named, open_replica
from drtool.sources.redis.refusals import KEEP_IT, CommandRefused
from drtool.sources.redis.rights import OPTIONAL, REQUIRED, Words, refusal_of
from drtool.sources.redis.sentinels import Sentinel, ask, endpoint_of, is_tilted, pairs, ranked

OLDEST_VERSION = (6, 2)
CLI = "redis-cli"
SENTINEL_RIGHTS = ("sentinel|master", "sentinel|replicas", "sentinel|sentinels", "sentinel|ckquorum", "info")


def examine(settings: RedisSettings) -> Iterator[Symptom]:
    """Yield what was found, instance by instance."""
    if settings.sentinel is None:
        assert settings.endpoint  # noqa: S101 - the policy gives one or the other
        yield from _instance(settings.endpoint, settings.access)
    else:
        yield from _sentinels(settings.sentinel)
        try:
            master, replicas = ask(settings.sentinel)
        except TemporaryFailure as fault:  # which no Sentinel's own findings say
            yield Symptom("error", fault.message, fault.hint)
            return
        except DrtoolError:
            return  # said by _sentinels
        for endpoint in (master, *replicas):
            yield from _instance(endpoint, settings.access)
    yield _choice(settings)


def _choice(settings: RedisSettings) -> Symptom:
    """Return which instance a backup would take now."""
    try:
        if settings.sentinel is None:
            assert settings.endpoint  # noqa: S101 - the policy gives one or the other
            chosen = open_named(settings.endpoint, settings.access, settings.limits)
        else:
            chosen = open_replica(settings.sentinel, settings.access, settings.limits)
    except DrtoolError as fault:
        if settings.sentinel is not None and settings.allow_master:
            try:
                open_master(settings.sentinel, settings.access, settings.limits).connection.close()
            except DrtoolError as worse:
                return Symptom("error", worse.message, worse.hint)
            return Symptom("warning", f"{fault.message}; the master is captured instead", fault.hint)
        if settings.sentinel is not None:
            return Symptom("error", fault.message, fault.hint, ("allow_master: true",), "the volume's policy")
        return Symptom("error", fault.message, fault.hint)
    with chosen.connection:
        role = "replica" if chosen.info.is_replica else "master"
        return Symptom(
            "ok", f"a backup takes the {role} {chosen.connection.endpoint}, {chosen.lag_s} s behind"
        )


def _instance(endpoint: Endpoint, access: Access) -> Iterator[Symptom]:
    try:
        with Connection(endpoint, access) as connection:
            yield from _version(connection)
            yield from _rights(connection, access)
    except DrtoolError as fault:
        yield Symptom("error", fault.message, fault.hint)


def _version(connection: Connection) -> Iterator[Symptom]:
    try:
        info = Info.of(connection)
    except CommandRefused:
        return  # said by _rights
    numbers = tuple(int(part) for part in info.version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_VERSION:
        yield Symptom(
            "error",
            f"{connection.endpoint} is version {info.version}; drtool needs 6.2 or later",
            "Upgrade the server: older ones lack the replication that drtool speaks.",
        )
    else:
        yield Symptom("ok", f"{connection.endpoint} is {info.flavour} {info.version}, {info.text('role')}")


def _rights(connection: Connection, access: Access) -> Iterator[Symptom]:
    user = _who(connection, access)
    levels: tuple[tuple[Mapping[str, Words], Literal["warning", "error"], str], ...] = (
        (REQUIRED, "error", "a capture needs that"),
        (OPTIONAL, "warning", "its configuration and ACL are not backed up"),
    )
    for needed, level, what in levels:
        missing = []
        for name, words in needed.items():
            refusal = refusal_of(connection, words)
            if refusal is not None and refusal.is_right:
                missing.append(name)
            elif refusal is not None:
                yield Symptom(level, refusal.message, refusal.hint)
        if missing:
            names = ", ".join(name.upper().replace("|", " ") for name in missing)
            grants = " ".join(f"+{name}" for name in missing)
            said = f"user {user} of {connection.endpoint} may not run {names}: {what}"
            mend = (f"ACL SETUSER {user} {grants}",)
            yield Symptom(level, said, KEEP_IT, mend, f"{CLI} at {connection.endpoint}")


def _who(connection: Connection, access: Access) -> str:
    try:
        reply = connection.call("ACL", "WHOAMI")
    except CommandRefused:
        reply = None
    return reply.decode() if isinstance(reply, bytes) else access.username or "default"


def _sentinels(sentinel: Sentinel) -> Iterator[Symptom]:
    """Yield whether the Sentinels answer, name one master, and could fail it over."""
    waiting, asked = list(sentinel.endpoints), set(sentinel.endpoints)
    answers: dict[Endpoint, dict[str, str]] = {}
    tilted: set[Endpoint] = set()
    while waiting:
        endpoint = waiting.pop(0)
        try:
            with Connection(endpoint, sentinel.access) as connection:
                answers[endpoint] = pairs(connection.call("SENTINEL", "MASTER", sentinel.master))
                others = connection.call("SENTINEL", "SENTINELS", sentinel.master)
                found = [endpoint_of(pairs(one)) for one in others] if isinstance(others, list) else []
                waiting += [one for one in found if one not in asked]
                asked |= set(found)
                if is_tilted(connection):
                    tilted.add(endpoint)
                connection.call("SENTINEL", "CKQUORUM", sentinel.master)
        except CommandRefused as refusal:
            yield _no_right_at_sentinel(endpoint, sentinel, refusal)
        except DrtoolError as fault:
            level: Literal["warning", "error"] = "error" if endpoint in sentinel.endpoints else "warning"
            yield Symptom(level, fault.message, fault.hint)
    for endpoint in tilted & answers.keys():
        del answers[endpoint]
        yield Symptom(
            "warning",
            f"the Sentinel {endpoint} is in TILT and is not believed: its machine slept, or its clock jumped",
            "It ends by itself in half a minute; where it comes again, look at the machine and its clock.",
        )
    yield from _agreement(answers, sentinel.master)


def _no_right_at_sentinel(endpoint: Endpoint, sentinel: Sentinel, refusal: CommandRefused) -> Symptom:
    user = sentinel.access.username or "default"
    grants = " ".join(f"+{name}" for name in SENTINEL_RIGHTS)
    mend = (f"ACL SETUSER {user} {grants}",) if refusal.is_right else ()
    return Symptom("error", refusal.message, KEEP_IT if mend else refusal.hint, mend, f"{CLI} at {endpoint}")


def _agreement(answers: Mapping[Endpoint, dict[str, str]], name: str) -> Iterator[Symptom]:
    named = ranked(answers.values())
    if len(named) == 1:
        yield Symptom("ok", f"{len(answers)} Sentinels name {named[0][1]} as {name}")
    is_tie = len(named) > 1 and named[0][0] == named[1][0]
    for place, fields in answers.items() if len(named) > 1 else ():
        said, wanted = endpoint_of(fields), named[0][1]
        if is_tie or said != wanted:
            mend = (
                f"SENTINEL REMOVE {name}",
                f"SENTINEL MONITOR {name} {wanted.host} {wanted.port} {fields['quorum']}",
            )
            yield Symptom(
                "error",
                f"the Sentinels do not agree: {place} names {said} as {name}",
                "Find out which is right."
                if is_tie
                else "Then set what it forgot: SENTINEL SET with auth-pass and down-after-milliseconds.",
                () if is_tie else mend,
                f"{CLI} at {place}",
            )
