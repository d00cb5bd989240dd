"""What the site answers. A write is acknowledged only once it is durable, and repeating it is harmless:

201  it is written     200  it was written before, by the same content     409  the identity has other content
"""

import json
from dataclasses import asdict
from functools import wraps
from hashlib import sha256
from uuid import UUID

from django.conf import settings
from django.contrib.auth import authenticate, login
from django.core.cache import cache
from django.db import IntegrityError, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST

from standin.models import Post, Task, Upload
from standin.tasks import finish
from standin.uploads import store

PAGE = 5_000  # writes of one page of the inventory


def sensible(view):
    """Take POST only, and answer 400 to what makes no sense."""

    @require_POST
    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except (ValueError, KeyError, TypeError) as cause:
            return JsonResponse({"error": f"bad request: {cause!r}"}, status=400)

    return checked


def writes(view):
    """Let only users who are logged in write."""

    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated:
            return JsonResponse({"error": "log in first"}, status=401)
        return view(request)

    return sensible(checked)


@require_GET
def is_alive(request: HttpRequest) -> HttpResponse:
    """The process answers, whatever the others do."""
    return JsonResponse({"alive": True})


@require_GET
def is_ready(request: HttpRequest) -> HttpResponse:
    """PostgreSQL and Redis answer too; 503 if not."""
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    cache.get("ready")
    return JsonResponse({"ready": True})


@require_GET
def front_page(request: HttpRequest) -> HttpResponse:
    kinds = {"posts": Post, "uploads": Upload, "tasks": Task}
    counts = {kind: model.objects.using(settings.READS).count() for kind, model in kinds.items()}
    return render(request, "standin/front.html", {"name": settings.SITE_NAME, "counts": counts})


@sensible
def log_in(request: HttpRequest) -> HttpResponse:
    body = json.loads(request.body)
    user = authenticate(request, username=body["username"], password=body["password"])
    if user is None:
        return JsonResponse({"error": "no such user, or another password"}, status=403)
    login(request, user)
    return JsonResponse({"user": user.username})


@writes
def create_post(request: HttpRequest) -> HttpResponse:
    body = json.loads(request.body)
    identity, text = UUID(body["id"]), str(body["text"])
    answer = {"id": str(identity)}
    try:
        Post.objects.create(id=identity, author=request.user.username, text=text)
    except IntegrityError:
        is_same = Post.objects.get(id=identity).text == text
        return JsonResponse(answer, status=200 if is_same else 409)
    return JsonResponse(answer, status=201)


@require_GET
def read_post(request: HttpRequest, identity: UUID) -> HttpResponse:
    post = get_object_or_404(Post.objects.using(settings.READS), id=identity)
    return JsonResponse(
        {"id": str(post.id), "author": post.author, "text": post.text, "at": post.at.isoformat()}
    )


@writes
def create_upload(request: HttpRequest) -> HttpResponse:
    """Write the file, then the row that refers to it."""
    identity = UUID(request.GET["id"])
    known = Upload.objects.filter(id=identity).first()
    if known is not None:
        is_same = sha256(request.read()).hexdigest() == known.sha256
        return JsonResponse(_upload(known), status=200 if is_same else 409)
    stored = store(identity, request, size=int(request.headers["Content-Length"]))
    upload, is_new = Upload.objects.get_or_create(id=identity, defaults=asdict(stored))
    return JsonResponse(_upload(upload), status=201 if is_new else 200)


def _upload(upload: Upload) -> dict:
    return {"id": str(upload.id), "sha256": upload.sha256, "path": upload.path, "size": upload.size}


@writes
def create_task(request: HttpRequest) -> HttpResponse:
    """Answer once the message is in Redis; the worker does the rest."""
    identity = str(UUID(json.loads(request.body)["id"]))
    finish.apply_async((identity,), task_id=identity)
    return JsonResponse({"id": identity}, status=202)


@require_GET
def read_task(request: HttpRequest, identity: UUID) -> HttpResponse:
    task = get_object_or_404(Task.objects.using(settings.READS), id=identity)
    return JsonResponse({"id": str(task.id), "done_at": task.done_at.isoformat(), "runs": task.runs})


@require_GET
def inventory(request: HttpRequest) -> HttpResponse:
    """One page of all that is there, in the order of identities; next is the cursor of the page that follows."""
    if request.GET.get("kind") not in INVENTORIES:
        raise Http404
    model, describe = INVENTORIES[request.GET["kind"]]
    rows = model.objects.using(settings.READS if request.GET.get("from") == "replica" else "default")
    if after := request.GET.get("after"):
        rows = rows.filter(id__gt=UUID(after))
    page = [{"id": str(row.id), **describe(row)} for row in rows.order_by("id")[:PAGE]]
    return JsonResponse({"writes": page, "next": page[-1]["id"] if len(page) == PAGE else None})


INVENTORIES = {
    "posts": (
        Post,
        lambda post: {"at": post.at.isoformat(), "sha256": sha256(post.text.encode()).hexdigest()},
    ),
    "uploads": (
        Upload,
        lambda upload: {"at": upload.at.isoformat(), "sha256": upload.sha256, "path": upload.path},
    ),
    "tasks": (Task, lambda task: {"at": task.done_at.isoformat(), "runs": task.runs}),
}
