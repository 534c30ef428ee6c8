"""Asks a shop system's API for the order that a webhook only names."""

import asyncio
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import httpx2

from ...orders.sources_schema import Fetch
from ...settings.model import Webhook

SECONDS: Final = 8.0
"""How long all answers together may take. The sender waits for ours meanwhile."""

ANSWER_LIMIT: Final = 1024 * 1024  # bytes
AT_ONCE: Final = 10  # orders that are asked for at the same time
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class FetchError(RuntimeError):
    """The API does not answer as expected; the text says what it answered and what to do."""


class Fetcher:
    """Makes these calls, each on a connection of its own."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, fetch: Fetch, settings: Webhook, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"event": the webhook's body, NAME: answer, …}. Raises FetchError."""
        found = fetch.id.search(event)
        if isinstance(found, bool) or not isinstance(found, str | int) or not _ID.fullmatch(str(found)):
            raise FetchError("the webhook names no order")
        base = fetch.base if settings.endpoint is None else f"{settings.endpoint}/stores/{{store}}/"
        place = {"store": settings.store or "", "id": str(found)}
        token = "" if settings.token is None else settings.token.get_secret_value()
        answers: dict[str, Any] = {"event": event}
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=0)
        transport = httpx2.AsyncHTTPTransport(trust_env=False, limits=limits)
        try:
            async with asyncio.timeout(SECONDS), self._turns, transport:
                for name, path in fetch.addresses.items():
                    address = (base + path).format(**place)
                    answers[name.rstrip("?")] = await _get(transport, address, fetch.header, token, name)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            why = str(error) or f"no answer within {SECONDS:g} s"
            raise FetchError(f"the shop system's API cannot be asked: {why}") from error
        return answers


async def _get(transport: httpx2.AsyncHTTPTransport, address: str, header: str, token: str, name: str) -> Any:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "clew",
        header: token,
    }
    url = httpx2.URL(address)
    request = httpx2.Request("GET", url, headers={"Host": url.netloc.decode("ascii"), **headers})
    response = await transport.handle_async_request(request)
    try:
        if name.endswith("?") and response.status_code in (204, 404):
            return None
        if response.status_code != 200:
            raise FetchError(
                f"the shop system's API answered {response.status_code} to GET {url.path}: check `store` and "
                "`token`, and that the token may read orders"
            )
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise FetchError(f"the answer to GET {url.path} is longer than {ANSWER_LIMIT} bytes")
    finally:
        await response.aclose()
    try:
        return json.loads(bytes(body), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise FetchError(f"the answer to GET {url.path} is no JSON") from error
