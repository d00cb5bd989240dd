"""The yardstick: BASE_BACKUP as drtool asks for it, read and thrown away. A command; PGPORT says where."""

import os

from drtool.sources.postgres.answers import ask
from drtool.sources.postgres.base_backup import BackupOptions
from drtool.sources.postgres.connection import PostgresSettings, Replication


def main() -> None:
    """Read one base backup, and print how many bytes came."""
    settings = PostgresSettings(
        "127.0.0.1", int(os.environ["PGPORT"]), password=lambda: os.environ["PGPASSWORD"]
    )
    size = 0
    with Replication(settings) as replication:
        answers = ask(replication, BackupOptions("yardstick").command)
        for _ in ("start", "tablespaces", "copy"):
            answers.result()
        while (message := answers.copy_data()) is not None:
            size += len(message)
        while answers.result() is not None:
            pass
    print(size)


if __name__ == "__main__":
    main()
