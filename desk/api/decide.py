"""What the loader and the widget ask of the rules: `decide`, and what became of an invite: `events`."""

from collections.abc import Awaitable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ...chat.providers import Event
from ...referral.consent.decision import ASSUMED, ConsentState, of_request, recognised
from ...referral.consent.message import PageMessage, read_message
from ...referral.cookie import Known, new_visitor_id
from ...referral.visitor import MessagesRead, StillHere
from ...service.decisions import Answer
from ...service.facts import NONE_TOLD, PageNow
from ...service.limits import LimitedError, network_of
from ...service.page_view import Ask
from ..context import RequestContext
from ..guard import NO_STORE, Refused, api, first_values, json_body, posted_json, refusal
from ..visitor import cookie_visitor

URL_LENGTH = 2048
TITLE_LENGTH = 300
LANGUAGE_LENGTH = 64
ACCEPTED_LENGTH = 200
TOLD = 400  # signals that a page may tell

Short = Annotated[str, Meta(max_length=8192)]


class DecideBody(Struct, frozen=True):
    """The body of `decide`; what is missing is taken from the request's own headers or left unknown."""

    view: Annotated[str, Meta(pattern=r"^([A-Za-z0-9_-]{8,64})?\Z")] = ""
    url: Short = ""
    title: Short = ""
    referrer: Short = ""
    language: Annotated[str, Meta(max_length=LANGUAGE_LENGTH)] = ""
    seconds: Annotated[int, Meta(ge=0, le=7 * 86400)] = 0
    consent: Any = None
    landing: Short = ""
    told: Annotated[list[Annotated[str, Meta(max_length=120)]], Meta(max_length=TOLD)] = []


_read = msgspec.json.Decoder(DecideBody).decode


class EventBody(BaseModel):
    """The body of `events`. `rule` names the invite; `message` is the newest message that was read; `event`
    and `id` are what a provider's chat told, and its conversation."""

    model_config = ConfigDict(extra="ignore")

    kind: Literal["seen", "dismissed", "accepted", "read", "here", "chat"]
    event: Event | None = None
    id: str | None = Field(None, min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$")
    rule: str = Field("", max_length=64)
    message: int = Field(0, ge=0, lt=2**53)


class DecideApp:
    """`POST decide`: what to show on this page, and when to ask again.

    An ASGI app of its own: each page view asks, and what Starlette makes for a request costs as much as the
    decision. The proxy's server does without ASGI too (`middleware/proxy/decide.py`).
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        try:
            fields = first_values(scope["headers"])
            found = decide(scope["clew"], scope, fields, await posted_json(scope, receive, fields))
            answer = found if isinstance(found, Answer) else await found
        except Refused as refused:
            await refusal(refused)(scope, receive, send)
            return
        cookies = [(b"set-cookie", cookie) for cookie in answer.set_cookies]
        headers = [(b"content-length", b"%d" % len(answer.body)), *HEADERS, *cookies]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


decide_app = DecideApp()
HEADERS = [
    (b"content-type", b"application/json"),
    *((name.lower().encode(), value.encode()) for name, value in NO_STORE.items()),
]


def decide(
    at: RequestContext, scope: Mapping[str, Any], fields: Mapping[bytes, bytes], text: bytes
) -> Answer | Awaitable[Answer]:
    """The answer to a request that may ask: the answer itself where nothing has to be waited for.

    Of `scope` only `headers` and `client` are used; `fields` are the `first_values` of the headers, `text` is
    the body. Raises Refused where the body is not as it should be.
    """
    service, site = at.service, at.site
    if not site.ready:
        return _with_rules(at, scope, fields, text)
    body = _body(text)
    accepted = fields.get(b"accept-language", b"")[:ACCEPTED_LENGTH].decode("latin-1")
    page = PageNow(
        view=body.view or new_visitor_id(),
        url=_page_url(body.url or fields.get(b"referer", b"").decode("latin-1")),
        title=body.title[:TITLE_LENGTH],
        language=body.language or accepted.partition(",")[0][:LANGUAGE_LENGTH],
        seconds=body.seconds,
        accepted=accepted,
        told=site.rules.signals.intersection(body.told) if body.told else NONE_TOLD,
    )
    peer = scope["client"][0] if scope.get("client") else None
    if at.origin.scheme == "http" and fields.get(b"origin", b"").startswith(b"https://"):
        # What ends the TLS says nothing of it, or is not believed.
        service.events.proxy_untrusted(site.name, network_of(peer) or "", "X-Forwarded-Proto", by="Origin")
    known = cookie_visitor(scope, at)
    ask = Ask(page, body.referrer, at.origin, fields=fields, peer=peer)
    if site.asks_consent or body.consent is not None:
        message = read_message(body.consent)
        consent = _consent(scope, at, known, message)
        # Without a message, the page may still have something to say.
        settled = consent.sure or message is not None
        ask = replace(ask, consent=consent, settled=settled, landing=_page_url(body.landing))
    began = service.clock.monotonic()
    try:
        at.take("decides")
        found = service.decisions.decide(site, known, ask)
    except LimitedError as limited:
        found = service.decisions.plain_answer(site, page, limited.wait)
        _took(at, "limited", began)
    except BaseException:
        _took(at, "failed", began)
        raise
    else:
        if not isinstance(found, Answer):
            return _awaited(at, found, began)
        _took(at, found.action, began)
    return found


async def _with_rules(
    at: RequestContext, scope: Mapping[str, Any], fields: Mapping[bytes, bytes], text: bytes
) -> Answer:
    """The answer, once the rules of the site are compiled."""
    found = decide(await at.whole(), scope, fields, text)
    return found if isinstance(found, Answer) else await found


async def _awaited(at: RequestContext, found: Awaitable[Answer], began: float) -> Answer:
    action = "failed"
    try:
        answer = await found
        action = answer.action
    finally:
        _took(at, action, began)
    return answer


def _took(at: RequestContext, action: str, began: float) -> None:
    at.service.events.took("decide", at.site.name, action, at.service.clock.monotonic() - began)


def _body(text: bytes) -> DecideBody:
    try:
        return _read(text)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        raise Refused(422, f"{place.rstrip('`') or 'the body'}: {message}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body is no JSON: {error}") from None
    except RecursionError:
        raise Refused(400, "the body nests too deep") from None


@api
async def events_endpoint(request: Request, at: RequestContext) -> Response:
    """`POST events`: an invite was seen, dismissed or accepted, messages were read, or the visitor still
    looks at the page. Unknown visitors, and rules whose invite the visitor did not get, change nothing."""
    body = await json_body(request, EventBody)
    at.take("events")
    known = known_visitor(request.scope, at)
    if body.kind == "chat":
        if body.event is not None:
            says = at.service.provider_pages.says
            await says(at.site, known, body.event, body.id, at.origin.client)
    elif body.kind == "here":
        if known is not None:
            await at.service.visitors.note(at.site, known, [StillHere()], at.origin.client, "events")
    elif body.kind == "read":
        talker = known or cookie_visitor(request.scope, at)
        # A cookie for the conversation alone has no touches to restore.
        if talker is not None and (known is not None or not talker.touches):
            read = MessagesRead(body.message)
            await at.service.visitors.remember(at.site, talker, [read], at.origin.client)
            await at.service.attention.visitor_saw(at.site, talker.visitor, body.message)
    elif known is not None and await at.service.inviting.told(
        at.site, known, body.rule, body.kind, at.origin.client
    ):
        at.service.events.emit(
            "invite", site=at.site.name, visitor=known.visitor, rule=body.rule, what=body.kind
        )
    return Response(status_code=204, headers=NO_STORE)


def known_visitor(scope: Mapping[str, Any], at: RequestContext) -> Known | None:
    """Who asks, by the cookie; None without its consent, where the site asks for it."""
    known = cookie_visitor(scope, at)
    if known is None or not at.site.asks_consent:
        return known
    return recognised(at.site.consent, _consent(scope, at, known, None), known)


def consent_of(scope: Mapping[str, Any], at: RequestContext) -> ConsentState:
    """What who asks has consented to, as far as the request tells."""
    return _consent(scope, at, cookie_visitor(scope, at), None)


def _consent(
    scope: Mapping[str, Any], at: RequestContext, known: Known | None, message: PageMessage | None
) -> ConsentState:
    if not at.site.asks_consent and message is None:
        return ASSUMED
    agreed, now = known is not None and known.agreed, at.service.clock.now()
    return of_request(at.site.consent, scope["headers"], now, agreed=agreed, message=message)


def _page_url(url: str) -> str:
    """The address for trail and facts: bounded, and only an address of the web."""
    url = url[:URL_LENGTH]
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") else ""


routes = [
    Route("/decide", decide_app, methods=["POST"]),
    Route("/events", events_endpoint, methods=["POST"]),
]
