"""The shop with clew inside its own process. `CLEW_SETTINGS` names the settings file."""

import os

from clew import ClewMiddleware

from .asgi import application as shop

application = ClewMiddleware(shop, settings=os.environ["CLEW_SETTINGS"])
