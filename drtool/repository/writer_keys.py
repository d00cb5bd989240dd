"""The id key and the list key of a writer, wrapped in the config for each recipient."""

from collections.abc import Sequence

from drtool.repository.config import RecipientEntry, WriterKeys
from drtool.repository.format.crypto import Recipient, RecoveryKey


def wrap_writer_keys(
    writer: str, id_key: bytes, list_key: bytes, recipients: Sequence[RecipientEntry], repository: bytes
) -> WriterKeys:
    """Return a writer's keys as the config holds them."""

    def wraps(key: bytes, purpose: str) -> dict[str, str]:
        info = _info(repository, writer, purpose)
        return {
            recipient.fingerprint.hex(): recipient.wrap(key, info).hex()
            for recipient in (Recipient(bytes.fromhex(entry.key)) for entry in recipients)
        }

    return WriterKeys(writer, wraps(id_key, "id"), wraps(list_key, "list"))


def open_writer_keys(writer: WriterKeys, key: RecoveryKey, repository: bytes) -> tuple[bytes, bytes] | None:
    """Return a writer's id key and list key; None if they are not wrapped for key. Raises WrongKey on a wrong wrap."""
    mark = key.recipient.fingerprint.hex()
    if mark not in writer.id_key or mark not in writer.list_key:
        return None
    id_key, list_key = (
        key.unwrap(bytes.fromhex(wraps[mark]), _info(repository, writer.writer, purpose))
        for wraps, purpose in ((writer.id_key, "id"), (writer.list_key, "list"))
    )
    return id_key, list_key


def _info(repository: bytes, writer: str, purpose: str) -> bytes:
    return b"drtool/1 writer\0" + repository + f"{purpose}\0{writer}".encode()
