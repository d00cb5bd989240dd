"""The room that a restore takes, by file system: all of it is told at once."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from drtool.errors import Refused
from drtool.sources.room import Demand, refuse_small_disks

OTHER = Path("/proc")  # on a file system of its own, wherever there is Linux
MIB = 1024 * 1024


def has(monkeypatch: pytest.MonkeyPatch, free: Mapping[Path, int]) -> None:
    """Let the file systems of these places have so many bytes free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free[place]))


def demands(place: Path) -> list[Demand]:
    return [
        Demand(place / "new" / "data", "the base backup", 2 * MIB),
        Demand(place / "new" / "data", "the base backup", MIB),
        Demand(place / "new", "the WAL", 500),
        Demand(place, "nothing", 0),
        Demand(OTHER, "tablespace 16385", 2048),
    ]


def test_what_goes_onto_one_file_system_is_added_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    has(monkeypatch, {tmp_path: 3 * MIB + 499, OTHER: 2048})
    with pytest.raises(Refused) as refused:
        refuse_small_disks(demands(tmp_path))
    assert refused.value.message == (
        f"{tmp_path} has 3.0 MiB (3146227 bytes) free, and 3.0 MiB (3146228 bytes) are needed: "
        "3.0 MiB for the base backup, 500 B for the WAL"
    )
    has(monkeypatch, {tmp_path: 3 * MIB + 500, OTHER: 2048})
    refuse_small_disks(demands(tmp_path))


def test_every_file_system_that_is_too_small_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    has(monkeypatch, {tmp_path: 0, OTHER: 12})
    with pytest.raises(Refused) as refused:
        refuse_small_disks(demands(tmp_path))
    assert f"{tmp_path} has 0 B free, and " in refused.value.message
    assert refused.value.message.endswith(
        "; /proc has 12 B free, and 2.0 KiB (2048 bytes) are needed: 2.0 KiB for tablespace 16385"
    )
    assert refused.value.facts["disks"] == [
        {
            "place": str(tmp_path),
            "free": 0,
            "needed": 3 * MIB + 500,
            "parts": {"the base backup": 3 * MIB, "the WAL": 500, "nothing": 0},
        },
        {"place": "/proc", "free": 12, "needed": 2048, "parts": {"tablespace 16385": 2048}},
    ]
