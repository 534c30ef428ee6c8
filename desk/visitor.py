"""Who asks or writes, by the visitor's cookie."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from ..referral.cookie import Known, new_visitor_id
from ..referral.visitor import Visitor
from .context import RequestContext
from .guard import Refused


def cookie_visitor(scope: Mapping[str, Any], at: RequestContext) -> Known | None:
    """Who asks, by the cookie, whatever it has consented to: for its conversation."""
    return at.site.cookie.read([value for name, value in scope["headers"] if name == b"cookie"])


def known_writer(request: Request, at: RequestContext) -> Known:
    """Who asks. Raises Refused (403) without a cookie."""
    known = cookie_visitor(request.scope, at)
    if known is None:
        raise Refused(403, "the request has no valid visitor cookie: allow cookies and reload the page")
    return known


async def writer(
    request: Request, at: RequestContext, *, by_form: bool = False
) -> tuple[Known, dict[str, str], Visitor | None]:
    """Who writes, the header that sets a cookie, and the visitor's record. A visitor who is not recognised
    without its consent gets a cookie when it writes: its conversation cannot do without (ePrivacy Directive,
    Art. 5(3)), so it needs none. So does one who writes by a form without JavaScript (`by_form`). It holds
    nothing but the visitor's id, and is gone when the browser is closed. One who asked to be forgotten gets
    another id."""
    known, asks = cookie_visitor(request.scope, at), at.site.consent.asks
    if known is None and not asks and not by_form:
        known = known_writer(request, at)
    if known is not None:
        stored = await at.service.visitors.find(at.site.name, known.visitor, "messages")
        if stored is None or not stored.forgotten:
            return known, {}, stored
    known = Known(new_visitor_id(), (), int(at.service.clock.now()))
    session = asks or by_form
    cookie = at.site.cookie.set_cookie(known, at.origin.scheme == "https", at.origin.host, session=session)
    return known, {"Set-Cookie": cookie.decode("ascii")}, None
