"""Each of the rules to begin with acts when a visitor really is in its situation: through `clew serve`, with
all of them at one site, so that the one that is meant comes first."""

import os
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clew.settings.starter import starters
from clews import AGENT, PASSWORD, ClewFolder, ClewServe
from fact_cases import HEAD, SITE
from fact_orders import buys
from fact_people import desk
from fact_shops import shop_answer
from shoppers import Shop, Shopper

pytestmark = pytest.mark.timeout(300)

AHEAD = """
import time

_time = time.time


def ahead():
    with open({path!r}) as file:
        return _time() + float(file.read() or 0)


time.time = ahead
"""
TABLES = """
[sites.chat]
departments = ["billing"]

[sites.invites]
holdout = 0
throttle = 0
"""


class World:
    """A running clew whose clock can be put forward."""

    def __init__(self, folder: Path) -> None:
        self._shop = Shop(shop_answer)
        self._ahead = folder / "ahead"
        self._ahead.write_text("0")
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(AHEAD.format(path=str(self._ahead)))
        path = os.pathsep.join(filter(None, (str(folder / "site"), os.environ.get("PYTHONPATH"))))
        site = SITE.format(name="starter", shop=self._shop.address, keys="", tables=TABLES, lines="")
        rules = "".join(f"[[sites.rules]]\n{one.rule}" for one in starters())
        settings = HEAD.replace('database = "{places}"', "") + site.partition("[[sites.rules]]")[0] + rules
        at = ClewFolder(folder / "clew", settings, {"PYTHONPATH": path})
        at.run("desk", "add-user", AGENT, "--role", "owner", "--password-stdin", typed=PASSWORD)
        self.serving = ClewServe(at)
        self.client = httpx2.Client(timeout=60)

    def visitor(self) -> Shopper:
        return Shopper(self.serving.address, "starter.test", self.client)

    def later(self, seconds: float) -> None:
        """So many seconds pass."""
        now = float(self._ahead.read_text()) + seconds
        whole = self._ahead.with_suffix(".new")
        whole.write_text(str(now))
        whole.replace(self._ahead)

    def close(self) -> None:
        self.client.close()
        self.serving.end()
        self._shop.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = World(tmp_path_factory.mktemp("starter"))
    yield found
    found.close()


Step = Callable[[World, Shopper], object]


def sees(*paths: str) -> Step:
    return lambda world, visitor: [visitor.see(path) for path in paths]


def stays(seconds: int) -> Step:
    return lambda world, visitor: visitor.decide(seconds=seconds)


def tells(signal: str) -> Step:
    return lambda world, visitor: visitor.decide(told=[signal])


def passes(seconds: float) -> Step:
    return lambda world, visitor: (world.later(seconds), visitor.decide())


def comes_back(path: str) -> Step:
    return lambda world, visitor: (
        sees("/", "/about-us")(world, visitor),
        world.later(3600),
        visitor.see(path),
    )


def login(world: World, visitor: Shopper) -> None:
    visitor.post("/login", password="wrong")


def coupon(world: World, visitor: Shopper) -> None:
    visitor.fetch("/coupon/apply")
    visitor.see("/cart?has=1")


def adds(world: World, visitor: Shopper) -> None:
    visitor.see("/")
    visitor.post("/cart/add/1")
    visitor.see("/mill/linked")


def is_alone(world: World, visitor: Shopper) -> None:
    visitor.see("/about-us")
    world.later(150)
    visitor.decide()


CASES: dict[str, tuple[Step, Step]] = {
    "checkout-error": (sees("/", "/broken"), sees("/checkout/address")),
    "coupon-refused": (lambda w, v: (v.see("/"), coupon(w, v)), coupon),
    "login-failed": (lambda w, v: (v.see("/"), login(w, v)), login),
    "checkout-stuck": (sees("/checkout/address"), stays(60)),
    "checkout-leaves": (sees("/checkout/address"), tells("exit")),
    "checkout-left": (sees("/checkout/address", "/mills"), stays(20)),
    "cart-large": (sees("/mills", "/cart?has=7"), stays(30)),
    "cart-several": (sees("/mills", "/cart?has=3", "/mill/linked"), passes(150)),
    "cart-hesitates": (sees("/mills", "/cart?has=1"), stays(45)),
    "cart-leaves": (sees("/mills", "/cart?has=1"), tells("exit")),
    "cart-again": (sees("/cart?has=1", "/mills", "/cart?has=1"), stays(10)),
    "added-looks-on": (adds, passes(150)),
    "lost": (sees("/", "/missing"), sees("/missing?again")),
    "payment-failed": (sees("/", "/checkout/payment"), lambda w, v: v.post("/payment")),
    "search-empty": (sees("/", "/find?q=nothing"), stays(5)),
    "searches": (sees("/", "/mills", "/find?q=mill"), stays(15)),
    "product-again": (sees("/mill/linked", "/mills", "/mill/linked"), stays(10)),
    "product-returning": (comes_back("/mill/linked"), stays(30)),
    "product-read": (
        sees("/mills", "/mill/linked"),
        lambda w, v: (w.later(60), v.decide(told=["scroll 80%"])),
    ),
    "product-by-partner": (sees("/mill/linked?friend=c1"), stays(45)),
    "product-compares": (sees("/mills", "/mill/linked", "/mill/micro", "/mill/plain"), passes(120)),
    "product-leaves": (sees("/mills", "/mill/linked"), lambda w, v: (w.later(30), v.decide(told=["exit"]))),
    "category-browses": (sees(*(f"/mills/{n}" for n in range(5))), sees("/mills/6")),
    "category-hesitates": (sees("/mills"), stays(60)),
    "paid-search": (sees("/?utm_source=google&utm_medium=cpc", "/about-us"), passes(60)),
    "returning": (comes_back("/about-us"), passes(60)),
    "after-order": (lambda w, v: (buys(v), v.see("/account")), stays(20)),
    # Not while nobody is there.
    "default": (is_alone, lambda w, v: (desk(v), v.decide())),
}
"""By rule what a visitor does, and the last step, before which the rule does not act."""


def rule_of(visitor: Shopper) -> Any:
    return visitor.answer["rule"]


@pytest.mark.parametrize("name", CASES)
def test_a_rule_to_begin_with_acts_in_its_situation(name: str, world: World) -> None:
    before, last = CASES[name]
    visitor = world.visitor()
    before(world, visitor)
    assert rule_of(visitor) != name
    last(world, visitor)
    # At the latest once the page that was sent has been read, and numbers were asked anew.
    until = time.monotonic() + 30
    page = {"seconds": 60} if name in ("cart-large", "after-order") else {}
    while rule_of(visitor) != name and time.monotonic() < until:
        time.sleep(0.05)
        visitor.decide(**page)
    assert rule_of(visitor) == name
    assert visitor.answer["action"] == "invite"
    assert visitor.answer["invite"]["text"]


def test_each_rule_has_its_situation() -> None:
    assert {*CASES} == {tomllib.loads(one.rule)["name"] for one in starters()}
