"""A file of URLs that somebody with credentials has signed, by the names of the objects that they get.

gzip( JSON: "drtool_urls" 1 | "bucket" | "expires" | "urls" {name: {version, or empty: URL}}, oldest version first )
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class SignedUrls:
    """URLs by name and version, oldest first; without versions the one has an empty name. They cannot be printed."""

    bucket: str
    expires: str
    urls: Mapping[str, Mapping[str, str]] = field(repr=False)

    def dump(self) -> bytes:
        """Return the content of their file. A secret: whoever has it gets the objects."""
        value = {"drtool_urls": 1, **asdict(self)}
        return gzip.compress(json.dumps(value, separators=(",", ":")).encode(), mtime=0)

    def of(self, name: str, version: str | None) -> str | None:
        """Return the URL of a version, or of the newest one; None where nobody signed one."""
        versions = self.urls.get(name, {})
        if version is not None:
            return versions.get(version)
        return list(versions.values())[-1] if versions else None


def parse_urls(value: bytes) -> SignedUrls:
    """Return what a file of URLs holds. Raises all kinds of errors for any other."""
    told = json.loads(gzip.decompress(value))
    return SignedUrls(
        told["bucket"], told["expires"], {name: dict(each) for name, each in told["urls"].items()}
    )
