"""What came back, held against the ledger: the judge of a restore.

comparison = compare(read_ledger(path), {"posts": found, …})
comparison.is_exact, comparison.of("posts").missing, print(comparison.text())
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from drtool.errors import UsageError
from tests.cluster.load.ledger import KINDS, Kind, Ledger, Write

SHOWN = 5  # identities that the text names of each fault


@dataclass(frozen=True, slots=True)
class Found:
    """One write that is there. sha256 is of its content; None for an upload whose file is not there."""

    id: str
    sha256: str | None = ""
    runs: int = 1


@dataclass(frozen=True, slots=True)
class KindComparison:
    """One kind of writes: those of the ledger against those that were found. Identities are sorted."""

    kind: Kind
    begun: int
    acknowledged: int
    intact: int
    missing: tuple[Write, ...]  # acknowledged and not there, oldest acknowledgement first
    holes: tuple[
        Write, ...
    ]  # those of missing that came before something which is there: no loss of the newest
    twice: tuple[str, ...]  # there more than once; of tasks: done more than once
    altered: tuple[str, ...]  # there with other content
    without_file: tuple[str, ...]  # there, but the file that the row names is not
    foreign: tuple[str, ...]  # there, and not in the ledger
    in_doubt: tuple[str, ...]  # there, begun and never acknowledged: nobody was promised anything
    last_present: datetime | None  # the newest acknowledgement that held
    last_acknowledged: datetime | None

    @property
    def is_exact(self) -> bool:
        """Whether each acknowledged write is there once, as it was, and nothing that nobody began."""
        return not (self.missing or self.twice or self.altered or self.without_file or self.foreign)

    @property
    def first_missing(self) -> datetime | None:
        """The oldest acknowledgement that did not hold."""
        return self.missing[0].acknowledged if self.missing else None

    @property
    def loss(self) -> timedelta | None:
        """The time from the newest acknowledgement that held to the newest of all; None if not one held."""
        if not self.missing:
            return timedelta(0)
        if self.last_present is None or self.last_acknowledged is None:
            return None
        return max(self.last_acknowledged - self.last_present, timedelta(0))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict over all kinds."""

    kinds: tuple[KindComparison, ...]
    torn: int

    @property
    def is_exact(self) -> bool:
        """Whether every kind is."""
        return all(each.is_exact for each in self.kinds)

    def of(self, kind: Kind) -> KindComparison:
        """Return the comparison of one kind."""
        return next(each for each in self.kinds if each.kind == kind)

    def value(self) -> dict[str, Any]:
        """Return the verdict as plain JSON."""
        return {"exact": self.is_exact, "torn": self.torn, **{each.kind: _value(each) for each in self.kinds}}

    def text(self) -> str:
        """Return the verdict for a person: first the answer, then a block for each kind."""
        lines = ["exact: what was acknowledged is there" if self.is_exact else "not what was acknowledged"]
        if self.torn:
            lines.append(f"the ledger has {self.torn} torn line(s), as of a generator that was killed")
        for each in self.kinds:
            lines += _text(each)
        return "\n".join(lines)


def compare(ledger: Ledger, found: Mapping[Kind, Iterable[Found]]) -> Comparison:
    """Hold what was found against the ledger, kind by kind. A kind that is not in found is not judged.

    Raises UsageError if no write was acknowledged: then whatever is there, and nothing too, would be exact.
    """
    if not any(write.acknowledged for write in ledger.writes.values()):
        raise UsageError(
            "the ledger has no acknowledged write, so comparing with it proves nothing",
            hint="Name the ledger of a run that wrote, and a moment of --until after its first acknowledgement.",
        )
    return Comparison(
        tuple(compare_kind(kind, ledger.of(kind), found[kind]) for kind in KINDS if kind in found),
        ledger.torn,
    )


def compare_kind(kind: Kind, writes: Mapping[str, Write], found: Iterable[Found]) -> KindComparison:
    """Hold what was found of one kind against its writes."""
    there: dict[str, Found] = {}
    times: Counter[str] = Counter()
    for each in found:
        there[each.id] = each
        times[each.id] += each.runs
    known = [write for id_, write in writes.items() if id_ in there]
    promised = [write for write in writes.values() if write.acknowledged]
    missing = sorted((write for write in promised if write.id not in there), key=_acknowledged)
    without_file = {write.id for write in known if there[write.id].sha256 is None}
    altered = {write.id for write in known if there[write.id].sha256 != write.sha256} - without_file
    twice = {id_ for id_, number in times.items() if number > 1}
    return KindComparison(
        kind=kind,
        begun=len(writes),
        acknowledged=len(promised),
        intact=sum(
            write.acknowledged is not None and write.id not in altered | without_file | twice
            for write in known
        ),
        missing=tuple(missing),
        holes=tuple(_holes(missing, known)),
        twice=tuple(sorted(twice)),
        altered=tuple(sorted(altered)),
        without_file=tuple(sorted(without_file)),
        foreign=tuple(sorted(there.keys() - writes.keys())),
        in_doubt=tuple(sorted(write.id for write in known if write.acknowledged is None)),
        last_present=max((write.acknowledged for write in known if write.acknowledged), default=None),
        last_acknowledged=max(map(_acknowledged, promised), default=None),
    )


def _holes(missing: Iterable[Write], present: Iterable[Write]) -> list[Write]:
    """Return what no single moment explains, before which all is there and after which nothing is.

    A write became real somewhere between its begin and its acknowledgement. So one that was acknowledged before
    something which is there was even begun was real before it, and should be there too.
    """
    newest = max((write.begun for write in present), default=None)
    return [write for write in missing if newest and _acknowledged(write) < newest]


def _acknowledged(write: Write) -> datetime:
    if write.acknowledged is None:
        raise ValueError(f"{write.id} was never acknowledged")
    return write.acknowledged


def _value(each: KindComparison) -> dict[str, Any]:
    loss = each.loss
    return {
        "exact": each.is_exact,
        "begun": each.begun,
        "acknowledged": each.acknowledged,
        "intact": each.intact,
        **{
            name: [{"id": write.id, "at": _moment(write.acknowledged)} for write in getattr(each, name)]
            for name in ("missing", "holes")
        },
        **{
            name: list(getattr(each, name))
            for name in ("twice", "altered", "without_file", "foreign", "in_doubt")
        },
        "first_missing": _moment(each.first_missing),
        "last_present": _moment(each.last_present),
        "last_acknowledged": _moment(each.last_acknowledged),
        "loss_seconds": None if loss is None else loss.total_seconds(),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _text(each: KindComparison) -> list[str]:
    lines = [f"{each.kind}: {each.intact} intact of {each.acknowledged} acknowledged"]
    faults = {
        "missing": [write.id for write in each.missing],
        "holes": [write.id for write in each.holes],
        "twice": each.twice,
        "altered": each.altered,
        "without file": each.without_file,
        "foreign": each.foreign,
        "in doubt": each.in_doubt,
    }
    for name, identities in faults.items():
        if identities:
            more = ", …" if len(identities) > SHOWN else ""
            lines.append(f"  {name}: {len(identities)} ({', '.join(identities[:SHOWN])}{more})")
    if each.missing:
        shape = "and not only the newest" if each.holes else "exactly the newest"
        loss = "all of it" if each.loss is None else f"{each.loss.total_seconds():.3f} s"
        lines.append(f"  lost: {loss}, {shape}")
        lines.append(
            f"  last present {_moment(each.last_present)}, first missing {_moment(each.first_missing)}"
        )
    return lines
