"""Answers 503 while PostgreSQL or Redis is away: a client may repeat the very same request."""

import logging

from django.db import InterfaceError, InternalError, OperationalError
from django.http import JsonResponse
from django_redis.exceptions import ConnectionInterrupted
from kombu.exceptions import OperationalError as BrokerUnavailable
from redis.exceptions import RedisError

POSTGRES_AWAY = (OperationalError, InterfaceError, InternalError)  # the last one: it is read-only
REDIS_AWAY = (ConnectionInterrupted, RedisError, BrokerUnavailable)
log = logging.getLogger(__name__)


class Unavailable:
    """Says so when a view meets a server that is away."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, error):
        """Return the answer for an outage; None leaves any other error to Django, which answers 500."""
        if not isinstance(error, POSTGRES_AWAY + REDIS_AWAY):
            return None
        log.warning("%s %s: %s", request.method, request.path, str(error).partition("\n")[0])
        return JsonResponse({"error": f"{type(error).__name__}: try again"}, status=503)
