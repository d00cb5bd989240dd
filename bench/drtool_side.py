"""drtool, as its command line: init, backup, wal catch-up, restore."""

import json
import shutil
import sys
from pathlib import Path

from bench.cluster import server_cpu
from bench.measure import Spent, measure, tree_bytes
from bench.side import Done
from drtool.demo.servers.postgres import PostgresServer, account

_VOLUME = "postgres"
_POLICY = """\
version: 1
name: bench
repository: {{url: "file://{store}"}}
objectives: {{rpo: 15m, rto: 1h}}
volumes:
  - name: {volume}
    source: postgres
    host: 127.0.0.1
    port: {port}
    user: postgres
    password: {{env: BENCH_PASSWORD}}
"""


class DrtoolSide:
    """drtool, with a repository in a directory."""

    name = "drtool"

    def __init__(self, directory: Path, server: PostgresServer) -> None:
        self._directory = directory
        self._server = server
        self.repository = directory / "store"
        self._keys = {name: directory / name for name in ("bundle", "kit")}
        self._policy = directory / "policy.yaml"

    def fresh(self) -> None:
        for slot, *_ in self._server.sql("select slot_name from pg_replication_slots"):
            self._server.sql("select pg_drop_replication_slot(%s)", slot)
        shutil.rmtree(self._directory, ignore_errors=True)
        self.repository.mkdir(parents=True)
        self._policy.write_text(_POLICY.format(store=self.repository, volume=_VOLUME, port=self._server.port))
        self._run("init", "--bundle", self._keys["bundle"], "--kit-file", self._keys["kit"])

    def settle(self) -> None:
        self._run("wal", "catch-up", _VOLUME, "--bundle", self._keys["bundle"])

    def backup(self) -> Done:
        data, wal, cpu = *self._sizes(), server_cpu(self._server)
        spent = self._run("backup", _VOLUME, "--bundle", self._keys["bundle"])
        data_after, wal_after = self._sizes()
        return Done(spent, server_cpu(self._server) - cpu, data_after - data, wal_after - wal)

    def restore(self, directory: Path) -> Done:
        owner = [] if account() is None else ["--owner", str(account())]
        programs = ("--bin-dir", self._server.bin_dir)
        spent = self._run(
            "restore",
            _VOLUME,
            "--to-dir",
            directory,
            "--recovery-key-file",
            self._keys["kit"],
            *programs,
            *owner,
        )
        taken: dict[str, float] = json.loads(spent.output)["restore"]["phases"]
        after = taken["recovering"] + taken["proving"]
        return Done(
            spent,
            phases={
                "data": spent.seconds - after,
                "recovery": taken["recovering"],
                "proofs": taken["proving"],
            },
        )

    def _run(self, *words: str | Path) -> Spent:
        common = ("--policy", self._policy, "--json", "--progress", "none")
        env = {"BENCH_PASSWORD": self._server.password}
        return measure([sys.executable, "-m", "drtool", *words, *common], env=env)

    def _sizes(self) -> tuple[int, int]:
        """Return the bytes of what backups stored, and of WAL."""
        wal = sum(tree_bytes(self.repository / kind) for kind in ("wal", "tail"))
        return tree_bytes(self.repository) - wal, wal
