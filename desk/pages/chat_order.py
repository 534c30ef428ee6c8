"""The page on which an agent of another company's chat records an order, by a link: no login."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...chat.model import Conversation
from ...orders.model import OrderError
from ...service.chat_code import code_in, shown
from ...service.limits import network_of
from ...service.order_links import OrderLink, OrderLinks
from ...stores.ledger.audit import Act
from ..context import RequestContext
from ..guard import Refused, form_body
from .auth import anyone, see_other
from .render import page


def _link(request: Request, at: RequestContext, key: str) -> OrderLink:
    """The link; who guesses is bounded, as with links to partners' pages. Raises Refused and LimitedError."""
    at.take("partner_links")
    link = OrderLinks(at.service.settings, at.site.name).open(key)
    if link is None or link.until < at.service.clock.now():
        raise Refused(403, "This link is not valid any more. Ask the shop's owner for a new one.")
    at.service.limits.give_back("partner_links", at.site.name, at.origin.client)
    return link


async def _talk(at: RequestContext, named: str) -> Conversation:
    """The conversation by the provider's id of it, or by the visitor's code. Raises Refused."""
    books, provider = at.service.ledger.provider_talks, at.site.settings.chat.provider
    found = None if provider is None else await books.find(at.site.name, provider, named)
    if found is None and provider is not None:
        code = code_in(named) or code_in(shown(named))
        visitor = None if code is None else await books.visitor_of_code(at.site.name, code)
        found = None if visitor is None else await books.newest(at.site.name, provider, visitor)
    if found is None:
        raise Refused(404, "There is no such conversation. Look up its number, or the visitor's code.")
    return found


@anyone
async def form(request: Request, at: RequestContext) -> Response:
    """The form."""
    link = _link(request, at, request.query_params.get("key", ""))
    named = link.conversation or request.query_params.get("conversation", "")[:100]
    return _shown(request, link, named, done=request.query_params.get("done", ""))


def _shown(
    request: Request,
    link: OrderLink,
    named: str,
    status: int = 200,
    *,
    typed: str = "",
    problem: str = "",
    done: str = "",
) -> Response:
    key = request.query_params.get("key", "")
    return page(
        request,
        "chat_order.html",
        status,
        key=key,
        link=link,
        named=named,
        typed=typed,
        problem=problem,
        done=done,
    )


@anyone
async def record(request: Request, at: RequestContext) -> Response:
    """Record what was typed: the order's number and its total."""
    link = _link(request, at, request.query_params.get("key", ""))
    fields = await form_body(request)
    named, typed = link.conversation or fields.get("conversation", "").strip()[:100], fields.get("order", "")
    try:
        found = await _talk(at, named)
        by = f"{at.site.settings.chat.provider}:{link.agent}"[:64]
        recorded = await at.service.chat_orders.typed(at.site, found, typed[:300], by)
    except OrderError as error:
        return _shown(request, link, named, 422, typed=typed, problem=f"Not recorded: {error}.")
    except Refused as refused:
        return _shown(request, link, named, refused.status, typed=typed, problem=refused.text)
    at.service.conversations.changed(at.site.name)
    if recorded.created:
        order = recorded.order
        said: dict[str, str | int | None] = {"total": f"{order.total} {order.currency}", "by": "link"}
        network = network_of(at.origin.client) or ""
        await at.service.auditing.note(Act(at.site.name, by, "order.recorded", order.order_id, network, said))
    outcome = "known" if not recorded.created else "recorded" if recorded.held is None else "held"
    key = request.query_params.get("key", "")
    return see_other(request, f"/chat-order?key={key}&done={outcome}")


routes: list[BaseRoute] = [
    Route("/desk/chat-order", form, methods=["GET"]),
    Route("/desk/chat-order", record, methods=["POST"]),
]
