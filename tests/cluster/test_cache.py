import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cluster.cache import KEPT_S, cache_root, cached, key

ROOT = Path(__file__).parent.parent.parent
KEY, OTHER_KEY = key("what it is made from"), key("what it was made from")
BUILDER = f"""
import sys, time
from tests.cluster.cache import cached

def make(path):
    path.write_text("half")
    print("half", flush=True)
    time.sleep(60)

cached("bin", "program", "{KEY}", make)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_root()


def whole(path: Path) -> None:
    path.write_text("whole")


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "bin").iterdir() if path.suffix != ".lock")


def test_what_is_there_is_not_made_again() -> None:
    entry = cached("bin", "program", KEY, whole)

    assert cached("bin", "program", KEY, lambda path: pytest.fail("made twice")) == entry
    assert entry.read_text() == "whole"


@pytest.mark.parametrize("fault", [RuntimeError(), KeyboardInterrupt()], ids=repr)
def test_an_interrupted_build_leaves_nothing(fault: BaseException, cache: Path) -> None:
    def make(path: Path) -> None:
        path.mkdir()
        (path / "half").touch()
        raise fault

    with pytest.raises(type(fault)):
        cached("bin", "program", KEY, make)

    assert entries(cache) == []


def test_a_killed_builder_leaves_no_entry_and_the_next_one_sweeps_up(cache: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", BUILDER], cwd=ROOT, stdout=subprocess.PIPE) as builder:
        assert builder.stdout
        assert builder.stdout.readline() == b"half\n"
        builder.kill()
    assert [name for name in entries(cache) if not name.startswith(".program.")] == []

    cached("bin", "program", KEY, whole)

    assert entries(cache) == [f"program-{KEY}"]


def test_of_two_builders_one_makes_it_and_the_other_waits() -> None:
    makers: list[int] = []

    def make(path: Path) -> None:
        makers.append(threading.get_ident())
        time.sleep(0.2)  # long enough for the other to come, were there no lock
        whole(path)

    both = [threading.Thread(target=cached, args=("bin", "program", KEY, make)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(timeout=10)

    assert len(makers) == 1


def test_what_nobody_used_for_long_goes_when_the_next_is_made(cache: Path) -> None:
    old = cached("bin", "program", OTHER_KEY, whole)
    recent = cached("bin", "program", key("of another branch"), whole)
    stranger = cached("bin", "program-two", OTHER_KEY, whole)
    for entry in (old, stranger):
        os.utime(entry, (0, time.time() - KEPT_S - 60))

    new = cached("bin", "program", KEY, whole)

    assert entries(cache) == sorted(entry.name for entry in (recent, stranger, new))


def test_a_use_counts_as_a_use(cache: Path) -> None:
    old = cached("bin", "program", OTHER_KEY, whole)
    os.utime(old, (0, 0))
    cached("bin", "program", OTHER_KEY, whole)

    cached("bin", "program", KEY, whole)

    assert old.exists()


def test_a_key_tells_parts_and_their_borders_apart() -> None:
    keys = {key("ab", "c"), key("a", "bc"), key("abc"), key("ab", "d"), key("ab", "c", "")}

    assert len(keys) == 5
