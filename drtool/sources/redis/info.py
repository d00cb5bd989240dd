"""What a server says about itself: INFO, as pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from drtool.sources.redis.connection import Connection


@dataclass(frozen=True, slots=True)
class Info:
    """The fields of one INFO reply; a field that the server does not know reads as empty or 0."""

    fields: Mapping[str, str]
    modules: tuple[str, ...] = ()

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """Ask the server."""
        reply = connection.call("INFO")
        return cls.parse(reply.decode("utf-8", "replace") if isinstance(reply, bytes) else "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reply; its lines are `name:value`, or comments."""
        pairs = [line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#")]
        modules = tuple(value for name, value in pairs if name == "module")
        return cls({name: value for name, value in pairs if name != "module"}, modules)

    def text(self, name: str) -> str:
        """Return a field."""
        return self.fields.get(name, "")

    def number(self, name: str) -> int:
        """Return a field that counts something; 0 where it is not there."""
        value = self.text(name)
        return int(value) if value.lstrip("-").isdigit() else 0

    @property
    def is_replica(self) -> bool:
        return self.text("role") == "slave"

    @property
    def clock_us(self) -> int:
        """The server's clock, microseconds since 1970."""
        return self.number("server_time_usec")

    @property
    def version(self) -> str:
        """The version whose files it reads and writes: Valkey's own, where it is Valkey."""
        return self.text("valkey_version") or self.text("redis_version")

    @property
    def flavour(self) -> str:
        return "valkey" if self.text("valkey_version") else "redis"

    def keys(self) -> dict[str, int]:
        """Return the count of keys of each database that has any, by its number."""
        spaces = {
            name[2:]: value for name, value in self.fields.items() if name[:2] == "db" and name[2:].isdigit()
        }
        return {db: int(value.partition("keys=")[2].partition(",")[0]) for db, value in spaces.items()}
