"""One object as it is kept: readable JSON, the same for the same object, with its hash behind it; and its name."""

import hashlib
import json
import re
from typing import Final
from urllib.parse import quote

from drtool.errors import Corrupt
from drtool.policy.kinds import CORE, group_of
from drtool.sources.kubernetes.resource import Json

DIGEST: Final = 32  # bytes of the SHA-256 behind each object
_LONGEST: Final = 200  # characters of an object's name that its file name holds
_MARK: Final = 24  # characters that tell longer names apart
_PART: Final = re.compile(r"[A-Za-z0-9_:@~+%-][A-Za-z0-9._:@~+%-]*")
_PARTS: Final = 3
_FORM: Final = "1"  # of what `encode` makes: another form makes every object a changed one


def path_of(item: Json) -> str:
    """Return the name of an object's artifact, which is safe as that of a file: apps/Deployment/web.json."""
    name = quote(item["metadata"]["name"], safe=":@~+")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}~{hashlib.sha256(name.encode()).hexdigest()[:_MARK]}"
    return f"{group_of(item['apiVersion']) or CORE}/{item['kind']}/{name}.json"


def is_path(path: str) -> bool:
    """Return whether path can be that of an object: three names that lead nowhere else."""
    parts = path.split("/")
    return len(parts) == _PARTS and all(_PART.fullmatch(part) for part in parts)


def encode(item: Json) -> bytes:
    """Return an object as it is kept, without who set which field: only of a Service, where it tells chosen ports."""
    kept = item
    if item["kind"] != "Service":
        metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
        kept = {**item, "metadata": metadata}
    data = json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return data + hashlib.sha256(data).digest()


def content_of(path: str, data: bytes) -> bytes:
    """Return the JSON of a kept object without its hash. Raises Corrupt where it is not what was captured."""
    content, digest = data[:-DIGEST], data[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise Corrupt(f"{path} is not what was captured: its SHA-256 differs")
    return content


def stat_record(item: Json) -> bytes | None:
    """Return by what an object is known to be unchanged, without a byte of it; None where the API does not say."""
    metadata = item["metadata"]
    known = (metadata.get("uid"), metadata.get("resourceVersion"))
    if not all(known):
        return None
    return hashlib.sha256("\n".join((_FORM, item["apiVersion"], *known)).encode()).digest()
