"""pgBackRest, set as near to drtool as it can be: zstd 1, two processes, encrypted, its repository a directory.

It runs as the server's own account, and gets its WAL by archive_command.
"""

import secrets
import shutil
import time
from pathlib import Path

from bench.cluster import server_cpu
from bench.measure import Spent, measure, tree_bytes
from bench.side import Done
from drtool.demo.servers.postgres import SUPERUSER, PostgresServer, account, give
from drtool.demo.servers.process import wait_until

_CONFIGURATION = """\
[global]
repo1-path={repository}
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass={secret}
compress-type=zst
compress-level=1
process-max=2
start-fast=y
log-path={log}
log-level-file=off
log-level-console=warn
lock-path={lock}
spool-path={spool}

[bench]
pg1-path={data}
pg1-port={port}
pg1-socket-path={socket}
pg1-user={user}
"""
_WAIT_S = 60


class PgBackRestSide:
    """pgBackRest, with a repository in a directory."""

    name = "pgbackrest"

    def __init__(self, directory: Path, server: PostgresServer) -> None:
        self._directory = directory
        self._server = server
        self._configuration = directory / "pgbackrest.conf"
        self.repository = directory / "repository"

    def fresh(self) -> None:
        self._archive_with("/bin/true")
        shutil.rmtree(self._directory, ignore_errors=True)
        for name in ("repository", "log", "lock", "spool"):
            (self._directory / name).mkdir(parents=True)
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(
            _CONFIGURATION.format(
                repository=self.repository,
                secret=secrets.token_urlsafe(32),
                log=self._directory / "log",
                lock=self._directory / "lock",
                spool=self._directory / "spool",
                data=self._server.data,
                port=self._server.port,
                socket=self._server.data.parent,
                user=SUPERUSER,
            )
        )
        give(self._directory)
        self._run("stanza-create")
        self._archive_with(f"pgbackrest --config={self._configuration} --stanza=bench archive-push %p")

    def _archive_with(self, command: str) -> None:
        self._server.sql(f"alter system set archive_command = '{command}'")
        self._server.sql("select pg_reload_conf()")

    def settle(self) -> None:
        [(segment,)] = self._server.sql("select pg_walfile_name(pg_switch_wal())")

        def archived() -> bool:
            [(last,)] = self._server.sql("select last_archived_wal from pg_stat_archiver")
            return last is not None and last >= segment

        wait_until(archived, "the WAL is archived", deadline_s=_WAIT_S)

    def backup(self) -> Done:
        data, wal, cpu = *self._sizes(), server_cpu(self._server)
        spent = self._run("backup", "--type=incr")
        data_after, wal_after = self._sizes()
        return Done(spent, server_cpu(self._server) - cpu, data_after - data, wal_after - wal)

    def restore(self, directory: Path) -> Done:
        directory.mkdir(mode=0o700)
        give(directory)
        spent = self._run("restore", f"--pg1-path={directory}", "--archive-mode=off")
        begun = time.perf_counter()
        with PostgresServer(directory, self._server.bin_dir, password=self._server.password) as restored:
            wait_until(
                lambda: restored.sql("select pg_is_in_recovery()") == [(False,)],
                "recovery has ended",
                deadline_s=_WAIT_S,
            )
            recovery = time.perf_counter() - begun
        return Done(spent, phases={"data": spent.seconds, "recovery": recovery})

    def _run(self, *words: str) -> Spent:
        argv = ["pgbackrest", f"--config={self._configuration}", "--stanza=bench", *words]
        return measure(argv, env={"PGPASSWORD": self._server.password}, account=account())

    def _sizes(self) -> tuple[int, int]:
        """Return the bytes of what backups stored, and of WAL."""
        return tree_bytes(self.repository / "backup"), tree_bytes(self.repository / "archive")
