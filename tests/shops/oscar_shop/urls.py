"""The shop's pages, and a campaign address that redirects and loses its query, as many shops have one."""

from django.apps import apps
from django.conf import settings
from django.shortcuts import get_object_or_404
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from django.views.static import serve
from oscar.core.loading import get_model


class Campaign(RedirectView):
    """`/go/<slug>/` leads to the product, without the query it was called with."""

    def get_redirect_url(self, *args: object, **kwargs: object) -> str:
        return get_object_or_404(get_model("catalogue", "Product"), slug=kwargs["slug"]).get_absolute_url()


urlpatterns = [
    path("go/<slug:slug>/", Campaign.as_view()),
    path("i18n/", include("django.conf.urls.i18n")),
    re_path(r"^media/(?P<path>.*)$", serve, {"document_root": settings.MEDIA_ROOT}),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
