import pytest

from drtool.errors import SourceUnavailable, TemporaryFailure
from drtool.sources.redis.refusals import CommandRefused, translate


@pytest.mark.parametrize(
    ("text", "command", "error", "hint"),
    [
        (
            "NOPERM this user has no permissions to run the 'config|get' command",
            "CONFIG",
            CommandRefused,
            "+config|get",
        ),
        (
            "NOPERM this user has no permissions to run the 'psync' command or its subcommand",
            "PSYNC",
            CommandRefused,
            "+psync",
        ),
        ("NOPERM No permissions to access a key", "DUMP", CommandRefused, "+dump"),
        (
            "ERR unknown command `CONFIG`, with args beginning with: `GET`",
            "CONFIG",
            CommandRefused,
            "renamed",
        ),
        ("WRONGPASS invalid username-password pair", "AUTH", SourceUnavailable, "user and password"),
        (
            "ERR AUTH <password> called without any password configured",
            "AUTH",
            SourceUnavailable,
            "out of the policy",
        ),
        ("DENIED Redis is running in protected mode", "INFO", SourceUnavailable, "Set a password"),
        ("ERR max number of clients reached", "INFO", TemporaryFailure, "maxclients"),
        ("BUSY Redis is busy running a script", "INFO", TemporaryFailure, "Try again"),
        ("ERR something else", "INFO", SourceUnavailable, "log"),
    ],
)
def test_a_refusal_becomes_an_error_with_a_hint(
    text: str, command: str, error: type[Exception], hint: str
) -> None:
    translated = translate(text, command, "redis-0:6379")
    assert type(translated) is error
    assert hint in translated.hint
    assert "redis-0:6379" in translated.message


def test_a_server_that_repeats_the_password_is_not_quoted() -> None:
    error = translate(
        "ERR unknown command `AUTH`, with args beginning with: `bk` `hunter2`", "AUTH", "redis-0:6379"
    )
    assert "hunter2" not in error.message + error.hint
