"""Probes of the policy: what must answer once all has started. Asked again for a while, for applications warm up."""

from typing import Final
from urllib.parse import urlsplit

from drtool.deploy.one_off import OneOff
from drtool.errors import NotProven, TemporaryFailure
from drtool.operations.cluster_restore.inside import failure_of, run_command, run_pod
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.policy.schema import CommandProbe, HttpProbe
from drtool.recovery.steps import Step
from drtool.sources.base import Json

LIMIT_S: Final = 300.0
_ONCE_S: Final = 60.0  # for one command
_PAUSE_S: Final = 2.0


def run_probe(replay: Replay, step: Step, *, limit_s: float = LIMIT_S) -> Json:
    """Return once a probe is answered as it must be. Raises what was answered last."""
    probe = next(each for each in replay.policy.recovery.probes if each.name == step.what)
    match probe:
        case HttpProbe():
            args = (
                "mover",
                "probe",
                moved(probe.http, *replay.plan.namespace),
                "--status",
                str(probe.status),
            )
            asked = OneOff(
                replay.plan.wishes.image,
                args=(*args, "--limit", str(int(limit_s))),
            )
            run_pod(replay, step.id, asked, limit_s)
        case CommandProbe():
            _run_command(replay, probe, limit_s)
    return {}


def _run_command(replay: Replay, probe: CommandProbe, limit_s: float) -> None:
    deadline = Deadline(replay.session.world, limit_s)
    while True:
        try:
            why = failure_of(run_command(replay, probe.workload, None, probe.command, deadline, _ONCE_S))
        except TemporaryFailure as fault:
            if replay.session.world.ending.is_set():
                raise
            why = fault.message
        if not why:
            return
        if deadline.is_over():
            raise NotProven(f"{probe.command[0]}: {why}", hint="See why, mend it, and resume.")
        deadline.wait(_PAUSE_S)


def moved(address: str, old: str, new: str) -> str:
    """Return an address of the cluster, or a host, with the namespace in its name mapped: web.old becomes web.new."""
    host = urlsplit(address).hostname if "//" in address else address
    names = (host or "").split(".")
    for at in (1, 2):  # SERVICE.NAMESPACE or POD.SERVICE.NAMESPACE, with or without what comes behind
        if names[at : at + 1] == [old] and names[at + 1 : at + 2] in ([], ["svc"]):
            names[at] = new
    return address.replace(host or "", ".".join(names), 1) if host else address
