"""The cost of a decision, compared with a bare endpoint that reads and writes one row of the same file; and
with the visits in Redis instead of the file."""

import asyncio
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import peers
from clew.referral.cookie import Known, new_visitor_id
from clew.referral.touches import Click, Touch
from clew.referral.visitor import Page, Restored, Talk, TalkChanged, Viewed, Visitor, changed
from clew.stores.visits import VisitsUnavailableError
from clew.stores.visits_engines import visits_at
from clew.stores.visits_record import keep_seconds, packed
from clew.stores.visits_sqlite import SqliteVisits
from load import CONNECTIONS, Runner, load, take_turns, write_script
from options import Options
from pinned import LOAD_CORE, SERVER_CORE, BenchError, running
from processes import free_port
from report import Section, median, ratios, spread, table
from scale import measure_scale
from visitors import SITE, visitor_cookie
from workloads import HOST, NAVIGATION, write_shop

# Each visitor has seen some pages before the run, and sees a few more in it.
VISITORS = 4096
PAGES = (2, 8)
RULES, EVALUATED = 20, 12
AT_ONCE, FILL_SECONDS = 32, 120.0
HEADERS = {
    "Host": HOST,
    "User-Agent": NAVIGATION["User-Agent"],
    "Accept": "*/*",
    "Accept-Language": NAVIGATION["Accept-Language"],
    "Referer": f"http://{HOST}/page.html",
    "Content-Type": "application/json",
    "Origin": f"http://{HOST}",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
}
LIMITS = ("visitors", "decides", "events", "reads")

# Each request is a page view of its own: its number is inserted into a prepared body.
_SCRIPT = """
local cookies = {{ {cookies} }}
local heads, last = {{}}, 0
local before, after = {before}, {after}
function init(args)
  math.randomseed(os.time())
  last = math.random(0, 89999999)
  for i, cookie in ipairs(cookies) do
    wrk.headers["Cookie"] = cookie
    local whole = wrk.format("POST", "/-/clew/decide", nil, before .. "00000000" .. after)
    heads[i] = string.sub(whole, 1, #whole - #after - 8)
  end
end
function request()
  last = last + 1
  return heads[last % #heads + 1] .. string.format("%08d", last) .. after
end
"""


def bench_decide(options: Options) -> Section:
    """Raises BenchError."""
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        write_shop(folder, options.seed)
        origin, upstream = peers.shop(folder)
        command, port = peers.clew(folder, upstream)
        write_settings(folder)
        cookies, visitors = asyncio.run(fill(folder / "clew-visits.db", rng))
        script = write_posts(folder / "decide.lua", cookies)
        pages = write_script(folder / "pages.lua", "/page.html", NAVIGATION, cookies[:512])
        stack.enter_context(running(origin, upstream, folder, LOAD_CORE))
        clew = stack.enter_context(running(command, port, folder, SERVER_CORE))
        require_decisions(port, cookies[0])
        redis_port = stack.enter_context(redis_server(folder))
        fill_redis(redis_port, visitors)
        redis_command, redis_clew_port = peers.serve(redis_settings(folder, redis_port))
        on_redis = stack.enter_context(running(redis_command, redis_clew_port, folder, SERVER_CORE))
        require_decisions(redis_clew_port, cookies[0])
        bare_command, bare_port = peers.uvicorn("bare:app")
        bare = stack.enter_context(running(bare_command, bare_port, folder, SERVER_CORE))
        runners = [
            Runner("decide", "`decide`", port, clew),
            Runner("bare", "a bare endpoint", bare_port, bare),
            Runner("page", "a page of 100 KB", port, clew),
            Runner("redis", "`decide` with Redis", redis_clew_port, on_redis),
        ]
        scripts = {"decide": script, "bare": script, "page": pages, "redis": script}
        for runner in runners:
            load(runner, scripts[runner.name], 1)
        take_turns(runners, rng, options.rounds, lambda r: load(r, scripts[r.name], options.seconds))
        scale = measure_scale(
            folder, options, rng, redis_port, script, lambda port: require_decisions(port, cookies[0])
        )
    found = section(runners, options)
    return Section(found.figures | scale.figures, f"{found.table}\n{scale.table}")


def section(runners: list[Runner], options: Options) -> Section:
    """The figures, and the table."""
    decide, bare, page, on_redis = runners
    figures = {
        "decide_vs_bare": median(ratios(decide.rates, bare.rates), 3),
        "decide_vs_page": median(ratios(decide.rates, page.rates), 3),
        "decide_redis_vs_sqlite": median(ratios(on_redis.rates, decide.rates), 3),
        "decide_redis_cpu_us": median(on_redis.cpu_us, 1),
        "decide_cpu_us": median(decide.cpu_us, 1),
        "decide_bare_cpu_us": median(bare.cpu_us, 1),
    }
    rows = [
        [
            runner.title,
            spread(runner.rates),
            spread(runner.cpu_us),
            spread(ratios(decide.rates, runner.rates), ".2f"),
        ]
        for runner in runners
    ]
    how = (
        f"{RULES} rules, of which {EVALUATED} are evaluated; {VISITORS:,} visitors in a SQLite store, each "
        "request a page view. The bare endpoint is Starlette's, on uvicorn, and reads and writes one row of "
        "the same file in one transaction. Redis is on the core of the load. "
        f"{options.rounds} rounds of {options.seconds} s in turn, "
        f"{CONNECTIONS} connections, one core; median (lowest to highest)."
    )
    columns = ("asked for", "a second", "CPU µs each", "rate of `decide` to it")
    return Section(figures, table("Decisions", how, columns, rows))


def write_settings(folder: Path) -> None:
    """Write twenty rules of which twelve are evaluated, since the twelfth matches. All visitors share an
    address."""
    file = folder / "clew.toml"
    text = file.read_text().partition("[[sites.rules]]")[0]
    whens = [
        ["visit.pages >= 3", 'page.query.sort == "name"'],
        ["cart.value > 200.0", 'cart.currency == "EUR"'],
        ['partner.id != "awin"'],
        ['page.path.startsWith("/checkout")'],
        ["visit.pages > 400", "agents.online > 0"],
        ['campaign.source == "newsletter"'],
        ["visit.returning", "order.placed"],
        ['page.language == "fr"', "agents.free > 0"],
        ["touch.age_days > 20"],
        ['page.title.contains("Sale")', "agents.online == 0"],
        ["chat.talked", "invite.dismissals == 0"],
        ["visit.pages >= 1"],
    ]
    whens += [[f'page.path == "/behind/{number}"', "visit.pages > 3"] for number in range(RULES - len(whens))]
    assert len(whens) == RULES
    rules = "".join(
        f'\n[[sites.rules]]\nname = "rule-{number}"\naction = "invite"\nwhen = {json.dumps(when)}\n'
        for number, when in enumerate(whens)
    )
    limits = "".join(
        f"{name} = {{ client = 10000000, site = 10000000, all = 10000000 }}\n" for name in LIMITS
    )
    file.write_text(f"{text}{rules}\n[limits]\n{limits}")


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """A Redis that keeps nothing on the disk; its port."""
    port = free_port()
    command = f"redis-server --port {port} --bind 127.0.0.1 --save  --appendonly no --dir {folder}".split(" ")
    with running(command, port, folder, LOAD_CORE):
        yield port


def redis_settings(folder: Path, port: int) -> Path:
    """A folder with the same settings, but with the visits in Redis, and a ledger of its own."""
    other = folder / "redis"
    other.mkdir()
    (other / "clew.toml").write_text(
        f'store = "redis://127.0.0.1:{port}/0"\n{(folder / "clew.toml").read_text()}'
    )
    return other


def fill_redis(port: int, visitors: Sequence[Visitor]) -> None:
    """Fill the store with the same visitors. Pages wait 0.3 s for a store and then go on without it; this
    tries again, for FILL_SECONDS, since the machine may be busy. Raises VisitsUnavailableError."""

    async def filled() -> None:
        store = visits_at(
            f"redis://127.0.0.1:{port}/0", lambda why, seconds: None, ledger=None, write_lock=None
        )
        now, until = time.time(), time.monotonic() + FILL_SECONDS

        async def put(visitor: Visitor) -> None:
            while True:
                try:
                    await store.update(SITE, visitor.id, lambda stored: visitor, now)
                except VisitsUnavailableError:
                    if time.monotonic() > until:
                        raise
                    await asyncio.sleep(0.05)
                else:
                    return

        await store.open()
        try:
            for start in range(0, len(visitors), AT_ONCE):
                await asyncio.gather(*map(put, visitors[start : start + AT_ONCE]))
        finally:
            await store.close()

    asyncio.run(filled())


async def fill(path: Path, rng: random.Random, count: int = VISITORS) -> tuple[list[str], list[Visitor]]:
    """Fill a store with visitors who each have a click and some page views. Returns their Cookie headers, and
    the visitors."""
    store = SqliteVisits(path)
    await store.open()
    await store.close()
    cookie, now = visitor_cookie(), time.time()
    headers, rows, visitors = [], [], []
    for number in range(count):
        at = int(now) - 3600 - number
        click = Click("awin", "awc", f"1001_{at}_{number:016x}", "awin")
        touch = Touch(at, (click,), {"utm_source": "blog"}, "", "/page.html")
        known = Known(new_visitor_id(), (touch,), at)
        pages = [
            Page(new_visitor_id(), now - 600 + n, f"http://{HOST}/category/{n}?sort=price", "Espresso")
            for n in range(rng.randint(*PAGES))
        ]
        changes = [
            Restored(known.touches),
            *(Viewed(page, "en") for page in pages),
            TalkChanged(None, Talk()),
        ]
        visitor = changed(None, known.visitor, changes, now)
        visitors.append(visitor)
        rows.append((SITE, visitor.id, packed(visitor), now, now + keep_seconds(visitor)))
        headers.append(cookie.set_cookie(known, False).decode("ascii").partition(";")[0])
    with closing(sqlite3.connect(path)) as database:
        database.executemany(
            "INSERT INTO visits (site, visitor, data, seen_at, expires_at) VALUES (?, ?, ?, ?, ?)", rows
        )
        database.commit()
    return headers, visitors


def body(view: str) -> dict[str, Any]:
    """The body of the loader's request."""
    return {
        "view": view,
        "url": f"http://{HOST}/page.html?sort=price",
        "title": "Espresso machines and grinders",
        "referrer": f"http://{HOST}/",
        "language": "en-GB",
        "seconds": 0,
    }


def write_posts(file: Path, cookies: list[str]) -> list[str]:
    """Write a wrk script. Returns wrk's options for it and the headers."""
    before, after = json.dumps(body("view-@")).split("@")
    file.write_text(
        _SCRIPT.format(
            cookies=", ".join(map(json.dumps, cookies)), before=json.dumps(before), after=json.dumps(after)
        )
    )
    named = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    return ["-s", str(file), *named]


def require_decisions(port: int, cookie: str) -> None:
    """Raise BenchError unless the twelfth rule matches."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(
            "POST", "/-/clew/decide", json.dumps(body("view-first")), {**HEADERS, "Cookie": cookie}
        )
        answer = connection.getresponse()
        text = answer.read()
    if answer.status != 200 or json.loads(text)["rule"] != f"rule-{EVALUATED - 1}":
        raise BenchError(f"wrong decision: {answer.status} {text[:300]!r}")
