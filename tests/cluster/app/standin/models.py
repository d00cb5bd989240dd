"""What the site keeps in PostgreSQL. Identities are UUIDs that clients choose, so a repeated write is no second one."""

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.utils import timezone


class UserManager(BaseUserManager):
    """Makes users."""

    def create_superuser(self, username: str, password: str, email: str) -> "User":
        user = self.model(username=username, email=email, is_superuser=True)
        user.set_password(password)
        user.save()
        return user


class User(AbstractBaseUser):
    """Who may write. The table has the name that the played system gives it."""

    username = models.CharField(max_length=150, unique=True)
    email = models.EmailField(blank=True)
    is_superuser = models.BooleanField(default=False)

    objects = UserManager()
    USERNAME_FIELD = "username"

    class Meta:
        db_table = settings.USERS_TABLE


class Post(models.Model):
    """A post of the forum."""

    id = models.UUIDField(primary_key=True)
    author = models.CharField(max_length=150)
    text = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "posts"


class Upload(models.Model):
    """A file in the media volume; path is relative to MEDIA_ROOT."""

    id = models.UUIDField(primary_key=True)
    path = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "uploads"


class Task(models.Model):
    """A task that the worker has done; runs is above 1 when the queue delivered it again."""

    id = models.UUIDField(primary_key=True)
    done_at = models.DateTimeField()
    runs = models.IntegerField()

    class Meta:
        db_table = "tasks"


class Heartbeat(models.Model):
    """A sign of life: beat, the broker, a worker and PostgreSQL worked together at that time."""

    at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "heartbeats"
