"""Trees for the tests of this room."""

from pathlib import Path

import pytest

from tests.sources.files.trees import make_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with one of everything."""
    root = tmp_path / "tree"
    make_tree(root)
    return root
