"""Secrets of the cluster, as a pod sees them: each key that a duty needs is a file, mounted by `drtool render`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from drtool.errors import UsageError
from drtool.policy.secret import OutOfReach

VARIABLE = "DRTOOL_SECRETS"  # the folder in which a Secret's key is the file SECRET/KEY


def cluster_secrets(environment: Mapping[str, str]) -> Callable[[str, str], str] | None:
    """Return what reads a key of a Secret, anew each time, for it may rotate; None where none are mounted."""
    folder = environment.get(VARIABLE)
    if not folder:
        return None

    def read(secret: str, key: str) -> str:
        if not (Path(folder) / secret).is_dir():  # a Secret that is missing is an empty folder in a pod
            raise OutOfReach(
                f"key {key} of Secret {secret} is not reachable from here: {folder} holds no such Secret",
                hint="A pod is given what its own volume needs; ask where that Secret is mounted.",
            )
        try:
            text = (Path(folder) / secret / key).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            # Not the error's own text: a decoding error repeats bytes of the secret.
            is_missing = isinstance(fault, FileNotFoundError)
            raise UsageError(
                f"key {key} of Secret {secret} {'is not there' if is_missing else 'cannot be read as text'}",
                hint=f"Look at it with `kubectl describe secret {secret}`; "
                "once the Secret holds the key, the next run finds it.",
            ) from None
        return text.removesuffix("\n").removesuffix("\r")

    return read
