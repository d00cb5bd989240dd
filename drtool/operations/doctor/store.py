"""The store: whether it is reached, holds our repository, and what it and our credentials really do.

Its probe puts one canary below `probe/` and removes it again where that is allowed: the one thing that doctor changes.
"""

from collections.abc import Iterator
from itertools import islice

from drtool.errors import DrtoolError, StoreOutage, StoreUnavailable
from drtool.operations.doctor.patient import Findings, Patient, failure
from drtool.operations.limits import not_in_force
from drtool.operations.results import Finding
from drtool.operations.session import connect, open_session
from drtool.policy.take_over import TAKE_OVER
from drtool.repository.storage.base import ObjectStore
from drtool.repository.storage.probe import CLOCK_TOLERANCE, probe_store

AREA = "store"
_ADMIN = "shell; with the kit and the admin sheet"
_CLOCK = "Set the clock of the one that is wrong, by NTP: points are dated by the store's."
_HISTORY = "Versions in the bucket, and credentials that may no more than a writer needs, keep history."


def examine_store(patient: Patient) -> Findings:
    """Yield what holds of the store; leave an open session to the areas behind."""
    url = patient.policy.repository.url
    store = connect(patient.policy.repository, patient.world)
    try:
        configs = list(islice(store.list("config/"), 1))
        yield Finding(AREA, url, "ok", "it answers, and takes these credentials")
        if configs:
            yield from _opened(patient)
        else:
            hint = "It makes the keys too: print the kit, and keep it away from the cluster."
            mend = ("drtool init --bundle writer.json --kit-file kit.txt",)
            yield Finding(AREA, url, "error", "there is no repository", hint, mend, "shell")
        yield from _probed(store, patient) if patient.is_probed else _clock(store, patient)
    finally:
        store.close()


def _opened(patient: Patient) -> Iterator[Finding]:
    url = patient.policy.repository.url
    try:
        patient.session = open_session(patient.policy_file, None, patient.keys, patient.world)
    except DrtoolError as fault:
        yield failure(AREA, url, fault)
        return
    repository = patient.session.repository
    yield Finding(AREA, url, "ok", f"repository {repository.config.repository[:8]} opens")
    for volume in patient.policy.volumes:
        try:
            repository.config.limits(volume.name)
        except DrtoolError as fault:
            yield Finding(AREA, volume.name, "error", fault.message, fault.hint, (TAKE_OVER,), _ADMIN)
        for said in not_in_force(repository.config, volume):
            yield Finding(AREA, volume.name, "warning", said, "", (TAKE_OVER,), _ADMIN)


def _clock(store: ObjectStore, patient: Patient) -> Iterator[Finding]:
    """Yield what the probe would say of the clocks: that writes nothing."""
    ahead = store.now() - patient.world.clock()
    if abs(ahead) > CLOCK_TOLERANCE:
        said = f"this machine's clock and the store's differ by {abs(ahead).total_seconds():.0f} s"
        yield Finding(AREA, patient.policy.repository.url, "warning", said, _CLOCK)


def _probed(store: ObjectStore, patient: Patient) -> Iterator[Finding]:
    url = patient.policy.repository.url
    patient.has_canary = True
    try:
        probed = probe_store(store, patient.world.clock)
    except StoreUnavailable as fault:  # refuses the canary; an outage may have come behind it
        patient.has_canary = isinstance(fault, StoreOutage)
        raise
    for found in probed:
        wanted = f"{found.detail} (wanted: {found.name})"
        if found.ok:
            yield Finding(AREA, url, "ok", f"{found.name}: {found.detail}")
        elif found.essential:
            yield Finding(AREA, url, "error", wanted, "Use another store: no repository may live here.")
        elif found.name == "the clocks agree":
            yield Finding(AREA, url, "warning", wanted, _CLOCK)
        else:
            mend = ("drtool keys s3-policy writer",) if url.startswith("s3:") else ()
            yield Finding(
                AREA, url, "warning", wanted, _HISTORY, mend, "shell; give that to these credentials"
            )
