"""A shop for each fact: pages that show something, forms that fail, and an API of its own."""

import time
from urllib.parse import parse_qs

from shoppers import Answer, Asked

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
HOSTILE = "".join(
    f"<script id={name} type=application/json>{text}</script>"
    for name, text in {
        "broken": '{"a": "x"',
        "deep": '{"a":' * 20_000,
        "list": '{"a": ["x"], "b": 1' + "0" * 300 + ', "c": "a\\ud800b"}',
    }.items()
)
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
        case "GET", "/api/slow":
            time.sleep(2)
            return Answer('"late"', 200, as_json)
        case "GET", "/api/error":
            return Answer('"broken"', 500, as_json)
        case "GET", "/api/moved":
            return Answer('"elsewhere"', 302, (*as_json, ("Location", "/api/points?t=clw1_")))
        case "GET", "/api/text":
            return Answer("a = 1", 200, as_json)
        case "GET", "/api/large":
            return Answer('{"a": "%s"}' % ("x" * 200_000), 200, as_json)
        case "GET", "/hostile":
            return Answer(page_of(HOSTILE))
        case "GET", "/dealer" if "other=1" in asked.query:
            return Answer(page_of("<p class=shipping>9,90</p>"))
        case "GET", "/once" if "bought=1" not in asked.headers.get("cookie", ""):
            return Answer(page_of("<p class=shipping>9,90</p>"))
        case "GET", "/dealer":
            inside = "<a id=logout>out</a>" if "in=1" in asked.query else ""
            state = '<script id="state" type="application/json">{"variants": [{"stock": 7}]}</script>'
            body = f"<p class=shipping>4,90</p><b id=greeting>Ada</b>{inside}{state}"
            return Answer(page_of(body).replace("<body>", "<body data-group=dealer>"))
        case "POST", "/login":
            if b"right" in asked.body:
                return Answer("", 302, on)
            return Answer(page_of("<form method=post><input type=password name=password></form>"))
        case "POST", "/cart/add/1":
            return Answer("", 302, (("Location", "/cart"),))
        case "POST", "/coupon/apply":
            return Answer('{"error": "unknown"}', 422, (("Content-Type", "application/json"),))
        case "POST", "/sign/refused":
            return Answer('{"error": {"warning": "no"}}', 200, as_json)
        case "POST", "/sign/let-in":
            return Answer('{"redirect": "/"}', 200, as_json)
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
