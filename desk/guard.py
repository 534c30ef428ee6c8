"""What every endpoint under the prefix checks first: where a POST comes from, its type and its length."""

import asyncio
import functools
import hmac
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope

from ..orders.wording import field_problem
from ..service.conversations import BlockedError
from ..service.limits import LimitedError, network_of
from ..service.origin import Origin
from ..settings.model import ApiScope
from ..stores.errors import STORE_FAILURES
from ..stores.ledger.errors import NoConversationError
from .context import RequestContext, request_context
from .times import remaining

BODY_LIMIT = 32 * 1024
BODY_SECONDS = 15.0
FIELDS = 20
PORTS = {"http": ":80", "https": ":443"}
NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

NO_TALK = "There is no such conversation at this site; its visitor may have deleted it."

_WHOSE = {"client": "this network", "site": "visitors of this site", "all": "all visitors"}

Body = TypeVar("Body", bound=BaseModel)
Endpoint = Callable[[Request], Awaitable[Response]]


class Refused(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A request that is not served: the status, and a text that says what was wrong and what to do.

    `wait` is the time in seconds after which it may be tried again; `headers` go into the answer, and `more`
    into its body.
    """

    def __init__(
        self, status: int, text: str, *, wait: float | None = None, more: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.more = dict(more or {})
        self.status = status
        self.text = text
        self.headers = dict(NO_STORE)
        if wait is not None:
            # RFC 9110 §10.2.3; rounded up, so that this wait is long enough.
            self.headers["Retry-After"] = str(max(1, math.ceil(wait)))


def over(limited: LimitedError) -> Refused:
    """The answer to a request over a limit: 429, when to come back, and whose limit it is."""
    whose = _WHOSE.get(limited.scope, f"this {limited.scope}")
    what = limited.limit.replace("_", " ")
    return Refused(
        429, f"too many {what} from {whose}: try again in {remaining(limited.wait)}", wait=limited.wait
    )


def refusal(refused: Refused) -> Response:
    """The response of an API to a refused request."""
    return JSONResponse({"error": refused.text, **refused.more}, refused.status, refused.headers)


def api(handler: Callable[[Request, RequestContext], Awaitable[Response]]) -> Endpoint:
    """An endpoint for programs: a refusal is answered as `{"error": text}`, a blocked visitor with 403, a
    ledger that fails with 503."""

    @functools.wraps(handler)
    async def endpoint(request: Request) -> Response:
        at = request_context(request)
        try:
            return await handler(request, at)
        except Refused as refused:
            return refusal(refused)
        except LimitedError as limited:
            return refusal(over(limited))
        except BlockedError as error:
            return refusal(Refused(403, str(error), more={"reason": "blocked"}))
        except NoConversationError:
            return refusal(Refused(404, NO_TALK))
        except STORE_FAILURES as error:
            where = request.url.path
            at.service.events.failed(error, site=at.site.name, where=where)
            return refusal(
                Refused(503, "the ledger or the visit store cannot be reached: try again in a moment", wait=2)
            )

    return endpoint


def from_elsewhere(headers: Mapping[str, str], origin: Origin) -> bool:
    """Whether a browser says that a request comes from another site's page.

    `Sec-Fetch-Site` (W3C Fetch Metadata) decides where it is sent: no page can forge it, and no proxy on
    the way can make it wrong. Older browsers, and pages without https, send `Origin`, whose host and port
    have to be ours; its scheme may only be better than what we see, since a proxy before us may end the TLS.
    A request with neither comes from no page of a browser of this decade.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    sent = headers.get("origin")
    if sent is None:
        return False
    try:
        parts = urlsplit(sent)
        scheme, host = parts.scheme, _without_port(parts.netloc.lower(), parts.scheme)
    except ValueError:
        return True
    if scheme not in PORTS or (scheme, origin.scheme) == ("http", "https"):
        return True
    return host not in (_without_port(origin.host.lower(), s) for s in {scheme, origin.scheme})


def _without_port(host: str, scheme: str) -> str:
    return host.removesuffix(PORTS.get(scheme, ""))


def require_same_origin(request: Request) -> None:
    """Raise Refused (403) for a request that another site's page makes."""
    if from_elsewhere(request.headers, request_context(request).origin):
        raise Refused(403, "this request comes from a page of another site")


def require_type(request: Request, wanted: str) -> None:
    """Raise Refused (415) unless the body is of the media type `wanted`."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != wanted:
        raise Refused(415, f"Content-Type has to be {wanted}, not {found[:60] or 'empty'}")


def bearer(request: Request, at: RequestContext, *tokens: str) -> str | None:
    """The one of `tokens` that the request brings as its bearer token (RFC 6750 §2.1), or None.

    A guess counts before it is compared, and a right one is given back. Raises LimitedError for a wrong one
    over the limit, and for any whose own network is over it. What other networks guess keeps nobody out who
    knows the token: it is random, and no number of guesses finds it.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if not given:
        return None
    limits, site, client = at.service.limits, at.site.name, at.origin.client
    over: LimitedError | None = None
    try:
        limits.take("tokens", site, client)
    except LimitedError as limited:
        if limited.scope == "client":
            raise
        over = limited
    brought = given.strip().encode("latin-1")
    # All are compared, so that the time says nothing about which one was nearly right.
    equal = [token for token in tokens if hmac.compare_digest(brought, token.encode())]
    if scheme.lower() != "bearer" or not equal:
        if over is not None:
            raise over
        at.service.events.notice(
            "token_refused", site=site, key=network_of(client) or "", path=request.url.path
        )
        return None
    if over is None:
        limits.give_back("tokens", site, client)
    limits.prove("tokens", client)
    return equal[0]


def require_scope(request: Request, at: RequestContext, scope: ApiScope) -> str:
    """The name of the token; raise Refused unless the request brings one of the site with this scope;
    `api_token` has all.

    401 without a token of the site, 403 if the site has none or if the token's scopes do not suffice.
    """
    settings = at.site.settings
    scopes: dict[str, list[ApiScope]] = {
        one.token.get_secret_value(): one.scopes for one in settings.api_tokens
    }
    if settings.api_token is not None:
        scopes[settings.api_token.get_secret_value()] = [scope]
    if not scopes:
        raise Refused(403, "this site has no API token: set `api_token` in its settings")
    token = bearer(request, at, *scopes)
    if token is None:
        refused = Refused(401, "send the site's API token: Authorization: Bearer …")
        refused.headers["WWW-Authenticate"] = "Bearer"
        raise refused
    if scope not in scopes[token]:
        refused = Refused(403, f"this token may only {', '.join(scopes[token])}; this call needs {scope}")
        # RFC 6750 §3.1.
        refused.headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{scope}"'
        raise refused
    equal = (one.name for one in settings.api_tokens if one.token.get_secret_value() == token)
    return next(equal, "api_token")


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The body, at most `limit` bytes. Raises Refused: 413 if it is longer, 408 if it takes over 15 s."""
    return await _received(request.receive, request.headers.get("content-length", ""), limit)


async def _received(receive: Receive, length: str, limit: int) -> bytes:
    if length.isdecimal() and (len(length) > 12 or int(length) > limit):
        raise Refused(413, f"the body is longer than {limit} bytes")
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the body broke off")
                body += message.get("body", b"")
                if len(body) > limit:
                    raise Refused(413, f"the body is longer than {limit} bytes")
                more = message.get("more_body", False)
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from None
    return body


def first_values(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The first value of each header, by its name in lower case."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name, value)
    return found


def is_own_json(fields: Mapping[bytes, bytes]) -> bool:
    """Whether a request brings JSON from our own pages, as browsers of our day say it. Where this is False,
    `require_same_origin` and `require_type` tell."""
    own = fields.get(b"sec-fetch-site") == b"same-origin"
    return own and fields.get(b"content-type") == b"application/json"


async def posted_json(
    scope: Scope, receive: Receive, fields: Mapping[bytes, bytes], limit: int = BODY_LIMIT
) -> bytes:
    """The body of a POST with JSON from our own pages; `fields` are the request's `first_values`.

    Raises Refused as `json_body` does, but for what the body says.
    """
    if not is_own_json(fields):
        request = Request(scope)
        require_same_origin(request)
        require_type(request, "application/json")
    return await _received(receive, fields.get(b"content-length", b"").decode("latin-1"), limit)


async def json_body(request: Request, model: type[Body], limit: int = BODY_LIMIT) -> Body:
    """The body as `model`, of a POST with JSON from our own pages or from a program.

    Raises Refused: 403, 408, 413 or 415 as above, 400 if it is no JSON, 422 with the fields that are wrong.
    """
    require_same_origin(request)
    require_type(request, "application/json")
    body = await read_body(request, limit)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        if any(p["type"] == "json_invalid" for p in problems):
            raise Refused(400, f"the body is no JSON: {problems[0]['msg']}") from None
        raise Refused(422, "; ".join(field_problem(p) for p in problems[:5])) from None


async def form_body(request: Request, limit: int = BODY_LIMIT) -> dict[str, str]:
    """The fields of a form that a page of ours sent; of a repeated field the last. Raises Refused."""
    return dict(await form_pairs(request, limit))


async def form_pairs(
    request: Request, limit: int = BODY_LIMIT, fields: int = FIELDS
) -> list[tuple[str, str]]:
    """The fields of a form that a page of ours sent, in their order.

    Raises Refused: 400 if there are more than `fields`, 403, 408, 413, 415 as above.
    """
    require_same_origin(request)
    require_type(request, "application/x-www-form-urlencoded")
    body = await read_body(request, limit)
    try:
        return parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=fields)
    except ValueError:
        raise Refused(400, f"the form has more than {fields} fields") from None


def whole_number(request: Request, name: str) -> int:
    """A query parameter that is an id or missing (then 0). Raises Refused (400)."""
    text = request.query_params.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refused(400, f"{name}: a whole number from 0 on, not {text[:40]!r}")
    return int(text)
