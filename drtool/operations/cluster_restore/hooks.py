"""Hooks of the policy: what the team does by hand. Run again by --resume where they had begun and not ended."""

from drtool.deploy.one_off import OneOff
from drtool.deploy.pods import DRTOOL_USER
from drtool.errors import DrtoolError, TemporaryFailure
from drtool.operations.cluster_restore.inside import failure_of, run_command, run_pod
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.cluster_restore.waiting import Deadline
from drtool.policy.hooks import CommandHook, JobHook
from drtool.recovery.steps import Step
from drtool.sources.base import Json


def run_hook(replay: Replay, step: Step) -> Json:
    """Run a hook and return how it ended. Raises what it failed with, unless its failure is only to be noted."""
    hook = next(each for each in replay.policy.recovery.hooks if each.name == step.what)
    try:
        _run(replay, step, hook)
    except DrtoolError as fault:
        if hook.on_failure == "stop" or replay.session.world.ending.is_set():
            raise
        replay.session.world.progress.note(f"hook {hook.name} failed, and is passed over: {fault.message}")
        told = f"hook {hook.name} failed, and was passed over: {fault.message}"
        return {"failed": fault.message, "notes": [told]}
    return {}


def _run(replay: Replay, step: Step, hook: CommandHook | JobHook) -> None:
    limit_s = hook.time_limit.total_seconds()
    if isinstance(hook, JobHook):
        user = hook.job.run_as
        who = (user.user, user.group, user.groups) if user else (DRTOOL_USER, DRTOOL_USER, ())
        does = OneOff(hook.job.image, hook.job.command, (), *who)
        run_pod(replay, step.id, does, limit_s)
        return
    deadline = Deadline(replay.session.world, limit_s)
    ended = run_command(replay, hook.workload, hook.container, hook.command, deadline, limit_s)
    if why := failure_of(ended):
        raise TemporaryFailure(
            f"{hook.command[0]}: {why}", hint="See to what it says, and resume: it runs again."
        )
