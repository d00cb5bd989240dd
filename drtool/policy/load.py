"""The text of a policy to its value, or all that is wrong with it, each with its place. The one door of ruamel.yaml."""

import json
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from drtool.errors import PolicyInvalid, UsageError
from drtool.policy.excerpt import Place, Span, excerpt
from drtool.policy.names import Fault, Path, name_faults
from drtool.policy.schema import Policy
from drtool.policy.wording import schema_faults

SIZE_LIMIT = 256 * 1024  # bytes; a policy is a page or two
DEPTH_LIMIT = 32
_INDENTING_TAB = re.compile(r" *\t")
NODE_LIMIT = 20_000  # aliases can multiply a page into gigabytes


@dataclass(slots=True)
class Document:
    """The plain data of a YAML text, where each key and value of it stands, and the faults found on the way."""

    data: object = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Span] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0
    is_cut: bool = False

    def place(self, path: Path) -> Place:
        """Return where path stands: its key, else its value, else those of what would hold it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.keys[path] if path in self.keys else self.values[path][0]


def load_policy(path: FilePath) -> Policy:
    """Return the policy in the file. Raises PolicyInvalid with all its faults; UsageError if it cannot be read."""
    return parse_policy(read_policy(path), str(path))


def read_policy(path: FilePath) -> str:
    """Return the text of a policy file. Raises PolicyInvalid if it is not UTF-8; UsageError if it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)  # a byte more than is allowed, for it to be seen
    except OSError as error:
        raise UsageError(
            f"policy {path} cannot be read: {error.strerror}",
            hint="Name a policy file that this user can read.",
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1)
        raise _invalid([f"{path}:{line + 1}:{column + 1}: is not UTF-8 text"]) from None


def parse_policy(text: str, name: str) -> Policy:
    """Return the policy that text holds. name stands for the file in messages.

    Raises PolicyInvalid with all faults, each as `name:line:column: path: fault`, its line, a caret, a suggestion.
    """
    if len(text) > SIZE_LIMIT:
        raise _invalid([f"{name}: is longer than {SIZE_LIMIT} characters, which no policy is"])
    lines = text.splitlines()
    document = _document(text, name, lines)
    faults = document.faults if document.is_cut else [*document.faults, *name_faults(document.data)]
    try:
        policy = Policy.model_validate(document.data)
    except ValidationError as error:
        faults += () if document.is_cut else schema_faults(error, document.data)
    else:
        if not faults:
            return policy
    hidden = [
        document.values[fault.path] for fault in faults if fault.is_secret and fault.path in document.values
    ]
    faults.sort(key=lambda fault: document.place(fault.path))
    # Not from the cause: pydantic's error holds the values, a secret among them.
    places = [document.place(fault.path) for fault in faults]
    raise _invalid(
        [
            _block(fault, place, name, excerpt(lines, place, hidden))
            for fault, place in zip(faults, places, strict=True)
        ]
    ) from None


def _document(text: str, name: str, lines: list[str]) -> Document:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of anchors that are used twice, which is legal
            root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # Without the name of an unknown alias: it may be a password that begins with a star.
        problem = re.sub("alias '.*'", "alias", str(error.problem))
        fault = Fault((), f"is not YAML: {problem}", error.context or "")
        place = (mark.line, mark.column)
        tab = _tab(lines[mark.line] if mark.line < len(lines) else "", mark.column)
        if tab is not None:
            fault = Fault((), "is not YAML: a tab, where only spaces may stand", "write spaces instead")
            place = (mark.line, tab)
    except ReaderError as error:
        fault = Fault((), "is not YAML: a character that cannot be printed")
        before = text[: error.position]
        place = (before.count("\n"), len(before) - before.rfind("\n") - 1)
    except RecursionError:
        fault, place = Fault((), "is nested too deeply"), (0, 0)
    else:
        document = Document()
        if root is not None:
            document.data = _plain(root, (), document)
            return document
        fault, place = Fault((), "is empty"), (0, 0)
    # Not from the cause: its text repeats the line, and a secret with it.
    raise _invalid([_block(fault, place, name, excerpt(lines, place, ()))]) from None


def _tab(line: str, column: int) -> int | None:
    """Return where the tab stands that makes a line no YAML, if that is its fault: it indents it, or is at column."""
    indenting = _INDENTING_TAB.match(line)
    if indenting is not None:
        return indenting.end() - 1
    return column if line[column : column + 1] == "\t" else None


def _plain(node: Node, path: Path, document: Document) -> object:
    """Return node as plain data; record in document where everything stands, and what YAML allows but a policy not."""
    document.values[path] = _span(node)
    document.nodes += 1
    if document.nodes > NODE_LIMIT or len(path) > DEPTH_LIMIT:
        if not document.is_cut:
            document.faults.append(Fault(path, "is nested too deeply, or multiplied too often by aliases"))
        document.is_cut = True
        return None
    if isinstance(node, MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, SequenceNode):
        return [_plain(item, (*path, index), document) for index, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: MappingNode, path: Path, document: Document) -> dict[str, object]:
    data: dict[str, object] = {}
    for key_node, value in node.value:
        key = key_node.value if isinstance(key_node, ScalarNode) else None
        if key is None:
            document.faults.append(Fault(path, "has a key that is no text"))
            continue
        here = (*path, key)
        if key in data:
            document.faults.append(Fault(here, f"is given twice, first in line {document.keys[here][0] + 1}"))
        document.keys[here] = _span(key_node)[0]
        data[key] = _plain(value, here, document)
    return data


def _scalar(node: Node) -> object:
    """Return null, true, false and decimal numbers as what they are, all other scalars as text."""
    kind = str(node.tag).rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return node.value.lower() in ("true", "yes", "on", "y")
    if kind in ("int", "float"):
        with suppress(ValueError):
            return int(node.value) if kind == "int" else float(node.value)
    return node.value


def _span(node: Node) -> Span:
    begin, end = node.start_mark, node.end_mark
    return (begin.line, begin.column), (end.line, end.column)


def _block(fault: Fault, place: Place, name: str, shown: list[str]) -> str:
    """Return a fault as it is printed: place, path, fault; the line with a caret; the suggestion."""
    first = ": ".join(
        filter(None, [f"{name}:{place[0] + 1}:{place[1] + 1}", fault.dotted_path, fault.message])
    )
    suggestion = [f"        {fault.suggestion}"] if fault.suggestion else []
    return "\n".join([first, *shown, *suggestion])


def _invalid(blocks: list[str]) -> PolicyInvalid:
    return PolicyInvalid(
        "\n".join(blocks), hint="Correct the policy; `drtool policy schema` prints what it may hold."
    )


def policy_text(policy: Policy) -> str:
    """Return a policy as JSON that is YAML, too: YAML knows no surrogates, and takes more for the end of a line."""
    text = json.dumps(policy.model_dump(mode="json", exclude_unset=True), indent=1, ensure_ascii=False)
    return re.sub("[\x7f-\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text)
