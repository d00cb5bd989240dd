"""Who owns a Redis that came back: it is said, with what its server needs where that is another user."""

import os
import pwd
from pathlib import Path

from tests.scenarios.conftest import System


def test_who_owns_the_files_is_said_and_how_the_server_gets_them(system: System, tmp_path: Path) -> None:
    is_root, us = os.geteuid() == 0, pwd.getpwuid(os.geteuid()).pw_name
    for how in (["--dry-run"], []):
        restored = system.drtool.restore("redis", tmp_path / "it's", *how).value["restore"]
        assert restored["facts"]["owner"] == us
        told = [note for note in restored["notes"] if note.startswith("the files belong to root")]
        assert len(told) == is_root
        assert all(
            f"`chown -R redis: '{tmp_path}/it'\"'\"'s'`; or restore with --owner USER" in note
            for note in told
        )
    assert (tmp_path / "it's").stat().st_uid == os.geteuid()


def test_who_was_named_as_owner_is_said_and_needs_nothing(system: System, tmp_path: Path) -> None:
    owner = "nobody"
    code = 0 if os.geteuid() == 0 else 2
    said = system.drtool.restore("redis", tmp_path / "data", "--owner", owner, code=code)
    if code == 0:
        assert said.value["restore"]["facts"]["owner"] == owner
        assert [note for note in said.value["restore"]["notes"] if "chown" in note] == []
        assert (tmp_path / "data").owner() == owner
