"""The container images of the lab: what they are made of, and their archives, which nodes import.

    node.load(archive("postgres"))          # containerd then has drtool.test/postgres:test

An image is a folder beside this file with a Containerfile; `FROM drtool.test/<name>` names the image that it stands on.
There is no registry. An archive is built once, and again when a byte of the image or of what it stands on changes.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from drtool.errors import UsageError
from tests.cluster.binaries import binary
from tests.cluster.cache import cached, key
from tests.cluster.images import drtool
from tests.cluster.images.buildah import FLAGS, build, is_executable
from tests.cluster.images.debian import root_file_system

FOLDER = Path(__file__).parent
PREFIX = "drtool.test"
TAG = "test"


@dataclass(frozen=True)
class Image:
    """One image: the files of its folder; and what it takes from elsewhere, by path in the build's context.

    on is the image that its Containerfile's first FROM stands for, where that does not name one of ours.
    """

    name: str
    elsewhere: Mapping[str, Callable[[], Path]] = field(default_factory=dict)
    folder: Path = FOLDER
    on: str | None = None
    options: Callable[[], Sequence[str]] = tuple

    @property
    def reference(self) -> str:
        """The name that pods use: always the same, for there is one state of an image in a lab."""
        return f"{PREFIX}/{self.name}:{TAG}"

    @property
    def parent(self) -> str | None:
        """The image of ours that this one stands on; None if it stands on nothing."""
        containerfile = self.context()["Containerfile"].read_text(encoding="utf-8")
        found = re.search(rf"^FROM {re.escape(PREFIX)}/(\S+)$", containerfile, re.MULTILINE)
        return found.group(1) if found else self.on

    def context(self) -> dict[str, Path]:
        """Return the files that the build sees: path in the context, with slashes, to the file's place here."""
        own = self.folder / self.name
        files = dict(_walk(own, "")) if own.is_dir() else {}
        for name, find in self.elsewhere.items():
            files.update(_walk(find(), name))
        return files


def _walk(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield name, path
        return
    for each in sorted(path.iterdir()):
        if each.name != "__pycache__":
            yield from _walk(each, f"{name}/{each.name}".lstrip("/"))


IMAGES: dict[str, Image] = {
    image.name: image
    for image in (
        Image("base", {"rootfs.tar": root_file_system}),
        Image("pause", {"pause": partial(binary, "pause")}),
        Image("postgres"),
        Image("redis"),
        Image("pgpool"),
        Image("nginx"),
        Image("exporters"),
        Image("rsyslog"),
        Image("django"),
        Image("app", {"app": lambda: FOLDER.parent / "app"}),
        Image("traefik", {"traefik": partial(binary, "traefik")}),
        Image("tools"),
        Image(drtool.BASE),
        Image(
            drtool.PACKAGES,
            {
                "Containerfile": lambda: drtool.CONTAINERFILE,
                "requirements/run.txt": lambda: drtool.REQUIREMENTS,
            },
            on=drtool.BASE,
            options=drtool.packages_options,
        ),
        Image(
            "drtool",
            {"Containerfile": drtool.last_stage, "drtool": lambda: drtool.ROOT / "drtool"},
            on=drtool.PACKAGES,
        ),
    )
}


def archive(name: str) -> Path:
    """Return the OCI archive of an image, built now if the cache lacks it. Raises UsageError, BuildFailed."""
    image = find(name, IMAGES)
    context = image.context()
    parent = archive(image.parent) if image.parent else None

    def make(path: Path) -> None:
        print(f"building image {name}", file=sys.stderr, flush=True)
        build(context, path, reference=image.reference, parent=parent, options=image.options())

    return cached("images", name, image_key(name, IMAGES), make)


def find(name: str, images: Mapping[str, Image]) -> Image:
    """Return the image called name. Raises UsageError with the names that there are."""
    try:
        return images[name]
    except KeyError:
        raise UsageError(f"no image {name}", hint=f"There are {', '.join(sorted(images))}.") from None


def image_key(name: str, images: Mapping[str, Image]) -> str:
    """Return the key of an image in the cache: another one if a file of it, or of what it stands on, is another."""
    image = find(name, images)
    parts: list[str | bytes] = [*FLAGS, *image.options(), image.reference]
    for path, file in sorted(image.context().items()):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        parts += [path, str(is_executable(file)), content]
    return key(*parts, image_key(image.parent, images) if image.parent else "")


def build_all() -> None:
    """Build every image that the cache lacks."""
    for name in IMAGES:
        archive(name)
