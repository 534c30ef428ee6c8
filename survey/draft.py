"""Writes the proposed settings file: known settings are active, uncertain ones are comments.

Text from the shop's pages is written only if it has the form of a host name, a path or a selector; evidence
is quoted as one printable line in a comment.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

from ..orders.sources_schema import webhook_sources
from ..settings.model import LANGUAGES, PageType
from ..settings.platforms import Platform
from .look import title_parts
from .proposals import CartFound, Found
from .signs import Named
from .words import shown

# Words in titles that are not the name of a shop.
_NO_NAMES = frozenset(
    ("home", "homepage", "home-page", "startseite", "start", "accueil", "inicio", "welcome", "shop")
)
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Proposal:
    """The proposal for one shop. `address` is the URL of its home page, `names` are all its hosts that were
    seen, `consents` its consent tools, `title` is its name, `own_name` the origin that its pages use if it is
    another one, `upstream` the address to connect to if it is not one of the names."""

    address: str
    names: tuple[str, ...]
    language: str = ""
    named: Named | None = None
    preset: Platform | None = None
    page_types: dict[str, PageType] = field(default_factory=dict)
    cart: CartFound = field(default_factory=CartFound)
    networks: tuple[str, ...] = ()
    consents: tuple[str, ...] = ()
    title: str = ""
    own_name: str = ""
    upstream: str = ""


def draft(proposal: Proposal, today: date) -> str:
    """The file's text. `clew check` accepts it as it is, once CLEW_SECRET is set."""
    return (
        "\n".join((*_head(proposal, today), *_site(proposal), *_tables(proposal), *_partners(proposal)))
        + "\n"
    )


def _head(proposal: Proposal, today: date) -> Iterator[str]:
    yield f"# Proposed by clew inspect for {shown(_origin(proposal.address))} on {today.isoformat()}."
    yield "# Lines with # are inactive. All keys: docs/settings.md. After a change run: clew check"
    yield ""
    yield 'secret = "env:CLEW_SECRET"  # at least 32 characters; clew check proposes one'
    yield ""


def _site(proposal: Proposal) -> Iterator[str]:
    yield "[[sites]]"
    yield f"name = {_text(_name(proposal))}"
    hosts = [name for name in proposal.names if _HOST.fullmatch(name)]
    public = bool(hosts) and not _private(hosts[0])
    off = "" if public else "# "
    listed = ", ".join(map(_text, hosts if public else ["shop.example"]))
    yield f"{off}hosts = [{listed}]" + (
        "" if public else "  # the names that visitors use; all names if omitted"
    )
    note = "  # if these names will point to clew: the shop's own address" if public else ""
    if proposal.upstream:
        note = ""
    yield f"upstream = {_text(proposal.upstream or _origin(proposal.address))}{note}"
    named = proposal.named
    if named is not None:
        unsure = named.certainty == "a guess"
        yield f"{'# ' if unsure else ''}platform = {_text(named.platform)}  # {named.certainty}"
        if proposal.preset is not None and proposal.preset.note:
            yield from (f"# {line}" for line in _wrapped(proposal.preset.note))
    else:
        yield '# platform = "…"  # none was detected; see docs/settings.md#platforms'
    if proposal.language in LANGUAGES and proposal.language != "en":
        yield f"language = {_text(proposal.language)}"
    yield '# api_token = "env:CLEW_API_TOKEN"  # for orders that your server reports: docs/api.md'


def _tables(proposal: Proposal) -> Iterator[str]:
    preset = proposal.preset if proposal.named and proposal.named.certainty != "a guess" else None
    if proposal.page_types:
        yield from ("", "[sites.page_types]")
        yield from (f"{_text(pattern)} = {_text(kind)}" for pattern, kind in proposal.page_types.items())
    if preset is not None and preset.order is None:
        yield from _webhooks(proposal.named.platform if proposal.named else "")
    elif preset is None:
        yield ""
        yield "# The order on the confirmation page: find the selectors on that page of your shop."
        yield "# [sites.order]"
        yield from ('# page = "/thank-you*"', '# id = "#order-number"', '# total = "#order-total"')
        yield '# currency = "EUR"'
    if preset is None or not preset.cart.model_dump(exclude_none=True):
        yield from _cart(proposal.cart)
    yield from _consent(proposal.consents)


def _webhooks(platform: str) -> Iterator[str]:
    """How the orders come of a shop whose confirmation page shows none."""
    yield ""
    if platform not in webhook_sources():
        yield "# Its confirmation page has no order that clew can read: see docs/api.md, `POST orders`."
        return
    yield "# Its confirmation page has no order that clew can read. Let it report its orders by webhook:"
    yield f"# remove the # of these lines, then: clew connect {platform}"
    yield f"# [sites.webhooks.{platform}]"
    yield f'# secret = "env:CLEW_{platform.upper()}_SECRET"'
    yield "# [sites.carry]"
    yield "# header = true"


def _consent(tools: Sequence[str]) -> Iterator[str]:
    if tools:
        yield from ("", "[sites.consent]")
        yield f'mode = "ask"  # {shown(", ".join(tools), 60)} on the pages; see docs/privacy.md'


def _cart(cart: CartFound) -> Iterator[str]:
    known = [
        (key, found) for key, found in (("value", cart.value), ("items", cart.items)) if found is not None
    ]
    if not known:
        yield from (
            "",
            "# No page has a cart in its HTML.",
            "# [sites.cart]",
            '# value = "#cart-total"',
        )
        return
    yield from ("", "[sites.cart]")
    yield from (f"{key} = {_text(found.selector)}  # {_read(found)}" for key, found in known)


def _read(found: Found) -> str:
    return f"reads {shown(found.text, 40)!r} on {found.pages} page{'s' if found.pages > 1 else ''}"


def _partners(proposal: Proposal) -> Iterator[str]:
    for network in proposal.networks:
        yield from ("", f"# The tag of {network} is on the pages.", "# [[sites.partners]]")
        yield from (f"# id = {_text(network)}", f"# network = {_text(network)}")
        yield "# settings = {}  # clew check names the required ones"
    if not proposal.networks:
        yield from ("", "# [[sites.partners]]", '# id = "blog"', '# param = "ref"')
        url = (
            "https://blog.example/sale?click={click_id}&order={order_id}&amount={amount}&currency={currency}"
            "&via={channel}"
        )
        yield f"# postback = {_text(url)}"


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _name(proposal: Proposal) -> str:
    """The shop's host, also if only its pages name it; of an IP address or localhost its title."""
    for address in (proposal.address, proposal.own_name):
        parts = urlsplit(address)
        host = (parts.hostname or "").removeprefix("www.")
        if host and not _private(parts.netloc.lower()):
            return re.sub(r"[^A-Za-z0-9_.-]", "-", host)[:64]
    plain = (
        unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode()
        for part in title_parts(proposal.title)
    )
    words = (re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in plain)
    return next((word[:40].strip("-") for word in words if word and word not in _NO_NAMES), "shop")


def _private(host: str) -> bool:
    name = (host.rpartition(":")[0] if re.search(r":\d+$", host) else host).strip("[]")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    return True


def _wrapped(text: str) -> Sequence[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < 105:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _text(value: str) -> str:
    """A TOML basic string (TOML 1.0, "String")."""
    escaped = ({'"': '\\"', "\\": "\\\\"}.get(c, c) if c.isprintable() else f"\\U{ord(c):08X}" for c in value)
    return f'"{"".join(escaped)}"'
