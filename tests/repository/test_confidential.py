"""What is sealed to the recipients within a record: who opens it, where, and that no byte of it can be changed."""

from base64 import b64decode, b64encode
from typing import Any

import pytest

from drtool.errors import Corrupt, Refused, WrongKey
from drtool.repository import confidential
from drtool.repository.confidential import seal_confidential, unseal_confidential
from drtool.repository.format.crypto import RecoveryKey, Sealer, derive
from drtool.repository.format.pack import commitment
from tests.repository.stage import make_stage

STAGE = make_stage()
CONFIG = STAGE.writer().config
FIRST, SECOND = (STAGE.lines[name].key for name in ("first", "second"))
PLACE, PLAIN = "journal/run/7", b"a telling content " * 50
SEALED = seal_confidential(CONFIG, PLACE, PLAIN)


def opened(sealed: Any, place: str = PLACE, key: RecoveryKey = FIRST, repository: bytes = b"") -> bytes:
    return unseal_confidential(sealed, repository or CONFIG.repository_id, place, key)


@pytest.mark.parametrize("key", [FIRST, SECOND])
def test_every_recipient_opens_it(key: RecoveryKey) -> None:
    assert opened(SEALED, key=key) == PLAIN


def test_nobody_else_does() -> None:
    with pytest.raises(WrongKey, match="not sealed to this recovery key"):
        opened(SEALED, key=RecoveryKey(b"x" * 32))


def test_it_opens_in_its_place_and_repository_only() -> None:
    with pytest.raises(Corrupt):
        opened(SEALED, "journal/run/8")
    with pytest.raises(Corrupt):
        opened(SEALED, repository=b"r" * 16)


def test_no_byte_of_it_can_be_changed() -> None:
    body = b64decode(SEALED["body"])
    mark = FIRST.recipient.fingerprint.hex()
    for at in range(len(body)):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        with pytest.raises(Corrupt):
            opened({**SEALED, "body": b64encode(changed).decode()})
    wrap = bytes.fromhex(SEALED["wraps"][mark])
    for at in range(len(wrap)):
        changed = wrap[:at] + bytes([wrap[at] ^ 1]) + wrap[at + 1 :]
        with pytest.raises(Corrupt):
            opened({**SEALED, "wraps": {mark: changed.hex()}})


def test_a_recipient_that_was_given_another_key_than_the_rest_sees_it() -> None:
    bound, other = confidential._bound(CONFIG.repository_id, PLACE), b"o" * 32
    wraps = {FIRST.recipient.fingerprint.hex(): FIRST.recipient.wrap(other, bound).hex()}
    with pytest.raises(Corrupt, match="wrapped differently"):
        opened({**SEALED, "wraps": wraps})


def test_it_is_made_as_the_format_says() -> None:
    name = PLACE.encode()
    bound = b"drtool/1 confidential\0" + CONFIG.repository_id + len(name).to_bytes(2, "big") + name
    key = FIRST.unwrap(bytes.fromhex(SEALED["wraps"][FIRST.recipient.fingerprint.hex()]), bound)
    assert commitment(key).hex() == SEALED["commitment"]
    frame = Sealer(derive(key, "confidential")).unseal(0, b64decode(SEALED["body"]), bound)
    assert frame.startswith(bytes.fromhex("28b52ffd"))


@pytest.mark.parametrize("sealed", [{}, {**SEALED, "wraps": 1}, {**SEALED, "body": "?"}, None])
def test_what_is_malformed_is_corrupt(sealed: Any) -> None:
    with pytest.raises(Corrupt, match="malformed"):
        opened(sealed)


@pytest.mark.parametrize("limit", ["MAX_PLAIN", "MAX_SEALED"])
def test_more_than_can_be_read_back_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confidential, limit, 10)
    with pytest.raises(Refused, match="more than a record holds"):
        seal_confidential(CONFIG, PLACE, PLAIN)
