"""Binaries are found by what they say they are, and never run as root."""

import os
import shutil
from pathlib import Path

import pytest

from drtool.demo.servers.postgres import find_bin_dir, private_directory
from drtool.errors import DrtoolError, Refused
from drtool.sources.postgres.binaries import choose_account, find_binaries, popen_options
from drtool.sources.postgres.instance import read_control
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


def test_a_folder_of_the_search_path_that_is_closed_is_passed_over(as_user: Path) -> None:
    closed = as_user / "closed"
    closed.mkdir(mode=0)
    with pytest.raises(Refused, match="no PostgreSQL 99"):
        find_binaries(99, account=None, search_path=str(closed))


@pytest.mark.parametrize("name", ["pg_verifybackup", "pg_checksums", "pg_controldata"])
def test_an_installation_that_lacks_what_a_restore_needs_is_passed_over(name: str) -> None:
    whole, account, lame = find_bin_dir(18), choose_account(owner()), private_directory("lame")
    try:
        script = f'#!/bin/sh\nexec "{whole}/postgres" "$@"\n'
        for program in {"postgres", "pg_verifybackup", "pg_checksums", "pg_controldata", "pg_config"} - {
            name
        }:
            (lame / program).write_text(script)
            (lame / program).chmod(0o755)
        found = find_binaries(18, account=account, search_path=f"{lame}:{whole}")
        assert found.directory == whole.resolve()
        with pytest.raises(Refused, match=rf"found .*\(18 without {name}\)"):
            find_binaries(18, account=account, explicit=lame)
    finally:
        shutil.rmtree(lame)


def test_a_program_that_turns_out_to_be_missing_is_no_refusal() -> None:
    binaries = find_binaries(18, account=choose_account(owner()), explicit=find_bin_dir(18))
    assert binaries.find("pg_nothing") is None
    with pytest.raises(DrtoolError, match="has no pg_nothing") as caught:
        binaries.program("pg_nothing")
    assert caught.value.exit_code == DrtoolError.exit_code


def test_a_control_file_that_cannot_be_read_is_no_refusal(tmp_path: Path) -> None:
    binaries = find_binaries(18, account=choose_account(owner()), explicit=find_bin_dir(18))
    with pytest.raises(DrtoolError, match="pg_controldata cannot read") as caught:
        read_control(binaries, tmp_path)
    assert caught.value.exit_code == DrtoolError.exit_code


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
