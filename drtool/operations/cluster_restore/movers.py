"""The data of a volume back into its claim, or its server, by a Job in the target: begun, and followed.

A Job of this run that is at work is gone on with; one that ended well gives its result, and a failed one is replaced,
as is one whose word is lost: its claim has a mark that says what was put there.
Ctrl-C leaves it at work: `--resume` finds it there.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Final

from drtool.deploy.claim_job import Runs
from drtool.deploy.image_pod import image_pod
from drtool.deploy.mover import (
    PIECE,
    Lender,
    Mover,
    grant_secrets,
    key_secret,
    mover_job,
    mover_labels,
    mover_name,
    mover_network,
    pieces_of,
    settle_job,
)
from drtool.deploy.names import Object
from drtool.errors import DrtoolError, Refused, TemporaryFailure
from drtool.operations.cluster_restore.kinds import claims_of, pods_of_others
from drtool.operations.cluster_restore.mover_end import clear_mover, has_ended
from drtool.operations.cluster_restore.mover_watch import Watch, WordLost
from drtool.operations.cluster_restore.replay import MANAGER, Replay
from drtool.operations.cluster_restore.seeding import seeding_mover
from drtool.operations.grant import Granted, GrantRequest, run_grant
from drtool.operations.points import take_inventory
from drtool.operations.presign import URLS_LAST, presign
from drtool.operations.restore import RestoreRequest
from drtool.operations.session import Where, store_ca
from drtool.policy.schema import Repository as RepositorySettings
from drtool.policy.secret import KubernetesReference
from drtool.policy.volumes import FilesVolume, PostgresVolume, RedisVolume, Volume
from drtool.recovery.in_place import placed_beside
from drtool.recovery.places import ImageFacts, Place, place_of
from drtool.recovery.refusal import Refusal
from drtool.recovery.steps import Step
from drtool.repository.format.crypto import KEY_SIZE, random_bytes
from drtool.repository.kit import RunnerLine, parse_runner_public, trust_of
from drtool.repository.reader import Reader
from drtool.sources.base import Json
from drtool.sources.kubernetes.client import Resource
from drtool.sources.kubernetes.known import JOBS, NETWORK_POLICIES, PODS, SECRETS
from drtool.sources.kubernetes.writing import apply, delete, patch

_RENEWED_S: Final = 3 * 3600.0  # well before they end, and a node takes minutes to hand a Secret on
_TRIED_AGAIN_S: Final = 300.0


def _known(place: Place | Refusal) -> Place:
    """Return the place of a volume. Raises Refused where it cannot be told."""
    if isinstance(place, Refusal):
        raise Refused(f"{place.about} {place.message}", hint=place.hint)
    return place


def restore_volume(replay: Replay, step: Step, image: str) -> Json:
    """Bring a volume's data back into its claim; return the result of its restore, proofs included.

    image is drtool's own. Raises Refused where the place of the data cannot be told, and what the mover failed with.
    """
    work = _Work(replay, step, replay.policy.volume(step.what), image)
    return work.run()


@dataclass(slots=True)
class _Work:
    """One volume on its way back."""

    replay: Replay
    step: Step
    volume: Volume
    image: str
    signed_at: float = -inf

    def run(self) -> Json:
        job = self.replay.cluster.get(JOBS, self.replay.namespace, self._name)
        if job is not None and has_ended(job, "Failed"):
            clear_mover(self.replay, self.volume.name)
            job = None
        if job is None:
            self._begin()
        try:
            return self._follow()
        except WordLost:  # the mark that it left in the claim says it again
            self.replay.session.world.progress.note(
                f"what the mover of volume {self.volume.name} said is lost: another one looks at what it did"
            )
            clear_mover(self.replay, self.volume.name)
        self._begin()
        return self._follow()

    @property
    def _name(self) -> str:
        return mover_name(self.replay.run, self.volume.name)

    @property
    def _settings(self) -> RepositorySettings | Where:
        return self.replay.session.settings or self.replay.policy.repository

    def _begin(self) -> None:
        """Make the mover's objects, the Job last: it finds all that it mounts."""
        mover = self._placed()
        if mover.seeds is None:
            self._refuse_in_use(mover.claim)
        runner = self._runner()
        granted = self._grant(runner)
        mover = replace(mover, pieces=len(pieces_of(granted.grant)), has_ca=self._ca() is not None)
        self._apply(NETWORK_POLICIES, mover_network(mover, self._settings.endpoint))
        for secret in grant_secrets(mover, granted.grant):
            self._apply(SECRETS, secret)
        self._apply(SECRETS, key_secret(mover, runner.text(), self._sign(granted), self._ca()))
        if mover.seeds is None:
            self._apply(JOBS, settle_job(mover))
        self._apply(JOBS, mover_job(mover))

    def _refuse_in_use(self, claim: str) -> None:
        """Return when nobody else has the claim: somebody may have started what uses it since the plan was made."""
        users = [pod["metadata"]["name"] for pod in pods_of_others(self.replay) if claim in claims_of(pod)]
        if users:
            raise Refused(
                f"claim {claim} is in use by {', '.join(sorted(users))}",
                hint="Stop what uses it, and see who started it: data is never restored below a running workload.",
            )

    def _placed(self) -> Mover:
        place = self._place(None)
        if place.claim is None and isinstance(self.volume, RedisVolume):
            return seeding_mover(self.replay, self.volume, place, self.image)
        if place.claim is not None and not isinstance(self.volume, FilesVolume):
            place = self._place(self._ask(place))
        if place.claim is None:
            raise Refused(
                f"volume {self.volume.name} has no claim: the data of {place.pod} goes with its pod",
                hint="Give it a claim in the cluster, or leave the volume out with --volume and load it by hand.",
            )
        return self._mover(self._beside(place))

    def _beside(self, place: Place) -> Place:
        """Return where a volume goes that is restored in place: beside the claim that is in use."""
        for switch in self.replay.plan.in_place:
            if switch.volume == self.volume.name and switch.beside:
                return _known(placed_beside(place, switch))
        return place

    def _place(self, facts: ImageFacts | None) -> Place:
        inventory = take_inventory(self.replay.session, self.volume.name)
        snapshot = inventory.snapshots[self.step.point or ""]
        told: Mapping[str, Any] = {}
        if isinstance(self.volume, PostgresVolume):
            told = Reader(self.replay.session.repository).read_contents(snapshot).header["facts"]
        objects = [each.item for each in self.replay.objects.values()]
        return _known(place_of(self.volume, objects, told, facts))

    def _mover(self, place: Place) -> Mover:
        identity = place.identity
        lender = Lender(
            place.image, place.pull_secrets, place.resources, place.starts_as_root, identity.is_non_root
        )
        secrets: dict[str, list[str]] = {}
        if isinstance(self.volume, PostgresVolume) and isinstance(self.volume.database, KubernetesReference):
            secrets[self.volume.database.secret] = [self.volume.database.key]
        return Mover(
            run=self.replay.run,
            volume=self.volume.name,
            image=self.image,
            claim=place.claim or "",
            path=place.path,
            runs=Runs(identity.user, identity.group, identity.fs_group, identity.groups, place.placement),
            lender=lender if place.image else None,
            secrets=secrets,
        )

    def _ask(self, place: Place) -> ImageFacts:
        """Ask the application's image as whom its server runs: a pod need not say, and drtool sees no registry."""
        mover = self._mover(place)
        assert mover.lender is not None  # noqa: S101 - servers have an image
        pod = image_pod(mover, mover.lender)
        self._apply(PODS, pod)
        said = self._watch().last_word(pod["metadata"]["name"], f"asking image {place.image}")
        delete(self.replay.cluster, PODS, self.replay.namespace, pod["metadata"]["name"])
        start, user, group, directory = said.split(" ", 3)
        return ImageFacts(int(start), int(user), int(group), directory)

    def _grant(self, runner: RunnerLine) -> Granted:
        point = next(each for each in self.replay.plan.volumes if each.volume == self.volume.name)
        wishes = self.replay.plan.wishes
        wanted = RestoreRequest(
            volume=self.volume.name,
            directory=Path("/"),
            at=point.target,
            as_of=wishes.as_of,
            accept_late=wishes.accept_late,
            accept_void=wishes.accept_void,
            accept_loss=wishes.accept_loss,
        )
        to = parse_runner_public(runner.public_text())
        return run_grant(self.replay.session, GrantRequest(wanted, to, point.point))

    def _sign(self, granted: Granted) -> bytes:
        urls = presign(self._settings, granted.objects, URLS_LAST, self.replay.session.world)
        self.signed_at = self.replay.session.world.elapsed()
        if len(urls) > PIECE:
            raise Refused(
                f"the URLs of {len(granted.objects)} objects of volume {self.volume.name} fit into no Secret",
                hint="Restore this volume with `drtool restore --to-dir` beside its claim.",
            )
        return urls

    def _ca(self) -> bytes | None:
        file = store_ca(self._settings, self.replay.session.world)
        return None if file is None else file.read_bytes()

    def _renew_if_possible(self) -> None:
        """Sign the URLs anew; where that fails, the mover still has the old ones for hours, and it is tried again."""
        try:
            self._renew()
        except DrtoolError as fault:
            self.signed_at = self.replay.session.world.elapsed() - _RENEWED_S + _TRIED_AGAIN_S
            self.replay.session.world.progress.note(f"the URLs are not signed anew yet: {fault.message}")

    def _renew(self) -> None:
        """Sign the URLs anew. The Secret is changed in place, and who reads them notices the new file."""
        urls = b64encode(self._sign(self._grant(self._runner()))).decode()
        patch(self.replay.cluster, SECRETS, self.replay.namespace, self._name, {"data": {"urls": urls}})

    def _runner(self) -> RunnerLine:
        """Return a new runner's key, which trusts this repository alone."""
        config = self.replay.session.repository.config
        trust = trust_of(bytes.fromhex(config.repository), bytes.fromhex(config.admin))
        return RunnerLine(random_bytes(KEY_SIZE), trust)

    def _follow(self) -> Json:
        """Wait for the Job's end; return its result. Raises what the mover ended with."""
        watch = self._watch()
        while True:
            job = self.replay.cluster.get(JOBS, self.replay.namespace, self._name)
            if job is None:
                raise TemporaryFailure(
                    f"the Job {self._name} of volume {self.volume.name} is gone",
                    hint="Run it again with --resume.",
                )
            if has_ended(job, "Complete"):
                result = watch.result()
                watch.count_all(int(result.get("size") or 0))
                told = [f"{self.volume.name}: {note}" for note in result.get("notes", ())]
                return {**result, "notes": told} if told else result
            if has_ended(job, "Failed"):
                raise watch.failure(self.volume.name)
            if self.replay.session.world.elapsed() - self.signed_at > _RENEWED_S:
                self._renew_if_possible()
            watch.look()

    def _watch(self) -> Watch:
        labels = mover_labels(self.replay.run, self.volume.name)
        return Watch(
            self.replay.cluster, self.replay.namespace, self._name, labels, self.replay.session.world
        )

    def _apply(self, resource: Resource, body: Object) -> None:
        metadata = {**body["metadata"], "namespace": self.replay.namespace}
        apply(self.replay.cluster, resource, {**body, "metadata": metadata}, MANAGER, force=True)
