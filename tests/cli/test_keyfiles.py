import stat
from pathlib import Path

import pytest

from drtool.cli.keyfiles import refuse_present, write_key_file
from drtool.errors import Refused, UsageError


def test_a_key_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    write_key_file(tmp_path / "key", "text\n")
    assert (tmp_path / "key").read_text() == "text\n"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_key_file_that_came_in_between_is_not_overwritten(tmp_path: Path) -> None:
    refuse_present(tmp_path / "key")
    (tmp_path / "key").write_text("other")
    with pytest.raises(Refused, match="is there already"):
        write_key_file(tmp_path / "key", "text")
    assert (tmp_path / "key").read_text() == "other"


def test_a_dangling_link_is_something_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for check in (refuse_present, lambda path: write_key_file(path, "text")):
        with pytest.raises(Refused):
            check(tmp_path / "link")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the folder of"):
        refuse_present(tmp_path / "none" / "key")
