"""What the report of a restore into a cluster says, for who promised it: the verdict first, how it was done last."""

from pathlib import Path

from drtool import __version__
from drtool.cli.output import say_aside
from drtool.cli.units import NONE, counted, rate, took
from drtool.errors import UsageError
from drtool.operations.cluster_restore.results import (
    CheckedReferences,
    ClusterRestoreResult,
    Failure,
    RestoredVolume,
)
from drtool.policy.moments import exact, to_second
from drtool.policy.sizes import size
from drtool.report.html import to_html
from drtool.report.page import Figure, Grid, Page, Section, Tone


def refuse_unwritable(file: Path) -> None:
    """Return when a report can go to file. Raises UsageError: an hour later nobody could choose another place."""
    if file.exists() or not file.absolute().parent.is_dir():
        is_not = "is there already" if file.exists() else "cannot be made: its folder is not there"
        raise UsageError(f"the report {file} {is_not}", hint="Name a new file in a folder that is there.")


def write_report(file: Path, result: ClusterRestoreResult) -> None:
    """Write the report to a new file. What is restored stays so where that fails: then it is said."""
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(to_html(page_of(result)))
    except OSError as fault:
        say_aside(f"note: the report {file} could not be written: {fault.strerror}; --json has the same")


def page_of(result: ClusterRestoreResult) -> Page:
    """Return the report of a run: one that came to its end, or one that did not."""
    if result.failure is not None:
        return _page_of_failure(result, result.failure)
    proofs = [proof for each in result.volumes for proof in each.proofs]
    failed = sum(not proof.ok for proof in proofs)
    gaps = [each for each in result.references if not each.is_whole]
    tone: Tone = "bad" if result.missed or failed or gaps else "good"
    verdict = f"{result.policy} is {result.outcome}"
    advice = f"In {result.target.context}, namespace {result.namespace}, since {to_second(result.ended)}."
    if failed:
        verdict = f"{result.policy} is not proven: {counted(failed, 'proof')} failed"
        advice = "Do not put it into service."
    return Page(
        title=f"Restore of {result.policy}, {to_second(result.ended)}",
        verdict=verdict,
        advice=advice,
        tone=tone,
        figures=_figures(result, failed, len(proofs)),
        sections=[
            Section("Promises that were not kept", result.missed, nothing_said="None: all were kept."),
            Section("What was lost", grid=_losses(result)),
            Section("How long it took", grid=_phases(result)),
            Section("What was proven", grid=_proofs(result)),
            *([_references(result)] if result.references else []),
            Section("What a human must still look at", result.notes),
            Section("Technical appendix: the run", _run(result)),
            Section("Technical appendix: points", grid=_points(result)),
            Section("Technical appendix: steps", grid=_steps(result)),
        ],
    )


def _page_of_failure(result: ClusterRestoreResult, failure: Failure) -> Page:
    late = result.seconds > result.rto.total_seconds()
    promise = f"promised: at most {took(result.rto.total_seconds())}, and it is not back"
    done = f"{failure.done} of {failure.planned}"
    return Page(
        title=f"Restore of {result.policy}, {to_second(result.ended)}",
        verdict=f"{result.policy} is not restored: the run failed",
        advice=failure.way_on,
        tone="bad",
        figures=[
            Figure("Time so far", took(result.seconds), promise, "bad" if late else "good"),
            Figure("Steps that are done", done, "none of them is done again", "bad"),
        ],
        sections=[
            Section("Why it failed", [failure.cause, *([failure.hint] if failure.hint else [])]),
            Section("The way on", [failure.way_on]),
            Section("What was under way", failure.steps, nothing_said="Nothing."),
            Section("Promises that were not kept", result.missed, nothing_said="None yet."),
            Section("What is back, and waits for the rest", grid=_losses(result)),
            Section("What was proven", grid=_proofs(result)),
            Section("What a human must still look at", result.notes),
            Section("Technical appendix: the run", _run(result)),
            Section("Technical appendix: points", grid=_points(result)),
            Section("Technical appendix: steps", grid=_steps(result)),
        ],
    )


def _figures(result: ClusterRestoreResult, failed: int, proofs: int) -> list[Figure]:
    late = result.seconds > result.rto.total_seconds()
    data = [each for each in result.volumes if each.source != "manifests"]
    worst = max(data, key=lambda each: each.loss, default=None)
    lost = [
        Figure(
            "Most that was lost",
            _lost(each),
            f"{each.volume}; promised: at most {_promised(each)}",
            _tone(each),
        )
        for each in [worst]
        if each is not None
    ]
    promise = f"promised: at most {took(result.rto.total_seconds())}"
    return [
        *lost,
        Figure("Time until it was back", took(result.seconds), promise, "bad" if late else "good"),
        Figure(
            "Proofs that hold",
            f"{proofs - failed} of {proofs}",
            "each would fail if the data were wrong",
            "bad" if failed else "good",
        ),
    ]


def _tone(each: RestoredVolume) -> Tone:
    return "bad" if each.source != "manifests" and each.loss > each.rpo else "good"


def _lost(each: RestoredVolume) -> str:
    return took(max(0.0, each.loss.total_seconds()))


def _promised(each: RestoredVolume) -> str:
    return took(each.rpo.total_seconds())


def _losses(result: ClusterRestoreResult) -> Grid:
    rows = [(each.volume, exact(each.moment), _lost(each), _promised(each)) for each in result.volumes]
    bad = frozenset(number for number, each in enumerate(result.volumes) if _tone(each) == "bad")
    return Grid(("Volume", "Is back to", "Lost", "Promised: at most"), rows, bad)


def _phases(result: ClusterRestoreResult) -> Grid:
    late = result.seconds > result.rto.total_seconds()
    whole = ("in all", took(result.seconds), took(result.rto.total_seconds()))
    rows = [*((name, took(spent), NONE) for name, spent in result.phases.items()), whole]
    return Grid(("Phase", "Took", "Promised: at most"), rows, frozenset([len(rows) - 1] if late else []))


def _proofs(result: ClusterRestoreResult) -> Grid:
    proofs = [(each.volume, proof) for each in result.volumes for proof in each.proofs]
    rows = [
        (volume, proof.name, "holds" if proof.ok else "FAILED", proof.expected, proof.actual)
        for volume, proof in proofs
    ]
    bad = frozenset(number for number, (_, proof) in enumerate(proofs) if not proof.ok)
    return Grid(("Volume", "Proof", "Result", "Expected", "Found"), rows, bad)


def _references(result: ClusterRestoreResult) -> Section:
    rows = [(each.name, each.database, each.files, *_counts(each)) for each in result.references]
    bad = frozenset(number for number, each in enumerate(result.references) if not each.is_whole)
    told = [f"{each.name}: nobody can tell: {each.failed}" for each in result.references if each.failed]
    told += [f"{each.name}: missing: {path}" for each in result.references for path in each.first]
    columns = ("References", "Rows of", "Files of", "Listed", "Missing")
    return Section("Files that rows refer to", told, Grid(columns, rows, bad))


def _counts(each: CheckedReferences) -> tuple[str, str]:
    return ("unknown", "unknown") if each.failed else (str(each.listed), str(each.missing))


def _run(result: ClusterRestoreResult) -> list[str]:
    target = result.target
    return [
        f"run {result.run}, from {exact(result.begun)} to {exact(result.ended)}, by drtool {__version__}",
        f"context {target.context} at {target.where}, Kubernetes {target.version}",
        f"uid of the cluster: {target.uid or 'not to be seen'}",
    ]


def _points(result: ClusterRestoreResult) -> Grid:
    rows = [
        (
            each.volume,
            each.source,
            each.point,
            size(each.size),
            took(each.seconds),
            rate(each.size, each.seconds),
        )
        for each in result.volumes
    ]
    return Grid(("Volume", "Source", "Point", "Size", "Took", "Rate"), rows)


def _steps(result: ClusterRestoreResult) -> Grid:
    rows = [(name, took(spent)) for name, spent in result.steps.items()]
    return Grid(("Step", "Took"), rows)
