"""Benchmarks: drtool beside pgBackRest, on the same data, in one run."""
