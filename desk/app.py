"""The Starlette app for everything under a site's prefix."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api import (
    cobrowsing,
    decide,
    files,
    handover,
    hooks,
    messages,
    offers,
    openapi,
    orderpage,
    own_talk,
    scripts,
)
from .context import request_context
from .front import Front
from .guard import NO_STORE
from .ops import health
from .pages import (
    access,
    account,
    ask,
    audit_trail,
    callback,
    callbacks,
    canned,
    chat_order,
    conversation,
    figures,
    joining,
    needs,
    order_list,
    partner,
    partner_calls,
    partner_door,
    people,
    postbacks,
    results,
    rule_preview,
    rule_review,
    rule_trial,
    rules,
    sale,
    search,
    second_step,
    side,
    team,
    waiting,
)
from .pages import cobrowsing as desk_cobrowsing
from .pages import files as desk_files
from .pages import offers as offer_pages
from .pages import orders as order_pages
from .roles import ruled


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {**NO_STORE, **(error.headers or {})}
    return JSONResponse({"error": error.detail}, error.status_code, headers=headers)


async def _fault(request: Request, error: Exception) -> Response:
    at = request_context(request)
    at.service.events.emit("fault", site=at.site.name, where=request.url.path, error=repr(error))
    return JSONResponse({"error": "something failed here; it was noted"}, 500, headers=NO_STORE)


def _direct(endpoint: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    """An endpoint as an app."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return Front(app)


class DeskApp(Starlette):
    """Starlette, but for what is asked most often: that goes to its endpoint without a detour, which costs as
    much as the answer. An open stream is half as large in memory without it."""

    _directly: Mapping[tuple[str, str], ASGIApp] = {
        ("POST", "/decide"): Front(decide.decide_app),
        ("POST", "/messages"): _direct(messages.send),
        ("GET", "/stream"): _direct(messages.stream),
    }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        app = self._directly.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if app is None:
            await super().__call__(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, sending)
        except Exception as error:
            if started:
                raise
            answer = await _fault(Request(scope), error)
            await answer(scope, receive, send)


def desk_app() -> DeskApp:
    """All pages and endpoints; each request carries its `RequestContext` in the scope."""
    app = DeskApp(
        routes=ruled(
            [
                # What is asked most often is looked at first.
                *messages.routes,
                *health.routes,
                *scripts.routes,
                *decide.routes,
                *handover.routes,
                *openapi.routes,
                *hooks.routes,
                *orderpage.routes,
                *files.routes,
                *desk_files.routes,
                *own_talk.routes,
                *ask.routes,
                *cobrowsing.routes,
                *desk_cobrowsing.routes,
                *callback.routes,
                *callbacks.routes,
                *conversation.routes,
                *sale.routes,
                *canned.routes,
                *offer_pages.routes,
                *offers.routes,
                *search.routes,
                *side.routes,
                *chat_order.routes,
                *needs.routes,
                *waiting.routes,
                *order_list.routes,
                *figures.routes,
                *team.routes,
                *results.routes,
                *rules.routes,
                *rule_trial.routes,
                *rule_review.routes,
                *rule_preview.routes,
                *order_pages.routes,
                *postbacks.routes,
                *access.routes,
                *second_step.routes,
                *joining.routes,
                *account.routes,
                *people.routes,
                *audit_trail.routes,
                *partner_door.routes,
                *partner.routes,
                *partner_calls.routes,
            ]
        ),
        middleware=[Middleware(Front)],
        exception_handlers={HTTPException: _http_error, Exception: _fault},
    )
    # A redirect to the address with or without a slash would lead out of the prefix, into the shop, and take
    # the request's body and its token along.
    app.router.redirect_slashes = False
    return app
