"""The volumes, each by its own source: an instance that is away is said, and the next is looked at."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from drtool.errors import DrtoolError
from drtool.operations.descent import refuse_other_server
from drtool.operations.doctor.patient import Findings, Patient, failure, finding
from drtool.operations.results import Finding
from drtool.operations.settings import CLAIMS, files_directory, postgres_settings, redis_settings
from drtool.policy.volumes import FilesVolume, PostgresVolume, RedisVolume
from drtool.sources.base import Symptom
from drtool.sources.postgres import checkup as postgres
from drtool.sources.postgres.descent import newest_timeline
from drtool.sources.postgres.slot import slot_name
from drtool.sources.redis import checkup as redis


def examine_postgres(patient: Patient) -> Findings:
    """Yield how each PostgreSQL volume stands. Its slot is named for the repository, so that must open."""
    for volume in patient.policy.volumes:
        if isinstance(volume, PostgresVolume):
            yield from _told("postgres", volume.name, _postgres(patient, volume))


def examine_redis(patient: Patient) -> Findings:
    """Yield how each Redis volume stands."""
    for volume in patient.policy.volumes:
        if isinstance(volume, RedisVolume):
            yield from _told("redis", volume.name, _redis(patient, volume))


def examine_files(patient: Patient) -> Findings:
    """Yield whether the files of each volume can be read from here."""
    for volume in patient.policy.volumes:
        if isinstance(volume, FilesVolume):
            yield from _told("files", volume.name, _files(patient, volume))


def _told(area: str, about: str, symptoms: Iterable[Symptom]) -> Iterator[Finding]:
    try:
        for symptom in symptoms:
            yield finding(area, about, symptom)
    except DrtoolError as fault:
        yield failure(area, about, fault)


def _postgres(patient: Patient, volume: PostgresVolume) -> Iterator[Symptom]:
    settings = postgres_settings(volume, patient.world)
    slot = None
    if patient.session is not None:
        repository = patient.session.repository.config.repository
        slot = slot_name(patient.policy.name, volume.name, repository)
    is_well = True
    for symptom in postgres.examine(settings, slot, volume.on_backlog, volume.name):
        is_well = is_well and symptom.level != "error"
        yield symptom
    if patient.session is not None and is_well:
        held = refuse_other_server(patient.session, volume)
        is_first = newest_timeline(held.wal) == 0
        told = (
            "no WAL of it is stored yet" if is_first else "its timeline goes on with the WAL that is stored"
        )
        yield Symptom("ok", told)


def _redis(patient: Patient, volume: RedisVolume) -> Iterator[Symptom]:
    yield from redis.examine(redis_settings(volume, patient.world))


def _files(patient: Patient, volume: FilesVolume) -> Iterator[Symptom]:
    directory = files_directory(volume, patient.world)
    if volume.claim is not None and not _claims(patient).is_dir():
        yield Symptom("ok", f"claim {volume.claim} is mounted where its backup runs, not here")
    elif not directory.is_dir():
        yield Symptom("error", f"{directory} is no directory here", "Look at the volume's path or claim.")
    elif not os.access(directory, os.R_OK | os.X_OK, effective_ids=True):
        yield Symptom(
            "error",
            f"{directory} cannot be read by user {os.geteuid()}",
            "Run drtool as a user who may read all of it.",
        )
    else:
        yield Symptom("ok", f"{directory} can be read")


def _claims(patient: Patient) -> Path:
    return Path(patient.world.environment.get("DRTOOL_CLAIMS", CLAIMS))
