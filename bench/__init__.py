"""Benchmarks: drtool beside pgBackRest and beside restic, on the same data, in one run.

What bounds a first backup of many small files (20 KB on average): the interpreter, once for each file, in one thread.
`perf` gives 40 % of all CPU time to Python, 25 % to the kernel, 15 % to zstd, 14 % to SHA-256, BLAKE3 and AES.
What the format asks for beyond Python (read, SHA-256, BLAKE3, zstd, AES, SHA-256 of packs, write) took 13 CPU seconds
for 2 GB where all of drtool took 41 and restic 0.14 took 79: with no Python at all, 3 times restic's speed would need
two cores that are hardly ever idle. A run that finds nothing changed is Python and little else.
"""
