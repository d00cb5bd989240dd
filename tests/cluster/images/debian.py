"""Debian 12 for the images: the root file system that all stand on, and this machine's own way to Debian's packages.

Mirror, proxy and the like are those of this machine's apt. They are lent to a build and stay out of the image.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.cache import cached, key
from tests.cluster.images.command import run
from tests.cluster.packages import Missing

RELEASE = "bookworm"
SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
DEBOOTSTRAP_FLAGS = ("--variant=minbase",)
OF_THIS_MACHINE = (
    "etc/apt/*",
    "etc/hostname",
    "etc/resolv.conf",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
)
TAR_FLAGS = ("--numeric-owner", *(f"--exclude=./{pattern}" for pattern in OF_THIS_MACHINE))


def root_file_system() -> Path:
    """Return a tar file with Debian's smallest system, made once. Raises Missing without a mirror, BuildFailed."""
    return cached("images", "rootfs", key(RELEASE, *DEBOOTSTRAP_FLAGS, *TAR_FLAGS), _bootstrap)


def _bootstrap(tar: Path) -> None:
    print(f"building the root file system of Debian {RELEASE}", file=sys.stderr, flush=True)
    mirror = next(uri for uri, suite in _sources() if suite == RELEASE)
    proxy = run(["apt-config", "dump", "--format=%v", "Acquire::http::Proxy"])
    environment = {"http_proxy": proxy} if proxy else {}
    with tempfile.TemporaryDirectory(dir=tar.parent) as root:
        run(["debootstrap", *DEBOOTSTRAP_FLAGS, RELEASE, root, mirror], environment)
        run(["tar", "--create", *TAR_FLAGS, f"--file={tar}", f"--directory={root}", "."])


def apt_directory(folder: Path) -> None:
    """Fill folder with what a build needs as /etc/apt: Debian's sources, options and keys of this machine."""
    sources = [f"deb {uri} {suite} main\n" for uri, suite in _sources()]
    (folder / "sources.list").write_text("".join(sources), encoding="utf-8")
    options = run(["apt-config", "dump", "--no-empty", '--format=%F "%v";%n', "Acquire"])
    (folder / "apt.conf").write_text(options, encoding="utf-8")
    for name in ("auth.conf.d", "trusted.gpg.d"):
        shutil.copytree(Path("/etc/apt") / name, folder / name)
    for name in ("apt.conf.d", "preferences.d"):
        (folder / name).mkdir()  # else apt warns, in front of what matters


def _sources() -> Sequence[tuple[str, str]]:
    """Return address and suite of the sources of Debian 12 that this machine's apt knows, the main one among them."""
    wanted = "--format=$(REPO_URI) $(RELEASE) $(COMPONENT)"
    known = run(["apt-get", "indextargets", wanted, "Created-By: Packages"])
    entries = [line.split(" ") for line in known.splitlines()]
    sources = [(uri, suite) for uri, suite, component in entries if component == "main" and suite in SUITES]
    if not any(suite == RELEASE for _, suite in sources):
        raise Missing(
            f"apt of this machine has no source of Debian's {RELEASE}", hint="Add one below /etc/apt."
        )
    return list(dict.fromkeys(sources))
