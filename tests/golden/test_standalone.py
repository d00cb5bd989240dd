"""The stand-alone reader on what a real server wrote: the server's own tool finds every file of it whole."""

import subprocess
from pathlib import Path
from shutil import rmtree

from drtool.demo.servers.postgres import PostgresServer, give, private_directory
from tests.golden.test_golden import standalone
from tests.scenarios.commands import Commands

SETTINGS = {"max_slot_wal_keep_size": "64MB"}


def test_a_base_backup_with_a_tablespace_is_read_without_drtool(tmp_path: Path) -> None:
    directory, store = private_directory("standalone"), tmp_path / "store"
    space = directory / "space"
    space.mkdir()
    give(space)
    store.mkdir()
    try:
        with PostgresServer.create(18, directory, settings=SETTINGS, fast=True) as server:
            server.sql(f"create tablespace roomy location '{space}'")
            server.sql("create table post tablespace roomy as select generate_series(1, 1000) n")
            drtool = commands(tmp_path, store, server)
            drtool.init()
            drtool("backup")
        line = next(line for line in drtool.kit.read_text().splitlines() if "DRTOOL-RECOVERY-" in line)
        done = standalone(store, line, tmp_path / "out")
        assert done.returncode == 0, done.stderr
        [point] = (path for path in (tmp_path / "out/postgres").iterdir() if path.name not in ("wal", "tail"))
        assert any((point / "pg_tblspc").glob("*/PG_18_*/*/*"))
        verify = [str(server.bin_dir / "pg_verifybackup"), "--no-parse-wal", str(point)]
        verified = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert verified.returncode == 0, verified.stderr
    finally:
        rmtree(directory)


def commands(folder: Path, store: Path, server: PostgresServer) -> Commands:
    postgres = {"name": "postgres", "source": "postgres", "host": "127.0.0.1", "port": server.port}
    content = {
        "version": 1,
        "name": "alone",
        "repository": {"url": f"file://{store}"},
        "objectives": {"rpo": "15m", "rto": "1h"},
        "volumes": [{**postgres, "user": "postgres", "password": {"env": "PASSWORD"}}],
    }
    return Commands(folder / "commands", content, {"PASSWORD": server.password}).written()
