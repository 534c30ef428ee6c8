"""Which pages are the shop's: the same answer for links, proposals, copies of pages, and requests."""

import pytest
from clew.referral.networks_file import load
from clew.referral.visitor import Page, Visitor
from clew.service.cobrowsing import is_private
from clew.service.offers import OfferError, offered_page
from clew.service.shop_pages import NoShopPageError, shop_origin, shop_page
from clew.service.site import SiteRuntime
from clew.service.sites import Sites
from clew.settings.model import Settings

NOW = 1_700_000_000.0
HOSTS = ("shop.test", "*.shop.test", "other.test:8443")


def sites(*hosts: str) -> Sites:
    own = {"name": "shop", "hosts": list(hosts)}
    made = Settings.model_validate({"secret": "s" * 40, "store": "sqlite:x", "sites": [own]})
    return Sites(made, load())


def site(*hosts: str) -> SiteRuntime:
    return sites(*hosts)["shop"]


def visitor(*urls: str) -> Visitor:
    return Visitor("v", trail=tuple(Page(f"p{n}", NOW, url, "") for n, url in enumerate(urls)))


def _offered(one: SiteRuntime, url: str, here: str) -> bool:
    try:
        offered_page(one, url, here, NOW)
    except OfferError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("shop.test", True),
        ("SHOP.test", True),
        ("shop.test.", True),
        ("shop.test:8000", True),
        ("www.shop.test", True),
        ("a.b.shop.test:443", True),
        ("other.test:8443", True),
        ("other.test", False),
        ("other.test:8000", False),
        ("evilshop.test", False),
        ("shop.test.evil.test", False),
        ("user@www.shop.test", False),
        ("user@shop.test", False),
        ("", False),
    ],
)
def test_one_answer_to_whose_page_it_is(host: str, own: bool) -> None:
    all_of_them, url = sites(*HOSTS), f"http://{host}/mug"
    one = all_of_them["shop"]
    if "@" not in host:
        assert (all_of_them.at(host) is not None) is own, "which site answers a request"
        assert one.landing.is_own(host, "") is own, "where a referrer comes from"
    assert _offered(one, url, "") is own, "where a link may lead"
    assert (not is_private(one, url, "")) is own, "which page may be shown"
    last = visitor("https://shop.test/a", url)
    assert (shop_origin(one, last, None) == f"http://{host.lower()}") is own, "where a visitor is"


def test_a_site_for_all_hosts_has_the_page_of_its_request_and_no_other() -> None:
    one = site()
    assert shop_page(one, "https://any.test/mug?a=1", "any.test").query == "a=1"
    assert not is_private(one, "https://any.test/mug", "any.test")
    for here in ("", "other.test"):
        with pytest.raises(NoShopPageError):
            shop_page(one, "https://any.test/mug", here)
        assert is_private(one, "https://any.test/mug", here)


def test_the_desks_own_host_is_no_shop() -> None:
    seen = visitor("https://any.test/mug")
    assert shop_origin(site(), seen, "https://any.test") == "https://any.test"
    assert shop_origin(site("*.shop.test", "shop.test"), seen, None) == "https://shop.test"
    for hosts in ((), ("*.shop.test",)):
        with pytest.raises(NoShopPageError, match="write it into `hosts`"):
            shop_origin(site(*hosts), seen, None)
