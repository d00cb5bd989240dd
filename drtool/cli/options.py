"""The options that commands share, declared once, and what they amount to: one Invocation."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from drtool.cli.exits import ENDING
from drtool.cli.job import report_answer
from drtool.cli.output import Answer, say
from drtool.cli.progress import ClosingProgress, Mode, make_progress
from drtool.cli.units import parse_moment
from drtool.errors import UsageError
from drtool.operations.session import KeyFiles, Session, Where, World, open_session
from drtool.policy.load import load_policy
from drtool.repository.storage.clock import elapsed

Decorator = Callable[[Any], Any]
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command was given: where the repository is, which keys, how to speak, and the machine."""

    as_json: bool
    progress: ClosingProgress
    policy: Path | None
    where: Where | None
    keys: KeyFiles
    opened: list[Session] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The clock, read anew: what is printed is so long ago when it is printed."""
        return _utc_now()

    @property
    def world(self) -> World:
        """The clock, the environment, who shows progress, and from where a policy's relative paths are."""
        folder = self.policy.parent if self.policy else Path()
        return World(_utc_now, os.environ, self.progress, ENDING, elapsed=elapsed, folder=folder)

    def session(self) -> Session:
        """Return an open session; it is closed when the command ends."""
        opened = open_session(self.policy, self.where, self.keys, self.world)
        self.opened.append(opened)
        return opened

    def close(self) -> None:
        """End what shows progress, and let go of the connections."""
        self.progress.close()
        for session in self.opened:
            session.close()

    def policy_file(self) -> Path:
        """Return the policy's file. Raises UsageError where none was given."""
        if self.policy is None:
            raise UsageError("this needs a policy", hint="Give --policy FILE, or set DRTOOL_POLICY.")
        return self.policy

    def say(self, answer: Answer) -> int:
        """Print answer below whatever progress was shown; return its exit code."""
        self.progress.close()
        code = say(answer, as_json=self.as_json)
        report_answer(answer)
        return code

    def moment(self, text: str | None) -> datetime | None:
        """Return the moment that an option names. Raises UsageError."""
        return None if text is None else parse_moment(text, self.now)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _set_color(context: click.Context, _parameter: click.Parameter, value: str) -> None:
    automatic = False if os.environ.get("NO_COLOR") else None
    context.color = {"always": True, "never": False}.get(value, automatic)


OUTPUT: Final[Sequence[Decorator]] = (
    click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object."),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        callback=_set_color,
        expose_value=False,
        help="Colour the answer; auto heeds NO_COLOR.",
    ),
    click.option(
        "--progress",
        type=click.Choice(["auto", "bar", "plain", "none"]),
        default="auto",
        help="How to show progress on stderr; auto: bars on a terminal.",
    ),
    click.option(
        "--debug", is_flag=True, expose_value=False, help="Show where an error came from (or DRTOOL_DEBUG=1)."
    ),
)
POLICY: Final[Sequence[Decorator]] = (
    click.option(
        "--policy",
        envvar="DRTOOL_POLICY",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The policy file (or DRTOOL_POLICY).",
    ),
)
PLACE: Final[Sequence[Decorator]] = (
    *POLICY,
    click.option("--repository", metavar="URL", help="Where the repository is, instead of in a policy."),
    click.option("--endpoint", metavar="URL", help="The S3 server of --repository."),
    click.option("--region", metavar="NAME", help="The S3 region of --repository."),
    click.option("--ca-file", type=_FILE, help="The CA of the server of --repository, PEM."),
)
RECOVERY_KEY: Final[Sequence[Decorator]] = (
    click.option(
        "--recovery-key-file",
        envvar="DRTOOL_RECOVERY_KEY_FILE",
        type=_FILE,
        help="A file that holds the recovery key of the kit (or DRTOOL_RECOVERY_KEY_FILE).",
    ),
)
KEYS: Final[Sequence[Decorator]] = (
    click.option(
        "--bundle",
        envvar="DRTOOL_BUNDLE",
        type=_FILE,
        help="The keys of this machine, as `drtool init` wrote them (or DRTOOL_BUNDLE).",
    ),
    *RECOVERY_KEY,
)
GRANT: Final[Sequence[Decorator]] = (
    click.option(
        "--grant",
        "grants",
        multiple=True,
        type=_FILE,
        help="Instead of a recovery key: what `drtool keys grant` made; or its pieces, each named, in order.",
    ),
    click.option(
        "--runner-key-file",
        type=_FILE,
        help="The key of the runner to which the grant was made, as `drtool keys runner` wrote it.",
    ),
)
CHOICE: Final[Sequence[Decorator]] = (
    click.option(
        "--as-of", metavar="HEAD", help="After an intrusion: only what this head of the maintainer knew."
    ),
    click.option("--accept-late", is_flag=True, help="Take a point that arrived after its deadline."),
    click.option("--accept-void", is_flag=True, help="Take a point that its writer called incomplete."),
    click.option("--accept-loss", is_flag=True, help="Go on though a witness saw more than the store holds."),
)
AT: Final[Decorator] = click.option(
    "--at", metavar="TIME", help="A moment: 2026-11-25T10:00:00Z, an offset as +02:00, or `10m ago`."
)
ADMIN_KEY: Final[Decorator] = click.option(
    "--admin-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="A file that holds the DRTOOL-ADMIN- line of the admin sheet.",
)
DRY_RUN: Final[Decorator] = click.option(
    "--dry-run", is_flag=True, help="Say what would be done; write nothing."
)


def common(*groups: Sequence[Decorator]) -> Decorator:
    """Give a command the options of groups and those of output; it is called with an Invocation made of them."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @wraps(function)
        def invoke(**given: Any) -> int:
            invocation = _invocation(given)
            try:
                return function(invocation, **given)
            except BaseException:
                invocation.progress.interrupted()
                raise
            finally:
                invocation.close()

        for option in reversed([option for group in (*groups, OUTPUT) for option in group]):
            invoke = option(invoke)
        return invoke

    return decorate


def _invocation(given: dict[str, Any]) -> Invocation:
    """Take the shared options out of given."""
    mode: Mode = given.pop("progress")
    return Invocation(
        as_json=given.pop("as_json"),
        progress=make_progress(mode),
        policy=given.pop("policy", None),
        where=_where(given),
        keys=KeyFiles(
            given.pop("bundle", None),
            given.pop("recovery_key_file", None),
            given.pop("grants", ()),
            given.pop("runner_key_file", None),
        ),
    )


def _where(given: dict[str, Any]) -> Where | None:
    url = given.pop("repository", None)
    details = {name: given.pop(name, None) for name in ("endpoint", "region", "ca_file")}
    if url is not None:
        return Where(url, **details)
    for name, value in details.items():
        if value is not None:
            option = name.replace("_", "-")
            raise UsageError(
                f"--{option} goes with --repository",
                hint=f"Give --repository URL too, or set {name} in the policy.",
            )
    return None


def complete_volume(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the policy's volumes that begin with incomplete; none where there is no readable policy."""
    file = context.params.get("policy") or os.environ.get("DRTOOL_POLICY")
    try:
        volumes = load_policy(Path(file)).volumes if file else ()
    except UsageError:
        return []
    return [
        CompletionItem(volume.name, help=volume.source)
        for volume in volumes
        if volume.name.startswith(incomplete)
    ]
