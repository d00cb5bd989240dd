"""The recovery kit and the bundles."""

import json

import pytest

from drtool.errors import UsageError, WrongKey
from drtool.repository import kit
from drtool.repository.format.crypto import RecoveryKey, SigningKey
from drtool.repository.format.text import encode_key, find_keys
from drtool.repository.kit import Bundle, RecoveryLine

SEED, REPOSITORY, ADMIN = b"s" * 32, b"r" * 16, b"a" * 32
LINE = RecoveryLine(SEED, kit.trust_of(REPOSITORY, ADMIN))
BUNDLE = Bundle("writer", "w", REPOSITORY, "forum", ADMIN, 3, "ab" * 32, (b"l" * 32,), b"i" * 32, b"k" * 32)


def test_a_recovery_line_is_found_in_a_kit() -> None:
    found = kit.parse_recovery(f"# kit\nfirst: {LINE.text()}\n")
    assert found == LINE
    assert found.key.recipient.public == RecoveryKey(SEED).recipient.public


def test_seed_and_trust_may_stand_on_two_lines() -> None:
    text = f"{encode_key('SEED', SEED)}\n{encode_key('TRUST', LINE.trust)}\n"
    assert kit.parse_recovery(text) == LINE


def test_a_new_recovery_key_is_a_seed_and_its_recipient() -> None:
    seed, recipient = kit.new_recovery_key()
    found = RecoveryKey(find_keys(seed)["SEED"])
    assert kit.parse_recipient(recipient) == found.recipient.public


def test_a_line_trusts_its_own_repository_and_admin_only() -> None:
    LINE.check(REPOSITORY, ADMIN)
    for repository, admin in ((b"x" * 16, ADMIN), (REPOSITORY, b"x" * 32)):
        with pytest.raises(WrongKey, match="another repository") as caught:
            LINE.check(repository, admin)
        assert f"Take the kit whose line `id` is {repository.hex()}" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["", encode_key("RECOVERY", SEED), encode_key("ADMIN", SEED), encode_key("SEED", SEED)]
)
def test_text_without_a_recovery_line_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no recovery key"):
        kit.parse_recovery(text)


def test_seeds_and_recipients_are_parsed_by_their_kind() -> None:
    text = "\n".join(encode_key(kind, SEED) for kind in ("ADMIN", "OPERATOR", "RECIPIENT"))
    assert kit.parse_seed(text, "ADMIN").public == SigningKey(SEED).public
    assert kit.parse_seed(text, "OPERATOR").public == SigningKey(SEED).public
    assert kit.parse_recipient(text) == SEED
    with pytest.raises(UsageError, match="no admin key"):
        kit.parse_seed(LINE.text(), "ADMIN")
    with pytest.raises(UsageError, match="no operator key"):
        kit.parse_seed(encode_key("OPERATOR", b"short"), "OPERATOR")
    with pytest.raises(UsageError, match="no recipient's public key"):
        kit.parse_recipient(LINE.text())


@pytest.mark.parametrize(
    "bundle",
    [BUNDLE, Bundle("verifier", "v", REPOSITORY, "forum", ADMIN, 0, "", (b"l" * 32,))],
    ids=["writer", "verifier"],
)
def test_a_bundle_is_read_as_it_was_written(bundle: Bundle) -> None:
    assert kit.parse_bundle(bundle.dump()) == bundle


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", BUNDLE.dump()[:100]],
    ids=["empty", "a list", "nothing in it", "cut"],
)
def test_a_damaged_bundle_is_refused_without_a_word_of_its_content(text: str) -> None:
    with pytest.raises(UsageError, match="not one that drtool wrote") as caught:
        kit.parse_bundle(text)
    assert BUNDLE.list_keys[0].hex() not in str(caught.value)


@pytest.mark.parametrize(
    "changed", [{"id_key": "zz"}, {"signing_seed": "00" * 32}, {"role": "admin"}, {"name": "x"}]
)
def test_an_edited_bundle_is_refused_whatever_was_edited(changed: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="was edited or damaged"):
        kit.parse_bundle(json.dumps({**json.loads(BUNDLE.dump()), **changed}))


def test_no_secret_is_printed() -> None:
    for shown in (repr(LINE), repr(BUNDLE), f"{LINE} {BUNDLE}"):
        for secret in (b"s", b"l", b"i", b"k"):
            assert (secret * 32).hex() not in shown
            assert (secret * 8).decode() not in shown
