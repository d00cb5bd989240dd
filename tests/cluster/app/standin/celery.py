"""The queue: messages wait in Redis, and a task that a killed worker held is done again.

A message is acknowledged only after its task is done. Redis's transport gives a message that nobody acknowledged
to another worker after VISIBILITY_S, once it looks: every LOOK_S. A killed worker delays its task by that much.
"""

import socket

from celery import Celery
from django.conf import settings
from kombu.transport.redis import Channel, QoS

VISIBILITY_S = 30
LOOK_S = 10  # the transport's own rhythm
HEARTBEAT_S = 5


class PromptQoS(QoS):
    """Looks for messages that nobody acknowledged whenever the transport could, and not only each tenth time."""

    def restore_visible(self, start=0, num=10, interval=1):
        return super().restore_visible(start, num, interval)


Channel.QoS = PromptQoS

app = Celery("standin", broker=settings.BROKER_URL, backend=None)
app.conf.update(
    broker_connection_max_retries=None,  # for ever: the server comes back
    broker_transport_options={
        "visibility_timeout": VISIBILITY_S,
        "unacked_mutex_expire": LOOK_S,  # of the lock that who looks holds, and that a killed one leaves
        "socket_connect_timeout": 2,
        "socket_timeout": 5,
        "socket_keepalive": True,
        # A node that was cut off answers nothing, not even a reset.
        "socket_keepalive_options": {
            socket.TCP_KEEPIDLE: 5,
            socket.TCP_KEEPINTVL: 2,
            socket.TCP_KEEPCNT: 3,
            socket.TCP_USER_TIMEOUT: 10_000,  # ms
        },
        **({"master_name": settings.SENTINEL_MASTER} if settings.SENTINELS else {}),
    },
    task_publish_retry_policy={"max_retries": 3, "interval_start": 0.1, "interval_step": 0.3},
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    beat_schedule={
        "heartbeat": {
            "task": "standin.tasks.heartbeat",
            "schedule": HEARTBEAT_S,
            "options": {"expires": 2 * HEARTBEAT_S},  # an old sign of life is none
        }
    },
)
app.autodiscover_tasks(["standin"])
