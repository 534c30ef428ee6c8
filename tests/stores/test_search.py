"""Search over conversations, on both engines."""

import hashlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from clew.stores.ledger import search as module
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.connection import executing
from clew.stores.ledger.schema import order_numbers, orders, sightings
from clew.stores.ledger.search import Wanted
from clew.stores.ledger.tags import MOST, TagError, tag_of
from sqlalchemy import insert

NOW = 1_800_000_000.0


@pytest_asyncio.fixture
async def ledger(ledger_address: str) -> AsyncIterator[Ledger]:
    found = Ledger(ledger_address)
    await found.db.open()
    yield found
    await found.db.close()


async def says(ledger: Ledger, text: str, visitor: str, site: str = "shop", at: float = 0.0) -> str:
    added = await ledger.conversations.add_visitor_message(
        site,
        visitor,
        text,
        client_id=f"id-{text}-{visitor}"[:64],
        language="en",
        rule=None,
        now=NOW + at,
    )
    return added.conversation.id


async def found(ledger: Ledger, site: str = "shop", **wanted: object) -> list[str]:
    matches = await ledger.search.find(site, Wanted(**wanted))  # type: ignore[arg-type]
    return [one.entry.conversation.id for one in matches.found]


async def test_words_are_found_in_parts_and_in_capitals_or_small_letters(ledger: Ledger) -> None:
    one = await says(ledger, "Where are the RED boots?", "v1")
    two = await says(ledger, "Größe 40, Заказ 7, 在庫はありますか", "v2")
    await says(ledger, "red boots", "v3", site="other")
    for text, expected in {
        "boot": [one],
        "red BOOTS": [one],
        "boots hats": [],
        "GRÖSSE": [],
        "größe": [two],
        "ЗАКАЗ": [two],
        "заказ 40": [two],
        "在庫": [two],
        "e": [two, one],
        "%": [],
        "r_d": [],
    }.items():
        assert await found(ledger, text=text) == expected, text


async def test_each_conversation_is_found_once_by_its_newest_message(ledger: Ledger) -> None:
    talk = await says(ledger, "a pot", "v1")
    await ledger.conversations.add_agent_message(
        "shop", talk, "This pot?", agent="bo", client_id=None, now=NOW + 1
    )
    await says(ledger, "no", "v1", at=2)
    (match,) = (await ledger.search.find("shop", Wanted(text="pot"))).found
    assert match.text == "This pot?"
    assert match.entry.last is not None
    assert match.entry.last.text == "no"


async def test_a_page_ends_and_the_search_goes_on_behind_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FOUND", 3)
    talks = [await says(ledger, "pot", f"v{number}", at=number) for number in range(8)]
    talks.reverse()
    for wanted in ({"text": "pot"}, {"state": "open"}):
        listed: list[str] = []
        before: float | None = None
        while True:
            page = await ledger.search.find("shop", Wanted(**wanted, before=before))  # type: ignore[arg-type]
            assert len(page.found) <= 3
            listed += [one.entry.conversation.id for one in page.found]
            before = page.before
            if before is None:
                break
        assert listed == talks


async def test_the_search_goes_through_windows_and_ends_when_its_time_is_over(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 2)
    first = await says(ledger, "a pot", "v0")
    for number in range(9):
        await says(ledger, "hello", f"v{number}", at=1)
    assert await found(ledger, text="pot") == [first]
    now = iter(range(100))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now) * 0.6)
    page = await ledger.search.find("shop", Wanted(text="pot"))
    assert (list(page.found), page.unfinished) == ([], True)
    assert page.before is not None
    monkeypatch.undo()
    page = await ledger.search.find("shop", Wanted(text="pot", before=page.before))
    assert ([one.entry.conversation.id for one in page.found], page.before) == ([first], None)


async def test_conditions_are_combined(ledger: Ledger) -> None:
    one, two = await says(ledger, "pot one", "v1"), await says(ledger, "pot two", "v2")
    await ledger.conversations.claim("shop", one, "bo", NOW)
    await ledger.tags.add("shop", one, "delivery", "bo", NOW)
    await ledger.tags.add("shop", two, "delivery", "bo", NOW)
    await ledger.conversations.close("shop", two, NOW + 5)
    assert await found(ledger, agent="bo") == [one]
    assert await found(ledger, tag="delivery") == [one, two] or await found(ledger, tag="delivery") == [
        two,
        one,
    ]
    assert await found(ledger, tag="delivery", state="closed") == [two]
    assert await found(ledger, tag="delivery", text="one") == [one]
    assert await found(ledger, tag="delivery", site="other") == []
    assert await found(ledger, agent="eva", text="pot") == []


async def test_a_customer_is_found_by_its_order_and_its_address(ledger: Ledger) -> None:
    talk = await says(ledger, "hello", "v1")
    email = hashlib.sha256(b"eva@example.org").hexdigest()
    plain = {"channel": "web", "source": "api", "sources": {}, "doubts": [], "details": {}, "refunded": "0"}
    times = {"placed_at": NOW, "recorded_at": NOW, "changed_at": NOW}
    row = {"id": 7, "site": "shop", "order_id": "1001", "version": 1, "state": "placed", "visitor": "v1"}
    await ledger.db.transact(executing(insert(orders).values(**row, **plain, **times)))
    await ledger.db.transact(executing(insert(order_numbers).values(site="shop", number="1001", order=7)))
    said = {"site": "shop", "order": 7, "key": "k", "source": "api", "at": NOW, "said": {}, "loose": False}
    await ledger.db.transact(
        executing(insert(sightings).values(**said, around=NOW, visitor="v1", email_hash=email))
    )
    await says(ledger, "hello", "v2")
    assert await found(ledger, order="1001") == [talk]
    assert await found(ledger, email=email) == [talk]
    assert await found(ledger, order="1002") == []
    assert await found(ledger, order="1001", text="other") == []


async def test_tags_are_bounded_and_go_with_their_conversation(ledger: Ledger) -> None:
    talk = await says(ledger, "hello", "v1")
    for number in range(MOST):
        await ledger.tags.add("shop", talk, f"tag {number}", "bo", NOW)
    await ledger.tags.add("shop", talk, "tag 0", "bo", NOW)
    with pytest.raises(TagError, match="has 10 tags already"):
        await ledger.tags.add("shop", talk, "one more", "bo", NOW)
    with pytest.raises(LookupError):
        await ledger.tags.add("other", talk, "one more", "bo", NOW)
    await ledger.tags.remove("other", talk, "tag 0")
    await ledger.tags.remove("shop", talk, "tag 1")
    given = await ledger.tags.of(talk)
    assert given == sorted(f"tag {number}" for number in range(MOST) if number != 1)
    assert (await ledger.tags.of_several([talk]))[talk] == given
    assert await ledger.tags.used("shop") == given
    assert await ledger.tags.used("other") == []


@pytest.mark.parametrize(
    ("said", "kept"), [(" #Delivery  late ", "delivery late"), ("Größe", "größe"), ("a" * 30, "a" * 30)]
)
def test_a_tag_is_kept_in_one_spelling(said: str, kept: str) -> None:
    assert tag_of(said) == kept


@pytest.mark.parametrize("said", ["", " # ", "a" * 31, "a,b", "a\u202eb", "a\x00b"])
def test_what_is_no_tag_is_refused(said: str) -> None:
    with pytest.raises(TagError):
        tag_of(said)
