"""WAL laid out for one recovery, and the restore_command that serves it: plain sh, and never a false "not there"."""

import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from drtool.errors import Corrupt
from drtool.sources.postgres.coverage import Base, SegmentPlan
from drtool.sources.postgres.pitr import RecoveryChoice
from drtool.sources.postgres.wal import check_segment_header, format_lsn, history_name

WAL = "wal"
EXPECTED = "expected"
COMMAND = "restore-command.sh"

# PostgreSQL takes 1 to 125 for "there is no such file", which ends recovery as a success, and anything above for a
# fault, which stops it. So 1 is answered only where the plan proves it: behind the last segment; on a timeline
# that had not begun at a segment; for a history file that nobody stored.
_SCRIPT = """\
#!/bin/sh
# restore_command NAME DESTINATION: 0 served, 1 proven not to exist, 255 ought to exist: recovery must stop.
staged={staged}
name=$1
if [ -f "$staged/{wal}/$name" ]; then
    cp "$staged/{wal}/$name" "$2" && exit 0
    exit 255
fi
planned=
while read -r each; do
    [ "$each" = "$name" ] && exit 255
    [ "${{each#????????}}" = "${{name#????????}}" ] && planned=${{each%????????????????}}
    true
done < "$staged/{expected}" || exit 255
case $name in
    *[!0-9A-F]*.history) exit 255 ;;
    ????????.history) exit 1 ;;
    *[!0-9A-F]*) exit 255 ;;
    ????????????????????????) ;;
    *) exit 255 ;;
esac
place=${{name#????????}}
number=$(( 0x${{place%????????}} * {per_log} + 0x${{place#????????}} ))
[ "$number" -gt {last} ] && exit 1
[ -n "$planned" ] && [ $(( 0x${{name%????????????????}} )) -gt $(( 0x$planned )) ] && exit 1
exit 255
"""


def stage_segment(
    directory: Path, plan: SegmentPlan, parts: Iterable[tuple[int, bytes]], *, base: Base
) -> Path:
    """Write one segment of a plan into directory, padded with zeros from plan.until on, and return its path.

    parts are (LSN, bytes) in rising order; they may overlap. Raises Corrupt, naming the segment, if they leave a
    hole before plan.until, or its first page is not what the plan says.
    """
    size = base.wal_segment_size
    name = plan.name(size)
    content = bytearray(size)
    reached = plan.start
    for lsn, data in parts:
        if not plan.start <= lsn <= reached or lsn + len(data) > plan.start + size:
            raise Corrupt(f"WAL segment {name} has a hole at {format_lsn(reached)}")
        content[lsn - plan.start : lsn - plan.start + len(data)] = data
        reached = max(reached, lsn + len(data))
    if reached < plan.until:
        raise Corrupt(f"WAL segment {name} ends at {format_lsn(reached)}, before {format_lsn(plan.until)}")
    content[plan.until - plan.start :] = bytes(plan.start + size - plan.until)
    check_segment_header(
        content,
        major=base.lineage.major,
        system_identifier=base.lineage.system_identifier,
        timeline=plan.timeline,
        start=plan.start,
        segment_size=size,
    )
    path = _wal(directory) / name
    path.write_bytes(content)
    return path


def stage_history(directory: Path, timeline: int, content: bytes) -> None:
    """Write a history file into directory."""
    (_wal(directory) / history_name(timeline)).write_bytes(content)


def write_restore_command(directory: Path, choice: RecoveryChoice) -> str:
    """Write the script that serves what is staged for choice, and return the value of restore_command.

    Raises Corrupt if anything of the plan is not staged.
    """
    size = choice.base.wal_segment_size
    expected = [plan.name(size) for plan in choice.segments]
    expected += [history_name(timeline) for timeline in choice.histories]
    missing = [name for name in expected if not (directory / WAL / name).is_file()]
    if missing:
        raise Corrupt(f"{', '.join(missing)} of the plan was not staged")
    (directory / EXPECTED).write_text("".join(f"{name}\n" for name in expected))
    script = directory / COMMAND
    script.write_text(
        _SCRIPT.format(
            staged=shlex.quote(str(directory)),
            wal=WAL,
            expected=EXPECTED,
            per_log=0x1_0000_0000 // size,
            last=choice.segments[-1].start // size,
        )
    )
    return f"/bin/sh {shlex.quote(str(script)).replace('%', '%%')} %f %p"


def clear_staging(directory: Path) -> None:
    """Make directory as it is before a recovery: what an earlier one left must not be served."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)


def _wal(directory: Path) -> Path:
    wal = directory / WAL
    wal.mkdir(exist_ok=True)
    return wal
