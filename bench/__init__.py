"""Benchmarks: drtool beside pgBackRest and beside restic, on the same data, in one run."""
