"""What the application did after the base backup is no fault of the restore that replays it."""

from tests.conftest import S3Server
from tests.scenarios.commands import Commands, s3_repository
from tests.scenarios.scene import play


def test_databases_and_unlogged_tables_come_and_go_after_the_base(s3_server: S3Server) -> None:
    with play(18, "6.2", s3_server.at(s3_server.plain)) as scene:
        server = scene.postgres
        drtool = Commands.over(scene, s3_repository(s3_server.at(s3_server.plain)))
        drtool.init()
        for name in ("gone", "before", "kept"):
            server.sql(f"create database {name}")
        server.sql("create unlogged table dropped (n int)", dbname="kept")
        server.sql("create unlogged table former (n int)")
        server.sql("alter system set autovacuum = off")  # it commits, too
        server.sql("select pg_reload_conf()")
        drtool("backup", "postgres")
        base = drtool.restore("postgres", scene.directory / "base", "--bin-dir", server.bin_dir)
        server.sql("drop database gone")
        server.sql("alter database before rename to after")
        server.sql('create database "MyApp"')
        server.sql("create database closed allow_connections false")
        server.sql("create unlogged table latter (n int)")
        server.sql("drop table dropped", dbname="kept")
        drtool("wal", "catch-up")
        said = drtool.restore("postgres", scene.directory / "back", "--bin-dir", server.bin_dir)
    proofs = {proof["name"]: proof for proof in said.value["restore"]["proofs"]}
    assert proofs["databases"]["actual"] == (
        "dropped or renamed since the base: before, gone; takes no connections, and is not looked into: closed"
    )
    found = {
        name: (proofs[name]["expected"], proofs[name]["actual"]) for name in proofs if "unlogged" in name
    }
    assert found == {
        "unlogged tables of kept": ("1 in the base", "0"),
        "unlogged tables of postgres": ("1 in the base", "2, all empty: former, latter"),
    }
    exact = {proof["name"]: (proof["expected"], proof["actual"]) for proof in base.value["restore"]["proofs"]}
    assert exact["databases"][1] == "all there"
    assert exact["unlogged tables of postgres"] == ("1", "1, all empty: former")  # nothing committed since
    assert {"pg_amcheck of MyApp", "pg_amcheck of after", "pg_amcheck of kept"} <= proofs.keys()
