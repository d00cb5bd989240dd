"""What is there: asked of the site over HTTP, or of a restored PostgreSQL and its folder of media without any site."""

import os
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg

from drtool.errors import SourceUnavailable
from tests.cluster.load.compare import Found
from tests.cluster.load.ledger import Kind
from tests.cluster.load.site import Connection, Site

QUERIES: dict[Kind, str] = {  # without an order, so that the table is read and not its index
    "posts": "select id, encode(sha256(convert_to(text, 'UTF8')), 'hex'), 1, null from posts",
    "uploads": "select id, sha256, 1, path from uploads",
    "tasks": "select id, '', runs, null from tasks",
}


def ask_site(site: Site, kind: Kind, *, replica: bool = False) -> list[Found]:
    """Return what the site has of one kind; each uploaded file is fetched and hashed. Raises Unavailable, Refused.

    replica asks for what the site's read replica has.
    """
    connection = Connection(site)
    try:
        return [
            _served(connection, row)
            if kind == "uploads"
            else Found(row["id"], row.get("sha256", ""), row.get("runs", 1))
            for row in _pages(connection, kind, {"from": "replica"} if replica else {})
        ]
    finally:
        connection.close()


def identities(site: Site, kind: Kind) -> frozenset[str]:
    """Return what the site lists of one kind; no file is looked at. Raises Unavailable, Refused."""
    with closing(Connection(site)) as connection:
        return frozenset(row["id"] for row in _pages(connection, kind, {}))


def _pages(connection: Connection, kind: Kind, more: dict[str, str]) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = connection.ask("GET", f"/inventory?{urlencode({'kind': kind, **more, **cursor})}").value()
        yield from page["writes"]
        if page["next"] is None:
            return
        cursor = {"after": page["next"]}


def _served(connection: Connection, row: dict[str, Any]) -> Found:
    """Return an upload by the content that the site serves; without its row's content, it is altered all the same."""
    answer = connection.ask("GET", f"/media/{quote(row['path'])}", passing=())
    if answer.status == 404:
        return Found(row["id"], None)
    return Found(row["id"], _agreed(row["sha256"], sha256(answer.content).hexdigest()))


def read_postgres(conninfo: str, kind: Kind, media: Path | None = None) -> list[Found]:
    """Return what a database has of one kind, read from the table itself; its password is that of PGPASSWORD, if any.

    media is the folder that paths of uploads are relative to; without it their files are not looked at.
    Raises SourceUnavailable.
    """
    password = os.environ.get("PGPASSWORD")  # drtool's own connections hide the environment from libpq
    try:
        with psycopg.connect(conninfo, password=password, connect_timeout=10) as connection:
            rows = connection.execute(QUERIES[kind]).fetchall()
    except psycopg.Error as cause:
        raise SourceUnavailable(f"cannot read {kind}: {cause}".strip()) from cause
    return [
        _stored(str(id_), digest, runs, media and path and media / path) for id_, digest, runs, path in rows
    ]


def _stored(identity: str, digest: str, runs: int, file: Path | None) -> Found:
    if file is None:
        return Found(identity, digest, runs)
    if not file.is_file():
        return Found(identity, None, runs)
    return Found(identity, _agreed(digest, sha256(file.read_bytes()).hexdigest()), runs)


def _agreed(row: str, file: str) -> str:
    """Return the digest that a row and its file agree on, and what no content has if they do not."""
    return file if row == file else f"{row} in the row, {file} in the file"
