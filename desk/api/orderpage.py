"""`POST order-page`: an order on a page that a script rendered, reported by the visitor's browser."""

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
from .decide import consent_of, known_visitor

BODY_LIMIT = 256 * 1024  # bytes; enough for the fields below with every character escaped
LENGTH = 65_536
SCRIPTS = 5


class OrderPage(BaseModel):
    """The body: the page's URL, the HTML that the selectors matched, and its JSON-LD scripts."""

    model_config = ConfigDict(extra="ignore")

    url: str = Field(max_length=8192)
    referrer: str = Field("", max_length=8192)
    html: str = Field("", max_length=LENGTH)
    linked: list[Annotated[str, StringConstraints(max_length=LENGTH)]] = Field([], max_length=SCRIPTS)


@api
async def order_page(request: Request, at: RequestContext) -> Response:
    """Read the order like one on a page from the shop. The setting `order.browser` says what happens with
    it."""
    body = await json_body(request, OrderPage, BODY_LIMIT)
    site, known = at.site, known_visitor(request.scope, at)
    path, query = split(body.url)
    settings = site.settings.order
    if settings is None or settings.browser == "ignore" or not site.order_page(path, query):
        raise Refused(422, "url: no order is expected on this page")
    at.take("browser_orders")
    if known is not None:
        # An unescaped `<` could end the script element.
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
            consent=consent_of(request.scope, at),
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
