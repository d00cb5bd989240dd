"""The objects of a point in memory, each held against its hash: what a plan is made of."""

from json import loads

from drtool.repository.reader import Reader
from drtool.repository.repository import Repository
from drtool.repository.snapshot import Snapshot
from drtool.sources.base import Entry, Json
from drtool.sources.kubernetes.objects import content_of
from drtool.sources.kubernetes.restore import check_entries


def load_objects(repository: Repository, snapshot: Snapshot) -> tuple[Json, list[Json]]:
    """Return the facts of a point and its objects, in the order of their names. Raises Corrupt, WrongKey."""
    reader = Reader(repository)
    contents = reader.read_contents(snapshot)
    reader.check(snapshot, contents)
    check_entries([Entry(each.path, each.entry, each.size) for each in contents.entries])
    found = {each.path: bytearray(each.size) for each in contents.entries}

    def take(path: str, offset: int, data: bytes) -> None:
        found[path][offset : offset + len(data)] = data

    reader.read(snapshot, contents, take)
    objects = [loads(content_of(path, bytes(found.pop(path)))) for path in sorted(found)]
    return {**snapshot.facts, **contents.header["facts"]}, objects
