"""`python -m bench`: drtool beside pgBackRest on the same data, in one run; a table, and JSON."""

import argparse
import json
import shutil
import sys
from pathlib import Path

from bench.cluster import fill, make_server
from bench.course import Course, disk_seconds, help_seconds
from bench.drtool_side import DrtoolSide
from bench.pgbackrest_side import PgBackRestSide
from bench.report import Report
from bench.side import Side
from drtool.demo.servers.postgres import private_directory

DISK_BYTES = 1_000_000_000


def main() -> int:
    """Make the cluster, run the rounds, print and write what they found."""
    given = _arguments()
    if shutil.which("pgbackrest") is None:
        print("pgbackrest is missing: apt-get install --no-install-recommends pgbackrest", file=sys.stderr)
        return 1
    directory = private_directory("bench")
    try:
        with make_server(directory) as server:
            print(f"filling a cluster of {given.size_gb} GB", file=sys.stderr)
            fill(server, int(given.size_gb * 1e9))
            sides: list[Side] = [
                DrtoolSide(directory / "drtool", server),
                PgBackRestSide(directory / "pgbackrest", server),
            ]
            course = Course(server, sides, directory)
            rounds = [course.run(number) for number in range(given.runs)]
            report = Report(rounds, help_seconds(), disk_seconds(directory, DISK_BYTES))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("\n".join(report.lines()))
    given.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--size-gb", type=float, default=2.0, help="size of the cluster (default: %(default)s)"
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="rounds; medians are shown (default: %(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", default="bench.json", help="all figures (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
