"""What the documents say is so: commands, options, exit codes, policies, traces, links."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from drtool import errors
from drtool.cli.exits import MEANINGS
from drtool.cli.main import COMMANDS, drtool
from drtool.policy.load import load_policy, parse_policy

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DOCUMENTS = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "drtool/repository/FORMAT.md")
]

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LONGEST_TRACE = 9


def blocks(text: str, language: str) -> Iterator[str]:
    """Yield the fenced blocks of a language, without their common indent."""
    for indent, said, body in FENCE.findall(text):
        if said == language:
            yield re.sub(f"^{indent}", "", body, flags=re.MULTILINE)


def command_lines(text: str) -> Iterator[str]:
    """Yield every `drtool …` that stands in a shell block or between backticks."""
    for block in blocks(text, "sh"):
        yield from re.findall(r"^drtool .*$", block, flags=re.MULTILINE)
    yield from re.findall(r"`(drtool [^`]+)`", FENCE.sub("", text))


def all_commands(group: click.Group, context: click.Context, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every command that does something, with its groups before it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from all_commands(command, context, (*words, name))
        else:
            yield " ".join([*words, name])


def refuse(line: str) -> str:
    """Return what is wrong with a command line: a command or an option that is not there."""
    command: click.Command = drtool
    for word in shlex.split(line, comments=True)[1:]:
        if word.startswith("--"):
            if not any(word in parameter.opts for parameter in command.params):
                return f"{line}: {command.name} has no {word}"
        elif isinstance(command, click.Group):
            found = (
                command.get_command(click.Context(command), word)
                if re.fullmatch("[a-z0-9-]+", word)
                else None
            )
            if found is None:
                return f"{line}: there is no {word}"
            command = found
    return ""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_line_of_a_document_is_understood(path: Path) -> None:
    lines = list(command_lines(path.read_text(encoding="utf-8")))

    assert [fault for line in lines if (fault := refuse(line))] == []


def test_every_command_line_of_a_message_is_understood() -> None:
    """What an f-string fills in stands for one word."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "drtool").rglob("*.py")]
    said = [re.sub(r"\{[^{}`]*\}", "X", text) for text in texts]
    found = [line for text in said for line in re.findall(r"`(drtool [^`\n|…]+)`", text)]
    lines = [line for line in found if line.split()[1] not in ("X", "LINE", "--help")]

    assert len(lines) > 30
    assert [fault for line in lines if (fault := refuse(line))] == []


@pytest.mark.parametrize(
    "line", ["drtool bakcup", "drtool wal fly", "drtool backup --now", "drtool restore x --to DIR"]
)
def test_a_command_line_that_is_wrong_is_noticed(line: str) -> None:
    assert refuse(line)


def test_every_command_is_in_the_readme() -> None:
    missing = [
        name for name in all_commands(drtool, click.Context(drtool)) if f"| `drtool {name}` |" not in README
    ]

    assert missing == []


def test_the_readme_lists_the_exit_codes_of_the_command_line() -> None:
    listed = dict(re.findall(r"^\| (\d+) \| (.+) \|$", README, flags=re.MULTILINE))

    assert {int(code): meaning for code, meaning in listed.items()} == MEANINGS


def test_every_error_ends_with_a_code_that_is_explained() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.DrtoolError)
    ]

    assert {kind.exit_code for kind in kinds} <= MEANINGS.keys()
    for kind in kinds:
        assert re.search(rf"{kind.__name__} +{kind.exit_code}  ", errors.__doc__ or ""), kind


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_help_of_a_command_can_be_read(command: str) -> None:
    assert CliRunner().invoke(drtool, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("path", sorted((ROOT / "policies").glob("*.yaml")), ids=lambda path: path.name)
def test_every_policy_loads(path: Path) -> None:
    assert load_policy(path).name == path.stem


def test_the_policy_of_the_readme_loads() -> None:
    texts = list(blocks(README, "yaml"))

    assert [parse_policy(text, "README.md").name for text in texts] == ["shop"]


def test_every_room_of_the_readme_is_there_and_every_room_is_in_the_readme() -> None:
    listed = set(re.findall(r"^\| `(drtool/\w+)` \|", README, flags=re.MULTILINE))

    assert listed == {f"drtool/{path.parent.name}" for path in (ROOT / "drtool").glob("*/__init__.py")}


def test_the_traces_name_functions_that_exist() -> None:
    named = re.findall(r"`(drtool/[\w/]+\.py):([\w.]+)`", CONTRIBUTING)

    assert len(named) > 2 * LONGEST_TRACE
    assert [f"{file}:{name}" for file, name in named if name not in definitions(ROOT / file)] == []


def test_a_trace_has_at_most_nine_hops() -> None:
    hops = [int(number) for number in re.findall(r"^(\d+)\. `drtool/", CONTRIBUTING, flags=re.MULTILINE)]

    assert max(hops) <= LONGEST_TRACE
    assert hops.count(1) == 3


def definitions(file: Path) -> set[str]:
    """Return the functions and classes of a module, methods as Class.method."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_points_to_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    files = re.findall(r"`((?:drtool|tests|bench|policies)/(?![\w-]+/v\d)[\w./-]*)`", FENCE.sub("", text))

    assert [link for link in links if not (path.parent / link).exists()] == []
    assert [name for name in files if not (ROOT / name).exists()] == []
