"""What the site is told, all of it by its environment."""

import os
from urllib.parse import quote

from redis import exceptions
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

environ = os.environ

SITE_NAME = environ.get("SITE_NAME", "stand-in")
SECRET_KEY = environ.get("SECRET_KEY", "only good for collectstatic")
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "standin.urls"
USE_TZ = True
TIME_ZONE = "UTC"

# The standin app comes with the site's models; auth and contenttypes are what Django's log-in stands on.
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.staticfiles",
    "standin",
]
MIDDLEWARE = [
    "standin.middleware.Unavailable",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

# PostgreSQL: writes and the inventory go to `default`, pages are read from `READS`.


def database(host: str, port: str) -> dict:
    """Return how to connect to a server; a dead one is noticed within seconds, not within TCP's 15 minutes."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": host,
        "PORT": port,
        "NAME": environ.get("POSTGRES_DB", ""),
        "USER": environ.get("POSTGRES_USER", ""),
        "PASSWORD": environ.get("POSTGRES_PASSWORD", ""),
        "CONN_MAX_AGE": 60,
        "OPTIONS": {
            "connect_timeout": 5,
            "tcp_user_timeout": 10_000,  # ms
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
        },
    }


DATABASES = {"default": database(environ.get("POSTGRES_HOST", ""), environ.get("POSTGRES_PORT", "5432"))}
READS = "default"
if environ.get("READ_HOST"):
    DATABASES["replica"] = database(environ["READ_HOST"], environ.get("READ_PORT", "5432"))
    READS = "replica"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The three systems call their tables by other names: these keep policies/ true.
USERS_TABLE = environ.get("USERS_TABLE", "misago_users_user")
UPLOADS_VIEW = environ.get(
    "UPLOADS_VIEW", "misago_users_avatar.image"
)  # view.column with the paths of uploads

# Redis: one server by its URL, or whichever the Sentinels call master.
REDIS_PASSWORD = environ.get("REDIS_PASSWORD", "")
REDIS_URL = environ.get("REDIS_URL", "")
SENTINEL_MASTER = environ.get("SENTINEL_MASTER", "mymaster")
SENTINELS = [  # host:port,host:port
    (host, int(port or 26379))
    for host, _, port in (each.strip().partition(":") for each in environ.get("SENTINELS", "").split(","))
    if host
]
REDIS_TIMEOUTS = {"socket_connect_timeout": 2, "socket_timeout": 3}  # s

BROKER_URL = CACHE_URL = REDIS_URL
FOUND_BY_SENTINELS = {}
if SENTINELS:
    DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
    FOUND_BY_SENTINELS = {
        "SENTINELS": SENTINELS,
        "SENTINEL_KWARGS": REDIS_TIMEOUTS,
        "PASSWORD": REDIS_PASSWORD,
    }
    CACHE_URL = f"redis://{SENTINEL_MASTER}/0"
    credentials = f":{quote(REDIS_PASSWORD, safe='')}@" if REDIS_PASSWORD else ""
    BROKER_URL = ";".join(f"sentinel://{credentials}{host}:{port}/0" for host, port in SENTINELS)

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": CACHE_URL,
        "OPTIONS": {
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "CONNECTION_POOL_KWARGS": {
                **REDIS_TIMEOUTS,
                # About 3 s, which a failover of the Sentinels mostly takes; then the answer is 503.
                "retry": Retry(ExponentialBackoff(cap=1, base=0.1), retries=5),
                "retry_on_error": [exceptions.ConnectionError, exceptions.TimeoutError],
            },
            **FOUND_BY_SENTINELS,
        },
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
AUTH_USER_MODEL = "standin.User"

# Files.
MEDIA_ROOT = environ.get("MEDIA_ROOT", "/media")
STATIC_ROOT = environ.get("STATIC_ROOT", "/static")
STATIC_URL = "/static/"
