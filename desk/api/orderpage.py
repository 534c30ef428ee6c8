"""`POST order-page`: an order on a page that a script drew, as the visitor's browser tells of it."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...service.effects import CameFrom, ReadPage
from ...settings.addresses import split
from ..context import RequestContext
from ..guard import NO_STORE, Refused, api, json_body
from .decide import known_visitor

BODY_LIMIT = 256 * 1024  # bytes: JSON of what follows, with every character escaped
LENGTH = 65_536
SCRIPTS = 5


class OrderPage(BaseModel):
    """The body: the page's address, what the selectors found, and the text of its structured data."""

    model_config = ConfigDict(extra="ignore")

    url: str = Field(max_length=8192)
    referrer: str = Field("", max_length=8192)
    html: str = Field("", max_length=LENGTH)
    linked: list[Annotated[str, StringConstraints(max_length=LENGTH)]] = Field([], max_length=SCRIPTS)


@api
async def order_page(request: Request, at: RequestContext) -> Response:
    """Read the order as on any page of the shop's; what comes of it says `order.browser`."""
    body = await json_body(request, OrderPage, BODY_LIMIT)
    site, known = at.site, known_visitor(request.scope, at)
    path, query = split(body.url)
    settings = site.settings.order
    if settings is None or settings.browser == "ignore" or not site.order_page(path, query):
        raise Refused(422, "url: no order is expected on this page")
    at.take("browser_orders")
    if known is not None:
        # `<` stands in no number and no name, and would end the script.
        scripts = (text.replace("<", "\\u003c") for text in body.linked)
        data = "".join(f'<script type="application/ld+json">{text}</script>' for text in scripts)
        page = ReadPage(
            known.visitor,
            known.touches,
            path,
            b"text/html; charset=utf-8",
            (body.html + data)[:LENGTH].encode("utf-8", "replace"),
            order=True,
            cart=False,
            kind="confirmation",
            query=query,
            came=_came_from(body.referrer, at.origin.host),
            by_browser=True,
            known=known,
            client=at.origin.client,
        )
        at.service.tasks.later(at.service.attribution.read_page(site, page))
    return Response(status_code=204, headers=NO_STORE)


def _came_from(referrer: str, host: str) -> CameFrom:
    try:
        return "inside" if urlsplit(referrer).netloc.lower() == host.lower() else "outside"
    except ValueError:
        return "outside"


routes = [Route("/order-page", order_page, methods=["POST"])]
