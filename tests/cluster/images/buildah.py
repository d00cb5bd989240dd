"""A Containerfile and its files in, an OCI archive out: the door to buildah.

Storage and mounts are private to one build and end with it: nothing of the machine's own images is seen or changed,
and two builds may run at once.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.cluster.images.command import run
from tests.cluster.images.debian import apt_directory

FLAGS = ("--isolation=chroot", "--layers=false", "--pull=never")
APT_PLACES = {"etc": "/etc/apt", "lists": "/var/lib/apt/lists", "cache": "/var/cache/apt"}


def build(
    context: Mapping[str, Path],
    archive: Path,
    *,
    reference: str,
    parent: Path | None,
    options: Sequence[str] = (),
) -> None:
    """Write the archive of the image that the Containerfile in context describes, named reference.

    context maps paths to files; parent is the archive that takes the place of what the Containerfile's FROM names;
    options are more of buildah's.
    The folder of archive is used for everything else. Raises BuildFailed.
    """
    folder = archive.parent
    stage(context, folder / "context")
    on_parent = ["--from", f"oci-archive:{parent}"] if parent else []
    volumes = [f"--volume={lent}:{place}" for lent, place in _lend_apt(folder / "apt").items()]
    storage = folder / "storage"
    storage.mkdir()
    options = (*FLAGS, *on_parent, *volumes, *options)
    _buildah(storage, "build", *options, f"--tag={reference}", str(folder / "context"))
    _buildah(storage, "push", reference, f"oci-archive:{archive}:{reference}")


def stage(context: Mapping[str, Path], folder: Path) -> None:
    """Copy the files of context to folder, with modes that do not depend on the umask of the checkout."""
    for name, file in context.items():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        copy.chmod(0o755 if is_executable(file) else 0o644)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def is_executable(file: Path) -> bool:
    """Tell whether file is a program: all of its mode that git keeps, and that counts in an image."""
    return bool(file.stat().st_mode & 0o100)


def _lend_apt(folder: Path) -> dict[Path, str]:
    """Return what is mounted where during a build: this machine's way to Debian, and room for what apt leaves."""
    lent = {folder / name: place for name, place in APT_PLACES.items()}
    for path in lent:
        path.mkdir(parents=True)
    apt_directory(folder / "etc")
    return lent


def _buildah(storage: Path, *arguments: str) -> None:
    """Run one command of buildah in a mount namespace of its own: what it mounts cannot outlive it."""
    driver = f"--storage-driver={_storage_driver(storage)}"
    places = [f"--root={storage}/root", f"--runroot={storage}/run", driver]
    # Root's notes on blobs would go to /var/lib/containers, and no option names another place; those of a user do not.
    environment = {"TMPDIR": str(storage), "XDG_DATA_HOME": str(storage), "_CONTAINERS_ROOTLESS_UID": "1"}
    run(["unshare", "--mount", "buildah", *places, *arguments], environment)


@cache
def _storage_driver(storage: Path) -> str:
    """Return how layers are stacked: by overlay where the file system below takes it, else by copying all of them."""
    folders = {name: storage / "probe" / name for name in ("lowerdir", "upperdir", "workdir", "merged")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    merged = folders.pop("merged")
    options = ",".join(f"{name}={folder}" for name, folder in folders.items())
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
    done = subprocess.run(["unshare", "--mount", *mount], capture_output=True, check=False)
    return "vfs" if done.returncode else "overlay"
