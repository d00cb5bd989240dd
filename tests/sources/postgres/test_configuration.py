"""What a restore makes of postgresql.auto.conf, and what it says of that."""

from pathlib import Path

from drtool.sources.postgres.configuration import AUTO_CONF, put_back, set_aside


def restored(directory: Path) -> tuple[list[str], str]:
    """Do what a restore does around its recovery; return its notes, and what it left."""
    set_aside(directory)
    notes = put_back(directory, {})
    return notes, (directory / AUTO_CONF).read_text()


def test_a_server_that_was_restored_before_is_told_of_as_any_other(tmp_path: Path) -> None:
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (tmp_path / name).touch()
    auto = tmp_path / AUTO_CONF
    auto.write_text("work_mem = '8MB'\n")
    notes, content = restored(tmp_path)
    assert len(notes) == 2
    assert restored(tmp_path) == (notes, content)
    # ALTER SYSTEM writes the file anew, without comments; a primary that it names is disarmed, and told, once more.
    lines = [line for line in content.splitlines(keepends=True) if not line.startswith("#")]
    auto.write_text("".join(line for line in lines if "primary_conninfo" not in line))
    assert restored(tmp_path) == (notes, content)
    auto.write_text("".join([*lines, "primary_conninfo = 'host=gone'\n", "restore_command = 'false'\n"]))
    told, again = restored(tmp_path)
    assert told == [*notes, f"commented out in {AUTO_CONF}: primary_conninfo, restore_command"]
    assert again.count("primary_conninfo = ''") == 1
    assert again.index("host=gone") < again.index("primary_conninfo = ''")
