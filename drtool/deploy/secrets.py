"""Which keys of which Secrets a volume's pods hold: those that its policy refers to, and no others."""

from collections.abc import Iterable, Iterator

from drtool.deploy.names import OWN
from drtool.errors import UsageError
from drtool.policy.model import Model
from drtool.policy.schema import Policy, Repository
from drtool.policy.secret import EnvironmentReference, FileReference, KubernetesReference
from drtool.policy.volumes import Volume

Keys = dict[str, list[str]]  # the keys by the Secret that holds them


def keys_of(policy: Policy, volume: Volume) -> Keys:
    """Return what the pods of a volume hold. Raises UsageError for what no pod can read."""
    return _by_secret([*_references(policy.repository, "repository"), *_references(volume, volume.name)])


def volume_keys(volume: Volume) -> Keys:
    """Return what it takes to reach a volume alone. Raises UsageError for what no pod can read."""
    return _by_secret(_references(volume, volume.name))


def own_keys(policy: Policy) -> Keys:
    """Return the Secrets that come with drtool, with their keys: those that the policy's repository names."""
    keys = _by_secret(_references(policy.repository, "repository"))
    return {secret: names for secret, names in keys.items() if secret.startswith(OWN)}


def _by_secret(references: Iterable[KubernetesReference]) -> Keys:
    keys: Keys = {}
    for reference in references:
        names = keys.setdefault(reference.secret, [])
        if reference.key not in names:
            names.append(reference.key)
    return keys


def _references(part: Model, where: str) -> Iterator[KubernetesReference]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        match value:
            case KubernetesReference():
                yield value
            case EnvironmentReference() | FileReference():
                raise UsageError(
                    f"{where}: its {name} is an environment variable or a file, which no pod has",
                    hint=f"Name a Secret: {name}: {{secret: NAME, key: KEY}}.",
                )
            case Model():
                yield from _references(value, where)


def files_of(part: Repository | Volume) -> Iterator[tuple[str, str]]:
    """Yield the fields that name a file of the machine that drtool runs on, and the file."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Model):
            for field in type(value).model_fields:
                if field.endswith("_file") and getattr(value, field) is not None:
                    yield f"{name}.{field}", getattr(value, field)
        elif name in ("ca_file", "sslrootcert") and value is not None:
            yield name, value
