"""Binaries are found by what they say they are, and never run as root."""

import os
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import find_bin_dir
from drtool.errors import Refused
from drtool.sources.postgres.binaries import choose_account, find_binaries, popen_options
from tests.sources.postgres.stored import owner


@pytest.mark.parametrize("major", [15, 17, 18])
def test_the_binaries_of_a_major_are_found_by_directory_and_by_search_path(major: int) -> None:
    directory, account = find_bin_dir(major), choose_account(owner())
    explicit = find_binaries(major, account=account, explicit=directory)
    searched = find_binaries(major, account=account, search_path=f"/nowhere:{directory}")
    assert explicit == searched
    assert explicit.program("pg_controldata") == directory / "pg_controldata"
    assert f"(PostgreSQL) {major}." in explicit.run("postgres", "--version").stdout


def test_binaries_of_another_major_are_refused_and_named() -> None:
    directory = find_bin_dir(18)
    with pytest.raises(Refused, match=r"no PostgreSQL 17 .* found .* \(18\)") as caught:
        find_binaries(17, account=choose_account(owner()), explicit=directory)
    assert "postgresql-17" in caught.value.hint


def test_a_program_that_is_no_server_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "postgres").chmod(0o755)
    with pytest.raises(Refused, match="not runnable"):
        find_binaries(18, account=None, explicit=tmp_path)
    with pytest.raises(Refused, match=r"that can be run here$"):
        find_binaries(18, account=None, explicit=tmp_path / "nothing")


def test_a_program_that_the_installation_lacks_is_refused() -> None:
    binaries = find_binaries(18, account=choose_account(owner()), explicit=find_bin_dir(18))
    assert binaries.find("pg_nothing") is None
    with pytest.raises(Refused, match="has no pg_nothing"):
        binaries.program("pg_nothing")


def test_root_runs_postgresql_as_another_account_and_everybody_else_as_themselves() -> None:
    account = choose_account(None)
    assert (account is None) == (os.geteuid() != 0)
    assert account is None or account.uid != 0
    assert popen_options(None) == {}


def test_root_as_owner_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Refused, match="does not run as root"):
        choose_account((0, 0))
    account = choose_account((1234, 1234))
    assert popen_options(account) == {"user": 1234, "group": 1234, "extra_groups": []}
