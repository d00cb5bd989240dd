"""The restored system protects itself again: a new writer, drtool's own objects, and a first backup of each volume."""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from drtool.deploy.names import COMMON, POLICY_MAP, Object, new
from drtool.deploy.overlay import objects_of
from drtool.deploy.pods import POLICY_FILE
from drtool.deploy.secrets import own_keys
from drtool.deploy.workloads import backup_job
from drtool.errors import DrtoolError, NotProven, Refused
from drtool.operations.cluster_restore.apply import marked, put
from drtool.operations.cluster_restore.backup_jobs import run_backup, wait_for_own
from drtool.operations.cluster_restore.enrolling import is_bundle, policy_there
from drtool.operations.cluster_restore.replay import Enrolment, Replay
from drtool.operations.enrol import pass_second, standing, store_config
from drtool.operations.limits import limits_given
from drtool.operations.points import points_of, take_inventory
from drtool.operations.session import Session
from drtool.policy.load import policy_text
from drtool.policy.schema import Policy
from drtool.policy.volumes import PostgresVolume, Volume
from drtool.recovery.steps import Step
from drtool.repository.config import encode_config
from drtool.repository.enrol import Recovered, enrol_writer
from drtool.sources.base import Json
from drtool.sources.kubernetes.known import JOBS


def enrol_new_writer(replay: Replay, step: Step) -> Json:
    """Enrol a new writer, end the one before, and open a new epoch for each PostgreSQL. Safe to run again."""
    noted = _noted(replay)
    if noted is None or _is_lost(replay, noted):
        enrolment = _need(replay)
        repository = replay.session.repository
        admin = enrolment.admin()
        pass_second(replay.session)
        config, bundle = enrol_writer(
            repository, admin, [*_recovered(replay)], limits_given(replay.session.policy)
        )
        value = encode_config(config, admin)
        noted = {
            "writer": bundle.name,
            "bundle": bundle.dump(),
            "config": config.number,
            "signed": b64encode(value).decode(),
        }
        replay.journal.write(step.id, "noted", noted)  # before it counts: a bundle that is lost opens nothing
    store_config(replay.session, noted["config"], b64decode(noted["signed"]))
    return {"writer": noted["writer"], "config": noted["config"]}


def protect_again(replay: Replay, step: Step) -> Json:  # noqa: ARG001 - every action takes its step
    """Apply drtool's own objects, with the new writer's keys."""
    policy = policy_there(replay.policy, replay.namespace)
    objects = [*_own_objects(replay, policy), *objects_of(policy, replay.plan.wishes.image, replay.namespace)]
    for each in objects:
        each["metadata"].setdefault("namespace", replay.namespace)
        put(replay, marked(replay, each))
    return {"objects": len(objects)}


def first_backup(replay: Replay, step: Step) -> Json:  # noqa: ARG001 - every action takes its step
    """Back every volume up, and return its new point: as the repository shows it, whatever a Job says."""
    policy = policy_there(replay.policy, replay.namespace)
    with ThreadPoolExecutor(len(policy.volumes)) as pool:
        for done in [pool.submit(_back_up, replay, policy, volume) for volume in policy.volumes]:
            done.result()
    session = _reopened(replay)
    return {"points": {volume.name: _new_point(replay, session, volume) for volume in policy.volumes}}


def _need(replay: Replay) -> Enrolment:
    if replay.enrolment is None:
        raise Refused(
            "the plan enrols a new writer, and the admin's key is not at hand",
            hint="Resume with --admin-key-file FILE --writer-secrets DIR.",
        )
    return replay.enrolment


def _noted(replay: Replay) -> Json | None:
    """Return what was noted of the newest writer that this run made; None where it made none."""
    notes = (each.detail for each in replay.journal.entries() if each.state == "noted")
    return next((detail for detail in reversed([*notes]) if "bundle" in detail), None)


def _is_lost(replay: Replay, noted: Json) -> bool:
    """Return whether somebody else changed the config before the writer that was noted came to count."""
    return standing(replay.session, noted["config"], b64decode(noted["signed"])) == "theirs"


def _recovered(replay: Replay) -> Iterator[Recovered]:
    for volume in replay.policy.volumes:
        is_back = any(step.id == f"restore {volume.name}" for step in replay.plan.steps)
        if not isinstance(volume, PostgresVolume) or (replay.plan.in_place and not is_back):
            continue  # in place, what is not restored lives on in its epoch
        facts: dict[str, Any] = replay.results.get(f"restore {volume.name}", {}).get("facts", {})
        if not facts:  # without an epoch of its own, its WAL would mingle with that of the life before
            raise DrtoolError(
                f"nothing tells where the recovery of {volume.name} ended",
                hint="Enrol with `drtool keys enrol`: it opens an epoch of whatever may have been restored.",
            )
        yield Recovered(volume.name, facts["system_identifier"], int(facts["major"]), facts["end_lsn"])


def _own_objects(replay: Replay, policy: Policy) -> Iterator[Object]:
    yield new("v1", "ConfigMap", POLICY_MAP, COMMON, data={POLICY_FILE: policy_text(policy)})
    enrolment = _need(replay)
    noted = _noted(replay)
    if noted is None:
        raise DrtoolError("the journal holds no bundle of a new writer")
    for secret, keys in own_keys(policy).items():
        values = {
            key: str(noted["bundle"]).encode()
            if is_bundle(policy, secret, key)
            else (enrolment.secrets / secret / key).read_bytes()
            for key in keys
        }
        data = {key: b64encode(value).decode() for key, value in values.items()}
        yield new("v1", "Secret", secret, COMMON, data=data)


def _back_up(replay: Replay, policy: Policy, volume: Volume) -> None:
    """Run a Job as the volume's CronJob does, due or not, and wait for its end; or for that of one it began itself."""
    name = f"drtool-first-{volume.name}-{replay.run[-6:]}"
    job = backup_job(policy, volume, replay.plan.wishes.image)
    what = f"the first backup of {volume.name}"
    is_begun = replay.cluster.get(JOBS, replay.namespace, name) is not None
    if not is_begun and wait_for_own(replay, job, what) and _find_point(replay, _reopened(replay), volume):
        return
    run_backup(replay, name, job, what, is_alone=True)


def _new_point(replay: Replay, session: Session, volume: Volume) -> str:
    """Return the newest listed point of the new writer. Raises NotProven where there is none.

    Of a PostgreSQL only what WAL reaches is listed: its new epoch flows up to the end of the base backup at least.
    """
    found = _find_point(replay, session, volume)
    if found is None:
        raise NotProven(
            f"the first backup of {volume.name} ended well, and the repository lists no new point of it",
            hint=f"`drtool points {volume.name}` shows what there is.",
        )
    return found


def _find_point(replay: Replay, session: Session, volume: Volume) -> str | None:
    writer = (_noted(replay) or {}).get("writer")
    points = points_of(take_inventory(session, volume.name))
    found = [each for each in points if each.state == "listed" and each.writer == writer]
    return max(found, key=lambda each: each.end).name if found else None


def _reopened(replay: Replay) -> Session:
    if replay.reopen is None:
        raise DrtoolError("the repository cannot be opened anew")
    return replay.reopen()
