"""Systems that were restored: one that nothing protects yet, and one with drtool's objects in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.cluster_restore.unprotected import Back, restored


@pytest.fixture
def back(tmp_path: Path) -> Iterator[Back]:
    media = {"name": "media", "source": "files", "path": str(tmp_path / "media")}
    with restored(tmp_path, {"name": "objects", "source": "manifests"}, media) as system:
        yield system


@pytest.fixture
def enrolled(back: Back) -> Back:
    """The system, in the hands of a new writer, and drtool's objects in it; the writer before made points, too."""
    back.drtool("backup")
    back.enrol()
    back.protect()
    return back
