"""What kind of arrival a touch is, and what an arrival after the partner's click does to its credit."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from ..referral.assistants import assistant_of
from ..referral.touches import Touch

PAID_SEARCH, PAID_SOCIAL, DISPLAY, MAIL = "paid_search", "paid_social", "display", "mail"
SEARCH, SOCIAL, ASSISTANT, REFERRAL = "search", "social", "ai", "referral"
PARTNER, CAMPAIGN, DIRECT = "partner", "campaign", "direct"
CHANNELS: Final = (
    PARTNER,
    PAID_SEARCH,
    PAID_SOCIAL,
    DISPLAY,
    MAIL,
    ASSISTANT,
    SEARCH,
    SOCIAL,
    CAMPAIGN,
    REFERRAL,
    DIRECT,
)

# Of ad platforms, by their click ids' parameters.
_PAID: Final[Mapping[str, str]] = {
    **dict.fromkeys(("gclid", "gbraid", "wbraid", "msclkid", "yclid"), PAID_SEARCH),
    **dict.fromkeys(("fbclid", "ttclid", "twclid", "li_fat_id", "epik", "sccid", "rdt_cid"), PAID_SOCIAL),
    **dict.fromkeys(("dclid", "tblci", "obclid", "vmcid"), DISPLAY),
}
# The values of utm_medium that Google Analytics groups so ("Default channel group").
_MEDIA: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("cpc", "ppc", "sem", "paidsearch", "paid-search", "paid_search", "retargeting"), PAID_SEARCH
    ),
    **dict.fromkeys(("paidsocial", "paid-social", "paid_social"), PAID_SOCIAL),
    **dict.fromkeys(("display", "banner", "expandable", "interstitial", "cpm"), DISPLAY),
    **dict.fromkeys(("email", "e-mail", "e_mail", "mail", "newsletter"), MAIL),
    **dict.fromkeys(("social", "social-network", "social-media", "sm"), SOCIAL),
    **dict.fromkeys(("organic",), SEARCH),
}
_ENGINES: Final = frozenset(
    [
        "google",
        "bing",
        "yahoo",
        "duckduckgo",
        "ecosia",
        "yandex",
        "baidu",
        "qwant",
        "startpage",
        "seznam",
        "brave",
        "naver",
    ]
)
_NETWORKS: Final = frozenset(
    [
        "facebook",
        "instagram",
        "linkedin",
        "pinterest",
        "reddit",
        "tiktok",
        "twitter",
        "x",
        "threads",
        "youtube",
        "t",
    ]
)
_MAILERS: Final = re.compile(r"^(mail|webmail|outlook|deref-mail)\.")


def channel_of(touch: Touch) -> str:
    """The kind of an arrival: by its clicks, else its campaign, else where it came from."""
    if any(click.partner is not None for click in touch.clicks):
        return PARTNER
    if (paid := _by_click(touch)) is not None:
        return paid
    host = _host(touch.referrer)
    if assistant_of(touch):
        return ASSISTANT
    medium = touch.campaign.get("utm_medium", "").lower()
    if medium in _MEDIA:
        return _MEDIA[medium]
    if touch.campaign or touch.clicks:
        return CAMPAIGN
    if not host:
        return DIRECT
    if _MAILERS.match(host):
        return MAIL
    labels = host.split(".")[:-1]
    if any(label in _ENGINES for label in labels):
        return SEARCH
    return SOCIAL if any(label in _NETWORKS for label in labels[-2:]) else REFERRAL


def paid_channel(touch: Touch) -> str:
    """The kind of advertisement that an arrival came by, also if a partner's click is in it; empty for none.
    A link from an advertisement in a search engine goes by its `/aclk`."""
    if (paid := _by_click(touch)) is not None:
        return paid
    medium = _MEDIA.get(touch.campaign.get("utm_medium", "").lower(), "")
    if medium in (PAID_SEARCH, PAID_SOCIAL, DISPLAY):
        return medium
    labels = _host(touch.referrer).split(".")[:-1]
    path = touch.referrer.partition("?")[0]
    return PAID_SEARCH if path.endswith("/aclk") and any(label in _ENGINES for label in labels) else ""


def _by_click(touch: Touch) -> str | None:
    return next((_PAID[c.param.lower()] for c in touch.clicks if c.param.lower() in _PAID), None)


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
