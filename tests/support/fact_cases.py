"""Cases for facts: what a visitor does, and the lines that are true then. Each case is a site of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from shoppers import Shopper

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
IPAD = IPHONE.replace("iPhone; CPU iPhone OS", "iPad; CPU OS")
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0"

Does = Callable[[Shopper], object]

HEAD = """
secret = "kT9vQ2xLrW7mZc4JpYb8NfHsD3gAeU6iXoR5tVnB"
desk_host = "desk.test"
log = "json"
trusted_proxies = ["127.0.0.0/8"]

[geo]
header = "CF-IPCountry"
hostnames = true
database = "{places}"
"""
TOKEN = "token-of-the-shop-0123456789"
LUND = {
    "country": {"iso_code": "SE", "names": {"en": "Sweden"}},
    "subdivisions": [{"names": {"en": "Scania"}}],
    "city": {"names": {"en": "Lund"}},
}

SITE = """
[[sites]]
name = "{name}"
hosts = ["{name}.test"]
upstream = "{shop}"
checkout_steps = ["/checkout/address*", "/checkout/payment*"]
{keys}

[sites.page_types]
"/" = "home"
"/mills*" = "category"
"/mill/*" = "product"
"/find*" = "search"
"/cart*" = "cart"
"/checkout/*" = "checkout"
"/account*" = "account"

[[sites.partners]]
id = "friend"
param = "friend"
sub_param = "subid"
postback = "https://partner.example/sale?click={{click_id}}&order={{order_id}}"

[sites.cart]
value = ".cart .value"
items = ".cart .items"
products = ".cart li"

[sites.order]
page = "/thanks*"
id = "#number"
total = "#total"
currency = "EUR"

{tables}

[[sites.rules]]
name = "asked"
when = [{lines}]
action = "hide"
"""
COUNTER = """
[[sites.rules]]
name = "not-so"
when = [{{ any = [{lines}] }}]
action = "show"
priority = 9
"""
ZONE = ZoneInfo("Asia/Kathmandu")
"""A quarter of an hour away from the full hours of everybody else."""


@dataclass(frozen=True)
class Case:
    """`lines` are true after a visitor did `does`. None of `counters` is true then; without any, the proof is
    a visitor who has done nothing, for whom the lines are not all true."""

    name: str
    lines: tuple[str, ...]
    does: Does
    keys: str = ""
    tables: str = ""
    counters: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def site(self, shop: str) -> str:
        now = datetime.now(UTC)
        tables = self.tables.replace("SHOP", shop).replace("DAY", f"{now + timedelta(days=3):%a}".lower())
        text = SITE.format(
            name=self.name, shop=shop, keys=self.keys, tables=tables, lines=_listed(self.lines, now)
        )
        counter = COUNTER.format(lines=_listed(self.counters, now)) if self.counters else ""
        return text + counter


def _listed(lines: tuple[str, ...], now: datetime) -> str:
    def minute(at: datetime) -> str:
        return str(at.hour * 60 + at.minute)

    known = (
        (line.replace("MINUTE", minute(now.astimezone(ZONE))).replace("UTC", minute(now))) for line in lines
    )
    return ", ".join(f"'''{line}'''" for line in known)


def ways(*paths: str) -> Does:
    """Sees pages in this order."""

    def does(visitor: Shopper) -> None:
        for path in paths:
            visitor.see(path)

    return does


def came(path: str, referrer: str = "") -> Does:
    return lambda visitor: visitor.see(path, referrer)


PAGE = [
    Case("page-url", ('page.url == "http://page-url.test/mill/1?size=m"',), ways("/mill/1?size=m")),
    Case(
        "page-host",
        ('page.host == "page-host.test"',),
        ways("/"),
        counters=('page.host != "page-host.test"',),
    ),
    Case("page-path", ('page.path == "/mill/café"',), ways("/mill/caf%C3%A9")),
    Case("page-query", ('page.query.size == "m x"',), ways("/mill/1?size=m+x")),
    Case("page-fragment", ('page.fragment == "reviews"',), ways("/mill/1#reviews")),
    Case("page-title", ('page.title == "Mill"',), lambda v: (setattr(v, "title", "Mill"), v.see("/mill/1"))),
    Case("page-type", ('page.type == "product"',), ways("/mill/1")),
    Case(
        "page-seconds",
        ("page.seconds == 31",),
        lambda v: (v.see("/"), v.decide(seconds=31)),
        counters=("page.seconds > 31",),
    ),
    Case("page-language", ('page.language == "en"',), ways("/"), counters=('page.language != "en"',)),
    Case(
        "page-referrer",
        ('page.referrer == "https://blog.example/mills?p=1"',),
        came("/", "https://blog.example/mills?p=1"),
    ),
    Case(
        "page-referrer-host",
        ('page.referrer_host == "blog.example"',),
        came("/", "https://Blog.example/mills"),
    ),
    Case(
        "page-previous",
        ('page.previous == "/mills"', 'page.previous_type == "category"'),
        ways("/", "/mills", "/mill/1"),
    ),
    Case(
        "page-previous-type",
        ('page.previous_type == "home"',),
        ways("/mill/1", "/", "/mills"),
    ),
    Case("page-times", ("page.times == 2",), ways("/mill/1", "/mills", "/mill/1")),
]

SEEN = ("home", "category", "product", "search", "cart", "checkout", "account", "confirmation")
VISIT = [
    Case("visit-seconds", ("visit.seconds >= 1",), ways("/", "/"), counters=("visit.seconds > 300",)),
    Case(
        "seen",
        tuple(f"seen.{kind} == 1" for kind in SEEN),
        ways(
            *("/", "/mills", "/mill/1", "/find?q=a", "/cart", "/checkout/address", "/account"),
            *("/thanks?order=1001", "/about"),
        ),
    ),
    Case(
        "visit-pages",
        ("visit.pages == 3", "visit.count == 1", "!visit.returning"),
        ways("/", "/mills", "/mill/1"),
    ),
    Case(
        "visit-landing",
        (
            'visit.landing == "/mills"',
            'visit.landing_query.offer == "spring"',
            'visit.landing_type == "category"',
        ),
        ways("/mills?offer=spring", "/mill/1"),
    ),
    Case(
        "visit-landing-quoted",
        ("""visit.landing_query['x-offer'] == "spring" """,),
        ways("/mills?x-offer=spring", "/"),
    ),
    Case(
        "visit-paths",
        ('visit.paths == "/ > /mills > /mill/1 > /cart"',),
        ways("/", "/mills", "/mill/1", "/cart"),
    ),
    Case(
        "visit-types",
        ('visit.types == "home > category > product > other"',),
        ways("/", "/mills", "/mill/1", "/about"),
    ),
    Case(
        "seen-product",
        ("seen.product == 2", "seen.home == 1", "seen.cart == 0"),
        ways("/", "/mill/1", "/mill/2", "/mills"),
    ),
    Case(
        "checkout-step",
        ("checkout.step == 2", "checkout.furthest == 2"),
        ways("/checkout/address", "/checkout/payment"),
    ),
    Case(
        "checkout-furthest", ("checkout.step == 0", "checkout.furthest == 1"), ways("/checkout/address", "/")
    ),
    Case(
        "cart-value",
        ("cart.value == 59.9", "cart.items == 2", 'cart.currency == "EUR"'),
        lambda v: (v.see("/"), v.see("/cart?has=2"), v.see("/mills")),
    ),
]

AWIN = """
[[sites.partners]]
id = "aw"
network = "awin"
settings = { advertiser_id = "1001", api_key = "api-key-0123456789", access_token = "token-0123456789" }
"""
ARRIVAL = [
    Case(
        "search-words",
        ('search.words == "burr mill"', 'search.engine == "www.bing.com"', 'touch.channel == "search"'),
        came("/", "https://www.bing.com/search?q=burr+mill"),
    ),
    Case("search-term", ('search.words == "hand mill"',), came("/?utm_source=g&utm_term=hand+mill")),
    Case("search-shop", ('search.shop == "steel mill"',), ways("/", "/find?q=steel+mill", "/mill/1")),
    Case(
        "touch-click",
        (
            "has(touch.click_ids.gclid)",
            'touch.click_ids.gclid == "G1"',
            'touch.network == "google_ads"',
            'touch.click_id == "G1"',
            'touch.channel == "paid_search"',
        ),
        came("/mills?gclid=G1"),
    ),
    Case(
        "touch-referrer",
        (
            'touch.referrer == "https://blog.example/x"',
            'touch.referrer_host == "blog.example"',
            'touch.landing == "/mills"',
            "touch.age_days == 0",
        ),
        came("/mills", "https://blog.example/x"),
    ),
    Case("touch-assistant", ('touch.assistant == "chatgpt"',), came("/?utm_source=chatgpt.com")),
    Case(
        "campaign",
        (
            'campaign.source == "news"',
            'campaign.medium == "mail"',
            'campaign.name == "may"',
            'campaign.content == "top"',
            'campaign.term == "hand mill"',
            'campaign.params.utm_id == "77"',
        ),
        came(
            "/?utm_source=news&utm_medium=mail&utm_campaign=may&utm_content=top&utm_id=77&utm_term=hand+mill"
        ),
    ),
    Case(
        "partner-network",
        (
            'partner.id == "aw"',
            'partner.network == "awin"',
            'touch.network == "awin"',
            'touch.channel == "partner"',
        ),
        came("/mills?awc=1001_1700000000_abcdef0123456789"),
        tables=AWIN,
    ),
    Case(
        "partner",
        ('partner.id == "friend"', 'partner.sub_id == "blog-7"'),
        came("/mills?friend=click-1&subid=blog-7"),
    ),
]

CLIENT = [
    Case(
        "device-mobile",
        (
            'device.type == "mobile"',
            'device.browser == "Safari"',
            'device.os == "iOS"',
            "device.browser_version == 17",
        ),
        ways("/"),
        headers={"User-Agent": IPHONE},
    ),
    Case("device-tablet", ('device.type == "tablet"',), ways("/"), headers={"User-Agent": IPAD}),
    Case(
        "device-desktop",
        ('device.type == "desktop"', 'device.browser == "Firefox"', 'device.os == "Windows"'),
        ways("/"),
        headers={"User-Agent": FIREFOX},
    ),
    Case(
        "device-hint",
        ('device.type == "mobile"',),
        ways("/"),
        headers={
            "User-Agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36",
            "Sec-CH-UA-Mobile": "?1",
        },
    ),
    Case(
        "device-language", ('device.language == "fi"',), ways("/"), headers={"Accept-Language": "fi;q=0.9,en"}
    ),
    Case(
        "device-bot",
        ("device.bot",),
        ways("/"),
        headers={"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"},
    ),
    Case(
        "place-city",
        (
            'place.country == "SE"',
            'place.city == "Lund"',
            'place.region == "Scania"',
            'place.ip == "213.1.2.3"',
        ),
        ways("/"),
        headers={"X-Forwarded-For": "213.1.2.3"},
    ),
    Case("place-country", ('place.country == "FI"',), ways("/"), headers={"CF-IPCountry": "fi"}),
    # By the machine's own table of hosts.
    Case(
        "place-hostname",
        ('place.hostname == "localhost"',),
        ways("/"),
        counters=('place.hostname == "other.example"',),
    ),
]


PRODUCT = (
    'product.name == "Conica 64"',
    "product.price == 349.5",
    'product.currency == "EUR"',
    "product.in_stock",
    'product.id == "C-64"',
    'product.brand == "Conica"',
    'product.category == "Kitchen > Mills"',
)
PRODUCTS = [
    Case("product-linked", PRODUCT, ways("/mill/linked")),
    Case("product-known", PRODUCT, ways("/", "/mills", "/mill/linked")),
    Case("product-micro", PRODUCT[:-1], ways("/mill/micro")),
    Case(
        "product-selectors",
        ('product.name == "Drum"', "product.price == 1299.0", "!product.in_stock"),
        ways("/mill/plain"),
        tables="[sites.product]\nname = 'h1'\nprice = '.price'\nin_stock = '.buy'",
    ),
    Case(
        "product-other-page",
        ("!has(product.name)", 'page.path == "/mill/none"'),
        ways("/mill/linked", "/mill/none"),
    ),
]
