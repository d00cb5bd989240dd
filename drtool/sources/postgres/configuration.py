"""The data directory's own configuration around a recovery: set aside, disarmed, completed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

AUTO_CONF = "postgresql.auto.conf"
_ASIDE = f"{AUTO_CONF}.drtool"

# What would aim the restored server at the old one's recovery, primary, archive or standbys.
_DISARMED = re.compile(
    r"\s*(recovery_\w+|restore_command|primary_\w+|archive_\w+|promote_trigger_file|synchronous_standby_names)\b"
)
# The same, wherever else the captured configuration sets it: postgresql.auto.conf is read last, and so it decides.
_HARMLESS = {
    "archive_mode": "off",
    **dict.fromkeys(
        (
            "archive_command",
            "archive_library",
            "synchronous_standby_names",
            "primary_conninfo",
            "primary_slot_name",
            "restore_command",
            "recovery_target",
            "recovery_target_lsn",
            "recovery_target_name",
            "recovery_target_time",
            "recovery_target_xid",
        ),
        "",
    ),
}
_WHY = (
    "# by drtool: a restored server aims at nothing that the old one aimed at, wherever that is configured\n"
)
_BY_DRTOOL = "# written by drtool"
_HBA = f"{_BY_DRTOOL}: the captured pg_hba.conf lay outside of the data directory\nlocal all all peer\n"
_IDENT = f"{_BY_DRTOOL}\n"


def setting_lines(settings: Mapping[str, str]) -> str:
    """Return settings as postgresql.conf wants them, one a line, each value quoted."""
    escaped = {
        name: value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
        for name, value in settings.items()
    }
    return "".join(f"{name} = '{value}'\n" for name, value in escaped.items())


_OURS = {_WHY.strip(), *setting_lines(_HARMLESS).splitlines()}


def set_aside(directory: Path) -> None:
    """Hide postgresql.auto.conf from the server that recovers. Safe to run twice."""
    if (directory / AUTO_CONF).exists():
        (directory / AUTO_CONF).rename(directory / _ASIDE)


def put_back(directory: Path, settings: Mapping[str, str]) -> list[str]:
    """Bring the configuration back so that the server starts by itself, and return notes on what was changed.

    What points to the old primary, archive or standbys is commented out, and switched off behind that, for
    postgresql.conf may say it too; ALTER SYSTEM RESET brings each back. settings go into a postgresql.conf where
    the capture has none (Debian keeps it elsewhere).
    """
    notes = [
        f"archive_mode is off in {AUTO_CONF}: reset it once the restored server may archive",
        f"off in {AUTO_CONF}, until ALTER SYSTEM RESET: {', '.join(list(_HARMLESS)[1:])}",
    ]
    aside = directory / _ASIDE
    lines = aside.read_text(errors="surrogateescape").splitlines(keepends=True) if aside.exists() else []
    lines = [line for line in lines if line.strip() not in _OURS]  # of an earlier restore: written anew below
    kept = [f"# by drtool: {line}" if _DISARMED.match(line) else line for line in lines]
    gone = [line.split("=")[0].strip() for line in lines if _DISARMED.match(line)]
    if gone:
        notes.append(f"commented out in {AUTO_CONF}: {', '.join(dict.fromkeys(gone))}")
    if kept and not kept[-1].endswith("\n"):
        kept.append("\n")
    _write(directory, AUTO_CONF, "".join([*kept, _WHY, setting_lines(_HARMLESS)]))
    aside.unlink(missing_ok=True)
    defaults = {
        "postgresql.conf": f"{_BY_DRTOOL}: the captured one lay outside of the data directory\n"
        + setting_lines(settings),
        "pg_hba.conf": _HBA,
        "pg_ident.conf": _IDENT,
    }
    missing = [name for name in defaults if not (directory / name).exists()]
    for name in missing:
        _write(directory, name, defaults[name])
    if missing:
        notes.append(
            f"not in the data directory, and written as minimal ones, put yours there: {', '.join(missing)}"
        )
    return notes


def written_here(directory: Path) -> list[str]:
    """Return the names of the configuration that `put_back` wrote where the capture had none."""
    there = [
        name for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf") if (directory / name).is_file()
    ]
    return [name for name in there if (directory / name).read_bytes().startswith(_BY_DRTOOL.encode())]


def _write(directory: Path, name: str, content: str) -> None:
    """Write a private file that belongs to whom the directory belongs to."""
    path = directory / name
    path.touch(mode=0o600)
    path.write_text(content, errors="surrogateescape")
    if os.geteuid() == 0:
        os.chown(path, directory.stat().st_uid, directory.stat().st_gid)
