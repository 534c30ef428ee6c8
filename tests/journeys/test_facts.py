"""Each fact is right when the request really is so: through `clew serve`, in front of a shop.

Each case is a site of its own with one rule, whose action tells whether its lines are true; and a visitor who
does what the case says. A visitor who did nothing is the proof that the lines can be false.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import httpx2
import pytest
from clews import ClewFolder, ClewServe
from database_servers import Postgres, Redis
from places import write_places
from shoppers import Answer, Asked, Shop, Shopper

pytestmark = pytest.mark.timeout(300)

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


@dataclass(frozen=True)
class Case:
    """`lines` are true after a visitor did `does`, and, if `control`, not for one who has done nothing."""

    name: str
    lines: tuple[str, ...]
    does: Does
    keys: str = ""
    tables: str = ""
    control: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    def site(self, shop: str) -> str:
        lines = ", ".join(f"'''{line}'''" for line in self.lines)
        return SITE.format(
            name=self.name, shop=shop, keys=self.keys, tables=self.tables.replace("SHOP", shop), lines=lines
        )


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
    Case("page-host", ('page.host == "page-host.test"',), ways("/"), control=False),
    Case("page-path", ('page.path == "/mill/café"',), ways("/mill/caf%C3%A9")),
    Case("page-query", ('page.query.size == "m x"',), ways("/mill/1?size=m+x")),
    Case("page-fragment", ('page.fragment == "reviews"',), ways("/mill/1#reviews")),
    Case("page-title", ('page.title == "Mill"',), lambda v: (setattr(v, "title", "Mill"), v.see("/mill/1"))),
    Case("page-type", ('page.type == "product"',), ways("/mill/1")),
    Case(
        "page-seconds", ("page.seconds >= 30",), lambda v: (v.see("/"), v.decide(seconds=31)), control=False
    ),
    Case("page-language", ('page.language == "en"',), ways("/"), control=False),
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
    Case("page-times", ("page.times == 2",), ways("/mill/1", "/mills", "/mill/1")),
]

VISIT = [
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
        ('visit.paths.contains("/mills > /mill/1 > /cart")',),
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
        ('touch.referrer_host == "blog.example"', 'touch.landing == "/mills"', "touch.age_days == 0"),
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
            'campaign.params.utm_id == "77"',
        ),
        came("/?utm_source=news&utm_medium=mail&utm_campaign=may&utm_content=top&utm_id=77"),
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
        ('place.country == "SE"', 'place.city == "Lund"', 'place.region == "Scania"'),
        ways("/"),
        headers={"X-Forwarded-For": "213.1.2.3"},
    ),
    Case("place-country", ('place.country == "FI"',), ways("/"), headers={"CF-IPCountry": "fi"}),
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


def posts(path: str, times: int = 1, **form: str) -> Does:
    """Sees a page, sends a form so often, and sees another page."""

    def does(visitor: Shopper) -> None:
        visitor.see("/")
        for _ in range(times):
            visitor.post(path, **form)
        visitor.see("/mills")

    return does


def fetches(path: str, method: str = "POST") -> Does:
    return lambda visitor: (visitor.see("/"), visitor.fetch(path, method), visitor.see("/mills"))


HAPPENED = [
    Case(
        "event-search",
        ("events.search == 2", "events.search_10m == 2", "events.search_30d == 2"),
        ways("/", "/find?q=mill", "/find?q=drum", "/find"),
    ),
    Case("event-search-empty", ("events.search_empty == 1",), ways("/", "/find?q=nothing", "/mills")),
    Case("event-cart-form", ("events.add_to_cart == 2",), posts("/cart/add/1", 2)),
    Case("event-cart-script", ("events.add_to_cart == 1",), fetches("/cart/add/1")),
    Case("event-login", ("events.login_failed == 2",), posts("/login", 2, password="wrong")),
    Case(
        "event-login-right",
        ("events.login_failed == 0", 'page.path == "/mills"', "visit.pages == 3"),
        posts("/login", password="right"),
    ),
    Case("event-coupon", ("events.coupon_refused_1h == 1",), fetches("/coupon/apply")),
    Case("event-payment", ("events.payment_failed == 1",), posts("/payment")),
    Case("event-404", ("events.client_error == 1", "events.server_error == 0"), ways("/", "/missing", "/")),
    Case("event-500", ("events.server_error == 1", "events.client_error == 0"), ways("/", "/broken", "/")),
    Case("event-form", ("events.form_repeated == 1",), posts("/contact", 2, text="x")),
    Case("event-form-once", ("events.form_repeated == 0", "visit.pages == 3"), posts("/contact", text="x")),
    Case("event-slow", ("events.slow_page == 1",), ways("/", "/slow", "/"), keys="slow_seconds = 0.4"),
    Case(
        "event-own-signal",
        ("events.login_failed == 1",),
        posts("/gate"),
        tables="[[sites.signals]]\nevent = 'login_failed'\npath = ['/gate']\nselector = '.error'",
    ),
    Case(
        "score",
        ("score.points == 12.0",),
        ways("/", "/mill/1", "/find?q=mill"),
        tables="[sites.score.points]\n'page.product' = 2\nsearch = 10",
    ),
    Case(
        "cart-history",
        ("cart.largest == 89.85", "cart.changes == 2", "cart.emptied == 1", "cart.seconds < 600"),
        ways("/", "/cart?has=1", "/cart?has=3", "/cart?has=2", "/cart?has=0", "/cart?has=1", "/mills"),
    ),
    Case(
        "cart-products",
        ('cart.products == "Mill, Drum"', "cart.items == 2"),
        ways("/", "/cart?has=2", "/mills"),
    ),
]


INVITE = """
[sites.invites]
holdout = 0
pages = 1

[[sites.rules]]
name = "asks"
when = ["page.path == '/asks'"]
action = "invite"
text = "A question?"
"""


def ignores(visitor: Shopper) -> None:
    visitor.see("/")
    assert visitor.see("/asks") == "invite"
    visitor.tell("seen", "asks")
    visitor.see("/mills")


def dismisses(visitor: Shopper) -> None:
    visitor.see("/")
    visitor.see("/asks")
    visitor.tell("seen", "asks")
    visitor.tell("dismissed", "asks")
    visitor.see("/mills")


def orders(visitor: Shopper) -> None:
    visitor.see("/")
    visitor.see("/cart?has=1")
    visitor.see("/checkout/payment")
    visitor.see("/thanks?order=1001")
    visitor.see("/mills")


def cancelled(visitor: Shopper) -> None:
    """An order that the shop's server cancels later."""
    orders(visitor)
    fields = {"Host": visitor.host, "Authorization": f"Bearer {TOKEN}"}
    body = {"id": "1001", "state": "cancelled"}
    until = time.monotonic() + 30
    while True:
        found = visitor.client.get(f"{visitor.address}/-/clew/orders/1001", headers=fields)
        if found.status_code == 200 or time.monotonic() > until:
            break
        time.sleep(0.05)
    told = visitor.client.post(f"{visitor.address}/-/clew/orders", headers=fields, json=body)
    assert told.status_code < 300, told.text


def talks(visitor: Shopper) -> None:
    visitor.see("/")
    visitor.see("/mills")
    visitor.say("Which one is quiet?")
    visitor.see("/")


PEOPLE = [
    Case(
        "order-cancelled",
        ("order.count == 0", "order.age_days == 0"),
        cancelled,
        keys='api_token = "token-of-the-shop-0123456789"',
    ),
    Case("chat-count", ("chat.count == 1", "chat.seconds < 600", "chat.talked", "chat.open"), talks),
    Case(
        "invite-ignored",
        (
            "invite.seen == 1",
            "invite.ignored == 1",
            "invite.ignores == 1",
            "invite.dismissed == 0",
            "invite.seconds < 600",
        ),
        ignores,
        tables=INVITE,
    ),
    Case(
        "invite-dismissed",
        ("invite.dismissed == 1", "invite.ignored == 0", "invite.dismissals == 1"),
        dismisses,
        tables=INVITE,
    ),
    Case("order-count", ("order.count == 1", "order.placed", "order.age_days == 0"), orders),
]


OWN = """
[sites.facts]
"customer.group" = { selector = "body", attribute = "data-group", keep = "visitor" }
"customer.logged_in" = { type = "bool", selector = "#logout" }
shipping = { type = "double", selector = ".shipping", keep = "page" }
stock = { type = "int", script = "state", json_path = "variants[0].stock" }
sku = { json_path = '''[?"@type"=='Product'] | [0].sku''' }
member = { type = "bool", cookie = "member_*" }
token = { cookie = "token" }
edge = { header = "X-Edge" }
helped = { type = "int", pages = ["/help*"] }
points = { type = "int", url = "SHOP/api/points?t={visitor}", json_path = "points", allow_private = true }
level = { url = "SHOP/api/level/{cookie}", cookie = "token", allow_private = true }
private = { url = "http://127.0.0.1:9/x" }
"""


def member(path: str) -> Does:
    def does(visitor: Shopper) -> None:
        visitor.see("/")
        visitor.cookies |= {"member_7": "1", "token": "a b"}
        visitor.see(path)

    return does


CUSTOM = [
    Case(
        "own-group",
        ('customer.group == "dealer"', "!customer.logged_in"),
        ways("/", "/dealer", "/mills"),
        tables=OWN,
    ),
    Case("own-logged-in", ("customer.logged_in",), ways("/", "/dealer?in=1"), tables=OWN),
    Case("own-page", ("custom.shipping == 4.9",), ways("/", "/dealer"), tables=OWN),
    Case(
        "own-page-left",
        ("!has(custom.shipping)", "visit.pages == 3"),
        ways("/", "/dealer", "/mills"),
        tables=OWN,
    ),
    Case("own-script", ("custom.stock == 7",), ways("/", "/dealer"), tables=OWN),
    Case("own-linked", ('custom.sku == "C-64"',), ways("/", "/mill/linked"), tables=OWN),
    Case("own-cookie", ("custom.member", 'custom.token == "a b"'), member("/"), tables=OWN),
    Case("own-header", ('custom.edge == "fra"',), ways("/"), tables=OWN, headers={"X-Edge": "fra"}),
    Case("own-pages", ("custom.helped == 2",), ways("/help/1", "/", "/help/2"), tables=OWN),
    Case("own-api", ("custom.points == 42",), ways("/"), tables=OWN, control=False),
    Case("own-api-cookie", ('custom.level == "gold"',), member("/"), tables=OWN),
    Case("own-api-private", ("!has(custom.private)",), ways("/"), tables=OWN, control=False),
    Case(
        "event-of-its-own",
        ("events.sized == 1", "events.sized_10m == 1"),
        fetches("/sizes/find"),
        tables="[[sites.signals]]\nevent = 'sized'\npath = ['/sizes/*']",
    ),
]


def now() -> datetime:
    return datetime.now(UTC)


# Whichever day it is while the test runs.
DAYS = ", ".join(f'"{(now() + timedelta(days=n)).date()}"' for n in (0, 1))
MONTHS = "||".join(f"clock.month == {(now() + timedelta(days=n)).month}" for n in (0, 1))
REST = [
    Case(
        "clock-date",
        (f"clock.date in [{DAYS}]", MONTHS, f"clock.year >= {now().year}", "clock.day >= 1"),
        ways("/"),
        control=False,
    ),
    Case(
        "clock-holiday",
        ("clock.holiday",),
        ways("/"),
        tables=f"[sites.calendar]\ncountry = 'FI'\ndays = [{DAYS}]",
        control=False,
    ),
    Case("clock-workday", ("!clock.holiday",), ways("/"), control=False),
    Case("agents-open", ("agents.open",), ways("/"), control=False),
]

CASES = [*PAGE, *PRODUCTS, *VISIT, *ARRIVAL, *HAPPENED, *PEOPLE, *CUSTOM, *CLIENT, *REST]


LINKED = """<script type="application/ld+json">[{"@context": "https://schema.org", "@type": "BreadcrumbList",
"itemListElement": [{"@type": "ListItem", "name": "Shop"}, {"@type": "ListItem", "name": "Kitchen"},
{"@type": "ListItem", "name": "Mills"}, {"@type": "ListItem", "name": "Conica 64"}]},
{"@context": "https://schema.org", "@type": "Product", "name": "Conica 64", "sku": "C-64",
"brand": {"@type": "Brand", "name": "Conica"}, "offers": {"@type": "Offer", "price": "349.50",
"priceCurrency": "EUR", "availability": "https://schema.org/InStock"}}]</script>"""
MICRO = """<div itemscope itemtype="https://schema.org/Product"><h1 itemprop="name">Conica 64</h1>
<meta itemprop="sku" content="C-64"><b itemprop="brand">Conica</b>
<p itemprop="offers" itemscope itemtype="https://schema.org/Offer">
<b itemprop="price" content="349.50">349,50 €</b>
<meta itemprop="priceCurrency" content="EUR">
<link itemprop="availability" href="https://schema.org/InStock"></p></div>"""
BODIES = {
    "/mill/linked": LINKED,
    "/mill/micro": MICRO,
    "/mill/plain": "<h1>Drum</h1><p class='price'>1.299,00 €</p>",
}
FORM = "<form method=post><input name=text></form>"


def answer_of(asked: Asked) -> Answer | None:
    """What is no usual page."""
    on = (("Content-Type", "text/html"), ("Location", "/account"))
    as_json = (("Content-Type", "application/json"),)
    match asked.method, asked.path:
        case "GET", "/api/points" if asked.query.startswith("t=clw1_"):
            return Answer('{"points": 42}', 200, as_json)
        case "GET", "/api/level/a%20b":
            return Answer('"gold"', 200, as_json)
        case "GET", "/dealer":
            inside = "<a id=logout>out</a>" if "in=1" in asked.query else ""
            state = '<script id="state" type="application/json">{"variants": [{"stock": 7}]}</script>'
            body = f"<p class=shipping>4,90</p>{inside}{state}"
            return Answer(page_of(body).replace("<body>", "<body data-group=dealer>"))
        case "POST", "/login":
            if b"right" in asked.body:
                return Answer("", 302, on)
            return Answer(page_of("<form method=post><input type=password name=password></form>"))
        case "POST", "/cart/add/1":
            return Answer("", 302, (("Location", "/cart"),))
        case "POST", "/coupon/apply":
            return Answer('{"error": "unknown"}', 422, (("Content-Type", "application/json"),))
        case "POST", "/payment":
            return Answer(page_of("declined"), 402)
        case "POST", "/gate":
            return Answer(page_of("<p class=error>no</p>"))
        case "POST", _:
            return Answer(page_of(FORM))
        case "GET", "/missing":
            return Answer(page_of("gone"), 404)
        case "GET", "/broken":
            return Answer(page_of("broken"), 500)
        case "GET", "/slow":
            time.sleep(0.6)
        case "GET", "/find" if "nothing" in asked.query:
            return Answer(page_of("<p class=no-results>Nothing found</p>"))
        case "GET", "/thanks":
            number = parse_qs(asked.query)["order"][0]
            return Answer(page_of(f"<p id=number>{number}</p><p id=total>29.95 €</p>"))
    return None


def page_of(body: str) -> str:
    return f"<!doctype html><html lang=en><head><title>A page</title></head><body>{body}</body></html>"


def shop_answer(asked: Asked) -> Answer:
    """The shop's pages. The cart page shows as many things as `has` says."""
    if (special := answer_of(asked)) is not None:
        return special
    body = BODIES.get(asked.path, "hello")
    if asked.path == "/cart" and (has := parse_qs(asked.query).get("has")):
        amount = float(has[0]) * 29.95
        things = "".join(f"<li>{thing}</li>" for thing in ("Mill", "Drum", "Filter")[: int(has[0])])
        counted = f'<b class="items">{has[0]}</b> <b class="value">{amount:.2f} €</b>'
        body = f'<div class="cart">{counted}{things}</div>'
    return Answer(
        f"<!doctype html><html lang=en><head><title>A page</title></head><body>{body}</body></html>"
    )


@pytest.fixture(scope="module")
def clew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    shop = Shop(shop_answer)
    folder = tmp_path_factory.mktemp("facts")
    write_places(folder / "places.mmdb", LUND)
    head = HEAD.format(places=folder / "places.mmdb")
    served = ClewServe(ClewFolder(folder, head + "".join(case.site(shop.address) for case in CASES)))
    yield served.address
    served.end()
    shop.close()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=60) as found:
        yield found


def acts(visitor: Shopper) -> bool:
    """Whether the rule acts, at the latest after what the page shows was read and numbers were asked anew."""
    asked_until = time.monotonic() + 30
    while visitor.answer["action"] != "hide" and time.monotonic() < asked_until:
        time.sleep(0.05)
        visitor.decide()
    return bool(visitor.answer["action"] == "hide")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fact_is_right_when_the_request_is_so(case: Case, clew: str, client: httpx2.Client) -> None:
    visitor = Shopper(clew, f"{case.name}.test", client, dict(case.headers))
    case.does(visitor)
    assert acts(visitor)
    if case.control:
        other = Shopper(clew, f"{case.name}.test", client)
        assert other.see("/about-us") == "show"


DAYS_LATER = """
import time

_time = time.time
time.time = lambda: _time() + 3 * 86400 + 60
"""
LATER = Case(
    "days",
    (
        "visit.days_since_last == 3",
        "visit.days_since_first == 3",
        "visit.count == 2",
        "visit.returning",
        'visit.landing == "/mills"',
        "touch.age_days == 3",
        "events.search == 0",
        "events.search_30d == 1",
        "events.search_24h == 0",
    ),
    ways("/"),
)


def test_days_pass_between_two_visits(tmp_path: Path, client: httpx2.Client) -> None:
    """A visitor comes back three days later."""
    shop = Shop(shop_answer)
    settings = HEAD.replace('database = "{places}"', "") + LATER.site(shop.address)
    folder = ClewFolder(tmp_path / "clew", settings)
    served = ClewServe(folder)
    visitor = Shopper(served.address, "days.test", client)
    visitor.see("/?utm_source=news")
    visitor.see("/find?q=mill")
    assert visitor.see("/") == "show"
    served.end()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "sitecustomize.py").write_text(DAYS_LATER)
    path = os.pathsep.join(filter(None, (str(tmp_path / "later"), os.environ.get("PYTHONPATH"))))
    folder.environ |= {"PYTHONPATH": path}
    served = ClewServe(folder)
    try:
        visitor.address = served.address
        assert visitor.see("/mills") == "hide"
        assert Shopper(served.address, "days.test", client).see("/mills") == "show"
    finally:
        served.end()
        shop.close()


SHARED = (
    "product-linked",
    "product-known",
    "event-login",
    "own-group",
    "cart-history",
    "visit-paths",
    "score",
)


@pytest.mark.parametrize("store", ["redis", "postgresql"])
def test_facts_are_right_over_two_workers(store: str, tmp_path: Path, client: httpx2.Client) -> None:
    """Each request may come to another worker; they share the visit store."""
    server = Redis() if store == "redis" else Postgres()
    shop = Shop(shop_answer)
    cases = [case for case in CASES if case.name in SHARED]
    with server:
        address = server.url() if isinstance(server, Redis) else server.url(server.database())
        head = HEAD.replace('database = "{places}"', "").replace("[geo]", f'store = "{address}"\n[geo]')
        settings = head + "".join(case.site(shop.address) for case in cases)
        served = ClewServe(ClewFolder(tmp_path, settings), ["--workers", "2"])
        try:
            for case in cases * 2:
                with httpx2.Client(timeout=60, limits=httpx2.Limits(max_keepalive_connections=0)) as anew:
                    visitor = Shopper(served.address, f"{case.name}.test", anew, dict(case.headers))
                    case.does(visitor)
                    assert acts(visitor), case.name
        finally:
            served.end()
            shop.close()
