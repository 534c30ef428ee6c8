"""Rules that are set while two workers serve: `clew rules`, a running clew, and visitors meanwhile."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx2
import pytest
from clews import ClewFolder, ClewServe, events, wait_for_event
from database_servers import Redis
from shoppers import Answer, Shop, Shopper

pytestmark = pytest.mark.timeout(300)

SETTINGS = """
secret = "env:CLEW_SECRET"
log = "json"
store = "{store}"
ledger = "{ledger}"

[[sites]]
name = "shop"
hosts = ["shop.test"]
upstream = "{shop}"
invites = {{ holdout = 0, throttle = 0 }}
[[sites.rules]]
name = "rule-0"
action = "invite"
text = "text-0"
"""


def rules(number: int) -> str:
    """Rules that invite everybody with this number, as a name and as a text."""
    return f'[[rules]]\nname = "rule-{number}"\naction = "invite"\ntext = "text-{number}"\n'


@pytest.fixture
def folder(ledger_address: str, tmp_path: Path, redis_server: Redis) -> Iterator[ClewFolder]:
    """On SQLite alone, and on PostgreSQL with Redis."""
    shop = Shop(lambda asked: Answer())
    store = f"sqlite:{tmp_path}/visits.db" if ledger_address.startswith("sqlite") else redis_server.url()
    text = SETTINGS.format(store=store, ledger=ledger_address, shop=shop.address)
    yield ClewFolder(tmp_path / "clew", text)
    shop.close()


def visit(clew: ClewServe) -> tuple[str, str]:
    """A new visitor, at any worker: the name and the text of the invite that it gets."""
    with httpx2.Client(timeout=60) as client:
        visitor = Shopper(clew.address, "shop.test", client)
        visitor.see("/")
    invite = visitor.answer.get("invite") or {}
    return str(invite.get("rule")), str(invite.get("text"))


def in_force(clew: ClewServe, revision: int, workers: int = 2) -> bool:
    """Whether all workers have said that a revision is in force."""
    return sum(one["revision"] == revision for one in events(clew, "rules_changed")) >= workers


def meanwhile(clew: ClewServe, revision: int, change: Callable[[], object]) -> set[tuple[str, str]]:
    """What visitors get from before a change until it is in force on both workers."""
    seen = {visit(clew)}
    deadline = time.monotonic() + 120
    # A worker that starts later begins with the new rules, and tells of no change.
    while len(events(clew, "started")) < 2:
        assert time.monotonic() < deadline, clew.tail()
        seen.add(visit(clew))
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(change)
        while not (done.done() and in_force(clew, revision)):
            assert time.monotonic() < deadline, clew.tail()
            seen.add(visit(clew))
        done.result()
    return seen


def shown(number: int) -> tuple[str, str]:
    return f"rule-{number}", f"text-{number}"


def test_rules_are_in_force_on_both_workers_and_visitors_see_old_or_new(folder: ClewFolder) -> None:
    with ClewServe(folder, ["--workers", "2"]) as clew:
        for new in (1, 2):
            seen = meanwhile(
                clew, new, partial(folder.run, "rules", "set", "--from", str(new - 1), typed=rules(new))
            )
            assert seen <= {shown(new - 1), shown(new)}
            assert {visit(clew) for _ in range(6)} == {shown(new)}
        # What does not parse is refused with its line, and changes nothing.
        with pytest.raises(AssertionError, match=r"rules:2 .*must be 1 to 64 letters"):
            folder.run("rules", "set", typed='[[rules]]\nname = "no good"\naction = "show"\n')
        # A reload of the settings in between: the revision stays in force, and that is told.
        settings = folder.settings.read_text()
        folder.settings.write_text(settings.replace("rule-0", "rule-9").replace("text-0", "text-9"))
        folder.run("reload")
        wait_for_event(clew, "rules_overridden")
        assert {visit(clew) for _ in range(6)} == {shown(2)}
        seen = meanwhile(clew, 3, partial(folder.run, "rules", "rollback", "1", "--note", "it was better"))
        assert seen <= {shown(2), shown(1)}
        seen = meanwhile(clew, 4, partial(folder.run, "rules", "set", "--settings"))
        assert seen <= {shown(1), shown(9)}
        assert {visit(clew) for _ in range(6)} == {shown(9)}
        assert not events(clew, "fault")
    # A clew that starts has what was set before.
    folder.run("rules", "rollback", "2")
    with ClewServe(folder, ["--workers", "2"]) as clew:
        assert {visit(clew) for _ in range(4)} == {shown(2)}
