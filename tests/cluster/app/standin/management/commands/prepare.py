"""`run migrate`: waits for PostgreSQL, brings the tables up to date, and makes the superuser unless it is there."""

import os
import time

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from standin.models import User

DEADLINE_S = 120
PAUSE_S = 2


class Command(BaseCommand):
    """Safe to run twice, and by several pods at once: who comes second fails, tries again, and finds it done."""

    def handle(self, *args, **options):
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self._prepare()
            except DatabaseError as cause:
                if time.monotonic() > deadline:
                    raise
                self.stdout.write(f"not yet: {str(cause).strip()}")
                connection.close()
                time.sleep(PAUSE_S)

    def _prepare(self) -> None:
        call_command("migrate", interactive=False)
        name = os.environ.get("SUPERUSER_USERNAME")
        if name and not User.objects.filter(username=name).exists():
            email = os.environ.get("SUPERUSER_EMAIL", "")
            User.objects.create_superuser(name, os.environ["SUPERUSER_PASSWORD"], email)
            self.stdout.write(f"made the superuser {name}")
