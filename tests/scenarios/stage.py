"""What a scenario of following plays on: a server, drtool over it by way of a proxy to the store, and the store."""

from dataclasses import dataclass

from drtool.demo.servers.postgres import PostgresServer
from drtool.repository.storage.base import ObjectStore
from tests.faults.proxy import FaultProxy
from tests.scenarios.commands import Commands
from tests.scenarios.scene import Scene


@dataclass(frozen=True)
class Stage:
    """A server and drtool over it, by way of a proxy to the store."""

    scene: Scene
    drtool: Commands
    proxy: FaultProxy
    store: ObjectStore

    @property
    def server(self) -> PostgresServer:
        return self.scene.postgres

    def runs(self) -> list[str]:
        """Return the names of the records of WAL."""
        return [found.name for found in self.store.list("runs/") if "-wal-" in found.name]


def rows_of(stage: Stage, name: str) -> set[int]:
    """Restore to the newest moment, and return the ids in the ledger's table."""
    target = stage.scene.directory / name
    stage.drtool.restore("postgres", target, "--bin-dir", stage.server.bin_dir)
    with PostgresServer(target, stage.server.bin_dir, password=stage.server.password, fast=True) as server:
        return {number for (number,) in server.sql("select id from ledger")}
