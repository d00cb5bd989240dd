"""The volumes that a policy protects: one model for each kind of source, told apart by `source`."""

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from drtool.policy.model import (
    CronLine,
    Delay,
    Duration,
    KindPattern,
    KubernetesName,
    Model,
    Name,
    Namespace,
    Size,
    Text,
    TimeZone,
    refusal,
)
from drtool.policy.retention import Retention
from drtool.policy.secret import Reference, SecretReference, TextOrReference

Port = Annotated[int, Field(ge=1, le=65535)]
Identity = Annotated[int, Field(ge=0, le=2**32 - 2)]


def _no_url(host: str | Reference) -> str | Reference:
    # One may hold a password, which would be shown.
    if isinstance(host, str) and ("://" in host or "@" in host):
        raise refusal(
            "a host is a name or an address, and no URL",
            "port, user and password have keys of their own",
            is_secret=True,
        )
    return host


Host = Annotated[TextOrReference, AfterValidator(_no_url)]


class VolumeBase(Model):
    """What every volume has. rpo, rto and retention are the policy's where they are not given."""

    name: Name
    rpo: Duration | None = None
    rto: Duration | None = None
    retention: Retention | None = None
    schedule: CronLine | None = None
    time_zone: TimeZone = "UTC"
    jitter: Delay = timedelta(0)
    max_run: Duration = timedelta(hours=24)
    at: Literal["before", "after"] = (
        "before"  # a common moment takes the newest point before it, or the first after
    )


class SqlProof(Model):
    """A query whose first value must be equal to `equals`, or a number not below `at_least`."""

    name: Text
    sql: Text
    database: Text | None = None
    at_least: int | None = None
    equals: int | str | None = None

    @model_validator(mode="after")
    def _expects_one_thing(self) -> Self:
        if (self.at_least is None) == (self.equals is None):
            raise refusal("a proof needs exactly one of at_least and equals")
        return self


class PostgresVolume(VolumeBase):
    """A PostgreSQL instance. `schedule` plans its base backups; exposure follows from `tail_every`.

    While the repository takes no WAL, the server keeps it for us. Under `on_backlog: protect-app` that ends before
    it fills the server's disk: once the slot keeps more than `slot_limit`, or than 80 % of the server's
    max_slot_wal_keep_size (whichever is less), and it still grows, drtool gives up its slot. That is a recorded gap
    in what can be restored, and a new base backup is due at once. `protect-rpo` keeps the WAL, whatever comes.
    """

    source: Literal["postgres"]
    host: Host
    port: Port = 5432
    database: TextOrReference = "postgres"  # for connections that do not replicate
    user: TextOrReference
    password: SecretReference | None = None
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    sslrootcert: Text | None = None
    bin_dir: Text | None = (
        None  # where the server's programs are, for proofs and restores outside of its image
    )
    method: Literal["protocol", "pg_basebackup"] = "protocol"
    tail_every: Duration | None = None  # a tenth of the RPO where it is not given
    on_backlog: Literal["protect-app", "protect-rpo"] = "protect-app"
    slot_limit: Size | None = None
    window: Duration = timedelta(days=14)
    proofs: tuple[SqlProof, ...] = ()

    @model_validator(mode="after")
    def _limit_protects_the_application(self) -> Self:
        if self.slot_limit is not None and self.on_backlog == "protect-rpo":
            raise refusal(
                "slot_limit and on_backlog: protect-rpo contradict each other: leave one of them out"
            )
        return self


class Tls(Model):
    """TLS towards Redis; an empty mapping trusts the system's authorities."""

    ca_file: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise refusal("cert_file and key_file belong together")
        return self


class Sentinel(Model):
    """Who knows which Redis is the master. Its users may differ from those of the data."""

    service: Text
    port: Port = 26379
    master: Text
    username: TextOrReference | None = None
    password: SecretReference | None = None


class RedisVolume(VolumeBase):
    """A Redis or Valkey with its replicas, found by a host or by Sentinel.

    broker says what the queues of Celery do after a restore into a cluster, before anything starts that reads them:
    restore leaves them to the workers, hold puts them aside for `drtool queues`, purge deletes them.
    """

    source: Literal["redis"]
    host: Host | None = None
    port: Port = 6379
    username: TextOrReference | None = None
    password: SecretReference | None = None
    tls: Tls | None = None
    sentinel: Sentinel | None = None
    allow_master: bool = False  # whether the master may be captured while no healthy replica is there
    broker: Literal["restore", "hold", "purge"] = "restore"
    max_run: Duration = timedelta(hours=1)
    window: ClassVar[timedelta] = timedelta(0)  # dumps of different replicas share nothing

    @model_validator(mode="after")
    def _is_found_one_way(self) -> Self:
        if (self.host is None) == (self.sentinel is None):
            raise refusal("needs exactly one of host and sentinel")
        return self


class RunAs(Model):
    """Whose files a mover reads: numbers of user, group and further groups."""

    user: Identity
    group: Identity
    groups: tuple[Identity, ...] = ()


class Toleration(Model):
    """A taint of nodes that a mover puts up with, as in a pod."""

    key: Text | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class MovedVolume(VolumeBase):
    """A volume whose files a mover carries, as the workload's user, on a node where the claim can be mounted.

    pod_security baseline is for files of several owners: the mover then runs as root. beside holds labels of a pod:
    a claim that only one node can mount is mounted on that pod's. Volumes of a node, as local-path's, need nothing.
    """

    run_as: RunAs | None = None
    pod_security: Literal["restricted", "baseline"] = "restricted"
    beside: dict[Text, str] = Field(default_factory=dict)
    node_selector: dict[Text, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    window: Duration = timedelta(days=90)

    @model_validator(mode="after")
    def _has_one_user(self) -> Self:
        if self.pod_security == "baseline" and self.run_as is not None:
            raise refusal("pod_security baseline runs as root: leave out one of it and run_as")
        if self.run_as is not None and self.run_as.user == 0:
            raise refusal(
                "run_as names root, which restricted pods may not be",
                "name the files' owner, or set pod_security: baseline",
            )
        return self


class LonghornVolume(MovedVolume):
    """A Longhorn volume: snapshots to Longhorn's backup target, and, every ship_every, its files to the repository."""

    source: Literal["longhorn"]
    claim: KubernetesName
    ship_every: Duration | None = None
    longhorn_namespace: Namespace = "longhorn-system"


class CsiVolume(MovedVolume):
    """A volume captured through a VolumeSnapshot; the cluster's default class where none is given."""

    source: Literal["csi"]
    claim: KubernetesName
    snapshot_class: KubernetesName | None = None


class FilesVolume(MovedVolume):
    """A directory tree: of a claim that a mover mounts, or of a path on this machine."""

    source: Literal["files"]
    claim: KubernetesName | None = None
    path: Text | None = None

    @model_validator(mode="after")
    def _lies_in_one_place(self) -> Self:
        if (self.claim is None) == (self.path is None):
            raise refusal("needs exactly one of claim and path")
        if self.path is not None and not self.path.startswith("/"):
            raise refusal(f"path {self.path} is not absolute: write it from / on")
        return self


class ManifestsVolume(VolumeBase):
    """The objects of the policy's namespace, Secrets included, and what they need of the cluster.

    include and exclude name kinds, as in `Secret`, `apps/*`, `*.cert-manager.io/*`: all of them where nothing is said.
    """

    source: Literal["manifests"]
    include: tuple[KindPattern, ...] = ()
    exclude: tuple[KindPattern, ...] = ()
    window: Duration = timedelta(days=90)

    @model_validator(mode="after")
    def _takes_what_it_includes(self) -> Self:
        both = sorted({*self.include} & {*self.exclude})
        if both:
            raise refusal(f"{both[0]} is both included and excluded")
        return self


Volume = Annotated[
    PostgresVolume | RedisVolume | LonghornVolume | CsiVolume | FilesVolume | ManifestsVolume,
    Field(discriminator="source"),
]
