"""A backup of a volume before it is switched, by its own CronJob. Where that cannot be, the old volume has to do."""

from drtool.deploy.names import cron_job
from drtool.errors import DrtoolError
from drtool.operations.cluster_restore.backup_jobs import run_backup
from drtool.operations.cluster_restore.lease import Taken
from drtool.operations.cluster_restore.replay import Replay
from drtool.operations.points import points_of, take_inventory
from drtool.policy.moments import exact
from drtool.recovery.manifests.objects import Json
from drtool.recovery.steps import Step
from drtool.sources.kubernetes.known import CRON_JOBS, JOBS
from drtool.sources.kubernetes.writing import delete


def back_up_before(replay: Replay, step: Step) -> Json:
    """Back a volume up once more; return its newest point, or a note that says why there is no newer one.

    It fails for nothing that its CronJob does not manage: the old volume is kept whatever comes, and has all of it.
    """
    volume = replay.policy.volume(step.what)
    name = f"drtool-safety-{volume.name}-{replay.run[-6:]}"
    found = replay.cluster.get(CRON_JOBS, replay.namespace, cron_job(volume))
    if found is None:
        return _left_to_the_volume(volume.name, f"there is no CronJob {cron_job(volume)}")
    try:
        run_backup(replay, name, found, "its backup")
        delete(replay.cluster, JOBS, replay.namespace, name)
        known = points_of(take_inventory(replay.session, volume.name))
    except DrtoolError as fault:
        if isinstance(fault, Taken) or replay.session.world.ending.is_set():
            raise
        return _left_to_the_volume(volume.name, fault.message)
    points = [each for each in known if each.state == "listed" and each.end >= replay.plan.made]
    if not points:
        return _left_to_the_volume(
            volume.name, "its backup ended well, and no point of after the plan is listed"
        )
    newest = max(points, key=lambda each: each.end)
    return {"point": newest.name, "moment": exact(newest.end)}


def _left_to_the_volume(volume: str, why: str) -> Json:
    return {"notes": [f"volume {volume} was not backed up before the switch, its old volume is kept: {why}"]}
