"""Where a request below the prefix stands: the running service, the site, and who asked."""

from dataclasses import dataclass

from starlette.requests import Request

from ..service.origin import Origin
from ..service.service import Service
from ..service.site import SiteRuntime


@dataclass(frozen=True, slots=True)
class Here:
    """Put into `scope["clew"]` by the mount."""

    service: Service
    site: SiteRuntime
    origin: Origin


def here(request: Request) -> Here:
    """The `Here` of a request."""
    found = request.scope["clew"]
    assert isinstance(found, Here)
    return found
