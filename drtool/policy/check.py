"""Is this policy able to keep its word? All that `drtool policy check` prints, from the policy alone."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal

from drtool.policy.cadence import Cadence, cadence
from drtool.policy.cost import Cost, cost
from drtool.policy.durations import brief_duration, format_duration
from drtool.policy.promises import PROMISES, Promise, Standing, cluster_local, is_directory, promises
from drtool.policy.schema import Policy
from drtool.policy.take_over import TAKE_OVER
from drtool.policy.volumes import LonghornVolume, PostgresVolume, RedisVolume, Volume

Level = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a policy; volume is None where it concerns the whole. An error breaks a promise."""

    level: Level
    volume: str | None
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class VolumeReport:
    """One volume: when it is captured, what that exposes, which promises hold, what it costs."""

    name: str
    source: str
    runs: str
    cadence: Cadence
    promises: tuple[Promise, ...]
    cost: Cost


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """The whole answer; findings are the errors first."""

    policy: str
    findings: tuple[Finding, ...]
    volumes: tuple[VolumeReport, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error among the findings."""
        return all(finding.level != "error" for finding in self.findings)

    def promises_that(self, standing: Standing) -> list[int]:
        """Return the numbers of the promises that stand so for any volume, in order."""
        return sorted(
            {each.number for volume in self.volumes for each in volume.promises if each.standing is standing}
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON: durations as text, 15m; bytes as numbers."""
        return {
            "policy": self.policy,
            "ok": self.ok,
            "broken": self.promises_that(Standing.BROKEN),
            "findings": [asdict(finding) for finding in self.findings],
            "volumes": [_volume_json(volume) for volume in self.volumes],
        }


def check_policy(
    policy: Policy,
    durations: Mapping[str, timedelta] = MappingProxyType({}),
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> PolicyReport:
    """Return what policy promises, and whether it can.

    durations and sizes are measured ones by volume name: the p99 from capture to durable, the bytes of one point.
    """
    reports: list[VolumeReport] = []
    findings = list(_policy_findings(policy))
    for volume in policy.volumes:
        pace = cadence(policy, volume, durations.get(volume.name))
        findings += _volume_findings(policy, volume, pace)
        reports.append(
            VolumeReport(
                name=volume.name,
                source=volume.source,
                runs=str(pace.schedule),
                cadence=pace,
                promises=promises(policy, volume),
                cost=cost(policy, volume, pace, sizes.get(volume.name)),
            )
        )
    findings += _skew_findings(policy, reports)
    severity = ("error", "warning", "info")
    findings.sort(key=lambda finding: severity.index(finding.level))
    return PolicyReport(policy.name, tuple(findings), tuple(reports))


def _policy_findings(policy: Policy) -> Iterator[Finding]:
    if local := cluster_local(policy.repository):
        yield Finding(
            "warning",
            None,
            f"the repository is not outside: {local}",
            "Put it where the disaster does not reach.",
        )
    if is_directory(policy.repository):
        yield Finding(
            "warning",
            None,
            "the repository is a directory, which is lost with its machine unless it is mounted from elsewhere",
            "Mount one that the disaster does not reach, or use a bucket.",
        )
    if policy.heartbeat is None:
        yield Finding("warning", None, "silence is not heard outside of the cluster", "Set heartbeat.")
    if not policy.notify:
        yield Finding("warning", None, "nobody is told of failures", "Set notify.")
    if policy.drill is None:
        yield Finding("warning", None, "no drill is planned: the recovery is never tried", "Set drill.")


def _skew_findings(policy: Policy, reports: list[VolumeReport]) -> Iterator[Finding]:
    promised = policy.objectives.max_skew
    widest = max(report.cadence.worst_exposure for report in reports)
    if promised is None and len(reports) > 1:
        yield Finding(
            "info", None, "volumes may come back at any distance from each other", "Set objectives.max_skew."
        )
    elif promised is not None and promised < widest:
        message = (
            f"newest points can lie {brief_duration(widest)} apart, max_skew is {brief_duration(promised)}"
        )
        yield Finding("warning", None, message, "Raise max_skew, or run the slowest volume more often.")


def _volume_findings(policy: Policy, volume: Volume, pace: Cadence) -> Iterator[Finding]:
    yield from _exposure_findings(volume, pace)
    if policy.rto(volume) > policy.objectives.rto:
        yield Finding(
            "error", volume.name, "its RTO is longer than the policy's, so the whole cannot be back in time"
        )
    if volume.window and pace.schedule.longest_gap() >= volume.window:
        message = (
            f"its window of {brief_duration(volume.window)} ends before the next run, which stores all anew"
        )
        yield Finding("warning", volume.name, message, "Widen window, or run more often.")
    if isinstance(volume, PostgresVolume | RedisVolume) and volume.password is None:
        yield Finding("info", volume.name, "no password: the server must trust drtool without one")
    if isinstance(volume, LonghornVolume):
        yield from _longhorn_findings(volume, pace)


def _exposure_findings(volume: Volume, pace: Cadence) -> Iterator[Finding]:
    knob = "tail_every" if isinstance(volume, PostgresVolume) else "schedule"
    if not pace.meets_rpo:
        hint = f"Lower {knob}, jitter or the work of a run, or promise a longer RPO."
        yield Finding("error", volume.name, f"its RPO cannot be met: {pace.arithmetic}", hint)
    elif not pace.survives_a_failure:
        message = (
            f"one failed run breaks its RPO: {pace.arithmetic}, {brief_duration(pace.after_one_failure)} then"
        )
        yield Finding(
            "warning", volume.name, message, f"Lower {knob}, so that there is time for a second try."
        )
    if pace.duration > volume.max_run:
        limit = brief_duration(volume.max_run)
        message = f"a run takes {brief_duration(pace.duration)}, longer than its max_run of {limit}"
        hint = f"Raise max_run, for points that arrive later do not count; a repository that is there: `{TAKE_OVER}`."
        yield Finding("error", volume.name, message, hint)


def _longhorn_findings(volume: LonghornVolume, pace: Cadence) -> Iterator[Finding]:
    if volume.ship_every is None:
        message = "promises 1 and 3 do not cover it: its bytes lie unencrypted in Longhorn's backup target"
        yield Finding("warning", volume.name, message, "Set ship_every.")
    elif volume.ship_every > pace.rpo:
        message = (
            f"without Longhorn's backup target up to {brief_duration(volume.ship_every)} is lost, not the RPO"
        )
        yield Finding(
            "info", volume.name, message, "Ship more often if that matters; each time clones the volume."
        )


def _volume_json(report: VolumeReport) -> dict[str, Any]:
    pace = report.cadence
    return {
        "name": report.name,
        "source": report.source,
        "runs": report.runs,
        "rpo": format_duration(pace.rpo),
        "interval": format_duration(pace.interval),
        "worst_exposure": format_duration(pace.worst_exposure),
        "meets_rpo": pace.meets_rpo,
        "survives_a_failure": pace.survives_a_failure,
        "arithmetic": pace.arithmetic,
        "promises": [
            {**asdict(promise), "promise": PROMISES[promise.number - 1]} for promise in report.promises
        ],
        "cost": asdict(report.cost),
    }
