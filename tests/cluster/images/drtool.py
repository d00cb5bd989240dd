"""drtool's own image, from k8s/image/Containerfile: that very file, as an air-gapped user builds it.

Its two stages are built as two images, so that a change of drtool's code builds only the last one anew.
"""

import sys
from pathlib import Path

from tests.cluster.cache import cached, key
from tests.cluster.images.command import run

ROOT = Path(__file__).parents[3]
CONTAINERFILE = ROOT / "k8s/image/Containerfile"
REQUIREMENTS = ROOT / "requirements/run.txt"
BASE, PACKAGES = (
    "python",
    "drtool-packages",
)  # images of the lab: what the file's BASE is, and its first stage
LAST_STAGE = "FROM packages\n"
FETCH = (
    *("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"),
    *("--require-hashes", "--no-deps", "--python-version=3.11"),  # Debian 12's, whatever runs the tests
)


def packages_options() -> tuple[str, ...]:
    """Return the options with which the first stage is built: from a folder of wheels."""
    wheels = "--no-index --find-links=/wheels"
    return ("--target=packages", f"--volume={_wheels()}:/wheels:ro", f"--build-arg=PIP_OPTIONS={wheels}")


def last_stage() -> Path:
    """Return a Containerfile that holds the last stage alone."""
    _, mark, rest = CONTAINERFILE.read_text(encoding="utf-8").partition(LAST_STAGE)
    text = mark + rest

    def make(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return cached("images", "drtool-containerfile", key(text), make)


def _wheels() -> Path:
    """Return a folder with the wheels of requirements/run.txt, fetched once by this machine's pip."""

    def make(folder: Path) -> None:
        run([sys.executable, *FETCH, "-r", REQUIREMENTS, "-d", folder])

    return cached("images", "wheels", key(REQUIREMENTS.read_bytes(), *FETCH), make)
