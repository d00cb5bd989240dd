"""What a capture keeps beside the RDB, as text: the server's configuration and its users."""

from typing import Final

ACL_PATH: Final = "acl.txt"
CONFIG_PATH: Final = "config.txt"
_SECRETS: Final = ("requirepass", "masterauth", "tls-key-file-pass", "tls-client-key-file-pass")


def secrets_in(config: bytes) -> list[str]:
    """Return the names of the settings that hold a secret in the text of CONFIG_PATH."""
    words = [line.partition(b" ") for line in config.splitlines()]
    named = {name.decode("utf-8", "replace") for name, _, value in words if value}
    return [name for name in _SECRETS if name in named]
