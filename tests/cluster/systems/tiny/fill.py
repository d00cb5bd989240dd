"""Fills tiny's file volume, with the same 20 MB every time: what a test expects, it makes by this very program.

    python3 fill.py FOLDER

Random and compressible files, big and small ones, an empty one, a sparse one, a hard link, symbolic links,
odd names and modes.
"""

import os
import random
import sys
from pathlib import Path

MB = 1_000_000
DONE = ".filled"
SEED = 20
CLOCK_NS = 1_700_000_000 * 10**9  # when all of it is said to have changed


def fill(folder: Path) -> None:
    """Write the files into folder, once: what is there already stays as it is now."""
    if (folder / DONE).exists():
        return
    chance = random.Random(SEED)
    write(folder / "big" / "random.bin", chance.randbytes(13 * MB))
    write(folder / "big" / "text.log", b"".join(line(number, chance) for number in range(60_000)))
    for number in range(200):
        size = int(10 ** chance.uniform(1, 4.8))
        write(folder / "small" / f"{number % 16:x}" / f"{number}.bin", chance.randbytes(size))
    write(folder / "odd" / "empty", b"")
    write(folder / "odd" / "ein Name: ünïcode\n", b"a name is any bytes but two\n")
    write(folder / "odd" / "private", b"only its owner may read it\n", mode=0o600)
    with (folder / "odd" / "sparse").open("wb") as file:
        file.seek(8 * MB)
        file.write(b"the end of a hole")
    odd = folder / "odd"
    for name in ("hard-link", "symbolic-link", "dangling"):
        (odd / name).unlink(missing_ok=True)  # of a run that was killed
    (odd / "hard-link").hardlink_to(folder / "big" / "random.bin")
    (odd / "symbolic-link").symlink_to("../big/text.log")
    (odd / "dangling").symlink_to("../nowhere")
    for path in folder.rglob("*"):
        os.utime(path, ns=(CLOCK_NS, CLOCK_NS), follow_symlinks=False)
    write(folder / DONE, b"")


def write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def line(number: int, chance: random.Random) -> bytes:
    """Return a line of a log."""
    visitor, page, took_s = chance.randrange(1_000), chance.randrange(50), chance.random()
    return f"{number:08} visitor {visitor:03} read page {page:02}: answered 200 in {took_s:.9f} s\n".encode()


if __name__ == "__main__":
    fill(Path(sys.argv[1]))
