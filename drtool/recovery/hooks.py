"""What speaks against the hooks and probes of a policy in a plan, and which hooks and references are left out of it."""

from collections.abc import Iterator, Sequence

from drtool.policy.hooks import CommandHook
from drtool.policy.schema import CommandProbe, Policy
from drtool.recovery.manifests.prepare import Prepared
from drtool.recovery.refusal import Refusal
from drtool.recovery.steps import Phase


def hook_refusals(policy: Policy, objects: Sequence[Prepared], phases: Sequence[Phase]) -> Iterator[Refusal]:
    """Yield the commands that would find no pod: their workload starts later, or does not come back."""
    commands = {
        f"probe {each.name}": each for each in policy.recovery.probes if isinstance(each, CommandProbe)
    }
    hooks = {f"hook {each.name}": each for each in policy.recovery.hooks if isinstance(each, CommandHook)}
    steps = [step for phase in phases for step in phase.steps]
    waiting = {name.rpartition("/")[2] for step in steps if step.kind == "start" for name in step.objects}
    known = {each.ref.name for each in objects}
    for step in steps:
        if step.kind == "start":
            waiting -= {name.rpartition("/")[2] for name in step.objects}
        command = commands.get(step.id) or hooks.get(step.id)
        if command is None:
            continue
        if command.workload in waiting:
            said = f"runs in a pod of {command.workload}, which starts only after it"
            yield Refusal(step.id, said, f"Write after: {{start: {command.workload}}}.")
        elif known and command.workload not in known:
            said = f"runs in a pod of {command.workload}, and no workload of that name comes back"
            yield Refusal(step.id, said, "Correct workload in the policy.")


def reference_notes(policy: Policy, phases: Sequence[Phase]) -> Iterator[str]:
    """Yield the files that nobody looks for, for their database or they themselves do not come back."""
    planned = {step.id for phase in phases for step in phase.steps}
    for each in policy.recovery.references:
        if f"references {each.name}" not in planned:
            needed = f"it takes {each.database}, {each.files} and workloads that start"
            yield f"references {each.name}: not looked for, {needed}"


def hook_notes(policy: Policy, phases: Sequence[Phase]) -> Iterator[str]:
    """Yield the hooks that are not in the plan, for what they wait for is not."""
    planned = {step.id for phase in phases for step in phase.steps}
    for hook in policy.recovery.hooks:
        if f"hook {hook.name}" not in planned:
            when = "before" if hook.before else "after"
            ((what, name),) = hook.place.model_dump().items()
            yield f"hook {hook.name}: it runs {when} the {what} of {name}, which no step of this plan is"
