"""Each fact is right when the request really is so: through `clew serve`, in front of a shop.

Each case is a site of its own with one rule, whose action tells whether its lines are true; and a visitor who
does what the case says. A visitor who did nothing, or a line that must not be true, is the proof that the
lines can be false. The table has each fact: a new one without a case fails.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from clew.rules.fact_table import FACTS
from clews import AGENT, PASSWORD, ClewFolder, ClewServe, wait_for_event
from database_servers import Postgres, Redis
from fact_cases import ARRIVAL, CLIENT, HEAD, LUND, PAGE, PRODUCTS, VISIT, Case, ways
from fact_orders import CORRECTED, orders
from fact_own import CLOCK, CUSTOM, HAPPENED, WHY
from fact_people import AGENTS, INVITE, MANNED, PEOPLE, PROVIDERS, dismisses
from fact_shops import shop_answer
from places import write_places
from shoppers import Shop, Shopper

pytestmark = pytest.mark.timeout(300)

CASES = [
    *(*PAGE, *PRODUCTS, *VISIT, *ARRIVAL, *HAPPENED, *PEOPLE, *CUSTOM),
    *(*CLIENT, *CLOCK, *AGENTS, *PROVIDERS, *CORRECTED),
]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClewServe]:
    shop = Shop(shop_answer)
    folder = tmp_path_factory.mktemp("facts")
    write_places(folder / "places.mmdb", LUND)
    head = HEAD.format(places=folder / "places.mmdb")
    settings = ClewFolder(folder, head + "".join(case.site(shop.address) for case in CASES))
    sites = (part for site in MANNED for part in ("--site", site))
    settings.run("desk", "add-user", AGENT, "--role", "owner", *sites, "--password-stdin", typed=PASSWORD)
    served = ClewServe(settings)
    yield served
    served.end()
    shop.close()


@pytest.fixture
def clew(serving: ClewServe) -> str:
    return serving.address


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
    if not case.counters:
        other = Shopper(clew, f"{case.name}.test", client)
        assert other.see("/about-us") == "show"


def test_an_api_that_fails_is_told_with_the_reason(serving: ClewServe, client: httpx2.Client) -> None:
    for fact, (site, why) in WHY.items():
        Shopper(serving.address, f"{site}.test", client).see("/")
        event = wait_for_event(serving, "fact_failed", where=lambda found, fact=fact: found["fact"] == fact)
        assert event["site"] == site
        assert why in event["why"]


def asserted(cases: list[Case]) -> set[str]:
    """The facts whose values the cases assert, not only that they are there."""
    lines = (re.sub(r"has\([^)]*\)", "", line) for case in cases for line in case.lines)
    return {found for line in lines for found in re.findall(r"\b[a-z]+\.[a-z_0-9]+", line)}


def test_each_fact_has_a_case() -> None:
    assert {fact.name for fact in FACTS} - asserted([*CASES, LATER]) == set()


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
        "visit.seconds < 3600",
        "order.age_days == 3",
        "!order.placed",
        "order.count == 1",
        "invite.dismissals == 1",
        "invite.dismissed == 0",
        *(
            f"{age} >= 259260 && {age} < 263000"
            for age in ("chat.seconds", "cart.seconds", "invite.seconds", "invite.dismissed_seconds")
        ),
    ),
    ways("/"),
    tables=INVITE,
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
    dismisses(visitor)
    orders(visitor)
    visitor.see("/cart?has=1")
    visitor.say("Which one is quiet?")
    assert visitor.see("/") == "show"
    served.end()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "sitecustomize.py").write_text(DAYS_LATER)
    path = os.pathsep.join(filter(None, (str(tmp_path / "later"), os.environ.get("PYTHONPATH"))))
    folder.environ |= {"PYTHONPATH": path}
    served = ClewServe(folder)
    try:
        visitor.address = served.address
        visitor.see("/mills")
        assert acts(visitor)
        assert Shopper(served.address, "days.test", client).see("/mills") == "show"
    finally:
        served.end()
        shop.close()


SHARED = (
    "product-linked",
    "product-known",
    "event-login",
    "own-group",
    "cart-value",
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
