"""Which pages are the shop's, in what agents type and in what browsers tell."""

import re
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from ..referral.visitor import Visitor
from .site import SiteRuntime

PAGE_LENGTH: Final = 1000
ADDRESS_LENGTH: Final = 2000
_SAFE: Final = "/?:@!$&'()*+,;=~-._%[]"
# It also goes into a policy and into links.
_HOST: Final = re.compile(r"[a-z0-9._-]{1,253}(?::[0-9]{1,5})?")


class NoShopPageError(ValueError):
    """No page of the shop; the message says why."""


def shop_page(site: SiteRuntime, typed: str, here: str, most: int = ADDRESS_LENGTH) -> SplitResult:
    """The parts of a page's address, or of a path of the shop. `here` is the shop's host as the visitor knows
    it, empty where that is not known. Raises NoShopPageError for all that may lead elsewhere."""
    text = typed.strip() or "/"
    if len(text) > most or "\\" in text or any(ord(c) <= 32 or ord(c) == 127 for c in text):
        raise NoShopPageError(f"an address without blanks and backslashes, of at most {most} characters")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise NoShopPageError("this is no address") from None
    host = parts.netloc.lower()
    if parts.scheme or host:
        known = _HOST.fullmatch(host) is not None and site.landing.is_own(host, here)
        if parts.scheme not in ("http", "https") or not known:
            raise NoShopPageError(f"{host[:60] or text[:60]!r} is not this shop; write a path, as /sale")
    path = parts.path or "/"
    if not path.startswith("/") or path.startswith("//") or text.startswith("//"):
        raise NoShopPageError("a path begins with one /, as /sale")
    if site.owns(path.encode("utf-8", "surrogatepass")):
        raise NoShopPageError("this is a page of clew, not of the shop")
    return parts._replace(path=path)


def linked_page(site: SiteRuntime, typed: str, here: str, now: float) -> str:
    """A page of the shop as path and query, from an address or a path. Raises NoShopPageError for anything
    that may lead elsewhere, and for an address with a click in it, which would pass for an arrival."""
    parts = shop_page(site, typed, here, PAGE_LENGTH)
    found = quote(parts.path, safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    raw, query = found.partition("?")[0].encode(), quote(parts.query, safe=_SAFE).encode()
    touch = site.landing.read(query, raw, None, now)
    if touch is not None and (touch.clicks or touch.campaign):
        names = ", ".join([*(c.param for c in touch.clicks), *touch.campaign])
        raise NoShopPageError(f"leave out {names}: a link of an agent is no arrival of a partner")
    return found + (f"#{quote(parts.fragment, safe=_SAFE)}" if parts.fragment else "")


def shop_origin(site: SiteRuntime, visitor: Visitor | None, here: str | None) -> str:
    """The shop's origin as the visitor knows it: that of its last page, if it is one of the shop's; else the
    first of the settings, or the origin that this request came to (`here`, None on the desk's own host).
    Raises NoShopPageError where none of them is known."""
    requested = "" if here is None else urlsplit(here).netloc
    for page in reversed(visitor.trail if visitor is not None else ()):
        try:
            parts = shop_page(site, page.url, requested)
        except NoShopPageError:
            continue
        if parts.netloc:
            return f"{parts.scheme}://{parts.netloc.lower()}"
    plain = next((host for host in site.settings.hosts if "*" not in host), None)
    found = here if plain is None else f"https://{plain}"
    if found is None:
        raise NoShopPageError("the settings do not say at which host the shop is: write it into `hosts`")
    return found
