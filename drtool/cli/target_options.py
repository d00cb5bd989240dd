"""What is said of a target, by who plans a way back into it and by who goes it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from drtool.cli.options import AT, Decorator, Invocation
from drtool.errors import UsageError
from drtool.recovery.wishes import Wishes

_REPLACED: Final = ("classes", "registries", "hosts")

NAMESPACE: Final = click.option(
    "--namespace", metavar="NAME", help="Another namespace than the captured one."
)
WISHES: Final[Sequence[Decorator]] = (
    NAMESPACE,
    AT,
    click.option("--aligned", is_flag=True, help="The newest moment that all data can be brought to."),
    click.option(
        "--storage-class",
        "classes",
        multiple=True,
        metavar="OLD=NEW",
        help="Another storage class; without OLD: for claims that name none.",
    ),
    click.option(
        "--image-registry",
        "registries",
        multiple=True,
        metavar="OLD=NEW",
        help="Where images come from instead.",
    ),
    click.option(
        "--host",
        "hosts",
        multiple=True,
        metavar="OLD=NEW",
        help="Another host for Ingresses, with all below it.",
    ),
    click.option(
        "--if-exists",
        type=click.Choice(["refuse", "keep", "replace"]),
        default="refuse",
        show_default=True,
        help="What becomes of objects that are there already, and differ.",
    ),
    click.option(
        "--in-place",
        is_flag=True,
        help="Bring the named volumes back beside those in use, and switch; nothing else of the namespace.",
    ),
    click.option(
        "--with-jobs", is_flag=True, help="Bring Jobs and pods of nobody back, too: they run again."
    ),
    click.option(
        "--as-captured",
        is_flag=True,
        help="The captured manifests, whatever recovery.deploy of the policy says.",
    ),
    click.option(
        "--enrol",
        type=click.Choice(["now", "later"]),
        default="now",
        show_default=True,
        help="When a new writer takes over: until then nothing backs up what came back.",
    ),
    click.option(
        "--image",
        default="",
        metavar="IMAGE",
        help="drtool's own image, for what works inside of the target.",
    ),
)


def wishes_of(invocation: Invocation, given: Mapping[str, Any]) -> Wishes:
    """Return what the options wish for. Raises UsageError."""
    return Wishes(
        **{
            **given,
            "at": invocation.moment(given["at"]),
            "enrol": given["enrol"] == "now",
            "classes": parse_names("--storage-class", given["classes"], may_be_empty=True),
            "registries": parse_names("--image-registry", given["registries"]),
            "hosts": parse_names("--host", given["hosts"]),
        }
    )


def parse_names(option: str, texts: Iterable[str], *, may_be_empty: bool = False) -> dict[str, str]:
    """Return OLD=NEW pairs as a mapping; may_be_empty lets OLD be no name. Raises UsageError."""
    names: dict[str, str] = {}
    for text in texts:
        old, sign, new = text.partition("=")
        if not (sign and new and (old or may_be_empty)) or old in names:
            raise UsageError(
                f"{option} {text} does not say what becomes what", hint="Write each once, as OLD=NEW."
            )
        names[old] = new
    return names
