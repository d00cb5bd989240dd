"""What a capture keeps beside the RDB, as text: the server's configuration and its users."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

ACL_PATH: Final = "acl.txt"
CONFIG_PATH: Final = "config.txt"
_SECRETS: Final = ("requirepass", "masterauth", "tls-key-file-pass", "tls-client-key-file-pass")


# By the names in facts["missing"] of a capture.
_TOLD: Final = {"config": "its configuration", "acl": "its users"}


def beside_notes(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a person should see of a capture's facts: what the server did not let us read."""
    missing = [told for name, told in _TOLD.items() if name in facts.get("missing", {})]
    if missing:
        yield f"not captured, for drtool may not read it: {' and '.join(missing)}; `drtool doctor` prints what mends it"


def secrets_in(config: bytes) -> list[str]:
    """Return the names of the settings that hold a secret in the text of CONFIG_PATH."""
    words = [line.partition(b" ") for line in config.splitlines()]
    named = {name.decode("utf-8", "replace") for name, _, value in words if value}
    return [name for name in _SECRETS if name in named]
