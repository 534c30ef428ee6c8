"""Cases for events, facts of a site's own, and the clock."""

from collections.abc import Callable
from datetime import datetime, timedelta

from clew.rules.fact_table import WINDOWS
from fact_cases import ZONE, Case, Does, ways
from shoppers import Shopper


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


def times(number: int, event: str) -> tuple[str, ...]:
    """The event was so often in this visit, and so in each window."""
    return tuple(f"events.{event}{ending} == {number}" for ending in WINDOWS)


HAPPENED = [
    Case(
        "event-search",
        times(2, "search"),
        ways("/", "/find?q=mill", "/find?q=drum", "/find"),
    ),
    Case("event-search-empty", times(1, "search_empty"), ways("/", "/find?q=nothing", "/mills")),
    Case("event-cart-form", times(2, "add_to_cart"), posts("/cart/add/1", 2)),
    Case("event-cart-script", ("events.add_to_cart == 1",), fetches("/cart/add/1")),
    Case("event-login", times(2, "login_failed"), posts("/login", 2, password="wrong")),
    Case(
        "event-login-right",
        ("events.login_failed == 0", 'page.path == "/mills"', "visit.pages == 3"),
        posts("/login", password="right"),
    ),
    Case("event-coupon", times(1, "coupon_refused"), fetches("/coupon/apply")),
    Case("event-payment", times(1, "payment_failed"), posts("/payment")),
    Case("event-404", (*times(1, "client_error"), "events.server_error == 0"), ways("/", "/missing", "/")),
    Case("event-500", (*times(1, "server_error"), "events.client_error == 0"), ways("/", "/broken", "/")),
    Case("event-form", times(1, "form_repeated"), posts("/contact", 2, text="x")),
    Case("event-form-once", ("events.form_repeated == 0", "visit.pages == 3"), posts("/contact", text="x")),
    Case("event-slow", times(1, "slow_page"), ways("/", "/slow", "/"), keys="slow_seconds = 0.4"),
    Case(
        "event-own-signal",
        ("events.login_failed == 1",),
        posts("/gate"),
        tables="[[sites.signals]]\nevent = 'login_failed'\npath = ['/gate']\nselector = '.error'",
    ),
    Case(
        "event-said-in-json",
        ("events.login_failed == 1",),
        fetches("/sign/refused"),
        tables="[[sites.signals]]\nevent = 'login_failed'\npath = ['/sign/*']\njson_path = 'error'",
    ),
    Case(
        "event-not-said-in-json",
        ("events.login_failed == 0", 'page.path == "/mills"', "visit.pages == 2"),
        fetches("/sign/let-in"),
        tables="[[sites.signals]]\nevent = 'login_failed'\npath = ['/sign/*']\njson_path = 'error'",
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


OWN = """
[sites.facts]
"customer.group" = { selector = "body", attribute = "data-group", keep = "visitor" }
"customer.first_name" = { selector = "#greeting", keep = "visitor" }
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


HOSTILE = """
[sites.facts]
long = { header = "X-Long" }
number = { type = "int", header = "X-Number" }
broken = { script = "broken", json_path = "a" }
deep = { script = "deep", json_path = "a.b" }
list = { script = "list", json_path = "a" }
huge = { type = "double", script = "list", json_path = "b" }
half = { script = "list", json_path = "c" }
nowhere = { selector = "main > #nowhere" }
text = { url = "SHOP/api/text", json_path = "a", allow_private = true }
"""
FAILING = """
[sites.facts]
slow = { url = "SHOP/api/slow", timeout = 1, allow_private = true }
error = { url = "SHOP/api/error", allow_private = true }
moved = { url = "SHOP/api/moved", allow_private = true }
large = { url = "SHOP/api/large", json_path = "a", allow_private = true }
"""
WHY = {
    "custom.slow": ("own-failing", "no "),
    "custom.error": ("own-failing", "500"),
    "custom.moved": ("own-failing", "302"),
    "custom.large": ("own-failing", "64 KB"),
    "custom.text": ("own-hostile", "no JSON"),
}
"""The site of each of these, and what is said of it."""


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
    Case("own-name", ('customer.first_name == "Ada"',), ways("/", "/dealer", "/mills"), tables=OWN),
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
    Case("own-api", ("custom.points == 42",), ways("/"), tables=OWN, counters=("custom.points != 42",)),
    Case("own-api-cookie", ('custom.level == "gold"',), member("/"), tables=OWN),
    Case(
        "own-api-private",
        ("!has(custom.private)",),
        ways("/"),
        tables=OWN,
        counters=("has(custom.private)",),
    ),
    Case(
        "own-hostile",
        (
            # What strangers send and what shops answer is cut, or as if it were not there.
            "size(custom.long) == 100",
            "!has(custom.number)",
            "!has(custom.broken)",
            "!has(custom.deep)",
            "!has(custom.list)",
            "!has(custom.huge)",
            "!has(custom.nowhere)",
            "!has(custom.text)",
            'custom.half == "a?b"',
            'page.path == "/hostile"',
        ),
        lambda visitor: (
            *(visitor.see("/"), visitor.cookies.update(long="y" * 3000)),
            *(visitor.see("/hostile"), visitor.see("/hostile")),
        ),
        tables=HOSTILE,
        headers={"X-Long": "x" * 5000, "X-Number": "9" * 400},
        counters=('custom.long.contains("y")',),
    ),
    Case(
        "own-failing",
        tuple(f"!has(custom.{name})" for name in ("slow", "error", "moved", "large")),
        lambda visitor: (visitor.see("/"), visitor.see("/mills")),
        tables=FAILING,
        counters=("has(custom.slow) || has(custom.moved)",),
    ),
    Case(
        "own-two-tabs",
        ("custom.shipping == 4.9", "custom.stock == 7", "page.previous == '/'", "visit.pages == 3"),
        lambda visitor: two_tabs(visitor, "/dealer", "/dealer?other=1"),
        tables=OWN,
        counters=("custom.shipping == 9.9",),
    ),
    Case(
        "own-shown-no-more",
        ("!has(custom.shipping)", "visit.pages == 4"),
        lambda visitor: (
            *(visitor.see("/"), visitor.see("/once"), visitor.see("/")),
            *(visitor.cookies.update(bought="1"), visitor.see("/once")),
        ),
        tables=OWN,
    ),
    Case(
        "event-of-its-own",
        ("events.sized == 1", "events.sized_10m == 1"),
        fetches("/sizes/find"),
        tables="[[sites.signals]]\nevent = 'sized'\npath = ['/sizes/*']",
    ),
]


def two_tabs(visitor: Shopper, first: str, second: str) -> None:
    """Has two pages open, and the first one asks again after the second was opened."""
    visitor.see("/")
    visitor.see(first)
    left = visitor.path, visitor.referrer, visitor.view
    visitor.see(second)
    visitor.path, visitor.referrer, visitor.view = left
    visitor.decide(seconds=20)


def days(form: Callable[[datetime], str]) -> str:
    """Whichever day it is while the test runs."""
    now = datetime.now(ZONE)
    return ", ".join(dict.fromkeys(form(now + timedelta(days=n)) for n in (0, 1)))


DATES = days(lambda day: f'"{day.date()}"')
CLOCK = [
    Case(
        "clock",
        (
            # MINUTE is the minute of the day at which the sites are made.
            "(clock.hour * 60 + clock.minute - MINUTE + 1440) % 1440 < 10",
            f"clock.date in [{DATES}]",
            f"clock.day in [{days(lambda day: str(day.day))}]",
            f"clock.month in [{days(lambda day: str(day.month))}]",
            f"clock.year in [{days(lambda day: str(day.year))}]",
            f"clock.weekday in [{days(lambda day: repr(day.strftime('%a').lower()))}]",
        ),
        ways("/"),
        keys=f'time_zone = "{ZONE}"',
        counters=("(clock.hour * 60 + clock.minute - UTC + 1440) % 1440 < 10",),
    ),
    Case(
        "clock-holiday",
        ("clock.holiday",),
        ways("/"),
        keys=f'time_zone = "{ZONE}"',
        tables=f"[sites.calendar]\ncountry = 'FI'\ndays = [{DATES}]",
        counters=("!clock.holiday",),
    ),
    Case("clock-workday", ("!clock.holiday",), ways("/"), counters=("clock.holiday",)),
]
