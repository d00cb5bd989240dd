"""Which instance to capture: the one that is named, or the best replica that a Sentinel knows.

A master that Sentinel watches is left alone where it can be: a transfer longer than Sentinel's poll of 10 s would
stand in every Sentinel's list of replicas for ever.
"""

from dataclasses import dataclass

from drtool.errors import DrtoolError, Refused, SourceUnavailable, TemporaryFailure
from drtool.sources.redis.connection import Access, Connection, Endpoint
from drtool.sources.redis.info import Info
from drtool.sources.redis.sentinels import Sentinel, ask

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What an instance must keep to be captured.

    memory_bytes is what its container may use; 0 takes the memory of its machine. cow_factor is the share of its
    data that is expected to be written, and so held twice, while it saves.
    """

    lag_bytes: int = MIB
    lag_s: int = 30
    memory_bytes: int = 0
    cow_factor: float = 0.5


@dataclass(frozen=True, slots=True)
class Chosen:
    """An open connection to the instance that is captured. lag_s is how far its data may trail the master's."""

    connection: Connection
    info: Info
    lag_s: int


def not_now(info: Info, limits: Limits) -> str:
    """Return why this instance should not be captured at the moment, or nothing. Pure."""
    if info.number("loading") or info.number("async_loading"):
        return "it is still loading its data"
    if info.is_replica and info.text("master_link_status") != "up":
        return "it has lost its master"
    if info.is_replica and info.number("master_sync_in_progress"):
        return "it is being filled by its master"
    if info.is_replica and info.number("master_last_io_seconds_ago") > limits.lag_s:
        return f"it has not heard of its master for {info.number('master_last_io_seconds_ago')} s"
    return ""


def too_little_memory(info: Info, limits: Limits) -> str:
    """Return why a fork of this instance could end in an out-of-memory kill, or nothing. Pure.

    maxmemory says nothing here: what a fork writes twice does not count against it. A server that has just started
    says 0 of its resident memory, until it has looked.
    """
    limit, data = limits.memory_bytes or info.number("total_system_memory"), info.number("used_memory")
    used, needed = max(info.number("used_memory_rss"), data), int(limits.cow_factor * data)
    if limit and used + needed > limit:
        return (
            f"saving may need {needed // MIB} MiB beside the {used // MIB} MiB in use, of {limit // MIB} MiB"
        )
    return ""


def open_named(endpoint: Endpoint, access: Access, limits: Limits) -> Chosen:
    """Connect to the one instance. Raises TemporaryFailure or Refused where it should not be captured."""
    connection = Connection(endpoint, access)
    try:
        info = Info.of(connection)
        _check_moment(endpoint, not_now(info, limits))
        _check_memory(endpoint, info, limits)
    except BaseException:
        connection.close()
        raise
    return Chosen(connection, info, max(0, info.number("master_last_io_seconds_ago")))


def open_replica(sentinel: Sentinel, access: Access, limits: Limits, previous: str = "") -> Chosen:
    """Connect to the best replica that Sentinel knows: the one that was captured before, else the least behind.

    Raises SourceUnavailable, with the reason of each replica, where none will do; TemporaryFailure where waiting
    helps each of them.
    """
    master, replicas = ask(sentinel)
    position = _master_position(master, access)
    fit: list[tuple[bool, int, Chosen]] = []
    reasons: list[DrtoolError] = []
    for endpoint in replicas:
        try:
            chosen = _open_fit(endpoint, access, limits, position)
            behind = position[1] - chosen.info.number("slave_repl_offset")
            fit.append((str(endpoint) != previous, behind, chosen))
        except DrtoolError as error:
            reasons.append(error)
    if not fit:
        raise _none_fit(sentinel.master, reasons)
    fit.sort(key=lambda candidate: candidate[:2])
    for _, _, spare in fit[1:]:
        spare.connection.close()
    return fit[0][2]


def open_master(sentinel: Sentinel, access: Access, limits: Limits) -> Chosen:
    """Connect to the master that the Sentinels name. Raises as `ask` and `open_named`, or that it is no master."""
    endpoint = master_endpoint(sentinel)
    chosen = open_named(endpoint, access, limits)
    try:
        _check_master(endpoint, chosen.info)
    except BaseException:
        chosen.connection.close()
        raise
    return chosen


def master_endpoint(sentinel: Sentinel) -> Endpoint:
    """Return where the master is, as the Sentinels say. Raises as `ask`."""
    return ask(sentinel)[0]


def _open_fit(endpoint: Endpoint, access: Access, limits: Limits, position: tuple[str, int]) -> Chosen:
    chosen = open_named(endpoint, access, limits)
    reason = ""
    if not chosen.info.is_replica:
        reason = "it is no replica any more"
    elif chosen.info.text("master_replid") != position[0]:
        reason = "it follows another history than the master's"
    elif position[1] - chosen.info.number("slave_repl_offset") > limits.lag_bytes:
        reason = f"it is {position[1] - chosen.info.number('slave_repl_offset')} bytes behind"
    elif chosen.info.number("rdb_bgsave_in_progress") or chosen.info.number("aof_rewrite_in_progress"):
        reason = "it is saving"
    if reason:
        chosen.connection.close()
    _check_moment(endpoint, reason)
    return chosen


def _none_fit(master: str, reasons: list[DrtoolError]) -> DrtoolError:
    waiting_helps = reasons and all(isinstance(reason, TemporaryFailure) for reason in reasons)
    told = "; ".join(map(str, reasons)) or "Sentinel knows none"
    return (TemporaryFailure if waiting_helps else SourceUnavailable)(
        f"no replica of {master} can be captured: {told}",
        hint="Mend a replica; allow_master takes the master instead, but Sentinel may keep us as a replica of it.",
    )


def _check_moment(endpoint: Endpoint, reason: str) -> None:
    if reason:
        raise TemporaryFailure(
            f"redis at {endpoint} cannot be captured: {reason}", hint="Try again in a moment."
        )


def _check_memory(endpoint: Endpoint, info: Info, limits: Limits) -> None:
    if reason := too_little_memory(info, limits):
        raise Refused(
            f"redis at {endpoint} was not captured: {reason}",
            hint="Give its container more memory, or lower cow_factor if few keys are written meanwhile.",
        )


def _master_position(master: Endpoint, access: Access) -> tuple[str, int]:
    """Return the master's replication id and offset: what a replica's are compared with.

    Raises TemporaryFailure where it is no master: what follows it then is not what Sentinel knows.
    """
    with Connection(master, access) as connection:
        info = Info.of(connection)
    _check_master(master, info)
    return info.text("master_replid"), info.number("master_repl_offset")


def _check_master(named: Endpoint, info: Info) -> None:
    if info.is_replica:
        raise TemporaryFailure(
            f"Sentinel names {named} as the master, and it is a replica: "
            "a failover is under way, or Sentinel is cut off",
            hint="Try again in a minute; `drtool doctor` shows which Sentinel names which master.",
        )
