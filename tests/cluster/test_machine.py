"""What a machine lacks is said plainly, before anything is started."""

import os

import pytest

from drtool.errors import Refused
from tests.cluster import machine


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(Refused, match="takes root") as refused:
        machine.check()

    assert "KUBECONFIG" in refused.value.hint


def test_programs_that_are_not_there_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert machine._programs() == [f"no program {name}" for name in machine.PROGRAMS]


def test_too_little_room_is_said_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "DISK_BYTES", 2**60)

    (fault,) = machine._room()

    assert "GiB free in /var/tmp" in fault
