"""The policy as a value: what is protected, what is promised, how it comes back. It documents itself as JSON Schema."""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, Tag, model_validator
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError

from drtool.errors import UsageError
from drtool.policy.durations import format_duration
from drtool.policy.hooks import Hook
from drtool.policy.model import Duration, KubernetesName, Model, Name, Namespace, Text, one_form, refusal
from drtool.policy.names import name_faults, nearest
from drtool.policy.retention import Retention
from drtool.policy.secret import SecretReference
from drtool.policy.volumes import Volume


def _literal_secret() -> PydanticCustomError:
    hint = "give access_key and secret_key by reference"
    return refusal("a secret is never written into a policy", hint, is_secret=True)


def _repository_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise _literal_secret()
    if parts.query or parts.fragment:
        raise refusal("must end with the path")
    if (parts.scheme == "s3" and parts.netloc) or (
        parts.scheme == "file" and not parts.netloc and parts.path
    ):
        return url
    raise refusal("must be s3://BUCKET/PREFIX or file:///DIRECTORY")


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refusal("must be an address such as https://s3.example:9000")
    if parts.username or parts.password:
        raise _literal_secret()
    return url


class Repository(Model):
    """Where backups go: a bucket with a prefix, or a directory."""

    url: Annotated[str, AfterValidator(_repository_url)]
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    region: Text = "us-east-1"
    access_key: SecretReference | None = None
    secret_key: SecretReference | None = None
    session_token: SecretReference | None = None
    ca_file: Text | None = None
    addressing_style: Literal["path", "virtual", "auto"] = "path"
    writer: SecretReference | None = None  # the bundle of keys that `drtool init` made for the writer

    @model_validator(mode="after")
    def _settings_fit_the_store(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise refusal("access_key and secret_key belong together")
        if self.url.startswith("file:") and (self.endpoint or self.access_key or self.ca_file):
            raise refusal("a directory takes no endpoint, no keys and no ca_file")
        return self


class Objectives(Model):
    """What was promised: longest loss, longest time to recover, and how far apart volumes may come back."""

    rpo: Duration
    rto: Duration
    max_skew: Duration | None = None


class Kubernetes(Model):
    """Where the protected system runs."""

    namespace: Namespace


class HttpProbe(Model):
    """An address that must answer with a status, asked from within the namespace: a Service's name will do.

    One that does not yet is asked again, for five minutes: an application takes a while, ready or not.
    """

    name: Text
    http: Text
    status: Annotated[int, Field(ge=100, le=599)] = 200


class CommandProbe(Model):
    """A command that must end with 0 in a pod of a workload, the first that is ready, within five minutes."""

    name: Text
    command: Annotated[tuple[Text, ...], Field(min_length=1)]
    workload: KubernetesName


class KustomizeDeploy(Model):
    """A folder of kustomize, rendered by kubectl on the machine that restores, is applied for the captured manifests.

    Its workloads wait for their data as captured ones do. Secrets, claims, namespaces and definitions stay those of the
    capture. A relative path is from where drtool is run. In the end what runs is held against what was captured.
    """

    kustomize: Text


class CommandDeploy(Model):
    """The team's own command. A restore refuses it: what it starts would run before there is data."""

    command: Annotated[tuple[Text, ...], Field(min_length=1)]


class FileReferences(Model):
    """A query on a PostgreSQL volume whose rows are paths that must exist in a volume of files.

    It has one column, and runs read-only as the volume's user, in its database. Paths are from the root of the volume
    on, with or without a slash before them; what is null or empty refers to no file. A restore into a cluster asks it
    once the workloads have started, and reports what is missing; it undoes nothing for that.
    """

    name: Text
    database: Name
    sql: Text
    files: Name
    time_limit: Duration = timedelta(minutes=15)


Probe = Annotated[
    Annotated[HttpProbe, Tag("{http}")] | Annotated[CommandProbe, Tag("{command}")],
    one_form("http", "command"),
]
Deploy = Annotated[
    Annotated[KustomizeDeploy, Tag("{kustomize}")] | Annotated[CommandDeploy, Tag("{command}")],
    one_form("kustomize", "command"),
]


class Recovery(Model):
    """The way back: volumes in order, workloads tier by tier, what no manifest holds, and what must then work.

    Without order the volumes come back as listed; without deploy the captured manifests are applied.
    """

    order: tuple[Name, ...] = ()
    tiers: tuple[tuple[KubernetesName, ...], ...] = ()
    hooks: tuple[Hook, ...] = ()
    probes: tuple[Probe, ...] = ()
    references: tuple[FileReferences, ...] = ()
    deploy: Deploy | None = None


class Drill(Model):
    """How often the recovery is exercised, and where."""

    every: Duration
    namespace: Namespace


class Notification(Model):
    """Who is told of what, through an Apprise URL."""

    url: SecretReference
    on: Annotated[tuple[Literal["failure", "rpo", "drill"], ...], Field(min_length=1)] = (
        "failure",
        "rpo",
        "drill",
    )


class Heartbeat(Model):
    """The address outside of the cluster that is pinged from durable exposure, and notices silence."""

    url: SecretReference


class Policy(Model):
    """One protected system. A value of this type is whole: every name in it means something."""

    version: Literal[1]
    name: Name
    repository: Repository
    objectives: Objectives
    retention: Retention = Retention(
        last=3, hourly=24, daily=14, weekly=8, monthly=12, at_least=timedelta(days=7)
    )
    kubernetes: Kubernetes | None = None
    volumes: Annotated[tuple[Volume, ...], Field(min_length=1)]
    recovery: Recovery = Recovery()
    drill: Drill | None = None
    notify: tuple[Notification, ...] = ()
    heartbeat: Heartbeat | None = None

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for fault in name_faults(self.model_dump()):
            raise refusal(f"{fault.dotted_path}: {fault.message}", fault.suggestion)
        return self

    def volume(self, name: str) -> Volume:
        """Return the volume called name. Raises UsageError with the nearest name there is."""
        for volume in self.volumes:
            if volume.name == name:
                return volume
        names = [volume.name for volume in self.volumes]
        near = nearest(name, names)
        hint = f"Did you mean {near}?" if near else f"It has {', '.join(names)}."
        raise UsageError(f"policy {self.name} has no volume {name}", hint=hint)

    def find(self, name: str) -> Volume | None:
        """Return the volume called name; None where the policy has it no more, and only its points are there."""
        return next((volume for volume in self.volumes if volume.name == name), None)

    def rpo(self, volume: Volume) -> timedelta:
        """Return the longest loss that is promised for volume."""
        return volume.rpo or self.objectives.rpo

    def rto(self, volume: Volume) -> timedelta:
        """Return the longest time to recover that is promised for volume."""
        return volume.rto or self.objectives.rto

    def retention_of(self, volume: Volume) -> Retention:
        """Return the retention rules of volume: its own, else the policy's; they are never mixed."""
        return volume.retention or self.retention

    def recovery_order(self) -> tuple[Volume, ...]:
        """Return all volumes in the order in which they come back."""
        return tuple(self.volume(name) for name in self.recovery.order) or self.volumes


class _DurationsAsText(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Return a default as a policy would write it: pydantic would give durations in ISO 8601."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy file, for editors and for `drtool policy schema`."""
    schema = Policy.model_json_schema(schema_generator=_DurationsAsText)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "drtool policy, version 1",
    }
