"""The tables, and the view by which the played system calls its uploads."""

import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

VIEW, COLUMN = settings.UPLOADS_VIEW.split(".")


def identity():
    return models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", identity()),
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                ("username", models.CharField(max_length=150, unique=True)),
                ("email", models.EmailField(blank=True, max_length=254)),
                ("is_superuser", models.BooleanField(default=False)),
            ],
            options={"db_table": settings.USERS_TABLE},
        ),
        migrations.CreateModel(
            name="Post",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("author", models.CharField(max_length=150)),
                ("text", models.TextField()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"db_table": "posts"},
        ),
        migrations.CreateModel(
            name="Upload",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("path", models.CharField(max_length=200)),
                ("sha256", models.CharField(max_length=64)),
                ("size", models.BigIntegerField()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"db_table": "uploads"},
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("done_at", models.DateTimeField()),
                ("runs", models.IntegerField()),
            ],
            options={"db_table": "tasks"},
        ),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                ("id", identity()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"db_table": "heartbeats"},
        ),
        migrations.RunSQL(
            f'create view "{VIEW}" as select id, path as "{COLUMN}" from uploads', f'drop view "{VIEW}"'
        ),
    )
