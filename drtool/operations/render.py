"""`render`: a policy's overlay into a folder. What a person changed there is not overwritten."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drtool.deploy.overlay import SECRETS_FOLDER, Overlay, make_overlay
from drtool.deploy.pods import POLICY_FILE
from drtool.errors import DrtoolError, PolicyInvalid, Refused
from drtool.policy.load import parse_policy, read_policy

_HEADER: Final = "# Written by `drtool render`, which does not overwrite it once it is changed: sha256 "
_MARK = re.compile(re.escape(_HEADER) + "([0-9a-f]{64})")
GITIGNORE: Final = f"{SECRETS_FOLDER}/.gitignore"
_IGNORE_ALL = "# What lies here is secret.\n*\n!.gitignore\n"


@dataclass(frozen=True, slots=True)
class RenderResult:
    """An overlay in its folder. secrets: files that a person has to put there, and that are missing now."""

    policy: str
    directory: Path
    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    secrets: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How to render: force overwrites what was changed by hand; a dry run writes nothing."""

    image: str
    existing_secrets: bool = False
    force: bool = False
    dry_run: bool = False


def run_render(policy_file: Path, directory: Path, options: RenderOptions) -> RenderResult:
    """Write the overlay of a policy into directory, and remove what an earlier one left there.

    Raises Refused, before anything is written, when files there are not render's, or were changed since.
    """
    text = re.sub(f"^{_MARK.pattern}\n", "", read_policy(policy_file))  # of a policy that render wrote
    policy = parse_policy(text, str(policy_file))
    overlay = make_overlay(policy, text, options.image, existing_secrets=options.existing_secrets)
    wanted = {name: _marked(content) for name, content in overlay.files.items()}
    if overlay.secrets:
        wanted[GITIGNORE] = _marked(_IGNORE_ALL)
    try:
        found = _found(directory, wanted)
        if not options.force:
            _refuse_another(directory, found.get(POLICY_FILE), policy.name)
            _refuse_changed(directory, found, wanted)
        written = tuple(name for name, content in wanted.items() if found.get(name) != content)
        removed = tuple(name for name in found if name not in wanted)
        if not options.dry_run:
            _write(directory, {name: wanted[name] for name in written}, removed)
            for secret in overlay.secrets:
                (directory / SECRETS_FOLDER / secret).mkdir(mode=0o700, exist_ok=True)
    except (OSError, UnicodeDecodeError) as fault:
        raise DrtoolError(f"{directory}: {fault}", hint="Name a folder that this user can write.") from fault
    return RenderResult(
        policy=policy.name,
        directory=directory,
        written=written,
        unchanged=tuple(name for name in wanted if name not in written),
        removed=removed,
        secrets=tuple(_missing_secrets(directory, overlay)),
        notes=overlay.notes,
    )


def _marked(content: str) -> str:
    """Return content below a line by which its change is noticed."""
    return f"{_HEADER}{_digest(content)}\n{content}"


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _is_untouched(text: str) -> bool:
    """Tell whether text is as an earlier render wrote it."""
    first, _, content = text.partition("\n")
    mark = _MARK.fullmatch(first)
    return mark is not None and mark.group(1) == _digest(content)


def _found(directory: Path, wanted: dict[str, str]) -> dict[str, str]:
    """Return what lies where render writes, and what an earlier render wrote and nobody changed."""
    files = {name: directory / name for name in wanted}
    files |= {file.name: file for file in sorted(directory.glob("*.yaml"))}
    texts = {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.exists()}
    return {name: text for name, text in texts.items() if name in wanted or _is_untouched(text)}


def _refuse_another(directory: Path, text: str | None, name: str) -> None:
    """Raise Refused where directory has the overlay of another policy, whose objects have the same names."""
    try:
        other = parse_policy(text, POLICY_FILE).name if text is not None else name
    except PolicyInvalid:
        return  # nobody can say whose it is
    if other != name:
        raise Refused(
            f"{directory} holds the overlay of policy {other}, not of {name}",
            hint="Give each policy a folder and a namespace of its own: drtool's objects have the same names in each.",
        )


def _refuse_changed(directory: Path, found: dict[str, str], wanted: dict[str, str]) -> None:
    changed = [
        name for name, text in found.items() if text != wanted.get(name, text) and not _is_untouched(text)
    ]
    if changed:
        raise Refused(
            f"{directory}: {', '.join(changed)} changed since, or not written by render",
            hint="Put changes into an overlay of your own whose resources name this folder, or give --force.",
        )


def _write(directory: Path, files: dict[str, str], removed: tuple[str, ...]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in removed:
        (directory / name).unlink()


def _missing_secrets(directory: Path, overlay: Overlay) -> list[str]:
    names = [f"{SECRETS_FOLDER}/{secret}/{key}" for secret, keys in overlay.secrets.items() for key in keys]
    return [name for name in names if not (directory / name).exists()]
