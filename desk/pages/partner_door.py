"""The door to a partner's pages: a link or a login of its own, and the one check that each page has.

A partner's session has its own cookie, path and table. Nothing here opens the desk, and no agent's session
opens anything here.
"""

import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ...referral.visitor import SeenAs
from ...service.limits import LimitedError
from ...service.partner_links import PartnerLinks
from ...settings.hosts import host_key
from ...stores.ledger.agents import SESSION_SECONDS
from ...stores.ledger.partner_access import PartnerSession
from ..context import RequestContext, request_context
from ..cookies import PARTNER, PARTNER_LOGIN
from ..guard import Endpoint, Refused, over
from .auth import (
    Begun,
    Door,
    anyone,
    begun,
    enter,
    form_of,
    left,
    own_pairs,
    require_navigation,
    see_other,
)
from .partner_words import Words, words_for
from .render import desk_path, headers, page

PATH = "/partner"


@dataclass(frozen=True, slots=True)
class PartnerContext:
    """A partner's request: its context, its session, and the texts of its language. All that a partner may
    see is that of `site` and `partner`."""

    at: RequestContext
    session: PartnerSession
    token: str
    words: Words

    @property
    def site(self) -> str:
        """The name of the only site."""
        return self.at.site.name

    @property
    def partner(self) -> str:
        """The id of the only partner."""
        return self.session.partner


async def _begin(request: Request, name: str, password: str, now: float) -> Begun | None:
    at = request_context(request)
    ledger, site = at.service.ledger, at.site.name
    verified = await ledger.agents.verify(name, password, site, of_partner=True)
    if verified is None:
        return None
    token = await ledger.partner_access.log_in(name, site, host_key(at.origin.host), now, verified)
    return None if token is None else Begun(token)


async def _end(at: RequestContext, token: str) -> None:
    await at.service.ledger.partner_access.leave(token)


def _words(request: Request) -> Words:
    return words_for(request, request_context(request).site.settings.language)


def _values(request: Request) -> Mapping[str, object]:
    words = _words(request)
    return {"t": words, "language": words.language, "own": f"{desk_path(request)}{PATH}"}


DOOR = Door(
    PATH,
    PARTNER,
    PARTNER_LOGIN,
    "partner_login.html",
    re.compile(r"/orders|/calls"),
    _begin,
    _end,
    lambda request: _words(request).texts,
    _values,
)


def for_partner(handler: Callable[[Request, PartnerContext], Awaitable[Response]]) -> Endpoint:
    """A page of a partner; without a login of a partner of this site it redirects to its login page.

    Every page of a partner has this check, and there is no other way to a `PartnerContext`.
    """

    @anyone
    @functools.wraps(handler)
    async def endpoint(request: Request, at: RequestContext) -> Response:
        context = await _context(request, at)
        if context is None:
            path = request.scope["path"].removeprefix("/desk" + PATH)
            return see_other(
                request, f"{PATH}/login" + (f"?to={path}" if DOOR.targets.fullmatch(path) else "")
            )
        at.take("partner_pages")
        await _note_visitor(request, context)
        if request.method in ("GET", "HEAD"):
            require_navigation(request, context.session.csrf)
        return await handler(request, context)

    return endpoint


async def _note_visitor(request: Request, context: PartnerContext) -> None:
    """Note that the visitor of this browser is the partner: it does not earn by its own orders."""
    at = context.at
    known = at.site.cookie.read([v for n, v in request.scope["headers"] if n == b"cookie"])
    if known is None or known.necessary or not at.site.settings.fraud.self_referral:
        return
    if at.site.asks_consent and not known.agreed:
        return
    stored = await at.service.visitors.find(at.site.name, known.visitor, "partner")
    if stored is None or context.partner not in stored.own:
        seen = [SeenAs((context.partner,))]
        await at.service.visitors.note(at.site, known, seen, at.origin.client, "partner")


async def _context(request: Request, at: RequestContext) -> PartnerContext | None:
    token = request.cookies.get(PARTNER, "")
    if not token or at.chosen is None:
        return None
    access, now = at.service.ledger.partner_access, at.service.clock.now()
    session = await access.session(token, at.site.name, host_key(at.origin.host), now)
    # A partner that is no longer in the settings has no pages.
    if session is None or session.partner not in at.site.partners:
        return None
    return PartnerContext(at, session, token, _words(request))


async def partner_form(request: Request, context: PartnerContext) -> dict[str, str]:
    """The fields of a partner's form. Raises Refused, also (403) if it is not from this session's pages."""
    return dict(await own_pairs(request, context.session.csrf))


def partner_page(
    request: Request, context: PartnerContext, template: str, status: int = 200, **values: object
) -> Response:
    """One of a partner's pages."""
    return page(
        request,
        template,
        status,
        **_values(request),
        partner=context.partner,
        csrf=context.session.csrf,
        **values,
    )


@anyone
async def by_link(request: Request, at: RequestContext) -> Response:
    """Exchange a link's key for a session, and lead on at once to an address without the key."""
    _require_site(at)
    token, now = request.query_params.get("key", ""), at.service.clock.now()
    words = _words(request)
    if request.method == "HEAD":
        # What looks at links in mails asks so; nothing begins by it.
        return Response(headers=_bare(request))
    if request.headers.get("sec-fetch-dest", "document") != "document":
        # A foreign page with the address as an image would use up the limits from its visitors' networks.
        return Response(status_code=403, headers=_bare(request))
    link = PartnerLinks(at.service.settings, at.site.name).open(token)
    try:
        # Only guesses count: what others guess keeps nobody out who has a link, which no guess finds.
        at.take("partner_links" if link is None else "partner_pages")
    except LimitedError as limited:
        refused = over(limited)
        return _refused_link(request, words["link_limited"], refused.status, refused.headers)
    session = None
    if link is not None and now < link.until and link.partner in at.site.partners:
        session = await at.service.ledger.partner_access.enter(
            at.site.name,
            link.partner,
            host_key(at.origin.host),
            now,
            generation=link.generation,
            until=link.until,
        )
    at.service.events.emit(
        "partner_entered",
        site=at.site.name,
        partner=None if link is None else link.partner,
        client=at.origin.client,
        accepted=session is not None,
    )
    if link is None or session is None:
        expired = link is not None and now >= link.until
        return _refused_link(request, words["link_expired" if expired else "link_wrong"], 403)
    answer: Response = RedirectResponse(f"{desk_path(request)}{PATH}/", 303, _bare(request))
    await begun(DOOR, request, at, answer, session, min(SESSION_SECONDS, link.until - now))
    return answer


def _bare(request: Request) -> dict[str, str]:
    # The address has the key in it.
    return {**headers(request), "Referrer-Policy": "no-referrer"}


def _refused_link(
    request: Request, text: str, status: int, more: Mapping[str, str] | None = None
) -> Response:
    answer = page(request, "partner_refused.html", status, text=text, **_values(request))
    answer.headers.update({**_bare(request), **(more or {})})
    return answer


@anyone
async def login_page(request: Request, at: RequestContext) -> Response:
    """The login form of partners."""
    _require_site(at)
    return form_of(DOOR, request)


@anyone
async def login(request: Request, at: RequestContext) -> Response:
    """Check a partner's name and password."""
    _require_site(at)
    return await enter(DOOR, request, at)


def _require_site(at: RequestContext) -> None:
    if at.chosen is None:
        raise Refused(404, "There is no such page here.")


@for_partner
async def logout(request: Request, context: PartnerContext) -> Response:
    """End the session here and in the ledger."""
    await partner_form(request, context)
    await _end(context.at, context.token)
    return left(DOOR, request)


routes: list[BaseRoute] = [
    Route("/desk/partner/enter", by_link, methods=["GET"]),
    Route("/desk/partner/login", login_page, methods=["GET"]),
    Route("/desk/partner/login", login, methods=["POST"]),
    Route("/desk/partner/logout", logout, methods=["POST"]),
]
