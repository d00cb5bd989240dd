"""What the Sentinels of a master say: of all that answer, those who know the latest failover, and most of these.

A failover takes the votes of most Sentinels and a higher epoch, so that one that was cut off names an old master with
a lower one. Redis: Sentinel, "Configuration epochs" and "TILT mode".
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from drtool.errors import DrtoolError, SourceUnavailable, TemporaryFailure
from drtool.sources.redis.connection import Access, Connection, Endpoint, Reply
from drtool.sources.redis.info import Info
from drtool.sources.redis.refusals import CommandRefused

_NAMED_S: Final = 10.0
_TOLD_OF_S: Final = 3.0  # for one that another Sentinel names: it may be long gone, or out of reach from here


@dataclass(frozen=True, slots=True)
class Sentinel:
    """The Sentinels that watch one master, and who we are to them. Others that these know are asked, too."""

    endpoints: tuple[Endpoint, ...]
    master: str
    access: Access = field(default_factory=Access)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one Sentinel says."""

    sentinel: Endpoint
    master: dict[str, str]
    replicas: Sequence[dict[str, str]]
    others: Sequence[dict[str, str]]
    is_steady: bool


def ask(sentinel: Sentinel) -> tuple[Endpoint, list[Endpoint]]:
    """Return the master and its replicas.

    Raises SourceUnavailable where no Sentinel answers, or as many name one master as another; TemporaryFailure while
    it is failed over, or none that answers trusts its own clock.
    """
    failures: list[str] = []
    answers = [*_answers(sentinel, failures)]
    if not answers:
        raise SourceUnavailable(
            f"no Sentinel of {sentinel.master} answers: {'; '.join(failures)}",
            hint="Check the Sentinels' addresses, their password, and the name of the master.",
        )
    steady = [each for each in answers if each.is_steady]
    if not steady:
        raise TemporaryFailure(
            f"every Sentinel of {sentinel.master} that answers is in TILT: its machine slept, or its clock jumped",
            hint="Try again in a minute.",
        )
    named = ranked([each.master for each in steady])
    if len(named) > 1 and named[0][0] == named[1][0]:
        raise SourceUnavailable(
            f"the Sentinels do not agree on {sentinel.master}: as many name {named[0][1]} as {named[1][1]}",
            hint="`drtool doctor` shows which Sentinel names which; find out which is right.",
        )
    (epoch, _), master = named[0]
    chosen = [each for each in steady if (epoch_of(each.master), endpoint_of(each.master)) == (epoch, master)]
    if any("failover_in_progress" in each.master["flags"] for each in chosen):
        raise TemporaryFailure(f"Sentinel is failing {sentinel.master} over", hint="Try again in a minute.")
    return master, [endpoint_of(each) for each in chosen[0].replicas if _is_alive(each)]


def ranked(masters: Iterable[Mapping[str, str]]) -> list[tuple[tuple[int, int], Endpoint]]:
    """Return the masters that are named, best first: by the latest failover that names one, then by how many do.

    masters is what steady Sentinels reply. Where the first two rank alike, a person has to judge.
    """
    named = Counter((endpoint_of(each), epoch_of(each)) for each in masters)
    best: dict[Endpoint, tuple[int, int]] = {}
    for (master, epoch), count in named.items():
        best[master] = max(best.get(master, (0, 0)), (epoch, count))
    return sorted(((rank, master) for master, rank in best.items()), key=lambda each: each[0], reverse=True)


def epoch_of(fields: Mapping[str, str]) -> int:
    """Return the failover that a Sentinel knows last, of its reply about the master."""
    return int(fields.get("config-epoch", "0"))


def is_tilted(connection: Connection) -> bool:
    """Return whether a Sentinel distrusts its own clock. Raises CommandRefused for who may not ask."""
    return bool(Info.of(connection).number("sentinel_tilt"))


def _answers(sentinel: Sentinel, failures: list[str]) -> Iterator[_Answer]:
    """Yield what each says, of those that are named and those that these know; why others do not goes to failures."""
    waiting, known = list(sentinel.endpoints), set(sentinel.endpoints)
    while waiting:
        endpoint = waiting.pop(0)
        try:
            answer = _asked(sentinel, endpoint)
        except DrtoolError as error:
            failures.append(str(error))
            continue
        yield answer
        found = [endpoint_of(each) for each in answer.others if _is_alive(each)]
        waiting += [each for each in found if each not in known]
        known.update(found)


def _asked(sentinel: Sentinel, endpoint: Endpoint) -> _Answer:
    timeout_s = _NAMED_S if endpoint in sentinel.endpoints else _TOLD_OF_S
    with Connection(endpoint, sentinel.access, timeout_s=timeout_s) as connection:
        master = pairs(connection.call("SENTINEL", "MASTER", sentinel.master))
        replicas = _each(connection.call("SENTINEL", "REPLICAS", sentinel.master))
        try:
            others = _each(connection.call("SENTINEL", "SENTINELS", sentinel.master))
        except CommandRefused:  # who may not ask for them has those that are named
            others = []
        try:
            is_steady = not is_tilted(connection)
        except CommandRefused:
            is_steady = True
    return _Answer(endpoint, master, replicas, others, is_steady)


def _is_alive(node: dict[str, str]) -> bool:
    down = {"s_down", "o_down", "disconnected"} & set(node["flags"].split(","))
    return not down and node["port"] != "0"


def _each(reply: Reply) -> list[dict[str, str]]:
    return [pairs(one) for one in reply] if isinstance(reply, list) else []


def endpoint_of(fields: Mapping[str, str]) -> Endpoint:
    """Return where the server of a Sentinel's reply listens."""
    return Endpoint(fields["ip"], int(fields["port"]))


def pairs(reply: Reply) -> dict[str, str]:
    """Return a reply of alternating names and values as a dict."""
    words: Iterator[str] = (
        word.decode() for word in (reply if isinstance(reply, list) else []) if isinstance(word, bytes)
    )
    return dict(zip(words, words, strict=False))
