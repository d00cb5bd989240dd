"""What the worker does. A task may run twice, so each is written to be harmless when it does."""

from django.db import InterfaceError, InternalError, OperationalError, connection

from standin.celery import app
from standin.models import Heartbeat

UNTIL_POSTGRES_IS_BACK = {
    "autoretry_for": (OperationalError, InterfaceError, InternalError),
    "max_retries": None,
    "retry_backoff": 1,
    "retry_backoff_max": 10,
}
ONE_ROW_A_TASK = """
    insert into tasks (id, done_at, runs) values (%s, now(), 1)
    on conflict (id) do update set runs = tasks.runs + 1
"""


@app.task(**UNTIL_POSTGRES_IS_BACK)
def finish(identity: str) -> None:
    """End as one row in PostgreSQL, which counts how often it was run."""
    with connection.cursor() as cursor:
        cursor.execute(ONE_ROW_A_TASK, [identity])


@app.task
def heartbeat() -> None:
    """Leave a sign of life."""
    Heartbeat.objects.create()
