"""A module says what it is for and can be read in one sitting, and so can a function."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "drtool").rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 300, 50

LONGER_MODULES = {
    "drtool/repository/writer.py": "one run, whose write order is to be read from top to bottom",
}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    source = path.read_text(encoding="utf-8")

    assert ast.get_docstring(ast.parse(source)), "say in one line what the module is for"
    if _name(path) not in LONGER_MODULES:
        assert source.count("\n") <= LONGEST_MODULE


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_function_fits_a_screen(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))

    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


def test_a_longer_module_that_became_short_loses_its_excuse() -> None:
    short = [name for name in LONGER_MODULES if (ROOT / name).read_text().count("\n") <= LONGEST_MODULE]

    assert short == []


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_an_exception_from_a_rule_names_the_rule(path: Path) -> None:
    bare = re.compile(r"#\s*(noqa|type:\s*ignore)(?![:\[])")

    assert not [line for line in path.read_text(encoding="utf-8").splitlines() if bare.search(line)]


def test_what_the_image_and_the_demo_install_is_pinned_as_in_the_tests() -> None:
    pinned = {name: _pins(ROOT / "requirements" / f"{name}.txt") for name in ("run", "demo", "dev")}

    assert pinned["run"].items() <= pinned["demo"].items() <= pinned["dev"].items()


def test_the_pins_name_no_registry_and_every_one_has_a_hash() -> None:
    for file in (ROOT / "requirements").glob("*.txt"):
        text = file.read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in text
        for block in re.split(r"\n(?=\S)", text.strip()):
            assert "--hash=sha256:" in block, block


def _pins(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(re.findall(r"^([^=\s]+)==([^\s;\\]+)", "\n".join(lines), flags=re.MULTILINE))
