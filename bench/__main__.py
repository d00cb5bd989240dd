"""`python -m bench`: drtool beside pgBackRest and beside restic, on the same data, in one run; tables, and JSON."""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.cluster import fill, make_server
from bench.course import Course, disk_seconds, help_seconds
from bench.drtool_side import DrtoolSide
from bench.files_course import FilesCourse
from bench.files_report import FilesReport
from bench.files_sides import DrtoolFiles, FilesSide, Restic, debian_restic, newest_restic
from bench.pgbackrest_side import PgBackRestSide
from bench.report import Report
from bench.side import Side
from bench.tree import FileTree
from drtool.demo.servers.postgres import private_directory

DISK_BYTES = 1_000_000_000
COURSES = ("postgres", "files")


def main() -> int:
    """Run the courses that were asked for, print and write what they found."""
    given = _arguments()
    wanted = COURSES if given.course == "all" else (given.course,)
    if "postgres" in wanted and shutil.which("pgbackrest") is None:
        print("pgbackrest is missing: apt-get install --no-install-recommends pgbackrest", file=sys.stderr)
        return 1
    directory = private_directory("bench")
    found: dict[str, Any] = {"schema": "drtool/bench/v1"}
    try:
        if "postgres" in wanted:
            report = _postgres(directory, given)
            found |= report.as_json()
            print("\n".join(report.lines()), flush=True)
        if "files" in wanted:
            files = _files(directory, given)
            found["files"] = files.as_json()
            print("\n".join(["", *files.lines()]))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    given.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _postgres(directory: Path, given: argparse.Namespace) -> Report:
    with make_server(directory) as server:
        print(f"filling a cluster of {given.size_gb} GB", file=sys.stderr)
        fill(server, int(given.size_gb * 1e9))
        sides: list[Side] = [
            DrtoolSide(directory / "drtool", server),
            PgBackRestSide(directory / "pgbackrest", server),
        ]
        course = Course(server, sides, directory)
        rounds = [course.run(number) for number in range(given.runs)]
    return Report(rounds, help_seconds(), disk_seconds(directory, DISK_BYTES))


def _files(directory: Path, given: argparse.Namespace) -> FilesReport:
    tree = FileTree(directory / "tree", given.files, int(given.size_gb * 1e9))
    sides: list[FilesSide] = [
        DrtoolFiles(directory / "files-drtool", tree.root),
        Restic("restic, Debian", debian_restic(), directory / "files-debian", tree.root),
        Restic("restic, newest", newest_restic(), directory / "files-newest", tree.root),
    ]
    print(f"filling a tree of {given.files} files and {given.size_gb} GB", file=sys.stderr)
    tree.fill()
    course = FilesCourse(tree, sides, directory)
    return FilesReport([course.run(number) for number in range(given.runs)], given.files, tree.size)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--course", choices=("all", *COURSES), default="all", help="which one to run (default: %(default)s)"
    )
    parser.add_argument(
        "--size-gb",
        type=float,
        default=2.0,
        help="size of the cluster, and of the tree (default: %(default)s)",
    )
    parser.add_argument("--files", type=int, default=100_000, help="files of the tree (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=3, help="rounds; medians are shown (default: %(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", default="bench.json", help="all figures (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
