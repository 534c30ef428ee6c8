"""Where the calls to partners go: what is refused when they are made, and what is better not done."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from ..postbacks.call import RenderError
from ..postbacks.model import Report
from ..postbacks.reach import kind_of, refusal, written
from ..postbacks.render import render
from ..referral.catalogue import Network
from ..settings.model import Partner
from ..settings.positions import KeyPath
from ..settings.wording import Wording

SAMPLE = Report("order", "partner", "click", "1", "1.00", "EUR", "chat", 1_700_000_000, 1_690_000_000)
_ALLOW = "if that is meant, set allow_private = true for this partner"
# Names that no public name server knows (RFC 6761, RFC 6762, RFC 8375, ICANN's .internal).
_OWN_NAMES = (".local", ".internal", ".lan", ".home.arpa", ".intranet", ".corp")


def call_problems(place: KeyPath, partner: Partner, network: Network | None) -> Iterator[Wording]:
    """`place` is the partner's; `network` its network's entry, None for a plain partner."""
    key, address = _called(partner, network)
    if address is None:
        return
    path = (*place, key)
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return
    number = written(host)
    kind = kind_of(number) if number is not None else "public"
    if not partner.allow_private:
        yield from _refused(path, host, kind, named=number is None)
    if parts.scheme == "http" and key != "settings" and kind == "public":
        message = "is called without encryption: whoever stands between can read and change orders"
        yield Wording(path, message, f'write "https://{host}…"', "warning")


def _refused(path: KeyPath, host: str, kind: str, *, named: bool) -> Iterator[Wording]:
    if (why := refusal(host)) is not None:
        yield Wording(path, f"is never called: {why}", _ALLOW)
    elif kind == "private":
        yield Wording(path, f"{host} is an address of a private network", _ALLOW, "warning")
    elif named and ("." not in host.rstrip(".") or host.rstrip(".").endswith(_OWN_NAMES)):
        message = f"{host} is a name of your own network, and a name is called only where it leads outside"
        yield Wording(path, message, _ALLOW, "warning")


def _called(partner: Partner, network: Network | None) -> tuple[str, str | None]:
    """The setting that names the host, and an address that would be called."""
    key = "postback" if network is None else "endpoint" if partner.endpoint else "settings"
    try:
        return key, render(partner, SAMPLE, network, 0.0, postback_id="check").url
    except RenderError:
        return key, partner.postback or partner.endpoint
