"""What the policies of shops' home pages forbid of their provider's chat, for `clew check`."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

import httpx2

from ..chat.providers import ProviderError, providers
from ..injector.csp_hosts import Needed, forbidden
from ..injector.meta_policy import MetaPolicies
from ..injector.scanner import LOOK, Scanner
from ..settings.model import Settings, Site
from ..settings.wording import Wording

SECONDS: Final = 3.0
"""For one shop."""

AT_ONCE: Final = 20
MOST: Final = 100
"""The maximum of shops that are asked."""


async def forbidden_chats(settings: Settings) -> list[Wording]:
    """A warning for each directive of a home page that forbids hosts of the site's chat. A shop that does not
    answer says nothing: others warn of it."""
    asked = [
        (number, site)
        for number, site in enumerate(settings.sites)
        if site.chat.provider is not None and site.chat.csp == "report" and site.upstream is not None
    ][:MOST]
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, site: Site) -> list[Wording]:
        async with room:
            return list(_worded(number, site, await _against(site)))

    found = await asyncio.gather(*(one(number, site) for number, site in asked))
    return [wording for each in found for wording in each]


def _worded(number: int, site: Site, against: Mapping[str, tuple[str, ...]]) -> Iterator[Wording]:
    for directive, hosts in against.items():
        what = f"the policy of the home page ({directive}) forbids {' '.join(hosts)}"
        hint = 'add them to the shop\'s policy, or set csp = "extend" (docs/chat.md)'
        yield Wording(("sites", number, "chat", "provider"), what, hint, "warning")


async def _against(site: Site) -> Mapping[str, tuple[str, ...]]:
    try:
        needed = providers()[site.chat.provider or ""].hosts(site.chat.ids)
        async with asyncio.timeout(SECONDS):
            return await _asked(site, needed)
    except (ProviderError, KeyError, TimeoutError, OSError, ValueError, httpx2.HTTPError):
        return {}


async def _asked(site: Site, needed: Needed) -> Mapping[str, tuple[str, ...]]:
    assert site.upstream is not None
    socket = site.upstream.removeprefix("unix:") if site.upstream.startswith("unix:") else None
    base = "http://localhost" if socket else site.upstream
    host = site.upstream_host or next((h for h in site.hosts if not h.startswith("*")), None)
    url = httpx2.URL(f"{base}/")
    headers = {
        "Host": host or url.netloc.decode("ascii"),
        "Accept": "text/html",
        "Accept-Encoding": "identity",
        "User-Agent": "clew check",
    }
    async with httpx2.AsyncHTTPTransport(uds=socket, trust_env=False) as transport:
        response = await transport.handle_async_request(httpx2.Request("GET", url, headers=headers))
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > LOOK:
                    break
        finally:
            await response.aclose()
    raw = [(name.lower(), value) for name, value in response.headers.raw]
    found = dict(forbidden(raw, needed))
    scanner, metas = Scanner(), MetaPolicies(needed, extend=False)
    scanner.feed(bytes(body[:LOOK]))
    if scanner.place is not None:
        metas.feed(bytes(body[scanner.place :]))
    for directive, hosts in metas.forbidden.items():
        found[directive] = tuple(dict.fromkeys((*found.get(directive, ()), *hosts)))
    return found
