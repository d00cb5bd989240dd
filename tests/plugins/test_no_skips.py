import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SKIPPED = "import pytest\n\n@pytest.mark.skip(reason='none')\ndef test_a(): ...\n"
PASSED = "def test_b(): ...\n"


@pytest.mark.parametrize(("text", "code"), [(PASSED, 0), (PASSED + SKIPPED, 1)])
def test_a_run_that_skips_a_test_fails(tmp_path: Path, text: str, code: int) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(text)

    argv = [sys.executable, "-m", "pytest", "-p", "tests.plugins.no_skips", "-c", "/dev/null", str(file)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == code, done.stdout
    assert ("skipped tests fail the run" in done.stdout) == bool(code)
