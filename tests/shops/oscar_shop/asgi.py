"""The shop as an ASGI app: `uvicorn --app-dir tests/shops oscar_shop.asgi:application`."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oscar_shop.settings")

application = ASGIStaticFilesHandler(get_asgi_application())
