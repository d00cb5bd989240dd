"""Where things are. In front of the site nginx may serve /media/ and /static/ itself."""

from django.conf import settings
from django.urls import path
from django.views.static import serve

from standin import views

urlpatterns = [
    path("", views.front_page),
    path("healthz", views.is_alive),
    path("readyz", views.is_ready),
    path("login", views.log_in),
    path("posts", views.create_post),
    path("posts/<uuid:identity>", views.read_post),
    path("uploads", views.create_upload),
    path("tasks", views.create_task),
    path("tasks/<uuid:identity>", views.read_task),
    path("inventory", views.inventory),
    path("media/<path:path>", serve, {"document_root": settings.MEDIA_ROOT}),
    path("static/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
]
