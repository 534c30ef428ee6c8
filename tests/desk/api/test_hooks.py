"""The door for webhooks of shop systems."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from bigcommerce import ORDER, PRODUCTS, bigcommerce_api
from clew.service.ordering.webhooks import BODY_LIMIT, TOPICS
from clew.stores.ledger.errors import LedgerBusyError
from desks import DeskServer, desk_server
from hooks import (
    SECRETS,
    Hook,
    as_json,
    bigcommerce_event,
    bigcommerce_order,
    module_order,
    shopify_order,
    shopify_refund,
    signed,
    stripe_event,
    woocommerce_order,
)
from structlog.testing import capture_logs

FLOOD = "198.51.100.9"
HOOKS = {name: {"secret": secret} for name, secret in SECRETS.items() if name != "bigcommerce"}


class Recorded:
    """The events of a test."""

    def __init__(self, lines: list[Any]) -> None:
        self._lines = lines

    def of(self, name: str) -> list[Any]:
        return [line for line in self._lines if line["event"] == name]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with capture_logs() as lines:
        yield Recorded(lines)


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskServer]:
    async with desk_server(tmp_path, webhooks=HOOKS) as built:
        yield built


async def post(desk: DeskServer, hook: Hook, **headers: str) -> httpx2.Response:
    async with desk.client() as client:
        return await client.post(
            f"hooks/{hook.source}", content=hook.body, headers={**hook.headers, **headers}
        )


def shopify(topic: str = "orders/create", **changes: Any) -> Hook:
    return signed("shopify", as_json(shopify_order(**changes)), topic)


async def rows(desk: DeskServer, query: str) -> list[tuple[Any, ...]]:
    import sqlalchemy as sa

    async with desk.service.ledger.db.read() as connection:
        return [tuple(row) for row in await connection.execute(sa.text(query))]


async def test_a_signed_webhook_records_the_order(desk: DeskServer) -> None:
    answer = await post(desk, shopify())
    assert (answer.status_code, answer.json()["result"], answer.json()["id"]) == (200, "order", "1001")
    assert await rows(desk, "SELECT order_id, total, currency, state FROM orders") == [
        ("1001", "119.00", "EUR", "paid")
    ]


async def test_the_same_delivery_again_adds_nothing(desk: DeskServer) -> None:
    await post(desk, shopify())
    before = await rows(desk, "SELECT count(*) FROM sightings")
    answer = await post(desk, shopify())
    assert (answer.status_code, answer.json()["result"], answer.json()["id"]) == (200, "repeated", "1001")
    assert await rows(desk, "SELECT count(*) FROM sightings") == before


async def test_a_replay_under_another_delivery_id_adds_nothing(desk: DeskServer) -> None:
    """The id stands in a header that Shopify does not sign."""
    await post(desk, shopify())
    answer = await post(desk, shopify(), **{"X-Shopify-Webhook-Id": "another"})
    assert answer.json()["result"] == "repeated"


@pytest.mark.parametrize("wrong", [{"X-Shopify-Hmac-SHA256": "AAAA"}, {"X-Shopify-Hmac-SHA256": ""}])
async def test_a_wrong_signature_is_401_with_an_event(
    desk: DeskServer, recorded: Recorded, wrong: dict[str, str]
) -> None:
    answer = await post(desk, shopify(), **wrong)
    assert answer.status_code == 401
    assert await rows(desk, "SELECT count(*) FROM orders") == [(0,)]
    (event,) = recorded.of("webhook_refused")
    assert (event["site"], event["source"]) == ("shop", "shopify")


async def test_a_system_without_a_secret_is_404_and_says_what_to_set(tmp_path: Path) -> None:
    async with desk_server(tmp_path) as desk:
        answer = await post(desk, shopify())
        assert answer.status_code == 404
        assert "[sites.webhooks.shopify]" in answer.json()["error"]
        answer = await post(desk, Hook("nowhere", {}, b"{}"))
        assert answer.status_code == 404
        assert "shopify" in answer.json()["error"]


async def test_a_topic_about_no_order_is_200_and_counted(desk: DeskServer, recorded: Recorded) -> None:
    for number in range(3):
        hook = signed("shopify", as_json({"id": number}), "products/update")
        answer = await post(desk, hook)
        assert (answer.status_code, answer.json()["result"]) == (200, "ignored")
    assert len(recorded.of("webhook")) == 3
    kept = await rows(desk, "SELECT topic, outcome, count, raw FROM deliveries")
    assert kept == [("products/update", "ignored", 3, None)]


@pytest.mark.parametrize(
    ("hook", "status"),
    [
        (signed("shopify", b'{"id": 1}', "orders/create"), 200),
        (signed("shopify", b"not json", "orders/create"), 200),
        (signed("shopify", as_json(shopify_order(currency="EURO")), "orders/create"), 200),
        (signed("shopify", as_json([[[]]]), "orders/create"), 200),
        (signed("shopify", b'{"a":' * 5000 + b"1" + b"}" * 5000, "orders/create"), 200),
        (signed("woocommerce", b'{"id": 1, "total": "x"}', "order.created"), 200),
    ],
)
async def test_what_cannot_be_read_is_kept_and_does_not_switch_the_webhook_off(
    desk: DeskServer, recorded: Recorded, hook: Hook, status: int
) -> None:
    answer = await post(desk, hook)
    result = answer.json()["result"]
    if hook.body == b'{"id": 1}':
        # Neither amount nor state: nothing to record.
        assert result == "ignored"
        return
    assert (answer.status_code, result) == (status, "unread")
    (event,) = recorded.of("webhook_unread")
    assert event["why"]
    ((raw,),) = await rows(desk, "SELECT raw FROM deliveries")
    assert raw == hook.body.decode()
    assert await rows(desk, "SELECT count(*) FROM orders") == [(0,)]


async def test_a_module_of_ours_learns_in_its_answer_what_is_wrong(desk: DeskServer) -> None:
    now = desk.service.clock.now()
    hook = signed("opencart", as_json(module_order(total="x")), now=now)
    answer = await post(desk, hook)
    assert answer.status_code == 422
    assert "total" in answer.json()["text"]


async def test_the_first_call_of_woocommerce_is_not_signed(desk: DeskServer) -> None:
    """class-wc-webhook.php, deliver_ping: without 200 the webhook cannot be saved."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await post(desk, Hook("woocommerce", form, b"webhook_id=7"))
    assert (answer.status_code, answer.json()["result"]) == (200, "ping")
    answer = await post(desk, Hook("woocommerce", form, b"webhook_id=7&" + b"x" * 300))
    assert answer.status_code == 401
    answer = await post(desk, Hook("shopify", form, b"webhook_id=7"))
    assert answer.status_code == 401


async def test_an_order_refund_and_cancellation_of_one_order(desk: DeskServer) -> None:
    await post(desk, signed("shopify", as_json(shopify_refund()), "refunds/create"))
    await post(desk, shopify())
    (found,) = await rows(desk, "SELECT order_id, state, total, refunded FROM orders")
    assert found == ("1001", "part_refunded", "119.00", "45.00")
    later = shopify(
        "orders/cancelled", cancelled_at="2026-11-28T11:00:00Z", updated_at="2026-11-28T11:00:00Z"
    )
    await post(desk, later)
    ((state,),) = await rows(desk, "SELECT state FROM orders")
    assert state == "cancelled"


async def test_an_unknown_state_is_an_event_with_the_line_to_set(
    desk: DeskServer, recorded: Recorded
) -> None:
    await post(desk, signed("woocommerce", as_json(woocommerce_order(status="shipped")), "order.updated"))
    (event,) = recorded.of("webhook_state")
    assert event["setting"] == '[sites.webhooks.woocommerce.states] "shipped" = "paid"'
    assert await rows(desk, "SELECT state, total FROM orders") == [("seen", "119.00")]


async def test_a_body_that_is_too_long_is_refused(desk: DeskServer) -> None:
    hook = signed("shopify", b" " * (BODY_LIMIT + 1), "orders/create")
    assert (await post(desk, hook)).status_code == 413


async def test_an_order_with_two_hundred_lines_is_taken(desk: DeskServer) -> None:
    line = {"sku": "A", "name": "n" * 150, "quantity": 1, "price": "0.50", "properties": ["x" * 2000]}
    hook = shopify(line_items=[line] * 200)
    assert len(hook.body) > 400_000
    assert (await post(desk, hook)).json()["result"] == "order"


async def test_who_guesses_signatures_is_stopped_and_the_shop_is_not(desk: DeskServer) -> None:
    wrong = {"X-Shopify-Hmac-SHA256": "AAAA"}
    answers = [
        (await post(desk, shopify(), **wrong, **{"x-test-client": FLOOD})).status_code for _ in range(62)
    ]
    assert (answers[:60], answers[60:]) == ([401] * 60, [429] * 2)
    for _ in range(70):
        assert (await post(desk, shopify())).status_code == 200


async def test_a_flood_from_everywhere_does_not_keep_the_shop_out(tmp_path: Path) -> None:
    limits = {"webhooks": {"site": 3, "all": 3}}
    async with desk_server(tmp_path, limits=limits, webhooks=HOOKS) as desk:
        wrong = {"X-Shopify-Hmac-SHA256": "AAAA"}
        answers = [
            (await post(desk, shopify(), **wrong, **{"x-test-client": f"198.51.100.{n}"})).status_code
            for n in range(6)
        ]
        assert answers == [401, 401, 401, 429, 429, 429]
        assert (await post(desk, shopify())).status_code == 200


async def test_an_order_that_the_ledger_does_not_take_waits_on_the_disk(
    desk: DeskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WooCommerce sends a webhook once."""

    async def away(*_: Any, **__: Any) -> None:
        raise LedgerBusyError("away")

    with monkeypatch.context() as broken:
        broken.setattr(desk.service.ledger.deliveries, "known", away)
        broken.setattr(desk.service.ordering._book, "add", away)
        answer = await post(desk, signed("woocommerce", as_json(woocommerce_order()), "order.created"))
        assert (answer.status_code, answer.json()["result"]) == (200, "order")
        assert await rows(desk, "SELECT count(*) FROM orders") == [(0,)]
    async with asyncio.timeout(20):
        while await rows(desk, "SELECT order_id, total FROM orders") != [("1001", "119.00")]:
            continue
    answer = await post(desk, signed("woocommerce", as_json(woocommerce_order()), "order.created"))
    assert answer.status_code == 200
    assert await rows(desk, "SELECT count(*) FROM sightings") == [(1,)]


async def test_a_person_who_is_forgotten_is_not_left_in_what_could_not_be_read(desk: DeskServer) -> None:
    await post(desk, signed("shopify", as_json(shopify_order(currency="EURO")), "orders/create"))
    receipt = await desk.service.forgetter.forget("shop", email="0" * 64)
    assert [line.table for line in receipt.went] == ["deliveries"]
    assert await rows(desk, "SELECT raw FROM deliveries") == [(None,)]


async def test_bigcommerce_is_asked_for_the_order_that_it_names(tmp_path: Path) -> None:
    products = [{"sku": "MUG-1", "name": "Mug", "quantity": 2, "price_inc_tax": "57.05"}]
    answers: dict[str, tuple[int, Any]] = {
        ORDER: (200, bigcommerce_order()),
        PRODUCTS: (200, products),
    }
    with bigcommerce_api(answers) as (address, calls):
        token = {"secret": SECRETS["bigcommerce"], "store": "abcde", "token": "t0ken", "endpoint": address}
        async with desk_server(tmp_path, webhooks={"bigcommerce": token}) as desk:
            hook = signed("bigcommerce", as_json(bigcommerce_event()), now=desk.service.clock.now())
            answer = await post(desk, hook)
            assert answer.json()["result"] == "order", answer.text
            assert await rows(desk, "SELECT order_id, total, state FROM orders") == [
                ("1001", "119.00", "paid")
            ]
            assert calls[0] == f"{ORDER} t0ken"
            assert len(calls) == 4


async def test_bigcommerce_tries_again_while_its_api_does_not_answer(
    tmp_path: Path, recorded: Recorded
) -> None:
    answers: dict[str, tuple[int, Any]] = {ORDER: (401, {})}
    with bigcommerce_api(answers) as (address, _):
        token = {"secret": SECRETS["bigcommerce"], "store": "abcde", "token": "t0ken", "endpoint": address}
        async with desk_server(tmp_path, webhooks={"bigcommerce": token}) as desk:
            hook = signed("bigcommerce", as_json(bigcommerce_event()), now=desk.service.clock.now())
            answer = await post(desk, hook)
            assert answer.status_code == 503
            assert "401" in recorded.of("webhook_unread")[0]["why"]
            answers[ORDER] = (200, bigcommerce_order())
            assert (await post(desk, hook)).json()["result"] == "order"


async def test_stripe_signs_the_time_and_an_old_delivery_is_refused(desk: DeskServer) -> None:
    now = desk.service.clock.now()
    body = as_json(stripe_event("charge.refunded", {"id": "ch_1", "currency": "eur", "amount_refunded": 100}))
    assert (await post(desk, signed("stripe", body, now=now - 400))).status_code == 401
    assert (await post(desk, signed("stripe", body, now=now))).status_code == 200


async def test_calls_that_only_try_the_address_are_limited_too(tmp_path: Path) -> None:
    """Anybody can send them, and each is written down."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    limits = {"webhooks": {"site": 3, "all": 3}}
    async with desk_server(tmp_path, limits=limits, webhooks=HOOKS) as desk:
        answers = []
        for number in range(5):
            hook = Hook("woocommerce", {**form, "X-Test-Client": f"198.51.{number}.7"}, b"webhook_id=7")
            answers.append((await post(desk, hook)).status_code)
    assert answers == [200, 200, 200, 429, 429]


@pytest.mark.parametrize("text", ["clw\ud800", "\udc80clw1_" + "A" * 60, "clw\0"])
async def test_what_a_customer_writes_into_the_cart_loses_no_order(desk: DeskServer, text: str) -> None:
    """A system that gets a 500 tries for days, and then removes the webhook."""
    noted = [{"name": "clew", "value": text}]
    order = shopify_order(
        note_attributes=noted, landing_site=f"/mugs?aff=c7{text}", email=f"{text}@mail.example"
    )
    answer = await post(desk, signed("shopify", as_json(order), "orders/create"))
    assert (answer.status_code, answer.json()["result"]) == (200, "order"), answer.text


async def test_an_old_delivery_with_ever_new_topics_fills_no_table(desk: DeskServer) -> None:
    body = as_json({"id": 1})
    for number in range(TOPICS + 20):
        answer = await post(desk, signed("shopify", body, f"products/{number}"))
        assert answer.json()["result"] == "ignored"
    kept = await desk.service.ledger.deliveries.since("shop", "shopify", 0)
    assert len(kept) == TOPICS + 1
    assert sum(one.count for one in kept) == TOPICS + 20
